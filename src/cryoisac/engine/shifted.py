"""The fast search: trial shifts are made on the references, whole steps each, and every row is sampled once.

A reference shifted by d and an image laid on it at angle a, mirrored or not, is the pose that the exact search finds at
the trial shift s = -R(-a) M^m d: the grid of shifts turns with the angle. Its extent is the same.
"""

import numpy as np
import numpy.typing as npt

from cryoisac.engine.contract import Offsets, Search
from cryoisac.model.poses import rotate

NEAR_px = 1e-4  # so that float32 rounding does not decide about a whole step


def trial_grid(search: Search) -> npt.NDArray[np.int64]:
    """Return the steps (x, y) by which references are shifted, y outer and x inner, both rising, shape (t, 2)."""
    nx, ny = trial_reach(search)
    y, x = np.mgrid[-ny : ny + 1, -nx : nx + 1]
    return np.stack((x.ravel(), y.ravel()), axis=-1)


def outer_grid(search: Search) -> npt.NDArray[np.int64]:
    """Return no step and the outermost ones of a grid, along both axes and each of them, shape (at most 9, 2)."""
    nx, ny = trial_reach(search)
    y, x = np.meshgrid(sorted({-ny, 0, ny}), sorted({-nx, 0, nx}), indexing="ij")
    return np.stack((x.ravel(), y.ravel()), axis=-1)


def trial_reach(search: Search) -> tuple[int, int]:
    """Return the number of steps along x and y to either side."""
    nx, ny = (int(np.floor(reach / search.step_px)) for reach in (search.x_range_px, search.y_range_px))
    return max(nx, 0), max(ny, 0)


def moves_px(angle_deg: npt.ArrayLike, shift_px: npt.ArrayLike, mirror: npt.ArrayLike) -> Offsets:
    """Return how a centre moves, s = -R(-a) M^m d, when the reference is shifted by d instead, shape (..., 2).

    Parameters
    ----------
    angle_deg : array_like, shape (...)
        Angles of the poses.
    shift_px : array_like, shape (..., 2)
        Shifts (x, y) of the reference.
    mirror : array_like of bool, shape (...)
        Whether the poses are mirrored.
    """
    d = np.asarray(shift_px, dtype=np.float64)
    flip = np.where(np.asarray(mirror), -1.0, 1.0)
    return -rotate(-np.asarray(angle_deg), np.stack((flip * d[..., 0], d[..., 1]), axis=-1))


def allowed(moves: Offsets, room: Offsets) -> npt.NDArray[np.bool_]:
    """Return which moves (..., 2) keep within a row's room (..., 4); a move by nothing always does."""
    x, y = moves[..., 0], moves[..., 1]
    return (
        (-room[..., 0] - NEAR_px <= x)
        & (x <= room[..., 1] + NEAR_px)
        & (-room[..., 2] - NEAR_px <= y)
        & (y <= room[..., 3] + NEAR_px)
    )


def confined(moves: Offsets, room: Offsets) -> Offsets:
    """Return moves (m, 2) brought within each row's room (m, 4): the peak may lie a little beside a sampled angle."""
    return np.clip(moves, -room[:, 0::2], room[:, 1::2])
