"""Centring of averages, and references made of them."""

import numpy as np
import pytest

from cryoisac.errors import SettingError
from cryoisac.ops import center, filters, fourier, masks, spectra


def _particle(n, x, y, radius=9.0):
    """Return a soft disc with a denser core at (x, y) from the centre pixel."""
    line = np.arange(n) - n // 2
    r = np.hypot(line - x, (line - y)[:, None])
    return (1 / (1 + np.exp(2 * (r - radius))) + np.exp(-(r**2) / 8)).astype(np.float32)


def test_centring_agrees_with_published_numbers(vectors):
    """Independent program: 7.5e-7 is five times the reported deviation; without limits of the search."""
    ran = 0
    for args, expected in vectors("center_2D"):
        if args["searching_range"] < 0:
            image, _ = center.centre(args["image_to_be_centered"], args["center_method"])
            np.testing.assert_allclose(image.ravel(), expected, atol=7.5e-7)
            ran += 1
    assert ran >= 11


@pytest.mark.parametrize("method", [0, 1, 2, 5, 6])
def test_references_agree_with_eman2(golden, method):
    """Independent program: it fits to 1e-4, which moves a pixel by 1e-4 of 1.8 at most; shifts in float32."""
    g = golden("frc_chain")
    frequency, correlation, count = g["frc_76"]
    frc = spectra.RingCorrelation(frequency=frequency, correlation=correlation, count=count)
    reference = center.prepare_reference(g["ref_average"], masks.circle(29, 76), frc, method)
    np.testing.assert_allclose(reference.centre_px, g[f"ref_ali2d_center{method}_cs"], atol=2e-5)
    np.testing.assert_allclose(reference.image, g[f"ref_ali2d_center{method}"], atol=2e-4)


@pytest.mark.parametrize(("place", "iteration"), [(0, 0), (1, 1), (2, -1)])
def test_references_of_an_odd_side_agree_with_sphire(golden, place, iteration):
    """Independent program: pre-alignment at 73 px, with its own frequencies k / 72; tolerance as above."""
    g = golden("prealign")
    frequency, correlation, count = g["noctf_center0_frc_all"][iteration].T
    frc = spectra.RingCorrelation(frequency=frequency, correlation=correlation, count=count)
    average = g["noctf_center0_aqc_0_1_last"][place]
    reference = center.prepare_reference(average, masks.circle(29, 73), frc, 0)
    np.testing.assert_allclose(reference.image, g["noctf_center0_aqf_0_1_last"][place], atol=2e-4)


@pytest.mark.parametrize("n", [48, 49])
@pytest.mark.parametrize("method", [1, 2, 3, 4, 5, 6, 7])
def test_a_round_particle_is_found(n, method):
    """Known truth: whole shifts exactly, the phase methods to a hundredth (the disc's tail wraps around)."""
    at = (5, -3)
    image, found = center.centre(_particle(n, *at), method, masks.circle(9, n))
    np.testing.assert_allclose(found, at, atol=0.01)
    assert image.dtype == np.float32
    np.testing.assert_allclose(image, _particle(n, 0, 0), atol=0.01)


@pytest.mark.parametrize("method", [1, 6])
def test_phase_methods_find_fractions(method):
    """Known truth: a fraction of a pixel; the clamp of method 6 is uneven by the raster."""
    found = center.centre_shift(_particle(48, 2.4, -3.7), method)
    np.testing.assert_allclose(found, (2.4, -3.7), atol=0.01 if method == 1 else 0.05)


def test_phase_centre_is_the_angle_of_the_first_coefficient(rng):
    """Definition: explicit sums, the angle in [0, 2 pi)."""
    image, n = rng.normal(size=(9, 9)), 9
    sums = [
        sum(image[y, x] * np.exp(2j * np.pi * p / n) for y in range(n) for x in range(n) for p in [(x, y)[axis]])
        for axis in (0, 1)
    ]
    expected = [np.angle(s) % (2 * np.pi) * n / (2 * np.pi) - n // 2 for s in sums]
    np.testing.assert_allclose(center.centre_shift(image, 1), expected, atol=1e-12)


def test_a_flat_image_is_centred_where_no_peak_is():
    """Definition: no pixel exceeds its neighbours, so nothing moves."""
    for method in (2, 3, 5):
        assert center.centre_shift(np.zeros((16, 16), dtype=np.float32), method) == (0, 0)


def test_centring_follows_the_image(rng):
    """Invariance: rolling an image by whole pixels moves what the correlation methods find by as much."""
    image = _particle(40, 1, 2) + rng.normal(scale=0.02, size=(40, 40)).astype(np.float32)
    for method in (2, 3, 4, 7):
        x, y = center.centre_shift(image, method, masks.circle(9, 40))
        moved = center.centre_shift(np.roll(image, (2, -3), axis=(0, 1)), method, masks.circle(9, 40))
        np.testing.assert_allclose(moved, (x - 3, y + 2), atol=1e-9)


def test_reference_is_masked_then_filtered():
    """Definition: step by step, with the clamps of cut-off and fall-off."""
    average, mask = _particle(48, 0, 0) + 3, masks.circle(12, 48)
    frc = spectra.RingCorrelation(frequency=np.arange(25) / 48, correlation=np.ones(25), count=np.ones(25, dtype=int))
    reference = center.prepare_reference(average, mask, frc, 0)
    assert (reference.cutoff, reference.falloff) == (0.4, 0.2)
    expected = filters.tangent_lowpass(np.where(mask, average - average[mask].mean(), 0), 0.4, 0.2)
    np.testing.assert_allclose(reference.image, expected, atol=1e-5)
    poor = spectra.RingCorrelation(frequency=frc.frequency, correlation=-np.ones(25), count=frc.count)
    assert center.prepare_reference(average, mask, poor, 0).cutoff == 0.12


def test_centre_undoes_a_shift():
    """Known truth: the image is moved by the negative of what was found; an odd side loses nothing in a shift."""
    centred, found = center.centre(fourier.shift(_particle(49, 0, 0), (2.5, 4.25)), 1)
    np.testing.assert_allclose(found, (2.5, 4.25), atol=1e-3)
    np.testing.assert_allclose(centred, _particle(49, 0, 0), atol=1e-3)


def test_unknown_methods_are_refused():
    image = np.zeros((8, 8), dtype=np.float32)
    with pytest.raises(SettingError, match="choose 0 to 7"):
        center.centre_shift(image, 8)
    with pytest.raises(SettingError, match="needs a mask"):
        center.centre_shift(image, 7)
