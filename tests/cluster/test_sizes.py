"""Classes neither too small nor too large."""

import numpy as np
import pytest
from scipy.optimize import linprog

from cryoisac.cluster.sizes import bounded


def gains(rng, n, k, tilt=1.0):
    """Return scores of images that belong to a class each, all drawn towards the first classes."""
    scores = rng.normal(size=(n, k)) + 2 * np.eye(k)[rng.integers(0, k, n)]
    return (scores + tilt * np.linspace(2, 0, k)).astype(np.float32)


def best_total(scores, least, most):
    """Return the largest sum of scores under the limits, by linear programming: its vertices are whole numbers."""
    n, k = scores.shape
    one_class, members = np.kron(np.eye(n), np.ones(k)), np.kron(np.ones(n), np.eye(k))
    limits = np.concatenate((np.full(k, most), np.full(k, -least)))
    found = linprog(
        -scores.ravel().astype(np.float64),
        A_ub=np.concatenate((members, -members)),
        b_ub=limits,
        A_eq=one_class,
        b_eq=np.ones(n),
        bounds=(0, 1),
    )
    return -found.fun


@pytest.mark.parametrize("seed", range(5))
def test_sizes_keep_to_the_limits_but_for_a_few(seed):
    """Known truth: without limits the first class takes far too many, the last too few."""
    n, k = 600, 6
    scores = gains(np.random.default_rng(seed), n, k, tilt=2.0)
    free = np.bincount(scores.argmax(axis=1), minlength=k)
    assert free.max() > 220
    assert free.min() < 40
    sizes = np.bincount(bounded(scores, 50, 200), minlength=k)
    # the last step of prices moves less than 2 % of the images of two classes
    assert sizes.max() <= 200 + 4
    assert sizes.min() >= 50 - 4


@pytest.mark.parametrize("seed", range(3))
def test_as_good_as_optimal_transport(seed):
    """Independent program: linear programming; the sum falls short of the best by 3 in a thousand at most."""
    n, k = 150, 5
    scores = gains(np.random.default_rng(seed), n, k, tilt=2.0)
    least, most = n / k / 2, n / k * 1.2
    labels = bounded(scores, least, most)
    sizes = np.bincount(labels, minlength=k)
    slack = max(sizes.max() - most, least - sizes.min(), 0)
    best, tight = best_total(scores, least - slack, most + slack), best_total(scores, least, most)
    found = scores[np.arange(n), labels].sum()
    assert found <= best + 1e-3
    # images whose margin lies within the last step of prices, 2 % of the typical margin, may stand elsewhere
    assert found >= tight - 0.003 * abs(tight)


def test_within_the_limits_each_takes_its_best():
    """Definition: nothing is changed where nothing need be."""
    scores = gains(np.random.default_rng(0), 200, 4, tilt=0)
    assert np.array_equal(bounded(scores, 10, 100), scores.argmax(axis=1))


def test_order_and_units_do_not_matter():
    """Invariance: of images and classes shuffled, of scores doubled, and of what an image gains with all classes."""
    rng = np.random.default_rng(1)
    scores = gains(rng, 400, 5)
    labels = bounded(scores, 40, 120)
    images, classes = rng.permutation(400), rng.permutation(5)
    assert np.array_equal(classes[bounded(scores[np.ix_(images, classes)], 40, 120)], labels[images])
    assert np.array_equal(bounded(2 * scores, 40, 120), labels)
    common = rng.integers(-8, 9, (400, 1)).astype(np.float32) / 8
    assert (bounded(scores + common, 40, 120) != labels).mean() < 0.01  # float32 sums round


def test_one_class_takes_all():
    """Known truth."""
    assert (bounded(np.zeros((7, 1), np.float32), 1, 2) == 0).all()


def test_equal_scores_are_answered():
    """Known truth: where no image prefers any class, the answer still names classes."""
    labels = bounded(np.zeros((12, 3), np.float32), 2, 6)
    assert labels.shape == (12,)
    assert set(labels) <= {0, 1, 2}
