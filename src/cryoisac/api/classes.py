"""ISAC on an array, or on a file."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt

from cryoisac.api.arrays import Given, as_particles
from cryoisac.api.told import Callback, called, chosen, progress_of
from cryoisac.io.registry import read_image_stack
from cryoisac.io.star import poses_of, read_star
from cryoisac.model.ctf import CtfParameters
from cryoisac.model.poses import Poses
from cryoisac.scoring.files import read_columns
from cryoisac.settings import Isac
from cryoisac.workflow.isac import run_isac

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]
NUMBERS = ("pixel_error", "score", "membership_stability")
CLASSES = ("class", "nearest", "rival")


@dataclass(frozen=True, eq=False, kw_only=True)
class Classes:
    """What ``isac`` found for ``n`` images, in ``k`` classes.

    Parameters
    ----------
    labels : ndarray, shape (n,), int64
        Class of each image from 0; -1 for an image in no class.
    reason : ndarray, shape (n,), str
        Why an image is in no class; empty for members.
    poses : Poses
        Carries each member to its class average, in pixels of the images; the identity for an image in no class.
    class_averages : ndarray, shape (k, h, w), float32
        In working pixels, of which there are ``ratio`` in a pixel of the images.
    class_pixel_errors_px : ndarray, shape (k,)
        Root-mean-square pixel error of each class, in working pixels; NaN where it is not known.
    pixel_errors_px, scores, membership_stability : ndarray, shape (n,)
        Of each image, as in the ledger: pixel error in working pixels, infinite where there was no test; correlation,
        or gain in log-likelihood; share of the fellows in its class that stay with it, NaN where that is not known.
    nearest, rivals : ndarray, shape (n,), int64
        The classes that explain each image best and second best; -1 where that is not known.
    ratio : float
        Working pixels per pixel of the images.
    record : dict
        What ``run.json`` says: settings, counts, generations.
    """

    labels: Int
    reason: npt.NDArray[np.str_]
    poses: Poses
    class_averages: npt.NDArray[np.float32]
    class_pixel_errors_px: Float
    pixel_errors_px: Float
    scores: Float
    membership_stability: Float
    nearest: Int
    rivals: Int
    ratio: float
    record: dict[str, Any]

    @property
    def sizes(self) -> Int:
        """Members of each class, shape (k,)."""
        return np.bincount(self.labels[self.labels >= 0], minlength=len(self.class_averages))


def isac(
    images: Given,
    *,
    pixel_size_A: float | None = None,
    ctf: CtfParameters | None = None,
    directory: str | Path | None = None,
    threads: int | None = None,
    callback: Callback | None = None,
    **settings: Any,
) -> Classes:
    """Sort particle images into stable, homogeneous classes.

    Parameters
    ----------
    images : array_like, shape (n, h, h), or str, Path or Particles
        The images, or the file that has or names them.
    pixel_size_A : float, optional
        Pixel size of images in an array.
    ctf : CtfParameters, optional
        CTF of each image of an array, for ``ctf=True`` among the settings; taken as that where it is given.
    directory : str or Path, optional
        Where the run lies, with all its files; a run that was interrupted goes on, one that has ended is read. By
        default a temporary directory, which is gone afterwards.
    threads : int, optional
        Threads; by default all cores that this process may use. The result does not depend on them.
    callback : callable, optional
        ``callback(stage, done, total)`` is told of progress; where it returns ``False`` or raises ``Cancelled``, the
        run stops, and ``directory`` holds what it needs to go on.
    **settings
        The options of ``cryoisac isac`` by their names with underscores, such as ``img_per_grp=50``, ``device`` among
        them: ``"cpu"``, ``"cuda:0"``, or, by default, the first GPU where there is one.

    Returns
    -------
    Classes
        The same as the files of the run say.

    Raises
    ------
    SettingError, DataError, RunError
        For settings, images or a directory that will not do.
    Cancelled
        Where the callback asked to stop.
    """
    particles = as_particles(images, pixel_size_A, ctf)
    given, call = called(settings)
    options = chosen(Isac, ({} if ctf is None else {"ctf": True}) | given)
    with run_directory(directory) as home:
        outcome = run_isac(particles, home, options, threads=threads, progress=progress_of(callback), call=call)
        return read_classes(home, outcome.record, len(particles))


@contextmanager
def run_directory(directory: str | Path | None) -> Iterator[Path]:
    """Give a directory, or a temporary one that is gone afterwards."""
    if directory is not None:
        yield Path(directory)
        return
    with TemporaryDirectory(prefix="cryoisac-") as made:
        yield Path(made)


def read_classes(home: Path, record: dict[str, Any], n: int) -> Classes:
    """Return what the files of a finished run say of its ``n`` images."""
    columns = read_columns(home / "ledger.csv", (*CLASSES, *NUMBERS, "reason"))
    number = {name: np.array(columns[name], dtype=np.float64) for name in NUMBERS}
    label, nearest, rivals = (from_zero(np.array(columns[name], dtype=np.int64)) for name in CLASSES)
    members, poses = np.flatnonzero(label >= 0), Poses.identity(n)
    if len(members):
        table = home / "classified.star"
        poses = poses.replaced(members, poses_of(table, read_star(table)))
    errors = [np.nan if c["pixel_error_px"] is None else c["pixel_error_px"] for c in record["classes"]]
    side = record["derived"]["working_box_px"]
    return Classes(
        labels=label,
        reason=np.array(columns["reason"], dtype=np.str_),
        poses=poses,
        class_averages=read_averages(home / "class_averages.mrcs", len(errors), side),
        class_pixel_errors_px=np.array(errors, dtype=np.float64),
        pixel_errors_px=number["pixel_error"],
        scores=number["score"],
        membership_stability=number["membership_stability"],
        nearest=nearest,
        rivals=rivals,
        ratio=float(record["derived"]["shrink_ratio"]),
        record=record,
    )


def from_zero(number: Int) -> Int:
    """Return classes from 0, -1 for none, of numbers from 1."""
    return np.where(number > 0, number - 1, -1)


def read_averages(path: Path, k: int, side: int) -> npt.NDArray[np.float32]:
    """Return the averages of a run, shape (k, h, w), none where it found no class."""
    if not k:
        return np.zeros((0, side, side), dtype=np.float32)
    return read_image_stack(path).read(np.arange(k))
