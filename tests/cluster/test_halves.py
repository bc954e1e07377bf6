"""Averages from halves: signal and noise that are known."""

import numpy as np
import pytest
import scipy.fft

from cryoisac.cluster.halves import FEWEST, HalfSums, class_average, halves_correlation, shared_signal
from cryoisac.ops.fourier import absolute_frequency
from cryoisac.ops.masks import circle

BOX, RADIUS = 64, 22.0


def signal() -> np.ndarray:
    """A few blobs, with power down to a third of Nyquist."""
    y, x = np.mgrid[:BOX, :BOX] - BOX // 2
    places = np.random.default_rng(0).uniform(-14, 14, (12, 2))
    return sum(np.exp(-((x - u) ** 2 + (y - v) ** 2) / (2 * 1.5**2)) for u, v in places)


def sums(image: np.ndarray, weight: np.ndarray, noise: float, members: int = 200, seed: int = 1) -> HalfSums:
    """Sums of ``members`` images of one weight: N = D x signal, with noise of the variance that D has."""
    rng = np.random.default_rng(seed)
    halves = []
    for size in (members // 2, members - members // 2):
        grain = scipy.fft.rfft2(rng.normal(size=(BOX, BOX))) * np.sqrt(weight * size) * noise
        halves.append(scipy.fft.irfft2(scipy.fft.rfft2(image) * weight * size + grain, s=(BOX, BOX)))
    sizes = np.array([members // 2, members - members // 2])
    return HalfSums(signal=np.stack(halves), weight=sizes[:, None, None] * weight, sizes=sizes)


def likeness(a: np.ndarray, b: np.ndarray) -> float:
    disc = circle(RADIUS, BOX)
    return float(np.corrcoef(a[disc], b[disc])[0, 1])


def ctf2() -> np.ndarray:
    """A squared CTF with zeros, the same for all members."""
    return np.sin(60 * absolute_frequency((BOX, BOX)) ** 2 + 0.1) ** 2


def test_without_noise_the_signal_comes_back() -> None:
    """Known truth: sums of noiseless images are divided by what they were multiplied with."""
    found = class_average(sums(signal(), np.ones((BOX, BOX // 2 + 1)), 0.0), RADIUS)
    # The guard takes 1 % off; the mask leaves the disc alone.
    assert np.abs(found.plain - signal() / 1.01)[circle(RADIUS, BOX)].max() < 1e-3
    assert found.correlation[3:].min() > 0.99


def test_weights_by_signal_help() -> None:
    """Known truth: with noise, the Wiener average is more like the signal than the plain one."""
    found = class_average(sums(signal(), ctf2(), 4.0), RADIUS)
    assert likeness(found.image, signal()) > likeness(found.plain, signal()) + 0.05


def test_zeros_that_all_members_share_do_not_explode() -> None:
    """Definition of the guard: where D is 0 the average holds no more than its neighbours do."""
    weight = ctf2()
    weight[absolute_frequency((BOX, BOX)) * BOX > 25] = 0.0  # nothing at all is known there
    weight[np.abs(absolute_frequency((BOX, BOX)) * BOX - 12) < 1] = 0.0
    found = class_average(sums(signal(), weight, 2.0), RADIUS)
    assert np.isfinite(found.image).all()
    assert np.isfinite(found.plain).all()
    power = np.abs(scipy.fft.rfft2(found.plain))
    beyond = absolute_frequency((BOX, BOX)) * BOX > 28
    assert power[beyond].max() < 0.05 * power.max()
    assert np.abs(found.image).max() < 3 * np.abs(signal()).max()


def test_frequencies_of_mere_noise_are_left_out() -> None:
    """Known truth: beyond what the halves share, hardly any power is left."""
    found = class_average(sums(signal(), np.ones((BOX, BOX // 2 + 1)), 4.0), RADIUS)
    ring = absolute_frequency((BOX, BOX)) * BOX
    high = (ring > 24) & (ring < 31)
    kept = (np.abs(scipy.fft.rfft2(found.image)) ** 2)[high].mean() / (np.abs(scipy.fft.rfft2(found.plain)) ** 2)[
        high
    ].mean()
    assert kept < 0.02


def test_the_correlation_of_halves_is_that_of_signal_and_noise() -> None:
    """Known truth: in white signal and white noise of equal power halves correlate by 1/2 on every ring."""
    rng = np.random.default_rng(3)
    values = []
    for _ in range(12):
        common, a, b = rng.normal(size=(3, BOX, BOX))
        values.append(halves_correlation(common + a, common + b, RADIUS))
    # 12 trials of 18 and more coefficients a ring, of which the mask leaves two in five independent.
    assert np.mean(values, axis=0)[4:] == pytest.approx(0.5, abs=0.17)
    assert np.mean(np.array(values)[:, 4:]) == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize("members", [1, 2, FEWEST - 1])
def test_too_few_members_have_no_correlation(members: int) -> None:
    """Definition: their average is there, and nothing is said of its resolution."""
    found = class_average(sums(signal(), np.ones((BOX, BOX // 2 + 1)), 0.05, members), RADIUS)
    assert np.isnan(found.correlation).all()
    assert likeness(found.image, signal()) > 0.9


def test_what_is_relied_upon() -> None:
    """Definition: from 0 to below 1, the curve itself where it is high, nearly nothing where chance makes it."""
    curve = np.concatenate((np.ones(10), np.full(10, 0.5), np.full(10, 0.04), np.full(3, -0.3)))
    relied = shared_signal(curve)
    assert relied[:9] == pytest.approx(1, abs=2e-3)
    assert relied[12:18] == pytest.approx(0.5)
    assert relied[22:28].max() < 0.01
    assert relied[-1] == 0
    assert 0 <= relied.min() <= relied.max() < 1
