"""Multireference and reference-free alignment at the operating point that Cryo-RAlib published, and how right they are.

    python benchmarks/bench_alignment.py [--threads 2] [--map 70S.mrc --map-pixel-size 5] [--json FILE]

Speed: images of 90 px, rings to 36 px, shifts within 3 px in steps of 1 px, 10 to 200 references; and reference-free,
shifts within 1 to 8 px. A CCF is one image on one reference at one shift, mirrored or not, in all rotations. Beside the
engine stand its float64 definition, and what a straightforward program of NumPy and SciPy does, on few images each.

Truth: whole commands, as a user gives them, on simulated particles.
"""

import argparse
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # threads are the engine's; must precede NumPy

import numpy as np
import scipy.fft
import scipy.ndimage
from bench_isac import call, processor

from cryoisac.align import rfa
from cryoisac.align.averages import Halving
from cryoisac.align.stages import Course, Stage
from cryoisac.align.updating import Updating
from cryoisac.cluster import mra
from cryoisac.engine.native import MODES, NativeEngine, instruction_set
from cryoisac.engine.reference import ReferenceEngine
from cryoisac.model.poses import Poses
from cryoisac.ops.filters import tangent_lowpass
from cryoisac.ops.masks import circle, normalise_inside

BOX, RADIUS, RANGE_px = 90, 36, 3
REFERENCES = (10, 20, 50, 100, 200)
RANGES_px = (1, 2, 3, 4, 6, 8)
IMAGES = 2000
PUBLISHED_IMAGES = 105_247  # of the set that was published
FEW_IMAGES, FEW_REFERENCES = 8, 10  # for the definition and the straightforward program
SNR = 0.1
CUTOFF, FALLOFF = 0.2, 0.2  # of references: about that of averages of simulated particles
SIMULATED = ("--box", "90", "--snr", "0.1", "--max-shift", "3")
CASES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "free": (("--views", "50", "--per-view", "100"), ("mra", "50")),
    "free, exact": (("--views", "50", "--per-view", "100"), ("mra", "50", "--search", "exact")),
    "equal": (("--views", "50", "--per-view", "100"), ("mra", "50", "--sizes", "equal")),
    "free from the first": (("--views", "50", "--per-view", "100"), ("mra", "50", "--equal-first", "0")),
    "free, no class filled anew": (
        ("--views", "50", "--per-view", "100"),
        ("mra", "50", "--equal-first", "0", "--min-size", "0"),
    ),
    "free, center 1": (("--views", "50", "--per-view", "100"), ("mra", "50", "--center-method", "1")),
    "free, CTF": (("--views", "50", "--per-view", "100", "--ctf"), ("mra", "50", "--ctf")),
    "preferred": (
        ("--views", "50", "--per-view", "100", "--shares", "15,10,8,6,5,4,3,3,2,2"),
        ("mra", "50"),
    ),
    "preferred, free from the first": (
        ("--views", "50", "--per-view", "100", "--shares", "15,10,8,6,5,4,3,3,2,2"),
        ("mra", "50", "--equal-first", "0"),
    ),
    "one view": (("--views", "1", "--per-view", "300"), ("rfa",)),
    "one view, CTF": (("--views", "1", "--per-view", "300", "--ctf"), ("rfa", "--ctf")),
}


