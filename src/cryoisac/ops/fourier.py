"""Images in Fourier space: frequencies, filters as products, shifts; and the box around an image."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.fft

from cryoisac.errors import DataError

Images = npt.NDArray[np.float32]
Float = npt.NDArray[np.float64]

BLOCK_BYTES = 1 << 20  # of images that are transformed at once: their spectra fit the cache
_threads = ContextVar("threads", default=1)


@contextmanager
def filtering_threads(threads: int) -> Iterator[None]:
    """Filter stacks of images on so many threads while this lasts, where this thread asks for it."""
    before = _threads.set(threads)
    try:
        yield
    finally:
        _threads.reset(before)


def frequencies(shape: tuple[int, int]) -> tuple[Float, Float]:
    """Return the frequencies along y and x of the real Fourier transform of an image.

    Parameters
    ----------
    shape : tuple of int
        Rows h and columns w of the image.

    Returns
    -------
    y : ndarray, shape (h, 1)
        Cycles per pixel; the Nyquist row of an even h carries +1/2.
    x : ndarray, shape (1, w // 2 + 1)
        Cycles per pixel, 0 to 1/2.

    Notes
    -----
    NumPy puts the Nyquist row at -1/2. SPARX puts it at +1/2, which a fractional shift or an astigmatic CTF shows.
    """
    h, w = shape
    y: Float = np.fft.fftfreq(h).astype(np.float64)
    y[h // 2] = abs(y[h // 2])
    x: Float = np.fft.rfftfreq(w).astype(np.float64)
    return y[:, None], x[None, :]


def absolute_frequency(shape: tuple[int, int]) -> Float:
    """Return |k| in cycles per pixel of the real Fourier transform of an image, shape (h, w // 2 + 1)."""
    y, x = frequencies(shape)
    return np.sqrt(y * y + x * x)


def apply_response(images: Images, response: npt.NDArray[Any]) -> Images:
    """Multiply the Fourier transforms of images by a response.

    Parameters
    ----------
    images : ndarray, shape (..., h, w)
        Images.
    response : ndarray, shape (h, w // 2 + 1) or (..., h, w // 2 + 1)
        One response for all, or one an image; real or complex.

    Returns
    -------
    ndarray, shape (..., h, w)
        Filtered images, of the type of ``images``.

    Notes
    -----
    Many images are filtered a megabyte at a time, on as many threads as ``filtering_threads`` gives. The result does
    not depend on their number.
    """
    stack = images.reshape(-1, *images.shape[-2:])
    size = max(1, BLOCK_BYTES // max(1, stack[:1].nbytes))
    if len(stack) <= size:
        return _multiplied(images, response)
    shared = response.ndim == 2
    each = response if shared else np.broadcast_to(response, (*images.shape[:-2], *response.shape[-2:]))
    each = each.reshape(-1, *response.shape[-2:])
    filtered = np.empty(stack.shape, dtype=np.result_type(images, np.float32))

    def work(first: int) -> None:
        part = slice(first, first + size)
        filtered[part] = _multiplied(stack[part], response if shared else each[part])

    starts = range(0, len(stack), size)
    with ThreadPoolExecutor(min(_threads.get(), len(starts))) as pool:
        for _ in pool.map(work, starts):
            pass
    return filtered.reshape(images.shape)


def _multiplied(images: Images, response: npt.NDArray[Any]) -> Images:
    spectrum = scipy.fft.rfft2(images)
    spectrum *= response.astype(_matching(spectrum, response), copy=False)
    filtered: Images = scipy.fft.irfft2(spectrum, s=images.shape[-2:], overwrite_x=True)
    return filtered


def _matching(spectrum: npt.NDArray[Any], response: npt.NDArray[Any]) -> np.dtype[Any]:
    """Return the type for ``response`` that has the precision of ``spectrum``."""
    return spectrum.dtype if np.iscomplexobj(response) else spectrum.real.dtype


def shift(images: Images, shift_px: npt.ArrayLike) -> Images:
    r"""Shift images by any number of pixels, cyclically, without loss.

    .. math:: F(k) \to F(k) \exp(-2 \pi i (k_x t_x + k_y t_y))

    Parameters
    ----------
    images : ndarray, shape (..., h, w)
        Images.
    shift_px : array_like, shape (2,) or (..., 2)
        Shift (x, y) in pixels: what is seen moves towards larger x and y.

    Returns
    -------
    ndarray, shape (..., h, w)
        Shifted images.
    """
    y, x = frequencies(images.shape[-2:])
    t = np.asarray(shift_px, dtype=np.float64)[..., None, None, :]  # (..., 1, 1, 2)
    return apply_response(images, np.exp(-2j * np.pi * (x * t[..., 0])) * np.exp(-2j * np.pi * (y * t[..., 1])))


def window(images: Images, box_px: int, *, offset_px: tuple[int, int] = (0, 0)) -> Images:
    """Cut the central square out of images: centre pixel on centre pixel.

    Parameters
    ----------
    images : ndarray, shape (..., h, w)
        Images.
    box_px : int
        Side of the square.
    offset_px : tuple of int
        Move the square by (x, y).

    Returns
    -------
    ndarray, shape (..., box_px, box_px)
        A view of ``images``.

    Raises
    ------
    DataError
        When the square leaves the image.
    """
    h, w = images.shape[-2:]
    left, top = w // 2 - box_px // 2 + offset_px[0], h // 2 - box_px // 2 + offset_px[1]
    if min(left, top) < 0 or left + box_px > w or top + box_px > h:
        raise DataError(f"images of {w}x{h} px", f"a box of {box_px} px at {offset_px} leaves them; use a smaller box")
    return images[..., top : top + box_px, left : left + box_px]


def pad(images: Images, box_px: int, *, background: npt.ArrayLike = 0.0) -> Images:
    """Put images in the centre of a larger square: centre pixel on centre pixel.

    Parameters
    ----------
    images : ndarray, shape (..., h, w)
        Images.
    box_px : int
        Side of the square.
    background : array_like, shape () or (...)
        Value around all images, or around each.

    Returns
    -------
    ndarray, shape (..., box_px, box_px)
        Padded images.

    Raises
    ------
    DataError
        When an image is larger than the square.
    """
    h, w = images.shape[-2:]
    if box_px < max(h, w):
        raise DataError(f"images of {w}x{h} px", f"do not fit a box of {box_px} px; use a larger box")
    left, top = box_px // 2 - w // 2, box_px // 2 - h // 2
    padded = np.empty((*images.shape[:-2], box_px, box_px), dtype=images.dtype)
    padded[...] = np.asarray(background)[..., None, None]
    padded[..., top : top + h, left : left + w] = images
    return padded


def edge_mean(images: Images) -> Float:
    """Return the mean of the outermost pixels of each image, every one counted once, shape (...)."""
    edge = np.concatenate(
        (images[..., 0, :], images[..., -1, :], images[..., 1:-1, 0], images[..., 1:-1, -1]),
        axis=-1,
        dtype=np.float64,
    )
    mean: Float = edge.mean(axis=-1)
    return mean
