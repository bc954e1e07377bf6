r"""Classes split whose members fall apart, and merged whose union costs nothing: so the number of classes is found.

What two averages made of ``a`` and ``b`` images tell apart is Ward's cost in units of log-likelihood,

.. math:: w = \tfrac12 \sum_k 2 \pi k\, q\, \frac{D_a D_b}{D_a + D_b} \min_{pose} |R_a - T R_b|^2

with unfiltered averages R = N / D and a weight 0 <= q <= 1 that leaves out what is only noise. Chance alone separates
the two best halves of n equal images too, by about

.. math:: w_0 = \tfrac12 \left( \sqrt{F} + \sqrt{n\, g(p)} \right)^2, \quad g(p) = \varphi(z_p)^2 / (p (1 - p))

with F the independent coefficients that count, p the share of the smaller half and z_p the normal quantile: the largest
eigenvalue of a noise covariance (Marchenko & Pastur) and the variance between the parts of a normal distribution that
is cut in two. A class is split where w exceeds ``SPLIT_MARGIN`` times w_0, and two are merged where it is below
``MERGE_MARGIN`` times w_0.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from cryoisac.cluster.partition import LikelihoodBench, Partition, aligned, compact, references_of, sums_of
from cryoisac.cluster.wiener import Sums, averages, class_sums
from cryoisac.engine.contract import Indices
from cryoisac.engine.likelihood import Float32, LikelihoodEngine, PoseSearch, RingImages, gain_norms, used_rings
from cryoisac.model.poses import Poses
from cryoisac.ops.polar import Float

SPLIT_MARGIN = 2.0  # in simulations at SNR 0.05 to 0.3 halves of one view reach 1.0, two views 3.3 and more
MERGE_MARGIN = 1.8  # classes of one view reach 1.6, neighbours in a continuum of views lie at 2.0 and more
TOLD_APART = 3.0  # times w_0: what a quarter of all pairs of classes must reach before any are merged
NEAR = 6.0  # times w_0: pairs whose relative poses are refined
SMALLEST_HALF = 20  # images: averages of fewer fall apart by their noise
HALVING_PASSES = 5
SEED_SHARE = 0.25  # of a class's members: each of the two averages that a halving starts from


@dataclass(frozen=True, kw_only=True)
class Change:
    """A split or a merge.

    Parameters
    ----------
    kind : str
        "split" or "merge".
    first, second : int
        Members of the two parts.
    gain : float
        Log-likelihood that separate averages gain.
    expected : float
        What they would gain by chance, were both parts one view.
    """

    kind: str
    first: int
    second: int
    gain: float
    expected: float


def chance_gain(a: npt.ArrayLike, b: npt.ArrayLike, coefficients: float) -> Float:
    """Return what separating ``a`` and ``b`` images of one view gains by chance, w_0.

    Parameters
    ----------
    a, b : array_like
        Numbers of images, which broadcast.
    coefficients : float
        Independent coefficients F.
    """
    smaller, n = np.minimum(a, b), np.add(a, b)
    p = np.clip(smaller / np.maximum(n, 1), 1e-9, 0.5)
    cut = np.exp(-(ndtri(p) ** 2)) / (2 * np.pi) / (p * (1 - p))
    gain: Float = 0.5 * (np.sqrt(coefficients) + np.sqrt(n * cut)) ** 2
    return gain


@dataclass(frozen=True, eq=False, kw_only=True)
class Yardstick:
    """How averages are compared: unfiltered, with a weight for each ring.

    Parameters
    ----------
    raw : ndarray, shape (k, samples), float32
        Unfiltered averages R = N / D.
    weight : ndarray, shape (r,)
        q times the mean of C² of an image.
    coefficients : float
        Independent coefficients that count, F.
    sizes : ndarray, shape (k,)
        Images in each average.
    """

    raw: Float32
    weight: Float
    coefficients: float
    sizes: Indices

    def costs(self, a: Indices, b: Indices, square: Float) -> Float:
        """Return Ward's costs for pairs of classes whose squared weighted distance is given."""
        na, nb = self.sizes[a].astype(np.float64), self.sizes[b].astype(np.float64)
        cost: Float = 0.5 * na * nb / np.maximum(na + nb, 1.0) * np.maximum(square, 0.0)
        return cost


