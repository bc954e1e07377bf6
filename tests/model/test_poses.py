"""Poses: composition, inverse, distance, RELION's columns."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryoisac.model.poses import Poses, from_relion, pixel_error, rotate, to_projection, to_relion, wrap

ANGLE = st.floats(-720, 720)
SHIFT = st.floats(-50, 50)
POSE = st.tuples(ANGLE, SHIFT, SHIFT, st.sampled_from([0, 1]))
# coordinates up to about 200 px in float64, a few roundings
CLOSE = 1e-9


def _matrix(row):
    """Definition: the pose as a matrix on (x, y, 1), from three elementary ones."""
    a = np.deg2rad(row[0])
    turn = np.array([[np.cos(a), np.sin(a), 0], [-np.sin(a), np.cos(a), 0], [0, 0, 1]])
    move = np.array([[1, 0, row[1]], [0, 1, row[2]], [0, 0, 1]])
    return np.diag([-1.0 if row[3] else 1.0, 1, 1]) @ move @ turn


def _same(a, b):
    """Compare rows, angles modulo 360."""
    d = np.abs(np.asarray(a, dtype=float) - np.asarray(b, dtype=float))
    d[..., 0] = np.minimum(d[..., 0] % 360, -d[..., 0] % 360)
    return d.max()


def _one(row):
    return Poses.from_rows([row])


@given(POSE, SHIFT, SHIFT)
def test_apply_is_the_matrix(row, x, y):
    """Definition: rotate, shift, mirror."""
    np.testing.assert_allclose(_one(row).apply([(x, y)])[0], (_matrix(row) @ (x, y, 1))[:2], atol=CLOSE)


@given(POSE, POSE)
def test_then_is_the_matrix_product(first, second):
    """Definition: the second matrix times the first."""
    both = _one(first).then(_one(second)).rows()[0]
    np.testing.assert_allclose(_matrix(both), _matrix(second) @ _matrix(first), atol=CLOSE)


@given(POSE)
def test_inverse_undoes(row):
    """Invariance: before and after."""
    pose = _one(row)
    for both in (pose.then(pose.inverse()), pose.inverse().then(pose)):
        np.testing.assert_allclose(_matrix(both.rows()[0]), np.eye(3), atol=CLOSE)


@given(POSE)
def test_the_offset_lands_on_the_centre(row):
    """Definition."""
    pose = _one(row)
    np.testing.assert_allclose(pose.apply(pose.offset_px()), 0, atol=CLOSE)


@given(POSE, SHIFT, SHIFT, st.floats(0.1, 10))
def test_scaled_poses_act_on_scaled_points(row, x, y, factor):
    """Invariance: under a change of pixel size."""
    pose = _one(row)
    scaled = pose.scaled(factor).apply([(factor * x, factor * y)])
    np.testing.assert_allclose(scaled, factor * pose.apply([(x, y)]), atol=10 * CLOSE)


def test_composition_has_published_values():
    """Independent program: numbers of SPARX's combine_params2, inverse_transform2 and the specification."""
    cases = [
        ((33, 1.2, -0.7, 0), (-71, 0.4, 2.0, 1), (-38, 1.452545, 2.906725, 1)),
        ((33, 1.2, -0.7, 1), (-71, 0.4, 2.0, 1), (104, -0.671181, 0.637480, 0)),
        ((0, 1, 1, 1), (1, 2, 0, 0), (359, -1.0176047, 1.0173001, 1)),
    ]
    for first, second, expected in cases:
        assert _same(_one(first).then(_one(second)).rows()[0], expected) < 1e-6  # printed digits
    inverses = [
        ((33, 1.2, -0.7, 0), (-33, -1.387652, -0.066497, 0)),
        ((33, 1.2, -0.7, 1), (33, 1.387652, -0.066497, 1)),
        ((1, 2.2, 1, 0), (359, -2.1822126, -1.0382429, 0)),
        ((141.42257753, -2.5254159, 3.21601343, 0), (218.57742, 0.0311297, 4.0889482, 0)),
    ]
    for row, expected in inverses:
        assert _same(_one(row).inverse().rows()[0], expected) < 5e-6


def test_pixel_error_is_the_distance_over_a_disc():
    """Definition: root mean square over a fine raster of the disc."""
    rng = np.random.default_rng(5)
    a, b = (
        Poses.from_rows(np.column_stack((rng.normal(scale=20, size=5), rng.normal(size=(5, 2)), m)))
        for m in (np.ones(5), np.ones(5))
    )
    y, x = np.mgrid[-1:1:401j, -1:1:401j]
    disc = 29 * np.stack((x, y), axis=-1)[x * x + y * y <= 1]
    apart = a.apply(np.broadcast_to(disc, (5, *disc.shape))) - b.apply(np.broadcast_to(disc, (5, *disc.shape)))
    expected = np.sqrt((apart**2).sum(axis=-1).mean(axis=-1))
    # the raster's disc has mean |x|² = r²/2 to about 1e-3
    np.testing.assert_allclose(pixel_error(a, b, radius_px=29), expected, rtol=2e-3)


