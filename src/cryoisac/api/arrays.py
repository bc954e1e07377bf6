"""Arrays that a caller hands in, checked, and as the rest of the package wants them."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cryoisac.errors import DataError, SettingError
from cryoisac.io.registry import read_particles
from cryoisac.model.ctf import CtfParameters
from cryoisac.model.particles import ArrayImages, Particles
from cryoisac.model.poses import Poses

Float = npt.NDArray[np.float64]
PoseRows = Poses | npt.ArrayLike
Given = npt.ArrayLike | str | Path | Particles

ARRAY = Path("array")  # what messages and records call images without a file


def as_array(values: Any) -> npt.NDArray[Any]:
    """Return an array; a tensor of PyTorch is fetched from its device."""
    return np.asarray(values.detach().cpu() if hasattr(values, "detach") else values)


def as_images(images: npt.ArrayLike, name: str = "images") -> npt.NDArray[Any]:
    """Return an array of images, shape (n, h, w), of any kind of real number; not copied where it is one.

    Raises
    ------
    DataError
        If it is no such array.
    """
    pixels = as_array(images)
    if pixels.ndim != 3 or 0 in pixels.shape[1:]:
        raise DataError(name, f"have shape {pixels.shape}; give an array of shape (n, h, w)")
    if pixels.dtype.kind not in "fiub":
        raise DataError(name, f"are of type {pixels.dtype}; give real numbers")
    return pixels


def as_poses(poses: PoseRows, n: int | None = None) -> tuple[Poses, Float | None]:
    """Return poses, and their scales where there are any.

    Parameters
    ----------
    poses : Poses or array_like, shape (n, 4) or (n, 5)
        Poses, or rows ``angle_deg, x, y, mirror`` with a scale for a fifth column.
    n : int, optional
        How many there must be.

    Raises
    ------
    DataError
        If they are none, or another number.
    """
    scale = None
    if not isinstance(poses, Poses):
        rows = as_array(poses).astype(np.float64)
        if rows.ndim != 2 or rows.shape[1] not in (4, 5):
            raise DataError("poses", f"have shape {rows.shape}; give Poses, or rows angle_deg, x, y, mirror")
        if not np.isin(rows[:, 3], (0, 1)).all():
            raise DataError("poses", "have a mirror that is not 0 or 1")
        scale = rows[:, 4].copy() if rows.shape[1] == 5 else None
        poses = Poses.from_rows(rows[:, :4])
    if n is not None and len(poses) != n:
        raise DataError("poses", f"are {len(poses)} for {n} images; give one an image")
    return poses, scale


def as_labels(labels: npt.ArrayLike, n: int, name: str = "labels") -> npt.NDArray[np.int64]:
    """Return classes from 0, -1 for none, shape (n,).

    Raises
    ------
    DataError
        If they are no whole numbers from -1, or not ``n``.
    """
    given = as_array(labels)
    if given.shape != (n,):
        raise DataError(name, f"have shape {given.shape} for {n} images; give one an image")
    whole = given.astype(np.int64)
    if not np.array_equal(whole, given) or (n and whole.min() < -1):
        raise DataError(name, "must be whole numbers from 0, or -1 for an image in no class")
    return whole


def as_particles(images: Given, pixel_size_A: float | None = None, ctf: CtfParameters | None = None) -> Particles:
    """Return particles of an array, or of a file.

    Parameters
    ----------
    images : array_like, shape (n, h, w), or str, Path or Particles
        The images, or the file that has or names them.
    pixel_size_A : float, optional
        Pixel size of an array.
    ctf : CtfParameters, optional
        CTF of each image of an array.

    Raises
    ------
    DataError
        If the array holds no images, or the CTF is that of another number.
    SettingError
        If a file is given a pixel size or a CTF, or a pixel size is not above 0.
    """
    if isinstance(images, str | Path | Particles):
        for name, value in (("pixel_size_A", pixel_size_A), ("ctf", ctf)):
            if value is not None:
                raise SettingError(name, "belongs to images in an array; files say it themselves")
        return read_particles(images)
    pixels = as_images(images)
    if pixel_size_A is not None and not 0 < pixel_size_A < float("inf"):
        raise SettingError("pixel_size_A", f"is {pixel_size_A}; it must be above 0 Å")
    if ctf is not None and len(ctf) != len(pixels):
        raise DataError("ctf", f"is that of {len(ctf)} images, {len(pixels)} are given")
    return Particles(
        path=ARRAY,
        source=ArrayImages(pixels),
        name_of=lambda i: f"{i + 1:06d}@{ARRAY}",
        pixel_size_A=None if pixel_size_A is None else np.full(len(pixels), float(pixel_size_A)),
        ctf=ctf,
        ctf_missing=() if ctf is not None else ("ctf",),
    )
