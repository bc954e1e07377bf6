"""What is explored: the classes and poses of a finished run or of a table, and the particles they are of."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cryoisac.errors import DataError, SettingError
from cryoisac.explore.truth import read_labels
from cryoisac.io import star
from cryoisac.io.content import head
from cryoisac.io.registry import read_particles
from cryoisac.model.particles import Particles
from cryoisac.model.poses import Poses
from cryoisac.products.class_tables import classified_particles, read_record, told
from cryoisac.products.classification import read_classification
from cryoisac.products.pose_tables import read_pose_table
from cryoisac.settings import Explore

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False, kw_only=True)
class Found:
    """Classes and poses of images.

    Parameters
    ----------
    kind : str
        What they come from: ``cryoisac``, ``isac2``, ``averages`` or ``table``.
    class_of : ndarray, shape (all,), int64
        Class of each image from 1; 0 for none.
    number : ndarray, shape (k,), int64
        The classes, ascending.
    poses : Poses
        Carries each image to its class average, in its own pixels.
    radius_px : float or None
        Radius of the particle, where it is known.
    ctf : bool
        Whether phases were corrected.
    particles : Path or None
        The images, where they are known.
    """

    kind: str
    class_of: Int
    number: Int
    poses: Poses
    radius_px: float | None = None
    ctf: bool = False
    particles: Path | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class Input:
    """Classes and poses, and their particles.

    Parameters
    ----------
    kind : str
        What they come from.
    particles : Particles
        The images.
    truth : ndarray, shape (all,), int64, or None
        What each image shows, -1 where that is not known.
    index : ndarray, shape (n,), int64
        Images in classes, ascending.
    label : ndarray, shape (n,), int64
        Place of the class of each in ``number``.
    number : ndarray, shape (k,), int64
        Class numbers, ascending.
    poses : Poses
        Carries each of the ``n`` to its class average, in input pixels.
    radius_px : int
        Radius of the particle.
    ctf : bool
        Whether phases are flipped.
    """

    kind: str
    particles: Particles
    truth: Int | None
    index: Int
    label: Int
    number: Int
    poses: Poses
    radius_px: int
    ctf: bool

    @property
    def sizes(self) -> Int:
        """Members of each class, shape (k,)."""
        return np.bincount(self.label, minlength=len(self.number))

    @property
    def defocus_um(self) -> Float | None:
        """Mean defocus of each particle in a class, shape (n,), where it is known."""
        return None if self.particles.ctf is None else self.particles.ctf.defocus_um[self.index]

    @property
    def pixel_size_A(self) -> float | None:
        """Pixel size of the images, where they have one."""
        sizes = self.particles.pixel_size_A
        return float(sizes[0]) if sizes is not None and (sizes == sizes[0]).all() else None


def read_input(run: Path, settings: Explore, *, stack: Path | None = None, truth: Path | None = None) -> Input:
    """Read classes, poses and the table of their particles.

    Parameters
    ----------
    run : Path
        Directory of a finished classification, or a table of classes and poses.
    settings : Explore
        How it will be explored.
    stack : Path, optional
        The particles that were classified; by default those that the run names, or that a STAR file lists.
    truth : Path, optional
        Table of what each particle shows.

    Returns
    -------
    Input

    Raises
    ------
    RunError
        When the particles of a run are not known, or not there.
    DataError
        When the particles are not those that were classified, or too few are in classes.
    SettingError
        When radius or particles are not known, or the CTF is asked for and not there.
    """
    found = _of_directory(run, stack) if run.is_dir() else _of_table(run)
    path = found.particles if stack is None else stack
    if path is None:
        raise SettingError("--stack", f"is needed: {run} does not say which images its rows are of")
    given = read_particles(path)
    if len(given) != len(found.class_of):
        raise DataError(
            path, f"has {len(given)} images, where {run} tells of {len(found.class_of)}; give what was classified"
        )
    radius_px = settings.radius or round(found.radius_px or 0)
    if not radius_px:
        raise SettingError("--radius", f"is not known from {run}; give the particle radius in input pixels")
    index = np.flatnonzero(found.class_of > 0)
    if len(index) < 2:
        raise DataError(run, "has fewer than two particles in classes; there is nothing to explore")
    if settings.ctf and (given.ctf is None or given.pixel_size_A is None):
        raise SettingError("--ctf", f"needs CTF parameters and a pixel size, which {path} does not have")
    return Input(
        kind=found.kind,
        particles=given,
        truth=None if truth is None else read_labels(truth, len(given)),
        index=index,
        label=np.searchsorted(found.number, found.class_of[index]),
        number=found.number,
        poses=found.poses[index],
        radius_px=radius_px,
        ctf=found.ctf if settings.ctf is None else settings.ctf,
    )


def _of_directory(run: Path, stack: Path | None) -> Found:
    """Return what a finished run found; where no stack is given, with the particles it names."""
    record = read_record(run)
    ctf = bool(told(record, "settings", "ctf"))
    whole = read_classification(run)
    return Found(
        kind=whole.kind,
        class_of=whole.class_of,
        number=np.sort(whole.number),
        poses=whole.poses,
        radius_px=whole.radius_px,
        ctf=ctf,
        particles=classified_particles(run) if stack is None else None,
    )


def _of_table(path: Path) -> Found:
    """Return what a table says; a table without classes has one, of all its images."""
    table = read_pose_table(path)
    if (table.scale != 1).any():
        raise DataError(path, "has poses that enlarge images; give a table of rotations, shifts and mirrors")
    label = np.zeros(len(table), dtype=np.int64) if table.label is None else table.label
    return Found(
        kind="table",
        class_of=label + 1,
        number=np.unique(label[label >= 0]) + 1,
        poses=table.poses,
        particles=path if star.sniff(head(path)) else None,
    )
