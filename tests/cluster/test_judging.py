"""Which images are members: noise, pairs and strays found, poses confirmed by repeated alignments."""

from dataclasses import replace

import numpy as np
import pytest

from cryoisac.cluster.judging import (
    LEAST_SURPLUS,
    MISTAKEN,
    NOISE_IMAGES,
    NOISE_QUANTILE,
    explained,
    far_above,
    fellowship,
    judge,
    noise_images,
    noise_level,
    open_court,
    standardised,
)
from cryoisac.cluster.partition import Partition, aligned, references_of, scores_of, sums_of
from cryoisac.cluster.repeats import own_share, repeat_alignments
from cryoisac.cluster.wiener import averages, class_sums
from cryoisac.engine.likelihood import used_rings
from cryoisac.model.ledger import AMBIGUOUS, JUNK_NOISE, JUNK_PAIR, MEMBER, SMALL_CLASS
from cryoisac.model.poses import Poses
from cryoisac.ops.hartley import ring_power
from cryoisac.ops.outliers import deviations


def settled(world, passes=3, **changes):
    """Return the true classes, or others, posed on their own averages from the true poses."""
    partition = world.truth(**changes)
    for _ in range(passes):
        partition = aligned(world.bench, references_of(world.bench, partition), partition.labels, world.bench.fine)
    return partition


def labelled(labels, k=None):
    labels = np.asarray(labels)
    n = len(labels)
    k = k or int(labels.max()) + 1
    return Partition(labels=labels, poses=Poses.identity(n), gain=np.zeros(n, np.float32), k=k)


def test_noise_images_are_masked_white_noise(make_world):
    """Known truth: on every ring C² times the mask's share, with CTFs that images have; the same every time."""
    bench = make_world(20, (60,), ctf=True).bench
    noise = noise_images(bench)
    assert len(noise) == NOISE_IMAGES
    ratio = (ring_power(noise.samples, noise.rings) / noise.ctf2).mean(axis=0)
    # NOISE_IMAGES of some 2 pi k f coefficients: 0.02 on the innermost ring; the mask smears nothing white
    np.testing.assert_allclose(ratio, bench.prior.share, rtol=0.1)
    assert {tuple(row) for row in noise.ctf2} <= {tuple(row) for row in bench.engine.images.ctf2}
    assert np.array_equal(noise_images(bench).samples, noise.samples)


def test_explained_is_the_best_and_the_second():
    """Definition by brute force: sorted, row by row; classes that are out do not count."""
    scores = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    scores[:, 2] = -np.inf
    found = explained(scores)
    for i, row in enumerate(scores):
        first, second = sorted(range(4), key=lambda c: -row[c])[:2]
        assert (found.label[i], found.rival[i]) == (first, second)
        assert found.gain[i] == row[first]
        assert found.lead[i] == row[first] - row[second]


@pytest.mark.parametrize("out", [0, 2])
def test_a_single_class_has_no_rival(out):
    """Known truth: alone, or the last that is left."""
    scores = np.full((3, out + 1), -np.inf, dtype=np.float32)
    scores[:, out] = [1, -2, 3]
    found = explained(scores)
    assert (found.label == out).all()
    assert (found.rival == -1).all()
    assert np.isinf(found.lead).all()


def test_standardised_is_by_class():
    """Definition: deviations within each class; a class of one has none, an empty one is no matter."""
    rng = np.random.default_rng(1)
    labels = np.array([0] * 40 + [1] * 30 + [3])
    values = rng.normal(size=71) * (1 + 5 * labels) + 100 * labels
    found = standardised(values, labels, 5)
    np.testing.assert_allclose(found[:40], deviations(values[:40]))
    np.testing.assert_allclose(found[40:70], deviations(values[40:70]))
    assert found[70] == 0
    order = rng.permutation(71)
    np.testing.assert_allclose(standardised(values[order], labels[order], 5), found[order])


def test_symmetric_values_hold_no_outliers():
    """Known truth: whatever the tails, as many below as above suggest nothing."""
    rng = np.random.default_rng(2)
    for values in (rng.normal(size=2000), rng.standard_t(3, size=2000), rng.standard_cauchy(2000)):
        assert not far_above(np.concatenate((values, -values))).any()
    assert not far_above(np.zeros(10)).any()
    assert not far_above(-np.abs(rng.normal(size=500)) * 10).any()


def test_values_far_above_are_found():
    """Known truth: a twentieth of the values, far above; and with heavy tails the threshold rises."""
    rng = np.random.default_rng(3)
    values = rng.normal(size=2000)
    values[:100] += 8
    assert np.array_equal(far_above(values), values > LEAST_SURPLUS)
    assert far_above(values)[:100].all()
    heavy = np.concatenate((values, np.repeat([-5.0, 5.0], 30)))
    found = far_above(heavy)
    assert found[:100].sum() > 90
    threshold = heavy[found].min()
    assert (heavy < -threshold).sum() <= MISTAKEN * found.sum()


