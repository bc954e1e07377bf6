"""The image files of a run: told apart by their ends, so that a run that continues finds what it began with."""

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cryoisac.errors import DataError, FormatError, RunError
from cryoisac.io.mrc import MrcStack

Marks = npt.NDArray[np.uint8]

END_BYTES = 1 << 16
MARK_BYTES = 16
READERS = 16  # at once, also on few cores: files on a network are waited for


def marks_of(stacks: Sequence[Path]) -> Marks:
    """Return a checksum of the size, the beginning and the end of each file, shape (n, 16).

    Raises
    ------
    DataError
        If a file cannot be read.
    """
    with ThreadPoolExecutor(READERS) as pool:
        marks = [np.frombuffer(mark, dtype=np.uint8) for mark in pool.map(_mark, stacks)]
    return np.array(marks, dtype=np.uint8).reshape(-1, MARK_BYTES)


def open_own(path: Path) -> MrcStack:
    """Return a stack that the run has written itself."""
    try:
        return MrcStack(path)
    except FormatError as error:
        raise RunError(path, "is damaged; delete it and give the same command again") from error


def check_unchanged(directory: Path, stacks: Sequence[Path], then: Marks, now: Marks) -> None:
    """Raise ``RunError`` unless the files of a run have the marks that they had when it began."""
    changed = np.flatnonzero((then != now).any(axis=1)) if then.shape == now.shape else np.arange(len(stacks))
    if len(changed):
        others = f" and {len(changed) - 1} more image files" if len(changed) > 1 else ""
        were = "were" if others else "was"
        raise RunError(
            directory,
            f"holds a run whose images have changed: {stacks[changed[0]]}{others} {were} different when it began; "
            "bring back what it began with, or choose another directory",
        )


def _mark(path: Path) -> bytes:
    digest = hashlib.blake2b(digest_size=MARK_BYTES)
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            digest.update(f"{size} ".encode())
            digest.update(file.read(END_BYTES))
            file.seek(max(size - END_BYTES, 0))
            digest.update(file.read(END_BYTES))
    except OSError as error:
        raise DataError(path, f"cannot be read: {error.strerror}") from error
    return digest.digest()