def test_pixel_error_has_the_published_value():
    """Independent program: SPARX's square of it, for radius 29 + 1/2."""
    a, b = Poses.identity(1), Poses.from_rows([(270, -1, -1, 0)])
    assert pixel_error(a, b, radius_px=29.5)[0] ** 2 == pytest.approx(872.25, abs=1e-9)


@given(POSE, POSE, POSE)
def test_pixel_error_is_a_distance(first, second, third):
    """Invariance: symmetric, zero on itself, triangle inequality, unmoved by a common pose after it."""
    a, b, c = _one(first), _one(second), _one(third)

    def e(p, q):
        return pixel_error(p, q, radius_px=10)[0]

    assert e(a, b) == e(b, a)
    assert e(a, a) == 0
    assert e(a, b) <= e(a, c) + e(c, b) + CLOSE
    if a.mirror[0] == b.mirror[0]:
        assert e(a.then(c), b.then(c)) == pytest.approx(e(a, b), abs=1e-6)  # the square root near 0 loses half
    else:
        assert e(a, b) == np.inf


@given(POSE)
def test_relion_columns_come_back(row):
    """Invariance."""
    poses = _one(row)
    back = from_relion(*to_relion(poses))
    np.testing.assert_allclose(_matrix(back.rows()[0]), _matrix(row), atol=CLOSE)
    psi = to_relion(poses)[0][0]
    assert -180 <= psi < 180


def test_rows_slices_and_parts():
    """Invariance: rows and back, a part of it, parts put together."""
    rng = np.random.default_rng(6)
    rows = np.column_stack((rng.uniform(0, 360, 6), rng.normal(size=(6, 2)), np.arange(6) % 2))
    poses = Poses.from_rows(rows)
    np.testing.assert_array_equal(poses.rows(), rows)
    np.testing.assert_array_equal(poses[2:4].rows(), rows[2:4])
    np.testing.assert_array_equal(poses[rows[:, 3] == 1].rows(), rows[1::2])
    np.testing.assert_array_equal(Poses.concatenate([poses[:1], poses[1:]]).rows(), rows)
    np.testing.assert_array_equal(list(poses), rows)
    assert len(Poses.concatenate([])) == 0
    assert len(poses) == 6


def test_identity_and_offsets():
    """Definition: nothing moves; a named point goes to the centre unrotated."""
    points = np.array([(3.0, -2.0), (0.5, 7.0)])
    np.testing.assert_array_equal(Poses.identity(2).apply(points), points)
    at = Poses.at_offsets(points)
    np.testing.assert_array_equal(at.apply(points), np.zeros((2, 2)))
    np.testing.assert_array_equal(at.offset_px(), points)
    assert not at.angle_deg.any()


@given(st.floats(-1e6, 1e6))
def test_wrapped_angles_lie_in_one_turn(angle):
    """Definition: 0 <= a < 360, and the same direction."""
    wrapped = float(wrap(angle))
    assert 0 <= wrapped < 360
    np.testing.assert_allclose(rotate(wrapped, (1, 0)), rotate(angle, (1, 0)), atol=1e-7)  # a million degrees


def test_tiny_negative_angles_do_not_wrap_to_360():
    """Known truth: NumPy's remainder of -1e-20 by 360 rounds to 360."""
    assert wrap(-1e-20) == 0


def test_projections_have_published_values():
    """Independent program: numbers of SPARX's params_2D_3D, and of params_3D_2D the other way round."""
    cases = [
        ((0.1, 2, 1, 0), (0, 0, 359.9, 1.9982516, 1.0034891)),
        ((0.1, 2, 1, 1), (180, 180, 179.9, 1.9982516, 1.0034891)),
        ((359, 1.9822431, 1.0347525, 0), (0, 0, 1, 2, 1)),
        ((179, -1.9822431, -1.0347525, 1), (180, 180, 1, 2, 1)),
    ]
    for row, expected in cases:
        np.testing.assert_allclose(to_projection(_one(row))[0], expected, atol=1e-6)  # printed digits


@given(POSE)
def test_projections_of_a_flat_object_are_its_images(row):
    """Definition: Rz(psi) Ry(theta) Rz(phi) carries a flat object to the image that the pose carries back.

    RELION's columns, with rot 0 and tilt 180 where mirrored, say the same.
    """
    pose = _one(row)
    object_px = np.array([(9.0, 4, 0), (-6, 10, 0), (3, -11, 0)])  # three points without symmetry
    image_px = pose.inverse().apply(object_px[None, :, :2])[0]
    phi, theta, psi, x, y = to_projection(pose)[0]
    relion_psi, origin_px, flip = to_relion(pose)
    for angles, shift in (
        ((phi, theta, psi), (x, y)),
        ((0, 180 if flip[0] else 0, relion_psi[0]), origin_px[0]),
    ):
        first, tilt, last = np.deg2rad(angles)
        turned = object_px @ (_about_z(last) @ _about_y(tilt) @ _about_z(first)).T
        np.testing.assert_allclose(turned[:, :2] - shift, image_px, atol=10 * CLOSE)


def _about_z(angle):
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]])


def _about_y(angle):
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, 0, -s], [0, 1, 0], [s, 0, c]])
