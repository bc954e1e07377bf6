"""Splits and merges: what chance gains, which halves are two views, which classes are one."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.stats import norm
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score

from cryoisac.cluster.partition import Partition, aligned, references_of, sums_of
from cryoisac.cluster.splitting import (
    MERGE_MARGIN,
    NEAR,
    SMALLEST_HALF,
    SPLIT_MARGIN,
    TOLD_APART,
    all_separations,
    chance_gain,
    grouped,
    halved,
    merge,
    separations,
    single_images,
    split,
    yardstick,
)
from cryoisac.cluster.wiener import averages
from cryoisac.engine.likelihood import used_rings
from cryoisac.model.poses import Poses


def test_chance_gain_is_the_formula():
    """Definition: the standard library of statistics, by way of the normal density."""
    for a, b, coefficients in ((30, 30, 100.0), (20, 200, 400.0), (500, 40, 50.0)):
        p = min(a, b) / (a + b)
        cut = norm.pdf(norm.ppf(p)) ** 2 / (p * (1 - p))
        wanted = 0.5 * (np.sqrt(coefficients) + np.sqrt((a + b) * cut)) ** 2
        assert chance_gain(a, b, coefficients) == pytest.approx(wanted)


def test_the_cut_is_the_variance_between_the_parts_of_a_normal_distribution():
    """Known truth: with one coefficient, n draws cut at a quantile; of equal parts the share 2 / pi is between them."""
    draws = np.sort(np.random.default_rng(0).normal(size=200_000))
    for p in (0.1, 0.3, 0.5):
        cut = int(p * len(draws))
        low, high = draws[:cut].mean(), draws[cut:].mean()
        between = p * (1 - p) * (high - low) ** 2
        # 2 w_0 / n for n so large that F counts for nothing
        assert 2 * chance_gain(p * 1e12, (1 - p) * 1e12, 1.0) / 1e12 == pytest.approx(between, rel=0.01)
    assert 2 * chance_gain(1e12, 1e12, 1.0) / 2e12 == pytest.approx(2 / np.pi, rel=1e-4)


@pytest.mark.parametrize(("n", "coefficients"), [(60, 50), (60, 400), (200, 100), (400, 400), (400, 50)])
def test_chance_gains_no_more_than_expected(n, coefficients):
    """Independent program: k-means in two on Gaussian noise, the best of three starts."""
    rng, ratios = np.random.default_rng(n + coefficients), []
    for _ in range(3):
        noise = rng.normal(size=(n, coefficients))
        found = KMeans(2, n_init=3, random_state=0).fit(noise)
        sizes = np.bincount(found.labels_)
        gain = 0.5 * (((noise - noise.mean(axis=0)) ** 2).sum() - found.inertia_)
        ratios.append(gain / chance_gain(sizes[0], sizes[1], coefficients))
    # w_0 adds two parts that are not at their best in the same direction: an upper estimate, 0.7 to 0.9 of it reached
    assert max(ratios) < 1.0
    assert min(ratios) > 0.6


def ward_costs(points, sizes):
    """Return Ward's cost between clusters, given by their means and sizes."""
    square = ((points[:, None] - points[None]) ** 2).sum(axis=-1)
    cost = 0.5 * sizes[:, None] * sizes[None] / (sizes[:, None] + sizes[None]) * square
    np.fill_diagonal(cost, np.inf)
    return cost


def test_grouping_is_wards_linkage():
    """Independent program: where chance gains the same for all pairs, merges and costs are those of scipy's tree."""
    rng = np.random.default_rng(1)
    points = np.repeat(rng.normal(size=(6, 8)) * 12, 4, axis=0) + rng.normal(size=(24, 8))
    coefficients = 1e9  # so many that sizes of one image do not change what chance gains
    level = MERGE_MARGIN * coefficients / 2
    tree = linkage(points, "ward")
    heights = tree[:, 2] ** 2 / 4  # scipy: sqrt(2 a b / (a + b)) times the distance
    scale = level / np.sqrt(heights[-6] * heights[-5])  # between the last merge of a group and the first of groups
    group, changes = grouped(scale * ward_costs(points, np.ones(24)), np.ones(24, np.int64), coefficients)
    np.testing.assert_allclose([c.gain for c in changes], scale * heights[:-5], rtol=1e-9)
    assert adjusted_rand_score(fcluster(tree, 6, "maxclust"), group) == 1
    assert [c.first + c.second for c in changes] == tree[:-5, 3].astype(int).tolist()


