"""A class average made ready to be looked at: its power spectrum adjusted, its noise cut off, its resolution told."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.fft

from cryoisac.cluster.halves import EDGE_PX, ClassAverage
from cryoisac.errors import DataError
from cryoisac.ops import sharpen
from cryoisac.ops.filters import tangent_response
from cryoisac.ops.fourier import Float, Images, absolute_frequency
from cryoisac.ops.masks import soften
from cryoisac.ops.resolution import crossing, last_above, of_whole, optimistic_frequency
from cryoisac.ops.spectra import rotational_power
from cryoisac.settings import Averaging

FALLOFF = 0.02
HIGHEST_CUTOFF = 0.45
FROM_FH1, FROM_FH2 = 0.0, 1.0  # values of --fl that stand for the class's own frequency


@dataclass(frozen=True, eq=False, kw_only=True)
class Adjusted:
    """What is shown and told of a class average.

    Parameters
    ----------
    image : ndarray, shape (n, n), float32
        The average, faded into its background beyond the particle radius.
    cutoff : float or None
        Frequency in cycles per pixel at which the correlation of the halves first falls below 0.143, that of the last
        ring where it never does; ``None`` where it says nothing.
    fh1, fh2 : float
        SPHIRE's two frequencies, in cycles per pixel.
    bfactor_A2 : float or None
        B-factor by which the average was sharpened.
    """

    image: Images
    cutoff: float | None
    fh1: float
    fh2: float
    bfactor_A2: float | None


def adjusted(
    average: ClassAverage,
    settings: Averaging,
    radius_px: float,
    pixel_size_A: float | None,
    measured: npt.NDArray[np.float64] | None,
) -> Adjusted:
    """Return an average with its power spectrum adjusted and low-passed.

    Parameters
    ----------
    average : ClassAverage
        The average.
    settings : Averaging
        Which adjustment and low-pass filter.
    radius_px : float
        Particle radius.
    pixel_size_A : float or None
        Pixel size; what needs it has been refused where it is not known.
    measured : ndarray, shape (m,), or None
        Power spectrum to bring averages to, where one is given.

    Notes
    -----
    Spectra are those of the average without weights by signal, so that what the weights take away as noise stays away.
    """
    box = average.image.shape[-1]
    frequency = np.arange(box // 2 + 1) / box
    cutoff = crossing(average.correlation, box)
    fh1 = optimistic_frequency(frequency, of_whole(average.correlation))
    known = bool(np.isfinite(average.correlation).all())
    fh2 = last_above(frequency, average.correlation) if known and settings.local_alignment else fh1
    bfactor = None
    if settings.model == "bfactor":
        bfactor = _bfactor(average, settings, frequency / (pixel_size_A or 1.0), cutoff)
    table = _table(average, settings, frequency / (pixel_size_A or 1.0), bfactor, measured)
    limit = _limit(settings, fh1, fh2, pixel_size_A)
    filtered = _filtered(average.image, table, limit)
    return Adjusted(
        image=soften(filtered, radius_px, EDGE_PX),
        cutoff=cutoff,
        fh1=fh1,
        fh2=fh2,
        bfactor_A2=bfactor,
    )


def _filtered(image: Float, table: Float | None, cutoff: float | None) -> Images:
    """Return an image multiplied by a table over rings and low-passed; in double precision, which sharpening needs."""
    box = image.shape[-1]
    frequency = absolute_frequency((box, box))
    response = np.ones_like(frequency)
    if table is not None:
        response *= np.interp(frequency * box, np.arange(len(table) + 1), [*table, 0.0])
    if cutoff is not None:
        response *= tangent_response(frequency, cutoff, FALLOFF)
    filtered: Images = scipy.fft.irfft2(scipy.fft.rfft2(image) * response, s=image.shape).astype(np.float32)
    return filtered


def _bfactor(average: ClassAverage, settings: Averaging, per_A: Float, cutoff: float | None) -> float | None:
    """Return the B-factor given, or fitted up to where the halves agree; ``None`` where there is nothing to fit."""
    if settings.Bfactor is not None:
        return settings.Bfactor
    high = per_A[-1] if cutoff is None else 2 * cutoff * per_A[-1]
    try:
        slope, _ = sharpen.guinier_slope(sharpen.amplitudes(average.plain), per_A, 1 / settings.B_start, float(high))
    except DataError:
        return None
    return max(4 * slope, 0.0)


def _table(
    average: ClassAverage,
    settings: Averaging,
    per_A: Float,
    bfactor: float | None,
    measured: npt.NDArray[np.float64] | None,
) -> Float | None:
    if settings.model == "bfactor":
        return None if bfactor is None else sharpen.bfactor_table(bfactor, per_A)
    if settings.model == "no_adjustment" or not average.plain.any():
        return None
    power = rotational_power(average.plain)
    return (
        sharpen.to_model(power, sharpen.model_power(per_A))
        if measured is None
        else sharpen.to_measured(power, measured)
    )


def _limit(settings: Averaging, fh1: float, fh2: float, pixel_size_A: float | None) -> float | None:
    """Return the cut-off of the low-pass filter in cycles per pixel, or ``None`` for none."""
    if settings.lowpass is not None:
        return min((pixel_size_A or 1.0) / settings.lowpass, HIGHEST_CUTOFF)
    if settings.fl is None:
        return fh1 if settings.model == "bfactor" else None
    chosen = {FROM_FH1: fh1, FROM_FH2: fh2}.get(settings.fl, settings.fl)
    return min(chosen, HIGHEST_CUTOFF)
