"""A stack moved by the poses of a table, and the sums of its classes; images stream through in blocks."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cryoisac.engine.contract import Images
from cryoisac.engine.devices import PROCESSOR, Devices
from cryoisac.engine.moving import Moving
from cryoisac.errors import DataError, FormatError, SettingError
from cryoisac.io.atomic import write_whole
from cryoisac.io.eman_hdf import write_hdf_blocks
from cryoisac.io.mrc_write import MrcStackWriter, write_mrc_stack
from cryoisac.io.registry import read_particles
from cryoisac.model.particles import Particles
from cryoisac.products.pose_tables import PoseTable, paired, read_pose_table
from cryoisac.settings import Transform

BLOCK_BYTES = 1 << 25  # of images that are in memory at a time
MRC, HDF = (".mrcs", ".mrc"), (".hdf", ".h5")
Told = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class Outputs:
    """What is written; ``None`` where it is not.

    Parameters
    ----------
    images : Path or None
        Stack of the moved images, MRC or HDF by its suffix.
    sums, averages : Path or None
        MRC stacks of the sums and averages of classes, in their order; a class without images is zero.
    """

    images: Path | None = None
    sums: Path | None = None
    averages: Path | None = None

    def check(self) -> None:
        """Raise ``SettingError`` unless something is written, and by names that tell of stacks that are written."""
        if self.images is None and self.sums is None and self.averages is None:
            raise SettingError("OUT", "is missing; give a stack to write, or --class-sums or --class-averages")
        for name, path, known in (
            ("OUT", self.images, MRC + HDF),
            ("--class-sums", self.sums, MRC),
            ("--class-averages", self.averages, MRC),
        ):
            if path is not None and not path.name.lower().endswith(known):
                raise SettingError(name, f"is {path}; its name must end in {' or '.join(known[::2])}")

    def spare(self, inputs: Iterable[Path]) -> None:
        """Raise ``SettingError`` where a file that is read would be replaced."""
        read = {path.resolve() for path in inputs}
        for path in (self.images, self.sums, self.averages):
            if path is not None and path.resolve() in read:
                raise SettingError("OUT", f"is {path}, which is read; choose another name")

    @property
    def classes(self) -> bool:
        """Whether classes are added up."""
        return self.sums is not None or self.averages is not None


@dataclass(frozen=True, kw_only=True)
class Transformed:
    """What came of it.

    Parameters
    ----------
    images : int
        Images that were moved.
    classes : int
        Classes that were added up; 0 where none were asked for.
    members : int
        Images in these classes.
    """

    images: int
    classes: int
    members: int


def transform_stack(
    stack: str | Path,
    table: str | Path,
    outputs: Outputs,
    settings: Transform,
    *,
    threads: int | None = None,
    devices: Devices = PROCESSOR,
    told: Told | None = None,
) -> Transformed:
    """Move the images of a stack by the poses of a table, and add up its classes.

    Parameters
    ----------
    stack : str or Path
        The images.
    table : str or Path
        One pose for each of them, as ``read_pose_table`` reads it.
    outputs : Outputs
        What to write. Files are whole or not there.
    settings : Transform
        Interpolation and what of a pose counts.
    threads : int, optional
        Threads; by default all cores that this process may use.
    devices : Devices
        What computes; a single one.
    told : callable, optional
        ``told(done, total)`` is called after each block of images.

    Returns
    -------
    Transformed
        Numbers of images and classes.

    Raises
    ------
    CryoisacError
        If a file cannot be read, the two do not fit, or the table has no classes and these are asked for.

    Notes
    -----
    Memory does not grow with the number of images, but for their poses.
    """
    outputs.check()
    particles = read_particles(stack)
    outputs.spare({particles.path, *particles.stacks, Path(table)})
    given = paired(_chosen(read_pose_table(table), settings), len(particles), Path(stack))
    if outputs.classes and given.label is None:
        raise FormatError(table, "names no classes; give a table with rlnClassNumber, or leave the classes out")
    label = given.label if outputs.classes and given.label is not None else np.full(len(given), -1)
    size = np.bincount(label[label >= 0])
    work = _Work(
        particles=particles,
        table=replace(given, label=label),
        moving=Moving(method=settings.method, outside=settings.rule, threads=threads, devices=devices),
        sums=np.zeros((len(size), *particles.box_px)),
        told=told,
    )
    if outputs.images is not None:
        hdf = outputs.images.name.lower().endswith(HDF)
        write_whole(outputs.images, work.write_hdf if hdf else work.write_mrc)
    else:
        for first, images in work.blocks():
            work.add(first, images)
    _write_classes(outputs, work.sums, size, work.pixel_size_A)
    return Transformed(images=len(particles), classes=len(size), members=int(size.sum()))


@dataclass(frozen=True, eq=False, kw_only=True)
class _Work:
    """Images on their way; sums grow as they pass."""

    particles: Particles
    table: PoseTable
    moving: Moving
    sums: npt.NDArray[np.float64]
    told: Told | None

    @property
    def pixel_size_A(self) -> float | None:
        """The pixel size of all images, or ``None`` where it is not known or not one."""
        sizes = self.particles.pixel_size_A
        return float(sizes[0]) if sizes is not None and (sizes == sizes[0]).all() else None

    def blocks(self) -> Iterator[tuple[int, Images]]:
        """Yield where blocks begin, and their images."""
        n, (h, w) = len(self.particles), self.particles.box_px
        size = max(1, BLOCK_BYTES // (4 * h * w))
        for first in range(0, n, size):
            yield first, self.particles.read(np.arange(first, min(first + size, n)))
            if self.told is not None:
                self.told(min(first + size, n), n)

    def add(self, first: int, images: Images) -> None:
        """Add images to the sums of their classes."""
        rows, table = slice(first, first + len(images)), self.table
        if len(self.sums) and table.label is not None:
            self.moving.add(images, table.poses[rows], table.label[rows], self.sums, table.scale[rows])

    def moved(self) -> Iterator[tuple[int, Images]]:
        """Yield where blocks begin, and their images, moved."""
        for first, images in self.blocks():
            rows = slice(first, first + len(images))
            self.add(first, images)
            yield first, self.moving.move(images, self.table.poses[rows], self.table.scale[rows])

    def write_hdf(self, path: Path) -> None:
        """Write all images, moved, as an HDF stack."""
        images = (images for _, images in self.moved())
        write_hdf_blocks(path, images, [{}] * len(self.particles), self.pixel_size_A)

    def write_mrc(self, path: Path) -> None:
        """Write all images, moved, as an MRC stack."""
        with MrcStackWriter(path, (len(self.particles), *self.particles.box_px), self.pixel_size_A) as stack:
            for first, images in self.moved():
                stack.write(first, images)


def _chosen(table: PoseTable, settings: Transform) -> PoseTable:
    """Return a table with what of its poses counts."""
    if settings.shift_only:
        return table.shifts()
    return table.unmirrored() if settings.ignore_mirror else table


def _write_classes(
    outputs: Outputs, sums: npt.NDArray[np.float64], size: npt.NDArray[np.int64], pixel_size_A: float | None
) -> None:
    """Write the sums and averages of classes that are asked for."""
    averages = sums / np.maximum(size, 1)[:, None, None]
    for path, images in ((outputs.sums, sums), (outputs.averages, averages)):
        if path is not None and not len(size):
            raise DataError(path, "is not written: the table puts no image in a class")
        if path is not None:
            write_whole(path, partial(_write_sums, images.astype(np.float32), pixel_size_A))


def _write_sums(images: Images, pixel_size_A: float | None, path: Path) -> None:
    write_mrc_stack(path, images, pixel_size_A)
