"""Arrays written as the files that this program, RELION and EMAN2 read."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from cryoisac.api.arrays import PoseRows, as_images, as_labels, as_particles, as_poses
from cryoisac.errors import DataError, SettingError
from cryoisac.io.atomic import write_whole
from cryoisac.io.eman_hdf import write_hdf_stack
from cryoisac.io.eman_header import EmanCtf, EmanTransform
from cryoisac.io.mrc_write import write_mrc_stack
from cryoisac.io.star import write_star
from cryoisac.model.ctf import CtfParameters
from cryoisac.model.particles import Particles
from cryoisac.model.poses import Poses, to_relion
from cryoisac.model.table import Metadata
from cryoisac.products.tables import ASSUMED_PIXEL_SIZE_A, bare_metadata

Images = npt.NDArray[np.float32]
Int = npt.NDArray[np.int64]


def write_particles(
    path: str | Path,
    images: npt.ArrayLike,
    *,
    pixel_size_A: float | None = None,
    ctf: CtfParameters | None = None,
    poses: PoseRows | None = None,
    labels: npt.ArrayLike | None = None,
) -> None:
    """Write particle images, with what is known of them.

    Parameters
    ----------
    path : str or Path
        ``.star`` for a RELION table, with the images in an ``.mrcs`` of the same name beside it; ``.hdf`` for a stack
        of EMAN2; ``.mrcs`` for images alone.
    images : array_like, shape (n, h, w)
        The images.
    pixel_size_A : float, optional
        Pixel size.
    ctf : CtfParameters, optional
        CTF of each image.
    poses : Poses or array_like, shape (n, 4), optional
        Pose of each image.
    labels : array_like, shape (n,), optional
        Class of each image from 0, -1 for none; files count as their programs do, from 1 in RELION.

    Raises
    ------
    DataError
        When the numbers of images differ, a pixel is not finite, or EMAN2's CTF cannot hold a phase shift.
    SettingError
        When the suffix is another, or an MRC stack is given what it cannot hold.
    """
    path = Path(path)
    particles = as_particles(as_images(images), pixel_size_A, ctf)
    n = len(particles)
    pixels = particles.read(np.arange(n))
    placed = None if poses is None else as_poses(poses, n)[0]
    label = None if labels is None else as_labels(labels, n)
    suffix = path.suffix.lower()
    if suffix == ".star":
        stack = path.with_suffix(".mrcs")
        write_whole(stack, lambda file: write_mrc_stack(file, pixels, pixel_size_A))
        table = _table(particles, stack, placed, label)
        write_whole(path, lambda file: write_star(file, table))
    elif suffix == ".hdf":
        headers = _headers(particles, placed, label)
        write_whole(path, lambda file: write_hdf_stack(file, pixels, pixel_size_A, headers))
    elif suffix == ".mrcs":
        if ctf is not None or placed is not None or label is not None:
            raise SettingError("path", f"is {path}: an MRC stack holds images alone; end it in .star or .hdf")
        write_whole(path, lambda file: write_mrc_stack(file, pixels, pixel_size_A))
    else:
        raise SettingError("path", f"is {path}; end it in .star, .mrcs or .hdf")


def _table(particles: Particles, stack: Path, poses: Poses | None, labels: Int | None) -> Metadata:
    """Return RELION's blocks, with images named relative to the table."""
    whole = bare_metadata(particles)
    n, table = len(particles), whole.particles
    table = table.with_column("rlnImageName", np.char.mod(f"%06d@{stack.name}", np.arange(1, n + 1)))
    if particles.ctf is not None and particles.ctf.phase_shift_deg.any():
        table = table.with_column("rlnPhaseShift", particles.ctf.phase_shift_deg)
    if labels is not None:
        table = table.with_column("rlnClassNumber", labels + 1)
    if poses is not None:
        sizes = particles.pixel_size_A
        psi, origin, flip = to_relion(poses)
        origin = origin * (np.full(n, ASSUMED_PIXEL_SIZE_A) if sizes is None else sizes)[:, None]
        table = table.with_column("rlnAnglePsi", psi).with_column("rlnIsFlip", flip.astype(np.int64))
        table = table.with_column("rlnOriginXAngst", origin[:, 0]).with_column("rlnOriginYAngst", origin[:, 1])
    return Metadata(table, whole.optics, whole.others, whole.particles_block)


def _headers(particles: Particles, poses: Poses | None, labels: Int | None) -> list[dict[str, object]]:
    """Return EMAN2's header of each image."""
    ctf, sizes = particles.ctf, particles.pixel_size_A
    headers: list[dict[str, object]] = [{} for _ in range(len(particles))]
    if ctf is not None and ctf.phase_shift_deg.any():
        raise DataError("ctf", "has phase shifts, which EMAN2's CTF cannot hold; write a .star")
    for i, header in enumerate(headers):
        if ctf is not None:
            header["ctf"] = EmanCtf(
                float(ctf.defocus_um[i]),
                float(ctf.astigmatism_um[i]),
                float(ctf.astigmatism_angle_deg[i]),
                float(ctf.bfactor_A2[i]),
                100 * float(ctf.amplitude_contrast[i]),
                float(ctf.voltage_kV[i]),
                float(ctf.cs_mm[i]),
                ASSUMED_PIXEL_SIZE_A if sizes is None else float(sizes[i]),
            )
        if poses is not None:
            header["xform.align2d"] = EmanTransform.from_row(poses.rows()[i])
        if labels is not None:
            header["ISAC_class_id"] = int(labels[i])
    return headers
