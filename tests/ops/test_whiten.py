"""Backgrounds made standard, noise measured and made white."""

import dataclasses

import numpy as np
import pytest

from cryoisac.ops.ctf import apply_ctf, ctf_at
from cryoisac.ops.hartley import ring_power, ring_transform, transform_rings
from cryoisac.ops.masks import circle
from cryoisac.ops.whiten import EDGE_PX, Support, Whitening, background_power, soft_bar, soft_disc, standard_background

BOX = 48
INNER = 14.0
OUTSIDE = ~circle(INNER, BOX)
SOFT_OUTSIDE = 1 - soft_disc(INNER, BOX)
CTF = [[1.5, 0.3, 33.0, 0.0, 7.0, 300.0, 2.7, 5.0], [2.1, -0.2, 110.0, 40.0, 10.0, 200.0, 2.0, 5.0]]


def coloured(rng, n, box_px=BOX, exponent=1.5):
    """Return noise whose power on ring k is white's times (1 + k)^-exponent, up to a factor, and those powers."""
    fy, fx = np.meshgrid(np.fft.fftfreq(box_px), np.fft.rfftfreq(box_px), indexing="ij")
    response = (1 + box_px * np.hypot(fy, fx)) ** (-exponent / 2)
    spectrum = np.fft.rfft2(rng.normal(size=(n, box_px, box_px))) * response
    return np.fft.irfft2(spectrum, s=(box_px, box_px)).astype(np.float32)