def test_own_share_is_what_an_image_adds_to_its_gain(make_world):
    """Definition by brute force: the gain on its class's average, less that on the average of all others.

    To first order in one over the number of members, and where an image is mostly noise.
    """
    n = 60
    world = make_world(21, (n,), strength=0.1, ctf=True)
    bench, rows, labels = world.bench, np.arange(n), np.zeros(n, np.int64)
    images, rings = bench.engine.images, used_rings(world.bench.engine.images.rings, world.bench.class_ring)
    assert rings == images.rings
    area, still = np.repeat(rings.sample_weights, rings.lengths), Poses.identity(n)
    sums = class_sums(bench.engine, labels, rows, still, 1)
    share = own_share(bench, sums, bench.prior, labels, labels)
    differences = np.empty(n)
    for i in rows:
        others = class_sums(bench.engine, np.where(rows == i, -1, 0), rows, still, 1)
        gains = []
        for kept in (sums, others):
            average = averages(kept, bench.prior, rings)[0].astype(np.float64)
            c2 = np.repeat(images.ctf2[i], rings.lengths)
            gains.append((area * (average * images.samples[i] - 0.5 * c2 * average**2)).sum())
        differences[i] = gains[0] - gains[1]
    # (1 - 1/n)² / (1 - 1/n) of it, and what CTFs that differ leave of that, and a little signal
    np.testing.assert_allclose(share, differences, rtol=0.15)
    np.testing.assert_allclose(share.mean(), differences.mean(), rtol=0.05)


def test_images_not_in_an_average_own_nothing_of_it(clear):
    """Definition: rows whose own class is another, or none."""
    bench, labels = clear.bench, clear.label
    own = np.where(np.arange(120) % 3 == 0, -1, labels)
    share = own_share(bench, sums_of(bench, clear.truth()), bench.prior, own, labels)
    assert np.array_equal(share > 0, own == labels)
    elsewhere = own_share(bench, sums_of(bench, clear.truth()), bench.prior, labels, (labels + 1) % 3)
    assert (elsewhere == 0).all()


def test_noise_stays_below_its_level(make_world):
    """Known truth: of noise images that nobody has seen, NOISE_QUANTILE."""
    world = make_world(22, (60, 60), junk=300)
    bench, particles = world.bench, np.arange(420) < 120
    court = open_court(bench, world.truth(), particles)
    level = noise_level(bench, court)
    gain = scores_of(bench, court.references, bench.coarse).max(axis=1)
    # of 300 and of NOISE_IMAGES the shares scatter by 0.03 together
    assert (gain[~particles] < level).mean() == pytest.approx(NOISE_QUANTILE, abs=0.1)
    assert (gain[particles] > level).mean() > 0.95


def test_courts_know_the_cores(clear):
    """Definition: averages are those of the cores; a class without a core has all of its members."""
    core = (np.arange(120) % 2 == 0) & (clear.label != 1)
    court = open_court(clear.bench, clear.truth(), core)
    assert np.array_equal(court.own, np.where(core | (clear.label == 1), clear.label, -1))
    assert court.sums.sizes.tolist() == [20, 40, 20]
    wanted = averages(court.sums, court.prior, clear.bench.engine.images.rings)
    assert np.array_equal(court.references, wanted)


@pytest.mark.parametrize("ctf", [False, True])
def test_repeated_alignments_agree_where_there_is_signal(make_world, ctf):
    """Known truth: particles get the poses that they have, within the noise of poses."""
    world = make_world(23, (60, 60), ctf=ctf, strength=1.2 if ctf else 0.7)
    repeats = repeat_alignments(world.bench, settled(world))
    assert (repeats.agreed == 1).mean() > 0.9
    known = np.isfinite(repeats.pixel_error_px)
    assert known.mean() > 0.95
    assert np.median(repeats.pixel_error_px[known]) < world.bench.settings.thld_err


def test_repeated_alignments_of_noise_disagree(make_world):
    """Known truth: beside a class of particles, an average of noise comes out anew at every alignment.

    Now and then half of the images agree by chance, and then that alignment counts.
    """
    particle, noise = np.arange(160) < 80, []
    for seed in (24, 25, 26):
        world = make_world(seed, (80,), junk=80)
        repeats = repeat_alignments(world.bench, settled(world, passes=6, labels=np.where(particle, 0, 1), k=2))
        assert repeats.agreed[particle].mean() > 0.8
        noise.append(repeats.agreed[~particle].mean())
    assert np.median(noise) < 0.1


def test_a_symmetric_average_agrees_with_itself(make_world):
    """Known truth: views with a twofold axis have two poses each, and either will do."""
    world = make_world(25, (60, 60), twofold=True)
    repeats = repeat_alignments(world.bench, settled(world))
    assert (repeats.agreed == 1).mean() > 0.9


