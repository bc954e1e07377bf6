"""How long the likelihood engine takes, and how far compression changes its gains; a part of ``bench_engine.py``.

Images are views of a simulated molecule in unit noise, references averages of such images. Times on one thread are CPU
times, which neighbours disturb less than wall times.
"""

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from cryoisac.engine.likelihood import PoseSearch, RingImages, shift_disc, used_rings
from cryoisac.engine.likelihood_native import NativeLikelihoodEngine
from cryoisac.engine.likelihood_reference import LikelihoodReferenceEngine
from cryoisac.model.poses import Poses
from cryoisac.ops import polar
from cryoisac.ops.hartley import ring_transform, transform_rings
from cryoisac.simulation.density import procedural
from cryoisac.simulation.projection import Projector, orientation

BOX, RADIUS_px, LAST_RINGS = 76, 29, (14, 18, 28, 37)
REFERENCES = (10, 50, 200)
SHIFTS = shift_disc(4.5, 1.5)
SNR, AVERAGED, ROWS, MEMBERS, CHECKED = 0.1, 50, 1024, 20, 48


def fastest_s(work: Callable[[], Any], threads: int, repeats: int) -> float:
    """Return the shortest of some runs in seconds: of CPU on one thread, else of the wall clock."""
    clock, times = time.process_time if threads == 1 else time.perf_counter, []
    for _ in range(repeats):
        start = clock()
        work()
        times.append(clock() - start)
    return min(times)


def stored_images() -> tuple[Any, RingImages]:
    """Return rings of averages, one a view, and of as many noisy images as rows are asked for."""
    rng = np.random.default_rng(7)
    views = max(REFERENCES)
    tilt = np.degrees(np.arccos(rng.uniform(-1, 1, views)))
    projector = Projector(procedural(box_px=BOX, pixel_size_A=4.0, seed=0), box_px=BOX, pixel_size_A=4.0)
    clean = projector.project(orientation(rng.uniform(0, 360, views), tilt, np.zeros(views)))
    clean *= np.sqrt(SNR) / clean.std()
    y, x = np.mgrid[:BOX, :BOX] - BOX // 2
    mask = np.clip(RADIUS_px + 2 - np.hypot(x, y), 0, 1)
    rings = transform_rings(max(LAST_RINGS), first=2, box_px=BOX, support_px=RADIUS_px + 5)
    averages = clean + rng.standard_normal(clean.shape) / np.sqrt(AVERAGED)
    noisy = clean[np.arange(ROWS) % views] + rng.standard_normal((ROWS, BOX, BOX))
    samples = ring_transform((noisy * mask).astype(np.float32), rings)
    images = RingImages(rings=rings, box_px=BOX, samples=samples, ctf2=np.ones((ROWS, len(rings.radii)), np.float32))
    return ring_transform((averages * mask).astype(np.float32), rings), images


def deviation(engine: NativeLikelihoodEngine, references: Any, search: PoseSearch) -> float:
    """Return how far gains deviate from the definition, root mean square, in units of their spread between angles."""
    rows, few = np.arange(CHECKED), references[: REFERENCES[0]]
    error = engine.score(few, rows, search) - LikelihoodReferenceEngine(engine.images).score(few, rows, search)
    rings = used_rings(engine.images.rings, search.last_ring)
    own, other = (polar.spectra(s[:, : sum(rings.lengths)], rings) for s in (few, engine.images.samples[rows]))
    curves = polar.correlate(polar.weigh(own, rings)[None], other[:, None], rings)
    return float(np.sqrt(np.mean((error / np.concatenate(curves, axis=-1).std(axis=-1)) ** 2)))


def measure(engine: NativeLikelihoodEngine, references: Any, last_ring: int, threads: int, repeats: int) -> Any:
    """Return the costs of one last ring."""
    search, rows = PoseSearch(last_ring=last_ring, shifts_px=SHIFTS), np.arange(ROWS)
    found: dict[str, Any] = {"last_ring": last_ring, "shifts": len(SHIFTS), "score": {}}
    for k in REFERENCES:
        m = ROWS if k < max(REFERENCES) else ROWS // 4
        ready, gains = engine.ready(references[:k], search), np.empty((m, k), np.float32)
        seconds = fastest_s(lambda r=ready, g=gains, m=m: engine.ask(r, rows[:m], g), threads, repeats)
        preparing = fastest_s(lambda k=k: engine.ready(references[:k], search), threads, repeats)
        found["score"][k] = {
            "coefficients": ready.basis.size,
            "angles": ready.angles,
            "triple_us": seconds / (m * k * len(SHIFTS)) * 1e6,
            "ready_ms": preparing * 1e3,
        }
    classes = -(-ROWS // MEMBERS)
    own = references[:classes]
    poses = Poses(angle_deg=rows * 7.0 % 360, shift_px=np.zeros((ROWS, 2)), mirror=rows % 2 == 1)
    questions: dict[str, Callable[[], Any]] = {
        "match": lambda: engine.match(own, rows // MEMBERS, rows, search),
        "refine": lambda: engine.refine(own, rows // MEMBERS, rows, poses, last_ring),
        "total": lambda: engine.total(rows // MEMBERS, rows, poses, classes),
    }
    for name, question in questions.items():
        found[f"{name}_rows_per_s"] = ROWS / fastest_s(question, threads, repeats)
    found["deviation"] = deviation(engine, references, search)
    return found


def measure_all(threads: int, instructions: str, repeats: int, gflops: float) -> list[dict[str, Any]]:
    """Return, and print, the costs of all last rings; gflops: the rate of a matrix product on one core."""
    references, images = stored_images()
    engine = NativeLikelihoodEngine(images, threads, instructions=instructions)
    print(
        f"rings of {BOX} px, {len(SHIFTS)} shifts: last  K  coefficients angles  a triple, ns  times bound  prepare, ms"
    )
    results = []
    for last in LAST_RINGS:
        found = measure(engine, references, last, threads, repeats)
        for k, r in found["score"].items():
            flops = 8 * r["coefficients"] + 5 * r["angles"] * np.log2(r["angles"])
            r["of_bound"] = float(r["triple_us"] * 1e3 * gflops * threads / flops)
            print(
                f"{last:35} {k:4} {r['coefficients']:10} {r['angles']:7} {r['triple_us'] * 1e3:12.1f}"
                f" {r['of_bound']:12.2f} {r['ready_ms']:12.1f}"
            )
        rates = "  ".join(f"{name} {found[f'{name}_rows_per_s']:,.0f}" for name in ("match", "refine", "total"))
        print(f"{last:35} rows a second: {rates}; gains deviate by {found['deviation']:.3f} of their spread")
        results.append(found)
    return results
