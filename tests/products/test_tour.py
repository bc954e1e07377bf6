"""Short closed tours."""

from itertools import permutations

import numpy as np
import pytest

from cryoisac.products.tour import improve, nearest_neighbour_tours, shortest_tour, tour_length


def plane(k: int, seed: int) -> np.ndarray:
    """Distances of k random points of a plane."""
    points = np.random.default_rng(seed).random((k, 2))
    return np.linalg.norm(points[:, None] - points[None], axis=-1)


def shuffled(k: int, seed: int) -> np.ndarray:
    """Symmetric distances that obey no triangle inequality."""
    d = np.random.default_rng(seed).random((k, k))
    return np.triu(d, 1) + np.triu(d, 1).T


def test_length_by_definition():
    """Definition by brute force."""
    d = shuffled(7, 0)
    tour = np.array([3, 0, 5, 6, 1, 2, 4])
    by_hand = sum(d[tour[i], tour[(i + 1) % 7]] for i in range(7))
    assert tour_length(d, tour) == pytest.approx(by_hand, rel=1e-15)  # same seven numbers in another order


def test_nearest_neighbour_tours_by_definition():
    """Definition by brute force: from each start, always the nearest that is left."""
    d = shuffled(9, 1)
    for start, tour in enumerate(nearest_neighbour_tours(d)):
        left, here = set(range(9)) - {start}, start
        assert tour[0] == start
        for there in tour[1:]:
            assert there == min(left, key=lambda p: d[here, p])
            left.remove(there)
            here = there


@pytest.mark.parametrize("make", [plane, shuffled])
@pytest.mark.parametrize("k", [4, 5, 6, 7, 8])
def test_small_tours_are_optimal(make, k):
    """Definition by brute force over all tours."""
    every = np.array([(0, *p) for p in permutations(range(1, k))])
    for seed in range(5):
        d = make(k, seed)
        found = tour_length(d, shortest_tour(d, kicks=30, rng=np.random.default_rng(seed)))
        assert found == pytest.approx(tour_length(d, every).min(), abs=1e-12)  # rounding of k additions


def test_points_on_a_circle_are_found_in_their_order():
    """Known truth recovered: the shortest tour of a circle is the circle."""
    rng = np.random.default_rng(2)
    angle = rng.permutation(np.arange(60)) * 2 * np.pi / 60
    points = np.stack((np.cos(angle), np.sin(angle)), axis=-1)
    d = np.linalg.norm(points[:, None] - points[None], axis=-1)
    length = tour_length(d, shortest_tour(d, kicks=5, rng=rng))
    assert length == pytest.approx(60 * 2 * np.sin(np.pi / 60), abs=1e-10)  # rounding of 60 distances


def test_improved_tours_visit_every_point_once_and_are_locally_optimal():
    """Definition by brute force: no reversal and no moved segment of up to three points shortens the result."""
    k = 14
    d = shuffled(k, 3)
    start = np.random.default_rng(3).permutation(k)
    tour = improve(d, start)
    length = tour_length(d, tour)
    assert sorted(tour) == list(range(k))
    assert length <= tour_length(d, start)
    for a in range(k):
        turned = np.roll(tour, -a)
        for size in range(1, k):
            reversed_part = np.concatenate((turned[:size][::-1], turned[size:]))
            assert tour_length(d, reversed_part) >= length - 1e-9  # a little more than what counts as rounding
        for size in (1, 2, 3):
            segment, rest = turned[:size], turned[size:]
            for gap in range(1, len(rest)):
                for piece in (segment, segment[::-1]):
                    moved = np.concatenate((rest[:gap], piece, rest[gap:]))
                    assert tour_length(d, moved) >= length - 1e-9


def test_tours_are_near_what_is_expected_of_random_points():
    """Independent result: the mean optimum is 0.7124 sqrt(k A) (1 + 0.33 / k) without a boundary.

    Johnson, McGeoch & Rothberg, SODA 1996, 341.
    """
    k = 150
    d = plane(k, 4)
    length = tour_length(d, shortest_tour(d, kicks=10, rng=np.random.default_rng(0)))
    expected = 0.7124 * np.sqrt(k) * (1 + 0.33 / k)
    assert length < 1.15 * expected  # the boundary adds 0.55 / sqrt(k) = 5 %, the search 5 %, this draw a few more


def test_renaming_points_changes_no_length():
    """Invariance: for distances without ties the search takes the same steps under other names."""
    d = shuffled(40, 5)
    p = np.random.default_rng(6).permutation(40)
    one = tour_length(d, shortest_tour(d, kicks=0, rng=np.random.default_rng(0)))
    two = tour_length(d[np.ix_(p, p)], shortest_tour(d[np.ix_(p, p)], kicks=0, rng=np.random.default_rng(0)))
    assert one == pytest.approx(two, rel=1e-12)  # the same edges summed in another order


def test_equal_points_do_not_trap_the_search():
    """Invariance: all distances 0, or all 1, leave any tour as it is."""
    for d in (np.zeros((10, 10)), 1.0 - np.eye(10)):
        assert sorted(shortest_tour(d, kicks=3, rng=np.random.default_rng(0))) == list(range(10))


@pytest.mark.parametrize("k", [0, 1, 2, 3])
def test_few_points(k):
    """Definition: up to three points have one tour."""
    assert list(shortest_tour(shuffled(k, 0), kicks=3, rng=np.random.default_rng(0))) == list(range(k))
