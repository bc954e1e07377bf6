"""How large the particles are, from images nobody has aligned."""

import numpy as np

from cryoisac.errors import DataError
from cryoisac.ops.filters import tangent_lowpass
from cryoisac.ops.fourier import Float, Images
from cryoisac.ops.masks import Mask, circle, mean_outside, statistics
from cryoisac.ops.outliers import FAR, deviations
from cryoisac.ops.spectra import rotational_average

_BLOCK = 64
# cycles per image side that are kept, share of a peak where it ends, sigmas of what is no noise, room left around
_DETAIL, _END, _SURE, _ROOM = 16.0, 0.1, 4.0, 1.06
_COARSE = 4.0  # cycles per image side that ice and edges have most of


def estimate_radius(images: Images) -> float:
    """Estimate the radius of a disc around the particles.

    Parameters
    ----------
    images : ndarray, shape (n, h, h)
        A sample of raw particle images, roughly centred, particles white; a few hundred suffice.

    Returns
    -------
    float
        Radius in pixels, with a little room around the particle; at most h // 2 - 1.

    Raises
    ------
    DataError
        When the images are not square, no particle stands out, or it does not end within the box.

    Notes
    -----
    Each image is low-passed, its background subtracted and its contrast normalised. Around the centre the mean over
    images is bright as far as the particle is like a ball; where views differ their variance reaches further. The
    radius is where the mean has fallen to a tenth, or, further out, where the variance has fallen to a tenth, or to
    its noise, on its way to its least. Neighbours only raise the variance again, and do not count. Particles off the
    centre make the radius larger by as much. Images whose low frequencies are far stronger than those of the others
    are left out.
    """
    kept = images[deviations(strengths(images)) <= FAR]
    return radius_of(sums_of(kept), len(kept))


def strengths(images: Images) -> Float:
    """Return the share of each image's variance at low frequency, shape (n,): far larger for ice, carbon and edges."""
    box_px = images.shape[-1]
    strength = np.zeros(len(images))
    for start in range(0, len(images), _BLOCK):
        block = images[start : start + _BLOCK].astype(np.float32, copy=False)
        smooth = tangent_lowpass(block, _COARSE / box_px, 0.5)
        varies = np.maximum(block.var(axis=(1, 2), dtype=np.float64), np.finfo(np.float32).tiny)
        strength[start : start + _BLOCK] = smooth.var(axis=(1, 2), dtype=np.float64) / varies
    return strength


def sums_of(images: Images) -> Float:
    """Return what ``radius_of`` needs to know of images: add up what this returns for parts of a sample.

    Parameters
    ----------
    images : ndarray, shape (n, h, h)
        Raw particle images.

    Returns
    -------
    ndarray, shape (2, h, h)
        Sum of the images low-passed, with background 0 and sigma 1; and of their squares.

    Raises
    ------
    DataError
        When the images are not square, or one is constant.
    """
    if images.ndim != 3 or images.shape[1] != images.shape[2]:
        raise DataError("radius", f"images of shape {images.shape} are not a stack of squares; hand over (n, h, h)")
    box_px = images.shape[-1]
    inner = circle(box_px / 2, box_px)
    sums = np.zeros((2, box_px, box_px))
    for start in range(0, len(images), _BLOCK):
        block = images[start : start + _BLOCK].astype(np.float32, copy=False)
        sigma = block.std(axis=(1, 2), keepdims=True)
        if not np.all(sigma > 0):
            raise DataError("image", f"{start + int(np.argmin(sigma > 0))} of the sample is constant; remove it")
        standard = (block - mean_outside(block, inner)[:, None, None]) / sigma
        smooth = tangent_lowpass(standard.astype(np.float32), _DETAIL / box_px, 0.5)
        sums[0] += smooth.sum(axis=0, dtype=np.float64)
        sums[1] += np.square(smooth, dtype=np.float64).sum(axis=0)
    return sums


def radius_of(sums: Float, n: int) -> float:
    """Return the radius that ``estimate_radius`` finds from the ``sums_of`` ``n`` images, added up."""
    box_px = sums.shape[-1]
    corners = ~circle(box_px / 2, box_px)
    mean = sums[0] / n
    variance = sums[1] / n - mean * mean
    background = statistics(mean.astype(np.float32), corners)
    bright = rotational_average(mean) - background.mean
    first = box_px // 16  # too few pixels lie further in
    if bright[first:].max() < _SURE * background.sigma:
        raise DataError("radius", "no white particle stands out in the mean of the images; give --radius")
    peak = first + int(np.argmax(bright[first:]))
    edge = peak + _fall(bright[peak:], _END * bright[peak])
    edge = _reach_of_variance(variance, corners, edge)
    if edge >= box_px // 2:
        raise DataError("radius", "the particle does not end within its box; give --radius, or use a larger box")
    return float(min(_ROOM * edge, box_px // 2 - 1.0))


def _reach_of_variance(variance: Float, corners: Mask, edge: float) -> float:
    """Return where the variance ends its fall to the least value beyond ``edge``; or ``edge``, if it is no higher."""
    box_px = len(variance)
    profile = rotational_average(variance)
    profile[1:-1] = (profile[:-2] + profile[1:-1] + profile[2:]) / 3
    inner = min(int(edge), len(profile) - 1)
    excess = profile - profile[inner:].min()
    # the low-pass leaves about 2 _DETAIL / box_px independent values a pixel along a ring
    noise = variance[corners].std() / np.sqrt(2 * np.pi * inner * 2 * _DETAIL / box_px)
    level = max(_END * excess[box_px // 16 : inner + 1].max(), _SURE * noise)
    return max(edge, inner + _fall(excess[inner:], level))


def _fall(profile: Float, level: float) -> float:
    """Return where a profile first is at or below ``level``, linear in between; its length if it never is."""
    below = np.flatnonzero(profile <= level)
    if not len(below):
        return float(len(profile))
    outer = int(below[0])
    if outer == 0:
        return 0.0
    return float(outer - (level - profile[outer]) / (profile[outer - 1] - profile[outer]))
