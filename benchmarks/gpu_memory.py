#!/usr/bin/env python3
"""Shows that a million images pass on a card of 12 GB: the memory they take, and answers beside the compiled engine.

    benchmarks/gpu_memory.py [--device torch-cpu] [--images 1000000] [--card-gb 12]

The stack is one tile of images, mapped from a file again and again, so that it takes the room of one tile on the host
and every answer can be compared with that of the compiled engine on the tile. On the processor, which plays the
device, tensors are counted; of a GPU, PyTorch is held to the size of the card. Also a part of ``gpu_check``.
"""

import argparse
import ctypes
import json
import mmap
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from gpu_bytes import Peak
from gpu_questions import random_poses
from meter import STATUS, status_MB

from cryoisac.engine.contract import Search
from cryoisac.engine.devices import PROCESSOR, choose_devices
from cryoisac.engine.gpu import memory
from cryoisac.engine.gpu.engine import TorchEngine
from cryoisac.engine.native import default_threads
from cryoisac.model.poses import Poses, pixel_error
from cryoisac.ops.filters import tangent_lowpass

if TYPE_CHECKING:
    from gpu_record import Check

RESULTS = Path(__file__).resolve().parent / "results"
SIDE_px, RADIUS_px, REFERENCES = 76, 29, 10
TILE = 8000  # images; of 76 px, 64 are a whole number of pages
SEARCH = Search(last_ring=RADIUS_px, x_range_px=1, y_range_px=1, normalise_rings=True)
MEMORY_SHARE = 0.9
MAP_SHARED, MAP_FIXED = 0x01, 0x10
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4


@dataclass(frozen=True, eq=False)
class Million:
    """Many images that are one tile again and again, and a question about them.

    Parameters
    ----------
    images : ndarray, shape (n, 76, 76), float32
        The stack.
    tile : ndarray, shape (t, 76, 76), float32
        What it repeats.
    references : ndarray, shape (10, 76, 76), float32
        References, each of which is in every tenth image.
    """

    images: npt.NDArray[np.float32]
    tile: npt.NDArray[np.float32]
    references: npt.NDArray[np.float32]

    def answers(self, engine: Any, n: int) -> Iterator[tuple[str, Any]]:
        """Yield scores, poses and sums of the first images, with their names."""
        rows, labels, centred = np.arange(n), np.arange(n) % REFERENCES, np.zeros((n, 2))
        yield "score", engine.score(self.references, rows, centred, SEARCH)
        yield "match", engine.match(self.references, labels, rows, centred, replace(SEARCH, normalise_rings=False))
        yield "total", engine.total(labels, rows, self._poses(n), REFERENCES)

    def _poses(self, n: int) -> Poses:
        m = len(self.tile)
        return random_poses(np.random.default_rng(1), m)[np.arange(n) % m]


