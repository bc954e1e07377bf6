"""The members of one class at full size: their sums over halves, their noise, and their images on rings."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cryoisac.cluster.halves import HalfSums
from cryoisac.engine.contract import Images, Indices
from cryoisac.engine.likelihood import RingImages
from cryoisac.engine.moving import Moving
from cryoisac.errors import DataError
from cryoisac.model.particles import Particles
from cryoisac.model.poses import Poses
from cryoisac.ops.ctf import ctf_2d, phase_signs, turned
from cryoisac.ops.fourier import apply_response
from cryoisac.ops.hartley import transform_rings
from cryoisac.ops.masks import circle
from cryoisac.ops.normalise import subtract_background
from cryoisac.ops.polar import Rings
from cryoisac.ops.whiten import EDGE_PX, Support, Whitening, background_power, standard_background
from cryoisac.run.working_stack import blocks, over

FIRST_RING = 2  # the innermost holds little of a particle, and the background's slopes
MOST_MEASURED = 2000  # images that tell the noise
EXACTLY = Moving(method="fourier", outside=0.0, threads=1)  # in blocks, which have a thread each
UNTOUCHED, FLIPPED, MULTIPLIED = 0, 1, 2  # what was done to images for their CTF
Float = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False, kw_only=True)
class FullSize:
    """Particles as full-size averages are made of them.

    Parameters
    ----------
    particles : Particles
        The particles.
    radius_px : float
        Particle radius.
    ctf : bool
        Whether the CTF counts, or 1.
    corrected : ndarray, shape (n,), int64
        ``UNTOUCHED``, ``FLIPPED`` or ``MULTIPLIED``: how the CTF was dealt with before.
    threads : int
        Threads to use.
    """

    particles: Particles
    radius_px: float
    ctf: bool
    corrected: Indices
    threads: int

    @property
    def box_px(self) -> int:
        """Side of the particles."""
        return self.particles.box_px[0]

    def sizes_A(self, rows: Indices) -> Float:
        """Return the pixel sizes of images."""
        given = self.particles.pixel_size_A
        return np.ones(len(rows)) if given is None else given[rows]


def half_sums(job: FullSize, members: Indices, poses: Poses, half: npt.NDArray[np.int64]) -> HalfSums:
    """Return the sums over the two halves of a class; a few blocks of members are in memory at once.

    Parameters
    ----------
    job : FullSize
        The particles.
    members : ndarray, shape (m,), int64
        Images of the class.
    poses : Poses
        Pose of each member on the class, in pixels of the particles.
    half : ndarray, shape (m,), int64
        Half of each member, 0 or 1.

    Notes
    -----
    Members are multiplied by their CTF before they are moved; the squared CTFs are those of the moved images, their
    astigmatism turned and mirrored with them. Blocks are added up in their order, whatever the threads.
    """
    n, count = job.box_px, len(members)
    signal, weight = np.zeros((2, n, n)), np.zeros((2, n, n // 2 + 1))

    def work(place: Indices) -> tuple[Float, Float]:
        images, squares = _multiplied(job, members[place], poses[place])
        own, sums = half[place], np.zeros((2, n, n))
        EXACTLY.add(images, poses[place], own, sums)
        return sums, np.tensordot(np.stack((own == 0, own == 1)).astype(np.float64), squares, axes=1)

    for _, (part, squares) in over(blocks(np.arange(count), n), work, job.threads):
        signal += part
        weight += squares
    return HalfSums(signal=signal, weight=weight, sizes=np.bincount(half, minlength=2))


def _multiplied(job: FullSize, rows: Indices, poses: Poses) -> tuple[Images, Float]:
    """Return images times their CTF, and their squared CTF as it is once they lie on their class."""
    n, ctf = job.box_px, job.particles.ctf
    images = subtract_background(job.particles.read(rows), circle(job.radius_px, n))
    _check_finite(job, rows, images)
    if not job.ctf or ctf is None:
        return images, np.ones((len(rows), n, n // 2 + 1))
    response, done = ctf_2d(ctf[rows], n, job.sizes_A(rows)), job.corrected[rows]
    if done.any():
        response = np.where((done == FLIPPED)[:, None, None], np.abs(response), response)
        response[done == MULTIPLIED] = 1.0
    return apply_response(images, response), ctf_2d(turned(ctf[rows], poses), n, job.sizes_A(rows)) ** 2


def _check_finite(job: FullSize, rows: Indices, images: Images) -> None:
    bad = np.flatnonzero(~np.isfinite(images).all(axis=(1, 2)))
    if len(bad):
        first = int(rows[bad[0]])
        raise DataError(
            f"{job.particles.path}: image {first + 1} ({job.particles.name_of(first)})",
            "has pixels that are not finite; replace it, or classify without it",
        )


def noise_power(job: FullSize, images: Indices) -> Float:
    """Return the noise power outside the particle on rings 0, 1, ..., the background's variance being 1.

    Parameters
    ----------
    job : FullSize
        The particles.
    images : ndarray, shape (m,), int64
        Images that are used; up to ``MOST_MEASURED`` of them, evenly chosen, are measured.
    """
    chosen = images[np.unique(np.linspace(0, len(images) - 1, min(len(images), MOST_MEASURED)).astype(np.int64))]
    support = support_of(job, 0.0)
    outside, weight = support.background(0.0), support.soft_background(0.0)

    def work(rows: Indices) -> Float:
        power: Float = background_power(standard_background(_raw(job, rows), outside), weight).sum(axis=0)
        return power

    total = sum(part for _, part in over(blocks(chosen, job.box_px), work, job.threads))
    power = np.asarray(total, dtype=np.float64) / len(chosen)
    floored: Float = np.maximum(power, 1e-6 * power[1:].max(initial=1e-30))
    return floored


def support_of(job: FullSize, reach_px: float) -> Support:
    """Return what is background of the particles, and the mask that leaves them so much room to move."""
    radius, most = job.radius_px + EDGE_PX, job.box_px / 2 - EDGE_PX
    return Support(box_px=job.box_px, radius_px=radius, mask_radius_px=min(job.radius_px + reach_px, most))


def full_rings(support: Support, last: int) -> Rings:
    """Return the rings of full-size images up to ``last``, or as far as they go."""
    box, reach = support.box_px, support.mask_radius_px + EDGE_PX
    return transform_rings(min(max(last, FIRST_RING), box // 2 - 1), first=FIRST_RING, box_px=box, support_px=reach)


def ring_images(
    path: Path, job: FullSize, members: Indices, poses: Poses, noise: Float, geometry: tuple[Rings, Support]
) -> RingImages:
    """Return the members of a class on rings, laid on it, whitened and multiplied by their CTF, kept in a file.

    Parameters
    ----------
    path : Path
        File to write, ``.npy``; it is read in place while the images are used.
    job, members, poses
        As for ``half_sums``.
    noise : ndarray, shape (r,)
        ``noise_power``.
    geometry : (Rings, Support)
        The rings, and how images are masked.
    """
    rings, support = geometry
    outside, mask = support.background(0.0), support.mask(0.0)
    whitening = Whitening(rings, noise[np.array(rings.radii)], support, sampled=True)
    samples = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(len(members), sum(rings.lengths)))
    ctf2 = np.empty((len(members), len(rings.radii)), dtype=np.float32)
    ctf = job.particles.ctf if job.ctf else None

    def work(place: Indices) -> None:
        rows = members[place]
        standard = standard_background(_raw(job, rows), outside)
        laid = EXACTLY.move(standard, poses[place])
        own = None if ctf is None else turned(ctf[rows], poses[place])
        samples[place], ctf2[place] = whitening.transformed(laid * mask, own, job.sizes_A(rows))

    for _ in over(blocks(np.arange(len(members)), job.box_px), work, job.threads):
        pass
    return RingImages(rings=rings, box_px=job.box_px, samples=samples, ctf2=ctf2)


def _raw(job: FullSize, rows: Indices) -> Images:
    """Return images with the sign of their CTF as it was taken."""
    images, done, ctf = job.particles.read(rows), job.corrected[rows] == FLIPPED, job.particles.ctf
    if ctf is None or not job.ctf or not done.any():
        return images
    images = images.copy()
    images[done] = apply_response(images[done], phase_signs(ctf[rows[done]], job.box_px, job.sizes_A(rows[done])))
    return images
