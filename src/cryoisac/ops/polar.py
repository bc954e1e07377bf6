"""Polar sampling and rotational correlation, in float64: the definition that every engine follows."""

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import numpy.typing as npt

from cryoisac.errors import SettingError

Float = npt.NDArray[np.float64]
Complex = npt.NDArray[np.complex128]

LONGEST_RING = 32768
CONSTANT = 1e-12  # variance below which, relative to the mean square, ring samples count as constant


@dataclass(frozen=True, kw_only=True)
class Rings:
    """Concentric rings: radii, and how many samples each carries.

    Parameters
    ----------
    radii : tuple of int
        Radii in pixels, increasing.
    lengths : tuple of int
        Samples on each ring, powers of two.
    """

    radii: tuple[int, ...]
    lengths: tuple[int, ...]

    @staticmethod
    @lru_cache(maxsize=32)
    def between(first: int, last: int, step: int = 1) -> "Rings":
        """Return the rings of radius first, first + step, ... up to last.

        A ring of radius r carries 2^(floor(log2 p) + 1) samples, p = int(2 pi r + 1/2), at most 32768.

        Raises
        ------
        SettingError
            When no ring is left.

        Notes
        -----
        As SPARX's ``Numrinit`` for full circles.
        """
        if first < 1 or step < 1 or last < first:
            raise SettingError(
                "rings", f"first {first}, last {last}, step {step}: need 1 <= first <= last and step >= 1"
            )
        radii = tuple(range(first, last + 1, step))
        lengths = tuple(min(LONGEST_RING, 1 << int(2 * np.pi * r + 0.5).bit_length()) for r in radii)
        return Rings(radii=radii, lengths=lengths)

    @property
    def longest(self) -> int:
        """Samples on the longest ring, which are the angles of a correlation."""
        return max(self.lengths)

    @cached_property
    def sample_weights(self) -> Float:
        """Area 2 pi r / length of one sample of each ring, shape (r,)."""
        return np.array([2 * np.pi * r / n for r, n in zip(self.radii, self.lengths, strict=True)])

    @cached_property
    def reference_weights(self) -> Float:
        """Weights (2 pi r / length)(longest / length) of reference spectra, shape (r,)."""
        return np.array([w * self.longest / n for w, n in zip(self.sample_weights, self.lengths, strict=True)])

    @cached_property
    def points_px(self) -> Float:
        """Sample points (r sin a, r cos a), a = 2 pi k / length, ring after ring, shape (samples, 2)."""
        rings = []
        for radius, length in zip(self.radii, self.lengths, strict=True):
            angle = 2 * np.pi * np.arange(length) / length
            rings.append(radius * np.stack((np.sin(angle), np.cos(angle)), axis=-1))
        points = np.concatenate(rings)
        whole = np.rint(points)
        return np.where(np.abs(points - whole) < 1e-9, whole, points)  # quarter turns are whole numbers of pixels


def sample(images: npt.ArrayLike, rings: Rings, centres_px: npt.ArrayLike) -> Float:
    """Return images at the points of rings, bilinearly.

    Parameters
    ----------
    images : array_like, shape (n, h, w)
        Images.
    rings : Rings
        Rings.
    centres_px : array_like, shape (n, 2)
        Centre (x, y) of the rings in each image, in pixels from the first pixel.

    Returns
    -------
    ndarray, shape (n, samples)
        Samples, ring after ring; a neighbour outside the image is replaced by the nearest pixel.

    Notes
    -----
    As SPARX's ``Polar2Dm``: angles run from +y towards +x.
    """
    pixels = np.asarray(images, dtype=np.float64)
    _, h, w = pixels.shape
    points = np.asarray(centres_px, dtype=np.float64)[:, None, :] + rings.points_px
    corner = np.floor(points)
    dx, dy = np.moveaxis(points - corner, -1, 0)
    x0, y0 = np.moveaxis(corner.astype(np.int64), -1, 0)
    x1, y1 = np.clip(x0 + 1, 0, w - 1), np.clip(y0 + 1, 0, h - 1)
    x0, y0 = np.clip(x0, 0, w - 1), np.clip(y0, 0, h - 1)
    row = np.arange(len(pixels))[:, None]
    f00 = pixels[row, y0, x0]
    f10 = pixels[row, y1, x0]
    upper = f00 + dx * (pixels[row, y0, x1] - f00)
    lower = f10 + dx * (pixels[row, y1, x1] - f10)
    result: Float = upper + dy * (lower - upper)
    return result


