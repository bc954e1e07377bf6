"""Reference-free alignment: average all images as posed, make a reference of the average, pose every image on it."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cryoisac.align.averages import Halving, class_averages
from cryoisac.align.reference_free import clipped_offset_px
from cryoisac.align.stages import Course, Pass, as_numbers, moved, settled
from cryoisac.align.updating import Updating, updated
from cryoisac.engine.contract import Engine, Images
from cryoisac.model.poses import Poses
from cryoisac.streams import stream


@dataclass(frozen=True, eq=False, kw_only=True)
class Plan:
    """What a reference-free alignment does.

    Parameters
    ----------
    course : Course
        Stages, rings and when to stop.
    halving : Halving
        How images are averaged.
    updating : Updating
        How the average becomes the reference.
    """

    course: Course
    halving: Halving
    updating: Updating


@dataclass(frozen=True, eq=False, kw_only=True)
class State:
    """A reference-free alignment of n images after some iterations.

    Parameters
    ----------
    stage, in_stage : int
        The stage under way, and iterations done in it; after the last stage a last average is made.
    is_over : bool
        Whether that average was made too.
    poses : Poses
        Poses of the images on the last reference.
    averages, references : ndarray, shape (i, h, w), float32
        Average and reference of each iteration.
    correlation : ndarray, shape (r,)
        Fourier ring correlation of the halves of the last average.
    passes : tuple of Pass
        What each iteration came to: the one class has all images.
    """

    stage: int
    in_stage: int
    is_over: bool
    poses: Poses
    averages: Images
    references: Images
    correlation: npt.NDArray[np.float64]
    passes: tuple[Pass, ...]


def start(engine: Engine, *, seed: int | None = None) -> State:
    """Return the state before the first iteration: all images centred, with a seed turned at random."""
    n, h, w = engine.shape
    angle = np.zeros(n) if seed is None else stream(seed, "initial angles").uniform(0.0, 360.0, n)
    return State(
        stage=0,
        in_stage=0,
        is_over=False,
        poses=Poses(angle_deg=angle, shift_px=np.zeros((n, 2)), mirror=np.zeros(n, dtype=bool)),
        averages=np.zeros((0, h, w), dtype=np.float32),
        references=np.zeros((0, h, w), dtype=np.float32),
        correlation=np.zeros(h // 2 + 1),
        passes=(),
    )


def finished(state: State, plan: Plan) -> bool:
    """Return whether the last average was made."""
    return state.is_over


def step(engine: Engine, state: State, plan: Plan) -> State:
    """Return the state after one more iteration: average, make a reference, pose every image on it."""
    course, done = plan.course, len(state.passes)
    one, rows = np.zeros(len(state.poses), dtype=np.int64), np.arange(len(state.poses))
    is_last = state.stage == len(course.stages) or done + 1 >= course.most_iterations

    averages = class_averages(engine, one, state.poses, 1, plan.halving, careful=is_last)
    after_kick = done > 0 and course.kicked(done - 1)
    new = updated(averages, one, state.poses, plan.updating, center=not after_kick)
    poses, changed, error_px = new.poses, float("nan"), float("nan")
    if not is_last:
        search = course.search(state.stage, done, normalise_rings=False)
        centres = clipped_offset_px(new.poses, engine.shape[1], course.last_ring)
        poses = engine.match(new.references, one, rows, centres, search).poses
        changed, error_px = moved((one, new.poses), (one, poses), course.last_ring)
    is_still = done > 0 and not is_last and settled(course, done, changed, error_px)
    is_over = is_still or state.in_stage + 1 >= course.iterations
    mask = plan.updating.mask
    result = Pass(
        iteration=done,
        stage=min(state.stage, len(course.stages) - 1),
        changed=changed,
        pixel_error_px=error_px,
        sizes=(len(rows),),
        cutoffs=as_numbers(new.cutoffs),
        falloffs=as_numbers(new.falloffs),
        criterion=float((averages.images[0][mask].astype(np.float64) ** 2).sum()),
    )
    return State(
        stage=state.stage + (is_over and not is_last),
        in_stage=0 if is_over else state.in_stage + 1,
        is_over=is_last,
        poses=poses,
        averages=np.concatenate((state.averages, averages.images)),
        references=np.concatenate((state.references, new.references)),
        correlation=averages.frc.correlation[0],
        passes=(*state.passes, result),
    )
