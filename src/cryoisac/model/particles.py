"""Particles: metadata at once, pixels on demand."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from cryoisac.model.ctf import CtfParameters
from cryoisac.model.table import Metadata

DIGEST_IMAGES = 256


class ImageSource(Protocol):
    """Where pixels come from. ``read`` may be called from several threads at once."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of images, rows, columns."""

    def read(self, index: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Return the images ``index``, shape (m, h, w), float32."""


class ArrayImages:
    """Images in memory.

    Parameters
    ----------
    images : ndarray, shape (n, h, w)
        Numbers of any kind; those that are read become float32.
    """

    def __init__(self, images: npt.NDArray[Any]) -> None:
        self._images = images

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of images, rows, columns."""
        n, h, w = self._images.shape
        return n, h, w

    def read(self, index: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Return the images ``index``, shape (m, h, w), float32."""
        return self._images[index].astype(np.float32)

    def digest(self) -> str:
        """Return a checksum of all pixels, as hexadecimal text."""
        found = hashlib.sha256(f"{self.shape}".encode())
        for start in range(0, len(self._images), DIGEST_IMAGES):
            part = np.arange(start, min(start + DIGEST_IMAGES, len(self._images)))
            found.update(self.read(part).data)
        return found.hexdigest()


@dataclass(frozen=True, eq=False, kw_only=True)
class Particles:
    """Particle images and what their file says of them.

    Parameters
    ----------
    path : Path
        The file that named them.
    source : ImageSource
        Gives pixels on demand.
    name_of : callable
        ``name_of(i)`` is the name of image ``i`` in RELION's form, ``000001@stack.mrcs``.
    pixel_size_A : ndarray, shape (n,), or None
        Pixel size of each image in Å, or ``None`` where the file does not say.
    ctf : CtfParameters or None
        CTF parameters, or ``None`` where the file has none.
    metadata : Metadata or None
        The STAR blocks they came with.
    ctf_missing : tuple of str
        Names of the CTF columns or attributes that the file lacks, for the error message; empty if ``ctf`` is set.
    image_root : Path or None
        Absolute directory that relative names are relative to, where a file gave names.
    attributes : mapping of str to sequence
        Further header attributes by name (HDF stacks), one value an image.
    stacks : tuple of Path
        Image files besides ``path``.
    """

    path: Path
    source: ImageSource
    name_of: Callable[[int], str]
    pixel_size_A: npt.NDArray[np.float64] | None = None
    ctf: CtfParameters | None = None
    metadata: Metadata | None = None
    ctf_missing: tuple[str, ...] = ()
    image_root: Path | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)
    stacks: tuple[Path, ...] = ()

    def __len__(self) -> int:
        return self.source.shape[0]

    @property
    def box_px(self) -> tuple[int, int]:
        """Rows and columns of an image."""
        return self.source.shape[1:]

    def read(self, index: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Return the images ``index``, shape (m, h, w), float32."""
        return self.source.read(index)
