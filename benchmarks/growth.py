"""How the cost of one pass over all images grows with images and classes; a part of ``bench_run.py``."""

from collections.abc import Callable
from typing import Any

import numpy as np
from meter import ENGINE, metered

from cryoisac.cluster import generation as rounds
from cryoisac.cluster.partition import Partition, aligned, references_of, sorted_once
from cryoisac.comm import Serial
from cryoisac.engine.native import NativeEngine
from cryoisac.model.poses import Poses
from cryoisac.run.likelihood_needs import trial_bench
from cryoisac.run.working_stack import Geometry
from cryoisac.settings import Isac

ROUND = {
    "scores": ("K-means: scores",),
    "assignment": ("K-means: assignment",),
    "poses": ("K-means: poses, averages",),
    "frame": ("common frame",),
    "alignment": ("stability: alignments",),
    "fit": ("stability: fit",),
}
PASS = (*ENGINE, "assign", "sums", "averages", "rest")
MOST_CLASSES = 1000
BOX_px, RADIUS_px, MAX_SHIFT_px = 64, 27, 4.0

Point = dict[str, float]


def growth(method: str, numbers: list[int], threads: int) -> list[Point]:
    """Return the cost of one pass of a method against images and classes, 64 px of noise.

    For each number of images: as many classes as make a hundred members, as few as the least number has, and, for the
    last but one number, other numbers of classes.
    """
    measure, points = MEASURED[method], []
    measure(500, 5, threads)  # to warm up
    for n in numbers:
        counts = {n // 100, numbers[0] // 100}
        if n == sorted(numbers)[-2:][0]:
            counts |= {n // 400, min(n // 20, MOST_CLASSES)}
            counts |= {n // 200, n // 50, n // 25} if method == "likelihood" else set()
        for k in sorted(counts):
            point = {"images": n, "classes": k} | measure(n, k, threads)
            points.append(point)
            print(line_of_growth(point), flush=True)
    return points


def timed(point: Point) -> list[str]:
    """Return the names of what was timed."""
    return [key.removesuffix("_cpu_s") for key in point if key.endswith("_cpu_s")]


def line_of_growth(point: Point) -> str:
    """Return a row of the table: CPU seconds."""
    parts = (f"{part} {point[part + '_cpu_s']:.3f}" for part in timed(point))
    return f"{point['images']:7} images {point['classes']:5} classes: {', '.join(parts)} s, {point['peak_MB']:.0f} MB"


def one_round(n: int, k: int, threads: int) -> Point:
    """Return seconds of one K-means pass of isac2 and of two alignments of one pass each, by their parts."""
    stack = np.random.default_rng(0).standard_normal((n, BOX_px, BOX_px), dtype=np.float32)
    size = {"img_per_grp": n // k, "minimum_grp_size": 1, "target_radius": RADIUS_px, "target_nx": BOX_px}
    settings = Isac(method="isac2", **size, FL=0.3, FH=0.3, maxit=2, stab_ali=2)

    def make_engine(images: Any) -> NativeEngine:
        return NativeEngine(images, threads=threads, mode=settings.search)

    bench = rounds.Bench(
        engine=make_engine(stack), make_engine=make_engine, settings=settings, comm=Serial(), tick=lambda what: None
    )
    with metered() as meter:
        first = rounds.start_generation(bench, np.arange(n), main=1, number=1)
        rounds.prove_members(bench, rounds.cluster(bench, first))
    result = {"peak_MB": max(cost.peak_MB for cost in meter.costs.values())}
    for name, parts in ROUND.items():
        result[f"{name}_wall_s"] = sum(sum(meter.costs[part].wall_s.values()) for part in parts)
        result[f"{name}_cpu_s"] = sum(meter.costs[part].cpu_s for part in parts)
    return result


def one_pass(n: int, k: int, threads: int) -> Point:
    """Return seconds of one pass of the default method, by its parts: average, score, assign to equal sizes, pose."""
    geometry = Geometry(
        box_px=BOX_px,
        radius_px=RADIUS_px,
        target_radius_px=RADIUS_px,
        target_box_px=BOX_px,
    )
    bench = trial_bench(geometry, Isac(max_shift=MAX_SHIFT_px), threads, images=n)
    rng = np.random.default_rng(1)
    poses = Poses(angle_deg=rng.uniform(0, 360, n), shift_px=rng.uniform(-1, 1, (n, 2)), mirror=rng.random(n) < 0.5)
    begun = Partition(labels=np.arange(n) % k, poses=poses, gain=np.zeros(n, dtype=np.float32), k=k)
    begun = aligned(bench, references_of(bench, begun), begun.labels, bench.coarse)
    with metered() as meter:
        sorted_once(bench, begun, bench.coarse, "equal")
    cost = meter.costs["everything else"]
    result = {"peak_MB": cost.peak_MB}
    for part in PASS:
        if part in cost.wall_s:
            result[f"{part}_wall_s"], result[f"{part}_cpu_s"] = cost.wall_s[part], cost.parts_cpu_s[part]
    result["all_wall_s"], result["all_cpu_s"] = sum(cost.wall_s.values()), cost.cpu_s
    return result


MEASURED: dict[str, Callable[[int, int, int], Point]] = {"likelihood": one_pass, "isac2": one_round}


def show_exponents(points: list[Point]) -> dict[str, dict[str, float]]:
    """Print and return the powers of the number of images, or of classes, that fit the CPU times best."""
    fixed, most = min(p["classes"] for p in points), max(p["images"] for p in points)
    inner = max((p["images"] for p in points if p["images"] < most), default=most)
    found: dict[str, dict[str, float]] = {}
    for label, axis, chosen in (
        ("of N, K = N / 100", "images", [p for p in points if p["classes"] == p["images"] // 100]),
        (f"of N, K = {fixed}", "images", [p for p in points if p["classes"] == fixed]),
        (f"of K, N = {inner}", "classes", [p for p in points if p["images"] == inner]),
    ):
        if len(chosen) > 1:
            size = np.log([p[axis] for p in chosen])
            found[label] = {
                name: float(np.polyfit(size, np.log([max(p[f"{name}_cpu_s"], 1e-6) for p in chosen]), 1)[0])
                for name in timed(chosen[0])
            }
            print(f"power {label}: " + ", ".join(f"{name} {slope:.2f}" for name, slope in found[label].items()))
    return found