def yardstick(bench: LikelihoodBench, sums: Sums, search: PoseSearch) -> Yardstick:
    """Return how the averages of ``sums`` are compared, over the rings of a search."""
    rings = used_rings(bench.engine.images.rings, search.last_ring)
    r, prior = len(rings.radii), bench.prior
    mean_ctf2 = sums.denominator.sum(axis=0) / max(int(sums.sizes.sum()), 1)
    typical = mean_ctf2 * sums.sizes[sums.sizes > 0].mean() / 2  # D_a D_b / (D_a + D_b) of two classes alike
    known = prior.signal * typical / prior.share
    q = known / (1 + known)
    least = 1e-3 * mean_ctf2 * np.maximum(sums.sizes, 1)[:, None]
    raw = sums.numerator / np.repeat(np.maximum(sums.denominator, least), bench.engine.images.rings.lengths, axis=1)
    return Yardstick(
        raw=raw.astype(np.float32),
        weight=q * mean_ctf2,
        coefficients=float(prior.share * 2 * np.pi * (q[:r] @ np.array(rings.radii))),
        sizes=sums.sizes,
    )


def engine_of(bench: LikelihoodBench, stick: Yardstick, chosen: Indices) -> LikelihoodEngine:
    """Return an engine that holds the averages ``chosen`` as images: gains are then cross terms less norms."""
    rings = bench.engine.images.rings
    return bench.make_engine(
        RingImages(
            rings=rings,
            box_px=bench.engine.images.box_px,
            samples=stick.raw[chosen] * np.repeat(stick.weight, rings.lengths).astype(np.float32),
            ctf2=np.tile(stick.weight.astype(np.float32), (len(chosen), 1)),
        )
    )


def separations(bench: LikelihoodBench, stick: Yardstick, a: Indices, b: Indices, search: PoseSearch) -> Float:
    """Return Ward's cost of pairs of classes, each at its best relative pose, shape (p,).

    Parameters
    ----------
    bench : LikelihoodBench
        Makes the engine that holds averages.
    stick : Yardstick
        How averages are compared.
    a, b : ndarray, shape (p,), int64
        The two classes of each pair.
    search : PoseSearch
        Where relative poses are looked for.
    """
    images = engine_of(bench, stick, b)
    # a gain is <R_a, R_b> - |R_a|² / 2, and |R_a - R_b|² = |R_b|² - 2 gain
    each = np.arange(len(a))
    found = images.match(stick.raw[a], each, each, search)
    gain = images.refine(stick.raw[a], each, each, found.poses, search.last_ring).score
    rings = used_rings(bench.engine.images.rings, search.last_ring)
    norm = 2 * gain_norms(stick.raw[b], stick.weight[None].astype(np.float32), rings)[0]
    return stick.costs(a, b, norm.astype(np.float64) - 2 * gain)


def all_separations(bench: LikelihoodBench, stick: Yardstick, search: PoseSearch) -> Float:
    """Return Ward's cost of every pair of classes, shape (k, k); infinite on the diagonal and for empty classes.

    Relative poses are those of the search; of pairs that differ by less than ``NEAR`` times chance, refined ones.
    """
    k = len(stick.sizes)
    each = np.arange(k)
    gain = engine_of(bench, stick, each).score(stick.raw, each, search)  # [b, a]
    rings = used_rings(bench.engine.images.rings, search.last_ring)
    norm = 2 * gain_norms(stick.raw, stick.weight[None].astype(np.float32), rings)[0]
    square = norm[:, None].astype(np.float64) - 2 * gain
    square = np.minimum(square, square.T)
    cost = stick.costs(each[:, None], each[None, :], square)
    empty = stick.sizes == 0
    cost[empty] = cost[:, empty] = np.inf
    np.fill_diagonal(cost, np.inf)
    chance = chance_gain(stick.sizes[:, None], stick.sizes[None, :], stick.coefficients)
    near_a, near_b = np.nonzero(np.triu(cost < NEAR * chance))
    cost[near_a, near_b] = cost[near_b, near_a] = separations(bench, stick, near_a, near_b, search)
    return cost


def halved(bench: LikelihoodBench, partition: Partition, search: PoseSearch, draw: np.random.Generator) -> Partition:
    """Return every class in two: class c becomes 2 c and 2 c + 1, by two-means under the likelihood.

    Two averages, each of a random quarter of the members, compete for the members of their class only. Classes too
    small to be halved keep all members in their first half.
    """
    labels, k = partition.labels, partition.k
    large = partition.sizes >= 2 * SMALLEST_HALF
    rows = np.arange(len(labels))
    start = np.where(large[labels], -1, 2 * labels)
    chance = draw.random(len(labels))
    for half in (0, 1):
        chosen = large[labels] & (chance >= half * SEED_SHARE) & (chance < (half + 1) * SEED_SHARE)
        start[chosen] = 2 * labels[chosen] + half
    sums = class_sums(bench.engine, start, rows, partition.poses, 2 * k)
    for _ in range(HALVING_PASSES):
        references = averages(sums, bench.prior, bench.engine.images.rings)
        first = aligned(bench, references, 2 * labels, search)
        second = aligned(bench, references, 2 * labels + 1, search)
        other = (second.gain > first.gain) & large[labels]
        halves = Partition(
            labels=2 * labels + other,
            poses=first.poses.replaced(np.flatnonzero(other), second.poses[other]),
            gain=np.where(other, second.gain, first.gain),
            k=2 * k,
        )
        sums = sums_of(bench, halves)
    return halves