@contextmanager
def million(n: int) -> Iterator[Million]:
    """Make so many images: noise, and a reference that was moved by a pixel at most."""
    t = min(n, TILE)
    if n % t or t % 64:
        raise SystemExit(f"--images is {n}: give a multiple of {TILE}, or fewer, a multiple of 64")
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((REFERENCES, SIDE_px, SIDE_px), dtype=np.float32)
    references = tangent_lowpass(noise, 0.1, 0.2).astype(np.float32)
    references /= references.std()
    tile = rng.standard_normal((t, SIDE_px, SIDE_px), dtype=np.float32)
    for label in range(REFERENCES):
        tile[label::REFERENCES] += np.roll(references[label], tuple(rng.integers(-1, 2, 2)), (0, 1))
    with tempfile.TemporaryFile() as file:
        file.write(tile.tobytes())
        file.flush()
        yield Million(repeated(file.fileno(), n // t, t), tile, references)


def repeated(descriptor: int, times: int, t: int) -> npt.NDArray[np.float32]:
    """Return a file of images mapped again and again, one behind the other; the mapping stays until the end."""
    libc, part = ctypes.CDLL(None, use_errno=True), t * SIDE_px**2 * 4
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *(ctypes.c_int,) * 3, ctypes.c_long]
    none = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0)
    start = libc.mmap(None, part * times, 0, none, -1, 0)
    for number in range(times):
        at = libc.mmap(start + number * part, part, mmap.PROT_READ, MAP_SHARED | MAP_FIXED, descriptor, 0)
        if at != start + number * part:
            raise SystemExit(f"the stack cannot be mapped: {os.strerror(ctypes.get_errno())}")
    whole = (ctypes.c_float * (part * times // 4)).from_address(start)
    images = np.frombuffer(whole, dtype=np.float32).reshape(-1, SIDE_px, SIDE_px)
    images.flags.writeable = False
    return images


@dataclass
class Passed:
    """What a run found."""

    card_bytes: int
    budget_bytes: int
    stack_bytes: int
    resident: bool = False
    seconds: dict[str, float] = field(default_factory=dict)
    most_bytes: dict[str, int] = field(default_factory=dict)
    process_bytes: dict[str, int] = field(default_factory=dict)
    apart: dict[str, float] = field(default_factory=dict)

    @property
    def fits(self) -> bool:
        """Whether all of it stayed within the budget."""
        return max(self.most_bytes.values()) <= self.budget_bytes


@contextmanager
def card(device: torch.device, card_bytes: int) -> Iterator[memory.Place]:
    """Give a device the memory of a card, and batches of a size that a GPU would have."""
    before = memory.HOST_BATCH_BYTES
    memory.HOST_BATCH_BYTES = memory.LARGEST_BATCH_BYTES
    try:
        if device.type == "cuda":
            whole = torch.cuda.get_device_properties(device).total_memory
            torch.cuda.empty_cache()
            torch.cuda.set_per_process_memory_fraction(min(1.0, card_bytes / whole), device)
        yield memory.Place(device=device, budget_bytes=int(MEMORY_SHARE * card_bytes))
    finally:
        memory.HOST_BATCH_BYTES = before
        if device.type == "cuda":
            torch.cuda.set_per_process_memory_fraction(1.0, device)


def passed(question: Million, device: torch.device, card_bytes: int, say: Callable[[str, Passed], None]) -> Passed:
    """Ask about all images on a card of some size, and compare with the compiled engine."""
    n, t = len(question.images), len(question.tile)
    truth = dict(question.answers(PROCESSOR.engine(question.tile, threads=default_threads(), mode="fast"), t))
    with card(device, card_bytes) as place:
        found = Passed(card_bytes, place.budget_bytes, question.images.nbytes)
        engine = TorchEngine(question.images, place, mode="fast")
        counter, begun_bytes = Peak(device), _process_bytes()
        asked = question.answers(engine, n)
        while True:
            start = time.perf_counter()
            with counter:
                name, answer = next(asked, ("", None))
            if not name:
                break
            found.seconds[name], found.most_bytes[name] = time.perf_counter() - start, counter.most
            found.process_bytes[name] = _process_bytes() - begun_bytes
            found.apart |= _apart(name, answer, truth[name], n // t)
            found.resident = bool(engine._store.resident)
            say(
                f"million  {name:6} {n:,} images, {found.stack_bytes / 1e9:.1f} GB: {found.seconds[name]:.1f} s, "
                f"at most {counter.most / 1e9:.2f} of {place.budget_bytes / 1e9:.2f} GB",
                found,
            )
    apart = ", ".join(f"{k} {v:.2g}" for k, v in found.apart.items())
    say(f"million  apart from the compiled engine: {apart}", found)
    return found


def _process_bytes() -> int:
    """Return the memory of this process that is mapped from no file: at its peak, as ``keep_freed_memory`` has it."""
    return int(1e6 * status_MB("RssAnon:")) if STATUS.exists() else 0


def keep_freed_memory() -> None:
    """Let glibc keep what was freed, as a GPU's allocator does: fetching it anew takes most of the time."""
    with suppress(AttributeError):
        for option, value in ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, 2**31 - 1)):
            ctypes.CDLL(None).mallopt(option, value)


def _apart(name: str, mine: Any, other: Any, times: int) -> dict[str, float]:
    """Return by how much answers to a tile, asked again and again, differ from those to it alone."""
    if name == "total":
        return {"sums": float(np.abs(mine / times - other).max() / np.abs(other).max())}
    if name == "score":
        return {"scores": float(np.abs(mine.reshape(times, *other.shape) - other).max() / np.abs(other).max())}
    again = np.tile(np.arange(len(other.score)), times)
    error = pixel_error(mine.poses, other.poses[again], radius_px=RADIUS_px)
    return {"other poses": float((error > 0.1).mean())}


def compare(run: "Check") -> None:
    """Ask about a million images on a card of 12 GB; a part of ``gpu_check``."""
    n, size = run.size(1_000_000, 128), run.size(12 * 10**9, 10**8)

    def say(line: str, found: Passed) -> None:
        run.found["million"] = vars(found) | {"images": n, "fits": found.fits}
        run.say(line)

    with million(n) as question:
        passed(question, run.device, size, say)


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="torch-cpu", help="as cryoisac isac takes it")
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument("--card-gb", type=float, default=12.0)
    parser.add_argument("--out", type=Path, default=RESULTS / f"gpu_memory_{date.today()}.json")
    options = parser.parse_args()
    devices = choose_devices(options.device)
    torch.set_num_threads(default_threads())
    keep_freed_memory()

    def say(line: str, found: Passed) -> None:
        print(line, flush=True)
        whole = {"device": devices.title, "images": options.images} | vars(found) | {"fits": found.fits}
        options.out.write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")

    options.out.parent.mkdir(parents=True, exist_ok=True)
    with million(options.images) as question:
        found = passed(question, torch.device(devices.names[0]), int(options.card_gb * 1e9), say)
    print("fits" if found.fits else "DOES NOT FIT")


if __name__ == "__main__":
    main()
