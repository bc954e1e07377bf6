"""Masks, statistics under them, and normalisation by them.

A mask is boolean, True inside; one of shape (h, w) serves all images, one of shape (..., h, w) each its own image.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.ndimage

from cryoisac.errors import DataError
from cryoisac.ops.fourier import Float, Images

Mask = npt.NDArray[np.bool_]


def squared_radius(box_px: int) -> Float:
    """Return the squared distance of each pixel from the centre pixel, shape (box_px, box_px)."""
    line = (np.arange(box_px, dtype=np.float64) - box_px // 2) ** 2
    return line[:, None] + line[None, :]


def circle(radius_px: float, box_px: int) -> Mask:
    """Return the disc of pixels at most ``radius_px`` > 0 from the centre pixel, shape (box_px, box_px)."""
    return (squared_radius(box_px) <= radius_px * radius_px) & (radius_px > 0)


@dataclass(frozen=True, eq=False, kw_only=True)
class Statistics:
    """Statistics of ``n`` images over chosen pixels; each field has shape (n,), or the images' leading shape.

    Parameters
    ----------
    mean : ndarray
        Mean.
    sigma : ndarray
        Sample standard deviation, with one less than the number of pixels.
    minimum, maximum : ndarray
        Extremes.
    """

    mean: Float
    sigma: Float
    minimum: Float
    maximum: Float


def statistics(images: Images, mask: Mask, *, inside: bool = True) -> Statistics:
    """Return statistics of each image inside or outside a mask.

    Parameters
    ----------
    images : ndarray, shape (..., h, w)
        Images.
    mask : ndarray, shape (h, w) or (..., h, w), bool
        Pixels inside.
    inside : bool
        Whether to use those, or all others.

    Returns
    -------
    Statistics
        Fields of shape (...).

    Raises
    ------
    DataError
        When no pixel is chosen.
    """
    chosen = np.asarray(mask if inside else ~mask)
    mean, variance, count = _moments(images, chosen)
    minimum = np.asarray(np.min(images, axis=(-2, -1), where=chosen, initial=np.inf), dtype=np.float64)
    maximum = np.asarray(np.max(images, axis=(-2, -1), where=chosen, initial=-np.inf), dtype=np.float64)
    sigma = np.sqrt(variance * (count / np.maximum(count - 1, 1)))
    return Statistics(mean=mean, sigma=sigma, minimum=minimum, maximum=maximum)


def mean_outside(images: Images, mask: Mask) -> Float:
    """Return the mean of each image of shape (..., h, w) outside a mask; ``DataError`` when no pixel lies there."""
    return _mean(images, ~mask, _count(~mask))


def _moments(images: Images, chosen: Mask) -> tuple[Float, Float, Float]:
    """Return mean, population variance and number of the chosen pixels of each image."""
    count = _count(chosen)
    mean = _mean(images, chosen, count)
    variance = _mean((images - mean[..., None, None]) ** 2, chosen, count)
    return mean, variance, count


def _count(chosen: Mask) -> Float:
    count: Float = chosen.sum(axis=(-2, -1), dtype=np.float64)
    if not np.all(count > 0):
        raise DataError("mask", "covers no pixel, or leaves none; change the radius")
    return count


def _mean(values: npt.NDArray[np.floating], chosen: Mask, count: Float) -> Float:
    """Return the mean of the chosen pixels, summed in float64."""
    mean: Float = np.einsum("...yx,...yx->...", values, chosen.astype(np.float64), dtype=np.float64) / count
    return mean


def normalise_inside(images: Images, mask: Mask, *, mean_only: bool = False) -> Images:
    """Bring the pixels inside a mask to mean 0 and population standard deviation 1.

    Parameters
    ----------
    images : ndarray, shape (..., h, w)
        Images.
    mask : ndarray, shape (h, w) or (..., h, w), bool
        Pixels inside.
    mean_only : bool
        Leave the standard deviation as it is.

    Returns
    -------
    ndarray, shape (..., h, w)
        All pixels of the images, shifted and scaled.

    Raises
    ------
    DataError
        When an image is constant inside the mask.
    """
    mean, variance, _ = _moments(images, mask)
    scale = np.ones_like(variance) if mean_only else _inverse(np.sqrt(variance))
    return shift_and_scale(images, mean, scale)


def shift_and_scale(images: Images, mean: Float, scale: Float) -> Images:
    """Return (image - mean) · scale for each image of shape (..., h, w), in the images' precision."""
    moved: Images = ((images - mean[..., None, None]) * scale[..., None, None]).astype(images.dtype, copy=False)
    return moved


