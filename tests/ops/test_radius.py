"""The radius of particles nobody has aligned."""

import mrcfile
import numpy as np
import pytest
import scipy.ndimage
from scipy.spatial.transform import Rotation

from cryoisac.errors import DataError
from cryoisac.ops import fourier, masks, resample
from cryoisac.ops.outliers import FAR, deviations
from cryoisac.ops.radius import estimate_radius, radius_of, strengths, sums_of

# what a radius is good for tolerates: the mask of an expert differs by as much
TOLERANCE = 0.15


def _noisy(images, rng, *, snr, shift_px):
    moved = fourier.shift(images, rng.uniform(-shift_px, shift_px, size=(len(images), 2)))
    return (moved + rng.normal(scale=np.sqrt(moved.var() / snr), size=moved.shape)).astype(np.float32)


@pytest.mark.parametrize(("radius", "box_px"), [(30, 96), (45, 128)])
@pytest.mark.parametrize("snr", [0.05, 0.3])
def test_radius_of_discs(rng, radius, box_px, snr):
    """Known truth: discs of one radius in white noise; as they lie, they reach a pixel further."""
    discs = np.repeat(masks.circle(radius, box_px)[None], 200, axis=0).astype(np.float32)
    found = estimate_radius(_noisy(discs, rng, snr=snr, shift_px=1.0))
    assert found == pytest.approx(radius + 1, rel=TOLERANCE)


def test_radius_of_bars_is_their_reach(rng):
    """Known truth: bars in all directions are dense at the centre; their ends show in the variance alone."""
    bars = [masks.filament_rectangle(96, 6, angle, half_length_px=30) for angle in rng.uniform(0, 180, size=200)]
    found = estimate_radius(_noisy(np.array(bars, dtype=np.float32), rng, snr=0.3, shift_px=1.0))
    assert found == pytest.approx(30, rel=TOLERANCE)


def test_neighbours_do_not_count(rng):
    """Known truth: each disc has two others beside it, as close as they can lie."""
    radius, box_px, n = 20, 96, 200
    line = np.arange(box_px) - box_px // 2
    centres = np.zeros((n, 3, 2))
    turn = rng.uniform(0, 2 * np.pi, size=n)
    distance = rng.uniform(2.05, 2.6, size=(n, 2)) * radius
    for i, way in enumerate((0.0, 2.1)):
        centres[:, i + 1] = distance[:, i, None] * np.stack((np.cos(turn + way), np.sin(turn + way)), axis=1)
    crowd = np.zeros((n, box_px, box_px), dtype=np.float32)
    for x, y in np.moveaxis(centres, 1, 0).transpose(0, 2, 1):
        crowd += (line - x[:, None])[:, None, :] ** 2 + ((line - y[:, None]) ** 2)[:, :, None] <= radius**2
    assert estimate_radius(_noisy(crowd, rng, snr=0.3, shift_px=0.5)) == pytest.approx(radius, rel=TOLERANCE)


@pytest.mark.parametrize(("ratio", "box_px", "snr"), [(1.0, 64, 0.1), (1.0, 90, 0.3), (4 / 3, 90, 0.1)])
def test_radius_of_projections_of_a_ribosome(shared, rng, ratio, box_px, snr):
    """Known truth: the map ends at 27 of its voxels."""
    volume = mrcfile.read(shared / "data" / "maps" / "70S.mrc").astype(np.float32)
    middle = np.array(volume.shape) // 2
    views = [
        scipy.ndimage.affine_transform(volume, turn, offset=middle - turn @ middle, order=1).sum(axis=0)
        for turn in Rotation.random(20, random_state=3).as_matrix()
    ]
    images = resample.resample(np.array(views), ratio, box_px)[rng.integers(20, size=300)]
    found = estimate_radius(_noisy(images, rng, snr=snr, shift_px=2.0))
    assert found == pytest.approx(27 * ratio, rel=TOLERANCE)


def test_radius_of_real_apoferritin(shared):
    """Known truth: experts use 42 px; neighbours crowd every box. Any sample gives it."""
    stack = mrcfile.mmap(shared / "data" / "apoferritin" / "particles.mrcs", permissive=True)
    for part in (slice(None, None, 5), slice(400), slice(900, 1300)):
        assert estimate_radius(stack.data[part].astype(np.float32)) == pytest.approx(42, rel=TOLERANCE)
    stack.close()


