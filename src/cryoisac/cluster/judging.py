"""Which images are members: those that a class explains better than noise, better than its rivals, and stably."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from cryoisac.cluster.partition import LikelihoodBench, Partition, aligned, references_of, scores_of
from cryoisac.cluster.stability import find_stable
from cryoisac.cluster.wiener import Prior, averages, class_sums
from cryoisac.engine.contract import Indices
from cryoisac.engine.likelihood import Float32, RingImages, gain_norms, used_rings
from cryoisac.model.ledger import AMBIGUOUS, JUNK, MEMBER, UNSTABLE
from cryoisac.model.poses import Poses
from cryoisac.ops.hartley import ring_power, ring_transform
from cryoisac.ops.polar import Float
from cryoisac.ops.whiten import soft_disc
from cryoisac.streams import stream

NOISE_IMAGES = 512
NOISE_QUANTILE = 0.99
RIVAL_GAIN = 1.0  # natural units: odds of e to 1 for the best class against the second
REPEAT_PASSES = 10
REPEATS_AGREED = 0.5  # of the repeated alignments of its class must give a member its pose
CONVERGED_SHARE = 0.5  # of a class's members must agree before a repeated alignment counts


def final_prior(bench: LikelihoodBench, partition: Partition) -> Prior:
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


def noise_images(bench: LikelihoodBench) -> RingImages:
    """Return images of nothing but noise, masked like the others and with the CTFs of some of them."""
    images = bench.engine.images
    draw = stream(bench.settings.rand_seed, "noise images")
    white = draw.normal(size=(NOISE_IMAGES, images.box_px, images.box_px)).astype(np.float32)
    white *= soft_disc(bench.mask_radius_px, images.box_px).astype(np.float32)
    ctf2 = images.ctf2[draw.integers(0, len(images), NOISE_IMAGES)]
    samples = ring_transform(white, images.rings) * np.repeat(np.sqrt(ctf2), images.rings.lengths, axis=1)
    return RingImages(rings=images.rings, box_px=images.box_px, samples=samples, ctf2=ctf2)


@dataclass(frozen=True, eq=False, kw_only=True)
class Explained:
    """How well each image is explained by its best class and by the next.

    Parameters
    ----------
    label, rival : ndarray, shape (n,), int64
        Best and second best class.
    gain, rival_gain : ndarray, shape (n,), float32
        Their gains.
    contrast : ndarray, shape (n,)
        The factor of the reference that fits the image best: 1 for a particle like its class, about 0 for none.
    """

    label: Indices
    rival: Indices
    gain: Float32
    rival_gain: Float32
    contrast: Float


def explained(scores: Float32, norms: Float32) -> Explained:
    """Return the best two classes of each image.

    Parameters
    ----------
    scores : ndarray, shape (n, k)
        Gains.
    norms : ndarray, shape (n, k)
        Their pose-free parts (``gain_norms``).
    """
    n, k = scores.shape
    each = np.arange(n)
    best = scores.argmax(axis=1)
    if k == 1:
        second, rival_gain = np.full(n, -1), np.full(n, -np.inf, dtype=np.float32)
    else:
        others = scores.copy()
        others[each, best] = -np.inf
        second = others.argmax(axis=1)
        rival_gain = others[each, second]
    gain, norm = scores[each, best], norms[each, best].astype(np.float64)
    contrast = 0.5 * (1 + np.divide(gain, norm, out=np.full(n, -1.0), where=norm > 0))
    return Explained(label=best, rival=second, gain=gain, rival_gain=rival_gain, contrast=contrast)


def repeated(bench: LikelihoodBench, partition: Partition, number: int) -> Poses:
    """Return the poses of all members after their classes were aligned anew, from random poses."""
    draw = stream(bench.settings.rand_seed, "repeated alignment", number)
    n = len(partition.labels)
    search = bench.coarse
    shift = search.shifts_px[draw.integers(0, len(search.shifts_px), n)]
    poses = Poses(angle_deg=draw.uniform(0, 360, n), shift_px=shift, mirror=draw.random(n) < 0.5)
    current = replace(partition, poses=poses)
    for _ in range(REPEAT_PASSES):
        current = aligned(bench, references_of(bench, current), current.labels, search)
        bench.tick("repeating alignments")
    return current.poses


@dataclass(frozen=True, eq=False, kw_only=True)
class Repeats:
    """How members fared when their classes were aligned again from random poses.

    Parameters
    ----------
    agreed : ndarray, shape (n,)
        Share of the repeated alignments that gave an image the pose it has; 0 where its class never converged.
    pixel_error_px : ndarray, shape (n,)
        Root-mean-square difference to the poses it has, over the alignments that agreed; infinite where none did.
    """

    agreed: Float
    pixel_error_px: Float


def repeat_alignments(bench: LikelihoodBench, partition: Partition) -> Repeats:
    """Return how poses come out when every class is aligned anew, several times.

    A repeated alignment is compared with the poses that stand, after the rotation, shift and mirror that carry the
    whole class over are taken out; it counts for a class if half of the members agree, so that one start that ended in
    a wrong optimum does not condemn a class.
    """
    s, n = bench.settings, len(partition.labels)
    share = np.zeros(n)
    counted, squares = np.zeros(partition.k), np.zeros(n)
    for number in range(s.stab_ali - 1):
        poses = repeated(bench, partition, number)
        found = find_stable(
            [poses, partition.poses], partition.labels, radius_px=bench.radius_px, threshold_px=s.thld_err
        )
        agreeing = np.bincount(partition.labels, weights=found.stable, minlength=partition.k)
        converged = agreeing >= CONVERGED_SHARE * np.maximum(partition.sizes, 1)
        agrees = found.stable & converged[partition.labels]
        counted += converged
        share += agrees
        squares += np.where(agrees, found.pixel_error_px, 0.0) ** 2
    agreed = share / np.maximum(counted[partition.labels], 1)
    error = np.sqrt(np.divide(squares, share, out=np.full(n, np.inf), where=share > 0))
    return Repeats(agreed=agreed, pixel_error_px=error)


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


def core_references(bench: LikelihoodBench, partition: Partition, core: npt.NDArray[np.bool_]) -> Float32:
    """Return the averages of the cores of classes; of all members where a class has no core."""
    has_core = np.bincount(partition.labels[core], minlength=partition.k) > 0
    labels = np.where(core | ~has_core[partition.labels], partition.labels, -1)
    rows = np.arange(len(labels))
    sums = class_sums(bench.engine, labels, rows, partition.poses, partition.k)
    return averages(sums, bench.prior, bench.engine.images.rings)


def contrast_thresholds(
    bench: LikelihoodBench, references: Float32, found: Explained, core: npt.NDArray[np.bool_]
) -> Float:
    """Return for each class the contrast below which an image is more like noise than like a particle, shape (k,).

    Half way between the median contrast of the core and that of noise images on the same average, and no less than
    what ``NOISE_QUANTILE`` of the noise images reach.
    """
    noise = noise_images(bench)
    scores = bench.make_engine(noise).score(references, np.arange(NOISE_IMAGES), bench.coarse)
    norms = gain_norms(references, noise.ctf2, used_rings(noise.rings, bench.class_ring))
    contrast = 0.5 * (1 + scores / np.maximum(norms, 1e-9))
    middle, most = np.quantile(contrast, (0.5, NOISE_QUANTILE), axis=0)
    particles = np.array(
        [
            np.median(found.contrast[own]) if (own := core & (found.label == c)).any() else 1.0
            for c in range(len(middle))
        ]
    )
    threshold: Float = np.maximum(most, (middle + particles) / 2)
    return threshold


def judge(bench: LikelihoodBench, partition: Partition, others: tuple[Partition, ...]) -> Verdict:
    """Return which images are members of which class, and why the others are not.

    The core of each class is what is stable in repeated alignments. Averages of cores then compete for all images, so
    that what failed one class is tried in the others; an image is placed where it is nearer to particles than to noise
    in contrast, and its rival is behind. Classes that end too small are dissolved, one by one, the smallest first.
    """
    repeats = repeat_alignments(bench, partition)
    bench.tick("comparing with noise")
    core = repeats.agreed >= REPEATS_AGREED
    references = core_references(bench, partition, core)
    norms = gain_norms(references, bench.engine.images.ctf2, used_rings(bench.engine.images.rings, bench.class_ring))
    scores = scores_of(bench, references, bench.coarse)
    threshold = contrast_thresholds(bench, references, explained(scores, norms), core)
    while True:
        found = explained(scores, norms)
        junk = ~(found.contrast > threshold[found.label])
        unclear = found.gain - found.rival_gain < RIVAL_GAIN
        unstable = ~core & (found.label == partition.labels)
        member = ~junk & ~unclear & ~unstable
        sizes = np.bincount(found.label[member], minlength=partition.k)
        alive = np.flatnonzero(np.isfinite(scores[0]))
        smallest = alive[sizes[alive].argmin()]
        if sizes[smallest] >= (bench.settings.minimum_grp_size or 1) or len(alive) == 1:
            break
        scores[:, smallest] = -np.inf
    reason = np.select([member, junk, unclear], [MEMBER, JUNK, AMBIGUOUS], UNSTABLE)
    return Verdict(
        partition=replace(partition, labels=found.label, gain=found.gain),
        reason=reason,
        rival=found.rival,
        pixel_error_px=np.where(found.label == partition.labels, repeats.pixel_error_px, np.inf),
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
