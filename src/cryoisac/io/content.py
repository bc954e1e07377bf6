"""The bytes of a file, decompressed where it is compressed."""

import bz2
import gzip
import os
import zlib
from pathlib import Path

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


def contents(path: Path) -> npt.NDArray[np.uint8]:
    """Return the bytes of a file: mapped, or decompressed in memory where it is gzip or bzip2.

    Raises
    ------
    FormatError
        As ``head``.
    """
    head(path)
    try:
        mapped = np.asarray(np.memmap(path, np.uint8, "r"))
        packed = mapped[:3].tobytes()
        if packed.startswith(GZIP):
            return np.frombuffer(gzip.decompress(mapped.tobytes()), np.uint8)
        if packed.startswith(BZIP2):
            return np.frombuffer(bz2.decompress(mapped.tobytes()), np.uint8)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise _unreadable(path, error) from error
    return mapped


def _unreadable(path: Path, error: Exception) -> FormatError:
    reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
    return FormatError(path, f"cannot be read: {reason}")
