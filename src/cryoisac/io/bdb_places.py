"""Where the images of an EMAN2 database lie: in its own files, in MRC stacks, or in other databases."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cryoisac.errors import FormatError
from cryoisac.io.bdb_address import FOLDER, SCHEME, SUFFIX, Address
from cryoisac.io.bdb_table import BdbTable
from cryoisac.io.mrc import MrcHeader, MrcStack

LONGEST_CHAIN = 32  # of databases whose images lie in the next
LONGEST_OFFSET = 15  # digits
PLAIN = np.dtype("<f4")


@dataclass(frozen=True)
class Place:
    """Where an image lies: at an offset of a file of plain pixels, or as a slice of an MRC stack.

    Parameters
    ----------
    file : Path
        The file.
    offset : int
        Byte where its pixels begin.
    kind : numpy.dtype
        Type of a pixel.
    image : int
        Position in an MRC stack, from 0; -1 in a file of plain pixels.
    """

    file: Path
    offset: int
    kind: np.dtype[Any] = PLAIN
    image: int = -1


class Tracer:
    """Finds where images lie, through the databases that name each other.

    Parameters
    ----------
    table : BdbTable
        The database to start from.
    side : tuple of int
        Rows and columns of its images.
    """

    def __init__(self, table: BdbTable, side: tuple[int, int]) -> None:
        self._table, self._side = table, side
        self._tables = {table.file.absolute(): table}
        self._stacks: dict[Path, MrcHeader] = {}
        self._sizes: dict[Path, int] = {}
        self._tidied: dict[Path, Path] = {}
        self._sources: dict[tuple[Path, str], Path] = {}

    @property
    def databases(self) -> tuple[Path, ...]:
        """Files of the databases that images were traced through, but the first."""
        return tuple(self._tables)[1:]

    def place(self, image: int) -> Place:
        """Return where an image lies, or raise ``FormatError`` saying what is missing."""
        table, i = self._table, image
        for _ in range(LONGEST_CHAIN):
            path = table.value(i, "data_path")
            if path is not None:
                return self._named(table, i, str(path))
            if i in table.records:
                size, record = table.records[i]
                h, w = self._side
                if size != f"{w}x{h}x1":
                    raise FormatError(
                        table.file, f"keeps image {i} among those of {size} px; its header says {w}x{h}x1"
                    )
                return self._plain(table.file.with_name(f"{table.file.stem}_{size}"), record * 4 * h * w, image)
            source, number = table.value(i, "data_source"), table.value(i, "data_n")
            if source is None:
                raise FormatError(table.file, f"image {i} has a header but no pixels, here or elsewhere")
            table = self._opened(table.file, str(source))
            if not isinstance(number, int) or not 0 <= number < len(table):
                raise FormatError(
                    self._table.file, f"image {image} is image {number} of {table.file}, which holds {len(table)}"
                )
            i = number
        raise FormatError(
            self._table.file,
            f"image {image} is traced through more than {LONGEST_CHAIN} databases, perhaps in a circle",
        )

    def _named(self, table: BdbTable, i: int, path: str) -> Place:
        """Return the place that ``data_path`` names: ``path*offset``, or an MRC stack."""
        name, star, offset = path.rpartition("*")
        if star and not (offset.isdecimal() and len(offset) <= LONGEST_OFFSET):
            raise FormatError(table.file, f"image {i} has a data_path '{path}', which ends in no whole number of bytes")
        named = table.file.parent / (name if star else path)
        if named not in self._tidied:
            self._tidied[named] = _tidy(named)
        file = self._tidied[named]
        if star:
            return self._plain(file, int(offset), i)
        self._must_exist(file, i)
        if file not in self._stacks:
            self._stacks[file] = MrcStack(file).header
        header, image = self._stacks[file], table.value(i, "ptcl_source_coord_id")
        n, *sides = header.shape
        if tuple(sides) != self._side:
            raise FormatError(
                file, f"has images of {sides[0]} x {sides[1]} px, {table.file} says {self._side[0]} x {self._side[1]}"
            )
        if image is None and n == 1:
            image = 0
        if not isinstance(image, int) or not 0 <= image < n:
            raise FormatError(table.file, f"image {i} is slice {image} of {file}, which holds {n}")
        size = sides[0] * sides[1] * header.pixel_type.itemsize
        return Place(file, header.first_byte + image * size, header.pixel_type, image)

    def _plain(self, file: Path, offset: int, image: int) -> Place:
        if file not in self._sizes:
            self._must_exist(file, image)
            self._sizes[file] = file.stat().st_size
        expected = offset + 4 * self._side[0] * self._side[1]
        if expected > self._sizes[file]:
            raise FormatError(
                file,
                f"is cut short: image {image} of {self._table.file.name} needs {expected} bytes, "
                f"{self._sizes[file]} found; copy it again",
            )
        return Place(file, offset)

    def _must_exist(self, file: Path, image: int) -> None:
        if not _is_file(file):
            raise FormatError(
                self._table.file, f"the pixels of image {image} are missing: there is no file {file}; copy it there"
            )

    def _opened(self, file: Path, source: str) -> BdbTable:
        """Return the database that a header in ``file`` names."""
        if (file, source) not in self._sources:
            self._sources[file, source] = _beside(file, source)
        found = self._sources[file, source]
        key = found.absolute()
        if key not in self._tables:
            self._tables[key] = BdbTable(found)
        return self._tables[key]


def _beside(file: Path, source: str) -> Path:
    """Return the database that a header in ``file`` names, seen from the current directory or from this database."""
    if not source.startswith(SCHEME):
        raise FormatError(file, f"its images lie in {source}, which is no database; read that file instead")
    named = Address.parse(source)
    places = dict.fromkeys(place / named.directory for place in (Path(), file.parent.parent))
    found = [path for path in (place / FOLDER / f"{named.name}{SUFFIX}" for place in places) if _is_file(path)]
    if not found:
        looked_for = " and ".join(f"{place / FOLDER}" for place in places)
        raise FormatError(
            file, f"its images lie in {source}, which is missing: looked for in {looked_for}; copy it there"
        )
    if not found[0].samefile(found[-1]):
        raise FormatError(
            file, f"its images lie in {source}, which is {found[0]} or {found[-1]}; start from another directory"
        )
    return found[0]


def _tidy(path: Path) -> Path:
    """Return a path without ``..``, if it still leads to the same file."""
    short = Path(os.path.normpath(path))
    return short if _is_file(short) and _is_file(path) and short.samefile(path) else path


def _is_file(path: Path) -> bool:
    """Return whether there is such a file; a name too long for the system names none."""
    try:
        return path.is_file()
    except OSError:
        return False
