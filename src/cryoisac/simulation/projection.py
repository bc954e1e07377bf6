"""Projections of a density by the Fourier slice theorem, in any orientation, without interpolating an image."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.fft
from scipy.ndimage import map_coordinates

from cryoisac.simulation.density import Density

Float = npt.NDArray[np.float64]
PADDING = 2


def orientation(rot_deg: npt.ArrayLike, tilt_deg: npt.ArrayLike, psi_deg: npt.ArrayLike) -> Float:
    """Return the matrices A = Rz(psi) Ry(tilt) Rz(rot) of RELION's Euler angles.

    A point r of the density is seen at the first two components of A r; the third row of A is the viewing direction.

    Parameters
    ----------
    rot_deg, tilt_deg, psi_deg : array_like, shape (n,)
        Euler angles in degrees, as ``rlnAngleRot``, ``rlnAngleTilt`` and ``rlnAnglePsi``.

    Returns
    -------
    ndarray, shape (n, 3, 3)
        One matrix an image.

    Notes
    -----
    RELION's convention (Heymann, Chagoyen & Belnap 2005, ZYZ): coordinates turn, not the density.
    """
    rot, tilt, psi = np.broadcast_arrays(*(np.atleast_1d(np.asarray(a, float)) for a in (rot_deg, tilt_deg, psi_deg)))
    matrices: Float = _about_z(psi) @ _about_y(tilt) @ _about_z(rot)
    return matrices


def euler_angles(matrices: Float) -> tuple[Float, Float, Float]:
    """Return ``rot, tilt, psi`` in degrees, tilt in [0, 180], of matrices (n, 3, 3); undoes ``orientation``."""
    a = np.asarray(matrices, dtype=np.float64)
    tilt = np.arctan2(np.hypot(a[:, 2, 0], a[:, 2, 1]), a[:, 2, 2])
    upright = np.hypot(a[:, 2, 0], a[:, 2, 1]) < 1e-9
    rot = np.where(upright, 0.0, np.arctan2(a[:, 2, 1], a[:, 2, 0]))
    psi = np.where(upright, np.arctan2(a[:, 0, 1], a[:, 1, 1]), np.arctan2(a[:, 1, 2], -a[:, 0, 2]))
    return np.rad2deg(rot), np.rad2deg(tilt), np.rad2deg(psi)


def _about_z(angle_deg: Float) -> Float:
    a = np.deg2rad(angle_deg)
    c, s, zero, one = np.cos(a), np.sin(a), np.zeros_like(a), np.ones_like(a)
    return np.stack([np.stack(row, -1) for row in ((c, s, zero), (-s, c, zero), (zero, zero, one))], -2)


def _about_y(angle_deg: Float) -> Float:
    a = np.deg2rad(angle_deg)
    c, s, zero, one = np.cos(a), np.sin(a), np.zeros_like(a), np.ones_like(a)
    return np.stack([np.stack(row, -1) for row in ((c, zero, -s), (zero, one, zero), (s, zero, c))], -2)


@dataclass(frozen=True)
class _Plane:
    """The Fourier pixels of an image, half plane: frequencies and which of them lie inside the band limit."""

    frequency: Float
    inside: npt.NDArray[np.bool_]


def _half_plane(box_px: int, limit: float) -> _Plane:
    x, y = np.meshgrid(np.fft.rfftfreq(box_px), np.fft.fftfreq(box_px))
    frequency = np.stack((x, y), axis=-1)
    return _Plane(frequency, np.hypot(x, y) < limit)


class Projector:
    r"""Makes projections of one density, in Fourier space and in pixels.

    With A the orientation of an image and o the point of the image at which the density's centre lies,

    .. math:: \hat I(k) = \hat V(A^T (k_x, k_y, 0)) \, e^{-2\pi i k \cdot o}, \qquad |k| < 1/2

    so that rotating, shifting and mirroring an image is exact, and an image is band-limited alike in every pose.

    Parameters
    ----------
    density : Density
        What is projected; its centre is the voxel d // 2.
    box_px : int
        Side of the images.
    pixel_size_A : float
        Pixel size of the images.

    Notes
    -----
    The density is padded to twice its side and divided by sinc⁴ along each axis, and its transform is interpolated by
    the cubic B-spline whose transform that is (gridding; Penczek, Renka & Schomberg 2004 use a Kaiser-Bessel window).
    """

    def __init__(self, density: Density, *, box_px: int, pixel_size_A: float) -> None:
        self.box_px = box_px
        self._scale = density.pixel_size_A / pixel_size_A
        self._plane = _half_plane(box_px, min(0.5, 0.5 / self._scale))
        side = density.values.shape[0] * PADDING
        transform = _gridding_transform(density.values, side)
        self._real = np.ascontiguousarray(transform.real, dtype=np.float32)
        self._imaginary = np.ascontiguousarray(transform.imag, dtype=np.float32)

    def spectra(self, matrices: Float, offset_px: Float) -> npt.NDArray[np.complex64]:
        """Return the transforms (NumPy's ``rfft2`` of the images) of projections.

        Parameters
        ----------
        matrices : ndarray, shape (n, 3, 3)
            Orientations A; only the first two rows count, so that a mirrored image may be given by negating row 0.
        offset_px : ndarray, shape (n, 2)
            Where (x, y) the density's centre lies, in pixels relative to the centre pixel.

        Returns
        -------
        ndarray, shape (n, box_px, box_px // 2 + 1), complex64
        """
        k = self._plane.frequency[self._plane.inside]
        points = k @ np.asarray(matrices, dtype=np.float64)[:, :2, :] * self._scale
        side = self._real.shape[0]
        where = np.moveaxis(points[..., ::-1], -1, 0) * side + side // 2
        values = _spline(self._real, where) + 1j * _spline(self._imaginary, where)
        origin = np.asarray(offset_px, dtype=np.float64) + self.box_px // 2
        values *= np.exp(-2j * np.pi * (origin @ k.T))
        spectra = np.zeros((len(matrices), self.box_px, self.box_px // 2 + 1), dtype=np.complex64)
        spectra[:, self._plane.inside] = values
        return spectra

    def project(self, matrices: Float, offset_px: Float | None = None) -> npt.NDArray[np.float32]:
        """Return projections, shape (n, box_px, box_px); arguments as for ``spectra``, no offset by default."""
        offset = np.zeros((len(matrices), 2)) if offset_px is None else offset_px
        return to_pixels(self.spectra(matrices, offset), self.box_px)


def to_pixels(spectra: npt.NDArray[np.complex64], box_px: int) -> npt.NDArray[np.float32]:
    """Return the images, shape (n, box_px, box_px), whose ``rfft2`` is ``spectra``."""
    images: npt.NDArray[np.float32] = scipy.fft.irfft2(spectra, s=(box_px, box_px)).astype(np.float32, copy=False)
    return images


def _spline(values: npt.NDArray[np.float32], where: Float) -> Float:
    """Cubic B-spline with coefficients ``values`` at points ``where``, shape (3, n, k); periodic."""
    found: Float = map_coordinates(values, where, order=3, mode="grid-wrap", prefilter=False, output=np.float64)
    return found


def _gridding_transform(values: npt.NDArray[np.float32], side: int) -> npt.NDArray[np.complex128]:
    """Centred transform, shape (side, side, side), of a density divided by the transform of the cubic B-spline."""
    d = values.shape[0]
    correction = np.sinc((np.arange(d) - d // 2) / side) ** 4
    low = side // 2 - d // 2
    padded = np.zeros((side, side, side))
    padded[low : low + d, low : low + d, low : low + d] = values / (
        correction[:, None, None] * correction[:, None] * correction
    )
    transform: npt.NDArray[np.complex128] = np.fft.fftshift(scipy.fft.fftn(np.fft.ifftshift(padded), workers=2))
    return transform