def test_contrast_and_offset_do_not_matter(rng):
    """Invariance: each image may have its own."""
    discs = np.repeat(masks.circle(20, 64)[None], 100, axis=0).astype(np.float32)
    images = _noisy(discs, rng, snr=0.3, shift_px=1.0)
    changed = images * rng.uniform(0.5, 3, size=(100, 1, 1)) + rng.normal(scale=10, size=(100, 1, 1))
    # float32 pixels near 10
    assert estimate_radius(changed.astype(np.float32)) == pytest.approx(estimate_radius(images), abs=1e-3)


def test_images_without_an_answer_are_refused(rng):
    noise = rng.normal(size=(100, 48, 48)).astype(np.float32)
    with pytest.raises(DataError, match="no white particle"):
        estimate_radius(noise)
    dark = noise - 2 * masks.circle(12, 48)
    with pytest.raises(DataError, match="no white particle"):
        estimate_radius(dark.astype(np.float32))
    with pytest.raises(DataError, match="does not end"):
        estimate_radius((noise + 2 * masks.circle(24, 48)).astype(np.float32))
    with pytest.raises(DataError, match="3 of the sample is constant"):
        estimate_radius(np.where(np.arange(100)[:, None, None] == 3, 1, noise).astype(np.float32))
    with pytest.raises(DataError, match="not a stack of squares"):
        estimate_radius(noise[:, :40])


def test_invariance_parts_of_a_sample(rng):
    """Invariance: sums of parts added up give the radius of the whole."""
    discs = np.repeat(masks.circle(20, 64)[None].astype(np.float32), 150, axis=0)
    images = _noisy(discs, rng, snr=0.5, shift_px=1.0)
    parts = sum(sums_of(images[first : first + 37]) for first in range(0, 150, 37))
    assert radius_of(parts, 150) == pytest.approx(estimate_radius(images), rel=1e-9)  # float64 sums in another order


def test_strength_is_the_share_of_variance_at_low_frequency():
    """Known truth: a slow wave has all of its variance there, a fast one none, their sum a fifth."""
    y, x = np.mgrid[:64, :64] / 64
    slow, fast = np.cos(2 * np.pi * x), np.cos(2 * np.pi * 20 * y)
    images = np.stack((slow, fast, slow + 2 * fast, np.zeros((64, 64)))).astype(np.float32)
    # the low-pass falls smoothly: at a quarter of its cut-off it has nearly all of the power left
    np.testing.assert_allclose(strengths(images), [1, 0, 0.2, 0], atol=0.05)


def test_units_do_not_change_the_strength(rng):
    """Invariance: to a factor and an offset, and to how many images there are."""
    images = rng.normal(size=(70, 32, 32)).astype(np.float32)
    strength = strengths(images)
    np.testing.assert_allclose(strengths(3 * images + 10), strength, rtol=1e-3)  # float32 about an offset
    np.testing.assert_allclose(strengths(images[65:]), strength[65:], rtol=1e-6)


def test_ice_and_edges_are_told_from_particles(rng):
    """Known truth: of 200 discs in noise, five are covered by an edge or a broad patch; only these stand out."""
    discs = np.repeat(masks.circle(12, 48)[None], 200, axis=0).astype(np.float32)
    images = _noisy(discs, rng, snr=0.1, shift_px=1.0)
    line = (np.arange(48) - 24).astype(np.float32)
    images[:3] += 12 * (line > 5)
    images[3:5] += 20 * np.exp(-0.5 * (line / 12) ** 2) * np.exp(-0.5 * (line[:, None] / 12) ** 2)
    assert np.array_equal(np.flatnonzero(deviations(strengths(images)) > FAR), np.arange(5))


def test_ice_is_left_out_of_the_radius(rng):
    """Known truth: the radius is that of the other images where a twentieth hold a wide, bright patch."""
    discs = np.repeat(masks.circle(14, 64)[None], 200, axis=0).astype(np.float32)
    images = _noisy(discs, rng, snr=0.1, shift_px=1.0)
    y, x = np.mgrid[:64, :64] - 32
    images[::20] += 60 * np.exp(-0.5 * (np.hypot(x, y) / 14) ** 2).astype(np.float32)
    others = np.delete(images, np.arange(0, 200, 20), axis=0)
    assert estimate_radius(images) == pytest.approx(estimate_radius(others))
