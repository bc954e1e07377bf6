#!/usr/bin/env python3
"""Estimates on paper, without a GPU: the time that an H200's ceilings allow for the questions of ``gpu_check``.

    benchmarks/gpu_paper.py [--json benchmarks/results/gpu_count_DATE.json] [--only "score fast"]

Each question is asked twice of few images, on the processor but in batches as large as a GPU's, and counted by
``gpu_count``; the difference is what an image costs, the rest is spent once a question. Launches and waits are those of
a batch, times the batches there would be.
"""

import argparse
import json
import math
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import torch
from gpu_count import H200, Counts, Line, counted
from gpu_questions import LAST_RING, Pixels, RingRows

from cryoisac.engine.gpu import likelihood, memory, search, sums
from cryoisac.engine.gpu.engine import TorchEngine
from cryoisac.engine.gpu.likelihood import TorchLikelihoodEngine
from cryoisac.engine.gpu.memory import Place

IMAGES = 100_000
BUDGET_BYTES = 120 << 30
LARGEST = 10  # lines of the engine that are named of each question
BATCHED = (search, sums, likelihood)


@dataclass
class Batched:
    """One call of ``in_batches``: its items, what one takes, and what was launched in it, but for calls inside."""

    items: int
    item_bytes: int
    depth: int
    launches: float = 0.0
    waits: float = 0.0

    def batches(self, factor: float) -> int:
        """Return how many batches so many times the items make on the device."""
        size = max(1, memory.LARGEST_BATCH_BYTES // max(1, self.item_bytes))
        return math.ceil(self.items * factor / size)


@dataclass
class Asked:
    """A question that was counted."""

    rows: int
    counts: Counts
    calls: list[Batched] = field(default_factory=list)


@contextmanager
def watched(counts: Counts) -> Iterator[list[Batched]]:
    """Note each call of ``in_batches``, in the order in which they end."""
    plain, calls, inside = memory.in_batches, list[Batched](), [(0.0, 0.0)]

    def in_batches(items: int, item_bytes: int, work: Any, place: Place) -> None:
        before = counts.total()
        inside.append((0.0, 0.0))
        plain(items, item_bytes, work, place)
        after, (launches, waits) = counts.total(), inside.pop()
        taken = after.launches - before.launches, after.waits - before.waits
        calls.append(Batched(items, item_bytes, len(inside), taken[0] - launches, taken[1] - waits))
        inside[-1] = inside[-1][0] + taken[0], inside[-1][1] + taken[1]

    try:
        for module in BATCHED:
            module.in_batches = in_batches  # type: ignore[attr-defined]
        yield calls
    finally:
        for module in BATCHED:
            module.in_batches = plain  # type: ignore[attr-defined]


def asked(rows: int, work: Callable[[int], Any]) -> Asked:
    """Count a question about some rows."""
    with counted() as counts, watched(counts) as calls:
        work(rows)
    return Asked(rows, counts, calls)


def estimated(few: Asked, more: Asked, images: int) -> Counts:
    """Return the counts of a question about many images, from those about few and about more."""
    slope = more.counts.plus(few.counts, -1.0)
    step = more.rows - few.rows
    whole = few.counts.plus(slope, (images - few.rows) / step)
    for key, line in whole.lines.items():
        line.launches, line.waits = few.counts.lines[key].launches, few.counts.lines[key].waits
    batches = {0: 1}  # at each depth, of the call that encloses what comes
    for a, b in reversed(list(zip(few.calls, more.calls, strict=True))):  # those outside first
        items = a.items + (b.items - a.items) * (images - few.rows) / step
        batches[a.depth] = max(batches[a.depth - 1], a.batches(items / a.items))
        again = batches[a.depth] / a.batches(1) - 1
        whole.lines["batches", "launched again"].add(Line(launches=a.launches * again, waits=a.waits * again))
    return whole


def question(work: Callable[[int], Any], rows: int, images: int = IMAGES) -> Counts:
    """Return the counts of a question about many images."""
    return estimated(asked(rows, work), asked(2 * rows, work), images)


def place() -> Place:
    """Return the processor, with a GPU's memory."""
    return Place(device=torch.device("cpu"), budget_bytes=BUDGET_BYTES)


def questions() -> Iterator[tuple[str, int, int, Callable[[], Counts]]]:
    """Yield the name of each question, the triples of an image (0: rows are counted), images, and what counts it."""
    for mode in ("fast", "exact"):
        for k in (200, 50, 10):
            yield f"score {mode}, {k} references", 49 * k, IMAGES, _scores(mode, k)
    for mode in ("fast", "exact"):
        for reach in (1, 2, 3, 4, 6):
            yield f"match {mode}, within {reach} px", (2 * reach + 1) ** 2, IMAGES, _matches(mode, reach)
    yield "match fast, 10 classes of 40 images", 49, 400, _matches("fast", 3, classes=10, images=400)
    yield "total", 0, IMAGES, _totals
    for last in (18, LAST_RING):
        for name, triples in (("score", 29 * 50), ("match", 29), ("refine", 0), ("total", 0)):
            yield f"rings to {last}, {name}", triples, IMAGES, _rings(name, last)


def _scores(mode: str, k: int) -> Callable[[], Counts]:
    def count() -> Counts:
        rows = 640 // k if k < 200 else 16
        made = Pixels.made(2 * rows, k)
        engine = TorchEngine(made.images, place(), mode=mode, stack=IMAGES)
        made.score(engine, k, 1)  # loads the images
        return question(lambda n: made.score(engine, k, n), rows)

    return count


def _matches(mode: str, reach: int, *, classes: int = 5, images: int = 0) -> Callable[[], Counts]:
    def count() -> Counts:
        rows = 64 * classes
        made = Pixels.made(images or 2 * rows, classes)
        engine = TorchEngine(made.images, place(), mode=mode, stack=IMAGES)
        made.match(engine, 1, 1)
        if images:
            return asked(images, lambda n: made.match(engine, reach, n)).counts
        return question(lambda n: made.match(engine, reach, n), rows)

    return count


def _totals() -> Counts:
    made = Pixels.made(1280, 5)
    engine = TorchEngine(made.images, place(), stack=IMAGES)
    made.total(engine, 64)
    return question(lambda n: made.total(engine, n), 640)


def _rings(name: str, last: int) -> Callable[[], Counts]:
    def count() -> Counts:
        rows = 64 if name == "score" else 320
        made = RingRows.made(2 * rows, 50 if name == "score" else 5)
        engine = TorchLikelihoodEngine(made.images, place(), stack=IMAGES)
        made.total(engine, last, 64)
        return question(lambda n: getattr(made, name)(engine, last, n), rows)

    return count


def row_of(name: str, counts: Counts, units: int) -> dict[str, Any]:
    """Return what is written of a question, ns and bytes a triple or a row."""
    whole, best = counts.total(), H200
    parts = {key: 1e9 * value / units for key, value in counts.parts_s(best).items()}
    return {
        "name": name,
        "ns": 1e9 * counts.least_s(best) / units,
        "device_ns": 1e9 * counts.device_s(best) / units,
        "parts_ns": parts,
        "bytes": whole.bytes / units,
        "product_flop": whole.product_flop / units,
        "transform_flop": whole.transform_flop / units,
        "launches": whole.launches,
        "waits": whole.waits,
        "largest": counts.largest(best, units, LARGEST),
    }


def main() -> None:
    """Print a table, and write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--only", default="", help="questions whose name has this in it")
    options = parser.parse_args()
    memory.HOST_BATCH_BYTES = memory.LARGEST_BATCH_BYTES
    rows = []
    for name, triples, images, count in questions():
        if options.only in name:
            row = row_of(name, count(), images * (triples or 1))
            rows.append(row | {"unit": "triple" if triples else "row"})
            parts = ", ".join(f"{key} {ns:.3g}" for key, ns in row["parts_ns"].items())
            print(f"{name:38} {row['ns']:9.3g} ns a {rows[-1]['unit']}: {parts}", flush=True)
            for at in row["largest"][:8]:
                print(f"    {at['at']:20} {at['op']:18} {at['ns']:8.3g} ns {at['bytes']:10.1f} bytes")
    if options.json:
        commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
        found: dict[str, Any] = {
            "date": f"{date.today():%Y-%m-%d}",
            "commit": commit.stdout.strip(),
            "what": "estimate on paper",
        }
        found |= {"ceilings": asdict(H200), "images": IMAGES, "questions": rows}
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
