"""From particles to the working stack: scan, shrink for pre-alignment, then flip, shift, shrink, normalise.

Images stream through in blocks of a size that depends on nothing but the box, over a pool of threads.
"""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from cryoisac.engine.contract import Images, Indices
from cryoisac.io.atomic import write_whole
from cryoisac.io.mrc import MrcStack
from cryoisac.io.mrc_write import MrcStackWriter
from cryoisac.model.particles import Particles
from cryoisac.model.poses import Poses
from cryoisac.ops import fourier
from cryoisac.ops.ctf import phase_flip, phase_signs
from cryoisac.ops.filters import radial_table
from cryoisac.ops.masks import circle, normalise_inside
from cryoisac.ops.normalise import subtract_background, working_images
from cryoisac.ops.resample import resample, resample_sphire, resampled_box
from cryoisac.ops.warp import rotate_shift
from cryoisac.rules import OURS, Rules
from cryoisac.run.filaments import Filaments
from cryoisac.run.progress import Progress

BLOCK_BYTES = 1 << 20  # of input; flipping phases takes about twenty times as much a thread
KEPT_BYTES = 31 << 20  # below the 32 MB that the C library of Linux lets its thresholds grow to
T = TypeVar("T")
Treat = Callable[[Images, Indices], Images]


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """Sizes of input and working images.

    Parameters
    ----------
    box_px : int
        Side of the input images.
    radius_px : int
        Particle radius in them.
    target_radius_px, target_box_px : int
        Particle radius and side of the working images.
    """

    box_px: int
    radius_px: int
    target_radius_px: int
    target_box_px: int

    @property
    def ratio(self) -> float:
        """Working pixels per input pixel."""
        return self.target_radius_px / self.radius_px

    @property
    def shrunk_box_px(self) -> int:
        """Side of a whole input image in working pixels."""
        return resampled_box(self.box_px, self.ratio)


