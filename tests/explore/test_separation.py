"""How far classes lie apart, and how well they agree with a truth."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import adjusted_rand_score
from sklearn.neighbors import NearestNeighbors

from cryoisac.explore.separation import alike_by_chance, neighbours_alike, purity


def test_purity_by_hand():
    """Definition by hand counts: class 0 holds three of view 5 and one of 6, class 1 two of 6, one of 5, one of 7."""
    label = np.array([0, 0, 0, 0, 1, 1, 1, 1, -1, 0])
    truth = np.array([5, 5, 5, 6, 6, 6, 5, 7, 5, -1])
    found = purity(label, truth)
    assert (found.images, found.views) == (8, 3)
    assert found.purity == pytest.approx((3 + 2) / 8)
    assert found.completeness == pytest.approx((3 + 2 + 1) / 8)


LABELS = st.lists(st.tuples(st.integers(-1, 3), st.integers(-1, 4)), min_size=1, max_size=40)


@given(LABELS)
@settings(max_examples=60, deadline=None)
def test_purity_by_brute_force(pairs):
    """Definition of ``purity_score`` and ``c_purity_score``; the Rand index by scikit-learn."""
    label, truth = np.array(pairs).T
    found = purity(label, truth)
    both = [(a, b) for a, b in pairs if a >= 0 and b >= 0]
    assert found.images == len(both)
    if not both:
        assert found.purity is found.completeness is found.ari is None
        return
    table = [[sum((a, b) == (i, j) for a, b in both) for j in range(5)] for i in range(4)]
    assert found.purity == pytest.approx(sum(max(row) for row in table) / len(both))
    assert found.completeness == pytest.approx(sum(max(column) for column in zip(*table, strict=True)) / len(both))
    assert found.ari == pytest.approx(adjusted_rand_score(*zip(*both, strict=True)), abs=1e-12)


def test_neighbours_by_another_program():
    """Independent program: scikit-learn's nearest neighbours."""
    rng = np.random.default_rng(0)
    points, label = rng.normal(size=(60, 3)), rng.integers(0, 4, 60)
    nearest = NearestNeighbors(n_neighbors=7).fit(points).kneighbors(return_distance=False)
    assert neighbours_alike(points, label, nearest=7) == pytest.approx((label[nearest] == label[:, None]).mean())


def test_neighbours_of_clouds_and_of_nothing():
    """Known truth recovered: 1 for clouds far apart, by chance for labels that know nothing of the points."""
    rng = np.random.default_rng(1)
    label = rng.integers(0, 5, 3000)
    points = rng.normal(size=(3000, 2))
    assert neighbours_alike(points + 100 * label[:, None], label) == 1
    # three standard errors of a share over 3,000 points
    assert neighbours_alike(points, label) == pytest.approx(alike_by_chance(label), abs=0.02)


def test_points_at_one_place():
    """Definition: a point is no neighbour of its own, even where others lie on it."""
    label = np.array([0] * 6 + [1] * 6)
    assert neighbours_alike(np.zeros((12, 2)), label, nearest=11) == pytest.approx(5 / 11)
    assert neighbours_alike(np.zeros((1, 2)), label[:1]) == 1


def test_chance_by_brute_force():
    """Definition: over all ordered pairs of different points."""
    label = np.array([0, 0, 0, 1, 1, 2])
    pairs = [label[i] == label[j] for i in range(6) for j in range(6) if i != j]
    assert alike_by_chance(label) == pytest.approx(np.mean(pairs))
