"""Filters that depend on the absolute frequency alone, and the fit of one to a resolution curve.

A ``*_response`` is a function of frequency in cycles per pixel; ``apply`` multiplies images by it, without padding.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import scipy.optimize

from cryoisac.errors import SettingError
from cryoisac.ops.fourier import Float, Images, absolute_frequency, apply_response


def apply(images: Images, response: Callable[[Float], Float]) -> Images:
    """Filter images, shape (..., h, w), by a function of the absolute frequency in cycles per pixel."""
    return apply_response(images, response(absolute_frequency(images.shape[-2:])))


def tangent_response(frequency: npt.ArrayLike, cutoff: npt.ArrayLike, falloff: npt.ArrayLike) -> Float:
    r"""Return the response of the hyperbolic-tangent low-pass filter.

    .. math:: H(f) = \tfrac12 [\tanh(c (f + f_c)) - \tanh(c (f - f_c))], \quad c = \pi / (2 a f_c)

    Parameters
    ----------
    frequency : array_like
        Frequencies in cycles per pixel.
    cutoff, falloff : array_like
        Cut-off f_c in cycles per pixel, where H is 1/2, and fall-off a relative to it; broadcast with ``frequency``.

    Returns
    -------
    ndarray
        Values from 0 to 1.

    Raises
    ------
    SettingError
        When the cut-off or the fall-off is not positive.

    Notes
    -----
    The ``filt_tanl`` of SPARX.
    """
    f = np.asarray(frequency, dtype=np.float64)
    fc, a = np.asarray(cutoff, dtype=np.float64), np.asarray(falloff, dtype=np.float64)
    if not (np.all(fc > 0) and np.all(a > 0)):
        raise SettingError("low-pass filter", f"cut-off {fc} and fall-off {a} must be above 0")
    return _tangent(f, fc, a)


def _tangent(f: Float, fc: Float, a: Float) -> Float:
    c = np.pi / (2 * a * fc)
    response: Float = 0.5 * (np.tanh(c * (f + fc)) - np.tanh(c * (f - fc)))
    return response


def tangent_lowpass(images: Images, cutoff: npt.ArrayLike, falloff: npt.ArrayLike) -> Images:
    """Low-pass images with the hyperbolic-tangent filter.

    Parameters
    ----------
    images : ndarray, shape (..., h, w)
        Images.
    cutoff, falloff : array_like, shape () or (...)
        Cut-off in cycles per pixel and relative fall-off, for all images or one an image.

    Returns
    -------
    ndarray, shape (..., h, w)
        Filtered images.
    """
    fc, a = (np.asarray(value, dtype=np.float64)[..., None, None] for value in (cutoff, falloff))
    return apply(images, lambda f: tangent_response(f, fc, a))


def gaussian_lowpass_response(frequency: npt.ArrayLike, sigma: float) -> Float:
    """Return exp(-f²/2σ²); ``frequency`` and ``sigma`` in cycles per pixel."""
    response: Float = np.exp(-0.5 * (np.asarray(frequency, dtype=np.float64) / sigma) ** 2)
    return response


def gaussian_highpass_response(frequency: npt.ArrayLike, sigma: float) -> Float:
    """Return 1 - exp(-f²/2σ²); ``frequency`` and ``sigma`` in cycles per pixel."""
    return 1.0 - gaussian_lowpass_response(frequency, sigma)


def gaussian_inverse_response(frequency: npt.ArrayLike, sigma: float) -> Float:
    """Return exp(+f²/2σ²); ``frequency`` and ``sigma`` in cycles per pixel."""
    return 1.0 / gaussian_lowpass_response(frequency, sigma)


def butterworth_response(frequency: npt.ArrayLike, passband: float, stopband: float) -> Float:
    r"""Return the response of the Butterworth low-pass filter.

    .. math:: H(f) = [1 + (f / f_0)^o]^{-1/2}, \quad o = 2 \log_{10}(\epsilon / \sqrt{a^2 - 1}) / \log_{10}(f_l / f_h),
        \quad f_0 = f_l / \epsilon^{2/o}

    Parameters
    ----------
    frequency : array_like
        Frequencies in cycles per pixel.
    passband, stopband : float
        Ends f_l of the passed and f_h of the suppressed frequencies, in cycles per pixel.

    Returns
    -------
    ndarray
        Values from 0 to 1.

    Notes
    -----
    SPARX's ``filt_btwl``: ε = 0.882, a = 10.624.
    """
    epsilon, a = 0.882, 10.624
    order = 2 * np.log10(epsilon / np.sqrt(a * a - 1)) / np.log10(passband / stopband)
    corner = passband / epsilon ** (2 / order)
    response: Float = (1 + (np.asarray(frequency, dtype=np.float64) / corner) ** order) ** -0.5
    return response


def band_response(frequency: npt.ArrayLike, low: float, high: float) -> Float:
    """Return 1 where low <= f <= high, else 0; all in cycles per pixel."""
    f = np.asarray(frequency, dtype=np.float64)
    return ((f >= low) & (f <= high)).astype(np.float64)


def radial_table(images: Images, table: npt.ArrayLike) -> Images:
    """Multiply the Fourier transforms of square images by a table over rings.

    Parameters
    ----------
    images : ndarray, shape (..., n, n)
        Images.
    table : array_like, shape (r,)
        Factor of rings 0, 1, ...; linear in between, 0 from ring r on.

    Returns
    -------
    ndarray, shape (..., n, n)
        Filtered images.
    """
    n = images.shape[-1]
    values = np.append(np.asarray(table, dtype=np.float64), 0.0)
    return apply(images, lambda f: np.interp(f * n, np.arange(len(values)), values))


def fit_tangent(frequency: npt.ArrayLike, frc: npt.ArrayLike, *, floor: float = 0.1) -> tuple[float, float]:
    """Fit the hyperbolic-tangent low-pass filter to the Fourier ring correlation of two half averages.

    The curve F becomes that of the whole average, 2F/(1+F), and ends where it first falls below ``floor``.

    Parameters
    ----------
    frequency : array_like, shape (r,)
        Frequencies of the rings in cycles per pixel, rising.
    frc : array_like, shape (r,)
        Correlation of the two halves in each ring; the sign of ring 0 is ignored.
    floor : float
        Where the curve ends.

    Returns
    -------
    cutoff, falloff : float
        Cut-off in cycles per pixel and relative fall-off; (0.4, 0.2) when the curve never falls below 1/2, and
        (0, 0.1) when it does so at once.

    Notes
    -----
    SPARX's ``fit_tanh``: least squares by the simplex of Nelder and Mead (1965), started at the ring before the curve
    first falls below 1/2 and a fall-off of 0.1.
    """
    f = np.asarray(frequency, dtype=np.float64)
    curve = np.array(frc, dtype=np.float64)
    curve[0] = abs(curve[0])
    curve = np.where(curve > 0, 2 * curve / (1 + np.abs(curve)), 0.0)
    curve[_first(curve < floor) :] = 0.0
    below = _first(curve < 0.5)
    if below == len(curve):
        return 0.4, 0.2
    start = f[max(below - 1, 0)]
    if start <= 0:
        return 0.0, 0.1

    def misfit(x: Float) -> float:
        return float(((curve - _tangent(f, x[0], x[1])) ** 2).sum()) if min(x) > 0 else np.inf

    simplex = [(start, 0.1), (start + 0.05, 0.1), (start, 0.15)]
    options = {"initial_simplex": simplex, "xatol": 1e-7, "fatol": 1e-14, "maxiter": 2000}
    best = scipy.optimize.minimize(misfit, simplex[0], method="Nelder-Mead", options=options).x
    return float(best[0]), float(best[1])


def _first(condition: npt.NDArray[np.bool_]) -> int:
    """Return the first index where ``condition`` holds, or its length."""
    return int(np.argmax(condition)) if condition.any() else len(condition)
