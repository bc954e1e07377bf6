"""Images under poses, their sums, and numbers that compare images and poses."""

from typing import TypedDict, Unpack

import numpy as np
import numpy.typing as npt

from cryoisac.api.arrays import PoseRows, as_array, as_images, as_labels, as_poses
from cryoisac.engine.devices import USUAL, choose_devices
from cryoisac.engine.moving import Moving
from cryoisac.engine.moving import class_sums as sums_of
from cryoisac.errors import DataError
from cryoisac.model.poses import pixel_error as error_px
from cryoisac.ops.spectra import RingCorrelation, ring_correlation
from cryoisac.settings.transform import Method, Outside

Float = npt.NDArray[np.float64]
Images = npt.NDArray[np.float32]


class How(TypedDict, total=False):
    """How images are moved, as ``transform`` takes it."""

    method: Method
    outside: Outside
    threads: int | None
    device: str


def transform(
    images: npt.ArrayLike,
    poses: PoseRows,
    *,
    method: Method = "quadratic",
    outside: Outside = "background",
    threads: int | None = None,
    device: str = USUAL,
) -> Images:
    """Return images under their poses: out(x) = in(R(-a)(M^m x - t) / s).

    Parameters
    ----------
    images : array_like, shape (n, h, w)
        Images.
    poses : Poses or array_like, shape (n, 4) or (n, 5)
        Poses, or rows ``angle_deg, x, y, mirror`` with a scale (how much an image is enlarged) for a fifth column.
    method : {"quadratic", "linear", "cubic", "fourier"}
        Interpolation: six-point quadratic, bilinear, cubic over sixteen points, or the image's trigonometric
        polynomial, which moves a band-limited image exactly.
    outside : {"background", "cyclic"} or float
        What a point outside its image takes: the image's pixel at the output position, the image repeated, or this
        value.
    threads : int, optional
        Threads; by default all cores that this process may use. The result does not depend on them.
    device : str
        What computes: ``"cpu"`` for compiled kernels, ``"cuda:0"`` for a GPU.

    Returns
    -------
    ndarray, shape (n, h, w), float32
        Moved images.

    Raises
    ------
    DataError
        When images and poses do not pair up, or a pose is not a number.
    SettingError
        When a method or rule is unknown.

    Notes
    -----
    SPARX's ``rot_shift2D``, to 3e-7 on images of unit scale. Images are moved in compiled code on all cores.
    """
    pixels = as_images(images)
    placed, scale = as_poses(poses, len(pixels))
    return _moving(method=method, outside=outside, threads=threads, device=device).move(pixels, placed, scale)


def _moving(
    *,
    method: Method = "quadratic",
    outside: Outside = "background",
    threads: int | None = None,
    device: str = USUAL,
) -> Moving:
    return Moving(method=method, outside=outside, threads=threads, devices=choose_devices(device))


def class_sums(
    images: npt.ArrayLike,
    poses: PoseRows,
    labels: npt.ArrayLike,
    k: int | None = None,
    **how: Unpack[How],
) -> Float:
    """Return the sum over each class of its images under their poses; no moved image is kept.

    Parameters
    ----------
    images, poses
        As for ``transform``.
    labels : array_like, shape (n,)
        Class of each image from 0; images with -1 are left out.
    k : int, optional
        Number of classes; by default one more than the largest label.
    **how
        ``method``, ``outside``, ``threads`` and ``device``, as for ``transform``.

    Returns
    -------
    ndarray, shape (k, h, w), float64
        Sums; a class without images is zero.
    """
    pixels = as_images(images)
    placed, scale = as_poses(poses, len(pixels))
    label = as_labels(labels, len(pixels))
    count = int(label.max(initial=-1)) + 1 if k is None else k
    return sums_of(pixels, placed, label, count, scale=scale, moving=_moving(**how))


def class_averages(
    images: npt.ArrayLike,
    poses: PoseRows,
    labels: npt.ArrayLike,
    k: int | None = None,
    **how: Unpack[How],
) -> Images:
    """Return the mean over each class of its images under their poses.

    Parameters
    ----------
    images, poses, labels, k, **how
        As for ``class_sums``.

    Returns
    -------
    ndarray, shape (k, h, w), float32
        Averages; a class without images is zero.
    """
    sums = class_sums(images, poses, labels, k, **how)
    label = as_array(labels).astype(np.int64)
    count = np.bincount(label[label >= 0], minlength=len(sums))
    return (sums / np.maximum(count, 1)[:, None, None]).astype(np.float32)


def frc(a: npt.ArrayLike, b: npt.ArrayLike, *, mask: npt.ArrayLike | None = None) -> RingCorrelation:
    """Return the Fourier ring correlation of two images, or of two stacks image by image.

    Parameters
    ----------
    a, b : array_like, shape (..., n, n)
        Images.
    mask : array_like, shape (n, n), bool, optional
        Subtract the mean inside, and set to 0 what is outside, first.

    Returns
    -------
    RingCorrelation
        ``frequency`` in cycles per pixel, shape (r,); ``correlation``, shape (..., r); ``count``, shape (r,).

    Raises
    ------
    DataError
        When the images differ in shape, or are not square.
    """
    first, second = (as_array(x).astype(np.float32) for x in (a, b))
    if first.ndim < 2 or first.shape[-1] != first.shape[-2]:
        raise DataError("images", f"have shape {first.shape}; a ring correlation is that of square images")
    inside = None if mask is None else as_array(mask).astype(bool)
    if inside is not None and inside.shape != first.shape[-2:]:
        raise DataError("mask", f"has shape {inside.shape} for images of {first.shape[-2:]}")
    return ring_correlation(first, second, mask=inside)


def pixel_error(a: PoseRows, b: PoseRows, *, radius_px: float) -> Float:
    """Return the root-mean-square distance between the images of a disc under two poses, in pixels.

    Parameters
    ----------
    a, b : Poses or array_like, shape (n, 4)
        Two poses of the same images.
    radius_px : float
        Radius of the disc, in pixels.

    Returns
    -------
    ndarray, shape (n,)
        sqrt(2 r^2 sin^2(da / 2) + |dt|^2); infinite where the mirrors differ.
    """
    first, _ = as_poses(a)
    second, _ = as_poses(b, len(first))
    return error_px(first, second, radius_px=radius_px)
