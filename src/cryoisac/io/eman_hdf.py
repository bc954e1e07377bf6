"""EMAN2 HDF stacks: images and header attributes of every type, in and out."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from cryoisac.errors import DataError, FormatError
from cryoisac.io.eman_header import PREFIX, EmanCtf, EmanTransform, encode, needs_new_format, pose_rows
from cryoisac.io.eman_stack import IMAGES, SIGNATURE, HdfStack
from cryoisac.model.ctf import CtfParameters
from cryoisac.model.particles import Particles

SUFFIXES: tuple[str, ...] = (".hdf", ".h5", ".hdf5")
SIZES = ("nx", "ny", "nz", "npad", "datatype", "changecount", "all_int", "HostEndian", "ImageEndian")
STATISTICS = ("minimum", "maximum", "mean", "sigma", "square_sum", "mean_nonzero", "sigma_nonzero")
FOURIER = ("is_complex", "is_complex_x", "is_complex_ri", "is_fftodd", "is_fftpad")
COMPRESSION = ("stored_renderbits", "stored_rendermin", "stored_rendermax", "stored_truncated", "render_compress_level")
BOOKKEEPING = frozenset((*SIZES, *STATISTICS, *FOURIER, *COMPRESSION, "apix_y", "apix_z"))
HANDLED = BOOKKEEPING | {"ctf", "apix_x"}


def sniff(head: bytes) -> bool:
    """Return whether ``head`` begins an HDF5 file."""
    return head.startswith(SIGNATURE)


def read(path: Path) -> Particles:
    """Return the images of a stack with their headers.

    Returns
    -------
    Particles
        ``attributes`` holds one value an image under each name: an array where all are numbers, rows
        ``angle_deg, x, y, mirror``, shape (n, 4), for ``xform.align2d``, else a list, ``None`` where an image has no
        such attribute. Sizes and statistics are left out. Attributes are read when they are asked for: a damaged one
        is refused then.

    Raises
    ------
    FormatError
        If the file is no stack of real 2-D images of one size, or an image is missing.
    """
    stack = HdfStack(path)
    ctf = _ctf(path, stack.column("ctf"))
    return Particles(
        path=path,
        source=stack,
        name_of=lambda i: f"{i + 1:06d}@{path}",
        image_root=Path.cwd(),
        pixel_size_A=_pixel_size_A(path, stack.column("apix_x")),
        ctf=ctf,
        ctf_missing=("ctf",) if ctf is None else (),
        attributes=_Attributes(path, stack),
    )


class _Attributes(Mapping[str, Any]):
    """The attributes of all images by name, each read when it is asked for."""

    def __init__(self, path: Path, stack: HdfStack) -> None:
        self._path, self._stack = path, stack
        self._known: dict[str, Any] = {}

    @cached_property
    def _names(self) -> list[str]:
        return [name for name in self._stack.names() if name not in HANDLED]

    def __getitem__(self, name: str) -> Any:
        if name not in self._known:
            values = [None] if name in HANDLED else self._stack.column(name)
            if all(value is None for value in values):
                raise KeyError(name)
            self._known[name] = _column(self._path, name, values)
        return self._known[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def _ctf(path: Path, values: list[Any]) -> CtfParameters | None:
    """Return the CTF of all images, or ``None`` where an image has none."""
    if not all(isinstance(value, EmanCtf) for value in values):
        return None
    bad = next((i for i, value in enumerate(values) if value.voltage_kV <= 0), None)
    if bad is not None:
        raise FormatError(path, f"image {bad} has a CTF with a voltage of {values[bad].voltage_kV:g} kV")
    return CtfParameters(
        defocus_um=np.array([v.defocus_um for v in values]),
        astigmatism_um=np.array([v.astigmatism_um for v in values]),
        astigmatism_angle_deg=np.array([v.angle_deg for v in values]),
        bfactor_A2=np.array([v.bfactor_A2 for v in values]),
        amplitude_contrast=np.array([v.amplitude_contrast_percent for v in values]) / 100,
        voltage_kV=np.array([v.voltage_kV for v in values]),
        cs_mm=np.array([v.cs_mm for v in values]),
        phase_shift_deg=np.zeros(len(values)),
    )


def _pixel_size_A(path: Path, values: list[Any]) -> npt.NDArray[np.float64] | None:
    if any(value is None or value == 0 for value in values):
        return None
    sizes = np.array(values, dtype=np.float64)
    bad = np.flatnonzero(~(np.isfinite(sizes) & (sizes > 0)))
    if bad.size:
        raise FormatError(path, f"image {bad[0]} has apix_x {sizes[bad[0]]:g}")
    return sizes


def _column(path: Path, name: str, values: list[Any]) -> Any:
    """Return the values of one attribute as an array, if every image has one number or one 2-D pose."""
    if name == "xform.align2d" and all(isinstance(value, EmanTransform) for value in values):
        try:
            return pose_rows(values)
        except ValueError as error:
            raise FormatError(path, f"an xform.align2d {error}") from error
    return np.array(values) if all(isinstance(value, (bool, int, float)) for value in values) else values


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
    headers = []
    for i, (image, own) in enumerate(zip(images, given, strict=True)):
        try:
            values = {**_standard(image, pixel_size_A), **own}
            headers.append({name: encode(name, value) for name, value in values.items()})
        except ValueError as error:
            raise DataError(path, f"image {i}: {error}") from error
    # Version 1.8's format holds attributes beyond 64 KiB; EMAN2 with HDF5 1.10 cannot read later ones.
    libver = ("v108", "v108") if needs_new_format(headers) else None
    with h5py.File(path, "w", libver=libver) as file:
        group = file.create_group(IMAGES)
        group.attrs.create("imageid_max", np.array([len(images) - 1], dtype=np.int32))
        for i, header in enumerate(headers):
            own_group = group.create_group(str(i))
            own_group.create_dataset("image", data=np.asarray(images[i], dtype="<f4"), track_times=False)
            for name, value in header.items():
                own_group.attrs.create(PREFIX + name, value, shape=value.shape, dtype=value.dtype)


def _standard(image: npt.NDArray[np.float32], pixel_size_A: float | None) -> dict[str, Any]:
    """Return the attributes that every image of EMAN2 has."""
    if not np.isfinite(image).all():
        raise ValueError("has a pixel that is not finite")
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
