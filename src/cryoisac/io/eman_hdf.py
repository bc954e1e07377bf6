"""EMAN2 HDF stacks: images and header attributes of every type, in and out."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from cryoisac.errors import DataError
from cryoisac.io.eman_header import PREFIX, encode, needs_new_format
from cryoisac.io.eman_particles import eman_particles
from cryoisac.io.eman_stack import IMAGES, SIGNATURE, HdfStack
from cryoisac.model.particles import Particles

SUFFIXES: tuple[str, ...] = (".hdf", ".h5", ".hdf5")


def sniff(head: bytes) -> bool:
    """Return whether ``head`` begins an HDF5 file."""
    return head.startswith(SIGNATURE)


def read(path: Path) -> Particles:
    """Return the images of a stack with their headers, as ``eman_particles`` does.

    Raises
    ------
    FormatError
        If the file is no stack of real 2-D images of one size, or an image is missing.
    """
    return eman_particles(path, HdfStack(path), name_of=lambda i: f"{i + 1:06d}@{path}")


def write_hdf_stack(
    path: Path,
    images: npt.NDArray[np.float32],
    pixel_size_A: float | None = None,
    attributes: Sequence[Mapping[str, Any]] = (),
) -> None:
    """Write a stack that EMAN2 and SPHIRE read; equal input gives equal bytes.

    Parameters
    ----------
    path : Path
        The file to write.
    images : ndarray, shape (n, h, w)
        The images.
    pixel_size_A : float, optional
        Pixel size in Å; 1 where it is unknown, as in EMAN2.
    attributes : sequence of mapping, optional
        Header attributes of each image: numbers, text, lists of numbers, ``EmanCtf``, ``EmanTransform``.

    Raises
    ------
    DataError
        If EMAN2 could not read an attribute back, or a pixel is not finite.
    """
    if images.ndim != 3 or not images.size:
        raise DataError(path, f"images of shape {images.shape} are no stack")
    given = attributes or [{}] * len(images)
    if len(given) != len(images):
        raise DataError(path, f"{len(given)} headers for {len(images)} images")
    write_hdf_blocks(path, [images], given, pixel_size_A)


def write_hdf_blocks(
    path: Path,
    blocks: Iterable[npt.NDArray[np.float32]],
    attributes: Sequence[Mapping[str, Any]],
    pixel_size_A: float | None = None,
) -> None:
    """Write a stack as ``write_hdf_stack`` does, without all images in memory.

    Parameters
    ----------
    path : Path
        The file to write.
    blocks : iterable of ndarray, shape (m, h, w)
        The images, some at a time.
    attributes : sequence of mapping
        Header attributes, one for each image.
    pixel_size_A : float, optional
        Pixel size in Å; 1 where it is unknown.

    Raises
    ------
    DataError
        If EMAN2 could not read an attribute back, or a pixel is not finite.
    """
    own = [_encoded(path, i, header) for i, header in enumerate(attributes)]
    # Version 1.8's format holds attributes beyond 64 KiB; EMAN2 with HDF5 1.10 cannot read later ones.
    libver = ("v108", "v108") if needs_new_format(own) else None
    with h5py.File(path, "w", libver=libver) as file:
        group = file.create_group(IMAGES)
        group.attrs.create("imageid_max", np.array([len(own) - 1], dtype=np.int32))
        for i, (image, header) in enumerate(zip((image for block in blocks for image in block), own, strict=True)):
            if not np.isfinite(image).all():
                raise DataError(path, f"image {i}: has a pixel that is not finite")
            own_group = group.create_group(str(i))
            own_group.create_dataset("image", data=np.asarray(image, dtype="<f4"), track_times=False)
            for name, value in {**_encoded(path, i, _standard(image, pixel_size_A)), **header}.items():
                own_group.attrs.create(PREFIX + name, value, shape=value.shape, dtype=value.dtype)


def _encoded(path: Path, i: int, values: Mapping[str, Any]) -> dict[str, npt.NDArray[Any]]:
    try:
        return {name: encode(name, value) for name, value in values.items()}
    except ValueError as error:
        raise DataError(path, f"image {i}: {error}") from error


def _standard(image: npt.NDArray[np.float32], pixel_size_A: float | None) -> dict[str, Any]:
    """Return the attributes that every image of EMAN2 has."""
    size = np.float64(pixel_size_A or 1.0)
    pixels = image.astype(np.float64)
    return {
        "nx": image.shape[1],
        "ny": image.shape[0],
        "nz": 1,
        "apix_x": size,
        "apix_y": size,
        "apix_z": size,
        "datatype": 7,
        "is_complex": 0,
        "minimum": pixels.min(),
        "maximum": pixels.max(),
        "mean": pixels.mean(),
        "sigma": pixels.std(ddof=1) if pixels.size > 1 else 0.0,
        "square_sum": np.square(pixels).sum(),
    }
