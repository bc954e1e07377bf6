"""Averages over rings: power spectra, radial profiles, Fourier ring correlation, whitening."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.fft
import scipy.sparse

from cryoisac.errors import DataError
from cryoisac.ops.fourier import Float, Images, absolute_frequency
from cryoisac.ops.masks import Mask, normalise_inside, squared_radius


def rotational_power(images: Images) -> Float:
    """Return the power spectrum of each image, averaged over rings.

    Parameters
    ----------
    images : ndarray, shape (..., n, n)
        Images.

    Returns
    -------
    ndarray, shape (..., n // 2 + 1)
        4 |F|² / n⁴ of rings 0, 1, ...; a coefficient between two rings is shared linearly.

    Notes
    -----
    SPARX's ``rops``: coefficients from radius n // 2 on are left out, so the last ring holds only shares.
    """
    n = images.shape[-1]
    power = np.abs(scipy.fft.rfft2(images)).astype(np.float64) ** 2
    rings = _ring_means(_power_rings(n), power)
    rings[..., 0] = power[..., 0, 0]
    rings *= 4.0 / n**4
    return rings


def rotational_average(images: Images | Float) -> Float:
    """Return the radial profile of each image around its centre pixel.

    Parameters
    ----------
    images : ndarray, shape (..., n, n)
        Images.

    Returns
    -------
    ndarray, shape (..., n // 2 + n % 2 + 1)
        Mean at radius 0, 1, ... pixels; a pixel between two radii is shared linearly.

    Notes
    -----
    SPARX's ``rot_avg_table``: pixels from the largest radius on are left out.
    """
    return _ring_means(_pixel_rings(images.shape[-1]), images)


def rotational_average_image(images: Images) -> Images:
    """Return images whose every pixel is the radial profile, linear in between, at its radius.

    Beyond the last radius of the profile the last value holds.
    """
    n = images.shape[-1]
    profiles = rotational_average(images)
    radius = np.minimum(np.sqrt(squared_radius(n)), profiles.shape[-1] - 1)
    inner = np.minimum(radius.astype(np.int64), profiles.shape[-1] - 2)
    part = radius - inner
    spread: Images = (profiles[..., inner] * (1 - part) + profiles[..., inner + 1] * part).astype(images.dtype)
    return spread


@dataclass(frozen=True, eq=False, kw_only=True)
class RingCorrelation:
    """Fourier ring correlation.

    Parameters
    ----------
    frequency : ndarray, shape (r,)
        Cycles per pixel of each ring, 0 to 1/2.
    correlation : ndarray, shape (..., r)
        Values from -1 to 1; 0 in a ring without power.
    count : ndarray, shape (r,)
        Number of Fourier coefficients in each ring.
    """

    frequency: Float
    correlation: Float
    count: npt.NDArray[np.int64]


def ring_correlation(a: Images, b: Images, *, mask: Mask | None = None) -> RingCorrelation:
    r"""Correlate two images ring by ring in Fourier space.

    .. math:: \mathrm{FRC}(r) = \sum_{k \in r} \mathrm{Re}\, A_k B_k^* \Big/
        \sqrt{\sum_{k \in r} |A_k|^2 \sum_{k \in r} |B_k|^2}

    Parameters
    ----------
    a, b : ndarray, shape (..., n, n)
        Images.
    mask : ndarray, shape (n, n), bool, optional
        Subtract the mean inside, and set to 0 what is outside, first.

    Returns
    -------
    RingCorrelation
        Rings 0 to n // 2, one coefficient wide.

    Raises
    ------
    DataError
        When the images differ in shape.

    Notes
    -----
    Saxton & Baumeister (1982). With a mask, ring 0 is the sign of a rounding error: do not use it. SPARX gathers the
    same rings but, for an odd side, calls ring k's frequency k / (n - 1).
    """
    if a.shape != b.shape:
        raise DataError("Fourier ring correlation", f"shapes {a.shape} and {b.shape} differ; use images of one size")
    if mask is not None:
        a, b = (normalise_inside(image, mask, mean_only=True) * mask for image in (a, b))
    n = a.shape[-1]
    rings = _frc_rings(n)
    fa, fb = (scipy.fft.rfft2(image.astype(np.float64)) for image in (a, b))
    cross = _ring_sums(rings, (fa * fb.conj()).real)
    power = np.sqrt(_ring_sums(rings, np.abs(fa) ** 2) * _ring_sums(rings, np.abs(fb) ** 2))
    correlation = np.divide(cross, power, out=np.zeros_like(cross), where=power > 0)
    return RingCorrelation(frequency=np.arange(n // 2 + 1) / n, correlation=correlation, count=ring_counts(n))


def ring_counts(box_px: int) -> npt.NDArray[np.int64]:
    """Return the number of Fourier coefficients of square images in each ring of a ``RingCorrelation``."""
    counts: npt.NDArray[np.int64] = 2 * np.rint(np.asarray(_frc_rings(box_px).sum(axis=1)).ravel()).astype(np.int64)
    return counts


def amplitude_profile(images: Images) -> Float:
    """Return the square root of ``rotational_power`` summed over images (n, h, h), shape (h // 2 + 1,)."""
    profile: Float = np.sqrt(rotational_power(images)).sum(axis=0)
    return profile


def whitening_table(summed_amplitude: Float, n_images: int) -> Float:
    """Return the radial table that makes the mean amplitude spectrum of images flat.

    Parameters
    ----------
    summed_amplitude : ndarray, shape (r,)
        ``amplitude_profile`` summed over all images.
    n_images : int
        Their number.

    Returns
    -------
    ndarray, shape (r,)
        n / summed amplitude, and 1 for ring 0: a table for ``filters.radial_table``.

    Raises
    ------
    DataError
        When a ring has no power at all.
    """
    if not np.all(summed_amplitude[1:] > 0):
        ring = 1 + int(np.argmin(summed_amplitude[1:]))
        raise DataError("whitening", f"ring {ring} of the power spectra is empty; use images that were not filtered")
    return np.concatenate(([1.0], n_images / summed_amplitude[1:]))


def _ring_sums(rings: Any, values: npt.NDArray[Any]) -> Float:
    """Multiply the (r, pixels) ring matrix with each image of values, shape (..., h, w); returns (..., r)."""
    flat = values.reshape(-1, values.shape[-2] * values.shape[-1]).astype(np.float64, copy=False)
    sums: Float = np.asarray(rings @ flat.T).T
    return sums.reshape(*values.shape[:-2], rings.shape[0])


def _ring_means(rings: Any, values: npt.NDArray[Any]) -> Float:
    count: Float = np.asarray(rings.sum(axis=1)).ravel()
    return _ring_sums(rings, values) / np.maximum(count, 1.0)


def _shared(radius: Float, wanted: Mask, n_rings: int) -> Any:
    """Return the (n_rings, pixels) matrix that shares each wanted pixel between the two rings beside it."""
    pixel = np.flatnonzero(wanted)
    r = radius.ravel()[pixel]
    inner = r.astype(np.int64)
    part = r - inner
    row = np.concatenate((inner, inner + 1))
    weight = np.concatenate((1 - part, part))
    return scipy.sparse.csr_array((weight, (row, np.tile(pixel, 2))), shape=(n_rings, radius.size))


@lru_cache(maxsize=8)
def _pixel_rings(n: int) -> Any:
    radius, last = np.sqrt(squared_radius(n)), n // 2 + n % 2
    return _shared(radius, radius < last, last + 1)


@lru_cache(maxsize=8)
def _power_rings(n: int) -> Any:
    radius = absolute_frequency((n, n)) * n
    return _shared(radius, (radius < n // 2) & _half_plane(n, with_origin=False), n // 2 + 1)


@lru_cache(maxsize=8)
def _frc_rings(n: int) -> Any:
    ring = np.floor(absolute_frequency((n, n)) * n + 0.5).astype(np.int64)
    pixel = np.flatnonzero((ring <= n // 2) & _half_plane(n, with_origin=True))
    shape = (n // 2 + 1, ring.size)
    return scipy.sparse.csr_array((np.ones(len(pixel)), (ring.ravel()[pixel], pixel)), shape=shape)


def _half_plane(n: int, *, with_origin: bool) -> Mask:
    """Return which coefficients of a real transform stand for themselves and one other, shape (n, n // 2 + 1)."""
    half = np.ones((n, n // 2 + 1), dtype=bool)
    half[n // 2 + 1 :, 0] = False
    half[0, 0] = with_origin
    return half
