"""Addresses of EMAN2's databases: ``bdb:directory#name?images``."""

import os
from dataclasses import dataclass
from pathlib import Path

from cryoisac.errors import FormatError

SCHEME = "bdb:"
FOLDER = "EMAN2DB"
SUFFIX = ".bdb"
SHOWN = 5
CACHE = "00image_counts"


@dataclass(frozen=True)
class Address:
    """Where a database lies, and which of its images are meant.

    Parameters
    ----------
    directory : Path
        Directory that holds ``EMAN2DB``.
    name : str
        Name of the database.
    chosen : str
        What follows the ``?``; empty for all images.
    """

    directory: Path
    name: str
    chosen: str = ""

    @staticmethod
    def parse(text: str) -> "Address":
        """Return the address that EMAN2 users write: ``bdb:directory#name``, ``bdb:directory/name``, ``bdb:name``.

        Raises
        ------
        FormatError
            If it names no database.
        """
        place, _, chosen = text.removeprefix(SCHEME).partition("?")
        directory, name = place.rsplit("#", 1) if "#" in place else os.path.split(place)
        folder = Path(directory or ".")
        folder = folder.parent if folder.name == FOLDER else folder
        if not name:
            raise FormatError(text, f"names no database; write bdb:directory#name ({_others(folder / FOLDER)})")
        return Address(folder, name.removesuffix(SUFFIX), chosen)

    @property
    def file(self) -> Path:
        """File that holds the headers."""
        return self.directory / FOLDER / f"{self.name}{SUFFIX}"

    def found(self) -> Path:
        """Return the file that holds the headers, or raise ``FormatError`` saying what is there instead."""
        if self.file.is_file():
            return self.file
        if not self.directory.is_dir():
            raise FormatError(str(self), f"there is no directory {self.directory}; correct what stands before the #")
        if not self.file.parent.is_dir():
            raise FormatError(str(self), f"{self.directory} holds no {FOLDER}; give the directory that does")
        raise FormatError(str(self), f"there is no file {self.file}; {_others(self.file.parent)}")

    def __str__(self) -> str:
        return f"{SCHEME}{self.directory}#{self.name}" + (f"?{self.chosen}" if self.chosen else "")


def _others(folder: Path) -> str:
    """Return which databases a folder holds, as a part of a sentence."""
    names = sorted(p.stem for p in folder.glob(f"*{SUFFIX}") if p.stem != CACHE)
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{folder} holds {', '.join(names[:SHOWN]) or 'none'}{more}"
