"""The files of a substack: RELION's table, the original's text tables, and a stack with EMAN2's headers."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cryoisac.errors import DataError
from cryoisac.io.eman_hdf import write_hdf_blocks
from cryoisac.io.eman_header import EmanCtf, EmanTransform, encode
from cryoisac.io.text_tables import write_table
from cryoisac.model.particles import Particles
from cryoisac.model.poses import to_projection
from cryoisac.products.class_tables import COMPOSED, LOCAL, UNACCOUNTED
from cryoisac.products.classification import Classification
from cryoisac.products.tables import ASSUMED_PIXEL_SIZE_A, write_members
from cryoisac.run.working_stack import blocks

Int = npt.NDArray[np.int64]
Columns = Mapping[str, npt.NDArray[Any]]

ALIGN2D = ("%16.6f", "%16.6f", "%16.6f", "%10d", "%10.3f")
PROJECTION = 5 * ("%16.6f",)
APIX = ("apix_x", "apix_y", "apix_z")
ELSEWHERE = frozenset(("data_path", "data_source", "data_n"))  # say where a database keeps pixels


def write_classes(directory: Path, pick: Classification) -> None:
    """Write the original's tables of all images, and of the members of each class.

    ``scaled_all_parameters.txt``, ``init_isac_params.txt``, ``particle_membership.txt`` and a table of poses for each
    class; where a file counts classes it counts from 0.

    Parameters
    ----------
    directory : Path
        Where to write.
    pick : Classification
        The classes.
    """
    accounted = np.flatnonzero(pick.accounted)
    placed = np.where(pick.accounted, pick.poses.mirror.astype(np.int64), UNACCOUNTED)
    write_table(directory / "scaled_all_parameters.txt", [*_pose(pick, np.arange(len(placed)))[:3], placed])
    write_table(directory / COMPOSED, [accounted, *_pose(pick, accounted), np.ones(len(accounted))])
    class_of = pick.class_of
    members = np.flatnonzero(class_of)
    write_table(directory / "particle_membership.txt", [members, class_of[members] - 1])
    name = "ali2d_local_params_avg" if (pick.directory / LOCAL).is_file() else "params_avg"
    (directory / name).mkdir()
    for number, own in zip(pick.number.tolist(), pick.members, strict=True):
        columns = [*_pose(pick, own), np.ones(len(own))]
        write_table(directory / name / f"{name}_{number - 1:03d}.txt", columns)


def _pose(pick: Classification, images: Int) -> list[npt.NDArray[Any]]:
    poses = pick.poses[images]
    return [poses.angle_deg, poses.shift_px[:, 0], poses.shift_px[:, 1], poses.mirror.astype(np.int64)]


def write_particles(base: Path, particles: Particles, pick: Classification, images: Int, further: Columns) -> None:
    """Write ``<base>.star`` and the original's lists of a substack: images, poses, and poses as of projections.

    Parameters
    ----------
    base : Path
        Directory, and how names begin.
    particles : Particles
        The input.
    pick : Classification
        The classes.
    images : ndarray, shape (m,)
        Images of the substack, ascending.
    further : mapping of str to ndarray, shape (m,)
        Columns to set besides.

    Notes
    -----
    ``rlnAngleRot`` is 0 and ``rlnAngleTilt`` 180 where an image is mirrored, else 0: of a flat object that looks like
    the class average, the image is then the projection that RELION's three angles tell, seen from behind.
    """
    poses = pick.poses[images]
    angles = {"rlnAngleRot": np.zeros(len(images)), "rlnAngleTilt": np.where(poses.mirror, 180.0, 0.0)}
    number = pick.class_of[images]
    star = base.with_name(f"{base.name}.star")
    write_members(star, particles, images, number, poses, further=angles | dict(further))
    for what, columns, formats in (
        ("particle_id_list", [images], ("%d",)),
        ("header_align2d", [*_pose(pick, images), np.ones(len(images))], ALIGN2D),
        ("header_projection", list(to_projection(poses).T), PROJECTION),
    ):
        write_table(base.with_name(f"{base.name}_{what}.txt"), columns, formats=formats)


def write_images(path: Path, particles: Particles, pick: Classification, images: Int, further: Columns) -> None:
    """Write images with their headers: what the input said, and ``xform.align2d, xform.projection, ISAC_class_id``.

    Parameters
    ----------
    path : Path
        HDF stack to write.
    particles : Particles
        The input.
    pick : Classification
        The classes; ``ISAC_class_id`` counts them from 0.
    images : ndarray, shape (m,)
        Images to write.
    further : mapping of str to ndarray, shape (m,)
        Attributes to set besides.

    Raises
    ------
    DataError
        If an attribute has no place in EMAN2's headers.
    """
    attributes = [*_headers(particles, pick, images, further)]
    pixels = (particles.read(rows) for rows in blocks(images, particles.box_px[0]))
    write_hdf_blocks(path, pixels, attributes)


def _headers(particles: Particles, pick: Classification, images: Int, further: Columns) -> Iterator[dict[str, Any]]:
    """Yield the header of each image."""
    carried = {name: particles.attributes[name] for name in particles.attributes if name not in ELSEWHERE}
    carried |= _of_table(particles)
    ctf, poses, number = _ctf(particles, images), pick.poses[images], pick.class_of[images]
    sizes = particles.pixel_size_A
    for j, (i, pose, projection) in enumerate(zip(images.tolist(), poses, to_projection(poses), strict=True)):
        known = {name: values[i] for name, values in carried.items()}
        own = {name: values[j].item() for name, values in further.items()}
        yield {name: value for name, value in known.items() if _can_be_stored(name, value)} | {
            "source_path": str(particles.path),
            "source_n": i,
            **({} if ctf is None else {"ctf": ctf[j]}),
            **({} if sizes is None else dict.fromkeys(APIX, float(sizes[i]))),
            "xform.align2d": EmanTransform.from_row(pose),
            "xform.projection": EmanTransform.from_projection(projection),
            "ISAC_class_id": int(number[j]) - 1,
            **own,
        }


def _can_be_stored(name: str, value: Any) -> bool:
    """Return whether an attribute is there, and of a kind that HDF headers hold; databases hold more kinds."""
    try:
        return value is not None and encode(name, value) is not None
    except ValueError:
        return False


def _of_table(particles: Particles) -> dict[str, list[Any]]:
    """Return what SPHIRE calls micrograph and place in it, of RELION's table."""
    if particles.metadata is None:
        return {}
    table, found = particles.metadata.particles, {}
    if "rlnMicrographName" in table:
        found["ptcl_source_image"] = table.texts("rlnMicrographName")
    if "rlnCoordinateX" in table and "rlnCoordinateY" in table:
        places = np.column_stack((table.floats("rlnCoordinateX"), table.floats("rlnCoordinateY")))
        found["ptcl_source_coord"] = list(np.rint(places).astype(np.int64))
    return found


def _ctf(particles: Particles, images: Int) -> list[EmanCtf] | None:
    if particles.ctf is None:
        return None
    ctf, sizes = particles.ctf[images], particles.pixel_size_A
    contrast = ctf.whole_contrast()
    if np.isnan(contrast).any():
        raise DataError(
            particles.path, "has phase shifts of 180° or more, which EMAN2's CTF cannot hold; leave out --hdf"
        )
    columns = (
        ctf.defocus_um,
        ctf.astigmatism_um,
        ctf.astigmatism_angle_deg,
        ctf.bfactor_A2,
        100 * contrast,
        ctf.voltage_kV,
        ctf.cs_mm,
        np.full(len(images), ASSUMED_PIXEL_SIZE_A) if sizes is None else sizes[images],
    )
    return [EmanCtf(*row) for row in np.column_stack(columns).tolist()]
