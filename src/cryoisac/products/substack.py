"""A substack: the members of chosen classes, each with its pose in its own pixels."""

import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cryoisac.errors import DataError, RunError
from cryoisac.io.registry import read_particles
from cryoisac.model.particles import Particles
from cryoisac.products.class_tables import classified_particles
from cryoisac.products.classification import Classification, read_classification
from cryoisac.products.filaments import Runs, read_segments, runs_of
from cryoisac.products.selection import chosen
from cryoisac.products.substack_files import write_classes, write_images, write_particles
from cryoisac.run.room import check_room
from cryoisac.settings import Substack

Int = npt.NDArray[np.int64]

HEADER_BYTES = 4096
NO_PIXEL_SIZE = "The pixel size is not known and taken as 1 Å: origins in Å are in pixels."


@dataclass(frozen=True, kw_only=True)
class Made:
    """What a substack came to.

    Parameters
    ----------
    star : Path
        The table of its particles.
    hdf : Path or None
        The stack of its images, where one was asked for.
    images, accounted : int
        Images of the classification, and those in classes.
    averages, given, taken : int
        Classes of the classification, those of the stack of averages that was given, and those chosen of them.
    members, particles : int
        Members of the chosen classes, and what of them the substack holds.
    filaments, runs : int
        Filaments of the members, and runs of segments that are left of them; 0 where these are no segments.
    warnings : tuple of str
        What the user should know.
    """

    star: Path
    hdf: Path | None
    images: int
    accounted: int
    averages: int
    given: int
    taken: int
    members: int
    particles: int
    filaments: int
    runs: int
    warnings: tuple[str, ...]


def make_substack(
    run: str | Path,
    out: str | Path,
    settings: Substack | None = None,
    *,
    stack: str | Path | None = None,
    averages: str | Path | None = None,
) -> Made:
    """Write the members of chosen classes with their poses in input pixels, as tables and if asked for as images.

    Parameters
    ----------
    run : str or Path
        Directory of a finished classification, or of averages made anew from one.
    out : str or Path
        Directory to make.
    settings : Substack, optional
        Which classes, and what is written.
    stack : str or Path, optional
        The particles that were classified; by default those that the run names.
    averages : str or Path, optional
        HDF stack of some of the averages; by default all of them.

    Returns
    -------
    Made
        What came of it.

    Raises
    ------
    CryoisacError
        For anything wrong with the run, the particles, the averages or the settings; ``out`` is not made then.

    Notes
    -----
    After SPHIRE's ``sp_pipe isac_substack``. As there, file names count classes from 0; unlike there they are counted
    as in the whole classification, not as in ``averages``.
    """
    settings, out = settings or Substack(), Path(out)
    if out.exists():
        raise RunError(out, "exists already; choose another name")
    particles = read_particles(classified_particles(run) if stack is None else Path(stack))
    found = read_classification(run, len(particles), averages)
    pick = chosen(found, settings)
    part = out.with_name(f".{out.name}.{secrets.token_hex(4)}.partial")
    try:
        part.mkdir(parents=True)
        made = _written(part, out, particles, found, pick, settings)
        part.rename(out)
    except OSError as error:
        raise RunError(out, f"cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return made


def _written(
    part: Path, out: Path, particles: Particles, found: Classification, pick: Classification, settings: Substack
) -> Made:
    """Write everything into ``part``, which becomes ``out``."""
    base = settings.basename or "substack"
    members = np.flatnonzero(pick.class_of)
    runs = _runs(particles, members, settings) if settings.min_segments else None
    images = members if runs is None else runs.images
    if settings.hdf:
        h, w = particles.box_px
        check_room(0, len(images) * (4 * h * w + HEADER_BYTES), out)
    write_classes(part, pick)
    if runs is not None:
        write_particles(part / f"{base}_original", particles, pick, members, {})
    write_particles(part / base, particles, pick, images, {} if runs is None else runs.columns)
    if settings.hdf:
        write_images(part / f"{base}.hdf", particles, pick, images, {} if runs is None else runs.attributes)
    return Made(
        star=out / f"{base}.star",
        hdf=out / f"{base}.hdf" if settings.hdf else None,
        images=len(particles),
        accounted=int(found.accounted.sum()),
        averages=found.total,
        given=len(found.members),
        taken=len(pick.members),
        members=len(members),
        particles=len(images),
        filaments=0 if runs is None else runs.before,
        runs=0 if runs is None else runs.count,
        warnings=() if particles.pixel_size_A is not None else (NO_PIXEL_SIZE,),
    )


def _runs(particles: Particles, members: Int, settings: Substack) -> Runs:
    runs = runs_of(read_segments(particles), members, settings.min_segments)
    if not runs.count:
        raise DataError(particles.path, f"has no {settings.min_segments} consecutive segments in the chosen classes")
    return runs