@pytest.mark.parametrize("box_px", [32, 33])
def test_a_soft_disc_is_whole_then_falls(box_px):
    """Definition: one pixel at a time, 1 to the radius, 0 from EDGE_PX beyond it, a cosine between."""
    disc = soft_disc(9.0, box_px)
    for j in range(box_px):
        for i in range(box_px):
            beyond = np.hypot(i - box_px // 2, j - box_px // 2) - 9.0
            between = (1 + np.cos(np.pi * beyond / EDGE_PX)) / 2
            wanted = 1.0 if beyond <= 0 else 0.0 if beyond >= EDGE_PX else between
            assert disc[j, i] == pytest.approx(wanted, abs=1e-12)


def test_backgrounds_become_standard(rng):
    """Definition: outside the radius the best plane is 0, and the mean square is 1."""
    images = rng.normal(5.0, 3.0, (6, BOX, BOX)).astype(np.float32)
    images[:, 20:28, 20:28] += 100
    standard = standard_background(images, OUTSIDE).astype(np.float64)
    y, x = np.mgrid[:BOX, :BOX] - BOX // 2
    plane = np.stack((np.ones(OUTSIDE.sum()), x[OUTSIDE], y[OUTSIDE]), axis=-1)
    fit = np.linalg.lstsq(plane, standard[:, OUTSIDE].T, rcond=None)[0]
    np.testing.assert_allclose(fit, 0, atol=1e-6)  # float32 pixels
    np.testing.assert_allclose((standard[:, OUTSIDE] ** 2).mean(axis=1), 1, rtol=1e-5)


def test_planes_units_and_the_particle_do_not_matter(rng):
    """Invariance: to a plane added, a factor, and, outside, to what lies within the radius."""
    images = rng.normal(size=(4, BOX, BOX)).astype(np.float32)
    y, x = np.mgrid[:BOX, :BOX].astype(np.float32)
    standard = standard_background(images, OUTSIDE)
    sloped = 2.5 * images + 40 - 0.7 * x + 0.2 * y
    np.testing.assert_allclose(standard_background(sloped, OUTSIDE), standard, atol=1e-4)  # float32 of values up to 80
    filled = np.where(OUTSIDE, images, 50.0).astype(np.float32)
    np.testing.assert_allclose(standard_background(filled, OUTSIDE)[:, OUTSIDE], standard[:, OUTSIDE], atol=1e-5)


def test_constant_images_become_zero():
    """Known truth: there is no background to measure by."""
    images = np.stack((np.full((BOX, BOX), 3e4), np.zeros((BOX, BOX)))).astype(np.float32)
    assert (standard_background(images, OUTSIDE) == 0).all()


def test_white_noise_has_power_one(rng):
    """Known truth: on every ring but those that the mask's own transform and the last ring's shares touch."""
    power = background_power(rng.normal(size=(600, BOX, BOX)).astype(np.float32), SOFT_OUTSIDE).mean(axis=0)
    # 600 images of some 2 pi k / 4 free coefficients: 0.02 on ring 3; the last ring holds only shares
    np.testing.assert_allclose(power[3:-1], 1, atol=0.06)


def test_power_is_that_of_the_definition(rng):
    """Definition by brute force: coefficients one by one, each shared between two rings."""
    images = rng.normal(size=(2, 20, 20)).astype(np.float32)
    outside = 1 - soft_disc(5.0, 20)
    squares = np.abs(np.fft.fft2(images * outside)) ** 2 / (outside**2).sum()
    total, count = np.zeros((2, 12)), np.zeros(12)
    for j in range(20):
        for i in range(20):
            k = np.hypot(*(f if f <= 10 else f - 20 for f in (i, j)))
            if k < 10:
                for ring, share in ((int(k), 1 - k % 1), (int(k) + 1, k % 1)):
                    total[:, ring] += share * squares[:, j, i]
                    count[ring] += share
    np.testing.assert_allclose(background_power(images, outside)[:, 1:], (total / count.clip(1e-9))[:, 1:11], rtol=1e-5)


def whitening_of(images, rings, *, mask_radius_px=18.0):
    standard = standard_background(images, OUTSIDE)
    noise = background_power(standard, SOFT_OUTSIDE).mean(axis=0)[np.array(rings.radii)]
    return Whitening(rings, noise, Support(box_px=BOX, radius_px=INNER, mask_radius_px=mask_radius_px)), noise


def test_coloured_noise_becomes_white(rng):
    """Known truth: after whitening all rings hold the mask's share of unit noise."""
    rings = transform_rings(22, first=2, box_px=BOX, support_px=21)
    images = coloured(rng, 500)
    whitening, noise = whitening_of(images, rings)
    assert noise[0] / noise[-1] > 10
    samples, ctf2 = whitening(images, None, 1.0)
    power = ring_power(samples, rings).mean(axis=0) / Support(box_px=BOX, radius_px=INNER, mask_radius_px=18.0).share
    # 500 images of some 2 pi k / 3 free coefficients: 0.02 on ring 4; within, the masks smear the steep spectrum
    np.testing.assert_allclose(power[2:], 1, atol=0.06)
    assert (ctf2 == 1).all()


def test_samples_are_multiplied_by_the_ctf(rng, parameters):
    """Definition: whitened without a CTF, times its values at the samples; ctf2 is the mean of its square."""
    p, pixel_size_A = parameters(CTF)
    rings = transform_rings(22, first=2, box_px=BOX, support_px=21)
    images = coloured(rng, 2)
    whitening, _ = whitening_of(images, rings)
    plain, _ = whitening(images, None, 1.0)
    samples, ctf2 = whitening(images, p, pixel_size_A)
    start = 0
    for ring, (radius, length) in enumerate(zip(rings.radii, rings.lengths, strict=True)):
        angle = 2 * np.pi * np.arange(length) / length
        points = radius / BOX * np.stack((np.sin(angle), np.cos(angle)), axis=-1)
        values = ctf_at(p, points, pixel_size_A)
        part = slice(start, start + length)
        np.testing.assert_allclose(samples[:, part], values * plain[:, part], atol=1e-5 * np.abs(plain).max())
        np.testing.assert_allclose(ctf2[:, ring], (values**2).mean(axis=1), rtol=1e-5)
        start += length


def test_multiplied_samples_are_those_of_a_multiplied_image(rng, parameters):
    """Independent program: the CTF applied to the image on its Fourier grid, where it is smooth enough for that."""
    p, pixel_size_A = parameters(CTF)
    p = dataclasses.replace(p, defocus_um=np.array([0.3, 0.25]))
    rings = transform_rings(12, first=2, box_px=BOX, support_px=21)
    line = np.arange(BOX) - BOX // 2
    particle = np.exp(-0.5 * ((line - 1) / 2.5) ** 2)[:, None] * np.exp(-0.5 * ((line + 2) / 2) ** 2)
    image = np.broadcast_to(particle, (2, BOX, BOX)).astype(np.float32)
    response = ctf_at(p, rings.points_px / BOX, pixel_size_A)
    wanted = ring_transform(apply_ctf(image, p, pixel_size_A, padded=False), rings)
    found = response * ring_transform(image, rings)
    # the CTF moves a little of the particle beyond the box, whence it comes in again at the other side
    np.testing.assert_allclose(found, wanted, atol=2e-2 * np.abs(wanted).max())


@pytest.mark.parametrize("bar_px", [None, 6.0])
def test_share_of_the_mask(bar_px):
    """Known truth: of white noise, by drawing it, whichever way a bar lies."""
    rng = np.random.default_rng(1)
    noise = rng.normal(size=(400, BOX, BOX))
    support = Support(box_px=BOX, radius_px=INNER, mask_radius_px=15.0, bar_px=bar_px)
    masked = noise * support.mask(rng.uniform(0, 180, 400))
    # 400 images of 2304 pixels, a third of them counted, with a bar a fifth: 0.3 %
    assert support.share == pytest.approx((masked**2).mean(), rel=0.015)


@pytest.mark.parametrize("angle_deg", [0.0, 30.0, -70.0])
def test_bars_mask_and_what_is_beyond_them_is_background(angle_deg):
    """Definition: one pixel at a time, by its distance from the axis; masked by the disc as well."""
    support = Support(box_px=BOX, radius_px=INNER, mask_radius_px=18.0, bar_px=5.0)
    mask, background = support.mask([angle_deg])[0], support.background([angle_deg])[0]
    soft, disc, bar = support.soft_background([angle_deg])[0], soft_disc(18.0, BOX), soft_bar(5.0, BOX, angle_deg)
    axis = np.array([np.cos(np.deg2rad(angle_deg)), -np.sin(np.deg2rad(angle_deg))])
    for j in range(BOX):
        for i in range(BOX):
            x, y = i - BOX // 2, j - BOX // 2
            beyond = abs(x * axis[1] - y * axis[0]) - 5.0
            between = (1 + np.cos(np.pi * beyond / EDGE_PX)) / 2
            wanted = 1.0 if beyond <= 0 else 0.0 if beyond >= EDGE_PX else between
            assert bar[j, i] == pytest.approx(wanted, abs=1e-9)
            assert background[j, i] == (beyond > EDGE_PX)
    np.testing.assert_allclose(mask, disc * bar, atol=1e-6)
    np.testing.assert_allclose(soft, 1 - bar, atol=1e-12)


def test_each_image_has_its_own_background(rng):
    """Definition: a stack under bars of many angles is standard as each image is by itself; white noise is 1."""
    support = Support(box_px=BOX, radius_px=INNER, mask_radius_px=18.0, bar_px=5.0)
    angle_deg = rng.uniform(-90, 90, 400)
    images = rng.normal(3.0, 2.0, (400, BOX, BOX)).astype(np.float32)
    standard = standard_background(images, support.background(angle_deg))
    for i in (0, 7):
        alone = standard_background(images[i : i + 1], support.background(angle_deg[i]))
        np.testing.assert_allclose(standard[i], alone[0], atol=1e-5)
    power = background_power(standard, support.soft_background(angle_deg)).mean(axis=0)
    # 400 images; the innermost rings lose what the plane takes
    np.testing.assert_allclose(power[3:-1], 1, atol=0.06)
