"""From particle images to working images."""

import numpy as np
import pytest

from cryoisac.errors import DataError
from cryoisac.ops import ctf, fourier, masks, normalise, resample

# the reported deviation of the chain is 2e-5
TOLERANCE = 1e-4


def test_flipping_step_agrees_with_sphire(golden, parameters):
    """Independent program: subtract the background outside the circle, then flip phases."""
    g = golden("normalise")
    p, apix = parameters(g["chain90_ctf"])
    images = normalise.subtract_background(g["chain90_in"], masks.circle(36, 90))
    np.testing.assert_allclose(ctf.phase_flip(images, p, apix), g["chain90_r36_flipped"], atol=TOLERANCE)


def test_resampling_step_agrees_with_sphire(golden):
    """Independent program: shrink the shifted images from 90 to 73 px."""
    g = golden("normalise")
    resampled = resample.decimate_sphire(g["chain90_r36_shifted_0_2"], 29 / 36)
    np.testing.assert_allclose(resampled, g["chain90_r36_resampled"][:3], atol=TOLERANCE)


def test_normalising_step_agrees_with_sphire(golden):
    """Independent program: normalise in 73 px, pad to 76."""
    g = golden("normalise")
    working = normalise.working_images(g["chain90_r36_resampled"], 76, radius_px=29)
    np.testing.assert_allclose(working, g["chain90_r36_final"], atol=TOLERANCE)


def _chain(images, ctf_of_images, radius, box_px, *, first=None, mask=None, burn=False):
    """Return working images of radius 29 from raw images of ``radius`` that need no shift."""
    outer = masks.circle(radius, images.shape[-1]) if first is None else first
    flipped = ctf.phase_flip(normalise.subtract_background(images, outer), *ctf_of_images)
    resampled = resample.decimate_sphire(flipped, 29 / radius)
    return normalise.working_images(resampled, box_px, radius_px=29, mask=mask, burn=burn)


@pytest.mark.parametrize(
    ("name", "side", "radius", "box_px"),
    [("r36", 90, 36, 76), ("r40", 128, 40, 76), ("r40_nx77", 128, 40, 77)],
)
def test_whole_chain_agrees_with_sphire(golden, parameters, name, side, radius, box_px):
    """Independent program: from the raw to the working image, padded or cut; image 1 has no shift."""
    g = golden("normalise")
    assert not g[f"chain{side}_shift"][1].any()
    ctf_of_images = parameters(g[f"chain{side}_ctf"][1:2])
    working = _chain(g[f"chain{side}_in"][1:2], ctf_of_images, radius, box_px)
    np.testing.assert_allclose(working, g[f"chain{side}_{name}_final"][1:2], atol=TOLERANCE)


@pytest.mark.parametrize(
    ("name", "width", "radius", "burn"),
    [("fil30_r36", 30, 36, True), ("fil30_r36_ignore", 30, 36, False), ("fil31_r44_pad", 31, 44, True)],
)
def test_filament_chain_agrees_with_sphire(golden, parameters, name, width, radius, burn):
    """Independent program: a bar as mask, before and after shrinking; image 1 has no shift."""
    g = golden("normalise")
    angle = g["chain100_segment_angle"][1]
    first = masks.filament_rectangle(100, width // 2, angle)
    side = min(76, resample.resampled_box(100, 29 / radius))
    mask = masks.filament_rectangle(side, int(width * 29 / radius + 0.5) // 2, angle)
    ctf_of_images = parameters(g["chain100_ctf"][1:2])
    working = _chain(g["chain100_in"][1:2], ctf_of_images, radius, 76, first=first, mask=mask, burn=burn)
    np.testing.assert_allclose(working, g[f"chain100_{name}_final"][1:2], atol=TOLERANCE)


def test_larger_images_are_cut(rng):
    """Definition: disc in the working box, mean of its outside, sample sigma of its inside, image by image."""
    images = rng.normal(2.0, 3.0, size=(3, 21, 21)).astype(np.float32)
    disc = masks.circle(6, 16)
    for image, out in zip(images, normalise.working_images(images, 16, radius_px=6), strict=True):
        cut = image[2:18, 2:18].astype(np.float64)
        np.testing.assert_allclose(out, (cut - cut[~disc].mean()) / cut[disc].std(ddof=1), atol=1e-6)


def test_smaller_images_get_a_margin_of_zero(rng):
    """Definition: disc of all but two pixels; the margin is exactly 0."""
    images = rng.normal(2.0, 3.0, size=(3, 15, 15)).astype(np.float32)
    out = normalise.working_images(images, 20, radius_px=29)
    disc = masks.circle(15 // 2 - 2, 15)
    inner = fourier.window(out, 15)
    np.testing.assert_allclose(inner[:, ~disc].mean(axis=1), 0, atol=1e-6)
    np.testing.assert_allclose(inner[:, disc].std(axis=1, ddof=1), 1, atol=1e-6)
    assert np.count_nonzero(out) == np.count_nonzero(inner)


def test_contrast_and_offset_do_not_matter(rng):
    """Invariance: the same working image from a brighter and stronger one."""
    images = rng.normal(size=(2, 20, 20)).astype(np.float32)
    expected = normalise.working_images(images, 16, radius_px=6)
    # a pixel near 50 is stored to 4e-6
    np.testing.assert_allclose(normalise.working_images(4 * images + 50, 16, radius_px=6), expected, atol=1e-5)


def test_filament_masks_differ_by_image_and_are_burnt_in(rng):
    """Definition: statistics by each image's own bar; outside of it 0."""
    images = rng.normal(1.0, 2.0, size=(2, 24, 24)).astype(np.float32)
    bars = np.stack([masks.filament_rectangle(24, 5, angle) for angle in (20.0, -70.0)])
    out = normalise.working_images(images, 24, radius_px=9, mask=bars, burn=True)
    for image, bar, working in zip(images.astype(np.float64), bars, out, strict=True):
        expected = (image - image[~bar].mean()) / image[bar].std(ddof=1) * bar
        np.testing.assert_allclose(working, expected, atol=1e-6)


def test_bad_images_are_refused():
    images = np.random.default_rng(1).normal(size=(3, 16, 16)).astype(np.float32)
    images[2] = 4.0
    with pytest.raises(DataError, match="2 is constant"):
        normalise.working_images(images, 16, radius_px=6)
    images[1, 8, 8] = np.nan
    with pytest.raises(DataError, match="1 is constant or has values that are not finite"):
        normalise.working_images(images, 16, radius_px=6)
    with pytest.raises(DataError, match="leaves none"):
        normalise.subtract_background(images, masks.circle(30, 16))
