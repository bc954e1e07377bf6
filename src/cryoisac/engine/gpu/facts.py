"""What there is to know about the GPUs of a machine, as rows of names and values."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from cryoisac.engine.gpu.chosen import BANDWIDTH, known_product, missing, named
from cryoisac.engine.gpu.memory import Place, free_bytes, share_of
from cryoisac.engine.holding import Kind, size

DRIVER = Path("/proc/driver/nvidia/version")
GB = 1e9
KHZ_BITS = 2 * 1000 / 8  # bytes a second: two transfers a clock
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


def gpu_rows(kinds: Sequence[Kind], memory_share: float) -> list[tuple[str, str]]:
    """Return what is known of every GPU, or why none can be used.

    Parameters
    ----------
    kinds : sequence of Kind
        Images, of which it is told how many stay on the device.
    memory_share : float
        Share of the free memory that may be taken.
    """
    why = missing("cuda")
    if why:
        return [("GPUs", f"none: {why}")]
    rows = [("GPUs", f"PyTorch {torch.__version__}; {runtime()}")]
    for name in named("cuda", ()):
        device = torch.device(name)
        place, properties = share_of(device, memory_share), torch.cuda.get_device_properties(device)
        lines = device_lines(properties, free_bytes(device), place, kinds)
        rows += [(name if i == 0 else "", line) for i, line in enumerate(lines)]
    return rows


def device_lines(properties: Any, memory: tuple[int, int], place: Place, kinds: Sequence[Kind]) -> Iterator[str]:
    """Yield what is known of one GPU: what it is, its memory, its limits, how much it holds.

    Parameters
    ----------
    properties : object
        What PyTorch says of it; what is missing is left out.
    memory : tuple of int
        Bytes of its memory that are free, and all.
    place : Place
        What may be taken of it.
    kinds
        As for ``gpu_rows``.
    """
    free, total = memory
    yield f"{properties.name}, compute capability {properties.major}.{properties.minor}"
    known = known_product(properties, BANDWIDTH)
    rate = f", {KHZ_BITS * known / GB:,.0f} GB/s" if known else ""
    yield f"memory of {size(total)}, {size(free)} free{rate}"
    facts = [text.format(getattr(properties, key)) for key, text in FACTS if hasattr(properties, key)]
    facts += [text.format(size(getattr(properties, key))) for key, text in SIZES if hasattr(properties, key)]
    if facts:
        yield ", ".join(facts)
    for kind in kinds:
        yield f"{kind.fitting(place.resident_bytes)}, stay on it; of more, blocks are brought as they are needed"


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
