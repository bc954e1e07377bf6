"""Multireference and reference-free alignment of arrays, or of files."""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt

from cryoisac.align import rfa
from cryoisac.api.arrays import Given, as_images, as_particles
from cryoisac.api.classes import read_averages, run_directory
from cryoisac.api.told import Callback, called, chosen, progress_of
from cryoisac.cluster import mra
from cryoisac.errors import RunError, SettingError
from cryoisac.io.mrc_write import write_mrc_stack
from cryoisac.model.ctf import CtfParameters
from cryoisac.model.poses import Poses
from cryoisac.run import checkpoint
from cryoisac.run.directory import RunDirectory
from cryoisac.run.opening import Scan
from cryoisac.settings import Multireference, ReferenceFree
from cryoisac.workflow.alignment import run_alignment

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]
Images = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False, kw_only=True)
class Alignment:
    """What an alignment of ``n`` images came to, with ``k`` references, or one class of all where there are none.

    Parameters
    ----------
    labels : ndarray, shape (n,), int64
        Class of each image from 0; -1 for an image that could not be used.
    poses : Poses
        Carries each image to its class, in pixels; the identity for one that could not be used.
    averages : ndarray, shape (k, h, w), float32
        Class averages.
    references : ndarray, shape (k, h, w), float32
        The last references, made of the averages: centred and low-passed.
    frc : ndarray, shape (k, h // 2 + 1)
        Fourier ring correlation of the halves of each class, at 0, 1 / h, ... cycles per pixel.
    record : dict
        What ``run.json`` says: settings, and what each iteration came to.
    """

    labels: Int
    poses: Poses
    averages: Images
    references: Images
    frc: Float
    record: dict[str, Any]

    @property
    def sizes(self) -> Int:
        """Members of each class, shape (k,)."""
        return np.bincount(self.labels[self.labels >= 0], minlength=len(self.averages))


def align_multireference(
    images: Given,
    references: npt.ArrayLike | int,
    *,
    pixel_size_A: float | None = None,
    ctf: CtfParameters | None = None,
    directory: str | Path | None = None,
    threads: int | None = None,
    callback: Callback | None = None,
    **settings: Any,
) -> Alignment:
    """Align images with references, and sort them by these.

    Parameters
    ----------
    images, pixel_size_A, ctf, directory, threads, callback
        As for ``isac``.
    references : array_like, shape (k, h, h), or int
        The first references, or how many images to draw for them.
    **settings
        The options of ``cryoisac mra`` by their names with underscores, such as ``radius=40, xr=3, device="cpu"``.

    Returns
    -------
    Alignment
        Of ``k`` classes.

    Raises
    ------
    SettingError, DataError, RunError
        For settings, images or a directory that will not do.
    Cancelled
        Where the callback asked to stop.
    """
    particles = as_particles(images, pixel_size_A, ctf)
    given, call = called(settings)
    options = chosen(Multireference, ({} if ctf is None else {"ctf": True}) | given)
    with TemporaryDirectory(prefix="cryoisac-") as made, run_directory(directory) as home:
        first: Path | int
        if isinstance(references, int | np.integer):
            first = int(references)
            if first < 1:
                raise SettingError("references", f"is {first}; give an array of references, or how many to draw")
        else:
            first = Path(made) / "references.mrcs"
            write_mrc_stack(first, as_images(references, "references").astype(np.float32))
        outcome = run_alignment(
            particles, home, options, references=first, threads=threads, progress=progress_of(callback), call=call
        )
        state = _state(home, mra.State)
        k = len(state.references)
        return Alignment(
            labels=_spread(state.labels, home, len(particles)),
            poses=_placed(state.poses, home, len(particles)),
            averages=read_averages(home / "class_averages.mrcs", k, particles.box_px[0]),
            references=state.references,
            frc=state.correlation,
            record=outcome.record,
        )


def align_reference_free(
    images: Given,
    *,
    pixel_size_A: float | None = None,
    ctf: CtfParameters | None = None,
    directory: str | Path | None = None,
    threads: int | None = None,
    callback: Callback | None = None,
    **settings: Any,
) -> Alignment:
    """Align images to their own average, again and again.

    Parameters
    ----------
    images, pixel_size_A, ctf, directory, threads, callback
        As for ``isac``.
    **settings
        The options of ``cryoisac rfa`` by their names with underscores, such as ``xr=[4, 2, 1]``.

    Returns
    -------
    Alignment
        Of one class.

    Raises
    ------
    SettingError, DataError, RunError
        For settings, images or a directory that will not do.
    Cancelled
        Where the callback asked to stop.
    """
    particles = as_particles(images, pixel_size_A, ctf)
    given, call = called(settings)
    options = chosen(ReferenceFree, ({} if ctf is None else {"ctf": True}) | given)
    with run_directory(directory) as home:
        outcome = run_alignment(particles, home, options, threads=threads, progress=progress_of(callback), call=call)
        state = _state(home, rfa.State)
        usable = np.zeros(len(state.poses), dtype=np.int64)
        return Alignment(
            labels=_spread(usable, home, len(particles)),
            poses=_placed(state.poses, home, len(particles)),
            averages=read_averages(home / "average.mrcs", 1, particles.box_px[0]),
            references=state.references[-1:],
            frc=state.correlation[None],
            record=outcome.record,
        )


def _state(home: Path, kind: type[Any]) -> Any:
    """Return the last state of an alignment."""
    state = checkpoint.load(RunDirectory(home).alignment, kind)
    if state is None:
        raise RunError(home, "has lost its last state; choose another directory")
    return state


def _usable(home: Path, n: int) -> Int:
    """Return the images of a run that could be used."""
    scan = checkpoint.load(RunDirectory(home).scan, Scan)
    return np.arange(n) if scan is None else np.setdiff1d(np.arange(n), scan.bad)


def _spread(labels: Int, home: Path, n: int) -> Int:
    """Return the classes of all images, -1 for those that could not be used."""
    whole = np.full(n, -1, dtype=np.int64)
    whole[_usable(home, n)] = labels
    return whole


def _placed(poses: Poses, home: Path, n: int) -> Poses:
    return Poses.identity(n).replaced(_usable(home, n), poses)
