"""Images moved in compiled code."""

import itertools

import numpy as np
import pytest

from cryoisac.engine.moving import Moving, class_sums, transform
from cryoisac.engine.native import instruction_sets
from cryoisac.errors import DataError, SettingError
from cryoisac.model.poses import Poses

METHODS = ("linear", "quadratic", "cubic")
UNIT_SCALE = 3e-7  # what the formulas are kept within on images of values up to 1

every_set = pytest.mark.parametrize("instructions", instruction_sets())


def poses_of(rng, n, reach_px=4.0):
    return Poses(
        angle_deg=rng.uniform(-400, 400, n),
        shift_px=rng.uniform(-reach_px, reach_px, (n, 2)),
        mirror=rng.random(n) < 0.5,
    )


def keys(d):
    """Return the cubic weights at distances -1, 0, 1, 2 by the two pieces of Keys' kernel, a = -1/2."""

    def kernel(x):
        x = abs(x)
        return 1.5 * x**3 - 2.5 * x**2 + 1 if x <= 1 else -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x < 2 else 0.0

    return [kernel(d - a) for a in (-1, 0, 1, 2)]


def between(f, method, dx, dy):
    """Return the value between pixels f(a, b) by the formulas, written out."""
    if method == "linear":
        return (f(0, 0) * (1 - dx) + f(1, 0) * dx) * (1 - dy) + (f(0, 1) * (1 - dx) + f(1, 1) * dx) * dy
    if method == "cubic":
        return sum(
            wy * wx * f(a, b)
            for (b, wy), (a, wx) in itertools.product(enumerate(keys(dy), -1), enumerate(keys(dx), -1))
        )
    c1 = f(1, 0) - f(0, 0)
    c2 = (c1 - f(0, 0) + f(-1, 0)) / 2
    c3 = f(0, 1) - f(0, 0)
    c4 = (c3 - f(0, 0) + f(0, -1)) / 2
    c5 = f(1, 1) - f(0, 0) - c1 - c3
    return f(0, 0) + dx * (c1 + (dx - 1) * c2 + dy * c5) + dy * (c3 + (dy - 1) * c4)


