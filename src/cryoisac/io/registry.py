"""The formats that are read, and how a file is told to be one of them."""

from pathlib import Path
from typing import Protocol

from cryoisac.io import eman_bdb, eman_hdf, mrc, star
from cryoisac.io.content import head
from cryoisac.io.foreign import refusal, told_by_content, told_by_name
from cryoisac.io.stacks import read_image_stack
from cryoisac.model.particles import Particles

__all__ = ["FORMATS", "Format", "listing_of", "read_averages", "read_image_stack", "read_particles"]


class Format(Protocol):
    """What the module of a format has."""

    SUFFIXES: tuple[str, ...]

    def sniff(self, head: bytes) -> bool:
        """Return whether a file that begins with ``head`` is of this format."""

    def read(self, path: Path) -> Particles:
        """Return the particles of a file."""


FORMATS: tuple[Format, ...] = (eman_hdf, eman_bdb, mrc, star)


def read_particles(path: str | Path | Particles) -> Particles:
    """Read particle images: a RELION table, an MRC stack, or an EMAN2 HDF stack or database.

    Parameters
    ----------
    path : str, Path or Particles
        The file, or the address of a database, ``bdb:directory#name``. The content of a file decides what it is, its
        suffix only where the content does not. Particles that are read already are returned as they are.

    Raises
    ------
    FormatError
        Saying what the file is instead, or what is wrong with it.
    """
    if isinstance(path, Particles):
        return path
    path = Path(path)
    if eman_bdb.is_address(path):
        return eman_bdb.read(path)
    start = head(path)
    told = told_by_content(path, start)
    if told is not None:
        raise told
    for known in FORMATS:
        if known.sniff(start):
            return known.read(path)
    if told_by_name(path) is None:
        for known in FORMATS:
            if path.name.lower().endswith(known.SUFFIXES):
                return known.read(path)
    raise refusal(path, start)


def listing_of(path: str | Path) -> tuple[Path, str]:
    """Return the file behind a path or the address of a database, and which images of it are meant, as text."""
    return eman_bdb.locate(path)


def read_averages(path: str | Path) -> Particles:
    """Read class averages: a stack of any format, or a table that names them, RELION's and its own among them.

    Raises
    ------
    FormatError
        As ``read_particles``.
    """
    if not eman_bdb.is_address(path) and star.sniff(head(Path(path))):
        return star.read_averages(Path(path))
    return read_particles(path)
