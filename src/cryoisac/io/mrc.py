"""MRC2014 image stacks: read block by block; see ``mrc_write`` for writing."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from mrcfile.dtypes import HEADER_DTYPE

from cryoisac.errors import DataError, FormatError
from cryoisac.io.content import Content
from cryoisac.model.particles import Particles

PACKED = ("", ".gz", ".bz2")
SUFFIXES: tuple[str, ...] = tuple(f".{kind}{packed}" for kind in ("mrcs", "mrc", "map", "st") for packed in PACKED)
HEADER_BYTES = 1024
PIXEL_TYPES = {0: "i1", 1: "i2", 2: "f4", 6: "u2", 12: "f2"}
REFUSED_MODES = {3: "complex 16-bit integers", 4: "complex floats", 101: "packed 4-bit integers"}
LARGEST_SIDE = 1 << 16
IMOD_STAMP = 1146047817


@dataclass(frozen=True, kw_only=True)
class MrcHeader:
    """What a header says, checked.

    Parameters
    ----------
    shape : tuple of int
        Images, rows, columns.
    pixel_type : numpy.dtype
        Type of a pixel, with its byte order.
    first_byte : int
        Where pixels begin.
    space_group : int
        ``ISPG``: 0 for a stack of images, 1 and more for a volume.
    cell : tuple of tuple
        ``(CELLA.X, MX), (CELLA.Y, MY)``.
    """

    shape: tuple[int, int, int]
    pixel_type: np.dtype[Any]
    first_byte: int
    space_group: int
    cell: tuple[tuple[float, int], tuple[float, int]]

    def pixel_size_A(self, path: Path) -> float | None:
        """Return CELLA.X / MX in Å; ``None`` where that is 0 or x and y disagree by more than a hundredth."""
        x, y = (length / (number or side) for (length, number), side in zip(self.cell, self.shape[:0:-1], strict=True))
        if not np.isfinite([x, y]).all() or x < 0 or y < 0:
            raise FormatError(path, f"has a cell of {x:g} x {y:g} Å a pixel; correct its header")
        return float(x) if x > 0 and abs(x - y) <= 0.01 * x else None


def sniff(head: bytes) -> bool:
    """Return whether a file that begins with ``head`` (1024 bytes or more) is an MRC file."""
    return len(head) >= HEADER_BYTES and _parse(head) is not None


def read(path: Path) -> Particles:
    """Return the images of a stack; MRC headers say nothing of the CTF.

    Raises
    ------
    FormatError
        If the file is no stack of images, is cut short, or has pixels of a type that is not read.
    """
    stack = MrcStack(path)
    _refuse_volume(path, stack.header)
    size = stack.pixel_size_A
    return Particles(
        path=path,
        source=stack,
        name_of=lambda i: f"{i + 1:06d}@{path}",
        image_root=Path.cwd(),
        pixel_size_A=None if size is None else np.full(len(stack), size),
        ctf_missing=("rlnDefocusU", "rlnDefocusV", "rlnDefocusAngle"),
    )


class MrcStack:
    """The images of one MRC file; its header is parsed once, its pixels are read when they are asked for.

    Parameters
    ----------
    path : Path
        An MRC file, as it is or compressed by gzip or bzip2 (then held in memory).

    Raises
    ------
    FormatError
        If the file is not what it claims to be.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self._content = Content(self.path)
        self.header = parse_header(self.path, self._content.start, self._content.size)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of images, rows, columns."""
        return self.header.shape

    @property
    def pixel_size_A(self) -> float | None:
        """Pixel size in Å, or ``None`` where the header does not say."""
        return self.header.pixel_size_A(self.path)

    def __len__(self) -> int:
        return self.header.shape[0]

    def read(self, index: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Return the images ``index``, shape (m, h, w), float32."""
        wanted = np.asarray(index, dtype=np.int64)
        check_index(self.path, wanted, len(self))
        _, h, w = self.shape
        images = np.empty((len(wanted), h, w), dtype=self.header.pixel_type)
        self._content.read(self.header.first_byte + wanted * (h * w * images.itemsize), images)
        return images.astype(np.float32, copy=False)


