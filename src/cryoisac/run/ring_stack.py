"""From the working stack to ring images on disk: whitened, multiplied by the CTF, on rings in Fourier space."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cryoisac.engine.contract import Indices
from cryoisac.engine.likelihood import RingImages
from cryoisac.io.atomic import write_whole
from cryoisac.io.mrc import MrcStack
from cryoisac.ops.fourier import window
from cryoisac.ops.hartley import transform_rings
from cryoisac.ops.polar import Rings
from cryoisac.ops.whiten import EDGE_PX, Whitening, background_power, standard_background
from cryoisac.run.working_stack import Geometry, Preparation, over

BLOCK = 256  # images transformed at once
FIRST_RING = 2  # the innermost holds little of a particle, and the background's slopes
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
    """

    box_px: int
    radius_px: float
    reach_px: float
    mask_radius_px: float
    rings: Rings


def ring_geometry(geometry: Geometry, max_shift_px: float) -> RingGeometry:
    """Return the sizes of ring images.

    Parameters
    ----------
    geometry : Geometry
        Sizes of input and working images.
    max_shift_px : float
        Largest shift of a particle, in input pixels; less where the working images have no room for it.
    """
    box = min(geometry.shrunk_box_px, geometry.target_box_px)
    radius, largest = float(geometry.target_radius_px), box / 2 - EDGE_PX
    reach = min(max_shift_px * geometry.ratio, max(largest - radius, 1.0))
    mask_radius = min(radius + reach, largest)
    last = int(min(1.0, 1.0 / geometry.ratio) * box / 2) - 1
    rings = transform_rings(last, first=FIRST_RING, box_px=box, support_px=mask_radius + EDGE_PX)
    return RingGeometry(box_px=box, radius_px=radius, reach_px=reach, mask_radius_px=mask_radius, rings=rings)


def measure_noise(stack: MrcStack, sizes: RingGeometry, job: Preparation) -> npt.NDArray[np.float64]:
    """Return the noise power of all images, outside the particle, on the rings, shape (r,)."""
    n, outside = len(job.index), sizes.radius_px + CLEARANCE_PX

    def measure(rows: Indices) -> npt.NDArray[np.float64]:
        images = window(stack.read(rows), sizes.box_px)
        power: npt.NDArray[np.float64] = background_power(standard_background(images, outside), outside).sum(axis=0)
        return power

    job.progress.stage("Measuring the noise", n, "images")
    parts = (part for _, part in over(_parts(n), measure, job.threads, job.progress))
    power = sum(parts, start=np.zeros(sizes.box_px // 2 + 1)) / n
    noise: npt.NDArray[np.float64] = np.maximum(power[np.array(sizes.rings.radii)], 1e-6 * power[1:].max())
    return noise


def write_rings(
    folder: Path, stack: MrcStack, sizes: RingGeometry, noise: npt.NDArray[np.float64], job: Preparation
) -> None:
    """Write ``rings.npy`` and ``ctf2.npy`` of the images of a working stack, with their CTF or with 1."""
    whitening = Whitening(
        sizes.rings,
        noise,
        box_px=sizes.box_px,
        radius_px=sizes.radius_px + CLEARANCE_PX,
        mask_radius_px=sizes.mask_radius_px,
    )
    n, particles = len(job.index), job.particles
    known = particles.ctf if job.ctf else None
    given = particles.pixel_size_A
    pixel_size_A = np.ones(len(particles)) if given is None else given / job.geometry.ratio
    ctf2 = np.empty((n, len(sizes.rings.radii)), dtype=np.float32)

    def write_samples(temporary: Path) -> None:
        shape = (n, sum(sizes.rings.lengths))
        with temporary.open("wb") as file:
            np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})

            def transform(rows: Indices) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
                own = job.index[rows]
                images = window(stack.read(rows), sizes.box_px)
                return whitening(images, None if known is None else known[own], pixel_size_A[own])

            for rows, (samples, squares) in over(_parts(n), transform, 1, job.progress):
                file.write(np.ascontiguousarray(samples).data)
                ctf2[rows] = squares

    job.progress.stage("Transforming the images", n, "images")
    write_whole(folder / "rings.npy", write_samples)
    write_whole(folder / "ctf2.npy", lambda temporary: _save(temporary, ctf2))


def open_rings(folder: Path, sizes: RingGeometry) -> RingImages:
    """Return the ring images in a folder; their samples are read from the file as they are needed."""
    samples = np.load(folder / "rings.npy", mmap_mode="r")
    return RingImages(rings=sizes.rings, box_px=sizes.box_px, samples=samples, ctf2=np.load(folder / "ctf2.npy"))


def _save(path: Path, array: npt.NDArray[np.float32]) -> None:
    with path.open("wb") as file:
        np.save(file, array)


def _parts(n: int) -> Iterator[Indices]:
    for first in range(0, n, BLOCK):
        yield np.arange(first, min(n, first + BLOCK))
