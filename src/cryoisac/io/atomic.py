"""Files that are either whole or not there."""

import contextlib
import os
import secrets
from collections.abc import Callable
from pathlib import Path


def write_whole(path: str | Path, writer: Callable[[Path], object]) -> None:
    """Write a file so that at any moment the old one or the whole new one stands at ``path``.

    Parameters
    ----------
    path : str or Path
        The file to make or replace.
    writer : callable
        ``writer(temporary)`` writes the whole file at ``temporary``, a hidden path beside ``path``.

    Notes
    -----
    The temporary file is flushed to the disk, renamed, and its directory flushed. Its name is new each time and
    never read, so what a killed process leaves behind does no harm.
    """
    target = Path(path)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.partial")
    try:
        writer(temporary)
        _flush(temporary)
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    with contextlib.suppress(OSError):  # some file systems cannot flush a directory
        _flush(target.parent)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
