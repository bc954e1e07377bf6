"""What a machine has for a run: memory, disk, speed."""

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from cryoisac.engine.holding import size
from cryoisac.errors import SettingError

SMALLER = "use fewer particles, or a smaller --target-radius and --target-nx"


def check_room(memory_bytes: int, disk_bytes: int, directory: Path, *, advice: str = SMALLER) -> None:
    """Raise ``SettingError``, advising on memory, where memory or disk cannot hold a run that needs so many bytes."""
    memory = available_memory_bytes()
    if memory is not None and memory_bytes > memory:
        raise SettingError(
            "memory",
            f"the run needs {size(memory_bytes)}, and {size(memory)} are free; {advice}",
        )
    home = next(p for p in (directory, *directory.resolve().parents) if p.exists())
    free = shutil.disk_usage(home).free
    if disk_bytes > free:
        raise SettingError(
            "disk",
            f"the run needs {size(disk_bytes)} in {home}, and {size(free)} are free; make room, "
            "or choose a directory on another disk",
        )


def available_memory_bytes() -> int | None:
    """Return the memory that can be taken, or ``None`` where the system does not say."""
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        for line in meminfo.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        return None


def seconds_of(work: Callable[[], object], repeats: int = 1) -> float:
    """Return how long a piece of work takes once it was done before, at best of some repeats."""
    work()
    taken = []
    for _ in range(repeats):
        begin = time.perf_counter()
        work()
        taken.append(time.perf_counter() - begin)
    return min(taken)


def span(seconds: float) -> str:
    """Return a time in seconds as a person would say it."""
    for unit, length in (("h", 3600.0), ("min", 60.0)):
        if seconds >= 1.5 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(seconds, 1):.0f} s"
