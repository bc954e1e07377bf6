"""The likelihood method from its start to its end, and the parts of a pass."""

import dataclasses
from itertools import pairwise

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from cryoisac.cluster import finishing, likelihood
from cryoisac.cluster.partition import (
    Partition,
    aligned,
    assigned,
    compact,
    references_of,
    scores_of,
    sorted_once,
)
from cryoisac.engine.likelihood import norm_powers
from cryoisac.model.ledger import JUNK_NOISE, MEMBER
from cryoisac.model.poses import Poses, pixel_error
from cryoisac.ops.hartley import ring_transform
from cryoisac.run import checkpoint


def states(bench, state=None):
    """Return all states of a run, from its start or from a state."""
    found = [state or likelihood.start()]
    while not likelihood.finished(found[-1]):
        found.append(likelihood.step(bench, found[-1]))
        assert len(found) < 200
    return found


@pytest.fixture(scope="module")
def three(make_world):
    """Return three views of 40 images, and the states of a run that began with six classes."""
    world = make_world(1, (40, 40, 40))
    return world, states(world.bench)


def same(a, b):
    """Return whether two values are equal to the last bit, dataclasses and arrays compared part by part."""
    if dataclasses.is_dataclass(a):
        return type(a) is type(b) and all(same(getattr(a, f.name), getattr(b, f.name)) for f in dataclasses.fields(a))
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
    if isinstance(a, tuple):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return a == b


def test_views_are_found_from_too_many_classes(three):
    """Known truth: six classes at first, three in the end, nobody in the wrong one, nearly all members."""
    world, run = three
    assert likelihood.first_classes(world.bench) == 6
    result = finishing.result(world.bench, run[-1])
    member = result.ledger.label >= 0
    assert len(result.averages) == 3
    assert member.mean() > 0.95
    assert adjusted_rand_score(world.label[member], result.ledger.label[member]) == 1
    assert result.sizes.tolist() == sorted(result.sizes, reverse=True)
    assert result.sizes.sum() == member.sum()
    assert sum(result.ledger.counts().values()) == (~member).sum()


@pytest.mark.parametrize("ctf", [False, True])
def test_views_are_found_from_too_few_classes(make_world, ctf):
    """Known truth: two classes at first, five views; splits are reported with what they gain."""
    world = make_world(40, (40,) * 5, ctf=ctf, strength=1.2 if ctf else 0.7, img_per_grp=100)
    assert likelihood.first_classes(world.bench) == 2
    last = states(world.bench)[-1]
    assert last.partition.k == 5
    assert adjusted_rand_score(world.label, last.partition.labels) > 0.97


def test_uneven_views_keep_classes_of_their_own(make_world):
    """Known truth: one view has two thirds of the images, another a tenth."""
    world = make_world(41, (160, 56, 24), img_per_grp=60)
    last = states(world.bench)[-1]
    assert last.partition.k == 3
    assert adjusted_rand_score(world.label, last.partition.labels) > 0.97
    # whatever the numbers of classes, the result has them in order of size, rivals too
    verdict, other = last.verdict, np.array([2, 0, 1])
    renumbered = dataclasses.replace(
        verdict,
        partition=dataclasses.replace(verdict.partition, labels=other[verdict.partition.labels]),
        rival=np.where(verdict.rival < 0, -1, other[verdict.rival]),
    )
    one, two = (finishing.result(world.bench, dataclasses.replace(last, verdict=v)) for v in (verdict, renumbered))
    assert np.array_equal(one.ledger.label, two.ledger.label)
    assert np.array_equal(one.ledger.rival, two.ledger.rival)
    assert one.sizes.tolist() == sorted(one.sizes, reverse=True)


