"""Where the centre of an average is, by the methods of SPARX, and references made of averages."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.fft
import scipy.ndimage

from cryoisac.errors import SettingError
from cryoisac.ops.filters import fit_tangent, tangent_lowpass
from cryoisac.ops.fourier import Images, shift
from cryoisac.ops.masks import Mask, circle, normalise_inside, squared_radius, statistics
from cryoisac.ops.spectra import RingCorrelation, rotational_average_image

Point = tuple[float, float]

HIGHEST_CUTOFF = 0.4  # of references, in cycles per pixel

_MOST_ROUNDS = 100


def centre_shift(image: Images, method: int, mask: Mask | None = None) -> Point:
    """Find how far what an image shows lies from its centre pixel.

    Parameters
    ----------
    image : ndarray, shape (n, n)
        An average, its background near 0.
    method : int
        0 nothing; 1 phase of the first Fourier coefficient along each axis; 2 to 4 correlation with a Gaussian of
        2 px, a ring and ``mask``; 5 repeated correlation with its own rotational average; 6 method 1 on what exceeds
        mean + sigma; 7 correlation of what exceeds mean + sigma with ``mask``.
    mask : ndarray, shape (n, n), bool, optional
        Shape of the particle, centred; for methods 4 and 7.

    Returns
    -------
    x, y : float
        Distance from the centre pixel, in pixels; shift the image by the negative to centre it. Whole for 2 to 4 and
        in steps for 5 and 7.

    Raises
    ------
    SettingError
        When the method is unknown, or needs a mask.

    Notes
    -----
    SPARX's ``center_2D`` without limits of its search.
    """
    if method in (4, 7) and mask is None:
        raise SettingError("--center-method", f"{method} needs a mask; hand over the disc of the particle")
    n = image.shape[-1]
    match method:
        case 0:
            return 0.0, 0.0
        case 1:
            return _phase_centre(image)
        case 2:
            return _strict_peak(_correlation(image, _gaussian(n, 2.0)))
        case 3:
            return _strict_peak(_correlation(image, _gaussian(n, 7.0) - _gaussian(n, 2.0)))
        case 4:
            return _strict_peak(_correlation(image, np.asarray(mask, dtype=np.float32)))
        case 5:
            return _self_centre(image)
        case 6:
            inner = statistics(image, circle(n // 2 - 2, n))
            return _phase_centre(np.maximum(image, inner.mean + inner.sigma))
        case 7:
            return _top_centre(_correlation(_solid(image), np.asarray(mask, dtype=np.float32)))
        case _:
            raise SettingError("--center-method", f"is {method}; choose 0 to 7")


def centre(image: Images, method: int, mask: Mask | None = None) -> tuple[Images, Point]:
    """Move what an image shows to the centre pixel; return the image and what ``centre_shift`` found."""
    x, y = centre_shift(image, method, mask)
    if method == 0:
        return image, (x, y)
    if method == 7:
        x, y = float(np.rint(x)), float(np.rint(y))
        return np.roll(image, (-int(y), -int(x)), axis=(0, 1)), (x, y)
    return shift(image, (-x, -y)), (x, y)


@dataclass(frozen=True, eq=False, kw_only=True)
class Reference:
    """A reference made of an average.

    Parameters
    ----------
    image : ndarray, shape (n, n)
        The reference.
    centre_px : tuple of float
        Where the particle was, (x, y) from the centre pixel; the image was shifted by the negative.
    cutoff, falloff : float
        The low-pass filter that was applied, in cycles per pixel and relative to it.
    """

    image: Images
    centre_px: Point
    cutoff: float
    falloff: float


def prepare_reference(
    average: Images, mask: Mask, frc: RingCorrelation, method: int, *, lowest_cutoff: float = 0.12
) -> Reference:
    """Make a reference of an average: mask it, low-pass it where its halves agree, centre it.

    Parameters
    ----------
    average : ndarray, shape (n, n)
        The average.
    mask : ndarray, shape (n, n), bool
        Disc of the particle: the mean inside is subtracted, the outside set to 0.
    frc : RingCorrelation
        Agreement of the two halves.
    method : int
        How to centre; see ``centre_shift``.
    lowest_cutoff : float
        Least cut-off, in cycles per pixel.

    Returns
    -------
    Reference
        Image, centre and filter.

    Notes
    -----
    SPARX's ``ref_ali2d``: cut-off within 0.12 and 0.4, fall-off at most 0.2.
    """
    cutoff, falloff = fit_tangent(frc.frequency, frc.correlation)
    cutoff, falloff = float(np.clip(cutoff, lowest_cutoff, HIGHEST_CUTOFF)), min(falloff, 0.2)
    masked = normalise_inside(average, mask, mean_only=True) * mask
    image, at = centre(tangent_lowpass(masked, cutoff, falloff), method, mask)
    return Reference(image=image, centre_px=at, cutoff=cutoff, falloff=falloff)


def _phase_centre(image: Images) -> Point:
    """Return the centre of gravity on a circle: the phase of the first coefficient of the sums along each axis."""
    n = image.shape[-1]
    wave = np.exp(2j * np.pi * np.arange(n) / n)
    turns = [np.mod(np.angle(image.sum(axis=axis, dtype=np.float64) @ wave) / (2 * np.pi), 1.0) for axis in (0, 1)]
    return float(turns[0] * n - n // 2), float(turns[1] * n - n // 2)


def _gaussian(n: int, sigma_px: float) -> npt.NDArray[np.float32]:
    return np.exp(-squared_radius(n) / (2 * sigma_px**2)).astype(np.float32)


def _correlation(image: Images, other: Images) -> Images:
    """Return the circular cross-correlation, no shift at the centre pixel."""
    product = scipy.fft.rfft2(image) * scipy.fft.rfft2(other).conj()
    correlation = scipy.fft.irfft2(product, s=image.shape)
    rolled: Images = np.roll(correlation, [n // 2 for n in image.shape], axis=(0, 1))
    return rolled


def _strict_peak(correlation: Images) -> Point:
    """Return the place of the greatest pixel that exceeds its eight neighbours, borders left out; or (0, 0)."""
    around = np.ones((3, 3), dtype=bool)
    around[1, 1] = False
    peak = correlation > scipy.ndimage.maximum_filter(correlation, footprint=around)
    peak[[0, -1], :] = peak[:, [0, -1]] = False
    if not peak.any():
        return 0.0, 0.0
    y, x = np.unravel_index(np.argmax(np.where(peak, correlation, -np.inf)), correlation.shape)
    return float(x - correlation.shape[1] // 2), float(y - correlation.shape[0] // 2)


def _top_centre(correlation: Images) -> Point:
    """Return the mean place of all pixels equal to the maximum."""
    y, x = np.nonzero(correlation == correlation.max())
    return float(x.mean() - correlation.shape[1] // 2), float(y.mean() - correlation.shape[0] // 2)


def _self_centre(image: Images) -> Point:
    """Correlate with the own rotational average and move by the peak, until nothing moves."""
    found, moved = np.zeros(2), image
    for _ in range(_MOST_ROUNDS):
        step = np.array(_strict_peak(_correlation(moved, rotational_average_image(moved))))
        if not step.any():
            break
        found += step
        moved = shift(image, -found)
    return float(found[0]), float(found[1])


def _solid(image: Images) -> Images:
    """Return 1 where most of 5x5 pixels exceed mean + sigma of the image, else 0."""
    everywhere = statistics(image, np.ones(image.shape, dtype=bool))
    bright = (image > everywhere.mean + everywhere.sigma).astype(np.float32)
    share = scipy.ndimage.uniform_filter(bright, size=5, mode="wrap")
    solid: Images = (share > 0.5).astype(np.float32)
    return solid
