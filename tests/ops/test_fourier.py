"""Fourier shifts, windows and pads."""

import numpy as np
import pytest

from cryoisac.errors import DataError
from cryoisac.ops import fourier


def test_a_response_multiplies_the_full_transform(rng):
    """Definition: the same product on NumPy's complex transform."""
    for shape in ((6, 8), (7, 5)):
        images = rng.normal(size=(3, *shape))
        ky, kx = np.meshgrid(np.fft.fftfreq(shape[0]), np.fft.fftfreq(shape[1]), indexing="ij")
        expected = np.fft.ifft2(np.fft.fft2(images) * np.exp(-9 * (kx**2 + ky**2))).real
        response = np.exp(-9 * fourier.absolute_frequency(shape) ** 2)
        np.testing.assert_allclose(fourier.apply_response(images, response), expected, atol=1e-13)


def test_frequencies_give_nyquist_a_positive_sign():
    """Definition: half an even side is +1/2; ring k lies at k / n."""
    y, x = fourier.frequencies((6, 6))
    np.testing.assert_array_equal(y[:, 0], np.array([0, 1, 2, 3, -2, -1]) / 6)
    np.testing.assert_array_equal(x[0], np.arange(4) / 6)
    np.testing.assert_array_equal(fourier.frequencies((5, 5))[0][:, 0], np.array([0, 1, 2, -2, -1]) / 5)


def test_whole_shifts_roll(rng):
    """Known truth: a whole shift is a roll; every image has its own."""
    images = rng.normal(size=(2, 9, 8)).astype(np.float32)
    moved = fourier.shift(images, [(3, -2), (-1, 4)])
    assert moved.dtype == np.float32
    expected = np.stack((np.roll(images[0], (-2, 3), (0, 1)), np.roll(images[1], (4, -1), (0, 1))))
    np.testing.assert_allclose(moved, expected, atol=1e-6)  # a few float32 roundings of values near 1


def test_fractional_shift_is_trigonometric_interpolation(rng):
    """Definition: the trigonometric polynomial through the pixels of an odd image, evaluated at x - t."""
    n, t = 7, (0.3, -1.6)
    image = rng.normal(size=(n, n))
    k = np.arange(n) - n // 2
    spectrum = np.fft.fftshift(np.fft.fft2(image))
    ex = np.exp(2j * np.pi * np.outer(np.arange(n) - t[0], k) / n)
    ey = np.exp(2j * np.pi * np.outer(np.arange(n) - t[1], k) / n)
    np.testing.assert_allclose(fourier.shift(image, t), (ey @ spectrum @ ex.T).real / n**2, atol=1e-13)


def test_shift_and_back_of_an_odd_image_changes_nothing(rng):
    """Invariance: no information is lost where there is no Nyquist row."""
    image = rng.normal(size=(77, 77))
    np.testing.assert_allclose(fourier.shift(fourier.shift(image, (1.3, -2.7)), (-1.3, 2.7)), image, atol=1e-12)


@pytest.mark.parametrize(("number", "shift_px"), [(0, (1.25, -2.5)), (1, (-0.4, 0.0))])
@pytest.mark.parametrize("side", ["even", "odd"])
def test_shift_agrees_with_eman2(golden, number, shift_px, side):
    """Independent program: 5e-6 is five times the deviation the golden numbers' README reports."""
    g = golden("align")
    moved = fourier.shift(g[f"rot_img_{side}"], shift_px)
    np.testing.assert_allclose(moved, g[f"fshift_{number}_{side}"], atol=5e-6)


def test_shift_agrees_with_published_numbers(vectors):
    """Independent program: a shift of 1000 px loses digits in float32 (1.1e-5 reported), hence 5e-5."""
    for args, expected in vectors("fshift"):
        image = args["e"]
        moved = fourier.shift(image, (args["delx"], args["dely"]))
        np.testing.assert_allclose(moved.ravel(), expected, atol=5e-5)


def _ramp(n):
    return (100.0 * np.arange(n)[:, None] + np.arange(n)).astype(np.float32)


@pytest.mark.parametrize("n", [8, 9])
@pytest.mark.parametrize(("m", "offset"), [(4, (0, 0)), (5, (0, 0)), (4, (1, -2))])
def test_window_agrees_with_eman2(golden, n, m, offset):
    """Independent program, exactly."""
    name = f"window_{n}_{m}" + ("_off_1_m2" if offset != (0, 0) else "")
    np.testing.assert_array_equal(fourier.window(_ramp(n), m, offset_px=offset), golden("resample")[name])


@pytest.mark.parametrize("n", [4, 5])
@pytest.mark.parametrize("m", [8, 9])
def test_pad_agrees_with_eman2(golden, n, m):
    """Independent program, exactly; on a ramp the mean of the edge is the mean of the image."""
    g = golden("resample")
    np.testing.assert_array_equal(fourier.pad(_ramp(n), m), g[f"pad0_{n}_{m}"])
    padded = fourier.pad(_ramp(n), m, background=fourier.edge_mean(_ramp(n)))
    np.testing.assert_array_equal(padded, g[f"padaver_{n}_{m}"])


def test_window_undoes_pad(rng):
    """Invariance: for all four parities."""
    for n in (6, 7):
        images = rng.normal(size=(2, n, n)).astype(np.float32)
        for m in (10, 11):
            padded = fourier.pad(images, m, background=np.array([3.0, -1.0]))
            assert padded[0, 0, 0] == 3
            assert padded[1, -1, -1] == -1
            np.testing.assert_array_equal(fourier.window(padded, n), images)


def test_edge_mean_counts_every_edge_pixel_once(rng):
    """Definition: by a mask. (EMAN2's counts the top row twice and leaves the bottom row out.)"""
    image = rng.normal(size=(5, 7))
    edge = np.ones((5, 7), dtype=bool)
    edge[1:-1, 1:-1] = False
    assert fourier.edge_mean(image) == pytest.approx(image[edge].mean(), abs=1e-14)


def test_boxes_that_do_not_fit_are_refused():
    with pytest.raises(DataError, match="leaves them"):
        fourier.window(np.zeros((8, 8), dtype=np.float32), 6, offset_px=(2, 0))
    with pytest.raises(DataError, match="do not fit"):
        fourier.pad(np.zeros((8, 8), dtype=np.float32), 7)


def test_invariance_blocks_and_threads(rng, monkeypatch):
    """Invariance: neither threads nor the neighbours in a stack change a bit, with one response or one an image."""
    images = rng.normal(size=(3, 9, 12, 10)).astype(np.float32)
    shared = rng.normal(size=(12, 6))
    for response in (shared, rng.normal(size=(3, 9, 12, 6)) * (1 + 1j), rng.normal(size=(9, 12, 6))):
        monkeypatch.setattr(fourier, "BLOCK_BYTES", 1 << 20)
        whole = fourier.apply_response(images, response)
        monkeypatch.setattr(fourier, "BLOCK_BYTES", 4 * 12 * 10 * 4)  # four images: 27 leave a block of three
        for threads in (1, 3):
            with fourier.filtering_threads(threads):
                np.testing.assert_array_equal(fourier.apply_response(images, response), whole)
    assert fourier.apply_response(images.astype(np.float64), shared).dtype == np.float64
