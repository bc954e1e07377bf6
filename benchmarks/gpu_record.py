"""What ``gpu_check`` finds: kept after every line, whatever fails, and the device lost or hanging."""

import contextlib
import faulthandler
import gc
import json
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from cryoisac.engine.devices import Devices
from cryoisac.engine.gpu import memory

ROOT = Path(__file__).resolve().parents[1]
LEAST_SECONDS = 5  # for which a part is begun
GRACE_SECONDS = 20  # beyond the end, after which a device that hangs is given up
Parts = dict[str, tuple[float, Callable[["Check"], None]]]  # how many seconds each may take, and what it does


@dataclass
class Check:
    """What is under way: the device, the sizes, the time, what was found."""

    devices: Devices
    path: Path
    ends: float
    quick: bool
    found: dict[str, Any] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    part_ends: float = float("inf")
    background: list["subprocess.Popen[bytes]"] = field(default_factory=list)  # each with a group of its own

    @property
    def device(self) -> torch.device:
        """The device, as PyTorch has it."""
        return torch.device(self.devices.names[0])

    def size(self, whole: int, tiny: int) -> int:
        """Return a size, or a tiny one where only the program is tried."""
        return tiny if self.quick else whole

    def left(self) -> float:
        """Return the seconds until this part, or the whole, must end."""
        return min(self.ends, self.part_ends) - time.monotonic()

    def time_for(self, name: str, needed_s: float) -> bool:
        """Return whether there is time for something; say that it is left out where there is none."""
        if self.left() > (0 if self.quick else needed_s):
            return True
        self.found.setdefault("left_out", []).append(name)
        self.say(f"{name}: left out, no time")
        return False

    def say(self, line: str) -> None:
        """Print a line, and keep it for the table."""
        self.lines.append(line)
        print(line, flush=True)
        self.save()

    def resume(self) -> None:
        """Go on from what was written."""
        if self.path.exists():
            self.found = json.loads(self.path.read_text(encoding="utf-8"))
            self.lines = self.found.get("table", [])

    def save(self) -> None:
        """Write what was found so far."""
        self.found["table"] = self.lines
        self.path.parent.mkdir(parents=True, exist_ok=True)
        whole = self.path.with_suffix(".part")
        whole.write_text(json.dumps(self.found, indent=1) + "\n", encoding="utf-8")
        whole.replace(self.path)

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Note an error, and where it was, and go on, unless the device is lost."""
        try:
            yield
        except Exception as error:
            where = traceback.format_exc().splitlines()
            self.found.setdefault("failed", {})[name] = where[:4] + where[-16:] if len(where) > 20 else where
            self.say(f"{name}: FAILED, {type(error).__name__}: {str(error)[:300]}")
            print("\n".join(where[-16:]), flush=True)
            if lost(self):
                raise


def perform(run: Check, parts: Parts, device: str) -> None:
    """Do every part for which there is time, and print the table."""
    faulthandler.dump_traceback_later(max(run.left(), 0) + GRACE_SECONDS, exit=True)
    names = list(parts)
    for number, name in enumerate(names):
        run.part_ends = float("inf")
        if not run.time_for(name, LEAST_SECONDS):
            continue
        start = time.monotonic()
        limit, part = parts[name]
        run.part_ends = float("inf") if run.quick else start + limit  # a machine of any speed can try the program
        try:
            with run.step(name):
                part(run)
        except Exception:
            if number + 1 < len(names):
                restart(run, device, names[number + 1 :])
        run.found.setdefault("seconds", {})[name] = round(time.monotonic() - start, 1)
        give_back(run)
        run.save()
    faulthandler.cancel_dump_traceback_later()
    for process in run.background:
        end(process)
    print("\n--- gpu_check ---\n" + "\n".join(run.lines))


def end(process: "subprocess.Popen[bytes]") -> None:
    """End a process with those that it began, if it still runs."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def lost(run: Check) -> bool:
    """Return whether the device does nothing any more, as after an access to memory that is not there."""
    try:
        synchronised(run)
        return float(torch.ones(1, device=run.device).add(1).cpu()) != 2
    except RuntimeError:
        return True


def give_back(run: Check) -> None:
    """Give back the device's memory that nothing uses any more: other processes have their turn."""
    gc.collect()
    with contextlib.suppress(RuntimeError):  # of a device that is lost
        memory.release(run.device)


def restart(run: Check, device: str, names: list[str]) -> None:
    """Do the parts that are left in a new process, as this one has lost the device."""
    run.say(f"the device is lost; {', '.join(names)} in a new process")
    minutes = f"{max(run.ends - time.monotonic(), 1) / 60:.2f}"
    words = ["--device", device, "--minutes", minutes, "--only", ",".join(names), "--resume"]
    words += ["--quick"] if run.quick else []
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, str(ROOT / "benchmarks" / "gpu_check"), *words])


def synchronised(run: Check) -> None:
    """Wait until the device has done what it was told."""
    if run.device.type != "cpu":
        torch.get_device_module(run.device).synchronize(run.device)
