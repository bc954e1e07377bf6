"""A finished classification, read back: runs of this program, of SPHIRE's ISAC, and averages made anew from either."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cryoisac.errors import DataError, FormatError, RunError
from cryoisac.io import eman_hdf
from cryoisac.io.content import head
from cryoisac.io.eman_stack import HdfStack
from cryoisac.model.poses import Poses
from cryoisac.products import class_tables
from cryoisac.products.class_tables import COMPOSED, FOUND, INITIAL, LOCAL, RATIO, told

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]

CRYOISAC, ISAC2, AVERAGES = "cryoisac", "isac2", "averages"
STACKS = ("class_averages.hdf", "ordered_class_averages.hdf")
UNKNOWN_APIX = 1.0  # what EMAN2 writes where it does not know


@dataclass(frozen=True, eq=False, kw_only=True)
class Classification:
    """What a classification of ``n`` images came to, for ``k`` of its classes.

    Parameters
    ----------
    kind : str
        ``"cryoisac"`` for a run of this program, ``"isac2"`` for one of SPHIRE, ``"averages"`` for averages made anew.
    directory : Path
        Where it lies.
    averages : Path
        The stack of averages whose headers gave ``members``.
    number : ndarray, shape (k,)
        Class of each average, from 1, as the whole classification counts them.
    members : tuple of ndarray, length k
        Images of each average, counted from 0, ascending.
    total : int
        Classes of the whole classification.
    poses : Poses
        Carries each of the ``n`` images to its class average, in input pixels; the identity for an image in no class.
    accounted : ndarray, shape (n,), bool
        Whether an image is in a class of the whole classification.
    ratio : float
        Pixels of the averages per input pixel.
    radius_px : float or None
        Particle radius in input pixels, where it is known.
    pixel_size_A : float or None
        Pixel size of the input images, where it is known.
    particles : Path or None
        The classified particles, where the run names them.
    pixel_error_px : ndarray, shape (k,)
        Pixel error of each class, in pixels of its average; NaN where it is not known.
    resolution_A : ndarray, shape (k,)
        Resolution of each average; NaN where it is not known.
    """

    kind: str
    directory: Path
    averages: Path
    number: Int
    members: tuple[Int, ...]
    total: int
    poses: Poses
    accounted: Bool
    ratio: float
    radius_px: float | None
    pixel_size_A: float | None
    particles: Path | None
    pixel_error_px: Float
    resolution_A: Float

    @property
    def size(self) -> Int:
        """Members of each average, shape (k,)."""
        return np.array([len(m) for m in self.members], dtype=np.int64)

    @property
    def working_pixel_size_A(self) -> float | None:
        """Pixel size of the averages, where it is known."""
        return None if self.pixel_size_A is None else self.pixel_size_A / self.ratio

    @property
    def class_of(self) -> Int:
        """Class of each image, from 1, by the members of these averages; 0 for none, shape (n,)."""
        return _spread(self.number, self.members, len(self.accounted))

    def check_images(self, n: int) -> None:
        """Raise ``DataError`` unless it tells of ``n`` images."""
        _check_number(self.directory, len(self.accounted), n)

    def take(self, index: npt.ArrayLike) -> "Classification":
        """Return the same classification with the averages ``index``, a mask or positions, alone."""
        rows = np.arange(len(self.number))[np.asarray(index)]
        return replace(
            self,
            number=self.number[rows],
            members=tuple(self.members[i] for i in rows.tolist()),
            pixel_error_px=self.pixel_error_px[rows],
            resolution_A=self.resolution_A[rows],
        )


def read_classification(
    directory: str | Path, n_images: int | None = None, averages: str | Path | None = None
) -> Classification:
    """Read what a finished classification found, from its text tables and the headers of its averages.

    Total pose of an image = pre-alignment, then the pose in its class with its shift divided by the shrink ratio.

    Parameters
    ----------
    directory : str or Path
        Directory of a run of this program or of SPHIRE's ISAC, or of averages made anew from one.
    n_images : int, optional
        Images of the stack that was classified, where it is at hand: checked.
    averages : str or Path, optional
        HDF stack of some of the averages, in any order; by default all of them.

    Returns
    -------
    Classification
        With classes in the order of the stack of averages.

    Raises
    ------
    RunError
        If files are missing or the run has not finished.
    FormatError
        If a file is not what its name says.
    DataError
        If the files contradict one another or ``n_images``.

    Notes
    -----
    The layouts are those of SPHIRE's ``sp_isac2_gpu`` and ``sp_compute_isac_avg``: ``2dalignment/initial2Dparams.txt``,
    ``README_shrink_ratio.txt`` and ``all_parameters.txt`` tell a run of ISAC, and go before the others;
    ``ali2d_local_params.txt`` (refined poses) or ``init_isac_params.txt`` tell averages made anew.
    """
    home = Path(directory)
    kind = _kind(home)
    record = class_tables.read_record(home)
    radius_px: float | None = told(record, "settings", "radius")
    if kind == AVERAGES:
        ratio = 1.0
        known = n_images or told(record, "counts", "images") or told(record, "input", "images")
        poses, accounted = class_tables.averaged_poses(home, known)
    else:
        kind = CRYOISAC if record else ISAC2
        ratio, radius_px = class_tables.read_ratio(home / RATIO)
        ratio = told(record, "derived", "shrink_ratio") or ratio
        poses, accounted = class_tables.isac_poses(home, ratio)
    if n_images is not None:
        _check_number(home, len(accounted), n_images)
    stack = _stack(home)
    number, members = _read_averages(stack)
    _check_members(stack, number, members, accounted)
    pixel_size_A = _pixel_size_A(stack, record, kind)
    pixel_error_px, resolution_A = class_tables.class_facts(home, number, pixel_size_A)
    whole = Classification(
        kind=kind,
        directory=home,
        averages=stack,
        number=number,
        members=members,
        total=len(members),
        poses=poses,
        accounted=accounted,
        ratio=ratio,
        radius_px=radius_px,
        pixel_size_A=pixel_size_A,
        particles=class_tables.named_particles(home, record),
        pixel_error_px=pixel_error_px,
        resolution_A=resolution_A,
    )
    return whole if averages is None else _of_stack(whole, Path(averages))


def _check_number(home: Path, told_of: int, n: int) -> None:
    if told_of != n:
        raise DataError(home, f"tells of {told_of} images, not {n}; give the stack that was classified")


def _kind(home: Path) -> str:
    """Return whose tables a directory holds, or raise ``RunError`` that names what is missing."""
    if not home.is_dir():
        raise RunError(home, "is no directory; give that of a finished classification")
    lacking = [name for name in (INITIAL, RATIO, FOUND) if not (home / name).is_file()]
    if not lacking:
        return ISAC2
    if any((home / name).is_file() for name in (LOCAL, COMPOSED)):
        return AVERAGES
    raise RunError(
        home,
        f"holds no finished classification: for a run of ISAC it lacks {', '.join(lacking)}; "
        f"for averages made anew, {COMPOSED}",
    )


def _stack(home: Path) -> Path:
    """Return the stack of all averages."""
    found = next((home / name for name in STACKS if (home / name).is_file()), None)
    if found is None:
        raise RunError(home, f"has no {' or '.join(STACKS)}; it found no class, or is not complete")
    return found


def _read_averages(path: Path) -> tuple[Int, tuple[Int, ...]]:
    """Return class from 1 and ascending members of each average; without ``ISAC_class_id`` they count as they come."""
    if not eman_hdf.sniff(head(path)):
        raise FormatError(path, "is no HDF stack, which alone tells members in its headers; give one, or name classes")
    stack = HdfStack(path)
    listed = stack.column("members")
    lacking = next((i for i, members in enumerate(listed) if not isinstance(members, np.ndarray)), None)
    if lacking is not None:
        raise FormatError(path, f"average {lacking + 1} carries no members in its header; give averages as ISAC wrote")
    identity = stack.column("ISAC_class_id")
    own = all(isinstance(i, int) and i >= 0 for i in identity) and len(set(identity)) == len(identity)
    number = np.array(identity if own else np.arange(len(stack)), dtype=np.int64) + 1
    return number, tuple(np.sort(members.astype(np.int64)) for members in listed)


def _check_members(path: Path, number: Int, members: tuple[Int, ...], accounted: Bool) -> None:
    """Raise ``DataError`` unless every member exists, has a pose and is in one class."""
    for c, images in zip(number.tolist(), members, strict=True):
        beyond = images[(images < 0) | (images >= len(accounted))]
        if beyond.size:
            raise DataError(path, f"class {c} has image {beyond[0]} for a member, of {len(accounted)} counted from 0")
        bare = images[~accounted[images]]
        if bare.size:
            raise DataError(path, f"class {c} has image {bare[0]} for a member, which has no pose in a class")
    every = np.concatenate(members)
    once, times = np.unique(every, return_counts=True)
    if len(once) < len(every):
        raise DataError(path, f"has image {once[times > 1][0]} for a member twice")


def _spread(number: Int, members: tuple[Int, ...], n: int) -> Int:
    """Return the class of each of ``n`` images, 0 for none."""
    found = np.zeros(n, dtype=np.int64)
    for c, images in zip(number.tolist(), members, strict=True):
        found[images] = c
    return found


def _of_stack(whole: Classification, path: Path) -> Classification:
    """Return the classification with the averages of another stack: what class each is, its members tell."""
    _, members = _read_averages(path)
    class_of, rows = whole.class_of, []
    for i, images in enumerate(members, 1):
        inside = images[(images >= 0) & (images < len(class_of))]
        classes = np.unique(class_of[inside])
        if len(inside) < len(images) or len(classes) != 1 or classes[0] == 0:
            raise DataError(path, f"average {i} has members that are no class of {whole.averages}; is it of this run?")
        rows.append(int(np.flatnonzero(whole.number == classes[0])[0]))
    if len(set(rows)) < len(rows):
        twice = next(row for row in rows if rows.count(row) > 1)
        raise DataError(path, f"has two averages of class {whole.number[twice]}; leave one")
    _check_members(path, whole.number[rows], members, whole.accounted)
    return replace(whole.take(rows), averages=path, members=members)


def _pixel_size_A(stack: Path, record: dict[str, Any], kind: str) -> float | None:
    """Return the pixel size of the input; averages made anew have it too, those of SPHIRE's ISAC say nothing."""
    recorded: float | None = told(record, "input", "pixel_size_A")
    if recorded is not None or kind != AVERAGES:
        return recorded
    apix = HdfStack(stack).column("apix_x")[0]
    return float(apix) if isinstance(apix, float) and apix > 0 and apix != UNKNOWN_APIX else None
