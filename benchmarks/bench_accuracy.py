"""How well each mode of the engine finds what is known: reference, angle, shift and mirror of simulated images.

References are averages of so many views of one molecule as a class of 50 images at the same noise would give,
low-passed; images lie anywhere within the shift range, between pixels too.

    python benchmarks/bench_accuracy.py [--seeds 0 1 2 3 4] [--snr 0.1] [--images 600]
"""

import argparse
from dataclasses import replace
from typing import Any

import numpy as np

from cryoisac.engine.contract import Engine, Search
from cryoisac.engine.native import MODES, NativeEngine
from cryoisac.model.poses import Poses, pixel_error
from cryoisac.ops.filters import tangent_lowpass
from cryoisac.simulation.density import procedural
from cryoisac.simulation.particles import posed
from cryoisac.simulation.projection import Projector, orientation

BOX, RADIUS, RANGE_px = 76, 29, 3
VIEWS, MEMBERS = 100, 50
CUTOFFS, FALLOFF = (0.2, 0.45), 0.2
HEADER = "seed  FL/FH  mode    reference    mirror   angle_deg   shift_px   pixel_error_px (median, 90 %)"


class Known:
    """Images whose view and pose are known, and an average of each view.

    Parameters
    ----------
    seed : int
        Same seed, same molecule, views, poses, noise.
    n : int
        Images.
    snr : float
        Variance of the signal in the disc over that of the noise.
    """

    def __init__(self, seed: int, n: int, snr: float) -> None:
        rng = np.random.default_rng(seed)
        projector = Projector(procedural(box_px=BOX, pixel_size_A=4.0, seed=seed), box_px=BOX, pixel_size_A=4.0)
        z = rng.uniform(0, 1, VIEWS)
        views = orientation(rng.uniform(0, 360, VIEWS), np.degrees(np.arccos(z)), rng.uniform(0, 360, VIEWS))
        self.view = rng.integers(0, VIEWS, n)
        turned = Poses(angle_deg=rng.uniform(0, 360, n), shift_px=np.zeros((n, 2)), mirror=rng.random(n) < 0.5)
        self.poses = Poses.at_offsets(rng.uniform(-RANGE_px, RANGE_px, (n, 2))).then(turned)
        clean = projector.project(views)
        axis = np.arange(BOX) - BOX // 2
        inside = axis[:, None] ** 2 + axis**2 <= RADIUS**2
        noise = np.sqrt(clean[:, inside].var(axis=1).mean() / snr)
        images = projector.project(posed(views[self.view], self.poses), self.poses.offset_px())
        self.images = (images + noise * rng.standard_normal(images.shape)).astype(np.float32)
        self.averages = (clean + noise / np.sqrt(MEMBERS) * rng.standard_normal(clean.shape)).astype(np.float32)

    def accuracy(self, engine: Engine, cutoff: float) -> list[float]:
        """Return the parts of right references and mirrors, and the errors of angle, shift and both."""
        references = tangent_lowpass(self.averages, cutoff, FALLOFF).astype(np.float32)
        rows, still = np.arange(len(self.images)), np.zeros((len(self.images), 2))
        search = Search(last_ring=RADIUS, x_range_px=RANGE_px, y_range_px=RANGE_px)
        scores = engine.score(references, rows, still, replace(search, normalise_rings=True))
        found = engine.match(references, self.view, rows, still, search).poses
        right = found.mirror == self.poses.mirror
        angle = np.abs((found.angle_deg - self.poses.angle_deg + 180) % 360 - 180)[right]
        shift = np.linalg.norm(found.offset_px() - self.poses.offset_px(), axis=1)[right]
        error = pixel_error(found, self.poses, radius_px=RADIUS)
        known = (scores.argmax(axis=1) == self.view).mean()
        return [known, right.mean(), float(np.median(angle)), float(np.median(shift)), *np.quantile(error, (0.5, 0.9))]


def main() -> None:
    """Measure every seed in every mode; print the rows, their spread, and the differences with standard errors."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--snr", type=float, default=0.1)
    parser.add_argument("--images", type=int, default=600)
    given = parser.parse_args()
    print(HEADER)
    found: dict[tuple[float, str], list[list[float]]] = {}
    for seed in given.seeds:
        known = Known(seed, given.images, given.snr)
        for cutoff in CUTOFFS:
            for mode in MODES:
                values = known.accuracy(NativeEngine(known.images, mode=mode), cutoff)
                found.setdefault((cutoff, mode), []).append(values)
                print(f"{seed:4}  {cutoff:5}  {mode:5}  " + "  ".join(f"{v:9.4f}" for v in values))
    for (cutoff, mode), rows in found.items():
        print(f"mean  {cutoff:5}  {mode:5}  " + spread(rows, np.std(rows, axis=0)))
    for cutoff in CUTOFFS:
        apart = np.subtract(found[cutoff, "fast"], found[cutoff, "exact"])
        print(f"fast - exact {cutoff:5}  " + spread(apart, apart.std(axis=0) / np.sqrt(len(apart))))


def spread(rows: Any, error: Any) -> str:
    """Return the means of columns, each with an error."""
    pairs = zip(np.mean(rows, axis=0), np.atleast_1d(error), strict=True)
    return "  ".join(f"{mean:7.4f}±{by:.4f}" for mean, by in pairs)


if __name__ == "__main__":
    main()
