"""The formats that are read, and how a file is told to be one of them."""

from pathlib import Path
from typing import Protocol

from cryoisac.io import eman_hdf, mrc, star
from cryoisac.io.content import head
from cryoisac.io.foreign import refusal, refuse_database, told_by_content, told_by_name
from cryoisac.io.stacks import read_image_stack
from cryoisac.model.particles import Particles

__all__ = ["FORMATS", "Format", "read_image_stack", "read_particles"]


class Format(Protocol):
    """What the module of a format has."""

    SUFFIXES: tuple[str, ...]

    def sniff(self, head: bytes) -> bool:
        """Return whether a file that begins with ``head`` is of this format."""

    def read(self, path: Path) -> Particles:
        """Return the particles of a file."""


FORMATS: tuple[Format, ...] = (eman_hdf, mrc, star)


def read_particles(path: str | Path) -> Particles:
    """Read particle images: a RELION table, an MRC stack or an EMAN2 HDF stack.

    Parameters
    ----------
    path : str or Path
        The file; its content decides what it is, its suffix only where the content does not.

    Raises
    ------
    FormatError
        Saying what the file is instead, or what is wrong with it.
    """
    refuse_database(str(path))
    path = Path(path)
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