def test_noise_among_particles_is_left_out(make_world):
    """Known truth: images of noise alone do not become members, particles do."""
    world = make_world(42, (50, 50, 50), junk=20)
    ledger = finishing.result(world.bench, states(world.bench)[-1]).ledger
    particle = np.arange(170) < 150
    assert (ledger.reason[particle] == MEMBER).mean() > 0.95
    assert (ledger.reason[~particle] == JUNK_NOISE).mean() > 0.5
    assert adjusted_rand_score(world.label[particle], ledger.label[particle]) > 0.9


def test_poses_are_nearly_as_good_as_by_true_references(three):
    """Known truth: relative poses of members err little more than those found on the views without noise."""
    world, run = three
    bench, rows = world.bench, np.arange(120)
    ledger = finishing.result(bench, run[-1]).ledger
    ring = bench.engine.images.rings.radii[-1]
    ideal = bench.engine.refine(world.references, world.label, rows, world.poses, ring).poses
    errors = []
    for poses in (ledger.poses, ideal):
        for c in range(3):
            own = np.flatnonzero(ledger.label == c)
            first, others = np.repeat(own, len(own)), np.tile(own, len(own))
            found, true = (p[first].then(p[others].inverse()) for p in (poses, world.poses))
            errors.append(np.median(pixel_error(found, true, radius_px=bench.radius_px)))
    # averages of 40 images in noise, where a view has 80 natural units: a fifth more, and as much of the medians
    assert sum(errors[:3]) < 1.4 * sum(errors[3:])


def test_averages_look_like_the_views(three):
    """Known truth: each class average correlates with the view that its members were drawn of, at some pose."""
    world, run = three
    result, bench = finishing.result(world.bench, run[-1]), world.bench
    images, each = bench.engine.images, np.arange(3)
    assert result.averages.shape == (3, images.box_px, images.box_px)
    averages = ring_transform(result.averages, images.rings)
    held = dataclasses.replace(images, samples=averages, ctf2=np.ones((3, len(images.rings.radii)), np.float32))
    gain = bench.make_engine(held).score(world.references, each, bench.fine)  # <A, R> - |R|² / 2
    powers = [2 * norm_powers(x, images.rings).sum(axis=1) for x in (averages, world.references)]
    correlation = (gain + powers[1] / 2) / np.sqrt(powers[0][:, None] * powers[1])
    view = [world.label[result.ledger.label == c][0] for c in each]
    assert np.array_equal(correlation.argmax(axis=1), view)
    # 40 images of 80 natural units in some 500 coefficients: signal over noise 160 / 13, and poses err a little
    assert correlation.max(axis=1).min() > 0.9


def test_averages_are_in_units_of_the_background(three):
    """Invariance: whitened images give what the noise of each ring was divided out of, ring by ring."""
    world, _ = three
    noise = np.where(np.arange(len(world.bench.noise)) % 2, 1.0, 0.0)
    whole, odd, even, fourfold = (
        finishing.class_averages(dataclasses.replace(world.bench, noise=n), world.label, world.poses, 3)
        for n in (noise + (1 - noise), noise, 1 - noise, 4 * noise)
    )
    level = 1e-5 * np.abs(whole).max()  # float32
    np.testing.assert_allclose(odd + even, whole, atol=level)
    np.testing.assert_allclose(fourfold, 2 * odd, atol=level)
    assert np.abs(odd).max() > 0.1 * np.abs(whole).max()


def test_starts_begin_with_other_images(three):
    """Known truth: the first pass of each start differs, so that starts tell how stable members are."""
    _, run = three
    first = [s.partition for s in run if s.stage == likelihood.STARTS and s.passes == 1]
    assert len(first) == 2
    assert adjusted_rand_score(first[0].labels, first[1].labels) < 0.9


def test_the_same_twice(three):
    """Invariance: every state of a second run is the same to the last bit, and so is the result."""
    world, run = three
    again = states(world.bench)
    assert len(again) == len(run)
    assert all(same(a, b) for a, b in zip(run, again, strict=True))
    assert same(finishing.result(world.bench, run[-1]), finishing.result(world.bench, again[-1]))


