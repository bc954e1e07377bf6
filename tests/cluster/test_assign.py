"""Equal-size assignment."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as hs

from cryoisac.cluster.assign import equal_size


def greedy(scores: np.ndarray) -> np.ndarray:
    """Hand out all pairs in descending order until a class is full: the original's rule, word for word."""
    n, k = scores.shape
    limit = np.full(k, n // k)
    labels, size, open_classes = np.full(n, -1), np.zeros(k, int), set(range(k))
    if len(open_classes) == 1:
        limit[:] += n % k
    for pair in np.argsort(-scores, axis=None, kind="stable"):
        i, c = divmod(int(pair), k)
        if labels[i] >= 0 or c not in open_classes:
            continue
        labels[i] = c
        size[c] += 1
        if size[c] == limit[c]:
            open_classes.discard(c)
            if len(open_classes) == 1:
                limit[next(iter(open_classes))] += n % k
    return labels


@settings(max_examples=200, deadline=None)
@given(hs.integers(1, 7), hs.integers(0, 60), hs.integers(0, 2**32 - 1))
def test_equals_the_greedy_rule(k: int, extra: int, seed: int) -> None:
    """Definition: the sort over all pairs that it replaces."""
    scores = np.random.default_rng(seed).random((k + extra, k))
    assert np.array_equal(equal_size(scores), greedy(scores))


def test_published_case() -> None:
    """Independent program: isac2 §15."""
    scores = np.array(
        [
            [0.9, 0.8, 0.3, 0.2, 0.6, 0.5, 0.1],
            [0.7, 0.85, 0.4, 0.35, 0.65, 0.2, 0.15],
            [0.6, 0.1, 0.45, 0.5, 0.55, 0.05, 0.3],
        ]
    )
    assert equal_size(scores.T).tolist() == [0, 1, 2, 2, 1, 0, 2]


@pytest.mark.parametrize("case", ["3_7", "5_53", "20_1003"])
def test_against_the_original(golden: Any, case: str) -> None:
    """Independent program: groups of the original's assignment, exact."""
    data = golden("mref")
    assert np.array_equal(equal_size(data[f"assign_{case}_d"].T), data[f"assign_{case}_group"])


def test_scores_of_the_original_search(golden: Any) -> None:
    """Independent program: the assignment of a real multireference search."""
    data = golden("mref")
    assert np.array_equal(equal_size(data["a_zero_xr1_ts1_raw"][..., 0]), data["assign_mref_group"])


def test_sizes_are_equal_and_order_does_not_matter() -> None:
    """Invariance: shuffling images and classes shuffles the labels alike."""
    rng = np.random.default_rng(0)
    scores = rng.random((1003, 20))
    labels = equal_size(scores)
    assert sorted(np.bincount(labels))[:-1] == [50] * 19
    images, classes = rng.permutation(1003), rng.permutation(20)
    shuffled = equal_size(scores[np.ix_(images, classes)])
    assert np.array_equal(classes[shuffled], labels[images])
