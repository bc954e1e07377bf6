"""Fourier rings as real numbers: against direct sums and numpy.fft, round trips, shifts."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from cryoisac.ops.hartley import (
    RingTransform,
    moved,
    opposite,
    ring_power,
    ring_transform,
    to_image,
    transform_rings,
)
from cryoisac.ops.polar import Rings


def compact(rng, n, box, reach_px):
    """Return smooth images that vanish beyond a radius."""
    y, x = np.mgrid[:box, :box] - box // 2
    inside = 1 / (1 + np.exp((np.hypot(x, y) - reach_px) / 0.6))
    noise = gaussian_filter(rng.standard_normal((n, box, box)), (0, 1.2, 1.2))
    return (noise * inside).astype(np.float32)


@pytest.mark.parametrize("box", [12, 13])
def test_transform_by_direct_sum(box):
    """Definition by brute force: a sum over pixels for every sample."""
    rng = np.random.default_rng(box)
    images = rng.standard_normal((3, box, box)).astype(np.float32)
    rings = transform_rings(5, first=2, box_px=box, support_px=4)
    y, x = np.mgrid[:box, :box] - box // 2
    expected = np.empty((3, sum(rings.lengths)))
    for s, (kx, ky) in enumerate(rings.points_px):
        phase = -2 * np.pi * (kx * x + ky * y) / box
        expected[:, s] = (images * (np.cos(phase) + np.sin(phase))).sum(axis=(1, 2)) / box
    np.testing.assert_allclose(ring_transform(images, rings), expected, atol=1e-5)  # float32 sums of box² terms


@pytest.mark.parametrize("box", [16, 17])
def test_transform_against_numpy_fft(box):
    """Independent program: at whole frequencies, the real plus the imaginary part of NumPy's transform."""
    rng = np.random.default_rng(box)
    image = rng.standard_normal((box, box)).astype(np.float32)
    rings = Rings(radii=(1, 2, 3, 4, 5), lengths=(16, 16, 16, 16, 16))
    full = np.fft.fft2(np.roll(image, (-(box // 2), -(box // 2)), axis=(0, 1))) / box
    points = rings.points_px
    whole = np.flatnonzero((points == np.rint(points)).all(axis=1))
    assert len(whole) >= 20  # the four axes of every ring
    kx, ky = points[whole].astype(int).T
    expected = full[ky, kx].real + full[ky, kx].imag
    np.testing.assert_allclose(ring_transform(image[None], rings)[0, whole], expected, atol=1e-5)


@pytest.mark.parametrize("box", [40, 41])
def test_round_trip(box):
    """Known truth: an image without mean comes back from all of its rings."""
    images = compact(np.random.default_rng(1), 3, box, 9)
    y, x = np.mgrid[:box, :box] - box // 2
    envelope = np.exp(-0.5 * (np.hypot(x, y) / 3) ** 2)
    images -= envelope * (images.sum(axis=(1, 2), keepdims=True) / envelope.sum())
    rings = transform_rings(20, first=1, box_px=box, support_px=12)
    back = to_image(ring_transform(images, rings), rings, box)
    near = np.hypot(x, y) < 12  # rings a Fourier pixel apart repeat the image, faintly, a box away
    assert np.abs(back - images)[:, near].max() < 0.01 * np.abs(images).max()  # corners of the transform are missing


@pytest.mark.parametrize("box", [12, 13])
def test_adjoint_by_inner_products(box):
    """Definition: the adjoint of a transform has the same inner product with an image as the transform with samples."""
    rng = np.random.default_rng(box)
    rings = transform_rings(5, first=2, box_px=box, support_px=4)
    transform = RingTransform(rings, box)
    images = rng.standard_normal((3, box, box)).astype(np.float32)
    samples = rng.standard_normal((4, sum(rings.lengths))).astype(np.float32)
    expected = transform(images).astype(np.float64) @ samples.T
    found = images.reshape(3, -1).astype(np.float64) @ transform.adjoint(samples).reshape(4, -1).T
    np.testing.assert_allclose(found, expected, atol=1e-3)  # float32 sums of box² times some hundred terms


@pytest.mark.parametrize("box", [12, 13])
def test_what_vanishes_beyond_a_radius_needs_no_more(box):
    """Invariance: pixels that are 0 in all images may be left out."""
    y, x = np.mgrid[:box, :box] - box // 2
    images = np.random.default_rng(box).standard_normal((3, box, box)) * (np.hypot(x, y) <= 4)
    rings = transform_rings(5, first=2, box_px=box, support_px=4)
    expected = RingTransform(rings, box)(images)
    np.testing.assert_allclose(RingTransform(rings, box, support_px=4.0)(images), expected, atol=1e-6)  # rounding


def test_rings_made_in_parts(monkeypatch):
    """Invariance: matrices too large to be kept are made in parts, which give the same."""
    rng = np.random.default_rng(0)
    rings = transform_rings(5, first=2, box_px=12, support_px=4)
    images = rng.standard_normal((3, 12, 12)).astype(np.float32)
    whole, back = ring_transform(images, rings), to_image(ring_transform(images, rings), rings, 12)
    monkeypatch.setattr("cryoisac.ops.hartley.MATRIX_BYTES", 8 * 100 * 7)
    np.testing.assert_allclose(ring_transform(images, rings), whole, atol=1e-6)  # rounding
    np.testing.assert_allclose(to_image(whole, rings, 12), back, atol=1e-5)  # rounding


def test_rings_hold_the_orders_of_their_circumference():
    """Known truth: samples of a compact image between those of a ring are what the ring's orders say."""
    box, reach = 48, 11
    image = compact(np.random.default_rng(2), 1, box, reach - 3)
    rings = transform_rings(20, first=1, box_px=box, support_px=reach)
    finer = Rings(radii=rings.radii, lengths=tuple(2 * n for n in rings.lengths))
    few, many = ring_transform(image, rings)[0], ring_transform(image, finer)[0]
    start = 0
    for n in rings.lengths:
        orders = np.fft.rfft(few[start : start + n])
        between = 2 * np.fft.irfft(np.concatenate((orders[:-1], np.zeros(n // 2 + 1))), 2 * n)
        assert np.abs(between - many[2 * start : 2 * (start + n)]).max() < 2e-3 * np.abs(many).max()
        start += n


def test_ring_power_by_loops():
    """Definition by brute force: the mean square of each ring."""
    rings = Rings(radii=(2, 3, 5), lengths=(8, 16, 32))
    samples = np.random.default_rng(3).standard_normal((2, 4, 56)).astype(np.float32)
    found = ring_power(samples, rings)
    assert found.shape == (2, 4, 3)
    for i in range(2):
        for j in range(4):
            for r, (a, b) in enumerate([(0, 8), (8, 24), (24, 56)]):
                assert found[i, j, r] == pytest.approx(sum(float(v) ** 2 for v in samples[i, j, a:b]) / (b - a))


def test_white_noise_has_unit_variance():
    """Known truth: rings of white noise have the noise's variance."""
    noise = np.random.default_rng(4).standard_normal((400, 24, 24)).astype(np.float32)
    rings = transform_rings(11, first=2, box_px=24, support_px=12)
    assert ring_power(ring_transform(noise, rings), rings).mean() == pytest.approx(1, abs=0.02)  # 400 x 300 values


def test_moving_by_whole_pixels():
    """Definition: rings of the image that is moved by whole pixels."""
    images = compact(np.random.default_rng(5), 4, 40, 9)
    rings = transform_rings(16, first=1, box_px=40, support_px=14)
    shifts = np.array([[0, 0], [3, 0], [0, -2], [-4, 5]])
    there = np.stack([np.roll(i, (y, x), axis=(0, 1)) for i, (x, y) in zip(images, shifts, strict=True)])
    np.testing.assert_allclose(
        moved(ring_transform(images, rings), shifts, rings, 40), ring_transform(there, rings), atol=1e-4
    )


def test_moves_add_up():
    """Invariance: two moves are one by their sum, a move there and back is none, opposite twice is nothing."""
    rng = np.random.default_rng(6)
    rings = transform_rings(9, first=2, box_px=30, support_px=10)
    samples = rng.standard_normal((5, sum(rings.lengths)))
    a, b = rng.uniform(-4, 4, (2, 5, 2))
    twice = moved(moved(samples, a, rings, 30), b, rings, 30)
    np.testing.assert_allclose(twice, moved(samples, a + b, rings, 30), atol=1e-12)
    np.testing.assert_allclose(moved(moved(samples, a, rings, 30), -a, rings, 30), samples, atol=1e-12)
    np.testing.assert_array_equal(opposite(opposite(samples, rings), rings), samples)
