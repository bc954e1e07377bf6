"""The Hartley transform on rings by a fast Fourier transform, read through a window: for images of full size."""

import numpy as np
import numpy.typing as npt
import scipy.fft
from scipy.sparse import csr_array

from cryoisac.ops.fine_grid import AFTER, BEFORE, sharpening, window
from cryoisac.ops.hartley import Float32, half_rings
from cryoisac.ops.polar import Rings

TOGETHER = 16  # images whose transforms are held at once


class SampledRings:
    """The Hartley transform of images on rings; what ``RingTransform`` gives, to about 1e-6 of the strongest sample.

    Parameters
    ----------
    rings : Rings
        Rings, radii in Fourier pixels, below half the side.
    box_px : int
        Side of the images; their centre pixel n // 2 is the origin.

    Notes
    -----
    A non-uniform Fourier transform: on a grid of half Fourier pixels, through the window of ``fine_grid``. It takes
    some n² log n operations an image and as many as 128 a sample, where a sum over pixels takes n² a sample.
    """

    def __init__(self, rings: Rings, box_px: int) -> None:
        self._box, self._size = box_px, sum(rings.lengths)
        self._here, self._there = half_rings(rings)
        line = np.abs(np.arange(box_px) - box_px // 2)
        factor = sharpening(box_px)[line]
        self._factor = (factor[:, None] * factor / box_px).astype(np.float32)
        used, self._real, self._imaginary = _through_window(rings.points_px[self._here], box_px)
        self._used = used

    def __call__(self, images: npt.ArrayLike) -> Float32:
        """Return the samples of images (n, h, h), ring after ring, shape (n, samples), float32."""
        pixels = np.asarray(images, dtype=np.float32)
        samples = np.empty((len(pixels), self._size), dtype=np.float32)
        for start in range(0, len(pixels), TOGETHER):
            part = slice(start, start + TOGETHER)
            grid = self._grid(pixels[part])
            real, imaginary = self._real @ grid.real.T, self._imaginary @ grid.imag.T  # (half the samples, images)
            samples[part, self._here] = (real + imaginary).T
            samples[part, self._there] = (real - imaginary).T
        return samples

    def _grid(self, pixels: Float32) -> npt.NDArray[np.complex64]:
        """Return the transforms at the grid points that are used, shape (n, used)."""
        box, low = self._box, self._box // 2
        wide = np.zeros((len(pixels), 2 * box, 2 * box), dtype=np.float32)
        laid = pixels * self._factor
        rows = ((slice(low, box), slice(0, box - low)), (slice(0, low), slice(2 * box - low, 2 * box)))
        for own_y, to_y in rows:  # the centre pixel becomes the first
            for own_x, to_x in rows:
                wide[:, to_y, to_x] = laid[:, own_y, own_x]
        spectrum = scipy.fft.rfft2(wide)
        used: npt.NDArray[np.complex64] = spectrum.reshape(len(pixels), -1)[:, self._used]
        return used


def _through_window(
    points_px: npt.NDArray[np.float64], box_px: int
) -> tuple[npt.NDArray[np.int64], csr_array, csr_array]:
    """Return the grid points that samples are read from, and the matrices of weights of real and imaginary parts.

    Where a point lies beyond the half plane of a real transform, its opposite is read, the imaginary part negated.
    """
    fine = 2.0 * points_px  # (samples, 2), x and y
    first = np.floor(fine).astype(np.int64)
    step = np.arange(-BEFORE, AFTER + 1)
    x, y = (first[:, i, None] + step for i in (0, 1))
    wx, wy = (window(at - fine[:, i, None]) for i, at in enumerate((x, y)))
    x, y = np.broadcast_arrays(x[:, None, :], y[:, :, None])
    weight = (wy[:, :, None] * wx[:, None, :]).ravel()
    around = np.mod(x.ravel(), 2 * box_px)
    sign = np.where(around > box_px, -1, 1)
    column, row = np.mod(sign * around, 2 * box_px), np.mod(sign * y.ravel(), 2 * box_px)
    used, place = np.unique(row * (box_px + 1) + column, return_inverse=True)
    start = np.arange(0, weight.size + 1, len(step) ** 2)
    shape = (len(points_px), len(used))
    real = csr_array((weight.astype(np.float32), place.ravel(), start), shape=shape)
    return used, real, csr_array(((sign * weight).astype(np.float32), place.ravel(), start), shape=shape)
