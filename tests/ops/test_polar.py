"""Rings, ring samples, their spectra and correlations."""

import base64
import json

import numpy as np
import pytest
from scipy.signal import resample

from cryoisac.errors import SettingError
from cryoisac.ops import polar
from cryoisac.ops.polar import Rings


def test_ring_lengths_known():
    """Known truth: lengths and weights as the original lays them out."""
    radii = (1, 2, 3, 5, 6, 10, 11, 20, 21, 29, 40, 41)
    lengths = [Rings.between(r, r).lengths[0] for r in radii]
    assert lengths == [8, 16, 32, 32, 64, 64, 128, 128, 256, 256, 256, 512]
    rings = Rings.between(1, 29)
    assert sum(rings.lengths) == 4024
    assert rings.longest == 256
    # seven digits are given
    np.testing.assert_allclose(rings.reference_weights[[0, 9, 28]], [25.132741, 3.926991, 0.711767], rtol=1e-6)
    assert Rings.between(3, 10, 3).radii == (3, 6, 9)


@pytest.mark.parametrize("layout", [(0, 5, 1), (3, 2, 1), (1, 5, 0)])
def test_no_rings_are_refused(layout):
    with pytest.raises(SettingError, match="rings"):
        Rings.between(*layout)


def test_samples_by_definition():
    """Definition by brute force: each sample of a tilted plane is the plane at the sample's point."""
    y, x = np.mgrid[:31, :31]
    rings = Rings.between(1, 9)
    centre = np.array([[15.3, 14.6], [9.0, 21.0]])
    planes = np.stack([2.0 * x - 3.0 * y + 1.0] * 2)
    got = polar.sample(planes, rings, centre)
    start = 0
    for radius, length in zip(rings.radii, rings.lengths, strict=True):
        for k in range(length):
            angle = 2 * np.pi * k / length
            px, py = radius * np.sin(angle) + centre[:, 0], radius * np.cos(angle) + centre[:, 1]
            # bilinear interpolation is exact on a plane: rounding alone
            np.testing.assert_allclose(got[:, start + k], 2 * px - 3 * py + 1, atol=1e-12)
        start += length


def test_a_ring_on_the_edge_reads_no_foreign_pixel():
    """Invariance: what lies outside the image does not matter, NaN included."""
    image = np.full((1, 21, 23), np.nan)
    image[:, :, :21] = np.random.default_rng(0).standard_normal((21, 21))
    samples = polar.sample(image[:, :, :21], Rings.between(10, 10), [[10, 10]])
    assert np.isfinite(samples).all()


def test_standardised_rings_have_mean_0_and_variance_1():
    rings = Rings.between(2, 8, 2)
    rng = np.random.default_rng(1)
    samples = 5 + 3 * rng.standard_normal((4, sum(rings.lengths)))
    samples[3] = 0.1
    weight = np.repeat(rings.sample_weights, rings.lengths)
    result = polar.standardise(samples, rings)
    np.testing.assert_allclose(result[:3] @ weight, 0, atol=1e-9)
    np.testing.assert_allclose(result[:3] ** 2 @ weight / weight.sum(), 1, rtol=1e-12)
    assert (result[3] == 0).all()