def pulled(image, pose, scale, x, y, *, method, outside):
    """Return one output pixel by the definition."""
    h, w = image.shape
    angle, tx, ty, mirror = pose
    own = (2 * (w // 2) - x) % w if mirror else x
    c, s = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    u, v = own - w // 2 - tx, y - h // 2 - ty
    px, py = (u * c - v * s) / scale + w // 2, (u * s + v * c) / scale + h // 2
    if outside == "cyclic":
        px, py = px % w, py % h
    elif not (0 <= px < w and 0 <= py < h):
        return image[y, own] if outside == "background" else outside
    i, j = int(px), int(py)
    return between(lambda a, b: image[(j + b) % h, (i + a) % w], method, px - i, py - j)


@every_set
@pytest.mark.parametrize("outside", ["background", "cyclic", -0.25])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shape", [(14, 14), (13, 13), (9, 16), (2, 5)])
def test_every_pixel_by_definition(shape, method, outside, instructions):
    """Definition by brute force in float64: odd, even, oblong and tiny images, mirrored, enlarged and shrunk."""
    rng = np.random.default_rng(11)
    images = rng.uniform(-1, 1, (6, *shape)).astype(np.float32)
    poses, scale = poses_of(rng, 6, reach_px=1.0 if min(shape) < 5 else 4.0), np.array([1, 1, 1, 1, 0.4, 1.7])
    got = transform(
        images, poses, scale=scale, moving=Moving(method=method, outside=outside, instructions=instructions)
    )
    rows, pixels = poses.rows(), images.astype(np.float64)
    expected = [
        [
            [pulled(pixels[n], rows[n], scale[n], x, y, method=method, outside=outside) for x in range(shape[1])]
            for y in range(shape[0])
        ]
        for n in range(6)
    ]
    np.testing.assert_allclose(got, expected, atol=UNIT_SCALE, rtol=0)


@pytest.mark.parametrize("outside", ["background", "cyclic"])
@pytest.mark.parametrize("method", ["linear", "quadratic"])
def test_published_transforms(vectors, method, outside):
    """Independent program: the original's own test values; scale 0 is the original's for 1."""
    compared = 0
    for args, expected in vectors("rot_shift2D"):
        if (args["interpolation_method"] or "quadratic", args["mode"]) != (method, outside):
            continue
        poses = Poses.from_rows([[args["angle"], args["sx"], args["sy"], args["mirror"]]])
        scale = np.array([args["scale"] or 1.0])
        got = transform(args["img"][None], poses, scale=scale, moving=Moving(method=method, outside=outside))
        np.testing.assert_allclose(got.ravel(), np.ravel(expected), atol=2e-6)  # the original sums in float32
        compared += 1
    assert compared


def waves(rng, shape, count=30):
    """Return a function that gives an image of waves that fit the box, at points (x, y) from its centre."""
    h, w = shape
    ky, kx = rng.integers(-((h - 1) // 2), (h + 1) // 2, count), rng.integers(-((w - 1) // 2), (w + 1) // 2, count)
    phase, amplitude = rng.uniform(0, 2 * np.pi, count), rng.standard_normal(count) / count**0.5

    def value(x, y):
        turns = kx * x[..., None] / w + ky * y[..., None] / h
        return (amplitude * np.cos(2 * np.pi * turns + phase)).sum(axis=-1)

    return value


@every_set
@pytest.mark.parametrize("shape", [(32, 32), (31, 31), (24, 33)])
def test_band_limited_images_are_moved_exactly(shape, instructions):
    """Known truth: sums of waves up to the Nyquist frequency, rotated, shifted and enlarged by their formula."""
    rng = np.random.default_rng(12)
    h, w = shape
    poses, scale = poses_of(rng, 4), np.array([1.0, 1.0, 0.6, 1.9])
    values = [waves(rng, shape) for _ in range(4)]
    y, x = np.mgrid[:h, :w] - np.array([h // 2, w // 2])[:, None, None]
    images = np.stack([value(x, y) for value in values]).astype(np.float32)
    expected = []
    for n, value in enumerate(values):
        own = x[:, (2 * (w // 2) - np.arange(w)) % w] if poses.mirror[n] else x
        u, v = own - poses.shift_px[n, 0], y - poses.shift_px[n, 1]
        c, s = np.cos(np.deg2rad(poses.angle_deg[n])), np.sin(np.deg2rad(poses.angle_deg[n]))
        expected.append(value((u * c - v * s) / scale[n], (u * s + v * c) / scale[n]))
    moving = Moving(method="fourier", outside="cyclic", instructions=instructions)
    np.testing.assert_allclose(
        transform(images, poses, scale=scale, moving=moving), expected, atol=3e-6
    )  # float32 grids


@pytest.mark.parametrize("outside", ["background", 2.0])
def test_fourier_heeds_the_rule_for_what_lies_outside(outside):
    """Definition: outside an image every method takes the same."""
    rng = np.random.default_rng(13)
    images, poses = rng.standard_normal((3, 20, 20)).astype(np.float32), poses_of(rng, 3)
    ones = transform(np.ones_like(images), poses, moving=Moving(outside=5.0))
    got = transform(images, poses, moving=Moving(method="fourier", outside=outside))
    beyond = transform(images, poses, moving=Moving(method="linear", outside=outside))
    assert (ones == 5.0).any()
    assert (got[ones == 5.0] == beyond[ones == 5.0]).all()


@pytest.mark.parametrize("method", [*METHODS, "fourier"])
def test_class_sums_are_sums_of_moved_images(method):
    """Definition: images of a class laid on one another, -1 left out; a class without images is zero."""
    rng = np.random.default_rng(14)
    images, poses = rng.standard_normal((40, 12, 15)).astype(np.float32), poses_of(rng, 40)
    labels = rng.integers(-1, 3, 40)
    moving = Moving(method=method)
    moved = transform(images, poses, moving=moving).astype(np.float64)
    sums = class_sums(images, poses, labels, 4, moving=moving)
    for c in range(4):
        np.testing.assert_allclose(sums[c], moved[labels == c].sum(axis=0), atol=1e-12)  # order of float64 sums


def test_threads_and_batches_do_not_matter():
    """Invariance: the same bytes for any number of threads; sums of classes beyond one part too."""
    rng = np.random.default_rng(15)
    images, poses = rng.standard_normal((700, 9, 9)).astype(np.float32), poses_of(rng, 700)
    labels = np.zeros(700, dtype=np.int64)
    one, many = Moving(threads=1), Moving(threads=3)
    assert (one.move(images, poses) == many.move(images, poses)).all()
    assert (one.move(images[5:6], poses[5:6]) == one.move(images, poses)[5:6]).all()
    assert (class_sums(images, poses, labels, 1, moving=one) == class_sums(images, poses, labels, 1, moving=many)).all()
    assert one.move(images[:0], poses[:0]).shape == (0, 9, 9)
    assert Moving(method="fourier").move(images[:0], poses[:0]).shape == (0, 9, 9)


def test_bad_calls_are_refused():
    images, poses = np.zeros((2, 8, 8), dtype=np.float32), Poses.identity(2)
    with pytest.raises(DataError, match="one pose an image"):
        transform(images, Poses.identity(3))
    with pytest.raises(SettingError, match="method"):
        Moving(method="gridding")
    with pytest.raises(SettingError, match="outside"):
        Moving(outside="mirror")
    with pytest.raises(SettingError, match="outside"):
        Moving(outside=float("nan"))
    with pytest.raises(SettingError, match="threads"):
        Moving(threads=0)
    with pytest.raises(DataError, match="not a finite number"):
        transform(images, Poses.from_rows([[np.nan, 0, 0, 0]] * 2))
    for scale in (np.zeros(2), np.ones(3), np.array([1.0, np.inf])):
        with pytest.raises(DataError, match="scale above 0"):
            transform(images, poses, scale=scale)
    with pytest.raises(DataError, match="labels"):
        class_sums(images, poses, np.array([0, 3]), 2)
