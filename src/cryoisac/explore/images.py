"""Images as they were given and as they lie on their class averages, small and normalised, kept in two mapped files."""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile

import numpy as np
import numpy.typing as npt

from cryoisac.engine.contract import Images, Indices
from cryoisac.errors import DataError
from cryoisac.model.particles import Particles
from cryoisac.model.poses import Poses, to_relion
from cryoisac.ops import fourier
from cryoisac.ops.masks import Mask, circle
from cryoisac.ops.normalise import subtract_background, working_images
from cryoisac.ops.resample import resample
from cryoisac.ops.warp import rotate_shift
from cryoisac.run.progress import Progress
from cryoisac.run.room import check_room
from cryoisac.run.working_stack import Geometry, Preparation, blocks, corrected, over

MARGIN_px = 18  # of a working image around the particle
EDGE_px = 2  # around the disc that is compared
PICTURE_px = 36  # side of the picture of one image


@dataclass(frozen=True, eq=False, kw_only=True)
class Laid:
    """Members of classes, before and after they were laid on their class averages.

    Parameters
    ----------
    before, after : ndarray, shape (n, s, s), float32
        The images inside the particle's disc, 0 outside; mapped from files.
    mask : ndarray, shape (s, s), bool
        The disc.
    averages : ndarray, shape (k, b, b), float32
        Mean of the laid images of each class.
    first_before, first_after : ndarray, shape (f, b, b), float32
        The first images whole.
    small_before, small_after : ndarray, shape (m, t, t), float32
        Pictures of the images that become points.
    """

    before: Images
    after: Images
    mask: Mask
    averages: Images
    first_before: Images
    first_after: Images
    small_before: Images
    small_after: Images


@dataclass(frozen=True, eq=False, kw_only=True)
class Lay:
    """What is laid, and how.

    Parameters
    ----------
    particles : Particles
        The classified particles.
    index : ndarray, shape (n,), int64
        The members of classes, ascending.
    label : ndarray, shape (n,), int64
        Class of each, from 0.
    poses : Poses
        Carries each to its class average, in input pixels.
    geometry : Geometry
        Sizes.
    ctf : bool
        Whether phases are flipped.
    points : ndarray, shape (m,), int64
        Which of the members become points, ascending.
    first : int
        How many of the members are kept whole.
    """

    particles: Particles
    index: Indices
    label: Indices
    poses: Poses
    geometry: Geometry
    ctf: bool
    points: Indices
    first: int


def geometry_of(particles: Particles, radius_px: int, target_radius_px: int) -> Geometry:
    """Return the sizes of the images, or raise ``DataError`` where a particle does not fit them."""
    rows, columns = particles.box_px
    if rows != columns:
        raise DataError(particles.path, f"has images of {columns}x{rows} px; they must be square")
    if 2 * radius_px + 1 > rows:
        raise DataError(
            particles.path, f"has images of {rows} px, too small for a particle of radius {radius_px} px; see --radius"
        )
    return Geometry(
        box_px=rows,
        radius_px=radius_px,
        target_radius_px=target_radius_px,
        target_box_px=2 * target_radius_px + MARGIN_px,
    )