def test_costs_of_unions_are_those_of_their_means():
    """Definition by brute force: every merge's gain from the members, with unequal sizes; the largest class stays."""
    rng = np.random.default_rng(2)
    sizes = rng.integers(20, 90, 12)
    points = np.repeat(rng.normal(size=(3, 5)) * 9, 4, axis=0) + 0.3 * rng.normal(size=(12, 5))
    group, changes = grouped(ward_costs(points, sizes), sizes, 30.0)
    assert len(changes) == 9
    weights, means = sizes.astype(float), points.copy()
    alive = set(range(12))
    for change in changes:
        costs = {
            (i, j): 0.5 * weights[i] * weights[j] / (weights[i] + weights[j]) * ((means[i] - means[j]) ** 2).sum()
            for i in alive
            for j in alive
            if i < j
        }
        i, j = min(costs, key=lambda pair: costs[pair] / chance_gain(weights[pair[0]], weights[pair[1]], 30.0))
        i, j = (i, j) if weights[i] >= weights[j] else (j, i)
        assert (change.kind, change.first, change.second) == ("merge", weights[i], weights[j])
        assert change.gain == pytest.approx(costs[min(i, j), max(i, j)])
        assert change.expected == pytest.approx(float(chance_gain(weights[i], weights[j], 30.0)))
        means[i] = (weights[i] * means[i] + weights[j] * means[j]) / (weights[i] + weights[j])
        weights[i] += weights[j]
        alive.remove(j)
    assert {tuple(np.flatnonzero(group == g)) for g in alive} == {(0, 1, 2, 3), (4, 5, 6, 7), (8, 9, 10, 11)}


def test_nothing_is_merged_where_nothing_is_told_apart():
    """Known truth: of costs all alike nothing follows; with a quarter of them at TOLD_APART the least are merged."""
    sizes = np.full(8, 50)
    chance = float(chance_gain(50, 50, 200.0))
    cost = np.full((8, 8), 0.9 * chance)
    np.fill_diagonal(cost, np.inf)
    assert grouped(cost, sizes, 200.0)[1] == ()
    apart = np.arange(8)[:, None] // 4 != np.arange(8)[None] // 4
    cost[apart] = 10 * TOLD_APART * chance
    group, changes = grouped(cost, sizes, 200.0)
    assert len(changes) == 6
    assert (group[:4] == group[0]).all()
    assert (group[4:] == group[4]).all()
    assert group[0] != group[4]


def test_numbering_does_not_matter_for_groups():
    """Invariance: classes shuffled are merged alike."""
    rng = np.random.default_rng(3)
    sizes = rng.integers(20, 90, 12)
    points = np.repeat(rng.normal(size=(3, 5)) * 9, 4, axis=0) + 0.3 * rng.normal(size=(12, 5))
    cost, order = ward_costs(points, sizes), rng.permutation(12)
    group, changes = grouped(cost, sizes, 30.0)
    shuffled, others = grouped(cost[np.ix_(order, order)], sizes[order], 30.0)
    assert np.array_equal(order[shuffled], group[order])
    assert [c.second for c in changes] == [c.second for c in others]


def test_separations_are_wards_costs_at_the_best_pose(clear):
    """Definition by brute force: distances of averages under the best pose, searched and refined, ring by ring."""
    bench, search, images = clear.bench, clear.bench.fine, clear.bench.engine.images
    stick = yardstick(bench, sums_of(bench, clear.truth()), search)
    rings, wide = used_rings(images.rings, search.last_ring), np.repeat(stick.weight, images.rings.lengths)
    size, area = sum(rings.lengths), np.repeat(stick.weight[: len(rings.radii)] * rings.sample_weights, rings.lengths)
    a, b, zero = np.array([0, 0, 1]), np.array([1, 2, 2]), np.zeros(1, np.int64)
    found = separations(bench, stick, a, b, search)
    for pair, (i, j) in enumerate(zip(a, b, strict=True)):
        samples = (stick.raw[[j]] * wide).astype(np.float32)
        held = bench.make_engine(replace(images, samples=samples, ctf2=stick.weight[None].astype(np.float32)))
        pose = held.match(stick.raw[[i]], zero, zero, search).poses
        pose = held.refine(stick.raw[[i]], zero, zero, pose, search.last_ring).poses
        posed = held.total(zero, zero, pose, 1)[0] / wide
        square = (area * (stick.raw[i, :size] - posed[:size]) ** 2).sum()
        na, nb = stick.sizes[i], stick.sizes[j]
        # the search samples angles, the total lies between; the compiled search may lose 1e-3 of the energy
        assert found[pair] == pytest.approx(0.5 * na * nb / (na + nb) * square, rel=0.03)
    table = all_separations(bench, stick, search)
    assert np.array_equal(table, table.T)
    assert np.isinf(np.diag(table)).all()
    near = found < NEAR * chance_gain(stick.sizes[a], stick.sizes[b], stick.coefficients)
    np.testing.assert_allclose(table[a, b][near], found[near])
    # far pairs are compared at sampled poses, from either side: no nearer than refined ones, but for compression
    either = np.minimum(found, separations(bench, stick, b, a, search))
    assert (table[a, b] > 0.97 * either).all()


def posed(world, labels, k):
    """Return the partition with given labels, posed on its own averages from the true poses."""
    start = world.truth(labels=labels, k=k)
    return aligned(world.bench, references_of(world.bench, start), start.labels, world.bench.coarse)


