"""The images of an EMAN2 HDF file and their raw headers."""

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from cryoisac.errors import FormatError
from cryoisac.io.content import Content
from cryoisac.io.eman_header import MATRIX_TYPE, PREFIX, decode
from cryoisac.io.mrc import check_index

SIGNATURE = b"\x89HDF\r\n\x1a\n"
IMAGES = "MDF/images"
PIXELS = b"image"


class HdfStack:
    """The images of one EMAN2 HDF file; plain ones are read from where they lie, others one at a time.

    Parameters
    ----------
    path : Path
        The file.

    Raises
    ------
    FormatError
        If the file is no stack of real 2-D images of one size, or an image is missing.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self._lock = threading.Lock()
        try:
            self._file = h5py.File(self.path, "r")
        except OSError as error:
            raise FormatError(self.path, f"cannot be opened as HDF5: {_one_line(error)}") from error
        with _damage_named(self.path):
            self._groups, self._datasets = self._find_images()
            sides = [self._side(i) for i in range(len(self))]
            odd = [i for i, side in enumerate(sides) if side != sides[0]]
            if odd:
                raise FormatError(self.path, f"image {odd[0]} is of {sides[odd[0]]} px, image 0 of {sides[0]}")
            self.shape: tuple[int, int, int] = (len(sides), *sides[0])
            self._offsets = self._plain_offsets()
        self._content = Content(self.path)

    def __len__(self) -> int:
        return len(self._datasets)

    def header(self, i: int) -> dict[str, Any]:
        """Return the header attributes of image ``i`` by name."""
        with self._lock, _damage_named(self.path):
            stored = [(name, self._value(i, name)) for name in self._names(i)]
        return {name: value for name, value in stored if value is not None}

    def names(self) -> list[str]:
        """Return the names of the attributes that any image has, as they come first."""
        with self._lock, _damage_named(self.path):
            return list(dict.fromkeys(name for i in range(len(self)) for name in self._names(i)))

    def column(self, name: str) -> list[Any]:
        """Return the value of one attribute for each image, ``None`` where an image has none."""
        with self._lock, _damage_named(self.path):
            return [self._value(i, name) for i in range(len(self))]

    def _names(self, i: int) -> list[str]:
        names: list[bytes] = []
        h5py.h5a.iterate(self._groups[i], names.append)
        return [name.decode(errors="replace").removeprefix(PREFIX) for name in names]

    def _value(self, i: int, name: str) -> Any:
        """Return what an attribute holds, or ``None`` where image ``i`` has none or it is empty."""
        group = self._groups[i]
        stored_name = next((n for n in ((PREFIX + name).encode(), name.encode()) if h5py.h5a.exists(group, n)), None)
        if stored_name is None:
            return None
        attribute = h5py.h5a.open(group, stored_name)
        shape = attribute.shape
        if shape is None or 0 in shape:
            return None
        try:
            return decode(name, _stored(attribute))
        except ValueError as error:
            raise FormatError(self.path, f"image {i}, attribute {name}: {error}") from error

    def read(self, index: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Return the images ``index``, shape (m, h, w), float32."""
        index = np.asarray(index, dtype=np.int64)
        check_index(self.path, index, len(self))
        _, h, w = self.shape
        if self._offsets is not None:
            plain = np.empty((len(index), h, w), dtype="<f4")
            self._content.read(self._offsets[index], plain)
            return plain.astype(np.float32, copy=False)
        images = np.empty((len(index), h, w), dtype=np.float32)
        with self._lock, _damage_named(self.path):
            for out, i in zip(images, index.tolist(), strict=True):
                out[:] = self._decoded(i).reshape(h, w)
        return images

    def _find_images(self) -> tuple[list[h5py.h5g.GroupID], list[h5py.h5d.DatasetID]]:
        """Return the groups and datasets of all images, in their order."""
        images = self._file.get(IMAGES)
        if not isinstance(images, h5py.Group) or "imageid_max" not in images.attrs:
            raise FormatError(
                self.path,
                f"is HDF5 but no EMAN2 stack: it has no {IMAGES} with imageid_max; give an MRC or EMAN2 stack",
            )
        n = int(np.ravel(images.attrs["imageid_max"])[0]) + 1
        if n < 1:
            raise FormatError(self.path, "holds no images")
        present = set(images)
        missing = next((i for i in range(n) if str(i) not in present), None)
        if missing is not None:
            raise FormatError(self.path, f"has no image {missing} of its {n}; renumber it with e2proc2d.py")
        groups = [h5py.h5g.open(images.id, str(i).encode()) for i in range(n)]
        bare = next((i for i, group in enumerate(groups) if not group.links.exists(PIXELS)), None)
        if bare is not None:
            raise FormatError(self.path, f"image {bare} has a header but no pixels")
        return groups, [h5py.h5d.open(group, PIXELS) for group in groups]

    def _side(self, i: int) -> tuple[int, int]:
        """Return rows and columns of image ``i``, or raise ``FormatError`` if it is no real 2-D image."""
        shape = self._datasets[i].shape
        if self._value(i, "is_complex"):
            raise FormatError(self.path, f"image {i} is a Fourier transform; give real-space images")
        if len(shape) == 3 and shape[0] == 1:
            shape = shape[1:]
        if len(shape) != 2:
            what = "a volume" if len(shape) == 3 else f"{len(shape)}-dimensional"
            raise FormatError(self.path, f"image {i} is {what} ({' x '.join(map(str, shape))}), not a 2-D image")
        return int(shape[0]), int(shape[1])

    def _plain_offsets(self) -> npt.NDArray[np.int64] | None:
        """Return where in the file the pixels of each image begin, or ``None`` unless all are plain float32."""
        offsets = [d.get_offset() if d.dtype == np.dtype("<f4") else None for d in self._datasets]
        if None in offsets:
            return None
        first = np.array(offsets, dtype=np.int64)
        expected, found = int(first.max()) + 4 * self.shape[1] * self.shape[2], self.path.stat().st_size
        if expected > found:
            raise FormatError(self.path, f"is cut short: its images need {expected} bytes, {found} found")
        return first

    def _decoded(self, i: int) -> npt.NDArray[np.float64]:
        """Return pixels; compressed ones are min + raw / (2^bits - 1) (max - min)."""
        raw = h5py.Dataset(self._datasets[i])[()]
        if raw.dtype.kind not in "iu" or self._value(i, "stored_renderbits") is None:
            return np.asarray(raw, dtype=np.float64)
        bits, low, high = (float(self._value(i, f"stored_render{key}")) for key in ("bits", "min", "max"))
        return low + raw / (2.0**bits - 1) * (high - low) if bits > 0 else np.asarray(raw, dtype=np.float64)


def _stored(attribute: Any) -> npt.NDArray[Any]:
    """Return what an HDF5 attribute holds; a transform by the position of its 48 bytes, as EMAN2 reads it."""
    kind = attribute.get_type()
    matrix = isinstance(kind, h5py.h5t.TypeCompoundID) and kind.get_nmembers() == 12 and kind.get_size() == 48
    stored = np.empty(attribute.shape, MATRIX_TYPE if matrix else kind.dtype)
    attribute.read(
        stored, mtype=None if stored.dtype.hasobject else kind
    )  # bytes as they lie, and no search for a type
    return stored


@contextlib.contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    """Turn what h5py raises on a damaged file into ``FormatError``."""
    try:
        yield
    except (OSError, RuntimeError, KeyError, TypeError, ValueError) as error:
        raise FormatError(path, f"is damaged: {_one_line(error)}") from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