def check_index(path: Path, index: npt.NDArray[np.int64], n: int) -> None:
    """Raise ``DataError`` unless every index is one of ``n`` images."""
    outside = (index < 0) | (index >= n)
    if outside.any():
        raise DataError(path, f"image {index[outside][0] + 1} was asked for, but it holds {n}")


def parse_header(path: Path, start: bytes, size: int) -> MrcHeader:
    """Return the header of an MRC file of ``size`` bytes, or raise ``FormatError`` saying what is wrong with it."""
    if len(start) < HEADER_BYTES:
        raise FormatError(path, f"has {len(start)} bytes, fewer than the {HEADER_BYTES} of an MRC header")
    parsed = _parse(start[:HEADER_BYTES])
    if parsed is None:
        raise FormatError(path, "is no MRC file: its header holds no sensible size and mode")
    raw, order = parsed
    mode = int(raw["mode"])
    if mode in REFUSED_MODES:
        raise FormatError(path, f"holds {REFUSED_MODES[mode]} (mode {mode}); convert it to mode 2")
    if [int(raw[k]) for k in ("mapc", "mapr", "maps")] not in ([1, 2, 3], [0, 0, 0]):
        raise FormatError(path, "has its axes permuted (MAPC, MAPR, MAPS are not 1, 2, 3): not a stack of images")
    pixel_type = np.dtype(order + _pixel_type(mode, raw, order))
    header = MrcHeader(
        shape=(int(raw["nz"]), int(raw["ny"]), int(raw["nx"])),
        pixel_type=pixel_type,
        first_byte=HEADER_BYTES + int(raw["nsymbt"]),
        space_group=int(raw["ispg"]),
        cell=((float(raw["cella"]["x"]), int(raw["mx"])), (float(raw["cella"]["y"]), int(raw["my"]))),
    )
    expected = header.first_byte + math.prod(header.shape) * pixel_type.itemsize
    if size < expected:
        sides = " x ".join(map(str, header.shape))
        raise FormatError(
            path,
            f"is cut short: {sides} images in mode {mode} need {expected} bytes, {size} found; copy it again",
        )
    return header


def _parse(head: bytes) -> tuple[Any, str] | None:
    """Return the header and the byte order that makes sense of it, the machine stamp's first; or ``None``."""
    for order in "><" if head[212] == 0x11 else "<>":
        raw = np.frombuffer(head, HEADER_DTYPE.newbyteorder(order), 1)[0]
        sides = [int(raw[k]) for k in ("nx", "ny", "nz")]
        known = int(raw["mode"]) in PIXEL_TYPES or int(raw["mode"]) in REFUSED_MODES
        axes = sorted(int(raw[k]) for k in ("mapc", "mapr", "maps"))
        named = axes == [1, 2, 3] or (axes == [0, 0, 0] and head[208:211] == b"MAP")
        extended = 0 <= int(raw["nsymbt"]) < 1 << 31
        if known and named and extended and all(0 < s < LARGEST_SIDE for s in sides[:2]) and sides[2] > 0:
            return raw, order
    return None


def _pixel_type(mode: int, raw: Any, order: str) -> str:
    """Return the type of a pixel; IMOD's files of mode 0 are unsigned unless they say otherwise."""
    stamp, flags = np.frombuffer(raw["extra2"].tobytes(), order + "i4")[10:12]  # bytes 152 to 159 of the header
    return "u1" if mode == 0 and stamp == IMOD_STAMP and not flags & 1 else PIXEL_TYPES[mode]


def _refuse_volume(path: Path, header: MrcHeader) -> None:
    """Raise ``FormatError`` for a volume; a file called ``.mrcs`` is a stack whatever its header says."""
    n, h, w = header.shape
    if n == 1 or ".mrcs" in path.name.lower():
        return
    if header.space_group != 0 or n == h == w:
        raise FormatError(
            path,
            f"is a volume ({n} x {h} x {w}, ISPG {header.space_group}), not a stack of images; "
            "if it is a stack, name it .mrcs",
        )
