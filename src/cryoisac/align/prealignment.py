"""Pre-alignment: all images on one reference, to find where their particles are; rotations are thrown away."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from cryoisac.align.reference_free import clipped_offset_px
from cryoisac.comm import Comm
from cryoisac.engine.contract import Engine, Images, Search
from cryoisac.model.poses import Poses
from cryoisac.ops import fourier
from cryoisac.ops.center import prepare_reference
from cryoisac.ops.masks import circle
from cryoisac.ops.spectra import RingCorrelation, ring_correlation
from cryoisac.rules import OURS, Rules

ITERATIONS_PER_STAGE = 14
MEAN_SHIFT = -1


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What pre-alignment will do.

    Parameters
    ----------
    stages : tuple of (int, int)
        Range and step of the shifts of each stage, in pixels of the shrunk images.
    radius_px : int
        Last ring, and radius of the mask.
    center_method : int
        How the average is centred: -1 by the mean shift of the images, 0 not, 1 to 7 as ``ops.center``.
    kick_deg : float
        At every fourth iteration but the last ten, only angles that are multiples of this are tried; 0 for never.
    rules : Rules
        Quirks of the original that are kept.
    """

    stages: tuple[tuple[int, int], ...]
    radius_px: int
    center_method: int
    kick_deg: float
    rules: Rules = OURS

    @property
    def iterations(self) -> int:
        """Averages made; one alignment less is made."""
        return ITERATIONS_PER_STAGE * len(self.stages)

    def kick_at(self, iteration: int) -> float:
        """Return the step of the discrete angles of one iteration, 0 for all angles."""
        return self.kick_deg if iteration % 4 == 0 and iteration + 1 <= self.iterations - 10 else 0.0

    def search_at(self, iteration: int) -> Search:
        """Return the search of one iteration."""
        reach, step = self.stages[iteration // ITERATIONS_PER_STAGE]
        return Search(
            last_ring=self.radius_px,
            x_range_px=reach,
            y_range_px=reach,
            step_px=step,
            angle_step_deg=self.kick_at(iteration),
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class State:
    """Pre-alignment after a number of iterations.

    Parameters
    ----------
    iteration : int
        Iterations done.
    poses : Poses
        Poses on the reference, in pixels of the shrunk images.
    averages, references : ndarray, shape (iteration, h, w), float32
        The average of all images at each iteration, and the reference made of it.
    frcs : tuple of RingCorrelation
        Agreement of the two half averages at each iteration.
    """

    iteration: int
    poses: Poses
    averages: Images
    references: Images
    frcs: tuple[RingCorrelation, ...]


def stages(box_px: int, radius_px: int) -> tuple[tuple[int, int], ...]:
    """Return range and step of the shifts of each stage, so that the disc stays in the box.

    Parameters
    ----------
    box_px : int
        Side of the shrunk images.
    radius_px : int
        Particle radius in them.

    Returns
    -------
    tuple of (int, int)
        With t = (box - 2 (radius + 1)) // 2: while t // 4 > 0, range 4 (t // 4) in steps of t // 4, then t halved;
        one stage of range t in steps of 1 where t < 4.

    Notes
    -----
    The schedule of the original. ``ValueError`` where t < 0: the particle does not fit.
    """
    t = (box_px - 2 * (radius_px + 1)) // 2
    if t < 0:
        raise ValueError(f"a particle of radius {radius_px} px does not fit a box of {box_px} px")
    found = []
    if t // 4 == 0:
        found.append((t, 1))
    while t // 4 > 0:
        found.append((4 * (t // 4), t // 4))
        t //= 2
    return tuple(found)


def start(engine: Engine) -> State:
    """Return the state before the first iteration: every image is taken as centred."""
    n, h, w = engine.shape
    return State(
        iteration=0,
        poses=Poses.identity(n),
        averages=np.zeros((0, h, w), dtype=np.float32),
        references=np.zeros((0, h, w), dtype=np.float32),
        frcs=(),
    )


def finished(state: State, plan: Plan) -> bool:
    """Return whether all iterations are done."""
    return state.iteration >= plan.iterations


def step(engine: Engine, state: State, plan: Plan, comm: Comm) -> State:
    """Return the state after one more iteration: average, filter and centre it, pose every image on it."""
    n, box, _ = engine.shape
    average, frc = halves(engine, state.poses, plan, comm)
    kicked = state.iteration > 0 and plan.kick_at(state.iteration - 1) > 0
    method = 0 if plan.center_method == MEAN_SHIFT or kicked else plan.center_method
    prepared = prepare_reference(average, circle(plan.radius_px, box), frc, method)
    reference, centre_px = prepared.image, np.asarray(prepared.centre_px, dtype=np.float64)
    if plan.center_method == MEAN_SHIFT and state.iteration > 0:
        centre_px = mean_shift_px(state.poses)
        reference = fourier.shift(reference[None], -centre_px[None])[0]
    poses = state.poses
    if state.iteration + 1 < plan.iterations:
        follow = Poses(
            angle_deg=np.zeros(n),
            shift_px=np.tile(-centre_px, (n, 1)),
            mirror=np.zeros(n, dtype=bool),
        )
        offsets = clipped_offset_px(poses.then(follow), box, plan.radius_px)
        one = np.zeros(n, dtype=np.int64)
        poses = engine.match(reference[None], one, np.arange(n), offsets, plan.search_at(state.iteration)).poses
    return replace(
        state,
        iteration=state.iteration + 1,
        poses=poses,
        averages=np.concatenate((state.averages, average[None])),
        references=np.concatenate((state.references, reference[None])),
        frcs=(*state.frcs, frc),
    )


def halves(engine: Engine, poses: Poses, plan: Plan, comm: Comm) -> tuple[Images, RingCorrelation]:
    """Return the average of all images, (h, w), and the FRC of the averages of those with even and odd index."""
    n, box, _ = engine.shape
    share = comm.share(n)
    parity = np.arange(n)[share] % 2
    sums = comm.total(engine.quick_total(parity, np.arange(n)[share], poses[share], 2))
    average = (sums.sum(axis=0) / n).astype(np.float32)
    even, odd = sums.astype(np.float32)
    frc = ring_correlation(even, odd, mask=circle(plan.radius_px, box))
    if plan.rules.stretched_frequencies:
        frc = replace(frc, frequency=np.arange(box // 2 + 1) / (2 * (box // 2)))
    return average, frc


def mean_shift_px(poses: Poses) -> npt.NDArray[np.float64]:
    """Return the mean shift (x, y) of poses as seen on the reference: x counts reversed where mirrored."""
    sign = np.where(poses.mirror, -1.0, 1.0)
    return np.array([(sign * poses.shift_px[:, 0]).mean(), poses.shift_px[:, 1].mean()])
