"""Values far from the others."""

import numpy as np

from cryoisac.ops.outliers import FAR, deviations


def test_definition():
    """Definition: by hand, with quartiles 2 and 4 about the median 3."""
    np.testing.assert_allclose(deviations([1, 2, 3, 4, 5]), 1.349 / 2 * np.array([-2, -1, 0, 1, 2]))


def test_a_normal_distribution_has_its_own_deviation(rng):
    """Known truth: the quartiles of a normal distribution lie 1.349 deviations apart."""
    values = rng.normal(size=100_000)
    # an interquartile range of n values deviates by 1.57 / sqrt(n), here 0.005, a median by 0.004: four times that
    np.testing.assert_allclose(deviations(7 + 3 * values), values, atol=0.016, rtol=0.016)


def test_outliers_do_not_move_the_measure(rng):
    """Known truth: a tenth of the values far away are found, and none of the others."""
    values = rng.normal(size=1000)
    values[::10] += 1e6
    assert np.array_equal(deviations(values) > FAR, np.arange(1000) % 10 == 0)


def test_unit_and_origin_do_not_matter(rng):
    """Invariance."""
    values = rng.gamma(2.0, size=101)
    np.testing.assert_allclose(deviations(1e-3 * values - 5), deviations(values), rtol=1e-9)


def test_equal_values_and_none():
    """Known truth: what equals the median deviates by 0, and of no values nothing is said."""
    assert (deviations(np.full(9, 4.0)) == 0).all()
    assert (deviations(np.zeros(9)) == 0).all()
    one_off = deviations([4.0] * 9 + [5.0])
    assert one_off[-1] > FAR
    assert (one_off[:-1] == 0).all()
    assert deviations([]).shape == (0,)
