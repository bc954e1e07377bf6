"""Images moved by their poses and added up by class: compiled code, NumPy and SciPy side by side in one process.

The task of a notebook of Cryo-RAlib: 105,247 images of 90 x 90 in 20 classes. Methods take turns, each counted at its
best of some rounds; SciPy moves one image a call, as users do, on fewer images.

    python benchmarks/bench_transform.py [--images 20000] [--box 90] [--classes 20] [--rounds 3] [--json FILE]
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from cryoisac.engine.moving import Moving, class_sums, placements
from cryoisac.engine.native import default_threads, instruction_sets
from cryoisac.model.poses import Poses
from cryoisac.ops.warp import rotate_shift

TASK = 105_247  # images of the notebook
FEW = 500  # images of one round of SciPy


def numpy_sums(images: Any, poses: Poses, labels: Any, k: int) -> Any:
    """Return class sums by array code."""
    sums = np.zeros((k, *images.shape[1:]))
    for start in range(0, len(images), 200):
        part = slice(start, start + 200)
        moved, order = rotate_shift(images[part], poses[part]), np.argsort(labels[part], kind="stable")
        first = np.flatnonzero(np.diff(labels[part][order], prepend=-1))
        sums[labels[part][order[first]]] += np.add.reduceat(moved[order], first, axis=0, dtype=np.float64)
    return sums


def scipy_sums(images: Any, poses: Poses, labels: Any, k: int) -> Any:
    """Return class sums by one bilinear transform of SciPy an image."""
    sums = np.zeros((k, *images.shape[1:]))
    h, w = images.shape[1:]
    centre = np.array([h // 2, w // 2], dtype=float)
    for image, (c, s, x, y, mirror), label in zip(
        images, placements(poses, None, (h, w), wraps=True), labels, strict=True
    ):
        matrix = np.array([[c, s], [-s, c]])  # rows and columns
        offset = centre - matrix @ (centre + np.array([y, x]))
        moved = ndimage.affine_transform(image, matrix, offset, order=1, mode="grid-wrap")
        sums[label] += moved[:, (2 * (w // 2) - np.arange(w)) % w] if mirror else moved
    return sums


def measured(tasks: dict[str, tuple[int, Callable[[int], Any]]], rounds: int) -> dict[str, dict[str, float]]:
    """Return images a second of each task, by the clock and by processor time; tasks take turns."""
    best: dict[str, dict[str, float]] = {name: {"wall": 0.0, "processor": 0.0} for name in tasks}
    for _ in range(rounds):
        for name, (n, task) in tasks.items():
            wall, processor = time.perf_counter(), time.process_time()
            task(n)
            spent = {"wall": time.perf_counter() - wall, "processor": time.process_time() - processor}
            best[name] = {clock: max(best[name][clock], n / spent[clock]) for clock in spent}
    return best


def main() -> None:
    """Print images a second, and how many times NumPy's and SciPy's speed that is."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--box", type=int, default=90)
    parser.add_argument("--classes", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    rng, n, k = np.random.default_rng(0), given.images, given.classes
    images = rng.standard_normal((n, given.box, given.box), dtype=np.float32)
    poses = Poses(angle_deg=rng.uniform(0, 360, n), shift_px=rng.normal(0, 3, (n, 2)), mirror=rng.random(n) < 0.5)
    labels = rng.integers(0, k, n)

    def compiled(**how: Any) -> Callable[[int], Any]:
        moving = Moving(**how)
        return lambda m: class_sums(images[:m], poses[:m], labels[:m], k, moving=moving)

    few = min(FEW, n)
    tasks: dict[str, tuple[int, Callable[[int], Any]]] = {
        "SciPy, linear": (few, lambda m: scipy_sums(images[:m], poses[:m], labels[:m], k)),
        "NumPy, quadratic": (min(4 * few, n), lambda m: numpy_sums(images[:m], poses[:m], labels[:m], k)),
        "one thread, linear": (n, compiled(method="linear", threads=1)),
        "one thread, quadratic": (n, compiled(threads=1)),
        "one thread, cubic": (n, compiled(method="cubic", threads=1)),
        "one thread, fourier": (few, compiled(method="fourier", threads=1)),
        "all threads, quadratic": (n, compiled()),
        **{f"one thread, quadratic, {s}": (n, compiled(threads=1, instructions=s)) for s in instruction_sets()[1:]},
    }
    part = (images[:few], poses[:few], labels[:few], k)
    apart = {
        "NumPy, quadratic": float(np.abs(compiled()(few) - numpy_sums(*part)).max()),
        "SciPy, linear": float(np.abs(compiled(method="linear", outside="cyclic")(few) - scipy_sums(*part)).max()),
    }
    rates = measured(tasks, given.rounds)
    print(f"{n} images of {given.box} px, {k} classes, {default_threads()} threads, {instruction_sets()[0]}")
    for name, rate in rates.items():
        ratios = [rate["processor"] / rates[other]["processor"] for other in ("NumPy, quadratic", "SciPy, linear")]
        print(
            f"{name:36} {rate['wall']:9.0f} images/s, {rate['processor']:9.0f} a processor second; "
            f"{ratios[0]:5.1f} x NumPy, {ratios[1]:5.1f} x SciPy; {TASK / rate['wall']:6.1f} s for {TASK}"
        )
    for name, difference in apart.items():
        print(f"largest difference of class sums of {few // k} images from {name}: {difference:.1e}")
    if given.json:
        record = {"images": n, "box": given.box, "classes": k, "threads": default_threads(), "rates": rates}
        given.json.write_text(json.dumps(record | {"differences": apart}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