def split(
    bench: LikelihoodBench, partition: Partition, search: PoseSearch, draw: np.random.Generator
) -> tuple[Partition, tuple[Change, ...]]:
    """Return the partition with those classes split whose halves are two views, and the splits."""
    halves = halved(bench, partition, search, draw)
    sums = sums_of(bench, halves)
    sizes = sums.sizes.reshape(-1, 2)
    able = np.flatnonzero(sizes.min(axis=1) >= SMALLEST_HALF)
    if not len(able):
        return partition, ()
    stick = yardstick(bench, sums, search)
    gain = separations(bench, stick, 2 * able, 2 * able + 1, search)
    expected = chance_gain(sizes[able, 0], sizes[able, 1], stick.coefficients)
    chosen = able[gain > SPLIT_MARGIN * expected]
    number = np.full(partition.k, -1)
    number[chosen] = partition.k + np.arange(len(chosen))
    moved = number[partition.labels] >= 0
    second = moved & (halves.labels % 2 == 1)
    rows = np.flatnonzero(moved)
    changes = (
        Change(kind="split", first=int(x), second=int(y), gain=float(g), expected=float(e))
        for (x, y), g, e in zip(sizes[able].tolist(), gain, expected, strict=True)
        if g > SPLIT_MARGIN * e
    )
    return Partition(
        labels=np.where(second, number[partition.labels], partition.labels),
        poses=partition.poses.replaced(rows, halves.poses[rows]),
        gain=np.where(moved, halves.gain, partition.gain),
        k=partition.k + len(chosen),
    ), tuple(changes)


def merge(bench: LikelihoodBench, partition: Partition, search: PoseSearch) -> tuple[Partition, tuple[Change, ...]]:
    """Return the partition with classes merged that are one view, posed anew, and the merges."""
    partition = compact(partition)
    stick = yardstick(bench, sums_of(bench, partition), search)
    group, changes = grouped(all_separations(bench, stick, search), partition.sizes, stick.coefficients)
    if not changes:
        return partition, ()
    roots, labels = np.unique(group[partition.labels], return_inverse=True)
    return aligned(bench, references_of(bench, partition)[roots], labels, search), changes


def grouped(cost: Float, sizes: Indices, coefficients: float) -> tuple[Indices, tuple[Change, ...]]:
    """Return for each class the largest of those it is merged with, itself where it stays alone, and the merges.

    Nothing is merged where most pairs of classes are not told apart, for then it means little that two are not. The
    pair with the least cost, relative to chance, is merged first; costs of a union follow by the formula of Lance and
    Williams for Ward's method.

    Parameters
    ----------
    cost : ndarray, shape (k, k)
        Ward's costs; infinite on the diagonal.
    sizes : ndarray, shape (k,)
        Members.
    coefficients : float
        Independent coefficients F.
    """
    k = len(sizes)
    cost, size, group = cost.copy(), sizes.astype(np.float64), np.arange(k)
    ratio = cost / (MERGE_MARGIN * chance_gain(size[:, None], size[None, :], coefficients))
    changes: list[Change] = []
    pairs = ratio[np.isfinite(ratio)]
    telling = len(pairs) > 0 and np.quantile(pairs, 0.75) * MERGE_MARGIN >= TOLD_APART
    while telling and k > 1:
        i, j = np.unravel_index(int(ratio.argmin()), ratio.shape)
        if not ratio[i, j] < 1:
            break
        i, j = (i, j) if size[i] >= size[j] else (j, i)
        expected = float(chance_gain(size[i], size[j], coefficients))
        gain = float(cost[i, j])
        changes.append(Change(kind="merge", first=int(size[i]), second=int(size[j]), gain=gain, expected=expected))
        union = ((size[i] + size) * cost[i] + (size[j] + size) * cost[j] - size * gain) / (size[i] + size[j] + size)
        cost[i], cost[:, i] = union, union
        cost[j], cost[:, j], cost[i, i] = np.inf, np.inf, np.inf
        size[i] += size[j]
        ratio[i] = cost[i] / (MERGE_MARGIN * chance_gain(size[i], size, coefficients))
        ratio[:, i], ratio[j], ratio[:, j] = ratio[i], np.inf, np.inf
        group[group == j] = i
    return group, tuple(changes)


def single_images(bench: LikelihoodBench, chosen: Indices) -> Float32:
    """Return the Wiener averages of one image each."""
    k = len(chosen)
    sums = class_sums(bench.engine, np.arange(k), chosen, Poses.identity(k), k)
    return averages(sums, bench.prior, bench.engine.images.rings)