def draw():
    return np.random.default_rng(7)


def test_halves_hold_the_members_and_the_better_gain(clear):
    """Definition: classes 2 c and 2 c + 1 share those of c; small classes stay whole."""
    labels = np.where(np.arange(120) < 120 - SMALLEST_HALF, 0, 1)
    halves = halved(clear.bench, clear.truth(labels=labels), clear.bench.coarse, draw())
    assert halves.k == 4
    assert np.array_equal(halves.labels // 2, labels)
    assert (halves.labels[labels == 1] == 2).all()
    assert set(halves.labels[labels == 0]) == {0, 1}


def test_halves_of_two_views_are_the_views(make_world):
    """Known truth: two views in one class come apart but for a few images."""
    world = make_world(5, (50, 50))
    whole = posed(world, 0 * world.label, 1)
    halves = halved(world.bench, whole, world.bench.fine, draw())
    assert adjusted_rand_score(world.label, halves.labels) > 0.9
    assert halves.likelihood > 1.5 * whole.likelihood


@pytest.mark.parametrize("ctf", [False, True])
def test_two_views_in_one_class_are_split(make_world, ctf):
    """Known truth: and those in classes of their own are not."""
    world = make_world(6, (60, 60, 60, 60), ctf=ctf, strength=1.2 if ctf else 0.7)
    mixed = posed(world, np.array([0, 0, 1, 2])[world.label], 3)
    found, changes = split(world.bench, mixed, world.bench.fine, draw())
    assert found.k == 4
    assert adjusted_rand_score(world.label, found.labels) > 0.9
    (change,) = changes
    assert change.kind == "split"
    assert change.first + change.second == 120
    assert change.gain > SPLIT_MARGIN * change.expected
    # what was not split stays as it was
    still = mixed.labels > 0
    assert np.array_equal(found.gain[still], mixed.gain[still])
    assert np.array_equal(found.poses[still].rows(), mixed.poses[still].rows())


@pytest.mark.parametrize("strength", [0.0, 0.2, 0.7])
def test_one_view_is_not_split(make_world, strength):
    """Known truth: whether the particles are strong, weak or nothing but noise."""
    world = make_world(7, (150, 60), strength=strength)
    one = posed(world, world.label, 2)
    found, changes = split(world.bench, one, world.bench.fine, draw())
    assert changes == ()
    assert found.k == 2
    assert np.array_equal(found.labels, one.labels)


def test_classes_too_small_to_halve_stay(make_world):
    """Known truth: even of two views."""
    world = make_world(8, (SMALLEST_HALF - 1, SMALLEST_HALF))
    one = posed(world, 0 * world.label, 1)
    assert split(world.bench, one, world.bench.fine, draw()) == (one, ())


@pytest.mark.parametrize("ctf", [False, True])
def test_a_view_cut_in_two_is_merged(make_world, ctf):
    """Known truth: and nothing else is, although the parts lie at other poses; an empty class goes."""
    world = make_world(9, (60, 60, 60, 60), ctf=ctf, strength=1.2 if ctf else 0.7)
    rng = np.random.default_rng(0)
    labels = np.where((world.label == 0) & (rng.random(240) < 0.4), 5, world.label)
    turn = Poses(angle_deg=np.full(240, 77.0), shift_px=np.zeros((240, 2)), mirror=np.ones(240, dtype=bool))
    poses = world.poses.replaced(np.flatnonzero(labels == 5), world.poses.then(turn)[labels == 5])
    cut = Partition(labels=labels, poses=poses, gain=np.zeros(240, np.float32), k=6)
    found, changes = merge(world.bench, cut, world.bench.fine)
    assert found.k == 4
    assert adjusted_rand_score(world.label, found.labels) == 1
    (change,) = changes
    assert (change.kind, change.first + change.second) == ("merge", 60)
    assert change.first >= change.second
    assert change.gain < MERGE_MARGIN * change.expected


def test_different_views_are_not_merged(clear):
    """Known truth: nothing changes, not even poses."""
    true = clear.truth()
    found, changes = merge(clear.bench, true, clear.bench.fine)
    assert changes == ()
    assert np.array_equal(found.labels, true.labels)
    assert np.array_equal(found.poses.rows(), true.poses.rows())


def test_single_images_are_their_own_averages(clear):
    """Definition: each image times 1 / (C² + f / P), as it lies."""
    bench, chosen = clear.bench, np.array([3, 90])
    found = single_images(bench, chosen)
    images, prior = bench.engine.images, bench.prior
    weight = 1 / (images.ctf2[chosen] + prior.share / prior.signal)
    wanted = images.samples[chosen] * np.repeat(weight, images.rings.lengths, axis=1)
    np.testing.assert_allclose(found, wanted, atol=1e-5 * np.abs(wanted).max())
    assert averages(sums_of(bench, clear.truth()), prior, images.rings).shape == (3, found.shape[1])
