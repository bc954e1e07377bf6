"""What there is to know about the GPUs of a machine, as rows of names and values."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from cryoisac.engine.gpu.chosen import missing, named
from cryoisac.engine.gpu.memory import RESIDENT_SHARE, free_bytes

DRIVER = Path("/proc/driver/nvidia/version")
GB, MB, KB = 1e9, 1e6, 1e3
PIXEL_BYTES = 4
FACTS = (
    ("multi_processor_count", "{} multiprocessors"),
    ("max_threads_per_multi_processor", "{} threads each"),
    ("warp_size", "warps of {}"),
    ("regs_per_multiprocessor", "{} registers a multiprocessor"),
)
SIZES = (
    ("shared_memory_per_block", "shared memory of {} a block"),
    ("shared_memory_per_multiprocessor", "of {} a multiprocessor"),
    ("L2_cache_size", "a cache of {}"),
)


def gpu_rows(side_px: int, memory_share: float) -> list[tuple[str, str]]:
    """Return what is known of every GPU, or why none can be used.

    Parameters
    ----------
    side_px : int
        Side of the working images, of which it is told how many stay on the device.
    memory_share : float
        Share of the free memory that may be taken.
    """
    why = missing("cuda")
    if why:
        return [("GPUs", f"none: {why}")]
    rows = [("GPUs", f"PyTorch {torch.__version__}; {runtime()}")]
    for name in named("cuda", ()):
        device = torch.device(name)
        free, total = free_bytes(device)
        lines = device_lines(torch.cuda.get_device_properties(device), free, total, side_px, memory_share)
        rows += [(name if i == 0 else "", line) for i, line in enumerate(lines)]
    return rows


def device_lines(properties: Any, free: int, total: int, side_px: int, memory_share: float) -> Iterator[str]:
    """Yield what is known of one GPU: what it is, its memory, its limits, how much it holds.

    Parameters
    ----------
    properties : object
        What PyTorch says of it; what is missing is left out.
    free, total : int
        Bytes of its memory.
    side_px, memory_share
        As for ``gpu_rows``.
    """
    yield f"{properties.name}, compute capability {properties.major}.{properties.minor}"
    yield f"memory of {total / GB:.3g} GB, {free / GB:.3g} GB free"
    facts = [text.format(getattr(properties, key)) for key, text in FACTS if hasattr(properties, key)]
    facts += [text.format(_size(getattr(properties, key))) for key, text in SIZES if hasattr(properties, key)]
    if facts:
        yield ", ".join(facts)
    fit = int(RESIDENT_SHARE * memory_share * free) // (PIXEL_BYTES * side_px**2)
    yield f"{fit:,} images of {side_px} px stay on it; of more, blocks are brought as they are needed"


def runtime() -> str:
    """Return what drives the GPUs: driver and runtime, as far as they say."""
    parts = []
    if DRIVER.exists():
        words = DRIVER.read_text(encoding="utf-8", errors="replace").splitlines()[:1]
        versions = [w for line in words for w in line.split() if w[:1].isdigit() and "." in w]
        parts += [f"driver {versions[0]}"] if versions else []
    if torch.version.hip is not None:
        parts.append(f"ROCm {torch.version.hip}")
    elif torch.version.cuda is not None:
        parts.append(f"CUDA {torch.version.cuda}")
    return ", ".join(parts) or "runtime unknown"


def _size(count: int) -> str:
    return f"{count / MB:.3g} MB" if count >= MB else f"{count / KB:.3g} kB"
