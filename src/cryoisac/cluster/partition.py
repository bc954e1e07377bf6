"""A partition of images into classes, each image with its pose, and what makes a better one of it."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from cryoisac.cluster.assign import equal_size
from cryoisac.cluster.wiener import Prior, Sums, averages, class_sums
from cryoisac.comm import Comm
from cryoisac.engine.contract import Indices
from cryoisac.engine.likelihood import Float32, LikelihoodEngine, PoseSearch, RingImages, shift_disc
from cryoisac.model.poses import Poses
from cryoisac.ops.hartley import ring_power
from cryoisac.ops.polar import Float
from cryoisac.ops.whiten import Support
from cryoisac.settings import Isac
from cryoisac.streams import stream

Tick = Callable[[str], None]

BLOCK = 256  # images worked on at once in NumPy
CLASS_CYCLES = 12.0  # in the particle's diameter: the detail that tells classes apart
COARSE_STEP, FINE_STEP = 0.3, 0.2  # of the shortest wavelength used: steps of shifts


@dataclass(frozen=True, eq=False, kw_only=True)
class LikelihoodBench:
    """What the likelihood method works with.

    Parameters
    ----------
    engine : LikelihoodEngine
        Holds the images.
    make_engine : callable
        ``make_engine(images)``: an engine that holds references as images.
    settings : Isac
        The settings, none left automatic.
    prior : Prior
        Power of particles and noise, as the images suggest it.
    noise : ndarray, shape (r,)
        Noise power by which the images were whitened.
    radius_px, reach_px : float
        Particle radius and the largest shift of a particle, in working pixels.
    support : Support
        What of the images is masked.
    comm : Comm
        The processes of the run.
    tick : callable
        Told at each pass in a few words what is being done.
    """

    engine: LikelihoodEngine
    make_engine: Callable[[RingImages], LikelihoodEngine]
    settings: Isac
    prior: Prior
    noise: Float
    radius_px: float
    reach_px: float
    support: Support
    comm: Comm
    tick: Tick

    @property
    def coarse(self) -> PoseSearch:
        """The search by which classes are told apart: ``CLASS_CYCLES`` cycles in the particle's diameter."""
        return self.search(self.class_ring, COARSE_STEP)

    @property
    def fine(self) -> PoseSearch:
        """The search of poses, by the same rings with finer shifts."""
        return self.search(self.class_ring, FINE_STEP)

    @property
    def class_ring(self) -> int:
        """The last ring by which classes are told apart."""
        radii = self.engine.images.rings.radii
        wanted = round(CLASS_CYCLES * self.engine.images.box_px / (2 * self.radius_px))
        return min(max(wanted, radii[0]), radii[-1])

    def search(self, last_ring: int, step: float) -> PoseSearch:
        """Return the search of the whole disc of shifts, its step given in wavelengths of the last ring."""
        step_px = step * self.engine.images.box_px / last_ring
        return PoseSearch(last_ring=last_ring, shifts_px=shift_disc(self.reach_px, step_px))


@dataclass(frozen=True, eq=False, kw_only=True)
class Partition:
    """``n`` images in ``k`` classes.

    Parameters
    ----------
    labels : ndarray, shape (n,), int64
        Class of each image, 0 to k - 1.
    poses : Poses
        Pose of each image on its class.
    gain : ndarray, shape (n,), float32
        Log-likelihood gain of each image on its class, over no particle at all.
    k : int
        Number of classes; some may be empty.
    """

    labels: Indices
    poses: Poses
    gain: Float32
    k: int

    @property
    def sizes(self) -> Indices:
        """Members of each class, shape (k,)."""
        return np.bincount(self.labels, minlength=self.k)

    @property
    def likelihood(self) -> float:
        """Sum of all gains."""
        return float(self.gain.sum(dtype=np.float64))


def sums_of(bench: LikelihoodBench, partition: Partition) -> Sums:
    """Return the sums of a partition's classes."""
    rows = np.arange(len(partition.labels))
    return class_sums(bench.engine, partition.labels, rows, partition.poses, partition.k)