def timed(work: Callable[[], Any]) -> dict[str, float]:
    """Return wall and CPU seconds of a piece of work."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return {"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu}


def course(range_px: float) -> Course:
    """Return one stage of the published search."""
    stage = Stage(x_range_px=range_px, y_range_px=range_px, step_px=1)
    return Course(stages=(stage,), iterations=6, first_ring=1, last_ring=RADIUS)


def multireference(images: np.ndarray, references: np.ndarray, threads: int) -> Iterator[dict[str, Any]]:
    """Yield the costs of an iteration for each number of references and each search."""
    n, mask = len(images), circle(RADIUS, BOX)
    plan = mra.Plan(
        course=course(RANGE_px),
        assignment=mra.FREE,
        fewest=0,
        halving=Halving(number=np.arange(n), mask=mask),
        updating=Updating(mask=mask, center_method=-1, lowest_cutoff=0.12),
        seed=0,
    )
    search = plan.course.search(0, 0, normalise_rings=True)
    for mode in MODES:
        engine = NativeEngine(images, threads=threads, mode=mode)
        mra.coefficients(engine, references[:2], np.zeros((n, 2)), search)
        for k in REFERENCES:
            begin = mra.start(references[:k], Poses.identity(n))
            whole = timed(partial(mra.step, engine, begin, plan))
            scores = timed(partial(mra.coefficients, engine, references[:k], np.zeros((n, 2)), search))
            ccfs = n * k * (2 * RANGE_px + 1) ** 2 * 2
            yield {"search": mode, "references": k, "iteration": whole, "scores": scores, "ccfs": ccfs}


def reference_free(images: np.ndarray, threads: int) -> Iterator[dict[str, Any]]:
    """Yield the costs of an iteration for each range of shifts and each search."""
    n, mask = len(images), circle(RADIUS, BOX)
    for mode in MODES:
        engine = NativeEngine(images, threads=threads, mode=mode)
        for range_px in RANGES_px:
            plan = rfa.Plan(
                course=course(range_px),
                halving=Halving(number=np.arange(n), mask=mask),
                updating=Updating(mask=mask, center_method=-1, lowest_cutoff=0.12),
            )
            whole = timed(partial(rfa.step, engine, rfa.start(engine), plan))
            yield {"search": mode, "range_px": range_px, "iteration": whole, "ccfs": n * (2 * range_px + 1) ** 2 * 2}


def definition(images: np.ndarray) -> dict[str, Any]:
    """Return the cost of scores by the float64 definition."""
    few = ReferenceEngine(images[:FEW_IMAGES])
    search = course(RANGE_px).search(0, 0, normalise_rings=True)
    references = tangent_lowpass(images[:FEW_REFERENCES], CUTOFF, FALLOFF)
    taken = timed(lambda: few.score(references, np.arange(FEW_IMAGES), np.zeros((FEW_IMAGES, 2)), search))
    return taken | {"ccfs": FEW_IMAGES * FEW_REFERENCES * (2 * RANGE_px + 1) ** 2 * 2}


def straightforward(images: np.ndarray) -> dict[str, Any]:
    """Return the cost of scores as one writes them in NumPy and SciPy, an image and a shift at a time."""
    angle = 2 * np.pi * np.arange(256) / 256
    radius = np.arange(1, RADIUS + 1)[:, None]
    x, y = radius * np.cos(angle), radius * np.sin(angle)

    def polar(image: np.ndarray, dx: float, dy: float) -> np.ndarray:
        at = (y + BOX // 2 + dy, x + BOX // 2 + dx)
        return scipy.fft.rfft(scipy.ndimage.map_coordinates(image, at, order=1), axis=1)

    def scores(chosen: np.ndarray, references: np.ndarray) -> np.ndarray:
        weighted = np.stack([radius * polar(r, 0, 0) for r in references])
        best = np.full((len(chosen), len(references)), -np.inf)
        for i, image in enumerate(chosen):
            for dy in range(-RANGE_px, RANGE_px + 1):
                for dx in range(-RANGE_px, RANGE_px + 1):
                    own = polar(image, dx, dy).conj()
                    for products in ((weighted * own).sum(axis=1), (weighted.conj() * own).sum(axis=1)):
                        best[i] = np.maximum(best[i], scipy.fft.irfft(products, axis=1).max(axis=1))
        return best

    references = tangent_lowpass(images[:FEW_REFERENCES], CUTOFF, FALLOFF)
    taken = timed(lambda: scores(images[:FEW_IMAGES], references))
    return taken | {"ccfs": FEW_IMAGES * FEW_REFERENCES * (2 * RANGE_px + 1) ** 2 * 2}


def truth(name: str, seed: int, given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Return what one whole command came to, on simulated particles."""
    simulation, (command, *flags) = CASES[name]
    density = [] if given.map is None else ["--map", given.map, "--map-pixel-size", given.map_pixel_size]
    words = [*simulation, *SIMULATED, "--seed", str(seed)]
    particles = folder / "_".join(w.strip("-") for w in words)
    if not particles.exists():
        call("simulate", str(particles), *words, *density)
    run, scores = folder / f"{name}{seed}", folder / "scores.json"
    files = [str(particles / "particles.star"), *([flags.pop(0)] if command == "mra" else []), str(run)]
    begin = time.perf_counter()
    cpu = call(command, *files, "--radius", "28", "--rand-seed", str(seed), *flags)
    wall = time.perf_counter() - begin
    table = run if command == "mra" else run / "aligned.star"
    call("score", str(table), str(particles / "truth.csv"), "--json", str(scores))
    record, score = json.loads((run / "run.json").read_text()), json.loads(scores.read_text())
    passes = record["iterations"]
    return {
        "case": name,
        "seed": seed,
        "cpu_s": round(cpu, 1),
        "wall_s": round(wall, 1),
        "iterations": len(passes),
        "ari": score["ari"],
        "views_found": score["views_found"],
        "purity": score["purity"],
        "pixel_error": score["pixel_error"],
        "rotation_deg": score["rotation_deg"],
        "shift_px": score["shift_px"],
        "first_sizes": _span(passes[0]["sizes"]),
        "sizes": _span(passes[-1]["sizes"]),
        "filled_anew": sum(len(one["reseeded"]) for one in passes),
    }