def lay(job: Lay, folder: Path, *, threads: int, progress: Progress) -> Laid:
    """Read all members once, and keep them as given and as laid in two files without a name in ``folder``.

    An image is phase-flipped, shifted in Fourier space, shrunk, normalised, turned and mirrored.

    Parameters
    ----------
    job : Lay
        What is laid.
    folder : Path
        Where the two files take room as long as the result is used; they have no name, so that nothing is left.
    threads : int
        Threads that work.
    progress : Progress
        Told of each block.

    Returns
    -------
    Laid

    Raises
    ------
    DataError
        When an image is constant.
    SettingError
        When the disk cannot hold the files.
    """
    g, n = job.geometry, len(job.index)
    side = 2 * (g.target_radius_px + EDGE_px)
    check_room(0, 8 * n * side * side, folder)
    mask = circle(g.target_radius_px, side)
    before, after = (_mapped(folder, (n, side, side)) for _ in range(2))
    place = np.full(len(job.particles), -1, dtype=np.int64)
    place[job.index] = np.arange(n)
    pictures = _Pictures.empty(job)
    preparation = Preparation(
        particles=job.particles, index=job.index, geometry=g, ctf=job.ctf, threads=threads, progress=progress
    )

    def work(rows: Indices) -> tuple[Images, Images]:
        where = place[rows]
        given, laid = _pair(job.particles.read(rows), rows, job.poses[where], preparation)
        before[where[0] : where[-1] + 1] = fourier.window(given, side) * mask
        after[where[0] : where[-1] + 1] = fourier.window(laid, side) * mask
        return given, laid

    progress.stage("Laying images on their class averages", n, "images")
    for rows, (given, laid) in over(blocks(job.index, g.box_px), work, threads, progress):
        pictures.take(place[rows], given, laid)
    return pictures.laid(before, after, mask)


def _mapped(folder: Path, shape: tuple[int, int, int]) -> Images:
    """Return images that lie in a file without a name, which goes when they do."""
    with TemporaryFile(dir=folder) as file:
        return np.memmap(file, dtype=np.float32, mode="w+", shape=shape)


def _pair(images: Images, rows: Indices, poses: Poses, job: Preparation) -> tuple[Images, Images]:
    """Return images of one block as given and as laid."""
    g = job.geometry
    clean = corrected(subtract_background(images, circle(g.radius_px, g.box_px)), rows, job)
    _, origin_px, _ = to_relion(poses)
    given, moved = _working(clean, g), _working(fourier.shift(clean, origin_px), g)
    turn = Poses(angle_deg=poses.angle_deg, shift_px=np.zeros((len(poses), 2)), mirror=poses.mirror)
    return given, rotate_shift(moved, turn)


def _working(images: Images, g: Geometry) -> Images:
    small = resample(images, g.ratio, min(g.shrunk_box_px, g.target_box_px))
    return working_images(small, g.target_box_px, radius_px=g.target_radius_px)


@dataclass(frozen=True, eq=False, kw_only=True)
class _Pictures:
    """What is kept of images to be looked at."""

    job: Lay
    sums: npt.NDArray[np.float64]
    first: tuple[Images, Images]
    small: tuple[Images, Images]

    @staticmethod
    def empty(job: Lay) -> "_Pictures":
        """Return room for all that will be kept."""
        box, classes = job.geometry.target_box_px, int(job.label.max()) + 1
        first = np.zeros((2, job.first, box, box), dtype=np.float32)
        small = np.zeros((2, len(job.points), PICTURE_px, PICTURE_px), dtype=np.float32)
        sums = np.zeros((classes, box, box))
        return _Pictures(job=job, sums=sums, first=(first[0], first[1]), small=(small[0], small[1]))

    def take(self, where: Indices, given: Images, laid: Images) -> None:
        """Keep what is wanted of one block."""
        of_class = (np.arange(len(self.sums))[:, None] == self.job.label[where]).astype(np.float64)
        self.sums[...] += np.tensordot(of_class, laid, axes=1)
        low, high = np.searchsorted(self.job.points, (where[0], where[-1] + 1)).tolist()
        chosen = self.job.points[low:high] - where[0]
        head = where[where < self.job.first]
        for images, first, small in zip((given, laid), self.first, self.small, strict=True):
            first[head] = images[: len(head)]
            small[low:high] = resample(images[chosen], PICTURE_px / images.shape[-1], PICTURE_px)

    def laid(self, before: Images, after: Images, mask: Mask) -> Laid:
        """Return everything that was kept."""
        sizes = np.maximum(np.bincount(self.job.label, minlength=len(self.sums)), 1)
        return Laid(
            before=before,
            after=after,
            mask=mask,
            averages=(self.sums / sizes[:, None, None]).astype(np.float32),
            first_before=self.first[0],
            first_after=self.first[1],
            small_before=self.small[0],
            small_after=self.small[1],
        )
