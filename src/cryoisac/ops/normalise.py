"""Images of one size and contrast: background 0, particle sigma 1."""

import numpy as np

from cryoisac.errors import DataError
from cryoisac.ops.fourier import Images, pad, window
from cryoisac.ops.masks import Mask, circle, mean_outside, shift_and_scale, statistics


def subtract_background(images: Images, mask: Mask) -> Images:
    """Subtract from each image its mean outside a mask.

    Parameters
    ----------
    images : ndarray, shape (..., h, w)
        Images.
    mask : ndarray, shape (h, w) or (..., h, w), bool
        Pixels inside.

    Returns
    -------
    ndarray, shape (..., h, w)
        Images whose background has mean 0.

    Raises
    ------
    DataError
        When no pixel lies outside.
    """
    background = mean_outside(images, mask)[..., None, None]
    return (images - background).astype(images.dtype, copy=False)


def normalise_contrast(images: Images, mask: Mask) -> Images:
    """Bring each image to mean 0 outside a mask and sample standard deviation 1 inside.

    Parameters
    ----------
    images : ndarray, shape (..., h, w)
        Images.
    mask : ndarray, shape (h, w) or (..., h, w), bool
        Pixels inside.

    Returns
    -------
    ndarray, shape (..., h, w)
        Normalised images.

    Raises
    ------
    DataError
        When an image is constant or not finite inside, or no pixel lies outside.

    Notes
    -----
    What SPHIRE's ISAC does; its manual says mean inside and sigma outside.
    """
    mean = mean_outside(images, mask)
    sigma = statistics(images, mask).sigma
    bad = ~(np.isfinite(mean) & np.isfinite(sigma) & (sigma > 0))
    if bad.any():
        raise DataError("image", f"{int(np.argmax(bad))} is constant or has values that are not finite; remove it")
    return shift_and_scale(images, mean, 1.0 / sigma)


def working_mask(resampled_px: int, box_px: int, radius_px: float) -> Mask:
    """Return the disc by which resampled images are normalised.

    Parameters
    ----------
    resampled_px : int
        Side of the resampled images.
    box_px : int
        Side of the working images.
    radius_px : float
        Radius of the particle, in working pixels.

    Returns
    -------
    ndarray, bool
        The particle's disc in the working box; or, where the resampled images are smaller than that, all but two
        pixels of theirs.
    """
    if resampled_px >= box_px:
        return circle(radius_px, box_px)
    return circle(resampled_px // 2 - 2, resampled_px)


def working_images(
    resampled: Images, box_px: int, *, radius_px: float, mask: Mask | None = None, burn: bool = False
) -> Images:
    """Normalise resampled images and bring them to the working box.

    Parameters
    ----------
    resampled : ndarray, shape (..., s, s)
        Images at the working pixel size.
    box_px : int
        Side of the working images: what lies beyond is cut off, what is missing is 0.
    radius_px : float
        Radius of the particle, in working pixels.
    mask : ndarray, shape (m, m) or (..., m, m), bool, optional
        Use this instead of the disc of ``working_mask``, m = min(s, box_px): for filaments.
    burn : bool
        Set what is outside ``mask`` to 0.

    Returns
    -------
    ndarray, shape (..., box_px, box_px)
        Working images.

    Raises
    ------
    DataError
        When an image is constant inside the mask, or no pixel lies outside it.
    """
    side = resampled.shape[-1]
    inner = window(resampled, min(side, box_px))
    chosen = working_mask(side, box_px, radius_px) if mask is None else mask
    normalised = normalise_contrast(inner, chosen)
    if burn:
        normalised *= chosen
    return pad(normalised, box_px)
