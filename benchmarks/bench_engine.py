"""How long the engine takes, against the machine's own matrix product and against the float64 definition.

A *triple* is one row at one trial shift on one reference, all angles and both mirrors. A row's own cost is what one
shift takes before any reference: sampling and transforming its rings (and, in ``match``, its one reference).

The two modes are compared on averages of a simulated molecule, low-passed as in the first and the last rounds of a run.
The likelihood of Fourier rings is measured by itself.

    python benchmarks/bench_engine.py [--kind rings] [--threads 1] [--instructions avx2] [--repeats 3] [--json out.json]
"""

import argparse
import json
import os
import platform
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # the machine's rate of one core; must precede NumPy

import likelihood_costs
import numpy as np

from cryoisac.engine.contract import Search
from cryoisac.engine.native import MODES, NativeEngine, instruction_set, instruction_sets
from cryoisac.engine.reference import ReferenceEngine
from cryoisac.model.poses import Poses
from cryoisac.ops.filters import tangent_lowpass
from cryoisac.ops.polar import Rings
from cryoisac.simulation.density import procedural
from cryoisac.simulation.projection import Projector, orientation

SIZES = ((76, 29), (90, 36))
REFERENCES = (1, 10, 50, 200)
RANGES_px = (1, 2, 3)
ROWS = 320  # more than ``fast.FEW_IMAGES``, below which nothing is compressed
MEMBERS = 20  # rows of a class in ``match``
CUTOFFS, FALLOFF = (0.2, 0.45), 0.2  # of averages, when modes are compared
SNR, VIEWS, AVERAGED = 0.1, 100, 50
PREPARED = (10, 100, 300)
KINDS = ("pixels", "rings")


def fastest_s(work: Callable[[], Any], repeats: int) -> float:
    """Return the shortest of some runs, in seconds."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def sgemm_gflops(repeats: int) -> float:
    """Return the rate of a float32 matrix product on one core, by its CPU time."""
    a = np.random.default_rng(0).standard_normal((1024, 1024)).astype(np.float32)
    return 2 * 1024**3 / likelihood_costs.fastest_s(lambda: a @ a, 1, repeats + 3) / 1e9


def definition_us(box: int, radius: int) -> float:
    """Return microseconds a triple of the float64 definition."""
    images = np.random.default_rng(1).standard_normal((16, box, box)).astype(np.float32)
    rows, search = np.arange(16), Search(last_ring=radius, normalise_rings=True, x_range_px=0, y_range_px=1)
    engine = ReferenceEngine(images)
    return fastest_s(lambda: engine.score(images, rows, np.zeros((16, 2)), search), 1) / (16 * 16 * 3) * 1e6


def measure(engine: NativeEngine, search: Search, repeats: int) -> dict[str, Any]:
    """Return the costs of one search, in microseconds."""
    n, box, _ = engine.shape
    rng = np.random.default_rng(2)
    references = rng.standard_normal((max(REFERENCES), box, box)).astype(np.float32)
    rows, offsets = np.arange(n), rng.uniform(-1, 1, (n, 2))
    shifts = (2 * int(search.x_range_px) + 1) ** 2

    def score_us(k: int) -> float:
        m = n if k < 50 else n // 4
        return (
            fastest_s(lambda: engine.score(references[:k], rows[:m], offsets[:m], search), repeats) / (m * shifts) * 1e6
        )

    score = {k: score_us(k) for k in REFERENCES}
    match = fastest_s(lambda: engine.match(references, rows // MEMBERS, rows, offsets, search), repeats)
    return {
        "range_px": search.x_range_px,
        "score_us": score,
        "triple_us": (score[200] - score[10]) / 190,
        "row_us": score[1],
        "match_us": match / (n * shifts) * 1e6,
    }


def total_us(engine: NativeEngine, repeats: int) -> float:
    """Return microseconds to move one image and add it to its class."""
    n, rng = engine.shape[0], np.random.default_rng(3)
    shift = rng.uniform(-3, 3, (n, 2))
    poses = Poses(angle_deg=rng.uniform(0, 360, n), shift_px=shift, mirror=rng.random(n) < 0.5)
    rows = np.arange(n)
    return fastest_s(lambda: engine.total(rows // MEMBERS, rows, poses, n // MEMBERS + 1), repeats) / n * 1e6


def averages(box: int, n: int) -> Any:
    """Return ``n`` averages of views of a molecule, with the noise that AVERAGED images leave."""
    rng = np.random.default_rng(5)
    tilt = np.degrees(np.arccos(rng.uniform(-1, 1, n)))
    views = orientation(rng.uniform(0, 360, n), tilt, np.zeros(n))
    clean = Projector(procedural(box_px=box, pixel_size_A=4.0, seed=0), box_px=box, pixel_size_A=4.0).project(views)
    noise = clean.std() / np.sqrt(SNR * AVERAGED)
    return (clean + noise * rng.standard_normal(clean.shape)).astype(np.float32)


def products_us(coefficients: int, angles: int, gflops: float) -> float:
    """Return how long a triple's sums and transform take at a rate: 8 flops a coefficient, 5 n log2 n a transform."""
    return float(8 * coefficients + 5 * angles * np.log2(angles)) / gflops / 1e3


