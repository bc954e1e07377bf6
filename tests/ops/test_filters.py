"""Radial filters and the fit of the tangent filter."""

import numpy as np
import pytest

from cryoisac.errors import SettingError
from cryoisac.ops import filters


def _brute(image, response):
    """Multiply NumPy's complex transform by a function of |k|."""
    ky, kx = np.meshgrid(*(np.fft.fftfreq(n) for n in image.shape), indexing="ij")
    return np.fft.ifft2(np.fft.fft2(image) * response(np.hypot(ky, kx))).real


def test_tangent_response_has_the_values_of_the_formula():
    """Independent program: numbers computed from the published formula for the behavioural specification."""
    f = [0.05, 0.1, 0.2, 0.3]
    np.testing.assert_allclose(filters.tangent_response(f, 0.2, 0.2), [0.999992, 0.999612, 0.5, 0.000388], atol=6e-7)
    f, expected = [0.1, 0.2, 0.3, 0.4, 0.45, 0.5], [0.999995, 0.999838, 0.994707, 0.851363, 0.5, 0.148637]
    np.testing.assert_allclose(filters.tangent_response(f, 0.45, 0.2), expected, atol=6e-7)  # six printed digits


@pytest.mark.parametrize("shape", [(8, 8), (9, 9)])
def test_one_cutoff_an_image(rng, shape):
    """Definition: each image on NumPy's complex transform with its own cut-off."""
    images = rng.normal(size=(3, *shape))
    cutoffs = np.array([0.1, 0.25, 0.4])
    filtered = filters.tangent_lowpass(images, cutoffs, 0.3)
    for image, fc, out in zip(images, cutoffs, filtered, strict=True):
        c = np.pi / (0.6 * fc)
        expected = _brute(image, lambda f, c=c, fc=fc: 0.5 * (np.tanh(c * (f + fc)) - np.tanh(c * (f - fc))))
        np.testing.assert_allclose(out, expected, atol=1e-13)
    assert filters.tangent_lowpass(images.astype(np.float32), 0.2, 0.2).dtype == np.float32


@pytest.mark.parametrize("n", [76, 77])
@pytest.mark.parametrize(("name", "cutoff"), [("02", 0.2), ("045", 0.45), ("01", 0.1)])
def test_tangent_lowpass_agrees_with_eman2(golden, n, name, cutoff):
    """Independent program: 5e-6 is five times the reported deviation."""
    g = golden("filters")
    filtered = filters.tangent_lowpass(g[f"tanl_in_{n}"], cutoff, 0.2)
    np.testing.assert_allclose(filtered, g[f"tanl_{n}_{name}_02"], atol=5e-6)


RESPONSES = {
    "filt_tanl": lambda f, a: filters.tangent_response(f, a["freq"], a["fall_off"]),
    "filt_gaussl": lambda f, a: filters.gaussian_lowpass_response(f, a["sigma"]),
    "filt_gaussh": lambda f, a: filters.gaussian_highpass_response(f, a["sigma"]),
    "filt_gaussinv": lambda f, a: filters.gaussian_inverse_response(f, a["sigma"]),
    "filt_btwl": lambda f, a: filters.butterworth_response(f, a["freql"], a["freqh"]),
    "filt_tophatb": lambda f, a: filters.band_response(f, a["freql"], a["freqh"]),
}


@pytest.mark.parametrize("name", RESPONSES)
def test_filters_agree_with_published_numbers(vectors, name):
    """Independent program: 6e-6 is five times the largest reported deviation (of the inverse Gaussian)."""
    for args, expected in vectors(name):
        filtered = filters.apply(args["e"], lambda f, args=args: RESPONSES[name](f, args))
        np.testing.assert_allclose(filtered.ravel(), expected, atol=6e-6)


def test_radial_table_agrees_with_published_numbers(vectors):
    """Independent program: 2e-8 is five times the reported deviation."""
    for args, expected in vectors("filt_table"):
        np.testing.assert_allclose(filters.radial_table(args["e"], args["table"]).ravel(), expected, atol=2e-8)


def test_radial_table_interpolates_between_rings_and_ends_at_zero(rng):
    """Definition: on NumPy's complex transform."""
    image, table = rng.normal(size=(8, 8)), [1.0, 3.0, 2.0]

    def response(f):
        r = 8 * f
        return np.select([r <= 1, r <= 2, r <= 3], [1 + 2 * r, 4 - r, 6 - 2 * r], 0.0)

    np.testing.assert_allclose(filters.radial_table(image, table), _brute(image, response), atol=1e-13)


FITS = ["frc76", "64_fc018", "64_fc030_neg0", "64_fc006", "64_never_below_half", "frc76_lowsnr"]


@pytest.mark.parametrize("name", FITS)
def test_fit_agrees_with_eman2(golden, name):
    """Independent program: its simplex stops within 1e-4 of the minimum, its own tolerance."""
    g = golden("frc_chain")
    frequency, frc, _ = g[f"fit_{name}_in"]
    np.testing.assert_allclose(filters.fit_tangent(frequency, frc), g[f"fit_{name}_out"], atol=1.1e-4)


def test_fit_recovers_a_known_filter():
    """Known truth: halves whose whole average has exactly a tangent curve."""
    f = np.arange(65) / 128
    whole = filters.tangent_response(f, 0.23, 0.15)
    curve = whole / (2 - whole)
    np.testing.assert_allclose(filters.fit_tangent(f, curve, floor=0.0), (0.23, 0.15), atol=1e-5)  # simplex tolerance
    cutoff, falloff = filters.fit_tangent(f, curve)  # its end cut off: steeper, but not elsewhere
    assert cutoff == pytest.approx(0.23, abs=1 / 128)  # one ring
    assert 0.1 < falloff < 0.15


def test_fit_of_curves_without_a_fall():
    """Definition: a curve that stays above one half, and one that is below it at once."""
    f = np.arange(5) / 8
    assert filters.fit_tangent(f, np.ones(5)) == (0.4, 0.2)
    assert filters.fit_tangent(f, np.zeros(5)) == (0.0, 0.1)
    assert filters.fit_tangent(f, [1.0, -1.0, 1.0, 0.0, 0.0]) == (0.0, 0.1)


def test_impossible_filters_are_refused():
    with pytest.raises(SettingError, match="must be above 0"):
        filters.tangent_response([0.1], 0.0, 0.2)
