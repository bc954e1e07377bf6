"""Poses: how each image is laid on its reference."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Float = npt.NDArray[np.float64]


def rotate(angle_deg: npt.ArrayLike, points: npt.ArrayLike) -> Float:
    """Rotate points by R(a) = [[cos a, sin a], [-sin a, cos a]].

    Parameters
    ----------
    angle_deg : array_like, shape (...)
        Angles in degrees.
    points : array_like, shape (..., 2)
        Points (x, y).

    Returns
    -------
    ndarray, shape (..., 2)
        Rotated points.
    """
    a = np.deg2rad(np.asarray(angle_deg, dtype=np.float64))
    p = np.asarray(points, dtype=np.float64)
    c, s = np.cos(a), np.sin(a)
    return np.stack((c * p[..., 0] + s * p[..., 1], -s * p[..., 0] + c * p[..., 1]), axis=-1)


@dataclass(frozen=True, eq=False, kw_only=True)
class Poses:
    """Poses of ``n`` images: x' = M^m (R(a) x + t), rotate, shift, then mirror in x.

    Parameters
    ----------
    angle_deg : ndarray, shape (n,), float64
        Rotation in degrees.
    shift_px : ndarray, shape (n, 2), float64
        Shift (x, y) in pixels, as before the mirror.
    mirror : ndarray, shape (n,), bool
        Whether x is reversed last.

    Notes
    -----
    The convention of SPARX (``alpha, tx, ty, mirror``).
    """

    angle_deg: Float
    shift_px: Float
    mirror: npt.NDArray[np.bool_]

    @staticmethod
    def identity(n: int) -> "Poses":
        """Return ``n`` poses that move nothing."""
        return Poses(angle_deg=np.zeros(n), shift_px=np.zeros((n, 2)), mirror=np.zeros(n, dtype=bool))

    @staticmethod
    def from_rows(rows: npt.ArrayLike) -> "Poses":
        """Return poses from rows ``angle_deg, x, y, mirror``, shape (n, 4)."""
        table = np.asarray(rows, dtype=np.float64).reshape(-1, 4)
        return Poses(angle_deg=table[:, 0].copy(), shift_px=table[:, 1:3].copy(), mirror=table[:, 3] == 1)

    @staticmethod
    def at_offsets(offset_px: npt.ArrayLike) -> "Poses":
        """Return unrotated poses that bring the points ``offset_px``, shape (n, 2), to the centre."""
        offset = np.asarray(offset_px, dtype=np.float64)
        n = len(offset)
        return Poses(angle_deg=np.zeros(n), shift_px=-offset, mirror=np.zeros(n, dtype=bool))

    @staticmethod
    def concatenate(parts: "list[Poses]") -> "Poses":
        """Return the poses of all ``parts``, one after the other."""
        return Poses(
            angle_deg=np.concatenate([p.angle_deg for p in parts]) if parts else np.zeros(0),
            shift_px=np.concatenate([p.shift_px for p in parts]) if parts else np.zeros((0, 2)),
            mirror=np.concatenate([p.mirror for p in parts]) if parts else np.zeros(0, dtype=bool),
        )

    def rows(self) -> Float:
        """Return rows ``angle_deg, x, y, mirror``, shape (n, 4)."""
        return np.column_stack((self.angle_deg, self.shift_px, self.mirror.astype(np.float64)))

    def __len__(self) -> int:
        return len(self.angle_deg)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.rows())

    def __getitem__(self, index: Any) -> "Poses":
        """Return the poses that ``index`` (a slice, mask or integer array) selects."""
        return Poses(angle_deg=self.angle_deg[index], shift_px=self.shift_px[index], mirror=self.mirror[index])

    def replaced(self, index: npt.NDArray[np.int64], poses: "Poses") -> "Poses":
        """Return the same poses with those at ``index`` replaced by ``poses``."""
        angle, shift, mirror = self.angle_deg.copy(), self.shift_px.copy(), self.mirror.copy()
        angle[index], shift[index], mirror[index] = poses.angle_deg, poses.shift_px, poses.mirror
        return Poses(angle_deg=angle, shift_px=shift, mirror=mirror)

    def offset_px(self) -> Float:
        """Return the point (x, y) of each image that lands on the centre: o = -R(-a) t, shape (n, 2)."""
        return -rotate(-self.angle_deg, self.shift_px)

    def then(self, other: "Poses") -> "Poses":
        """Return the poses "first self, then other".

        With s = -1 where self mirrors, else 1: a = a1 + s a2, t = R(s a2) t1 + (s t2x, t2y), m = m1 xor m2.
        """
        s = np.where(self.mirror, -1.0, 1.0)
        shift = rotate(s * other.angle_deg, self.shift_px)
        return Poses(
            angle_deg=wrap(self.angle_deg + s * other.angle_deg),
            shift_px=shift + np.stack((s * other.shift_px[..., 0], other.shift_px[..., 1]), axis=-1),
            mirror=self.mirror ^ other.mirror,
        )

    def inverse(self) -> "Poses":
        """Return the poses that undo these: (-a, -R(-a) t, 0), and (a, -M R(-a) t, 1) for a mirrored one."""
        back = -rotate(-self.angle_deg, self.shift_px)
        flipped = np.stack((-back[:, 0], back[:, 1]), axis=-1)
        return Poses(
            angle_deg=wrap(np.where(self.mirror, self.angle_deg, -self.angle_deg)),
            shift_px=np.where(self.mirror[:, None], flipped, back),
            mirror=self.mirror.copy(),
        )

    def scaled(self, factor: float) -> "Poses":
        """Return the same poses for images whose pixels are ``factor`` times smaller."""
        return Poses(angle_deg=self.angle_deg, shift_px=self.shift_px * factor, mirror=self.mirror)

    def apply(self, points: npt.ArrayLike) -> Float:
        """Return the points, shape (n, ..., 2), of each image carried to its reference."""
        p = np.asarray(points, dtype=np.float64)
        extra = (1,) * (p.ndim - 2)
        moved = rotate(self.angle_deg.reshape(-1, *extra), p) + self.shift_px.reshape(-1, *extra, 2)
        sign = np.where(self.mirror, -1.0, 1.0).reshape(-1, *extra)
        return np.stack((moved[..., 0] * sign, moved[..., 1]), axis=-1)


def wrap(angle_deg: npt.ArrayLike) -> Float:
    """Return angles in [0, 360)."""
    wrapped = np.mod(np.asarray(angle_deg, dtype=np.float64), 360.0)
    return np.where(wrapped >= 360.0, 0.0, wrapped)


def pixel_error(a: Poses, b: Poses, *, radius_px: float) -> Float:
    r"""Return the root-mean-square distance between the images of a disc under two poses.

    .. math:: e^2 = 2 r^2 \sin^2(\Delta\alpha / 2) + |\Delta t|^2

    Parameters
    ----------
    a, b : Poses
        Two poses of the same ``n`` images.
    radius_px : float
        Radius of the disc, in pixels.

    Returns
    -------
    ndarray, shape (n,)
        Error in pixels, >= 0; infinite where the mirrors differ.

    Notes
    -----
    For a disc of uniform density, mean |x|^2 = r^2 / 2, whence the factor. SPARX's ``pixel_error_2D`` is the square
    of this with ``r + 1/2`` in place of ``r``.
    """
    half_turn = np.deg2rad(a.angle_deg - b.angle_deg) / 2
    squared = 2 * (radius_px * np.sin(half_turn)) ** 2 + ((a.shift_px - b.shift_px) ** 2).sum(axis=-1)
    error: Float = np.where(a.mirror == b.mirror, np.sqrt(squared), np.inf)
    return error


def to_relion(poses: Poses) -> tuple[Float, Float, npt.NDArray[np.bool_]]:
    """Return poses as RELION writes them.

    Parameters
    ----------
    poses : Poses
        Poses of ``n`` images.

    Returns
    -------
    psi_deg : ndarray, shape (n,)
        ``rlnAnglePsi`` in [-180, 180).
    origin_px : ndarray, shape (n, 2)
        ``rlnOriginX, rlnOriginY`` in pixels.
    flip : ndarray, shape (n,), bool
        ``rlnIsFlip``: reverse x after shifting by the origin and rotating by psi.
    """
    return wrap(-poses.angle_deg + 180.0) - 180.0, rotate(-poses.angle_deg, poses.shift_px), poses.mirror


def from_relion(psi_deg: npt.ArrayLike, origin_px: npt.ArrayLike, flip: npt.ArrayLike) -> Poses:
    """Return the poses that ``to_relion`` writes as ``psi_deg``, ``origin_px`` and ``flip``."""
    angle = wrap(-np.asarray(psi_deg, dtype=np.float64))
    return Poses(angle_deg=angle, shift_px=rotate(angle, origin_px), mirror=np.asarray(flip).astype(bool))


def to_projection(poses: Poses) -> Float:
    """Return poses as those of projections, by which an image that is mirrored is seen from behind.

    Parameters
    ----------
    poses : Poses
        Poses of ``n`` images.

    Returns
    -------
    ndarray, shape (n, 5)
        Rows ``phi, theta, psi`` in degrees and ``s2x, s2y`` in pixels: (0, 0, -a), or (180, 180, 540 - a) where
        mirrored, and R(-a) t.

    Notes
    -----
    As SPARX's ``params_2D_3D``. RELION's ``to_relion`` says the same with ``rlnAngleRot`` 0 and ``rlnAngleTilt`` 180
    where mirrored: turning by phi before tilting by 180 is turning by -phi after it.
    """
    psi = wrap(np.where(poses.mirror, 540.0, 0.0) - poses.angle_deg)
    behind = np.where(poses.mirror, 180.0, 0.0)
    return np.column_stack((behind, behind, psi, rotate(-poses.angle_deg, poses.shift_px)))
