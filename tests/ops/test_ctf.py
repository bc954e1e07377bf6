"""The contrast transfer function."""

import dataclasses

import numpy as np
import pytest

from cryoisac.errors import DataError
from cryoisac.model.poses import Poses, rotate
from cryoisac.ops import ctf, fourier

PUBLISHED = [1.0, 0.0, 0.0, 0.0, 0.1, 300.0, 2.0, 1.5]
TYPICAL = [2.0, 0.0, 0.0, 0.0, 10.0, 300.0, 2.7, 1.0]
ASTIGMATIC = [[1.5, 0.4, 33.0, 50.0, 7.0, 300.0, 2.7, 2.0], [2.2, -0.3, 120.0, 0.0, 10.0, 200.0, 2.0, 1.3]]


def test_wavelength_and_values_of_the_formula(parameters):
    """Independent program: six-digit numbers computed for the behavioural specification."""
    assert ctf.wavelength_A(300.0) == pytest.approx(0.01968681, abs=5e-9)
    values = ctf.ctf_1d(parameters(TYPICAL)[0], [0, 0.02, 0.05, 0.1, 0.15])
    np.testing.assert_allclose(values[0], [0.1, 0.560425, -0.048929, -0.128621, 0.485051], atol=1e-6)


def _scalar(p, i, kx, ky):
    """Definition, one frequency (1/Å) at a time, with explicit angles."""
    k, theta = np.hypot(kx, ky), np.arctan2(ky, kx)
    wavelength = 12.398 / np.sqrt(p.voltage_kV[i] * (1022 + p.voltage_kV[i]))
    local = p.defocus_um[i] - p.astigmatism_um[i] / 2 * np.sin(2 * (theta + np.deg2rad(p.astigmatism_angle_deg[i])))
    w = p.amplitude_contrast[i]
    phase = np.pi * (1e4 * local * wavelength * k**2 - 0.5e7 * p.cs_mm[i] * wavelength**3 * k**4)
    phase += np.arctan(w / np.sqrt(1 - w * w)) + np.deg2rad(p.phase_shift_deg[i])
    return np.sin(phase) * np.exp(-p.bfactor_A2[i] * k * k / 4)


