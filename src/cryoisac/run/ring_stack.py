"""From the working stack to ring images on disk: whitened, multiplied by the CTF, on rings in Fourier space."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cryoisac.engine.contract import Images, Indices
from cryoisac.engine.likelihood import RingImages
from cryoisac.errors import DataError, RunError
from cryoisac.io.atomic import write_whole
from cryoisac.io.mrc import MrcStack
from cryoisac.ops.fourier import window
from cryoisac.ops.hartley import transform_rings
from cryoisac.ops.masks import Mask, statistics
from cryoisac.ops.outliers import FAR, deviations
from cryoisac.ops.polar import Rings
from cryoisac.ops.spectra import rotational_power
from cryoisac.ops.whiten import EDGE_PX, Support, Whitening, background_power, standard_background
from cryoisac.run.working_stack import Geometry, Preparation, blocks, over

BLOCK_BYTES = 1 << 22  # of working images transformed at once by a thread
RING_FILES = "rings.npy", "ctf2.npy"  # in the order in which they are written
FIRST_RING = 2  # the innermost holds little of a particle, and the background's slopes
LOW_CYCLES = 3.0
LEAST_ROOM_PX = 1.0  # for shifts, where images end with the particle
QUIET = 1e-4  # of the variance of a particle: background with less is no noise
CLEARANCE_PX = 2.0  # between the particle and what counts as background


@dataclass(frozen=True, kw_only=True)
class RingGeometry:
    """Sizes of ring images.

    Parameters
    ----------
    box_px : int
        Side of the working images.
    radius_px, reach_px, mask_radius_px : float
        Particle radius, largest shift, and radius of the mask, in working pixels.
    rings : Rings
        Rings in Fourier space.
    filament_px : float, optional
        Width of filaments, in working pixels.
    """

    box_px: int
    radius_px: float
    reach_px: float
    mask_radius_px: float
    rings: Rings
    filament_px: float | None = None

    @property
    def support(self) -> Support:
        """Where background is, and what is masked."""
        return Support(
            box_px=self.box_px,
            radius_px=self.radius_px + CLEARANCE_PX,
            mask_radius_px=self.mask_radius_px,
            bar_px=None if self.filament_px is None else self.filament_px / 2 + self.reach_px,
        )


def filled_box_px(geometry: Geometry) -> int:
    """Return the side of the part of a working image that the input image fills."""
    return min(geometry.shrunk_box_px, geometry.target_box_px)


def shift_room_px(geometry: Geometry) -> float:
    """Return how far from the centre a particle can lie in a working image, in working pixels."""
    return max(filled_box_px(geometry) / 2 - EDGE_PX - geometry.target_radius_px, LEAST_ROOM_PX)


def last_ring(geometry: Geometry) -> int:
    """Return the last ring that input images fill, in Fourier pixels of the working images."""
    return int(min(1.0, 1.0 / geometry.ratio) * filled_box_px(geometry) / 2) - 1


def ring_geometry(geometry: Geometry, max_shift_px: float, filament_width_px: float | None = None) -> RingGeometry:
    """Return the sizes of ring images.

    Parameters
    ----------
    geometry : Geometry
        Sizes of input and working images.
    max_shift_px : float
        Largest shift of a particle, in input pixels; less where the working images have no room for it.
    filament_width_px : float, optional
        Width of filaments, in input pixels.
    """
    box, radius = filled_box_px(geometry), float(geometry.target_radius_px)
    reach = min(max_shift_px * geometry.ratio, shift_room_px(geometry))
    mask_radius = min(radius + reach, box / 2 - EDGE_PX)
    rings = transform_rings(last_ring(geometry), first=FIRST_RING, box_px=box, support_px=mask_radius + EDGE_PX)
    return RingGeometry(
        box_px=box,
        radius_px=radius,
        reach_px=reach,
        mask_radius_px=mask_radius,
        rings=rings,
        filament_px=None if filament_width_px is None else filament_width_px * geometry.ratio,
    )


@dataclass(frozen=True, eq=False)
class Survey:
    """What is measured on all images before any is compared with another.

    Parameters
    ----------
    noise : ndarray, shape (r,)
        Noise power on rings, outside the particle, the background's variance being 1.
    foreign : ndarray, shape (n,), bool
        Images whose low frequencies are far stronger than those of the others.
    """

    noise: npt.NDArray[np.float64]
    foreign: npt.NDArray[np.bool_]


def survey(stack: MrcStack, sizes: RingGeometry, job: Preparation) -> Survey:
    """Return the noise of the images, and which of them hold something else than particles.

    Power below ``LOW_CYCLES`` cycles in a particle's diameter tells ice, carbon and aggregates from particles: an image
    counts as foreign ``FAR`` standard deviations above the median, as the quartiles give them.

    Raises
    ------
    DataError
        Where an image has a background without noise, as masked images have.
    """
    n, support = len(job.index), sizes.support
    low = np.arange(FIRST_RING, 1 + max(FIRST_RING, round(LOW_CYCLES * sizes.box_px / (2 * sizes.radius_px))))

    def measure(rows: Indices) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        images, angle_deg = window(stack.read(rows), sizes.box_px), _filaments_deg(job, rows)
        outside = support.background(angle_deg)
        _check_background(images, outside, rows, job)
        standard = standard_background(images, outside)
        power = background_power(standard, support.soft_background(angle_deg))
        return power, rotational_power(standard * support.mask(angle_deg))[:, low] @ low

    job.progress.stage("Measuring the noise", n, "images")
    parts = [part for _, part in over(_parts(n, sizes.box_px), measure, job.threads, job.progress)]
    background, strength = (np.concatenate(column) for column in zip(*parts, strict=True))
    foreign = deviations(strength) > FAR
    power = background[~foreign].mean(axis=0)
    noise = np.maximum(power[np.array(sizes.rings.radii)], 1e-6 * power[1:].max())
    return Survey(noise=noise, foreign=foreign)


def write_rings(folder: Path, stack: MrcStack, sizes: RingGeometry, known: Survey, job: Preparation) -> None:
    """Write ``rings.npy`` and ``ctf2.npy`` of the images of a working stack that are not foreign.

    Parameters
    ----------
    folder : Path
        Where the files go.
    stack : MrcStack
        The working stack.
    sizes : RingGeometry
        Sizes of ring images.
    known : Survey
        Noise power, and which images are foreign.
    job : Preparation
        The images that the stack was made of, and whether their CTF counts or 1.
    """
    whitening = Whitening(sizes.rings, known.noise, sizes.support)
    kept, particles = np.flatnonzero(~known.foreign), job.particles
    n, ctf = len(kept), particles.ctf if job.ctf else None
    given = particles.pixel_size_A
    pixel_size_A = np.ones(len(particles)) if given is None else given / job.geometry.ratio
    ctf2 = np.empty((n, len(sizes.rings.radii)), dtype=np.float32)

    def write_samples(temporary: Path) -> None:
        shape = (n, sum(sizes.rings.lengths))
        with temporary.open("wb") as file:
            np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})

            def transform(rows: Indices) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
                own = job.index[kept[rows]]
                images = window(stack.read(kept[rows]), sizes.box_px)
                own_ctf, angle_deg = None if ctf is None else ctf[own], _filaments_deg(job, kept[rows])
                return whitening(images, own_ctf, pixel_size_A[own], angle_deg)

            for rows, (samples, squares) in over(_parts(n, sizes.box_px), transform, job.threads, job.progress):
                file.write(np.ascontiguousarray(samples).data)
                ctf2[rows] = squares

    job.progress.stage("Transforming the images", n, "images")
    write_whole(folder / RING_FILES[0], write_samples)
    write_whole(folder / RING_FILES[1], lambda temporary: _save(temporary, ctf2))


def open_rings(folder: Path, sizes: RingGeometry) -> RingImages:
    """Return the ring images in a folder; their samples are read from the file as they are needed.

    Raises
    ------
    RunError
        Where a file is damaged or missing.
    """
    samples, ctf2 = _loaded(folder / "rings.npy", mapped=True), _loaded(folder / "ctf2.npy")
    try:
        return RingImages(rings=sizes.rings, box_px=sizes.box_px, samples=samples, ctf2=ctf2)
    except DataError as error:
        raise RunError(folder / "rings.npy", "is damaged; delete it and give the same command again") from error


def rings_are_there(folder: Path) -> bool:
    """Return whether ring images were written into a folder."""
    return all((folder / name).exists() for name in RING_FILES)


def remove_rings(folder: Path) -> None:
    """Remove the ring images of a folder."""
    for name in RING_FILES:
        (folder / name).unlink(missing_ok=True)


def _loaded(path: Path, *, mapped: bool = False) -> npt.NDArray[np.float32]:
    try:
        array: npt.NDArray[np.float32] = np.load(path, mmap_mode="r" if mapped else None)
    except (ValueError, EOFError, OSError) as error:
        raise RunError(path, "is damaged; delete it and give the same command again") from error
    return array


def _filaments_deg(job: Preparation, rows: Indices) -> npt.ArrayLike:
    """Return the angles of the filaments in images ``rows`` of the stack, or 0 where there are none."""
    return 0.0 if job.filaments is None else job.filaments.angle_deg[job.index[rows]]


def _check_background(images: Images, background: Mask, rows: Indices, job: Preparation) -> None:
    """Raise ``DataError`` for an image whose background has no noise."""
    outside, inside = (statistics(images, background, inside=where).sigma for where in (True, False))
    quiet = np.flatnonzero(outside**2 < QUIET * inside**2)
    if len(quiet):
        first = int(job.index[rows[quiet[0]]])
        raise DataError(
            f"{job.particles.path}: image {first + 1} ({job.particles.name_of(first)})",
            "has no noise around the particle, which the likelihood is measured by; give images that were not masked, "
            "or --method isac2",
        )


def _save(path: Path, array: npt.NDArray[np.float32]) -> None:
    with path.open("wb") as file:
        np.save(file, array)


def _parts(n: int, box_px: int) -> Iterator[Indices]:
    return blocks(np.arange(n), box_px, BLOCK_BYTES)