def test_members_are_the_particles_and_noise_is_called_noise(make_world):
    """Known truth: of three views with a third of noise, at most the noise's quantile is mistaken."""
    world = make_world(26, (60, 60, 60), junk=90)
    particle = np.arange(270) < 180
    verdict = judge(world.bench, settled(world), ())
    assert (verdict.reason[particle] == MEMBER).mean() > 0.9
    assert (verdict.partition.labels[particle] == world.label[particle]).mean() > 0.98
    # the level is that of NOISE_QUANTILE; of 90 the share scatters by 0.05
    assert (verdict.reason[~particle] == JUNK_NOISE).mean() > NOISE_QUANTILE - 0.2
    assert (verdict.reason[~particle] == MEMBER).mean() < 1 - NOISE_QUANTILE + 0.1
    assert np.isnan(verdict.fellowship).all()


def test_pairs_are_called_pairs(make_world):
    """Known truth: a second particle, off the centre, beside the one that its class explains."""
    world = make_world(27, (70, 70, 70), strength=1.0, pairs=14)
    verdict = judge(world.bench, settled(world), ())
    pair = np.arange(224) >= 210
    assert (verdict.reason[pair] == JUNK_PAIR).mean() > 0.6
    assert (verdict.reason[~pair] == JUNK_PAIR).mean() < 0.03


def test_a_stray_is_taken_in_by_its_own_class(make_world):
    """Known truth: particles put in the wrong class end in the right one, as members."""
    world = make_world(28, (60, 60, 60))
    strays = np.arange(0, 180, 12)
    labels = world.label.copy()
    labels[strays] = (labels[strays] + 1) % 3
    verdict = judge(world.bench, settled(world, labels=labels, k=3), ())
    assert (verdict.partition.labels[strays] == world.label[strays]).all()
    assert (verdict.reason[strays] == MEMBER).mean() > 0.8
    assert (verdict.partition.labels == world.label).all()
    # their pose in that class was never tried again
    assert np.isinf(verdict.pixel_error_px[strays]).all()


def test_a_class_too_small_is_dissolved(make_world):
    """Known truth: its particles go where else they are explained, or are out; none stays a member of it."""
    world = make_world(29, (60, 60, 4), minimum_grp_size=8)
    verdict = judge(world.bench, settled(world), ())
    assert not (verdict.partition.labels == 2).any()
    assert (verdict.reason[:120] == MEMBER).mean() > 0.9
    assert (verdict.rival[verdict.reason == MEMBER] >= 0).all()


def test_where_no_class_is_large_enough_nobody_is_a_member(make_world):
    """Known truth: the last class is not dissolved, but its images are out as of a small class."""
    world = make_world(30, (20, 20), minimum_grp_size=41, img_per_grp=60)
    verdict = judge(world.bench, settled(world), ())
    assert len(set(verdict.partition.labels)) == 1
    assert (verdict.reason == SMALL_CLASS).all()


def test_two_classes_of_one_view_are_ambiguous(make_world):
    """Known truth: images of a view that was cut in two lead by little, and name the other half as the rival."""
    world = make_world(31, (160, 60))
    labels = np.where((world.label == 0) & (np.arange(220) % 2 == 0), 2, world.label)
    verdict = judge(world.bench, settled(world, labels=labels, k=3), ())
    unclear = verdict.reason == AMBIGUOUS
    assert unclear[:160].any()
    assert not unclear[160:].any()
    halves = verdict.partition.labels[:160]
    assert set(halves) == {0, 2}
    assert (verdict.rival[:160] == 2 - halves).all()


def test_fellowship_is_the_share_of_fellows_that_stay():
    """Definition by brute force: over all pairs."""
    rng = np.random.default_rng(4)
    one, others = rng.integers(0, 4, 40), [rng.integers(0, k, 40) for k in (2, 5, 7)]
    one[7] = 4  # alone
    found = fellowship(labelled(one), tuple(labelled(o) for o in others))
    for i in range(40):
        fellows = [j for j in range(40) if j != i and one[j] == one[i]]
        shares = [np.mean([o[j] == o[i] for j in fellows]) if fellows else 1.0 for o in others]
        assert found[i] == pytest.approx(np.mean(shares))
    assert found[7] == 1


def test_fellowship_does_not_depend_on_names():
    """Invariance: other numbers for the same classes; all stay together, and in no other partition nobody knows."""
    labels = np.random.default_rng(5).integers(0, 4, 60)
    renamed = np.array([2, 0, 3, 1])[labels]
    assert (fellowship(labelled(labels), (labelled(renamed, k=9),)) == 1).all()
    assert np.isnan(fellowship(labelled(labels), ())).all()
    assert (fellowship(replace(labelled(labels), k=6), (labelled(0 * labels),)) == 1).all()