@pytest.mark.parametrize("n", [6, 7])
def test_ctf_2d_is_the_formula(n, parameters):
    """Definition: explicit loops, with astigmatism, B-factor and phase plate."""
    p, apix = parameters(ASTIGMATIC)
    p = dataclasses.replace(p, phase_shift_deg=np.array([0.0, 90.0]))
    values = ctf.ctf_2d(p, n, apix)
    for i in range(2):
        for jy in range(n):
            for jx in range(n // 2 + 1):
                y = jy if jy <= n // 2 else jy - n
                expected = _scalar(p, i, jx / n / apix[i], y / n / apix[i])
                assert values[i, jy, jx] == pytest.approx(expected, abs=1e-12)


def test_ctf_at_is_ctf_2d_on_its_grid(parameters):
    """Invariance: the same values at the frequencies of the real Fourier transform, whatever the order of points."""
    p, apix = parameters(ASTIGMATIC)
    p = dataclasses.replace(p, phase_shift_deg=np.array([0.0, 90.0]))
    y, x = np.meshgrid(np.fft.fftfreq(24), np.fft.rfftfreq(24), indexing="ij")
    y[12] = 0.5  # the sign of the Nyquist frequency is ctf_2d's
    grid = ctf.ctf_2d(p, 24, apix)
    points = np.stack((x, y), axis=-1).reshape(-1, 2)
    np.testing.assert_allclose(ctf.ctf_at(p, points, apix), grid.reshape(2, -1), atol=1e-12)
    np.testing.assert_allclose(ctf.ctf_at(p, points[::-3], apix), grid.reshape(2, -1)[:, ::-3], atol=1e-12)


def test_ctf_at_points_off_the_grid(parameters):
    """Definition, one point at a time; and opposite points have the same value."""
    p, apix = parameters(ASTIGMATIC)
    points = np.random.default_rng(2).uniform(-0.5, 0.5, (30, 2))
    values = ctf.ctf_at(p, points, apix)
    expected = [[_scalar(p, i, *(point / apix[i])) for point in points] for i in range(2)]
    np.testing.assert_allclose(values, expected, atol=1e-12)
    np.testing.assert_allclose(ctf.ctf_at(p, -points, apix), values, atol=1e-12)
    assert ctf.ctf_at(p, points[:0], apix).shape == (2, 0)
    with pytest.raises(DataError, match="pixel size"):
        ctf.ctf_at(p, points, 0.0)


def test_ctf_1d_is_a_row_of_ctf_2d(parameters):
    """Invariance: without astigmatism direction does not matter."""
    p, apix = parameters([TYPICAL, [1.1, 0.0, 0.0, 80.0, 7.0, 200.0, 2.0, 1.4]])
    k = np.arange(33) / 64 / apix[:, None]
    values = ctf.ctf_2d(p, 64, apix)
    np.testing.assert_allclose(values[:, 0, :], ctf.ctf_1d(p, k), atol=1e-12)
    np.testing.assert_allclose(values[:, :33, 0], ctf.ctf_1d(p, k), atol=1e-12)


def test_ctf_2d_agrees_with_eman2(golden, parameters):
    """Independent program, which leaves the phase in float32: 7e-5 is five times the deviation of the like cases."""
    g = golden("filters")
    p, apix = parameters(g["ctf_img_par"])
    for n in (15, 16):
        values = ctf.ctf_2d(p, n, apix)[0]
        expected = g[f"ctf_img_real_{n}"]
        np.testing.assert_allclose(values, expected, atol=7e-5)


def test_ctf_1d_agrees_with_published_numbers(vectors, parameters):
    """Independent program: 2.5e-5 is five times the reported deviation; the sign is a mere factor."""
    p, apix = parameters(PUBLISHED)
    for args, expected in vectors("ctf_1d"):
        k = np.arange(len(expected)) / args["nx"] / apix
        values = ctf.ctf_1d(p, k)[0]
        factor = abs(args["sign"]) if args["doabs"] else args["sign"]
        np.testing.assert_allclose((np.abs(values) if args["doabs"] else values) * factor, expected, atol=2.5e-5)


def test_apply_ctf_agrees_with_published_numbers(vectors, parameters):
    """Independent program: 2.5e-6 is five times the reported deviation."""
    p, apix = parameters(PUBLISHED)
    for args, expected in vectors("filt_ctf"):
        image = args.get("img", vectors("filt_tanl")[0][0]["e"])
        out = ctf.apply_ctf(image[None], p, apix, padded=False)
        np.testing.assert_allclose(out.ravel(), expected, atol=2.5e-6)


def test_phase_flip_agrees_with_eman2(golden, parameters):
    """Independent program: 5e-6 is five times the reported deviation, which is 2.5 times as much for the last."""
    g = golden("filters")
    p, apix = parameters(g["ctf_par_90"])
    np.testing.assert_allclose(ctf.phase_flip(g["ctf_in_90"], p, apix), g["ctf_flip_pad_90"], atol=5e-6)
    p, apix = parameters(g["ctf_par_128"])
    np.testing.assert_allclose(ctf.phase_flip(g["ctf_in_128"][None], p, apix)[0], g["ctf_flip_pad_128"], atol=5e-6)
    p, apix = parameters(g["ctf_par_77"])
    image = g["ctf_in_77"][None]
    np.testing.assert_allclose(ctf.phase_flip(image, p, apix)[0], g["ctf_flip_pad_77"], atol=5e-6)
    np.testing.assert_allclose(ctf.phase_flip(image + 3, p, apix)[0], g["ctf_flip_pad_77_plus3"], atol=1.25e-5)


def test_unpadded_flip_and_full_ctf_agree_with_eman2(golden, parameters):
    """Independent program: 5e-6 is five times the reported deviation."""
    g = golden("filters")
    p, apix = parameters(g["ctf_par_90"])
    flipped = fourier.apply_response(g["ctf_in_90"][:1], ctf.phase_signs(p[:1], 90, apix[:1]))
    np.testing.assert_allclose(flipped, g["ctf_flip_nopad_90"], atol=5e-6)
    full = ctf.apply_ctf(g["ctf_in_90"][1:2], p[1:2], apix[1:2])
    np.testing.assert_allclose(full, g["ctf_full_pad_90"], atol=5e-6)


def test_flipping_multiplies_by_the_sign(rng, parameters):
    """Definition: NumPy's complex transform of the padded image times the sign of the CTF, both built by loops."""
    p, apix = parameters(ASTIGMATIC)
    n = 5
    images = rng.normal(size=(2, n, n))
    for i, out in enumerate(ctf.phase_flip(images, p, apix)):
        edge = [images[i, y, x] for y in range(n) for x in range(n) if y in (0, n - 1) or x in (0, n - 1)]
        wide = np.full((2 * n, 2 * n), np.mean(edge))
        wide[3:8, 3:8] = images[i]
        spectrum = np.fft.fft2(wide)
        for jy in range(2 * n):
            for jx in range(2 * n):
                y, x = (j if j <= n else j - 2 * n for j in (jy, jx))
                y = -n if jy == n and x < 0 else y  # the friend of (+Nyquist, -x)
                spectrum[jy, jx] *= np.sign(_scalar(p, i, x / (2 * n * apix[i]), y / (2 * n * apix[i])))
        np.testing.assert_allclose(out, np.fft.ifft2(spectrum).real[3:8, 3:8], atol=1e-13)


def test_flipping_twice_restores_a_periodic_image(rng, parameters):
    """Invariance: the sign squared is 1."""
    p, apix = parameters(ASTIGMATIC)
    signs = ctf.phase_signs(p, 31, apix)
    images = rng.normal(size=(2, 31, 31)).astype(np.float32)
    twice = fourier.apply_response(fourier.apply_response(images, signs), signs)
    np.testing.assert_allclose(twice, images, atol=2e-6)


def test_signs_are_those_of_the_ctf(parameters):
    """Definition: -1 where the CTF is below 0; rounding decides only where it is next to nothing."""
    p, apix = parameters([*ASTIGMATIC, TYPICAL, PUBLISHED])
    p = dataclasses.replace(p, amplitude_contrast=np.array([0.1, -0.1, 0.0, 1.0]))
    for n in (15, 64):
        values = ctf.ctf_2d(p, n, apix)
        sure = np.abs(values) > 1e-9
        assert sure.mean() > 0.9  # the B-factor leaves little of the first at high frequency
        np.testing.assert_array_equal(ctf.phase_signs(p, n, apix)[sure], np.sign(values)[sure])


def test_a_block_is_its_images_one_by_one(rng, parameters):
    """Invariance: bit for bit, whatever the block."""
    p, apix = parameters(ASTIGMATIC)
    images = rng.normal(size=(2, 16, 16)).astype(np.float32)
    both = ctf.phase_flip(images, p, apix)
    assert both.dtype == np.float32
    for i in range(2):
        np.testing.assert_array_equal(ctf.phase_flip(images[i : i + 1], p[i : i + 1], apix[i : i + 1])[0], both[i])


def test_a_phase_plate_of_180_degrees_reverses_the_ctf(parameters):
    """Invariance: sin(x + π) = -sin x."""
    p, apix = parameters(ASTIGMATIC)
    shifted = dataclasses.replace(p, phase_shift_deg=np.full(2, 180.0))
    np.testing.assert_allclose(ctf.ctf_2d(shifted, 12, apix), -ctf.ctf_2d(p, 12, apix), atol=1e-12)


def test_bad_metadata_are_refused(parameters):
    p, apix = parameters(ASTIGMATIC)
    images = np.zeros((2, 8, 8), dtype=np.float32)
    with pytest.raises(DataError, match="pixel size 0"):
        ctf.phase_flip(images, p, 0.0)
    with pytest.raises(DataError, match="voltage 0"):
        ctf.phase_flip(images, dataclasses.replace(p, voltage_kV=np.zeros(2)), apix)
    with pytest.raises(DataError, match="1 images have 2 sets"):
        ctf.phase_flip(images[:1], p, apix)
    with pytest.raises(DataError, match="not a stack of squares"):
        ctf.phase_flip(images[:, :6], p, apix)


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("angle", [0.0, 25.0, 200.0])
def test_a_turned_ctf_is_that_of_the_turned_image(angle, mirror, parameters):
    """Definition: at every frequency k' the CTF that the image has where its pose takes k' from, R(-a) M k'."""
    p, apix = parameters(ASTIGMATIC)
    poses = Poses(angle_deg=np.full(2, angle), shift_px=np.ones((2, 2)), mirror=np.full(2, mirror))
    points = np.random.default_rng(4).uniform(-0.5, 0.5, (50, 2))
    back = rotate(-angle, points * [-1.0 if mirror else 1.0, 1.0])
    np.testing.assert_allclose(ctf.ctf_at(ctf.turned(p, poses), points, apix), ctf.ctf_at(p, back, apix), atol=1e-9)


def test_each_ctf_turns_with_its_own_pose(parameters):
    """Definition: as many poses as images."""
    with pytest.raises(DataError, match="each its own"):
        ctf.turned(parameters(ASTIGMATIC)[0], Poses.identity(3))
