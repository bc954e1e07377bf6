"""The images of an EMAN2 database: headers at once, pixels on demand from wherever they lie."""

import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cryoisac.errors import FormatError
from cryoisac.io.bdb_places import Tracer
from cryoisac.io.bdb_table import BdbTable
from cryoisac.io.content import Content
from cryoisac.io.mrc import check_index

OPEN_FILES = 100  # macOS allows a process 256
LONGEST_NUMBER = 12
LISTS = "select"  # the database that holds lists of images by name


class BdbStack:
    """The images of one database.

    Parameters
    ----------
    file : Path
        ``directory/EMAN2DB/name.bdb``.
    chosen : str
        Which images: numbers from 0 between commas, ``select.NAME`` or ``exclude.NAME``; all where it is empty.

    Attributes
    ----------
    index : ndarray, shape (n,), int64
        Number of each image in the database.
    places : list of Place
        Where each image lies.
    files, databases : tuple of Path
        Files with pixels, and other databases that images were traced through.

    Raises
    ------
    FormatError
        If the database is damaged, an image or a file with pixels is missing, or images are not of one size.
    """

    def __init__(self, file: Path, chosen: str = "") -> None:
        self.path = file
        self._table = BdbTable(file)
        if not len(self._table):
            raise FormatError(file, "holds no images")
        self.index = _chosen(self._table, chosen)
        sides = [self._side(i) for i in self.index.tolist()]
        odd = next((k for k, side in enumerate(sides) if side != sides[0]), None)
        if odd is not None:
            raise FormatError(file, f"image {self.index[odd]} is of {sides[odd]} px, {self.index[0]} of {sides[0]}")
        self.shape: tuple[int, int, int] = (len(sides), *sides[0])
        tracer = Tracer(self._table, sides[0])
        self.places = [tracer.place(i) for i in self.index.tolist()]
        self.databases = tracer.databases
        self.files = tuple(dict.fromkeys(place.file for place in self.places))
        number = {file: f for f, file in enumerate(self.files)}
        self._of = np.array([number[place.file] for place in self.places], dtype=np.int64)
        self._offsets = np.array([place.offset for place in self.places], dtype=np.int64)
        self._kinds = {number[place.file]: place.kind for place in self.places}
        self._open: OrderedDict[int, Content] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return self.shape[0]

    def names(self) -> list[str]:
        """Return the names of the attributes that any image has, as they come first."""
        return [name for name in self._table.columns if any(value is not None for value in self.column(name))]

    def column(self, name: str) -> list[Any]:
        """Return the value of one attribute for each image, ``None`` where an image has none."""
        return [self._table.value(i, name) for i in self.index.tolist()]

    def read(self, index: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Return the images ``index``, shape (m, h, w), float32."""
        index = np.asarray(index, dtype=np.int64)
        check_index(self.path, index, len(self))
        images = np.empty((len(index), *self.shape[1:]), dtype=np.float32)
        order = np.lexsort((self._offsets[index], self._of[index]))
        of = self._of[index][order]
        for rows in np.split(order, np.flatnonzero(np.diff(of)) + 1):
            if len(rows):
                file = int(self._of[index[rows[0]]])
                stored = np.empty((len(rows), *self.shape[1:]), dtype=self._kinds[file])
                self._content(file).read(self._offsets[index[rows]], stored)
                images[rows] = stored
        return images

    def _content(self, file: int) -> Content:
        with self._lock:
            content = self._open.get(file)
        if content is None:  # opened while others read on; two threads may open the same file, and one is kept
            content = Content(self.files[file])
        with self._lock:
            content = self._open.setdefault(file, content)
            self._open.move_to_end(file)
            if len(self._open) > OPEN_FILES:
                self._open.popitem(last=False)
        return content

    def _side(self, i: int) -> tuple[int, int]:
        """Return rows and columns of image ``i``, or raise ``FormatError`` if it is no real 2-D image."""
        nx, ny, nz = sides = tuple(self._table.value(i, name) for name in ("nx", "ny", "nz"))
        if not all(isinstance(side, int) and 0 < side < 1 << 16 for side in (nx, ny)):
            raise FormatError(self.path, f"image {i} has no size: nx, ny, nz are {', '.join(map(str, sides))}")
        if self._table.value(i, "is_complex"):
            raise FormatError(self.path, f"image {i} is a Fourier transform; give real-space images")
        if nz not in (None, 1):
            raise FormatError(self.path, f"image {i} is a volume ({nz} x {ny} x {nx}), not a 2-D image")
        return ny, nx


def _chosen(table: BdbTable, chosen: str) -> npt.NDArray[np.int64]:
    """Return the numbers of the images that are meant."""
    kind, _, name = chosen.partition(".")
    if kind in ("select", "exclude") and name:
        lists = table.file.with_name(f"{LISTS}.bdb")
        if not lists.is_file():
            raise FormatError(table.file, f"?{chosen} needs {lists}, which is missing; give the numbers of the images")
        numbers = BdbTable(lists).listed(name)
    else:
        words = chosen.split(",") if chosen else []
        if not all(word.strip().isdecimal() and len(word) <= LONGEST_NUMBER for word in words):
            raise FormatError(
                table.file, f"?{chosen} names no images; write numbers from 0 as ?0,1,5, or ?select.LIST, ?exclude.LIST"
            )
        numbers = [int(word) for word in words] if words else list(range(len(table)))
    beyond = next((n for n in numbers if not 0 <= n < len(table)), None)
    if beyond is not None:
        raise FormatError(table.file, f"?{chosen} names image {beyond}, but it holds {len(table)}, counted from 0")
    index = np.array(numbers, dtype=np.int64)
    index = np.setdiff1d(np.arange(len(table)), index) if kind == "exclude" else index
    if not len(index):
        raise FormatError(table.file, f"?{chosen} leaves no image")
    return index