def _span(sizes: list[int]) -> list[int]:
    return [min(sizes), int(np.median(sizes)), max(sizes)]


def rate(taken: dict[str, float], ccfs: int) -> str:
    """Return millions of CCFs a wall second, and a CPU second."""
    return f"{ccfs / taken['wall_s'] / 1e6:.3g} M/s, {ccfs / taken['cpu_s'] / 1e6:.3g} M a core"


def speed(threads: int) -> dict[str, Any]:
    """Measure all speeds, printing a line for each."""
    rng = np.random.default_rng(0)
    mask, noise = circle(RADIUS, BOX), rng.normal(size=(IMAGES + max(REFERENCES), BOX, BOX)).astype(np.float32)
    references = tangent_lowpass(noise[IMAGES:], CUTOFF, FALLOFF)
    signal = np.sqrt(SNR) * normalise_inside(references, mask)[np.arange(IMAGES) % len(references)]
    images = normalise_inside(noise[:IMAGES] + signal, mask)
    found: dict[str, Any] = {"images": IMAGES, "multireference": [], "reference_free": []}
    for one in multireference(images, references, threads):
        found["multireference"].append(one)
        per_iteration = one["iteration"]["wall_s"] * PUBLISHED_IMAGES / IMAGES
        print(
            f"mra {one['search']}, {one['references']} references: {one['iteration']['wall_s']:.2f} s an iteration "
            f"({one['iteration']['cpu_s']:.2f} CPU-s; {per_iteration:.0f} s of {PUBLISHED_IMAGES:,} images), scores "
            f"{rate(one['scores'], one['ccfs'])}",
            flush=True,
        )
    for one in reference_free(images, threads):
        found["reference_free"].append(one)
        taken = one["iteration"]
        line = f"{taken['wall_s']:.2f} s an iteration, {taken['cpu_s']:.2f} CPU-s"
        print(f"rfa {one['search']}, {one['range_px']} px: {line}", flush=True)
    for name, work in (("definition", definition), ("straightforward", straightforward)):
        found[name] = work(images)
        print(f"{name}: {rate(found[name], found[name]['ccfs'])}", flush=True)
    return found


def main() -> None:
    """Measure speed and truth, and print a line for each number."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--case", choices=CASES, action="append")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--map")
    parser.add_argument("--map-pixel-size", default="5")
    parser.add_argument("--skip-speed", action="store_true")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    found = {} if given.skip_speed else speed(given.threads)
    runs = []
    with tempfile.TemporaryDirectory() as folder:
        for name in given.case or list(CASES):
            for seed in given.seeds:
                runs.append(truth(name, seed, given, Path(folder)))
                print(json.dumps(runs[-1]), flush=True)
    if given.json:
        commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
        whole = {
            "date": f"{date.today():%Y-%m-%d}",
            "commit": commit.stdout.strip(),
            "machine": {"processor": processor(), "cores": os.cpu_count(), "instructions": instruction_set()},
            "threads": given.threads,
            "density": Path(given.map).name if given.map else "procedural",
            "speed": found,
            "runs": runs,
        }
        given.json.write_text(json.dumps(whole, indent=1) + "\n")


if __name__ == "__main__":
    main()
