"""Class averages, what is known of particles beforehand, and the evidence for classes."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from cryoisac.cluster.partition import shared_prior
from cryoisac.cluster.wiener import Prior, Sums, averages, class_sums, estimate_prior, likelihood_of
from cryoisac.engine.likelihood import RingImages
from cryoisac.engine.likelihood_native import NativeLikelihoodEngine
from cryoisac.model.poses import Poses
from cryoisac.ops.hartley import ring_power
from cryoisac.ops.polar import Rings

RINGS = Rings(radii=(2, 3, 4, 5), lengths=(16, 16, 32, 32))
POWER = np.array([3.0, 1.0, 0.3, 0.05])
SHARE = 0.6


def wide(values):
    """Return values of rings, given to their samples."""
    return np.repeat(values, RINGS.lengths, axis=-1)


def simulated(rng, n, *, signal=POWER):
    """Return images of independent samples, C (C s + noise), and the root of their ctf2."""
    c = rng.uniform(0.2, 1, (n, len(RINGS.radii)))
    s = np.sqrt(wide(signal)) * rng.normal(size=(n, sum(RINGS.lengths)))
    x = wide(c) * s + np.sqrt(SHARE) * rng.normal(size=s.shape)
    return RingImages(rings=RINGS, box_px=16, samples=(wide(c) * x).astype("f4"), ctf2=(c**2).astype("f4")), c


def test_the_prior_is_the_power_of_the_signal():
    """Known truth: of simulated signals under CTFs in noise."""
    images, _ = simulated(np.random.default_rng(0), 5000)
    prior = estimate_prior(images, SHARE)
    assert prior.share == SHARE
    # 5000 images of 16 or 32 samples, variances (C⁴ P + C² f)² of which 2 / 80000 is left: below 0.01 of P + f
    np.testing.assert_allclose(prior.signal, POWER, atol=0.01 * (POWER.max() + SHARE), rtol=0.02)


def test_unusual_images_do_not_move_the_prior():
    """Known truth: 5 % of the images, a hundred times as strong, change it by no more than they are few."""
    images, _ = simulated(np.random.default_rng(1), 2000)
    before = estimate_prior(images, SHARE).signal
    samples = images.samples.copy()
    samples[::20] *= 100
    after = estimate_prior(replace(images, samples=samples), SHARE).signal
    np.testing.assert_allclose(after, before, atol=0.02 * (POWER.max() + SHARE), rtol=0.05)


def test_the_prior_of_noise_is_nearly_nothing():
    """Known truth: where there is no signal little is found, and never nothing or less."""
    images, _ = simulated(np.random.default_rng(2), 5000, signal=0 * POWER)
    signal = estimate_prior(images, SHARE).signal
    assert (signal > 0).all()
    assert signal.max() < 0.02 * SHARE


def test_the_prior_goes_with_the_unit():
    """Invariance: noise and signal three times as strong."""
    images, _ = simulated(np.random.default_rng(3), 500)
    nine = estimate_prior(replace(images, samples=3 * images.samples), 9 * SHARE)
    np.testing.assert_allclose(nine.signal, 9 * estimate_prior(images, SHARE).signal, rtol=1e-5)


@pytest.mark.parametrize("ctf", [False, True])
def test_what_halves_share_is_the_power_of_the_particles(make_world, ctf):
    """Known truth: the power of the views on rings, found with true poses."""
    world = make_world(2, (200, 200, 200), ctf=ctf)
    rings = world.bench.engine.images.rings
    signal = shared_prior(world.bench, world.truth()).signal
    wanted = ring_power(world.references, rings).mean(axis=0)
    weight = world.bench.engine.images.ctf2.sum(axis=0) / 3
    noise = world.bench.prior.share / weight
    # the noise of two half averages of D / 2 each, crossed, over the some 2 pi k f coefficients of three views; and
    # the mask, which cuts posed particles a little differently
    spread = noise * np.sqrt(4 * wanted / noise + 4) / np.sqrt(3 * 2 * np.pi * np.array(rings.radii) * 0.5)
    assert (np.abs(signal - wanted) < 4 * spread + 0.05 * wanted).all()


def test_halves_of_noise_share_nothing(make_world):
    """Known truth: far below what one average of noise holds."""
    world = make_world(3, (100, 100, 100), strength=0)
    signal = shared_prior(world.bench, world.truth()).signal
    assert signal.max() < world.bench.prior.share / 100
    assert signal.mean() < world.bench.prior.share / 300
    assert signal.min() > 0


def test_averages_are_the_posterior_mean():
    """Definition by brute force: least squares of every sample, a row for each image and one for the prior."""
    rng = np.random.default_rng(4)
    images, c = simulated(rng, 12)
    labels, rows = np.array([0, 1] * 5 + [-1, 0]), np.arange(12)
    prior = Prior(signal=POWER, share=SHARE)
    sums = class_sums(NativeLikelihoodEngine(images, 1), labels, rows, Poses.identity(12), 3)
    found = averages(sums, prior, RINGS)
    assert sums.sizes.tolist() == [6, 5, 0]
    assert (found[2] == 0).all()
    x = images.samples / wide(c)
    for k in (0, 1):
        own = labels == k
        for s, ring in enumerate(np.repeat(np.arange(4), RINGS.lengths)):
            rows = np.concatenate((c[own, ring] / np.sqrt(SHARE), [1 / np.sqrt(POWER[ring])]))
            wanted = np.linalg.lstsq(rows[:, None], np.append(x[own, s] / np.sqrt(SHARE), 0), rcond=None)[0][0]
            assert found[k, s] == pytest.approx(wanted, abs=1e-5)  # float32 sums


def test_evidence_is_the_marginal_likelihood():
    """Definition by brute force: densities of each sample over the images, with a common signal and without.

    Samples count for the area that they stand for, of which the share of the mask is independent.
    """
    rng = np.random.default_rng(5)
    images, c = simulated(rng, 6)
    prior = Prior(signal=POWER, share=SHARE)
    engine = NativeLikelihoodEngine(images, 1)
    sums = class_sums(engine, np.zeros(6, np.int64), np.arange(6), Poses.identity(6), 2)
    x, wanted = images.samples / wide(c), 0.0
    for s, ring in enumerate(np.repeat(np.arange(4), RINGS.lengths)):
        noise = SHARE * np.eye(6)
        common = noise + POWER[ring] * np.outer(c[:, ring], c[:, ring])
        gain = multivariate_normal(cov=common).logpdf(x[:, s]) - multivariate_normal(cov=noise).logpdf(x[:, s])
        wanted += SHARE * gain * 2 * np.pi * RINGS.radii[ring] / RINGS.lengths[ring]
    found = likelihood_of(sums, prior, RINGS)
    np.testing.assert_allclose(found, [wanted, 0], rtol=1e-5)  # float32 sums; an empty class has none


def test_sums_of_disjoint_classes_add_up():
    """Invariance: two classes joined have the sums of their members."""
    images, _ = simulated(np.random.default_rng(6), 20)
    engine, rows, still = NativeLikelihoodEngine(images, 1), np.arange(20), Poses.identity(20)
    labels = rows % 2
    two, one = (class_sums(engine, c, rows, still, 2) for c in (labels, 0 * labels))
    np.testing.assert_allclose(two.numerator.sum(axis=0), one.numerator[0], atol=1e-5)
    np.testing.assert_allclose(two.denominator.sum(axis=0), one.denominator[0], rtol=1e-6)
    assert two.sizes.sum() == one.sizes[0] == 20


def test_one_view_is_more_evident_in_one_class_two_in_two(make_world):
    """Known truth: the evidence of the true classes is above that of halves of them, and of their union."""
    world = make_world(4, (60, 60))
    bench, rings = world.bench, world.bench.engine.images.rings
    cut = 2 * world.label + np.arange(120) % 2

    def evidence(labels, k) -> float:
        sums: Sums = class_sums(bench.engine, labels, np.arange(120), world.poses, k)
        return float(likelihood_of(sums, bench.prior, rings).sum())

    true = evidence(world.label, 2)
    assert true > evidence(cut, 4)
    assert true > evidence(0 * world.label, 1)
