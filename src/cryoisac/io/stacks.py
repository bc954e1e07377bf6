"""Image files, one by one or many as one."""

import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cryoisac.errors import FormatError
from cryoisac.io import eman_bdb, eman_hdf, foreign, mrc
from cryoisac.io.content import head
from cryoisac.io.eman_stack import HdfStack
from cryoisac.io.mrc import check_index
from cryoisac.model.particles import ImageSource

OPEN_STACKS = 100  # macOS allows a process 256 open files


def read_image_stack(path: str | Path) -> ImageSource:
    """Open a stack of images: MRC, EMAN2 HDF or EMAN2 database, told apart by content.

    Raises
    ------
    FormatError
        If the file is none of these, or damaged.
    """
    path = Path(path)
    if eman_bdb.is_address(path):
        return eman_bdb.open_stack(path)
    start = head(path)
    if eman_hdf.sniff(start):
        return HdfStack(path)
    if eman_bdb.sniff(start):
        return eman_bdb.open_stack(path)
    if mrc.sniff(start):
        return mrc.MrcStack(path)
    raise foreign.refusal(path, start)


@dataclass(frozen=True, eq=False, kw_only=True)
class Places:
    """Where each of ``n`` images lies.

    Parameters
    ----------
    listing : Path
        The file that lists the images.
    stacks : tuple of Path
        The image files.
    stack : ndarray, shape (n,), int64
        Index into ``stacks``.
    position : ndarray, shape (n,), int64
        Position in the file, from 0; -1 for the only image of a file.
    """

    listing: Path
    stacks: tuple[Path, ...]
    stack: npt.NDArray[np.int64]
    position: npt.NDArray[np.int64]


class ManyStacks:
    """Images that lie in many files, read file by file and in the order of each file.

    Files are opened when first needed; the latest hundred stay open.

    Parameters
    ----------
    places : Places
        Where each image lies; at least one.
    """

    def __init__(self, places: Places) -> None:
        self.places = places
        self._open: OrderedDict[int, ImageSource] = OrderedDict()
        self._lock = threading.Lock()
        self._side = read_image_stack(places.stacks[places.stack[0]]).shape[1:]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of images, rows, columns."""
        return len(self.places.stack), *self._side

    def __len__(self) -> int:
        return len(self.places.stack)

    def read(self, index: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Return the images ``index``, shape (m, h, w), float32."""
        index = np.asarray(index, dtype=np.int64)
        check_index(self.places.listing, index, len(self))
        stack, position = self.places.stack[index], self.places.position[index]
        if len(index) and (stack == stack[0]).all():
            return self._read_one(int(stack[0]), index)
        order = np.lexsort((position, stack))
        images = np.empty((len(index), *self._side), dtype=np.float32)
        for same in np.split(order, np.flatnonzero(np.diff(stack[order])) + 1):
            if len(same):
                images[same] = self._read_one(int(stack[same[0]]), index[same])
        return images

    def _read_one(self, stack: int, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Read rows of the listing that lie in one stack."""
        source, path = self._stack(stack), self.places.stacks[stack]
        position = self.places.position[rows]
        holds = source.shape[0]
        beyond = (position >= holds) | ((position < 0) & (holds != 1))
        if beyond.any():
            row = int(rows[beyond][0])
            asked = self.places.position[row] + 1
            named = f"image {asked} of {path}" if asked else f"{path} without the number of an image"
            raise FormatError(
                self.places.listing,
                f"row {row + 1} names {named}, which holds {holds}; correct the table, or copy the whole stack again",
            )
        return source.read(np.maximum(position, 0))

    def _stack(self, stack: int) -> ImageSource:
        with self._lock:
            source = self._open.get(stack)
        if source is None:  # opened while others go on reading; two threads may open the same file, and one is kept
            source = self._opened(self.places.stacks[stack])
        with self._lock:
            source = self._open.setdefault(stack, source)
            self._open.move_to_end(stack)
            if len(self._open) > OPEN_STACKS:
                self._open.popitem(last=False)
        return source

    def _opened(self, path: Path) -> ImageSource:
        source = read_image_stack(path)
        if source.shape[1:] != self._side:
            (h, w), (own_h, own_w) = self._side, source.shape[1:]
            raise FormatError(
                path,
                f"has images of {own_h} x {own_w} px, others named by {self.places.listing} have {h} x {w}; "
                "bring all to one box",
            )
        return source