def shared_prior(bench: LikelihoodBench, partition: Partition) -> Prior:
    r"""Return the prior whose signal is what averages of half classes share.

    .. math:: P(k) = \sum_c \sqrt{D_a D_b}\, \overline{R_a R_b} \Big/ \sum_c \sqrt{D_a D_b}

    over the classes, halved at random, with unfiltered averages R = N / D: noise is not shared.
    """
    rings = bench.engine.images.rings
    draw = stream(bench.settings.rand_seed, "half sets")
    half = draw.integers(0, 2, len(partition.labels))
    rows, k = np.arange(len(half)), partition.k
    labels = np.where(partition.labels >= 0, 2 * partition.labels + half, -1)
    sums = class_sums(bench.engine, labels, rows, partition.poses, 2 * k)
    whole = sums.sizes.reshape(-1, 2).min(axis=1) > 0
    denominator = np.maximum(sums.denominator.reshape(k, 2, len(rings.radii)), 1e-6)
    raw = sums.numerator.reshape(k, 2, sum(rings.lengths)) / np.repeat(denominator, rings.lengths, axis=2)
    both, either = ring_power(raw[:, 0] + raw[:, 1], rings), ring_power(raw[:, 0] - raw[:, 1], rings)
    weight = np.sqrt(denominator.prod(axis=1)) * whole[:, None]
    shared = (weight * (both - either) / 4).sum(axis=0) / np.maximum(weight.sum(axis=0), 1e-9)
    return replace(bench.prior, signal=np.maximum(shared, 1e-3 * bench.prior.share))


def references_of(bench: LikelihoodBench, partition: Partition) -> Float32:
    """Return the Wiener averages of a partition's classes."""
    return averages(sums_of(bench, partition), bench.prior, bench.engine.images.rings)


def aligned(bench: LikelihoodBench, references: Float32, labels: Indices, search: PoseSearch) -> Partition:
    """Return the partition in which every image keeps its class and takes its best pose there."""
    match = bench.engine.match(references, labels, np.arange(len(labels)), search)
    return Partition(labels=labels, poses=match.poses, gain=match.score, k=len(references))


def scores_of(bench: LikelihoodBench, references: Float32, search: PoseSearch) -> Float32:
    """Return the gain of each image with each reference, shape (n, k); each rank scores its share."""
    rows = np.arange(len(bench.engine.images))
    return bench.comm.gather(bench.engine.score(references, rows[bench.comm.share(len(rows))], search))


def assigned(scores: npt.NDArray[np.float32], sizes: str) -> Indices:
    """Return the class of each image by its scores.

    Parameters
    ----------
    scores : ndarray, shape (n, k)
        Gains.
    sizes : str
        "free": the best class; "equal": classes of equal size.
    """
    if sizes == "equal":
        return equal_size(scores)
    best: Indices = scores.argmax(axis=1)
    return best


def sorted_once(bench: LikelihoodBench, partition: Partition, search: PoseSearch, sizes: str) -> Partition:
    """Return the partition after one pass: average, score, assign, pose."""
    references = references_of(bench, partition)
    labels = assigned(scores_of(bench, references, search), sizes)
    return aligned(bench, references, labels, search)


def compact(partition: Partition) -> Partition:
    """Return the partition without its empty classes."""
    used = np.flatnonzero(partition.sizes)
    place = np.full(partition.k, -1)
    place[used] = np.arange(len(used))
    return Partition(labels=place[partition.labels], poses=partition.poses, gain=partition.gain, k=len(used))


def member_references(bench: LikelihoodBench, members: Indices, partition: Partition) -> Float32:
    """Return averages of the members alone, filtered by what half sets share."""
    known = shared_prior(bench, replace(partition, labels=members))
    sums = class_sums(bench.engine, members, np.arange(len(members)), partition.poses, partition.k)
    return averages(sums, known, bench.engine.images.rings)
