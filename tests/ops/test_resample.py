"""Images at another pixel size."""

import numpy as np
import pytest

from cryoisac.errors import DataError
from cryoisac.ops import fourier, masks, resample


def _trigonometric(image, ratio, box_px):
    """Definition: the image's Fourier series, cut at the smaller Nyquist frequency, summed at each output point."""
    n = len(image)
    x = (np.arange(box_px) - box_px // 2) / ratio + n // 2
    k = np.arange(-(n // 2), n // 2 + 1)
    term = np.where(2 * np.abs(k) == n, 0.5, 1.0) * (np.abs(k) / n <= min(1, ratio) / 2 + 1e-12)
    spectrum = np.fft.fft2(image)[np.ix_(k % n, k % n)] * np.outer(term, term)
    e = np.exp(2j * np.pi / n * np.outer(x, k))
    inside = (x >= -0.5 - 1e-9) & (x <= n - 0.5 + 1e-9)
    return (e @ spectrum @ e.T).real / n**2 * np.outer(inside, inside)


@pytest.mark.parametrize("n", [8, 9])
@pytest.mark.parametrize("box_px", [5, 6, 12])
@pytest.mark.parametrize("ratio", [0.5, 0.73, 1.0, 1.4])
def test_resample_is_the_fourier_series(rng, n, box_px, ratio):
    """Definition: by the sum; larger boxes than the image show 0 outside it."""
    images = rng.normal(size=(2, n, n))
    expected = [_trigonometric(image, ratio, box_px) for image in images]
    np.testing.assert_allclose(resample.resample(images, ratio, box_px), expected, atol=1e-12)


def test_ratio_one_crops_or_pads(rng):
    """Known truth: nothing is interpolated."""
    image = rng.normal(size=(9, 9)).astype(np.float32)
    np.testing.assert_allclose(resample.resample(image, 1.0, 6), fourier.window(image, 6), atol=1e-6)
    np.testing.assert_allclose(resample.resample(image, 1.0, 12), fourier.pad(image, 12), atol=1e-6)


def _blob(n, sigma, x, y):
    line = np.arange(n) - n // 2
    return np.exp(-((line - x) ** 2 + (line[:, None] - y) ** 2) / (2 * sigma**2)).astype(np.float32)


@pytest.mark.parametrize(
    ("n", "ratio", "box_px"), [(90, 29 / 36, 76), (352, 29 / 120, 85), (65, 1.3, 76), (256, 0.24, 76)]
)
def test_a_blob_keeps_its_height_and_scales_its_place(n, ratio, box_px):
    """Known truth: a Gaussian away from the centre pixel becomes the Gaussian of the scaled width and place."""
    sigma = 2.5 / ratio
    small = resample.resample(_blob(n, sigma, 6 / ratio, -4.3 / ratio), ratio, box_px)
    # of a Gaussian of 2.5 output pixels, exp(-(2.5 pi)^2 / 2) < 1e-13 lies beyond Nyquist; float32 pixels below 1
    np.testing.assert_allclose(small, _blob(box_px, 2.5, 6, -4.3), atol=2e-6)


def test_up_and_down_changes_nothing(rng):
    """Invariance: enlarging loses nothing (odd sides have no Nyquist frequency); 9/7 fits 7 into 9 whole pixels."""
    image = rng.normal(size=(35, 35))
    up = resample.resample(image, 9 / 7, 45)
    np.testing.assert_allclose(resample.resample(up, 7 / 9, 35), image, atol=1e-12)


@pytest.mark.parametrize(("name", "n", "ratio"), [("s1p3", 100, 1.3), ("s29_27", 77, 29 / 27)])
def test_enlarging_agrees_with_sphire(golden, name, n, ratio):
    """Independent program: its Kaiser-Bessel window errs by 1.4e-2 (reported, sigma 0.9)."""
    g = golden("resample")
    images = np.stack([g[f"res_in_{n}"], g[f"res_in_{n}"] + np.float32(3)])  # the mean that is padded with follows
    enlarged = resample.resample_sphire(images, ratio)
    np.testing.assert_allclose(enlarged[0], g[f"res_{n}_{name}"], atol=1.5e-2)
    np.testing.assert_allclose(enlarged[1], enlarged[0] + 3, atol=1e-5)  # float32 of values up to 7


def test_the_edge_mean_of_sphire(golden):
    """Independent program: an image of 4 and one of 5 px in a larger box, padded with its own mean of the edge."""
    g = golden("resample")
    for n, m in ((4, 8), (4, 9), (5, 8), (5, 9)):
        ramp = (100 * np.arange(n)[:, None] + np.arange(n)).astype(np.float32)
        np.testing.assert_allclose(resample.pad_sphire(ramp, m), g[f"padcirc_{n}_{m}"], rtol=1e-6)


SHRUNK = [("res_in_128", "128_s29_50", 29 / 50), ("res_in_77", "77_s0p7", 0.7), ("res_in_100", "100_s0p95", 0.95)]
PULSES = [("res_in_pulse16", "pulse16_s0p5", 0.5), ("res_in_pulse16", "pulse16_s0p8", 0.8)]


@pytest.mark.parametrize(("given", "name", "ratio"), SHRUNK + PULSES)
def test_decimation_agrees_with_sphire(golden, given, name, ratio):
    """Independent program: five times the reported deviation of 2e-6."""
    g = golden("resample")
    np.testing.assert_allclose(resample.decimate_sphire(g[given], ratio), g[f"res_{name}"], atol=1e-5)


def test_strong_decimation_agrees_with_sphire(golden):
    """Independent program: single pixels differ by a table entry, 1.2e-3 as reported, the others by rounding."""
    g = golden("resample")
    shrunk = resample.decimate_sphire(g["res_in_352_int8"].astype(np.float32) / 16, 29 / 120)
    np.testing.assert_allclose(shrunk, g["res_352_s29_120"], atol=6e-3)
    assert np.median(np.abs(shrunk - g["res_352_s29_120"])) < 1e-6


def test_decimation_kernel_has_the_published_values():
    """Independent program: six digits computed for the behavioural specification."""
    expected = [0.849924, 0.671207, 0.365000, 0.116440, 0, -0.025042, -0.019460, -0.010102]
    np.testing.assert_allclose(resample.decimation_kernel(np.arange(8), 0.25), expected, atol=6e-7)


def test_decimation_moves_the_centre():
    """Known truth: by (n // 2) ratio - m // 2; the centre of mass of a wide blob follows, in both axes."""
    for n, moved in ((256, -0.067), (352, 0.533)):
        blob = resample.decimate_sphire(_blob(n, 20, 0, 0), 29 / 120)
        m = len(blob)
        place = (blob.sum(axis=0) * (np.arange(m) - m // 2)).sum() / blob.sum()
        assert place == pytest.approx(moved, abs=0.01)  # three digits, and the table's steps


def test_shrinking_a_disc_needs_no_background_correction():
    """Invariance: a constant stays that constant, wherever the result lies within the image."""
    ones = np.ones((60, 60), dtype=np.float32)
    np.testing.assert_allclose(resample.resample(ones, 0.5, 24), 1, atol=1e-6)
    np.testing.assert_allclose(resample.decimate_sphire(ones, 0.5), 1, atol=1e-6)
    disc = masks.circle(20, 60).astype(np.float32)
    assert resample.resample(disc, 0.5, 30).sum() == pytest.approx(disc.sum() / 4, rel=1e-3)


def test_impossible_requests_are_refused():
    with pytest.raises(DataError, match="use resample"):
        resample.decimate_sphire(np.zeros((8, 8), dtype=np.float32), 1.2)
    with pytest.raises(DataError, match="not square"):
        resample.resample(np.zeros((8, 9), dtype=np.float32), 0.5, 4)
