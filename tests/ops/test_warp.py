"""Images moved by their poses."""

import numpy as np
import pytest

from cryoisac.errors import DataError, SettingError
from cryoisac.model.poses import Poses
from cryoisac.ops.warp import rotate_shift


def poses_of(rng, n, reach_px=3.0):
    return Poses(
        angle_deg=rng.uniform(0, 360, n), shift_px=rng.uniform(-reach_px, reach_px, (n, 2)), mirror=rng.random(n) < 0.5
    )


def pulled(image, rows, x, y):
    """Return the quadratic value of one output pixel, written out."""
    h, w = image.shape
    angle, tx, ty, mirror = rows
    sx = (2 * (w // 2) - x) % w if mirror else x
    c, s = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    u, v = sx - w // 2 - tx, y - h // 2 - ty
    px, py = u * c - v * s + w // 2, u * s + v * c + h // 2
    if not (0 <= px < w and 0 <= py < h):
        return image[y, sx]
    i, j = int(px), int(py)
    dx, dy = px - i, py - j

    def f(a, b):
        return image[(j + b) % h, (i + a) % w]

    c1 = f(1, 0) - f(0, 0)
    c2 = (c1 - f(0, 0) + f(-1, 0)) / 2
    c3 = f(0, 1) - f(0, 0)
    c4 = (c3 - f(0, 0) + f(0, -1)) / 2
    c5 = f(1, 1) - f(0, 0) - c1 - c3
    return f(0, 0) + dx * (c1 + (dx - 1) * c2 + dy * c5) + dy * (c3 + (dy - 1) * c4)


@pytest.mark.parametrize("shape", [(12, 12), (13, 13), (9, 14)])
def test_quadratic_by_definition(shape):
    """Definition by brute force: every pixel of moved images, background rule and mirror included."""
    rng = np.random.default_rng(3)
    images = rng.standard_normal((6, *shape))
    poses = poses_of(rng, 6)
    got = rotate_shift(images, poses)
    for n in range(6):
        expected = [[pulled(images[n], poses.rows()[n], x, y) for x in range(shape[1])] for y in range(shape[0])]
        np.testing.assert_allclose(got[n], expected, atol=1e-6)  # float32 output


@pytest.mark.parametrize("method", ["linear", "quadratic", "cubic"])
@pytest.mark.parametrize("outside", ["background", "cyclic", "zero"])
@pytest.mark.parametrize("n", [16, 17])
def test_whole_moves_are_exact(method, outside, n):
    """Known truth: identity, mirror, and whole shifts away from the border, for odd and even boxes."""
    rng = np.random.default_rng(4)
    images = rng.standard_normal((3, n, n)).astype(np.float32)
    poses = Poses(angle_deg=np.zeros(3), shift_px=np.array([[0, 0], [0, 0], [2, -3]]), mirror=np.array([0, 1, 0], bool))
    got = rotate_shift(images, poses, method=method, outside=outside)
    assert (got[0] == images[0]).all()
    assert (got[1] == images[1][:, (2 * (n // 2) - np.arange(n)) % n]).all()
    assert (got[2, :-3, 2:] == images[2, 3:, :-2]).all()
    if outside == "cyclic":
        assert (got[2] == np.roll(images[2], (-3, 2), axis=(0, 1))).all()
    if outside == "zero":
        assert (got[2, -3:] == 0).all()


@pytest.mark.parametrize(("method", "error"), [("linear", 0.05), ("quadratic", 0.05), ("cubic", 0.01)])
def test_a_point_lands_where_its_pose_says(method, error):
    """Known truth: a Gaussian moves to the pose's image of its centre; tolerance is the interpolator's own error."""
    n, width = 48, 3.0
    y, x = np.mgrid[:n, :n] - n // 2
    at = np.array([6.0, -4.0])
    blob = np.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2) / (2 * width**2))
    poses = poses_of(np.random.default_rng(5), 8)
    there = poses.apply(np.tile(at, (8, 1)))
    moved = rotate_shift(np.stack([blob] * 8), poses, method=method)
    expected = np.exp(-((x - there[:, 0, None, None]) ** 2 + (y - there[:, 1, None, None]) ** 2) / (2 * width**2))
    # the wrapped column of an even box is no pixel of the blob
    assert np.abs(moved - expected)[:, 2:-2, 2:-2].max() < error


def test_quarter_turns_do_not_hang_on_rounding():
    """Invariance: a last-bit change of a quarter turn changes nothing."""
    rng = np.random.default_rng(6)
    images = rng.standard_normal((4, 21, 21))
    shift = rng.uniform(-2, 2, (4, 2))
    base = Poses(angle_deg=np.array([0.0, 90, 180, 270]), shift_px=shift, mirror=np.zeros(4, bool))
    nudged = Poses(angle_deg=base.angle_deg + 1e-13, shift_px=shift, mirror=base.mirror)
    np.testing.assert_allclose(rotate_shift(images, base), rotate_shift(images, nudged), atol=1e-6)  # float32


def test_batches_do_not_matter():
    """Invariance: images moved one by one or together."""
    rng = np.random.default_rng(7)
    images, poses = rng.standard_normal((5, 20, 20)), poses_of(rng, 5)
    together = rotate_shift(images, poses)
    for i in range(5):
        assert (rotate_shift(images[i : i + 1], poses[i : i + 1])[0] == together[i]).all()
    assert rotate_shift(images[:0], poses[:0]).shape == (0, 20, 20)


def test_bad_calls_are_refused():
    images, poses = np.zeros((2, 8, 8)), Poses.identity(2)
    with pytest.raises(DataError, match="one pose for each"):
        rotate_shift(images, Poses.identity(3))
    with pytest.raises(SettingError, match="method"):
        rotate_shift(images, poses, method="gridding")
    with pytest.raises(SettingError, match="outside"):
        rotate_shift(images, poses, outside="mirror")


@pytest.mark.parametrize("side", ["even", "odd"])
def test_golden_transforms(golden, side):
    """Independent program: SPARX's transforms of an even and an odd image."""
    g = golden("align")
    image, rows, expected = g[f"rot_img_{side}"], g["rot_pose"], g[f"rot_out_{side}"]
    got = rotate_shift(np.stack([image] * len(rows)), Poses.from_rows(rows))
    difference = np.abs(got - expected)
    # float32 coordinates of the original; a quarter turn maps a border line onto the limit, decided by its last bit
    assert difference[:5].max() < 2.5e-4
    assert difference[5, 4:-4, 4:-4].max() < 2.5e-4
    mirrored = rotate_shift(image[None], Poses.from_rows([[0, 0, 0, 1]]))[0]
    np.testing.assert_allclose(mirrored, g[f"rot_mirror_{side}"], atol=1e-6)


@pytest.mark.parametrize(("method", "outside"), [("linear", "background"), ("quadratic", "background"),
                                                 ("linear", "cyclic"), ("quadratic", "cyclic")])  # fmt: skip
def test_published_transforms(vectors, method, outside):
    """Independent program: the original's own test values."""
    compared = 0
    for args, expected in vectors("rot_shift2D"):
        if (args["interpolation_method"] or "quadratic", args["mode"]) != (method, outside):
            continue
        assert args["scale"] in (0, 1)
        rows = [[args["angle"], args["sx"], args["sy"], args["mirror"]]]
        got = rotate_shift(args["img"][None], Poses.from_rows(rows), method=method, outside=outside)[0]
        np.testing.assert_allclose(got.ravel(), np.ravel(expected), atol=2e-6)  # five times the 3e-7 measured
        compared += 1
    assert compared
