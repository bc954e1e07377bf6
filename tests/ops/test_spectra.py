"""Averages over rings."""

import numpy as np
import pytest

from cryoisac.errors import DataError
from cryoisac.ops import ctf, filters, fourier, masks, spectra


@pytest.mark.parametrize(
    ("n", "name"), [(76, "tanl_in_76"), (77, "ctf_in_77"), (90, "rops_in_90"), (128, "rops_in_128")]
)
def test_rotational_power_agrees_with_eman2(golden, n, name):
    """Independent program: five times the reported relative deviation of 1e-6."""
    g = golden("filters")
    np.testing.assert_allclose(spectra.rotational_power(g[name]), g[f"rops_{n}"], rtol=5e-6)


def test_rotational_power_agrees_with_published_numbers(vectors):
    """Independent program: 1.3e-6 is five times the reported deviation; the logarithm's ring 0 repeats ring 1."""
    for args, expected in vectors("rops_table"):
        power = spectra.rotational_power(args["img"])
        if args["lng"]:
            power = np.log10(np.append(power[1], power[1:]))
        np.testing.assert_allclose(power, expected, atol=1.3e-6)


@pytest.mark.parametrize("n", [8, 9])
def test_rotational_power_shares_between_rings(rng, n):
    """Definition: loops over NumPy's complex transform; each pair of friends once, which is the mean over both."""
    image = rng.normal(size=(n, n))
    power, total, count = np.abs(np.fft.fft2(image)) ** 2, np.zeros(n), np.zeros(n)
    for jy in range(n):
        for jx in range(n):
            y, x = (j if j <= n // 2 else j - n for j in (jy, jx))
            r = np.hypot(x, y)
            half = x > 0 or (x == 0 and y > 0)
            if half and r < n // 2:
                for ring, weight in ((int(r), 1 - r % 1), (int(r) + 1, r % 1)):
                    total[ring] += weight * power[jy, jx]
                    count[ring] += weight
    expected = 4 / n**4 * (total / np.maximum(count, 1))[: n // 2 + 1]
    expected[0] = 4 / n**4 * power[0, 0]
    np.testing.assert_allclose(spectra.rotational_power(np.stack((image, 2 * image))), [expected, 4 * expected])


def test_rotational_average_agrees_with_published_numbers(vectors):
    """Independent program: 2.5e-7 is five times the reported deviation."""
    for args, expected in vectors("rot_avg_table"):
        np.testing.assert_allclose(spectra.rotational_average(args["e"]), expected, atol=2.5e-7)


@pytest.mark.parametrize("n", [8, 9])
def test_rotational_average_shares_between_radii(rng, n):
    """Definition: loops over the pixels."""
    image, last = rng.normal(size=(n, n)), n // 2 + n % 2
    total, count = np.zeros(last + 1), np.zeros(last + 1)
    for y in range(n):
        for x in range(n):
            r = np.hypot(x - n // 2, y - n // 2)
            if r < last:
                for ring, weight in ((int(r), 1 - r % 1), (int(r) + 1, r % 1)):
                    total[ring] += weight * image[y, x]
                    count[ring] += weight
    np.testing.assert_allclose(spectra.rotational_average(image), total / np.maximum(count, 1), atol=1e-12)


def test_the_average_image_of_a_cone_is_the_cone():
    """Known truth: a radial profile that is linear is its own average, where the profile has whole rings."""
    n = 21
    cone = np.sqrt(masks.squared_radius(n))
    disc = masks.circle(9.5, n)
    # a share of a pixel at radius r goes to two radii; the profile is off by its curvature, 0 here, and the lattice's
    # uneven angles, which move a ring's mean by up to a tenth of a pixel at radius 1
    np.testing.assert_allclose(spectra.rotational_average_image(cone)[disc], cone[disc], atol=0.35)
    flat = np.full((2, n, n), 3.0, dtype=np.float32)
    np.testing.assert_allclose(spectra.rotational_average_image(flat)[:, disc], 3.0, rtol=1e-6)


def test_ring_correlation_agrees_with_eman2(golden):
    """Independent program: 1e-7 is five times the reported deviation; ring 0 is the sign of a rounding error."""
    g = golden("frc_chain")
    found = spectra.ring_correlation(g["frc_half_even"], g["frc_half_odd"], mask=masks.circle(29, 76))
    frequency, correlation, count = g["frc_76"]
    np.testing.assert_allclose(found.frequency, frequency, atol=1e-7)
    np.testing.assert_allclose(found.correlation[1:], correlation[1:], atol=1e-7)
    np.testing.assert_array_equal(found.count, count)


def test_rings_of_an_odd_side_are_those_of_eman2(golden):
    """Independent program: counts, exactly; frequencies by our own convention k / n."""
    found = spectra.ring_correlation(np.ones((73, 73)), np.ones((73, 73)))
    np.testing.assert_array_equal(found.count, golden("prealign")["ctf_centerm1_frc_all"][0, :, 2])
    np.testing.assert_array_equal(found.frequency, np.arange(37) / 73)


@pytest.mark.parametrize("n", [8, 9])
def test_ring_correlation_is_the_formula(rng, n):
    """Definition: over NumPy's complex transform; a friend contributes the same again and cancels in the quotient.

    The Nyquist row and column of an even side have no friends in the transform, so rings up to n/2 - 1 are compared.
    """
    a, b = rng.normal(size=(2, n, n))
    fa, fb = np.fft.fft2(a), np.fft.fft2(b)
    ky, kx = np.meshgrid(*[np.rint(np.fft.fftfreq(n) * n)] * 2, indexing="ij")
    ring = np.floor(np.hypot(ky, kx) + 0.5)
    found = spectra.ring_correlation(a, b)
    for r in range((n - 1) // 2):
        s = ring == r
        expected = (fa[s] * fb[s].conj()).real.sum() / np.sqrt((abs(fa[s]) ** 2).sum() * (abs(fb[s]) ** 2).sum())
        assert found.correlation[r] == pytest.approx(expected, abs=1e-12)
        assert found.count[r] == s.sum() + (r == 0)  # the origin counts twice


def test_ring_correlation_of_an_image_with_itself_is_one(rng):
    """Invariance: at any scale; with its negative it is -1; stacks go image by image."""
    images = rng.normal(size=(3, 12, 12)).astype(np.float32)
    np.testing.assert_allclose(spectra.ring_correlation(images, 7 * images).correlation, 1, atol=1e-12)
    np.testing.assert_allclose(spectra.ring_correlation(images, -images).correlation, -1, atol=1e-12)


def test_ring_correlation_of_signal_in_noise(rng):
    """Known truth: white signal and noise of equal variance give 1/2."""
    signal, n1, n2 = rng.normal(size=(3, 256, 256))
    found = spectra.ring_correlation(signal + n1, signal + n2)
    outer = found.count > 200
    # standard error of a correlation of about count / 2 independent pairs, four times over
    assert (np.abs(found.correlation - 0.5)[outer] < 4 / np.sqrt(found.count[outer])).all()


def test_images_of_different_shapes_are_refused():
    with pytest.raises(DataError, match="differ"):
        spectra.ring_correlation(np.zeros((8, 8)), np.zeros((9, 9)))


def test_whitening_agrees_with_eman2(golden):
    """Independent program: five times the reported deviations (table 1e-6 relative, images 3e-5)."""
    g = golden("filters")
    table = spectra.whitening_table(spectra.amplitude_profile(g["vpp_in"]), len(g["vpp_in"]))
    np.testing.assert_allclose(table, g["vpp_table"], rtol=5e-6)
    whitened = filters.radial_table(g["vpp_in"], table)
    np.testing.assert_allclose(whitened, g["vpp_out"], atol=1.5e-4)
    np.testing.assert_allclose(whitened[0], g["vpp_out_via_fft_0"], atol=1.5e-4)


def test_whitening_after_a_flip_agrees_with_eman2(golden, parameters):
    """Independent program: without padding, as 1.5e-4 above."""
    g = golden("filters")
    p, apix = parameters(g["vpp_ctf_par"])
    flipped = fourier.apply_response(g["vpp_in"][:1], ctf.phase_signs(p, 64, apix))
    out = filters.radial_table(flipped, g["vpp_table"])[0]
    np.testing.assert_allclose(out, g["vpp_flip_then_whiten_nopad_0"], atol=1.5e-4)


def test_whitened_images_have_a_flat_spectrum(rng):
    """Known truth: coloured noise becomes white; the amplitude of a ring averages to the same everywhere."""
    images = filters.tangent_lowpass(rng.normal(size=(40, 32, 32)), 0.3, 0.5)
    table = spectra.whitening_table(spectra.amplitude_profile(images), 40)
    flat = spectra.amplitude_profile(filters.radial_table(images, table)) / 40
    # between rings the table is linear where the spectrum is curved; the last two rings share what falls off the table
    np.testing.assert_allclose(flat[1:-2], 1, atol=0.03)


def test_images_without_power_are_refused():
    with pytest.raises(DataError, match="ring 1"):
        spectra.whitening_table(np.zeros(5), 3)
