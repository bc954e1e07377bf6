"""The course of an alignment: stages of ever smaller ranges, what an iteration came to, and when a stage is over."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cryoisac.engine.contract import Indices, Search
from cryoisac.model.poses import Poses, pixel_error

KICK_PERIOD, KICK_FREE = 4, 10  # every fourth iteration is kicked, the last ten are not


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Range and step of the shifts tried in a stage, in pixels."""

    x_range_px: float
    y_range_px: float
    step_px: float


@dataclass(frozen=True, kw_only=True)
class Course:
    """How an alignment goes on, and when it is over.

    Parameters
    ----------
    stages : tuple of Stage
        One after the other.
    iterations : int
        Most iterations of a stage.
    first_ring, last_ring, ring_step : int
        Rings on which images are compared, in pixels.
    mirror : bool
        Whether mirrored poses are tried.
    kick_deg : float
        At every fourth iteration but the last ten, only angles that are multiples of this are tried; 0 for never.
    still_share : float
        A stage is over when fewer than this share of the images change their class ...
    still_px : float
        ... and the mean pixel error of the others, from one iteration to the next, is at most this.
    """

    stages: tuple[Stage, ...]
    iterations: int
    first_ring: int
    last_ring: int
    ring_step: int = 1
    mirror: bool = True
    kick_deg: float = 0.0
    still_share: float = 0.01
    still_px: float = 0.1

    @property
    def most_iterations(self) -> int:
        """Iterations of all stages together, at most."""
        return self.iterations * len(self.stages)

    def kicked(self, iteration: int) -> bool:
        """Return whether an iteration, counted from 0 over all stages, tries discrete angles only."""
        return self.kick_deg > 0 and iteration % KICK_PERIOD == 0 and iteration + 1 <= self.most_iterations - KICK_FREE

    def may_settle(self, iteration: int) -> bool:
        """Return whether a stage may be over after an iteration: neither it nor a later one is kicked."""
        return not any(self.kicked(i) for i in range(iteration, self.most_iterations))

    def search(self, stage: int, iteration: int, *, normalise_rings: bool) -> Search:
        """Return the search of an iteration."""
        s = self.stages[stage]
        return Search(
            first_ring=self.first_ring,
            last_ring=self.last_ring,
            ring_step=self.ring_step,
            x_range_px=s.x_range_px,
            y_range_px=s.y_range_px,
            step_px=s.step_px,
            normalise_rings=normalise_rings,
            mirror=self.mirror,
            angle_step_deg=self.kick_deg if self.kicked(iteration) else 0.0,
        )


@dataclass(frozen=True, kw_only=True)
class Reseeded:
    """A class that was too small: who left it, and where its new members come from; classes count from 0."""

    label: int
    left: int
    source: int
    taken: int


@dataclass(frozen=True, kw_only=True)
class Pass:
    """What an iteration came to.

    Parameters
    ----------
    iteration, stage : int
        Counted from 0.
    changed : float
        Share of the images that changed class or mirror; NaN in the first.
    pixel_error_px : float
        Mean pixel error of the others between their poses before and now; NaN where there are none.
    sizes : tuple of int
        Members of each class.
    cutoffs, falloffs : tuple of float
        Low-pass filter of each reference, in cycles per pixel and relative.
    criterion : float
        Mean score of the images with their reference; reference-free, the power of the average under the mask.
    reseeded : tuple of Reseeded
        Classes that were too small.
    """

    iteration: int
    stage: int
    changed: float
    pixel_error_px: float
    sizes: tuple[int, ...]
    cutoffs: tuple[float, ...]
    falloffs: tuple[float, ...]
    criterion: float
    reseeded: tuple[Reseeded, ...] = ()


def moved(before: tuple[Indices, Poses], after: tuple[Indices, Poses], radius_px: float) -> tuple[float, float]:
    """Return the share of images that changed class or mirror, and the mean pixel error of the others (or NaN).

    Parameters
    ----------
    before, after : (ndarray, Poses)
        Classes and poses of the same images.
    radius_px : float
        Radius over which pixel errors are taken.
    """
    errors = pixel_error(before[1], after[1], radius_px=radius_px)
    same = (before[0] == after[0]) & np.isfinite(errors)
    return float(1 - same.mean()), float(errors[same].mean()) if same.any() else float("nan")


def settled(course: Course, iteration: int, changed: float, pixel_error_px: float) -> bool:
    """Return whether an iteration changed so little that its stage is over."""
    still = changed < course.still_share and pixel_error_px <= course.still_px
    return bool(still and course.may_settle(iteration))


def as_numbers(values: npt.NDArray[np.floating]) -> tuple[float, ...]:
    """Return an array as a tuple of floats."""
    return tuple(float(v) for v in values)