def test_another_seed_finds_the_same_classes(three):
    """Invariance: other starts come to the same partition, in other numbers."""
    world, run = three
    settings = dataclasses.replace(world.bench.settings, rand_seed=99)
    other = states(dataclasses.replace(world.bench, settings=settings))[-1]
    assert not same(other, run[-1])
    assert adjusted_rand_score(other.partition.labels, run[-1].partition.labels) == 1


def test_a_run_goes_on_from_every_state_on_disk(three, tmp_path):
    """Invariance: saved and loaded, every state gives the next one to the last bit."""
    world, run = three
    for number, (old, new) in enumerate(pairwise(run)):
        path = tmp_path / f"{number}.npz"
        checkpoint.save(path, old)
        loaded = checkpoint.load(path, likelihood.State)
        assert same(loaded, old)
        assert same(likelihood.step(world.bench, loaded), new)
    checkpoint.save(tmp_path / "last.npz", run[-1])
    loaded = checkpoint.load(tmp_path / "last.npz", likelihood.State)
    assert same(finishing.result(world.bench, loaded), finishing.result(world.bench, run[-1]))


def test_stages_follow_each_other(three):
    """Definition: starts, rounds, fine poses, the verdict, the end; each told in words and steps."""
    world, run = three
    order = [likelihood.STARTS, likelihood.ROUNDS, likelihood.FINE, likelihood.VERDICT, likelihood.DONE]
    places = [order.index(s.stage) for s in run]
    assert places == sorted(places)
    assert set(places) == set(range(5))
    assert [likelihood.finished(s) for s in run] == [False] * (len(run) - 1) + [True]
    before = next(s for s in run if s.stage == likelihood.ROUNDS)
    assert len(before.ended) == world.bench.settings.starts - 1
    assert all(likelihood.describe(s) and likelihood.steps_of(world.bench, s) >= 1 for s in run[:-1])
    said = [line for old, new in pairwise(run) for line in likelihood.news(old, new)]
    assert any(line.startswith("Round 1: ") for line in said)
    assert said[-1].startswith("Members: ")


def test_steps_tick_as_often_as_they_say(three):
    """Definition: a stage ticks no more often than it announces, the verdict exactly as often."""
    world, run = three
    heard = []
    bench = dataclasses.replace(world.bench, tick=heard.append)
    judged = next(s for s in run if s.stage == likelihood.VERDICT)
    likelihood.step(bench, judged)
    assert len(heard) == likelihood.steps_of(bench, judged)


def test_the_best_start_goes_on(three):
    """Definition: the evidence of the partition that the rounds begin with is the largest of all starts."""
    world, run = three
    last, first = next((a, b) for a, b in pairwise(run) if b.stage == likelihood.ROUNDS)
    bench = likelihood.informed(world.bench, last.partition)
    chosen = likelihood.evidence(bench, first.partition)
    assert all(likelihood.evidence(bench, other) <= chosen for other in first.ended)


def test_what_is_found_stays(three):
    """Known truth: further rounds and passes change nothing of the classes that a run came to."""
    world, run = three
    found = next(s for s in run if s.stage == likelihood.FINE).partition
    bench = likelihood.informed(world.bench, found)
    again, changes = likelihood.split_and_merge(bench, found, (1, 77))
    assert changes == ()
    assert adjusted_rand_score(again.labels, found.labels) == 1
    assert again.k == found.k


def test_equal_sizes_where_asked_for(make_world):
    """Known truth: views of 60 and 20 images in four classes of 20, none split, none merged."""
    world = make_world(43, (60, 20), sizes="equal", img_per_grp=20)
    last = states(world.bench)[-1]
    assert last.partition.sizes.tolist() == [20] * 4
    assert last.changes == ()
    purity = [np.bincount(world.label[last.partition.labels == c]).max() for c in range(4)]
    assert sum(purity) >= 76


