r"""A class average at full size, from sums over two random halves of its members.

With images x = C T R + noise, member i laid on the class gives :math:`N = \sum T^{-1} C x` and
:math:`D = \sum T^{-1} C^2` at every Fourier coefficient. What the halves have in common on a ring says how strong the
signal is there, and so how much a coefficient of the whole counts: :math:`R = N / (D + \bar D / \mathrm{SSNR})`.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.fft

from cryoisac.ops.fourier import Float, Images, absolute_frequency
from cryoisac.ops.masks import cosine_edge, soften
from cryoisac.ops.resolution import FIRST_RING, THRESHOLD, first_below
from cryoisac.ops.spectra import ring_correlation

EDGE_PX = 5.0  # over which averages fall off into their background, as in SPHIRE
GUARD = 1e-2  # of the mean squared CTF: coefficients that hardly an image has are not raised
FEWEST = 4  # members whose halves say anything
SMOOTHED = 3  # rings over which a correlation is averaged before it weighs anything
LEAST_SHARED = 0.02  # correlation on the innermost rings, where there are too few coefficients to tell
MOST_SHARED = 0.999
TAIL = 3.0
LEAST = 1e-12


@dataclass(frozen=True, eq=False, kw_only=True)
class HalfSums:
    """Sums over the two halves of a class.

    Parameters
    ----------
    signal : ndarray, shape (2, n, n), float64
        N, as images.
    weight : ndarray, shape (2, n, n // 2 + 1), float64
        D, over the real Fourier transform.
    sizes : ndarray, shape (2,), int64
        Members of each half.
    """

    signal: Float
    weight: Float
    sizes: npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False, kw_only=True)
class ClassAverage:
    """One class average.

    Parameters
    ----------
    image : ndarray, shape (n, n), float64
        Wiener average, not masked: an edge would hold all frequencies, and sharpening would show it.
    plain : ndarray, shape (n, n), float32
        The same without weights by signal, faded into its background beyond the particle radius: spectra are measured
        on it.
    correlation : ndarray, shape (n // 2 + 1,)
        Fourier ring correlation of the halves under a soft mask; NaN where there are too few members.
    """

    image: Float
    plain: Images
    correlation: Float


def class_average(sums: HalfSums, radius_px: float) -> ClassAverage:
    """Return the average of a class from the sums over its halves.

    Parameters
    ----------
    sums : HalfSums
        The sums.
    radius_px : float
        Particle radius.

    Notes
    -----
    No coefficient counts as known by less than ``GUARD`` of what it would be on average, so that a zero of the CTF
    that all members share leaves a gap and not a spike.
    """
    box = sums.signal.shape[-1]
    spectra = scipy.fft.rfft2(sums.signal)
    guards = [GUARD * weight.mean() for weight in sums.weight]
    halves = [
        _image(s / (w + g)) if g > 0 else 0 * _image(s) for s, w, g in zip(spectra, sums.weight, guards, strict=True)
    ]
    known = int(sums.sizes.sum()) >= FEWEST and int(sums.sizes.min()) > 0
    correlation = halves_correlation(halves[0], halves[1], radius_px) if known else np.full(box // 2 + 1, np.nan)
    whole, weight = spectra.sum(axis=0), sums.weight.sum(axis=0)
    guard = GUARD * weight.mean()
    least = np.maximum(least_weight(correlation, weight), guard) if known else np.full(weight.shape, guard)
    return ClassAverage(
        image=_image(whole / (weight + least)),
        plain=soften(_image(whole / (weight + guard)).astype(np.float32), radius_px, EDGE_PX),
        correlation=correlation,
    )


def halves_correlation(a: Float, b: Float, radius_px: float) -> Float:
    """Return the Fourier ring correlation of two images (n, n) under a mask with a soft edge, shape (n // 2 + 1,)."""
    mask = 1.0 - cosine_edge(radius_px, EDGE_PX, a.shape[-1])
    laid = [(image - (image * mask).sum() / mask.sum()) * mask for image in (a, b)]
    return ring_correlation(laid[0], laid[1]).correlation


def shared_signal(correlation: Float) -> Float:
    """Return a correlation of halves as far as it can be relied upon, shape (r,), from 0 to below 1.

    It is smoothed over ``SMOOTHED`` rings, taken down where it is below ``THRESHOLD``, where chance makes it, and 0
    from ``TAIL`` rings beyond the resolution on.
    """
    ends = SMOOTHED // 2
    padded = np.concatenate((correlation[:ends], correlation, correlation[-ends:]))
    smooth = np.maximum(np.convolve(padded, np.full(SMOOTHED, 1 / SMOOTHED), mode="valid"), 0.0)
    smooth *= np.minimum(smooth / THRESHOLD, 1.0) ** 2
    smooth[: FIRST_RING + 1] = max(float(smooth[FIRST_RING + 1]), LEAST_SHARED)
    limit = first_below(correlation)
    if limit is not None:
        smooth *= np.clip(1 - (np.arange(len(smooth)) - limit) / TAIL, 0.0, 1.0)
    return np.minimum(smooth, MOST_SHARED)


def least_weight(correlation: Float, weight: Float) -> Float:
    """Return what is added to D, the mean of D on the ring over its signal-to-noise ratio, shape (n, n // 2 + 1)."""
    box = weight.shape[0]
    radius = absolute_frequency((box, box)) * box
    ring = np.minimum(np.rint(radius).astype(np.int64), box // 2)
    count = np.bincount(ring.ravel(), minlength=box // 2 + 1)
    mean = np.bincount(ring.ravel(), weights=weight.ravel(), minlength=box // 2 + 1) / np.maximum(count, 1)
    shared = np.maximum(shared_signal(correlation), LEAST)
    inverse = (1 - shared) / (2 * shared)  # of the signal-to-noise ratio of the whole, 2 v / (1 - v)
    least: Float = np.interp(radius, np.arange(box // 2 + 1), mean * inverse)
    return least


def _image(spectrum: npt.NDArray[np.complexfloating]) -> Float:
    image: Float = scipy.fft.irfft2(spectrum, s=(spectrum.shape[0], spectrum.shape[0]))
    return image
