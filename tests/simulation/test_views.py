"""Viewing directions."""

import numpy as np
import pytest

from cryoisac.simulation import views


@pytest.mark.parametrize("n", [1, 2, 10, 25, 50, 1500])
def test_known_truth_views_keep_apart(n: int) -> None:
    """Known truth: axes spread evenly; the area of the half sphere for each gives the distance to expect."""
    axes = views.spread_over_half_sphere(n, np.random.default_rng(0))
    np.testing.assert_allclose(np.linalg.norm(axes, axis=1), 1)
    cosine = np.abs(axes @ axes.T)
    np.fill_diagonal(cosine, 0)
    nearest = np.arccos(cosine.max(axis=1).clip(0, 1))
    hexagonal = np.sqrt(4 * np.pi / (np.sqrt(3) * n))  # spacing of n points in a hexagonal lattice of area 2 pi
    # a sphere holds no perfect lattice; a spiral without descent is worse where its half sphere ends
    assert nearest.min() > (0.75 if n <= 1000 else 0.4) * min(hexagonal, np.pi / 2)


def test_definition_nearest_view_and_frame() -> None:
    """Definition: the nearest axis by brute force; the carried frame looks along the direction, least turned."""
    rng = np.random.default_rng(1)
    axes = views.spread_over_half_sphere(12, rng)
    directions = views.draw_directions(300, "uniform", axes, rng)
    found, turned = views.nearest_view(directions, axes)
    np.testing.assert_array_equal(found, np.abs(directions @ axes.T).argmax(axis=1))
    assert ((turned * axes[found]).sum(axis=1) > 0).all()
    frame = views.frames(axes)[found]
    np.testing.assert_allclose(frame[:, 2], axes[found], atol=1e-12)
    carried = views.carried(frame, turned)
    np.testing.assert_allclose(
        carried @ np.swapaxes(carried, 1, 2), np.broadcast_to(np.eye(3), carried.shape), atol=1e-12
    )
    np.testing.assert_allclose(carried[:, 2], turned, atol=1e-12)
    turn = np.einsum("nij,nkj->nik", carried, frame)
    angle = np.arccos(((np.trace(turn, axis1=1, axis2=2) - 1) / 2).clip(-1, 1))
    # the least rotation between two directions is the angle between them
    np.testing.assert_allclose(angle, np.arccos((axes[found] * turned).sum(axis=1).clip(-1, 1)), atol=1e-6)


def test_known_truth_preferred_directions_crowd() -> None:
    """Known truth: uniform draws fill all views alike, preferred ones do not."""
    axes = views.spread_over_half_sphere(24, np.random.default_rng(2))
    counts = {
        kind: np.bincount(
            views.nearest_view(views.draw_directions(4800, kind, axes, np.random.default_rng(3)), axes)[0], minlength=24
        )
        for kind in ("uniform", "preferred")
    }
    assert counts["uniform"].min() > 120  # 200 expected; cells of 24 views differ in area by less than a third
    assert counts["uniform"].max() < 300
    assert counts["preferred"].max() > 1000  # 0.7 of 4800 shared by three views as 1 : 0.6 : 0.36
    assert counts["preferred"].min() > 20
