"""Alignment errors of the members of a class."""

import numpy as np
import pytest

from cryoisac.model.poses import Poses, rotate
from cryoisac.scoring.alignment import alignment_errors


def _poses(n: int, seed: int) -> Poses:
    rng = np.random.default_rng(seed)
    return Poses(angle_deg=rng.uniform(0, 360, n), shift_px=rng.uniform(-4, 4, (n, 2)), mirror=rng.random(n) < 0.5)


def _common(angle_deg: float, shift: tuple[float, float], mirror: bool, n: int) -> Poses:
    return Poses(angle_deg=np.full(n, angle_deg), shift_px=np.tile(shift, (n, 1)), mirror=np.full(n, mirror))


@pytest.mark.parametrize("mirror", [False, True])
def test_invariance_frame_of_the_class(mirror: bool) -> None:
    """Invariance: one rigid motion of the whole class is no error."""
    true = _poses(40, 0)
    found = true.then(_common(123.0, (5.0, -7.0), mirror, 40))
    errors = alignment_errors(found, true, radius_px=30)
    np.testing.assert_allclose(errors.pixel_error, 0, atol=1e-9)
    assert errors.mirror_right.all()


@pytest.mark.parametrize("mirror", [False, True])
def test_known_truth_errors_are_found(mirror: bool) -> None:
    """Known truth: errors put in come out, a third of the members being far off or mirrored wrongly."""
    rng, n = np.random.default_rng(1), 90
    true = _poses(n, 2)
    turn, step = rng.normal(0, 2.0, n), rng.normal(0, 0.5, (n, 2))
    turn[:15] += rng.uniform(60, 300, 15)
    wrong = np.arange(n) >= 75
    slip = Poses(angle_deg=turn, shift_px=step, mirror=wrong)
    found = true.then(slip).then(_common(200.0, (3.0, 8.0), mirror, n))
    errors = alignment_errors(found, true, radius_px=30)
    np.testing.assert_array_equal(errors.mirror_right, ~wrong)
    assert np.isinf(errors.pixel_error[wrong]).all()
    good = np.arange(15, 75)
    # the fitted motion is itself uncertain: 2 / sqrt(60) degrees, 1.25 * 0.5 / sqrt(75) px
    np.testing.assert_allclose(errors.rotation_deg[good], np.abs(turn[good]), atol=0.8)
    # where an image lands is turned with it; the length of the step stays
    np.testing.assert_allclose(errors.shift_px[good], np.linalg.norm(step[good], axis=1), atol=0.25)


def test_definition_pixel_error_over_a_disc() -> None:
    """Definition: the distance between where the two poses put each point of the particle's disc, by brute force."""
    true = _poses(5, 3)
    turn, step = np.array([-3.0, 0, 0, 0, 3.0]), np.array([[0, 0], [1.0, 0], [0, 0], [-1.0, 0], [0, 0]])
    slip = Poses(angle_deg=turn, shift_px=step, mirror=np.zeros(5, dtype=bool))
    errors = alignment_errors(true.then(slip), true, radius_px=20)
    y, x = np.indices((81, 81)) / 2 - 20
    disc = np.stack((x, y), axis=-1)[np.hypot(x, y) <= 20]
    moved = np.stack([rotate(a, disc) + t for a, t in zip(turn, step, strict=True)])
    brute = np.sqrt(((moved - disc) ** 2).sum(axis=2).mean(axis=1))
    # a disc of half pixels has its mean square radius to a per cent; the mean of the five slips is none
    np.testing.assert_allclose(errors.pixel_error, brute, atol=0.01)
