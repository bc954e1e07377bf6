"""Reference-free alignment: average the images of a class as posed, then pose each on that average."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from cryoisac.engine.contract import Engine, Images, Indices, Search, largest_offset_px
from cryoisac.model.poses import Poses, pixel_error, rotate
from cryoisac.ops.filters import tangent_lowpass

Tick = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Refinement:
    """How classes are aligned to their own averages.

    Parameters
    ----------
    search : Search
        Rings and shift grid.
    iterations : int
        Averages of a class, the one that is left when all alignments are done included.
    first_cutoff, last_cutoff : float
        Low-pass cut-off at the first and the last iteration, in cycles per pixel; linear in between.
    falloff : float
        Relative fall-off of the low-pass.
    kick_deg : float
        At every fourth iteration but the last ten, only angles that are multiples of this are tried; 0 for never.
    still_px : float
        After the last kick, a class whose members all moved less than this is left as it is; 0 plays all iterations.
    """

    search: Search
    iterations: int
    last_cutoff: float
    falloff: float
    first_cutoff: float = 0.1
    kick_deg: float = 0.0
    still_px: float = 0.05

    def cutoff(self, iteration: int) -> float:
        """Return the cut-off of one iteration, in cycles per pixel."""
        return self.first_cutoff + (self.last_cutoff - self.first_cutoff) * iteration / (self.iterations - 1)

    def kicked(self, iteration: int) -> bool:
        """Return whether an iteration tries discrete angles only, which kick images out of local optima."""
        return self.kick_deg > 0 and iteration % 4 == 0 and iteration + 1 <= self.iterations - 10

    def may_stop(self, iteration: int) -> bool:
        """Return whether classes may come to rest at an iteration: none of the next is kicked."""
        return self.still_px > 0 and not any(self.kicked(i) for i in range(iteration, self.iterations))

    def search_at(self, iteration: int) -> Search:
        """Return the search of one iteration."""
        return replace(self.search, angle_step_deg=self.kick_deg if self.kicked(iteration) else 0.0)


def randomised(offset_px: npt.NDArray[np.float64], rng: np.random.Generator) -> Poses:
    """Return poses that bring ``offset_px``, shape (m, 2), to the centre and turn and mirror at random.

    Notes
    -----
    As SPARX starts a within-group refinement: the shift is kept, rotation and mirror are drawn.
    """
    m = len(offset_px)
    angle = rng.uniform(0.0, 360.0, m)
    return Poses(angle_deg=angle, shift_px=-rotate(angle, offset_px), mirror=rng.random(m) < 0.5)


def clipped_offset_px(poses: Poses, box_px: int, last_ring: int) -> npt.NDArray[np.float64]:
    """Return the offsets of poses, shape (m, 2), held so near the centre that the rings fit the image."""
    most = max(largest_offset_px(box_px, last_ring), 0)
    return np.clip(poses.offset_px(), -most, most)


def class_means(engine: Engine, labels: Indices, images: Indices, poses: Poses, k: int) -> Images:
    """Return the mean of each class's images in their poses, shape (k, h, w), resampled with care; empty ones are zero.

    Parameters
    ----------
    engine : Engine
        Holds the images.
    labels, images : ndarray, shape (m,), int64
        Class and image of each row; a row of class -1 is left out.
    poses : Poses
        Poses of the rows.
    k : int
        Number of classes.
    """
    return _means(engine.total(labels, images, poses, k), labels)


def quick_means(engine: Engine, labels: Indices, images: Indices, poses: Poses, k: int) -> Images:
    """Return the means of classes for use inside a loop, by ``Engine.quick_total``.

    Parameters
    ----------
    engine, labels, images, poses, k
        As for ``class_means``.
    """
    return _means(engine.quick_total(labels, images, poses, k), labels)


def _means(sums: npt.NDArray[np.float64], labels: Indices) -> Images:
    count = np.bincount(labels[labels >= 0], minlength=len(sums))
    mean: Images = (sums / np.maximum(count, 1)[:, None, None]).astype(np.float32)
    return mean


def align_reference_free(
    engine: Engine,
    labels: Indices,
    images: Indices,
    start: Poses,
    k: int,
    refinement: Refinement,
    tick: Tick = lambda what: None,
) -> Poses:
    """Align the rows of every class to the average of their class, again and again.

    Parameters
    ----------
    engine : Engine
        Holds the images.
    labels : ndarray, shape (m,), int64
        The class of each row, 0 to k - 1.
    images : ndarray, shape (m,), int64
        The image of each row.
    start : Poses
        Poses to begin with.
    k : int
        Number of classes.
    refinement : Refinement
        Search, iterations and filter.
    tick : callable
        Told before each alignment what is being done.

    Returns
    -------
    Poses
        Poses of the rows.

    Notes
    -----
    SPARX's within-group refinement: no centring, no mask. SPARX plays all iterations; here a class rests as soon as its
    members do, which leaves poses a few hundredths of a pixel from where they would have come.
    """
    poses, restless = start, np.arange(len(labels))
    box, ring = engine.shape[1], refinement.search.last_ring
    last = refinement.iterations - 1
    for iteration in range(last):
        tick(f"aligning classes to their averages, {iteration + 1} of {last}")
        classes, local = np.unique(labels[restless], return_inverse=True)
        before, rows = poses[restless], images[restless]
        means = quick_means(engine, local, rows, before, len(classes))
        averages = tangent_lowpass(means, refinement.cutoff(iteration), refinement.falloff)
        offsets = clipped_offset_px(before, box, ring)
        after = engine.match(averages, local, rows, offsets, refinement.search_at(iteration)).poses
        poses = poses.replaced(restless, after)
        if refinement.may_stop(iteration):
            moves = pixel_error(before, after, radius_px=ring) > refinement.still_px
            restless = restless[np.bincount(local[moves], minlength=len(classes))[local] > 0]
        if not len(restless):
            break
    return poses
