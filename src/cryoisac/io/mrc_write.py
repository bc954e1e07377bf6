"""MRC2014 image stacks: written at once, or image by image from many threads."""

import os
import threading
from pathlib import Path
from types import TracebackType

import numpy as np
import numpy.typing as npt
from mrcfile.dtypes import HEADER_DTYPE

from cryoisac import __version__
from cryoisac.errors import DataError
from cryoisac.io.mrc import HEADER_BYTES, PIXEL_TYPES

BLOCK_BYTES = 1 << 24


def write_mrc_stack(
    path: Path, images: npt.NDArray[np.float32], pixel_size_A: float | None = None, *, mode: int = 2
) -> None:
    """Write an MRC2014 stack of images (ISPG 0, MZ 1); equal input gives equal bytes.

    Parameters
    ----------
    path : Path
        The file to write.
    images : ndarray, shape (n, h, w)
        The images.
    pixel_size_A : float, optional
        Pixel size in Å; without it the cell is 0, which means unknown.
    mode : int
        Type of a pixel: 2 float32, 12 float16, 0 int8, 1 int16, 6 uint16; integers are rounded.

    Raises
    ------
    DataError
        If a pixel is not finite, or beyond what the mode can hold.
    """
    n, h, w = images.shape
    block = max(1, BLOCK_BYTES // (h * w * 4))
    with MrcStackWriter(path, (n, h, w), pixel_size_A, mode=mode) as stack:
        for start in range(0, n, block):
            stack.write(start, images[start : start + block])


class MrcStackWriter:
    """A stack of known size whose images are written in any order, from any thread.

    Parameters
    ----------
    path : Path
        The file to write.
    shape : tuple of int
        Images, rows, columns.
    pixel_size_A : float, optional
        Pixel size in Å; without it the cell is 0, which means unknown.
    mode : int
        Type of a pixel, as for ``write_mrc_stack``.

    Notes
    -----
    A context manager: on leaving it normally, every image must have been written (else ``DataError``), and the header
    with its statistics is written last, so an unfinished file is never a valid stack.
    """

    def __init__(
        self, path: Path, shape: tuple[int, int, int], pixel_size_A: float | None = None, *, mode: int = 2
    ) -> None:
        if min(shape) < 1:
            raise DataError(path, f"a stack of {' x '.join(map(str, shape))} pixels cannot be written")
        if mode not in PIXEL_TYPES:
            raise DataError(path, f"mode {mode} is not written; choose one of {sorted(PIXEL_TYPES)}")
        self.path, self.shape, self.mode = Path(path), shape, mode
        self.pixel_size_A = pixel_size_A
        self._type = np.dtype("<" + PIXEL_TYPES[mode])
        self._moments = np.zeros((shape[0], 4))  # least, greatest, sum, sum of squares of each image
        self._written = np.zeros(shape[0], dtype=bool)
        self._lock = threading.Lock()
        self._file = self.path.open("wb")
        self._file.truncate(HEADER_BYTES + int(np.prod(shape, dtype=np.int64)) * self._type.itemsize)

    def __enter__(self) -> "MrcStackWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._file:
            if kind is None:
                self._finish()

    def write(self, start: int, images: npt.NDArray[np.float32]) -> None:
        """Write images, shape (m, h, w), at the positions ``start``, ``start + 1``, ..."""
        images = np.asarray(images)
        stop = start + len(images)
        if start < 0 or stop > self.shape[0] or images.shape[1:] != self.shape[1:]:
            raise DataError(self.path, f"images {images.shape} at {start} do not fit a stack of {self.shape}")
        stored = self._stored(images, start)
        pixels = stored.reshape(len(stored), -1)
        exact = pixels.astype(np.float32, copy=False)  # every mode fits; NumPy is slow on float16
        sums = exact.sum(axis=1, dtype=np.float64)
        squares = np.square(exact, dtype=np.float64).sum(axis=1)
        offset = HEADER_BYTES + start * pixels[:1].nbytes
        data = np.ascontiguousarray(pixels).data.cast("B")
        while data:
            sent = os.pwrite(self._file.fileno(), data, offset)
            data, offset = data[sent:], offset + sent
        with self._lock:
            self._moments[start:stop] = np.stack((exact.min(axis=1), exact.max(axis=1), sums, squares), axis=1)
            self._written[start:stop] = True

    def _stored(self, images: npt.NDArray[np.float32], start: int) -> npt.NDArray[np.float32]:
        """Return the images in the type of the file, or raise ``DataError`` where it cannot hold them."""
        values = images if self._type.kind == "f" else np.rint(images)
        limit = np.finfo(self._type) if self._type.kind == "f" else np.iinfo(self._type)
        inside = (values >= float(limit.min)) & (values <= float(limit.max))  # false for NaN
        bad = ~inside.reshape(len(images), -1).all(axis=1)
        if bad.any():
            image = start + int(np.flatnonzero(bad)[0]) + 1
            raise DataError(self.path, f"image {image} has a pixel that is NaN or too large for mode {self.mode}")
        return values.astype(self._type, copy=False)

    def _finish(self) -> None:
        if not self._written.all():
            raise DataError(self.path, f"image {int(np.flatnonzero(~self._written)[0]) + 1} was never written")
        os.pwrite(self._file.fileno(), self._header().tobytes(), 0)

    def _header(self) -> npt.NDArray[np.void]:
        n, h, w = self.shape
        header = np.zeros((), HEADER_DTYPE.newbyteorder("<"))
        header["nx"], header["ny"], header["nz"], header["mode"] = w, h, n, self.mode
        header["mx"], header["my"], header["mz"] = w, h, 1
        size = self.pixel_size_A or 0.0
        header["cella"] = (w * size, h * size, size)
        header["cellb"] = (90.0, 90.0, 90.0)
        header["mapc"], header["mapr"], header["maps"] = 1, 2, 3
        total = float(n) * h * w
        mean = self._moments[:, 2].sum() / total
        header["dmin"], header["dmax"] = self._moments[:, 0].min(), self._moments[:, 1].max()
        header["dmean"] = mean
        header["rms"] = np.sqrt(max(self._moments[:, 3].sum() / total - mean**2, 0.0))
        header["ispg"], header["nversion"] = 0, 20140
        header["map"], header["machst"] = b"MAP ", (0x44, 0x44, 0, 0)
        header["nlabl"] = 1
        header["label"][0] = f"cryoisac {__version__}".encode()
        return header