def test_one_class_of_all(make_world):
    """Known truth: one view, one class asked for, one found."""
    world = make_world(44, (50,), img_per_grp=50)
    result = finishing.result(world.bench, states(world.bench)[-1])
    assert len(result.averages) == 1
    assert (result.ledger.label == 0).mean() > 0.9
    assert (result.ledger.rival == -1).all()


def test_assignment_by_the_rule_asked_for():
    """Definition: free takes the best, equal makes sizes equal."""
    rng = np.random.default_rng(0)
    scores = (rng.normal(size=(300, 3)) + np.array([2, 0, -2])).astype(np.float32)
    assert np.array_equal(assigned(scores, "free"), scores.argmax(axis=1))
    assert np.bincount(assigned(scores, "equal")).tolist() == [100, 100, 100]


def test_a_pass_never_lowers_the_likelihood_of_free_classes(make_world):
    """Known truth: as for every alternating maximisation, the gains on averages of true classes grow or stay."""
    world = make_world(45, (40, 40))
    bench = world.bench
    partition = aligned(bench, references_of(bench, world.truth()), world.label, bench.fine)
    before = partition.likelihood
    for _ in range(3):
        partition = sorted_once(bench, partition, bench.fine, "free")
        # the search samples angles and shifts: the gain of a pose between them is a little higher
        assert partition.likelihood > before - 0.01 * abs(before)
        before = partition.likelihood


def test_scores_and_poses_agree(clear):
    """Invariance: the gain at an image's best pose is its score with that class."""
    bench = clear.bench
    references = references_of(bench, clear.truth())
    scores = scores_of(bench, references, bench.coarse)
    posed = aligned(bench, references, clear.label, bench.coarse)
    # the same search; a match interpolates nothing, and float32 sums differ in order
    np.testing.assert_allclose(posed.gain, scores[np.arange(120), clear.label], rtol=0.02)
    assert posed.likelihood == pytest.approx(float(posed.gain.sum()), rel=1e-5)


def test_compact_leaves_out_empty_classes():
    """Definition: numbers close up in order; nothing else changes."""
    labels = np.array([4, 1, 4, 6, 1])
    given = Partition(labels=labels, poses=Poses.identity(5), gain=np.arange(5, dtype=np.float32), k=8)
    found = compact(given)
    assert found.labels.tolist() == [1, 0, 1, 2, 0]
    assert found.k == 3
    assert found.sizes.tolist() == [2, 2, 1]
    assert found.poses is given.poses
    assert np.array_equal(found.gain, given.gain)


def test_the_search_is_no_finer_than_the_rings_used(clear):
    """Definition: the class ring resolves the cycles wanted, within the rings there are; fine steps are finer."""
    bench = clear.bench
    radii = bench.engine.images.rings.radii
    assert radii[0] <= bench.class_ring <= radii[-1]
    wide = dataclasses.replace(bench, radius_px=2 * bench.radius_px)
    assert wide.class_ring < bench.class_ring
    assert len(bench.fine.shifts_px) > len(bench.coarse.shifts_px)
    for search in (bench.fine, bench.coarse):
        assert np.hypot(*search.shifts_px.T).max() <= bench.reach_px + 1e-9


def test_noise_alone_comes_to_an_end(make_world):
    """Known truth: few images of nothing become members, and where there are none the result is empty, not wrong."""
    world = make_world(46, (100,), strength=0)
    last = states(world.bench)[-1]
    result = finishing.result(world.bench, last)
    assert (result.ledger.reason == MEMBER).mean() < 0.3
    nobody = dataclasses.replace(last.verdict, reason=np.full(100, JUNK_NOISE))
    empty = finishing.result(world.bench, dataclasses.replace(last, verdict=nobody))
    assert empty.averages.shape[0] == 0
    assert (empty.ledger.label == -1).all()
    assert empty.ledger.counts()[JUNK_NOISE] == 100
