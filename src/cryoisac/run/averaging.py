"""Full-size averages of a finished classification, class by class, each saved when it is done."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cryoisac.cluster.adjusting import adjusted
from cryoisac.cluster.halves import class_average
from cryoisac.cluster.local import LocalSearch, align_locally, halves_of
from cryoisac.engine.contract import Images, Indices
from cryoisac.engine.likelihood import RingImages
from cryoisac.engine.likelihood_native import NativeLikelihoodEngine
from cryoisac.model.poses import Poses
from cryoisac.run import checkpoint
from cryoisac.run.full_size import FullSize, full_rings, half_sums, noise_power, ring_images, support_of
from cryoisac.run.progress import Progress
from cryoisac.settings import Averaging

Float = npt.NDArray[np.float64]
ROOM = 2.0  # times the frequency that the halves agree on at first: as far as rings are made for refining
LEAST_FREQUENCY = 0.15


@dataclass(frozen=True, eq=False, kw_only=True)
class Members:
    """One class before it is averaged.

    Parameters
    ----------
    number : int
        Its number, from 1.
    images : ndarray, shape (m,), int64
        Its members, ascending.
    poses : Poses
        Pose of each member, in pixels of the particles.
    """

    number: int
    images: Indices
    poses: Poses


@dataclass(frozen=True, eq=False, kw_only=True)
class Averaged:
    """One class as it was averaged, as it is saved.

    Parameters
    ----------
    number : int
        Its number, from 1.
    image : ndarray, shape (n, n), float32
        The average, adjusted and filtered.
    correlation : ndarray, shape (n // 2 + 1,)
        Fourier ring correlation of its halves; NaN where there were too few members.
    poses : ndarray, shape (m, 4)
        Angle, x, y and mirror of each member, in pixels of the particles; refined where that was asked for.
    cutoff, bfactor_A2 : float or None
        As in ``adjusting.Adjusted``.
    fh1, fh2 : float
        As there.
    rounds : int
        Rounds of local alignment.
    """

    number: int
    image: Images
    correlation: Float
    poses: Float
    cutoff: float | None
    bfactor_A2: float | None
    fh1: float
    fh2: float
    rounds: int


@dataclass(frozen=True, eq=False, kw_only=True)
class Averages:
    """What averages are made of, and how.

    Parameters
    ----------
    job : FullSize
        The particles.
    classes : tuple of Members
        The classes.
    settings : Averaging
        The settings, none left automatic that has a value.
    pixel_size_A : float or None
        Pixel size of the particles.
    reach_px : float
        How far members may move in local alignment.
    measured : ndarray, shape (m,), or None
        Power spectrum that averages are brought to, where a file gave one.
    folder : Path
        Where finished classes are kept.
    """

    job: FullSize
    classes: tuple[Members, ...]
    settings: Averaging
    pixel_size_A: float | None
    reach_px: float
    measured: Float | None
    folder: Path


def reach_px(xr: float | None, ratio: float) -> float:
    """Return how far members may move: ``xr``, and a working pixel at least, rounded up to whole pixels."""
    return max(xr or 0.0, float(int(1 / ratio + 0.99999)))


def average_all(plan: Averages, progress: Progress) -> Iterator[Averaged]:
    """Yield every class, averaged now or found as it was saved."""
    progress.stage("Averaging", sum(len(c.images) for c in plan.classes), "particles")
    noise: Float | None = None
    for members in plan.classes:
        path = _saved(plan, members)
        result = checkpoint.load(path, Averaged)
        if result is None:
            if plan.settings.local_alignment and noise is None:
                progress.detail("measuring the noise")
                noise = noise_power(plan.job, np.sort(np.concatenate([c.images for c in plan.classes])))
            result = average_class(plan, members, noise)
            checkpoint.save(path, result)
            progress.note(line_of(result, len(members.images), plan.pixel_size_A))
        progress.advance(len(members.images))
        yield result


def forget(plan: Averages) -> None:
    """Remove the saved classes, once all that is made of them is written."""
    for members in plan.classes:
        _saved(plan, members).unlink(missing_ok=True)


def _saved(plan: Averages, members: Members) -> Path:
    return plan.folder / f"class_{members.number:05d}.npz"


def line_of(result: Averaged, members: int, pixel_size_A: float | None) -> str:
    """Return what is said of a class that was averaged."""
    if result.cutoff is None:
        told = "resolution not known"
    elif pixel_size_A is None:
        told = f"{1 / result.cutoff:.1f} px"
    else:
        told = f"{pixel_size_A / result.cutoff:.1f} Å"
    b = "" if result.bfactor_A2 is None else f", B {result.bfactor_A2:.0f} Å²"
    return f"Class {result.number}: {members} members, {told}{b}, FH1 {result.fh1:.3f}, FH2 {result.fh2:.3f}"


def average_class(plan: Averages, members: Members, noise: Float | None) -> Averaged:
    """Return one class averaged, its poses refined first where that is asked for.

    Parameters
    ----------
    plan : Averages
        What averages are made of, and how.
    members : Members
        The class.
    noise : ndarray, shape (r,), or None
        ``noise_power``, where poses are refined.
    """
    half = halves_of(len(members.images), plan.settings.rand_seed, members.number)
    poses, rounds = members.poses, 0
    sums = half_sums(plan.job, members.images, poses, half)
    average = class_average(sums, plan.job.radius_px)
    if noise is not None:
        first = adjusted(average, plan.settings, plan.job.radius_px, plan.pixel_size_A, plan.measured).cutoff
        poses, rounds = _refined(plan, members, half, (noise, first))
        average = class_average(half_sums(plan.job, members.images, poses, half), plan.job.radius_px)
    done = adjusted(average, plan.settings, plan.job.radius_px, plan.pixel_size_A, plan.measured)
    return Averaged(
        number=members.number,
        image=done.image,
        correlation=average.correlation,
        poses=poses.rows(),
        cutoff=done.cutoff,
        bfactor_A2=done.bfactor_A2,
        fh1=done.fh1,
        fh2=done.fh2,
        rounds=rounds,
    )


def _refined(
    plan: Averages, members: Members, half: npt.NDArray[np.int64], known: tuple[Float, float | None]
) -> tuple[Poses, int]:
    """Return the poses of a class after local alignment, and its rounds."""
    job, s, box = plan.job, plan.settings, plan.job.box_px
    noise, cutoff = known
    support = support_of(job, plan.reach_px)
    highest = max(ROOM * (cutoff or 0.0), LEAST_FREQUENCY) if s.fh is None else s.fh
    rings = full_rings(support, math.ceil(highest * box))
    search = LocalSearch(
        reach_px=plan.reach_px,
        step_px=s.ts,
        rounds=s.maxit,
        radius_px=job.radius_px,
        last_ring=None if s.fh is None else rings.radii[-1],
    )

    def engine(images: RingImages) -> NativeLikelihoodEngine:
        return NativeLikelihoodEngine(images, job.threads)

    path = plan.folder / "rings.npy"
    try:
        images = ring_images(path, job, members.images, members.poses, noise, (rings, support))
        moves, rounds = align_locally(engine(images), engine, half, search, support.share)
    finally:
        path.unlink(missing_ok=True)
    return members.poses.then(moves), rounds
