"""Order of class averages."""

from itertools import pairwise

import numpy as np
import pytest

from cryoisac.model.poses import Poses
from cryoisac.ops.warp import rotate_shift
from cryoisac.products.averages import ordered
from cryoisac.products.ordering import along, begin_at, order_averages
from cryoisac.products.pairs import align_pairs
from cryoisac.products.tour import tour_length


def test_original_program_tour(golden):
    """Independent program: length of the tour that SPARX found, which is the optimum by brute force."""
    case = golden("frc_chain")
    found = order_averages(case["chain_avg"], range_px=2, seed=3)
    ring = list(np.roll(found.order, -int(found.order.argmin())))
    assert ring[1:] in (list(case["chain_tsp_optimum"][1:]), list(case["chain_tsp_optimum"][:0:-1]))
    # Eight similarities, each within 2e-7 of the program's.
    assert found.length == pytest.approx(float(case["chain_tsp_optimum_length"]), abs=1.6e-6)
    assert found.order[0] == case["chain_params_program"][0, 1]  # the greedy chain starts where SPARX's does


def test_original_program_poses(golden):
    """Independent program: rotations, mirrors and images that SPARX wrote along its own order."""
    case = golden("frc_chain")
    rows = case["chain_params_program"]
    order = rows[:, 1].astype(int)
    angle, mirror = along(align_pairs(case["chain_avg"], range_px=2), order)
    assert (mirror == (rows[:, 5] == 1)).all()
    # Seven steps, each within 1e-5 degrees; README.md asks for five times that.
    assert np.abs((angle - rows[:, 2] + 180) % 360 - 180).max() < 5 * 7e-5
    poses = Poses(angle_deg=angle, shift_px=np.zeros((8, 2)), mirror=mirror)
    written = rotate_shift(case["chain_avg"][order], poses)[:3]
    assert np.abs(written - case["chain_circle_first3"]).max() < 2e-5  # float32 interpolation of values up to 5


def test_a_circle_of_views_is_recovered(asymmetric):
    """Known truth recovered: pictures that change step by step around a circle, each turned at random."""
    y, x = np.mgrid[-32:32, -32:32].astype(np.float64)
    rng = np.random.default_rng(0)
    k = 12
    phase = 2 * np.pi * np.arange(k) / k
    frames = [
        asymmetric
        + 1.5 * np.cos(p) * np.exp(-((x - 14) ** 2 + (y - 12) ** 2) / 18)
        + 1.5 * np.sin(p) * np.exp(-((x + 16) ** 2 + (y - 3) ** 2) / 18)
        for p in phase
    ]
    turns = Poses(angle_deg=rng.uniform(0, 360, k), shift_px=np.zeros((k, 2)), mirror=rng.random(k) < 0.5)
    pictures = rotate_shift(np.stack(frames), turns, method="cubic", outside="zero")
    shuffle = rng.permutation(k)
    found = order_averages(pictures[shuffle], range_px=2, seed=0)
    steps = np.diff(shuffle[np.append(found.order, found.order[0])]) % k
    assert set(steps) in ({1}, {k - 1})
    shown = ordered(pictures[shuffle], found)
    inner = (x**2 + y**2) < 28**2
    close = [np.corrcoef(a[inner], b[inner])[0, 1] for a, b in pairwise(shown)]
    assert min(close) > 0.9  # laid on each other, neighbours differ by a step of 30 degrees of the added blobs


def test_same_seed_same_order_and_input_order_does_not_matter(golden):
    """Invariance: bit for bit the same again; the tour is as long whatever the order of the input."""
    averages = golden("frc_chain")["chain_avg"]
    one, again = (order_averages(averages, range_px=2, seed=5) for _ in range(2))
    assert (one.order == again.order).all()
    assert (one.angle_deg == again.angle_deg).all()
    p = np.random.default_rng(1).permutation(8)
    other = order_averages(averages[p], range_px=2, seed=5)
    # A pair aligned in the other direction is interpolated anew: 3e-3 in its similarity, and up to 4e-2 where no shift
    # within the range is a peak. Two such steps at most, for they are the long ones.
    assert other.length == pytest.approx(one.length, abs=8e-2)
    distance = np.maximum(0, 1 - one.similarity)
    renamed = begin_at(np.argsort(p)[one.order], distance[np.ix_(p, p)])
    assert (p[renamed] == one.order).all()


def test_it_begins_at_the_best_greedy_chain_and_turns_to_the_nearer_neighbour():
    """Definition by brute force."""
    rng = np.random.default_rng(2)
    d = rng.random((7, 7))
    d = np.triu(d, 1) + np.triu(d, 1).T
    sums = []
    for start in range(7):
        left, here, total = set(range(7)) - {start}, start, 0.0
        while len(left) > 1:
            there = min(left, key=lambda q: d[here, q])
            total, here = total + d[here, there], there
            left.remove(there)
        sums.append(total)
    tour = rng.permutation(7)
    turned = begin_at(tour, d)
    assert turned[0] == np.argmin(sums)
    assert d[turned[0], turned[1]] <= d[turned[0], turned[-1]]
    assert tour_length(d, turned) == pytest.approx(tour_length(d, tour), rel=1e-14)  # the same edges


@pytest.mark.parametrize("k", [0, 1, 2, 3])
def test_few_averages(asymmetric, k):
    """Definition: few averages have one order; the first is never moved."""
    frames = np.stack([np.roll(asymmetric, s, axis=0) + 0.1 * s * asymmetric.T for s in range(3)])[:k]
    found = order_averages(frames, range_px=2, seed=0)
    assert sorted(found.order) == list(range(k))
    assert found.similarity.shape == (k, k)
    assert ordered(frames, found).shape == frames.shape
    if k:
        assert found.angle_deg[0] == 0
        assert not found.mirror[0]
