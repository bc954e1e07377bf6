"""Images on a grid twice as fine, from which their trigonometric polynomials are read at any point through a window."""

from functools import cache

import numpy as np
import numpy.typing as npt
import scipy.fft

Float = npt.NDArray[np.float64]
Images = npt.NDArray[np.float32]

TAPS = 8  # fine pixels that the window spans along each axis
SHARPNESS = 2.3 * TAPS  # for a grid twice as fine
BEFORE, AFTER = TAPS // 2 - 1, TAPS // 2  # fine pixels that wrap around, before and after the image


def window(distance_px: npt.ArrayLike) -> Float:
    """Return the window exp(b (sqrt(1 - z^2) - 1)), z = 2 d / 8, at distances d in fine pixels; 0 beyond its ends."""
    z = np.asarray(distance_px, dtype=np.float64) * 2 / TAPS
    inside = np.abs(z) <= 1
    return np.where(inside, np.exp(SHARPNESS * (np.sqrt(np.where(inside, 1 - z * z, 1)) - 1)), 0)


def window_table(steps: int) -> Images:
    """Return the window's weights for the fractions 0, 1 / steps, ... 1 + 1 / steps of a fine pixel, (steps + 2, 8)."""
    fraction = np.arange(steps + 2) / steps
    return window(np.arange(-BEFORE, AFTER + 1) - fraction[:, None]).astype(np.float32)


@cache
def sharpening(n: int) -> Float:
    """Return what undoes the window at the frequencies k = 0 ... n // 2 of n pixels: 1 / its Fourier transform."""
    node, weight = np.polynomial.legendre.leggauss(64)
    distance_px = node * TAPS / 2
    wave = np.cos(np.pi * np.arange(n // 2 + 1)[:, None] / n * distance_px)
    sharpened: Float = 2.0 / TAPS / (wave @ (weight * window(distance_px)))
    return sharpened


def fine_grid(images: Images, *, threads: int = 1) -> Images:
    """Return images on a grid twice as fine, for reading through ``window``.

    Parameters
    ----------
    images : ndarray, shape (n, h, w), float32
        Images.
    threads : int
        Threads of the Fourier transforms.

    Returns
    -------
    ndarray, shape (n, 2 h + 7, 2 w + 7), float32
        Grids with three wrapped fine pixels before the image along each axis and four after it.

    Notes
    -----
    The sum of these pixels times the window at their distances from a point is the value there of the image's
    trigonometric polynomial, to about 1e-6 of its amplitude: a non-uniform Fourier transform (Barnett, Magland and
    af Klinteberg 2019). A Nyquist frequency is shared by both signs.
    """
    n, h, w = images.shape
    spectrum = scipy.fft.rfft2(images, workers=threads)
    y = sharpening(h)[np.abs(np.fft.fftfreq(h, 1 / h)).astype(np.int64)]
    spectrum *= (4 * y[:, None] * sharpening(w)).astype(np.float32)
    if w % 2 == 0:
        spectrum[:, :, -1] /= 2
    wide = np.zeros((n, 2 * h, w + 1), dtype=np.complex64)
    wide[:, : (h + 1) // 2, : w // 2 + 1] = spectrum[:, : (h + 1) // 2]
    wide[:, 2 * h - h // 2 :, : w // 2 + 1] = spectrum[:, h - h // 2 :]
    if h % 2 == 0:
        wide[:, 2 * h - h // 2] /= 2
        wide[:, h // 2] = wide[:, 2 * h - h // 2]
    fine = scipy.fft.irfft2(wide, s=(2 * h, 2 * w), workers=threads, overwrite_x=True)
    return np.pad(fine, ((0, 0), (BEFORE, AFTER), (BEFORE, AFTER)), mode="wrap").astype(np.float32, copy=False)
