"""Which images are members: those that a class explains better than noise, better than its rivals, and stably."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from cryoisac.cluster.partition import (
    BLOCK,
    LikelihoodBench,
    Partition,
    scores_of,
    shared_prior,
)
from cryoisac.cluster.repeats import own_share, repeat_alignments
from cryoisac.cluster.wiener import Prior, Sums, averages, class_sums
from cryoisac.engine.contract import Indices
from cryoisac.engine.likelihood import Float32, RingImages, gain_norms, used_rings
from cryoisac.model.ledger import AMBIGUOUS, JUNK_NOISE, JUNK_PAIR, MEMBER, SMALL_CLASS, UNSTABLE
from cryoisac.ops.hartley import ring_power, ring_transform
from cryoisac.ops.outliers import deviations
from cryoisac.ops.polar import Float
from cryoisac.streams import stream

NOISE_IMAGES = 512
NOISE_QUANTILE = 0.9
LEAST_LEAD = 0.5  # natural units: odds of 1.6 to 1 for the best class against the second
LEAST_SURPLUS, MISTAKEN = 3.0, 0.15  # pure particles have a longer tail above than below
REPEATS_AGREED = 0.5  # of the repeated alignments of its class must give a member its pose


def noise_images(bench: LikelihoodBench) -> RingImages:
    """Return images of nothing but noise, masked like the others and with the CTFs of some of them.

    Bars all lie along x: noise looks the same from every side.
    """
    images = bench.engine.images
    draw = stream(bench.settings.rand_seed, "noise images")
    white = draw.normal(size=(NOISE_IMAGES, images.box_px, images.box_px)).astype(np.float32)
    white *= bench.support.mask(0.0)
    ctf2 = images.ctf2[draw.integers(0, len(images), NOISE_IMAGES)]
    samples = ring_transform(white, images.rings) * np.repeat(np.sqrt(ctf2), images.rings.lengths, axis=1)
    return RingImages(rings=images.rings, box_px=images.box_px, samples=samples, ctf2=ctf2)


@dataclass(frozen=True, eq=False, kw_only=True)
class Explained:
    """How well each image is explained by its best class and by the next.

    Parameters
    ----------
    label, rival : ndarray, shape (n,), int64
        Best and second best class; the second is -1 where there is but one.
    gain : ndarray, shape (n,), float32
        Gain on the best class.
    lead : ndarray, shape (n,), float32
        How far the gain on the second best lies behind; infinite where there is but one.
    """

    label: Indices
    rival: Indices
    gain: Float32
    lead: Float32


def explained(scores: Float32) -> Explained:
    """Return the best two classes of each image by its gains, shape (n, k); -inf for classes that are out."""
    n = len(scores)
    each = np.arange(n)
    best = scores.argmax(axis=1)
    gain = scores[each, best]
    others = scores.copy()
    others[each, best] = -np.inf
    second = others.argmax(axis=1)
    lead = gain - others[each, second]
    return Explained(label=best, rival=np.where(np.isfinite(lead), second, -1), gain=gain, lead=lead)


@dataclass(frozen=True, eq=False, kw_only=True)
class Verdict:
    """What became of each image.

    Parameters
    ----------
    partition : Partition
        Classes that are accepted; every image has a label, members or not.
    reason : ndarray, shape (n,), str
        Empty for members, else a reason of the ledger.
    rival : ndarray, shape (n,), int64
        Second best class, -1 for none.
    pixel_error_px : ndarray, shape (n,)
        Of the repeated alignments.
    fellowship : ndarray, shape (n,)
        Membership stability.
    """

    partition: Partition
    reason: npt.NDArray[np.str_]
    rival: Indices
    pixel_error_px: Float
    fellowship: Float


@dataclass(frozen=True, eq=False, kw_only=True)
class Court:
    """What images are judged by.

    Parameters
    ----------
    references : ndarray, shape (k, samples), float32
        Averages of cores.
    sums : Sums
        What they were made of.
    own : ndarray, shape (n,), int64
        The class whose average an image is part of, or -1.
    prior : Prior
        By which they were filtered.
    """

    references: Float32
    sums: Sums
    own: Indices
    prior: Prior


def open_court(bench: LikelihoodBench, partition: Partition, core: npt.NDArray[np.bool_]) -> Court:
    """Return the averages of the cores of classes; of all members where a class has no core."""
    has_core = np.bincount(partition.labels[core], minlength=partition.k) > 0
    own = np.where(core | ~has_core[partition.labels], partition.labels, -1)
    prior = shared_prior(bench, replace(partition, labels=own))
    sums = class_sums(bench.engine, own, np.arange(len(own)), partition.poses, partition.k)
    return Court(references=averages(sums, prior, bench.engine.images.rings), sums=sums, own=own, prior=prior)


def noise_level(bench: LikelihoodBench, court: Court) -> float:
    """Return the gain that ``NOISE_QUANTILE`` of images of nothing but noise stay below, each on its best class."""
    noise = bench.make_engine(noise_images(bench))
    gain = noise.score(court.references, np.arange(NOISE_IMAGES), bench.coarse).max(axis=1)
    return float(np.quantile(gain, NOISE_QUANTILE))


def surplus(bench: LikelihoodBench, court: Court, found: Explained, gain: Float) -> Float:
    r"""Return how much more power each image holds than its class explains, in deviations from its class's median.

    .. math:: \sum_k 2 \pi k\, P \left( \overline{(C x)^2} - f C^2 - a^2 C^4 \overline{R^2} \right)

    with the contrast a that fits best; a second particle in the image gives a surplus.

    Parameters
    ----------
    bench, court, found
        As above.
    gain : ndarray, shape (n,)
        Gains on the best classes, less each image's own share.
    """
    images = bench.engine.images
    rings = used_rings(images.rings, bench.class_ring)
    r, size = len(rings.radii), sum(rings.lengths)
    area = 2 * np.pi * np.array(rings.radii) * court.prior.signal[:r]
    model = ring_power(court.references[:, :size], rings)
    norm = gain_norms(court.references, images.ctf2, rings)[np.arange(len(found.label)), found.label]
    contrast = 0.5 * (1 + gain / np.maximum(norm, 1e-9))
    value = np.empty(len(found.label))
    for rows in np.array_split(np.arange(len(value)), max(1, len(value) // BLOCK)):
        ctf2 = images.ctf2[rows, :r].astype(np.float64)
        excess = ring_power(images.samples[rows, :size], rings) - court.prior.share * ctf2
        excess -= (contrast[rows] ** 2)[:, None] * ctf2**2 * model[found.label[rows]]
        spread = np.sqrt((ctf2**2) @ (area**2 / np.array(rings.radii)))
        value[rows] = (excess @ area) / np.maximum(spread, 1e-9)
    return standardised(value, found.label, len(court.references))


def standardised(values: Float, labels: Indices, k: int) -> Float:
    """Return values less their class's median, in standard deviations as its quartiles give them."""
    result = np.zeros(len(values))
    for c in range(k):
        own = np.flatnonzero(labels == c)
        if len(own) > 1:
            result[own] = deviations(values[own])
    return result