def compare(
    engines: tuple[NativeEngine, NativeEngine], references: Any, search: Search, repeats: int
) -> dict[str, Any]:
    """Return what both modes take for one search, and the preparation of the fast one."""
    exact, fast = engines
    n, rng = exact.shape[0], np.random.default_rng(6)
    rows, zero, offsets = np.arange(n), np.zeros(n, dtype=np.int64), rng.uniform(-1, 1, (n, 2))
    triples = n * VIEWS * (2 * int(search.x_range_px) + 1) ** 2
    few, one = references[:VIEWS], references[:1]
    ready, alone = fast.prepared(few, search), fast.prepared(one, search)
    score_s = (
        fastest_s(lambda: exact.score(few, rows, offsets, search), repeats),
        fastest_s(lambda: ready.score(rows, offsets), repeats),
    )
    match_s = (
        fastest_s(lambda: exact.match(one, zero, rows, offsets, search), repeats),
        fastest_s(lambda: alone.match(zero, rows, offsets), repeats),
    )
    rings = Rings.between(search.first_ring, search.last_ring, search.ring_step)
    return {
        "range_px": search.x_range_px,
        "coefficients": (sum(length // 2 + 1 for length in rings.lengths), ready.basis.size),
        "angles": (rings.longest, ready.angles),
        "triple_us": [s / triples * 1e6 for s in score_s],
        "match_us": [s / n * 1e6 for s in match_s],
        "prepare_ms": {
            k: fastest_s(partial(fast.prepared, references[:k], search), repeats) * 1e3 for k in (1, *PREPARED)
        },
    }


def compare_all(images: Any, radius: int, given: argparse.Namespace, gflops: float) -> list[dict[str, Any]]:
    """Return the comparison of modes for references as in the first and last rounds, and two shift ranges."""
    exact, fast = (NativeEngine(images, given.threads, instructions=given.instructions, mode=mode) for mode in MODES)
    drawn, results = averages(images.shape[1], max(PREPARED)), []
    for cutoff in CUTOFFS:
        references = tangent_lowpass(drawn, cutoff, FALLOFF).astype(np.float32)
        for reach in (1, 3):
            search = Search(last_ring=radius, x_range_px=reach, y_range_px=reach, normalise_rings=True)
            r = compare((exact, fast), references, search, given.repeats)
            bounds = map(partial(products_us, gflops=gflops), r["coefficients"], r["angles"])
            r["of_bound"] = [t / b for t, b in zip(r["triple_us"], bounds, strict=True)]
            results.append({"cutoff": cutoff, **r})
    return results


def print_modes(results: list[dict[str, Any]]) -> None:
    """Print exact beside fast."""
    print(f"exact / fast, {VIEWS} references (score) and one (match); times the bound by sgemm; to prepare, ms")
    print("FL/FH range  coefficients    angles    a triple, us  ratio  times bound  match, us a row   ratio  prepare")
    for r in results:
        costs = "  ".join(f"{k}: {v:.1f}" for k, v in r["prepare_ms"].items())
        print(
            f"{r['cutoff']:5} {r['range_px']:5}   {r['coefficients'][0]:5} / {r['coefficients'][1]:4}"
            f"  {r['angles'][0]:3} / {r['angles'][1]:3}  {r['triple_us'][0]:.3f} / {r['triple_us'][1]:.3f}"
            f"  {r['triple_us'][0] / r['triple_us'][1]:5.1f}  {r['of_bound'][0]:.2f} / {r['of_bound'][1]:.2f}"
            f"  {r['match_us'][0]:7.1f} / {r['match_us'][1]:5.1f}  {r['match_us'][0] / r['match_us'][1]:6.1f}  {costs}"
        )


def measure_pixels(given: argparse.Namespace, gflops: float) -> dict[str, Any]:
    """Return, and print, the costs of images in real space."""
    found = {}
    print(
        "microseconds; box radius range   triple      row    match   score at " + " ".join(f"K={k}" for k in REFERENCES)
    )
    for box, radius in SIZES:
        images = np.random.default_rng(4).standard_normal((ROWS, box, box)).astype(np.float32)
        engine = NativeEngine(images, given.threads, instructions=given.instructions)
        size: dict[str, Any] = {
            "definition_us": definition_us(box, radius),
            "total_us": total_us(engine, given.repeats),
        }
        size["ranges"] = []
        for reach in RANGES_px:
            search = Search(last_ring=radius, x_range_px=reach, y_range_px=reach, normalise_rings=True)
            r = measure(engine, search, given.repeats)
            scores = " ".join(f"{v:.2f}" for v in r["score_us"].values())
            costs = " ".join(f"{r[name]:8.3f}" for name in ("triple_us", "row_us", "match_us"))
            print(f"{box:17} {radius:6} {reach:5} {costs}   {scores}")
            size["ranges"].append(r)
        print(f"{box:17} definition {size['definition_us']:.0f} a triple; total {size['total_us']:.1f} an image")
        size["modes"] = compare_all(images, radius, given, gflops)
        print_modes(size["modes"])
        found[f"{box}/{radius}"] = size
    return found


def main() -> None:
    """Measure, print a table, and write JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kind", choices=KINDS, action="append", help="one kind only; may be repeated")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--instructions", choices=instruction_sets(), default=instruction_set())
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    kinds = given.kind or KINDS
    found: dict[str, Any] = {"machine": platform.processor() or platform.machine(), "threads": given.threads}
    found |= {"instructions": given.instructions, "sgemm_gflops": sgemm_gflops(given.repeats)}
    print(f"{given.instructions}, {given.threads} thread(s); sgemm {found['sgemm_gflops']:.0f} GFLOP/s on one core")
    if "pixels" in kinds:
        found |= measure_pixels(given, found["sgemm_gflops"])
    if "rings" in kinds:
        rate = found["sgemm_gflops"]
        found["rings"] = likelihood_costs.measure_all(given.threads, given.instructions, given.repeats, rate)
    if given.json:
        given.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
