"""The bytes of a file, decompressed where it is compressed."""

import bz2
import gzip
import os
import weakref
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cryoisac.errors import FormatError

HEAD_BYTES = 4096
GZIP, BZIP2 = b"\x1f\x8b", b"BZh"


def head(path: Path) -> bytes:
    """Return the first 4096 bytes of a file, or of what it holds where it is gzip or bzip2.

    Raises
    ------
    FormatError
        If there is no such file, or it is a directory, empty or damaged.
    """
    if path.is_dir():
        raise FormatError(path, "is a directory; give the file in it")
    try:
        with path.open("rb") as file:
            start = file.read(HEAD_BYTES)
        if start.startswith(GZIP):
            with gzip.open(path) as packed:
                start = packed.read(HEAD_BYTES)
        elif start.startswith(BZIP2):
            with bz2.open(path) as squeezed:
                start = squeezed.read(HEAD_BYTES)
    except (OSError, EOFError, zlib.error) as error:
        raise _unreadable(path, error) from error
    if not start:
        raise FormatError(path, "is empty")
    return start


class Content:
    """The bytes of a file: read from where they lie, by any thread; held in memory where the file is gzip or bzip2.

    Parameters
    ----------
    path : Path
        The file. It stays open until nobody holds this any more.

    Raises
    ------
    FormatError
        As ``head``.

    Notes
    -----
    Files are read and not mapped: what is read is no memory of the process beyond where it is put, a file that is cut
    short meanwhile is an error and not the end of the process, and threads do not wait for each other's pages.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        start = head(path)
        try:
            self._file = os.open(path, os.O_RDONLY)
            weakref.finalize(self, os.close, self._file)
            self._held = _unpacked(path)
            self.size = os.fstat(self._file).st_size if self._held is None else len(self._held)
        except (OSError, EOFError, ValueError, zlib.error) as error:
            raise _unreadable(path, error) from error
        self.start = start

    def read(self, offsets: npt.NDArray[np.int64], out: npt.NDArray[Any]) -> None:
        """Fill each of the items of ``out``, an array of any type, with the bytes from its offset on."""
        size = out[:1].nbytes
        if not len(out) or not size:
            return
        first = np.flatnonzero(np.append(True, np.diff(offsets) != size))  # of items that lie one after the other
        octets = out.reshape(-1).view(np.uint8)
        for begin, end in zip(first.tolist(), [*first[1:].tolist(), len(out)], strict=True):
            self._fill(int(offsets[begin]), octets[begin * size : end * size])

    def _fill(self, offset: int, out: npt.NDArray[np.uint8]) -> None:
        if self._held is not None:
            out[:] = self._held[offset : offset + len(out)]
            return
        room = out.data
        while room:
            try:
                count = os.preadv(self._file, [room], offset)
            except OSError as error:
                raise _unreadable(self.path, error) from error
            if not count:
                raise FormatError(self.path, "was cut short while it was being read; copy it again")
            room, offset = room[count:], offset + count


def _unpacked(path: Path) -> npt.NDArray[np.uint8] | None:
    """Return what a gzip or bzip2 file holds, and ``None`` for other files."""
    with path.open("rb") as file:
        start = file.read(len(BZIP2))
        for magic, unpack in ((GZIP, gzip.decompress), (BZIP2, bz2.decompress)):
            if start.startswith(magic):
                return np.frombuffer(unpack(start + file.read()), np.uint8)
    return None


def _unreadable(path: Path, error: Exception) -> FormatError:
    reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
    return FormatError(path, f"cannot be read: {reason}")