def far_above(values: Float) -> npt.NDArray[np.bool_]:
    """Return which standardised values lie so far above 0 that few as far below suggest a mistake.

    The lowest threshold of at least ``LEAST_SURPLUS`` beyond which values below 0 number no more than ``MISTAKEN`` of
    those above: the tail below tells how many there would be above by chance.
    """
    for threshold in np.arange(LEAST_SURPLUS, 10.0, 0.1):
        above, below = (values > threshold).sum(), (values < -threshold).sum()
        if below <= MISTAKEN * above:
            return values > threshold
    return np.zeros(len(values), dtype=bool)


def judge(bench: LikelihoodBench, partition: Partition, others: tuple[Partition, ...]) -> Verdict:
    """Return which images are members of which class, and why the others are not.

    The core of each class is what is stable in repeated alignments. Averages of cores then compete for all images, so
    that what failed one class is tried in the others. A class that no repeated alignment reproduced has no core; its
    images are judged by their gains alone, and their pixel error is not known. Classes that end too small are
    dissolved, the smallest first.
    """
    repeats = repeat_alignments(bench, partition)
    bench.tick("comparing with noise")
    core = repeats.agreed >= REPEATS_AGREED
    reproduced = np.bincount(partition.labels[core], minlength=partition.k) > 0
    court = open_court(bench, partition, core)
    scores = scores_of(bench, court.references, bench.coarse)
    level = noise_level(bench, court)
    while True:
        found = explained(scores)
        gain = found.gain - own_share(bench, court.sums, court.prior, court.own, found.label)
        like_noise = gain < level
        pair = far_above(np.where(like_noise, 0.0, surplus(bench, court, found, gain)))
        unclear = found.lead < LEAST_LEAD
        unstable = ~core & reproduced[found.label] & (found.label == partition.labels)
        member = ~(like_noise | pair | unclear | unstable)
        sizes = np.bincount(found.label[member], minlength=partition.k)
        alive = np.flatnonzero(np.isfinite(scores[0]))
        smallest = alive[sizes[alive].argmin()]
        if sizes[smallest] >= (bench.settings.minimum_grp_size or 1) or len(alive) == 1:
            break
        scores[:, smallest] = -np.inf
    too_small = member & (sizes[found.label] < (bench.settings.minimum_grp_size or 1))
    reason = np.select(
        [too_small, member, like_noise, pair, unclear],
        [SMALL_CLASS, MEMBER, JUNK_NOISE, JUNK_PAIR, AMBIGUOUS],
        UNSTABLE,
    )
    same = found.label == partition.labels
    return Verdict(
        partition=replace(partition, labels=found.label, gain=found.gain),
        reason=reason,
        rival=found.rival,
        pixel_error_px=np.where(same, repeats.pixel_error_px, np.inf),
        fellowship=fellowship(partition, others),
    )


def fellowship(partition: Partition, others: tuple[Partition, ...]) -> npt.NDArray[np.float64]:
    """Return each image's membership stability, shape (n,).

    The share of its fellows in its class that are its fellows in another partition too, on average over the other
    partitions; 1 where it always stays with all of them. NaN where there are no other partitions; an image alone in
    its class counts as with its fellows.
    """
    n = len(partition.labels)
    if not others:
        return np.full(n, np.nan)
    total = np.zeros(n)
    fellows = partition.sizes[partition.labels] - 1
    for other in others:
        _, cell, count = np.unique(partition.labels * other.k + other.labels, return_inverse=True, return_counts=True)
        total += np.divide(count[cell] - 1, fellows, out=np.ones(n), where=fellows > 0)
    return total / len(others)