def test_correlation_by_definition():
    """Definition by brute force: sums over ring samples, the reference's rings resampled to every angle."""
    rings = Rings.between(2, 12, 2)  # lengths 16 to 128
    n = rings.longest
    rng = np.random.default_rng(2)
    reference, image = rng.standard_normal((2, 1, sum(rings.lengths)))
    straight, mirrored = np.zeros(n), np.zeros(n)
    start = 0
    for r, length in enumerate(rings.lengths):
        part = slice(start, start + length)
        fine = resample(reference[0, part], n)  # splits the Nyquist order between both signs
        for j in range(n):
            at = (np.arange(length) * (n // length) + j) % n
            straight[j] += rings.sample_weights[r] * fine[at] @ image[0, part]
            mirrored[j] += rings.sample_weights[r] * fine[-at % n] @ image[0, part]
        start += length
    spectrum = polar.weigh(polar.spectra(reference, rings), rings)
    got = polar.correlate(spectrum, polar.spectra(image, rings), rings)
    np.testing.assert_allclose(got[0][0], straight, atol=1e-10)  # rounding of sums of 300 terms
    np.testing.assert_allclose(got[1][0], mirrored, atol=1e-10)


def test_parabola():
    """Known truth: a sampled parabola's peak is found; the original's example; equal values give 0."""
    x = np.arange(-3, 4)
    np.testing.assert_allclose(polar.parabola_offset(5 - (x - 0.37) ** 2), 0.37, atol=1e-12)
    assert polar.parabola_offset([1, 4, 7, 8, 7.5, 5, 1.5]) == pytest.approx(0.0952381, abs=1e-7)
    assert polar.parabola_offset(np.full(7, 0.1)) == 0


def unpacked(buffer, rings):
    """Return spectra stored as [Re F0, Re F(L/2), Re F1, -Im F1, ...] ring after ring."""
    result = np.zeros((1, len(rings.radii), rings.longest // 2 + 1), dtype=complex)
    start = 0
    for r, length in enumerate(rings.lengths):
        part = buffer[start : start + length].astype(float)
        result[0, r, 0], result[0, r, length // 2] = part[0], part[1]
        result[0, r, 1 : length // 2] = part[2::2] - 1j * part[3::2]
        start += length
    return result


def test_golden_samples_and_spectra(golden):
    """Independent program: SPARX's samples, ring spectra, weights and correlation maxima."""
    g = golden("align")
    rings = Rings.between(1, 29)
    samples = polar.sample(g["group_img"][:1], rings, [g["polar_centre_1based"] - 1])
    # float32 positions of the original: 1.1e-5 and 6.5e-5 were measured
    np.testing.assert_allclose(samples[0], g["polar_samples"], atol=5e-5)
    normalised = polar.standardise(samples, rings)
    np.testing.assert_allclose(normalised[0], g["polar_samples_normalised"], atol=5e-5)
    image = polar.spectra(normalised, rings)
    # order 0 is a sum of up to 256 samples less their mean, which the original takes in float32
    np.testing.assert_allclose(image, unpacked(g["polar_normalised_frngs"], rings), atol=3e-4, rtol=1e-5)
    plain = polar.spectra(samples, rings)
    np.testing.assert_allclose(plain, unpacked(g["polar_frngs"], rings), atol=3e-4)
    np.testing.assert_allclose(rings.reference_weights, g["polar_wr"], rtol=1e-6)
    centre = g["polar_ref"].shape[0] // 2
    reference = polar.weigh(polar.spectra(polar.sample(g["polar_ref"][None], rings, [[centre, centre]]), rings), rings)
    np.testing.assert_allclose(reference, unpacked(g["polar_ref_frngs_weighted"], rings), atol=1e-3)


def test_golden_correlation(golden):
    """Independent program: maxima and indices of SPARX's correlation curves of one image with two references."""
    g = golden("mref")
    rings = Rings.between(1, 29)
    image = polar.standardise(polar.sample(g["a_img_normalised_0_3"][:1], rings, [g["a_offset"][0] + 38]), rings)
    refs = polar.sample(g["a_refs_normalised_0_1"], rings, np.full((2, 2), 38))
    curves = polar.correlate(polar.weigh(polar.spectra(refs, rings), rings), polar.spectra(image, rings), rings)
    expected = g["a_curves_img0_ref0_2"][:2]
    # five times the 1e-6 of the peak that was measured: the original computes in float32
    np.testing.assert_allclose(np.stack(curves, axis=1), expected, atol=5e-6 * np.abs(expected).max())


def test_golden_single_search(shared):
    """Independent program: SPARX's published search of one image, 81 shifts, 29 rings."""
    case = json.loads((shared / "conformance" / "vectors.json").read_text())["ormq"]
    rings = Rings.between(1, 29)
    reference = unpacked(_array(case["reference_rings"]), rings)
    image = _array(case["image"])
    best = (-np.inf,)
    for iy in range(-4, 5):
        for ix in range(-4, 5):
            samples = polar.sample(image[None], rings, [[case["cnx"] - 1 + ix, case["cny"] - 1 + iy]])
            curves = polar.correlate(reference, polar.spectra(samples, rings), rings)
            for mirror, curve in enumerate(curves):
                j = int(curve.argmax())
                if curve.max() > best[0]:
                    offset = polar.parabola_offset(curve[0, (j + np.arange(-3, 4)) % rings.longest])
                    best = (curve.max(), ix, iy, mirror, (j + offset) * 360 / rings.longest)
    angle, sx, sy, mirror, peak = case["expected"]["F,delta=0"]
    # float32 spectra of the original
    assert best[0] == pytest.approx(peak, rel=1e-5)
    assert best[3] == mirror
    assert best[4] == pytest.approx(angle, abs=1e-3)
    a = np.deg2rad(angle)
    assert -best[1] * np.cos(a) - best[2] * np.sin(a) == pytest.approx(sx, abs=1e-4)
    assert best[1] * np.sin(a) - best[2] * np.cos(a) == pytest.approx(sy, abs=1e-4)


def _array(stored):
    return np.frombuffer(base64.b64decode(stored["base64"]), dtype=stored["dtype"]).reshape(stored["shape"])
