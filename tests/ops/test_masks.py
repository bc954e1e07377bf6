"""Masks, statistics under them, normalisation by them."""

import re

import numpy as np
import pytest

from cryoisac.errors import DataError
from cryoisac.ops import masks


def test_circle_agrees_with_eman2(golden):
    """Independent program, exactly."""
    g = golden("normalise")
    names = [name for name in g.files if name.startswith("circle_")]
    assert names
    for name in names:
        radius, n = re.fullmatch(r"circle_r([\d.]+)_n(\d+)", name).groups()
        np.testing.assert_array_equal(masks.circle(float(radius), int(n)), g[name])


def test_circle_agrees_with_published_numbers(vectors):
    """Independent program, exactly; a negative radius, which SPARX takes as positive, is no disc here."""
    for args, expected in vectors("model_circle"):
        if args["r"] >= 0:
            np.testing.assert_array_equal(masks.circle(args["r"], args["nx"]).ravel(), expected)
    assert not masks.circle(-1, 5).any()


def test_statistics_agree_with_eman2(golden):
    """Independent program: 1e-6 for float32 pixels near 1."""
    g = golden("normalise")
    for inside, name in ((False, "infomask_false"), (True, "infomask_true")):
        s = masks.statistics(g["norm_in"], masks.circle(29, 76), inside=inside)
        np.testing.assert_allclose([s.mean, s.sigma, s.minimum, s.maximum], g[name], atol=1e-6)


def test_statistics_are_those_of_the_chosen_pixels(rng):
    """Definition: NumPy on the pixels of each image, one mask for all and one mask an image."""
    images = rng.normal(size=(4, 9, 9)).astype(np.float32)
    disc = masks.circle(3, 9)
    for mask in (disc, rng.random((4, 9, 9)) < 0.4):
        s = masks.statistics(images, mask, inside=False)
        for i in range(4):
            pixels = images[i][~np.broadcast_to(mask, images.shape)[i]].astype(np.float64)
            expected = [pixels.mean(), pixels.std(ddof=1), pixels.min(), pixels.max()]
            np.testing.assert_allclose([s.mean[i], s.sigma[i], s.minimum[i], s.maximum[i]], expected, atol=1e-12)


def test_an_empty_choice_is_refused():
    with pytest.raises(DataError, match="covers no pixel"):
        masks.statistics(np.zeros((5, 5), dtype=np.float32), masks.circle(9, 5), inside=False)


def test_normalise_inside_agrees_with_eman2(golden):
    """Independent program: 1e-6 for float32 pixels near 1."""
    g = golden("normalise")
    mask = masks.circle(29, 76)
    np.testing.assert_allclose(masks.normalise_inside(g["norm_in"], mask), g["norm_mask_sigma"], atol=1e-6)
    mean_only = masks.normalise_inside(g["norm_in"], mask, mean_only=True)
    np.testing.assert_allclose(mean_only, g["norm_mask_nosigma"], atol=1e-6)


def test_normalise_inside_forgets_scale_and_offset(rng):
    """Invariance: mean 0 and variance 1 whatever the contrast; the offset is a thousand sigmas."""
    images = rng.normal(size=(3, 16, 16)).astype(np.float32)
    mask = masks.circle(6, 16)
    once = masks.normalise_inside(images, mask)
    assert once.dtype == np.float32
    np.testing.assert_allclose(once[:, mask].mean(axis=1), 0, atol=1e-6)
    np.testing.assert_allclose(once[:, mask].std(axis=1), 1, atol=1e-6)
    # a pixel near 1000 is stored to 6e-5, twice rounded and divided by 1
    np.testing.assert_allclose(masks.normalise_inside(images * 2.5 + 1000, mask), once, atol=2e-4)


def test_a_constant_image_is_refused():
    images = np.ones((3, 8, 8), dtype=np.float32)
    images[0, 4, 4] = images[1, 4, 4] = 0
    with pytest.raises(DataError, match="2 is constant"):
        masks.normalise_inside(images, masks.circle(3, 8))


def test_soften_agrees_with_published_numbers(vectors):
    """Independent program: 5e-6 is five times the largest reported deviation."""
    for args, expected in vectors("cosinemask"):
        image, width = args["im"], args["cosine_width"]
        radius = image.shape[0] // 2 - width if args["radius"] < 0 else args["radius"]
        background = None if args["s"] == 999999.0 else args["s"]
        softened = masks.soften(image, radius, width, background=background)
        np.testing.assert_allclose(softened.ravel(), expected, atol=5e-6)


def test_soften_keeps_the_inside_and_flattens_the_outside(rng):
    """Definition: at the radius nothing is blended, at half the edge one half, beyond it all."""
    images = rng.normal(size=(2, 21, 21)).astype(np.float32)
    softened = masks.soften(images, 4, 4, background=[5.0, -3.0])
    np.testing.assert_array_equal(softened[:, 10, 6:15], images[:, 10, 6:15])
    np.testing.assert_allclose(softened[:, 10, 16], (images[:, 10, 16] + [5, -3]) / 2, atol=1e-6)
    assert (softened[0, 10, 18:] == 5).all()
    assert (softened[1, 0] == -3).all()


def test_filament_rectangle_agrees_with_eman2(golden):
    """Independent program, exactly."""
    g = golden("normalise")
    names = [name for name in g.files if name.startswith("rect_n")]
    assert names
    for name in names:
        n, half, angle = re.fullmatch(r"rect_n(\d+)_short(\d+)_ang(.*)", name).groups()
        np.testing.assert_array_equal(masks.filament_rectangle(int(n), int(half), float(angle)), g[name])
    short = masks.filament_rectangle(64, 6, 25.0, half_length_px=20)
    np.testing.assert_array_equal(short, g["rect_shortlong_n64_long20_short6_ang25"])


def test_filament_rectangle_covers_its_bar():
    """Known truth: pixels well within the bar are inside, pixels well beyond it outside, one pixel left undecided."""
    n, half, angle = 61, 7, np.deg2rad(25)
    y, x = np.mgrid[:n, :n] - n // 2
    across = np.abs(x * np.sin(angle) + (y + 0.5) * np.cos(angle))
    rectangle = masks.filament_rectangle(n, half, 25.0)
    assert rectangle[across < half - 1].all()
    assert not rectangle[across > half + 1].any()