def blocks(index: Indices, box_px: int, block_bytes: int = 0) -> Iterator[Indices]:
    """Yield the images ``index`` in blocks of about 1 MB, or of another size."""
    size = max(1, (block_bytes or BLOCK_BYTES) // (4 * box_px * box_px))
    for first in range(0, len(index), size):
        yield index[first : first + size]


def unusable(particles: Particles, threads: int, progress: Progress) -> Indices:
    """Return the images that have constant pixels, or pixels that are not finite.

    Parameters
    ----------
    particles : Particles
        The images.
    threads : int
        Threads that read.
    progress : Progress
        Told of each block.

    Returns
    -------
    ndarray, shape (b,), int64
        Their indices, ascending.
    """
    n = len(particles)
    progress.stage("Reading the images", n, "images")

    def scan(index: Indices) -> Indices:
        pixels = particles.read(index).reshape(len(index), -1)
        with np.errstate(invalid="ignore"):
            spread = pixels.max(axis=1) - pixels.min(axis=1)
        bad: Indices = index[~(np.isfinite(spread) & (spread > 0))]
        return bad

    found = [bad for _, bad in over(blocks(np.arange(n), particles.box_px[0]), scan, threads, progress)]
    return np.concatenate(found) if found else np.zeros(0, dtype=np.int64)


@dataclass(frozen=True, eq=False, kw_only=True)
class Preparation:
    """What images are prepared, and how.

    Parameters
    ----------
    particles : Particles
        The input images.
    index : ndarray, shape (n,), int64
        Those of them that are used, ascending.
    geometry : Geometry
        Sizes.
    ctf : bool
        Whether phases are flipped.
    threads : int
        Threads that work.
    progress : Progress
        Told of each block.
    rules : Rules
        Quirks of the original that are kept.
    whitening : ndarray, shape (box_px // 2 + 1,), optional
        Factors of rings in Fourier space, by which images of a phase plate are whitened.
    filaments : Filaments, optional
        Where images are segments of filaments: bars take the place of discs.
    """

    particles: Particles
    index: Indices
    geometry: Geometry
    ctf: bool
    threads: int
    progress: Progress
    rules: Rules = OURS
    whitening: npt.NDArray[np.float64] | None = None
    filaments: Filaments | None = None


def write_shrunk(path: Path, job: Preparation) -> None:
    """Write the MRC stack that pre-alignment works on: flipped or whitened, shrunk, background mean removed."""
    box = job.geometry.shrunk_box_px
    mask = circle(job.geometry.target_radius_px, box)

    def treat(images: Images, rows: Indices) -> Images:
        late = job.rules.flip_after_shrinking and job.whitening is None
        whole = images if late else corrected(images, rows, job)
        if job.whitening is not None:
            whole = radial_table(images, job.whitening)
        small = subtract_background(resized(whole, box, job), mask)
        return corrected(small, rows, job, magnified=job.geometry.ratio) if late else small

    job.progress.stage("Shrinking the images", len(job.index), "images")
    _write(path, job, treat, box)


def write_working(path: Path, job: Preparation, shift_px: npt.NDArray[np.float64]) -> None:
    """Write the working stack: background mean removed, flipped, whitened, shifted, shrunk, normalised.

    Parameters
    ----------
    path : Path
        MRC stack to write.
    job : Preparation
        Images and sizes.
    shift_px : ndarray, shape (n, 2)
        Shifts (x, y) of the images ``job.index`` in input pixels.
    """
    g, bars = job.geometry, job.filaments
    disc, side = circle(g.radius_px, g.box_px), min(g.shrunk_box_px, g.target_box_px)
    position = np.full(len(job.particles), -1, dtype=np.int64)
    position[job.index] = np.arange(len(job.index))

    def treat(images: Images, rows: Indices) -> Images:
        background = disc if bars is None else bars.bars(rows, g.box_px)
        clean = corrected(subtract_background(images, background), rows, job)
        moved = shifted(clean, shift_px[position[rows]], job.rules)
        small = resized(moved, side, job)
        mask = None if bars is None else bars.working_bars(rows, side, g.ratio)
        burn = bars is not None and bars.masked
        return working_images(small, g.target_box_px, radius_px=g.target_radius_px, mask=mask, burn=burn)

    job.progress.stage("Making the working stack", len(job.index), "images")
    _write(path, job, treat, g.target_box_px)


def resized(images: Images, box_px: int, job: Preparation) -> Images:
    """Return images of the working pixel size, cut to ``box_px``; by the original's rules whole."""
    if job.rules.sinc_about_corner:
        return resample_sphire(images, job.geometry.ratio)
    return resample(images, job.geometry.ratio, box_px)


def shifted(images: Images, shift_px: npt.NDArray[np.float64], rules: Rules) -> Images:
    """Return images shifted by (x, y), shape (n, 2): in Fourier space, or by the original's quadratic interpolation."""
    if not rules.quadratic_shift:
        return fourier.shift(images, shift_px)
    n = len(images)
    return rotate_shift(images, Poses(angle_deg=np.zeros(n), shift_px=shift_px, mirror=np.zeros(n, dtype=bool)))


def corrected(images: Images, rows: Indices, job: Preparation, *, magnified: float = 1.0) -> Images:
    """Return the images ``rows`` with phases flipped where the CTF is negative, and whitened, if the job says so.

    Parameters
    ----------
    images : ndarray, shape (m, h, h)
        Images, at the pixel size of the particles or another.
    rows : ndarray, shape (m,), int64
        Which of the particles they are.
    job : Preparation
        What is done to them.
    magnified : float
        Pixels of these images per pixel of the particles.

    Returns
    -------
    ndarray, shape (m, h, h)
        Corrected images.

    Notes
    -----
    As in the original, images are padded where phases are flipped only, and taken as periodic where they are whitened.
    """
    ctf, pixel_size_A = job.particles.ctf, job.particles.pixel_size_A
    if job.ctf and ctf is not None and pixel_size_A is not None:
        if job.whitening is None:
            return phase_flip(images, ctf[rows], pixel_size_A[rows] / magnified)
        images = fourier.apply_response(images, phase_signs(ctf[rows], images.shape[-1], pixel_size_A[rows]))
    return images if job.whitening is None else radial_table(images, job.whitening)


def working_pixels(stack: MrcStack, radius_px: int, *, threads: int = 1) -> Images:
    """Return a working stack with zero mean and unit variance inside the particle circle, as K-means works on it."""
    n, side, _ = stack.shape
    mask, images = circle(radius_px, side), np.empty(stack.shape, dtype=np.float32)

    def work(rows: Indices) -> None:
        images[rows[0] : rows[-1] + 1] = normalise_inside(stack.read(rows), mask)

    for _ in over(blocks(np.arange(n), side), work, threads):
        pass
    return images


def _write(path: Path, job: Preparation, treat: Treat, box_px: int) -> None:
    given = job.particles.pixel_size_A
    pixel_size_A = None if given is None else float(given[0]) / job.geometry.ratio
    place = np.full(len(job.particles), -1, dtype=np.int64)
    place[job.index] = np.arange(len(job.index))

    def write_to(temporary: Path) -> None:
        with MrcStackWriter(temporary, (len(job.index), box_px, box_px), pixel_size_A) as stack:

            def work(rows: Indices) -> None:
                stack.write(int(place[rows[0]]), treat(job.particles.read(rows), rows))

            for _ in over(blocks(job.index, job.geometry.box_px), work, job.threads, job.progress):
                pass

    write_whole(path, write_to)


def over(
    parts: Iterator[Indices], work: Callable[[Indices], T], threads: int, progress: Progress | None = None
) -> Iterator[tuple[Indices, T]]:
    """Yield each part and what ``work`` made of it, in order; a few parts a thread are under way at once."""
    _keep_freed_memory()
    with ThreadPoolExecutor(threads) as pool:
        waiting = deque((part, pool.submit(work, part)) for part in islice(parts, 3 * threads))
        while waiting:
            part, future = waiting.popleft()
            result = future.result()
            if progress is not None:
                progress.advance(len(part))
            following = next(parts, None)
            if following is not None:
                waiting.append((following, pool.submit(work, following)))
            yield part, result


def _keep_freed_memory() -> None:
    """Have the C library keep what a block frees for the next one.

    Notes
    -----
    glibc gives freed memory back to the system when it is more than twice the largest array freed before, and every
    page that is asked for again is cleared by the system first: half the time of flipping phases on one thread, and
    more on many, which wait for each other there. Other C libraries are not moved by this.
    """
    np.empty(KEPT_BYTES, dtype=np.uint8)