def _inverse(sigma: Float) -> Float:
    if not np.all(sigma > 0):
        raise DataError("image", f"{_first_bad(sigma)} is constant under the mask; remove it")
    return 1.0 / sigma


def _first_bad(sigma: Float) -> int:
    """Return the flat index of the first value that is not positive."""
    return int(np.argmin(np.ravel(sigma > 0)))


def cosine_edge(radius_px: float, width_px: float, box_px: int) -> Float:
    """Return 0 up to a radius, 1 from a width beyond it, and a cosine in between, shape (box_px, box_px)."""
    return cosine_rise(np.sqrt(squared_radius(box_px)), radius_px, width_px)


def cosine_rise(distance_px: Float, start_px: float, width_px: float) -> Float:
    """Return 0 for distances below a start, 1 from a width beyond it, and a cosine in between, in their shape."""
    edge = 0.5 + 0.5 * np.cos(np.pi * np.clip(start_px + width_px - distance_px, 0.0, None) / max(width_px, 1e-30))
    return np.where(distance_px < start_px, 0.0, np.where(distance_px < start_px + width_px, edge, 1.0))


def soften(images: Images, radius_px: float, width_px: float, *, background: npt.ArrayLike | None = None) -> Images:
    r"""Blend square images into their background with a cosine edge.

    .. math:: w(r) = \tfrac12 + \tfrac12 \cos(\pi (r_0 + d - r) / d), \quad r_0 \le r < r_0 + d

    Parameters
    ----------
    images : ndarray, shape (..., n, n)
        Images.
    radius_px, width_px : float
        Radius r0 up to which nothing changes, and width d of the edge.
    background : array_like, shape () or (...), optional
        Value outside; the mean weighted by w of each image by default.

    Returns
    -------
    ndarray, shape (..., n, n)
        Softened images.

    Notes
    -----
    SPARX's ``cosinemask``.
    """
    weight = cosine_edge(radius_px, width_px, images.shape[-1])
    if background is None:
        if not weight.any():
            return images.copy()
        background = np.einsum("...yx,yx->...", images, weight, dtype=np.float64) / weight.sum()
    outside = np.asarray(background, dtype=np.float64)[..., None, None]
    softened: Images = (images * (1 - weight) + outside * weight).astype(images.dtype, copy=False)
    return softened


def filament_rectangle(
    box_px: int, half_width_px: int, angle_deg: npt.ArrayLike, *, half_length_px: int | None = None
) -> Mask:
    """Return bars along filaments through the centre pixel.

    Parameters
    ----------
    box_px : int
        Side of the masks.
    half_width_px : int
        A bar has 2 · half_width_px rows before it is turned, the centre row below the middle.
    angle_deg : array_like, shape (...)
        Angles of the filaments, positive from x towards -y.
    half_length_px : int, optional
        Half length of the bars; half the diagonal of the box by default, so that they cross it.

    Returns
    -------
    ndarray, shape (..., box_px, box_px), bool
        True on the bar.

    Notes
    -----
    As SPHIRE's ISAC: a horizontal bar turned by a cubic spline, True where that exceeds 0.9. The spline of a bar is the
    product of those of its two profiles.
    """
    half_length = int(np.sqrt(2.0 * box_px * box_px)) // 2 if half_length_px is None else half_length_px
    side = max(box_px, 2 * half_length)
    angle = np.deg2rad(np.asarray(angle_deg, dtype=np.float64))[..., None, None]
    line = (
        np.arange(box_px) - box_px // 2 + side // 2 - (side - 1) / 2
    )  # what turns is the middle, not the centre pixel
    x, y = line, line[:, None]
    along = _bar_profile(np.cos(angle) * x - np.sin(angle) * y, half_length, side)
    inside: Mask = along * _bar_profile(np.sin(angle) * x + np.cos(angle) * y, half_width_px, side) > 0.9
    return inside


def _bar_profile(distance_px: Float, half_px: int, side: int) -> Float:
    """Return the cubic spline of 1 over 2 · half_px pixels and 0 beyond, at distances from its middle."""
    profile = np.zeros(side)
    profile[max(side // 2 - half_px, 0) : side // 2 + half_px] = 1.0
    spline: Float = scipy.ndimage.map_coordinates(profile, (distance_px + (side - 1) / 2)[None], order=3)
    return spline
