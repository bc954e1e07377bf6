"""Images laid on a reference with hardly any loss: cubic splines through a grid twice as fine."""

import numpy as np
import numpy.typing as npt
import scipy.fft
import scipy.ndimage

from cryoisac.errors import DataError
from cryoisac.model.poses import Poses
from cryoisac.ops.fourier import Float, Images, absolute_frequency

FINER = 2  # grid points a pixel, along each axis: a cubic spline through them misses less than one part in 300


def lay(images: Images, poses: Poses) -> Images:
    """Return images under their poses, out(x) = in(R(-a)(M^m x - t)), 0 where a point lies outside its image.

    Parameters
    ----------
    images : ndarray, shape (n, h, h)
        Images.
    poses : Poses
        One an image.

    Returns
    -------
    ndarray, shape (n, h, h), float32
        Moved images; frequencies from 1/2 cycle per pixel on, in whatever direction, are left out.

    Raises
    ------
    DataError
        When images are not square, or do not pair up with the poses.
    """
    if images.ndim != 3 or images.shape[1] != images.shape[2]:
        raise DataError("images", f"shape {images.shape}: need a stack of squares, (n, h, h)")
    return lay_spectra(scipy.fft.rfft2(images), poses)


def lay_spectra(spectra: npt.NDArray[np.complexfloating], poses: Poses) -> Images:
    """Return the images of real Fourier transforms, shape (n, h, h // 2 + 1), under their poses; see ``lay``."""
    box = spectra.shape[1]
    if len(spectra) != len(poses):
        raise DataError("images", f"{len(spectra)} images with {len(poses)} poses: need one pose for each image")
    fine = _coefficients(spectra)
    moved = np.empty((len(poses), box, box), dtype=np.float32)
    matrices, offsets = _sources(poses, box)
    for image, matrix, offset, target in zip(fine, matrices, offsets, moved, strict=True):  # each its own rotation
        scipy.ndimage.affine_transform(
            image, matrix, offset, output_shape=(box, box), output=target, order=3, mode="constant", prefilter=False
        )
    return moved


def _coefficients(spectra: npt.NDArray[np.complexfloating]) -> Images:
    """Return the coefficients of cubic splines through images on the fine grid, shape (n, FINER h, FINER h)."""
    n, box, columns = spectra.shape
    response = FINER**2 * (absolute_frequency((box, box)) < 0.5) / _spline_response(box)
    kept = spectra * response.astype(spectra.real.dtype)
    low = (box + 1) // 2  # rows of frequency 0 and above; that of 1/2 is empty
    wide = np.zeros((n, FINER * box, FINER * box // 2 + 1), dtype=spectra.dtype)
    wide[:, :low, :columns] = kept[:, :low]
    wide[:, low - box :, :columns] = kept[:, low:]
    fine: Images = scipy.fft.irfft2(wide, s=(FINER * box, FINER * box), overwrite_x=True)
    return fine


def _spline_response(box_px: int) -> Float:
    """Return what sampling a cubic B-spline on the fine grid does to each frequency, shape (h, h // 2 + 1)."""
    y = (2 + np.cos(2 * np.pi * np.fft.fftfreq(box_px) / FINER)) / 3
    x = (2 + np.cos(2 * np.pi * np.fft.rfftfreq(box_px) / FINER)) / 3
    response: Float = y[:, None] * x[None, :]
    return response


def _sources(poses: Poses, box_px: int) -> tuple[Float, Float]:
    """Return the matrices (n, 2, 2) and offsets (n, 2) from (row, column) of the result to those of the fine grid."""
    angle, centre = np.deg2rad(poses.angle_deg), box_px // 2
    c, s = np.cos(angle), np.sin(angle)
    flip = np.where(poses.mirror, -1.0, 1.0)
    matrices = np.stack((np.stack((c, s * flip), axis=-1), np.stack((-s, c * flip), axis=-1)), axis=1)
    shift = poses.shift_px[:, ::-1]  # (y, x), before the mirror
    turn = np.stack((np.stack((c, s), axis=-1), np.stack((-s, c), axis=-1)), axis=1)
    middle = np.full(2, float(centre))
    offsets = middle - matrices @ middle - np.einsum("nij,nj->ni", turn, shift)
    return FINER * matrices, FINER * offsets
