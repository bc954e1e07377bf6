"""How averages made of ring coefficients, as inside loops, differ from resampled ones, as they are published.

Classes of images of known pose, laid on each other in these poses; everything is compared inside the particle circle.

    python benchmarks/bench_averages.py [--views 20] [--members 50]
"""

import argparse
from typing import Any

import numpy as np

from cryoisac.align.reference_free import class_means, quick_means
from cryoisac.engine.native import NativeEngine
from cryoisac.model.poses import Poses
from cryoisac.ops.filters import tangent_lowpass
from cryoisac.ops.masks import circle
from cryoisac.ops.spectra import ring_correlation
from cryoisac.simulation.density import procedural
from cryoisac.simulation.particles import posed
from cryoisac.simulation.projection import Projector, orientation

BOX, RADIUS, REACH_px = 76, 29, 3
SNR, FL, FH, FALLOFF = 0.1, 0.2, 0.45, 0.2
FREQUENCIES = (0.1, 0.2, 0.3, 0.4)


def classes(views: int, members: int) -> tuple[Any, Any, Any, Poses]:
    """Return the truth of each class, its images without noise, the class of each image, and its pose."""
    rng = np.random.default_rng(0)
    projector = Projector(procedural(box_px=BOX, pixel_size_A=4.0, seed=0), box_px=BOX, pixel_size_A=4.0)
    tilt = np.degrees(np.arccos(rng.uniform(0, 1, views)))
    axes = orientation(rng.uniform(0, 360, views), tilt, rng.uniform(0, 360, views))
    labels, n = np.repeat(np.arange(views), members), views * members
    turned = Poses(angle_deg=rng.uniform(0, 360, n), shift_px=np.zeros((n, 2)), mirror=rng.random(n) < 0.5)
    poses = Poses.at_offsets(rng.uniform(-REACH_px, REACH_px, (n, 2))).then(turned)
    return projector.project(axes), projector.project(posed(axes[labels], poses), poses.offset_px()), labels, poses


def apart(found: Any, truth: Any) -> float:
    """Return the relative L2 difference inside the circle."""
    inside = circle(RADIUS, BOX)
    return float(np.linalg.norm((found - truth)[:, inside]) / np.linalg.norm(truth[:, inside]))


def agreement(found: Any, truth: Any) -> list[float]:
    """Return the mean Fourier ring correlation at some frequencies."""
    curves = [ring_correlation(a, b, mask=circle(RADIUS, BOX)) for a, b in zip(found, truth, strict=True)]
    return [float(np.mean([np.interp(f, c.frequency, c.correlation) for c in curves])) for f in FREQUENCIES]


def main() -> None:
    """Print the differences for images with and without noise, before and after the low-pass filter."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--views", type=int, default=20)
    parser.add_argument("--members", type=int, default=50)
    given = parser.parse_args()
    truth, clean, labels, poses = classes(given.views, given.members)
    rows, k = np.arange(len(labels)), given.views
    noise = np.sqrt(truth[:, circle(RADIUS, BOX)].var(axis=1).mean() / SNR)
    noisy = clean + noise * np.random.default_rng(1).standard_normal(clean.shape)
    print(
        "images  low-pass  rings - resampled  FRC at "
        + "  ".join(map(str, FREQUENCIES))
        + "  to truth: rings, resampled"
    )
    for name, images in (("clean", clean), (f"SNR {SNR}", noisy)):
        engine = NativeEngine(images.astype(np.float32), mode="fast")
        rings, resampled = (means(engine, labels, rows, poses, k) for means in (quick_means, class_means))
        for cutoff in (None, FH, FL):
            three = [rings, resampled, truth.astype(np.float32)]
            a, b, t = three if cutoff is None else (tangent_lowpass(x, cutoff, FALLOFF) for x in three)
            curve = "  ".join(f"{c:.4f}" for c in agreement(a, b))
            print(f"{name:8} {cutoff or 'none':5} {apart(a, b):8.2%}   {curve}   {apart(a, t):8.2%} {apart(b, t):8.2%}")


if __name__ == "__main__":
    main()
