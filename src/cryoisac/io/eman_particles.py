"""What EMAN2 says of particles in the headers of its images, whatever file the headers lie in."""

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from cryoisac.errors import FormatError
from cryoisac.io.eman_header import EmanCtf, EmanTransform, pose_rows
from cryoisac.model.ctf import CtfParameters
from cryoisac.model.particles import ImageSource, Particles

SIZES = ("nx", "ny", "nz", "npad", "datatype", "changecount", "all_int", "HostEndian", "ImageEndian")
STATISTICS = ("minimum", "maximum", "mean", "sigma", "square_sum", "mean_nonzero", "sigma_nonzero")
FOURIER = ("is_complex", "is_complex_x", "is_complex_ri", "is_fftodd", "is_fftpad")
COMPRESSION = ("stored_renderbits", "stored_rendermin", "stored_rendermax", "stored_truncated", "render_compress_level")
BOOKKEEPING = frozenset((*SIZES, *STATISTICS, *FOURIER, *COMPRESSION, "apix_y", "apix_z"))
HANDLED = BOOKKEEPING | {"ctf", "apix_x"}


class EmanStack(ImageSource, Protocol):
    """Images with EMAN2's headers."""

    def names(self) -> list[str]:
        """Return the names of the attributes that any image has, as they come first."""

    def column(self, name: str) -> list[Any]:
        """Return the value of one attribute for each image, ``None`` where an image has none."""


def eman_particles(
    path: Path, stack: EmanStack, *, name_of: Callable[[int], str], stacks: tuple[Path, ...] = ()
) -> Particles:
    """Return images with what their headers say of pixel size, CTF and all else.

    Parameters
    ----------
    path : Path
        The file that was asked for.
    stack : EmanStack
        Its images.
    name_of : callable
        Gives the name of an image.
    stacks : tuple of Path
        Image files besides ``path``.

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
        If a header holds a pixel size or a voltage that cannot be.
    """
    ctf = _ctf(path, stack.column("ctf"))
    return Particles(
        path=path,
        source=stack,
        name_of=name_of,
        image_root=Path.cwd(),
        pixel_size_A=_pixel_size_A(path, stack.column("apix_x")),
        ctf=ctf,
        ctf_missing=("ctf",) if ctf is None else (),
        attributes=_Attributes(path, stack),
        stacks=stacks,
    )


class _Attributes(Mapping[str, Any]):
    """The attributes of all images by name, each read when it is asked for."""

    def __init__(self, path: Path, stack: EmanStack) -> None:
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
    bad = next((i for i, value in enumerate(values) if not value.voltage_kV > 0), None)
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
    odd = next((i for i, value in enumerate(values) if not isinstance(value, (int, float))), None)
    if odd is not None:
        raise FormatError(path, f"image {odd} has an apix_x that is no number")
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