def standardise(samples: npt.ArrayLike, rings: Rings) -> Float:
    """Return ring samples with area-weighted mean 0 and standard deviation 1.

    Parameters
    ----------
    samples : array_like, shape (n, samples)
        Samples of ``sample``.
    rings : Rings
        Their rings.

    Returns
    -------
    ndarray, shape (n, samples)
        Normalised samples; zeros where an image is constant on the rings.
    """
    values = np.asarray(samples, dtype=np.float64)
    weight = np.repeat(rings.sample_weights, rings.lengths)
    weight /= weight.sum()
    mean = values @ weight
    centred = values - mean[:, None]
    variance = centred**2 @ weight
    varies = variance > CONSTANT * (mean**2 + variance)
    scale = np.divide(1.0, np.sqrt(variance), out=np.zeros_like(variance), where=varies)
    return centred * scale[:, None]


def spectra(samples: npt.ArrayLike, rings: Rings) -> Complex:
    """Return the Fourier coefficients of each ring.

    Parameters
    ----------
    samples : array_like, shape (n, samples)
        Samples of ``sample``.
    rings : Rings
        Their rings.

    Returns
    -------
    ndarray, shape (n, r, longest // 2 + 1), complex128
        Unnormalised coefficients; zero beyond a short ring's Nyquist order.
    """
    values = np.asarray(samples, dtype=np.float64)
    result = np.zeros((len(values), len(rings.radii), rings.longest // 2 + 1), dtype=np.complex128)
    start = 0
    for r, length in enumerate(rings.lengths):
        result[:, r, : length // 2 + 1] = np.fft.rfft(values[:, start : start + length], axis=-1)
        start += length
    return result


def weigh(coefficients: Complex, rings: Rings) -> Complex:
    """Return the spectra of references with the weights that make correlations area integrals.

    Each ring is multiplied by its ``reference_weights``; the Nyquist coefficient of a ring shorter than the longest is
    halved besides, since it becomes an inner order of the longest ring's spectrum.
    """
    weighted = coefficients * rings.reference_weights[:, None]
    for r, length in enumerate(rings.lengths):
        if length < rings.longest:
            weighted[:, r, length // 2] *= 0.5
    return weighted


def correlate(references: Complex, images: Complex, rings: Rings) -> tuple[Float, Float]:
    """Return how images correlate with references at each angle, straight and mirrored.

    With F the weighted reference and G the image, q = irfft(sum F conj(G)) and t = irfft(sum conj(F) conj(G)).

    Parameters
    ----------
    references, images : ndarray, shape (..., r, longest // 2 + 1), complex128
        Spectra whose leading axes broadcast; those of references come from ``weigh``.
    rings : Rings
        Their rings.

    Returns
    -------
    straight, mirrored : ndarray, shape (..., longest)
        Correlations at the angles 360 k / longest.
    """
    straight = np.einsum("...rk,...rk->...k", references, images.conj())
    mirrored = np.einsum("...rk,...rk->...k", references.conj(), images.conj())
    return np.fft.irfft(straight, rings.longest), np.fft.irfft(mirrored, rings.longest)


def parabola_offset(values: npt.ArrayLike) -> Float:
    """Return where between samples a peak lies, by least squares through seven values.

    Parameters
    ----------
    values : array_like, shape (..., 7)
        Values at -3 ... 3 around the largest.

    Returns
    -------
    ndarray, shape (...)
        Offset in samples; 0 where the values have no curvature.

    Notes
    -----
    As SPARX's ``prb1d``. Both sums vanish for a constant, so the middle value is taken off first: equal values then
    give exactly 0.
    """
    b = np.asarray(values, dtype=np.float64)
    b = b - b[..., 3:4]
    slope = b @ np.array([49.0, 6.0, -21.0, -32.0, -27.0, -6.0, 31.0])
    bend = b @ np.array([5.0, 0.0, -3.0, -4.0, -3.0, 0.0, 5.0])
    ratio = np.divide(slope, 2 * bend, out=np.full_like(slope, 4.0), where=bend != 0)
    result: Float = ratio - 4.0
    return result
