"""What a Fourier ring correlation says of resolution."""

import numpy as np
import numpy.typing as npt

from cryoisac.ops.fourier import Float

THRESHOLD = 0.143  # Rosenthal & Henderson (2003): half sets of an average that correlates at 1/2 with the truth
FIRST_RING = 3  # rings before it have a dozen coefficients, and hold the mask
LEAST_OPTIMISTIC, OPTIMISTIC_RINGS = 0.15, 3
HALF_LIMIT = 0.1
IN_A_ROW = 2  # rings below the threshold: where a particle's own spectrum has a zero, one ring dips below it


def first_below(correlation: npt.ArrayLike, threshold: float = THRESHOLD, *, start: int = FIRST_RING) -> int | None:
    """Return the first ring, from ``start`` on, that is below a threshold with the next one too; ``None`` if none is.

    The last ring counts alone.
    """
    below = np.asarray(correlation, dtype=np.float64) < threshold
    stays = below.copy()
    for step in range(1, IN_A_ROW):
        stays[:-step] &= below[step:]
    rings = np.flatnonzero(stays[start:])
    return start + int(rings[0]) if len(rings) else None


def of_whole(correlation: npt.ArrayLike) -> Float:
    """Return what the correlation of halves says of their sum, 2 v / (1 + v), negative values taken as 0."""
    v = np.maximum(np.asarray(correlation, dtype=np.float64), 0.0)
    whole: Float = 2 * v / (1 + v)
    return whole


def crossing(correlation: npt.ArrayLike, box_px: int, *, threshold: float = THRESHOLD) -> float | None:
    """Return the frequency at which the correlation of halves falls below a threshold, linear between rings.

    It is where the curve first stays below for ``IN_A_ROW`` rings.

    Parameters
    ----------
    correlation : array_like, shape (r,)
        Correlation of rings 0, 1, ...; the first ``FIRST_RING`` are not looked at.
    box_px : int
        Side of the images.
    threshold : float
        The threshold.

    Returns
    -------
    float or None
        Cycles per pixel: of the last ring where the curve never falls below the threshold; ``None`` where it begins
        below, or is not known.
    """
    curve = np.asarray(correlation, dtype=np.float64)
    if not np.isfinite(curve).all():
        return None
    ring = first_below(curve, threshold)
    if ring is None:
        return (len(curve) - 1) / box_px
    if ring == FIRST_RING:
        return None
    before, here = curve[ring - 1], curve[ring]
    return float((ring - 1 + (before - threshold) / (before - here)) / box_px)


def optimistic_frequency(frequency: npt.ArrayLike, correlation: npt.ArrayLike) -> float:
    """Return SPHIRE's FH1: the third frequency, counted from the highest, at which a correlation is 0.143 or more.

    Parameters
    ----------
    frequency, correlation : array_like, shape (r,)
        Cycles per pixel, and the correlation that the whole average has there (``of_whole``).

    Returns
    -------
    float
        Cycles per pixel, at least 0.15.
    """
    high = np.asarray(frequency)[np.asarray(correlation) >= THRESHOLD][::-1]
    found = float(high[OPTIMISTIC_RINGS - 1]) if len(high) >= OPTIMISTIC_RINGS else LEAST_OPTIMISTIC
    return max(found, LEAST_OPTIMISTIC)


def last_above(frequency: npt.ArrayLike, correlation: npt.ArrayLike) -> float:
    """Return SPHIRE's FH2: the frequency before the first at which the correlation of halves is below 0.1.

    The first ``FIRST_RING`` rings are not looked at.
    """
    below = np.flatnonzero(np.asarray(correlation)[FIRST_RING:] < HALF_LIMIT) + FIRST_RING
    ring = int(below[0]) - 1 if len(below) else -1
    return float(np.asarray(frequency)[ring])
