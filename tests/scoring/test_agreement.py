"""Agreement of partitions."""

import numpy as np
import pytest

from cryoisac.scoring.agreement import adjusted_rand_index, contingency, normalised_mutual_information


@pytest.mark.parametrize(("n", "a", "b"), [(200, 5, 7), (50, 1, 4), (50, 1, 1), (30, 30, 3), (1, 1, 1), (1000, 40, 40)])
def test_independent_scikit_learn(n: int, a: int, b: int) -> None:
    """Independent program: scikit-learn, for random partitions and degenerate ones."""
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(n + a)
    x, y = rng.integers(0, a, n), rng.integers(0, b, n)
    x, y = (x, y) if a < n else (np.arange(n), y)
    for first, second in ((x, y), (x, (x + y) % 3), (x, x)):
        # rounding of a few logarithms
        assert adjusted_rand_index(first, second) == pytest.approx(
            metrics.adjusted_rand_score(first, second), abs=1e-12
        )
        assert normalised_mutual_information(first, second) == pytest.approx(
            metrics.normalized_mutual_info_score(first, second), abs=1e-10
        )


def test_definition_rand_index_over_pairs() -> None:
    """Definition: counting every pair of images."""
    rng = np.random.default_rng(0)
    x, y = rng.integers(-1, 3, 40), rng.integers(0, 4, 40)
    i, j = np.triu_indices(40, 1)
    a, b = x[i] == x[j], y[i] == y[j]
    expected_both = a.sum() * b.sum() / len(a)
    brute = ((a & b).sum() - expected_both) / ((a.sum() + b.sum()) / 2 - expected_both)
    assert adjusted_rand_index(x, y) == pytest.approx(brute, abs=1e-12)


def test_invariance_names_of_labels() -> None:
    """Invariance: only who is with whom matters; millions of images do not overflow."""
    rng = np.random.default_rng(1)
    x, y = rng.integers(0, 5, 100), rng.integers(0, 5, 100)
    renamed = np.array([9, -3, 7, 100, 0])[x]
    assert adjusted_rand_index(renamed, y) == adjusted_rand_index(x, y)
    many = np.repeat(np.arange(2), 2_000_000)
    assert adjusted_rand_index(many, many) == 1.0
    assert np.isnan(adjusted_rand_index([], []))
    assert np.isnan(normalised_mutual_information([], []))
    assert contingency(x, y)[2].sum() == 100
