"""Images laid on their references in compiled code: any interpolation, any rule for what lies outside, class sums."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from cryoisac.engine import _native
from cryoisac.engine.contract import Images, Indices, check_labels
from cryoisac.engine.devices import PROCESSOR, Devices
from cryoisac.engine.native import chosen_instructions, chosen_threads
from cryoisac.errors import DataError, SettingError
from cryoisac.model.poses import Poses
from cryoisac.ops.fine_grid import fine_grid, window_table
from cryoisac.settings.transform import METHODS, RULES, Outside

if TYPE_CHECKING:
    from cryoisac.engine.gpu.memory import Place

Float = npt.NDArray[np.float64]

FILL = len(RULES)  # methods and rules count as the kernels count them; a value comes after the rules
BLOCK_BYTES = 1 << 26  # of fine grids that are made at a time


@dataclass(frozen=True, kw_only=True)
class Moving:
    """How images are moved.

    Parameters
    ----------
    method : {"quadratic", "linear", "cubic", "fourier"}
        Interpolation: six-point quadratic, bilinear, cubic convolution over sixteen points, or the image's
        trigonometric polynomial, which is exact for a band-limited image.
    outside : {"background", "cyclic"} or float
        What a point outside its image takes: the image's pixel at the output position, the image repeated, or this
        value.
    threads : int, optional
        Threads; by default all cores that this process may use. The result does not depend on them.
    instructions : str, optional
        One of ``native.instruction_sets()``; the best one by default.
    devices : Devices
        What computes; a single one.

    Raises
    ------
    SettingError
        When a method, a rule or a number of threads is not possible, or several devices are given.
    """

    method: str = "quadratic"
    outside: Outside = "background"
    threads: int | None = None
    instructions: str | None = None
    devices: Devices = PROCESSOR

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise SettingError("method", f"is {self.method!r}; choose one of {', '.join(METHODS)}")
        number = isinstance(self.outside, (int, float, np.number)) and bool(np.isfinite(self.outside))
        if not number and self.outside not in RULES:
            raise SettingError("outside", f"is {self.outside!r}; choose background, cyclic or a number")
        chosen_threads(self.threads)
        if len(self.devices.names) > 1:
            raise SettingError("--device", f"names {len(self.devices.names)} devices; images are moved on one")
        if self.devices.names and self.method == "fourier":
            raise SettingError("--method", "fourier is computed on the processor only; give --device cpu")

    def move(self, images: Images, poses: Poses, scale: Float | None = None) -> Images:
        """Return images under their poses, shape (n, h, w); see ``transform``."""
        pixels, placements = self._checked(images, poses, scale)
        if self.devices.names:
            from cryoisac.engine.gpu import moving

            return moving.move(pixels, placements, self.method, self.outside, self._place())
        moved = np.empty(pixels.shape, dtype=np.float32)
        mover = self._mover(pixels.shape)
        for part in self._blocks(pixels):
            mover.move(pixels[part], self._fine(pixels[part]), placements[part], moved[part])
        return moved

    def add(self, images: Images, poses: Poses, labels: Indices, sums: Float, scale: Float | None = None) -> None:
        """Add images under their poses to the sums of their classes, shape (k, h, w), in place."""
        pixels, placements = self._checked(images, poses, scale)
        check_labels(labels, len(pixels), len(sums), least=-1)
        if self.devices.names:
            from cryoisac.engine.gpu import moving

            moving.add(pixels, placements, labels, sums, (self.method, self.outside), self._place())
            return
        mover = self._mover(pixels.shape)
        for part in self._blocks(pixels):
            order = np.argsort(labels[part], kind="stable")
            bounds = np.searchsorted(labels[part][order], np.arange(len(sums) + 1))
            mover.add(pixels[part], self._fine(pixels[part]), placements[part], order, bounds, sums)

    def _place(self) -> "Place":
        """Return the device, with the memory that may be taken of it."""
        from cryoisac.engine.gpu import chosen

        return chosen.places(self.devices.names, self.devices.memory_share, chosen_threads(self.threads))[0]

    def _checked(self, images: Images, poses: Poses, scale: Float | None) -> tuple[Images, Float]:
        pixels = np.ascontiguousarray(images, dtype=np.float32)
        if pixels.ndim != 3 or len(pixels) != len(poses) or 0 in pixels.shape[1:]:
            raise DataError("images", f"of shape {pixels.shape} with {len(poses)} poses; give one pose an image")
        return pixels, placements(poses, scale, pixels.shape[1:], wraps=isinstance(self.outside, str))

    def _mover(self, shape: tuple[int, ...]) -> _native.Mover:
        table = window_table(_native.WINDOW_STEPS) if self.method == "fourier" else np.empty((0, 0), dtype=np.float32)
        return _native.Mover(
            chosen_instructions(self.instructions),
            shape[1],
            shape[2],
            METHODS.index(self.method),
            RULES.index(self.outside) if isinstance(self.outside, str) else FILL,
            0.0 if isinstance(self.outside, str) else float(self.outside),
            table,
            chosen_threads(self.threads),
        )

    def _blocks(self, pixels: Images) -> Iterator[slice]:
        """Yield all images at once, or, where grids are made of them, as many as memory is meant for."""
        size = max(1, len(pixels))
        if self.method == "fourier":
            size = max(1, BLOCK_BYTES // (16 * pixels[0].nbytes)) if len(pixels) else 1
        for start in range(0, len(pixels), size):
            yield slice(start, start + size)

    def _fine(self, pixels: Images) -> Images:
        if self.method == "fourier":
            return fine_grid(pixels, threads=chosen_threads(self.threads))
        return np.empty((len(pixels), 0, 0), dtype=np.float32)


def transform(images: Images, poses: Poses, *, scale: Float | None = None, moving: Moving | None = None) -> Images:
    """Return images under their poses: out(x) = in(R(-a)(M^m x - t) / s).

    Parameters
    ----------
    images : ndarray, shape (n, h, w)
        Images.
    poses : Poses
        ``n`` poses.
    scale : ndarray, shape (n,), optional
        How much each image is enlarged about its centre, before it is shifted; 1 by default.
    moving : Moving, optional
        Interpolation, rule for what lies outside, threads.

    Returns
    -------
    ndarray, shape (n, h, w), float32
        Moved images.

    Raises
    ------
    DataError
        When images and poses do not pair up, or a pose or scale is not a number.

    Notes
    -----
    SPARX's ``rot_shift2D``; its formulas are kept within 3e-7 on images of unit scale. Neighbours of points inside an
    image wrap around the box; with "background" and "cyclic", shifts do too.
    """
    return (moving or Moving()).move(images, poses, scale)


def class_sums(
    images: Images,
    poses: Poses,
    labels: Indices,
    k: int,
    *,
    scale: Float | None = None,
    moving: Moving | None = None,
) -> Float:
    """Return the sum over each class of its images under their poses.

    Parameters
    ----------
    images, poses, scale, moving
        As for ``transform``.
    labels : ndarray, shape (n,), int64
        Class of each image, 0 to k - 1; images with -1 are left out.
    k : int
        Number of classes.

    Returns
    -------
    ndarray, shape (k, h, w), float64
        Sums; no moved image is kept. Divide by ``bincount(labels)`` for averages.
    """
    sums = np.zeros((k, *np.shape(images)[1:]))
    (moving or Moving()).add(images, poses, labels, sums, scale)
    return sums


def placements(poses: Poses, scale: Float | None, shape: tuple[int, ...], *, wraps: bool) -> Float:
    """Return cos / scale, sin / scale, x, y (with ``wraps`` inside the box) and mirror of each pose, shape (n, 5)."""
    factor = np.ones(len(poses)) if scale is None else np.asarray(scale, dtype=np.float64)
    if not np.isfinite(poses.rows()).all():
        raise DataError("poses", "an angle or shift is not a finite number")
    if factor.shape != (len(poses),) or not (np.isfinite(factor) & (factor > 0)).all():
        raise DataError("poses", "need one scale above 0 for each pose")
    angle = np.deg2rad(poses.angle_deg)
    shift = np.fmod(poses.shift_px, (float(shape[1]), float(shape[0]))) if wraps else poses.shift_px
    return np.column_stack((np.cos(angle) / factor, np.sin(angle) / factor, shift, poses.mirror))
