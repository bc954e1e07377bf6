"""Viewing directions: views spread over a half sphere, and images drawn about them."""

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from cryoisac.simulation.projection import orientation

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]
SPREAD_AT_MOST = 1000
STRONG_SHARE = 0.7
STRONG_WIDTH_DEG = 12.0


def spread_over_half_sphere(n: int, rng: np.random.Generator) -> Float:
    """Return axes that are about as far apart as ``n`` axes can be, in an arbitrary common orientation.

    Opposite directions show mirror images, so the distance of two views is that of their axes.

    Parameters
    ----------
    n : int
        Number of views.
    rng : numpy.random.Generator
        Turns them all.

    Returns
    -------
    ndarray, shape (n, 3)
        Unit vectors.

    Notes
    -----
    A Fibonacci spiral, then, up to 1000 views, descent on the Coulomb energy of the 2n points ±v (Thomson's problem).
    """
    z = (np.arange(n) + 0.5) / n
    turn = np.arange(n) * np.pi * (3 - np.sqrt(5))
    points = np.stack((np.sqrt(1 - z**2) * np.cos(turn), np.sqrt(1 - z**2) * np.sin(turn), z), axis=1)
    for step in np.geomspace(0.3, 0.01, 200 if 1 < n <= SPREAD_AT_MOST else 0):
        force = _repulsion(points)
        push = force - (force * points).sum(axis=1, keepdims=True) * points
        points += step / np.sqrt(n) * push / max(np.linalg.norm(push, axis=1).max(), 1e-12)
        points /= np.linalg.norm(points, axis=1, keepdims=True)
    rotation, _ = np.linalg.qr(rng.standard_normal((3, 3)))
    turned: Float = points @ rotation
    return turned


def _repulsion(points: Float) -> Float:
    """Force, shape (n, 3), on each point by the others and by the antipodes of the others."""
    cosine = points @ points.T
    np.fill_diagonal(cosine, 0.0)
    towards, away = 1 / (2 - 2 * cosine).clip(1e-9) ** 1.5, 1 / (2 + 2 * cosine).clip(1e-9) ** 1.5
    np.fill_diagonal(towards, 0.0)
    np.fill_diagonal(away, 0.0)
    force: Float = points * (towards + away).sum(axis=1, keepdims=True) - (towards - away) @ points
    return force


def draw_directions(n: int, distribution: str, views: Float, rng: np.random.Generator) -> Float:
    """Draw the viewing directions of images.

    Parameters
    ----------
    n : int
        Number of images.
    distribution : str
        ``"uniform"`` over the sphere, or ``"preferred"``: 70 % within about 12 degrees of a few views, of unequal
        weight (one view in eight, at least two), the rest uniform.
    views : ndarray, shape (v, 3)
        All views.
    rng : numpy.random.Generator
        Source of chance.

    Returns
    -------
    ndarray, shape (n, 3)
        Unit vectors.
    """
    directions = rng.standard_normal((n, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    if distribution == "preferred":
        strong = rng.choice(len(views), size=min(len(views), max(2, len(views) // 8)), replace=False)
        weight = 0.6 ** np.arange(len(strong))
        chosen = views[rng.choice(strong, size=n, p=weight / weight.sum())]
        near = chosen + np.deg2rad(STRONG_WIDTH_DEG) * rng.standard_normal((n, 3))
        near /= np.linalg.norm(near, axis=1, keepdims=True)
        directions = np.where(rng.random((n, 1)) < STRONG_SHARE, near, directions)
    return directions


def nearest_view(directions: Float, views: Float) -> tuple[Int, Float]:
    """Return the view whose axis is nearest, shape (n,), and the directions turned over to its side, shape (n, 3)."""
    _, found = cKDTree(np.concatenate((views, -views))).query(directions)
    side = np.where(found < len(views), 1.0, -1.0)[:, None]
    return (found % len(views)).astype(np.int64), directions * side


def frames(views: Float) -> Float:
    """Return the orientation, shape (v, 3, 3), of each view's clean projection: psi is 0, the third row is the view."""
    rot = np.rad2deg(np.arctan2(views[:, 1], views[:, 0]))
    tilt = np.rad2deg(np.arccos(np.clip(views[:, 2], -1.0, 1.0)))
    return orientation(rot, tilt, np.zeros(len(views)))


def carried(frame: Float, directions: Float) -> Float:
    """Turn orientations, shape (n, 3, 3), along great circles until they look along ``directions``, shape (n, 3).

    The least rotation about an axis in the image plane: it adds no in-plane angle, so that images of neighbouring
    directions lie on each other as well as they can.
    """
    view = frame[:, 2]
    cosine = (view * directions).sum(axis=1)[:, None, None]
    cross = np.cross(view, directions)
    zero = np.zeros(len(view))
    x, y, z = cross.T
    k = np.stack([np.stack(row, -1) for row in ((zero, -z, y), (z, zero, -x), (-y, x, zero))], -2)
    rotation = np.eye(3) + k + k @ k / (1 + cosine)
    turned: Float = frame @ np.swapaxes(rotation, 1, 2)
    return turned
