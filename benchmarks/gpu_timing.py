"""Times of questions beside what the device's ceilings allow, and beside the compiled engine."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from gpu_count import H200, Ceilings, Counts, counted
from gpu_record import Check, synchronised

from cryoisac.engine.native import default_threads

LAUNCHES, WAITS = 2000, 200
COUNTED, LEAST_ROWS = 25, 1000  # one in so many rows is counted, where there are so many
LARGEST = 6  # lines of the engine that are named of each question


@dataclass(frozen=True)
class Timed:
    """How long a question took, and what it asked of the device, where that was counted."""

    seconds: float
    counts: Counts | None = None


def seconds(run: Check, work: Callable[[], Any], repeats: int = 1) -> float:
    """Return the median time of some repeats, after one that does not count."""
    work()
    times = []
    for _ in range(1 if run.quick else repeats):
        synchronised(run)
        start = time.perf_counter()
        work()
        synchronised(run)
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def timed(run: Check, ask: Callable[[int], Any], n: int) -> Timed:
    """Return how long a question about so many rows takes, and what it asks of the device."""
    counts = None
    with run.step("counting"):
        counts = _counts(ask, n)
    return Timed(seconds(run, lambda: ask(n)), counts)


def _counts(ask: Callable[[int], Any], n: int) -> Counts:
    """Count a question; where it is large, from two smaller ones, as counting takes far longer than launching."""
    ask(1)  # loads the images
    if n < LEAST_ROWS:
        return _counted(ask, n)
    few, more = n // COUNTED, 2 * (n // COUNTED)
    a, b = _counted(ask, few), _counted(ask, more)
    return a.plus(b.plus(a, -1.0), (n - few) / (more - few))


def _counted(ask: Callable[[int], Any], n: int) -> Counts:
    with counted() as counts:
        ask(n)
    return counts


def host_seconds(run: Check) -> dict[str, float]:
    """Return what one launch takes of the host, and what one wait for the device takes of both."""
    one = torch.ones(1, device=run.device)
    launches, waits = run.size(LAUNCHES, 50), run.size(WAITS, 5)

    def launch() -> None:
        for _ in range(launches):
            one.mul_(1.0)

    def wait() -> None:
        for _ in range(waits):
            one.cpu()

    launch_s = seconds(run, launch, 3) / launches
    return {"launch_s": launch_s, "wait_s": seconds(run, wait, 3) / waits}


def ceilings(run: Check) -> Ceilings:
    """Return what this device does at best, as ``machine`` measured it, else an H200 on paper."""
    known = run.found.get("machine", {})
    if "launch_s" not in known:
        return H200
    return Ceilings(
        copy_bytes_s=1e9 * known["copy_GB_s"],
        flop_s=1e12 * known["matrix_TFLOP_s"]["float32"],
        launch_s=known["launch_s"],
        wait_s=known["wait_s"],
    )


def compared(run: Check, name: str, triples: int, taken: Timed, few: int, beside: float) -> None:
    """Say how long a triple took, what the ceilings allow, and what the compiled engine takes."""
    ns, cpu_ns = 1e9 * taken.seconds / triples, 1e9 * beside / few
    row = {
        "triples": triples,
        "seconds": taken.seconds,
        "ns_a_triple": ns,
        "CCF_s": 2e9 / ns,
        "cpu_ns_a_triple": cpu_ns,
    }
    row |= {"times_the_cpu": cpu_ns / ns, **_allowed(run, taken, triples)}
    run.found.setdefault("searches", {})[name] = row
    run.say(
        f"{name:30} {ns:8.2f} ns a triple, {row['CCF_s']:9.3g} CCF/s; {row['times_the_cpu']:6.1f} times "
        f"{default_threads()} threads ({cpu_ns:.0f} ns){_said(row)}"
    )


def rated(run: Check, name: str, n: int, taken: Timed, few: int, beside: float) -> None:
    """Say how many rows a second there were, likewise."""
    row = {"rows_s": n / taken.seconds, "cpu_rows_s": few / beside, "ns_a_row": 1e9 * taken.seconds / n}
    row |= _allowed(run, taken, n)
    run.found.setdefault("rates", {})[name] = row
    run.say(
        f"{name:30} {row['rows_s']:12,.0f} rows/s, {row['ns_a_row']:.0f} ns each; "
        f"{row['rows_s'] / row['cpu_rows_s']:6.1f} times {default_threads()} threads{_said(row)}"
    )


def _allowed(run: Check, taken: Timed, units: int) -> dict[str, Any]:
    """Return what the ceilings allow, in ns for one of some units, and the lines of the engine that take most of it."""
    if taken.counts is None:
        return {}
    best, whole = ceilings(run), taken.counts.total()
    least = taken.counts.least_s(best)
    return {
        "allowed_ns": 1e9 * least / units,
        "parts_ns": {key: 1e9 * value / units for key, value in taken.counts.parts_s(best).items()},
        "share_of_ceiling": least / taken.seconds,
        "bytes": whole.bytes / units,
        "launches": whole.launches,
        "waits": whole.waits,
        "largest": taken.counts.largest(best, units, LARGEST),
    }


def _said(row: dict[str, Any]) -> str:
    if "allowed_ns" not in row:
        return ""
    parts = ", ".join(f"{key} {value:.3g}" for key, value in row["parts_ns"].items())
    return f"\n{'':30} ceilings allow {row['allowed_ns']:.3g} ns ({parts}): {100 * row['share_of_ceiling']:.0f} %"
