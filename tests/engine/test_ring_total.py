"""Sums by ring coefficients: the definition by explicit formulas, the kernels against it, known truths, invariance."""

import numpy as np
import pytest
from scipy.interpolate import BarycentricInterpolator
from test_contract import smooth

from cryoisac.engine.contract import Search
from cryoisac.engine.fast_reference import FastReferenceEngine
from cryoisac.engine.ring_total import pixels_of_rings, ring_coefficients, ring_sums, rings_of_box
from cryoisac.model.poses import Poses
from cryoisac.ops.filters import tangent_lowpass
from cryoisac.ops.masks import circle


def poses_of(rng, m, reach_px=3.0):
    shift = rng.uniform(-reach_px, reach_px, (m, 2))
    return Poses(angle_deg=rng.uniform(-400, 400, m), shift_px=shift, mirror=rng.random(m) < 0.5)


def test_coefficients_by_brute_force():
    """Definition by brute force: Keys' kernel over pixels moved by polynomials, and sums over the samples of a ring."""
    box, offset = 9, np.array([0.3, -1.6])
    image = np.random.default_rng(1).standard_normal((box, box)).astype(np.float32)
    rings = rings_of_box(box)

    def kernel(t):
        t = abs(t)
        return 1.5 * t**3 - 2.5 * t**2 + 1 if t <= 1 else -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2 if t < 2 else 0.0

    def pixel(i, j):
        return float(image[min(max(j, 0), box - 1), min(max(i, 0), box - 1)])

    def moved(i, j):  # the image at (i, j) + offset
        at = np.arange(-2, 4)
        x, y = i + 4, j + 4 - 2  # whole parts 0 and -2 of the offset
        lines = [BarycentricInterpolator(at, [pixel(x + a, y + b) for a in at])(0.3) for b in at]
        return float(BarycentricInterpolator(at, lines)(0.4))

    found = ring_coefficients(image[None], offset[None], rings)[0]
    for r in (0, 1, 4):
        length = rings.lengths[r]
        samples = []
        for s in range(length):
            x, y = r * np.sin(2 * np.pi * s / length), r * np.cos(2 * np.pi * s / length)
            i, j = int(np.floor(x)), int(np.floor(y))
            near = [(a, b) for a in range(i - 1, i + 3) for b in range(j - 1, j + 3)]
            samples.append(sum(kernel(x - a) * kernel(y - b) * moved(a, b) for a, b in near))
        for k in range(length // 2 + 1):
            value = np.mean(samples * np.exp(-2j * np.pi * k * np.arange(length) / length))
            assert found[r, k] == pytest.approx(value, abs=1e-9)


@pytest.mark.parametrize("box", [1, 2, 3, 8, 9, 35, 36, 76])
def test_native_against_definition(fast, box):
    """Definition: sums of the float64 engine, offsets at and beyond the edge of the box and rows of no class too."""
    rng = np.random.default_rng(box)
    images, labels, rows = rng.standard_normal((7, box, box)), rng.integers(-1, 4, 41), rng.integers(0, 7, 41)
    images, poses = images.astype(np.float32), poses_of(rng, 41)
    poses.shift_px[:3] = [[0, 0], [box, -box / 2], [1e6, 0.5]]
    expected = FastReferenceEngine(images).quick_total(labels, rows, poses, 5)
    found = fast(images).quick_total(labels, rows, poses, 5)
    # ten images a class; turns of order k carry k float32 roundings, k to 128 in the largest box
    np.testing.assert_allclose(found, expected, atol=3e-6 * np.abs(expected).max())
    assert (found[4] == 0).all()


def test_quarter_turns_mirrors_and_whole_shifts():
    """Invariance: what moves pixels onto pixels may be done before or by the pose."""
    rng = np.random.default_rng(2)
    image = rng.standard_normal((15, 15)).astype(np.float32)
    inner = np.zeros_like(image)
    inner[3:12, 3:12] = image[3:12, 3:12]
    cases = {
        (0.0, 0, 0, True): inner[:, ::-1],
        (90.0, 0, 0, False): np.rot90(inner),
        (180.0, 0, 0, True): inner[::-1],
        (0.0, 2, -1, False): np.roll(inner, (-1, 2), axis=(0, 1)),
    }
    for (angle, x, y, mirror), moved in cases.items():
        pose = Poses(angle_deg=np.array([angle]), shift_px=np.array([[x, y]], float), mirror=np.array([mirror]))
        one = FastReferenceEngine(inner[None]).quick_total(np.zeros(1, int), np.zeros(1, int), pose, 1)
        still = FastReferenceEngine(np.ascontiguousarray(moved)[None])
        other = still.quick_total(np.zeros(1, int), np.zeros(1, int), Poses.identity(1), 1)
        np.testing.assert_allclose(one, other, atol=1e-9)


def test_a_constant_has_no_edge(fast):
    """Known truth: a constant stays one, beyond the last ring and in the corners."""
    images = np.full((2, 20, 20), 1000, dtype=np.float32)
    rng = np.random.default_rng(3)
    sums = fast(images).quick_total(np.zeros(9, int), rng.integers(0, 2, 9), poses_of(rng, 9), 1)
    np.testing.assert_allclose(sums, 9000, rtol=3e-6)  # float32


def test_beyond_the_last_ring_orders_fall_as_harmonic_functions():
    """Known truth: what the outermost ring shows continues as (P / r)^k cos(k angle)."""
    box = 30
    rings = rings_of_box(box)
    coefficients = np.zeros((1, len(rings.radii), rings.longest // 2 + 1), complex)
    radius = np.array(rings.radii) / rings.radii[-1]
    coefficients[0, :, 0], coefficients[0, :, 2] = 1, radius**2 / 2  # 1 + (r / P)^2 cos(2 angle) inside
    image = pixels_of_rings(coefficients, box)[0]
    y, x = np.mgrid[:box, :box] - box // 2
    r = np.hypot(x, y) / rings.radii[-1]
    with np.errstate(divide="ignore"):
        truth = 1 + np.where(r < 1, r**2, r**-2.0) * np.cos(2 * np.arctan2(x, y))
    np.testing.assert_allclose(image, truth, atol=0.03)  # the spline rounds off the bend at the last ring
    assert np.abs(image - truth)[np.abs(r - 1) > 0.2].max() < 1e-3


@pytest.mark.parametrize("cutoff", [0.45, 0.2])
def test_averages_are_those_of_the_resampler(fast, cutoff):
    """Known truth: smooth images that are laid on each other, by rings and by resampling."""
    rng = np.random.default_rng(4)
    images = tangent_lowpass(smooth(rng, 30, 64), 0.2, 0.2)
    engine, rows, poses = fast(images), np.arange(30), poses_of(rng, 30)
    quick, careful = (
        tangent_lowpass(ask(rows % 2, rows, poses, 2).astype(np.float32), cutoff, 0.2)[
            :, circle(24, 64)
        ]  # the filter carries corners inwards
        for ask in (engine.quick_total, engine.total)
    )
    assert np.linalg.norm(quick - careful) < 0.02 * np.linalg.norm(careful)  # the quadratic resampler's own loss


def test_many_rows_of_one_class(fast):
    """Invariance: more rows than are added up in one go, by any number of threads; twice the rows, twice the sum."""
    rng = np.random.default_rng(5)
    images = smooth(rng, 5, 16)
    m = 700
    labels, rows, poses = rng.choice([-1, 0, 2], m), rng.integers(0, 5, m), poses_of(rng, m)
    sums = fast(images).quick_total(labels, rows, poses, 3)
    assert (fast(images, 7).quick_total(labels, rows, poses, 3) == sums).all()
    expected = pixels_of_rings(ring_sums(images[rows], labels, poses, 3), 16)
    np.testing.assert_allclose(sums, expected, atol=1e-4)  # float32 rounding of 300 images
    twice = fast(images).quick_total(np.tile(labels, 2), np.tile(rows, 2), Poses.concatenate([poses, poses]), 3)
    np.testing.assert_allclose(twice, 2 * sums, atol=1e-4)


def test_exact_engines_have_no_quicker_way(native):
    """Definition: in exact mode loops use the careful sums."""
    rng = np.random.default_rng(6)
    images, labels, rows, poses = smooth(rng, 5, 20), rng.integers(0, 2, 12), rng.integers(0, 5, 12), poses_of(rng, 12)
    engine = native(images)
    assert (engine.quick_total(labels, rows, poses, 2) == engine.total(labels, rows, poses, 2)).all()
    assert engine.plan(12, 2, Search(last_ring=7)) > 0
