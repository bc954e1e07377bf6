"""Segments of filaments: which follow one another, and what is left of a filament when some are taken out."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cryoisac.errors import DataError, FormatError
from cryoisac.model.particles import Particles
from cryoisac.model.table import Table

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]

STAR_COLUMNS = ("rlnMicrographName", "rlnHelicalTubeID", "rlnHelicalTrackLengthAngst")
HDF_ATTRIBUTES = ("filament", "segment_id")
NEXT = 1.5  # in usual steps: the farthest that the following segment lies


@dataclass(frozen=True, eq=False, kw_only=True)
class Segments:
    """Where each of ``n`` images lies in a filament.

    Parameters
    ----------
    filament : ndarray, shape (n,)
        Filament from 0.
    micrograph : ndarray, shape (n,)
        Micrograph from 0; of HDF headers, which count filaments over all, 0.
    position : ndarray, shape (n,)
        Place along the filament, of which following segments differ by at most ``NEXT``.
    track_A : ndarray, shape (n,), or None
        Length along the filament, where a table tells it.
    """

    filament: Int
    micrograph: Int
    position: Float
    track_A: Float | None


@dataclass(frozen=True, eq=False, kw_only=True)
class Runs:
    """Consecutive segments, of those that were asked for.

    Parameters
    ----------
    images : ndarray, shape (m,)
        Images in runs that are long enough, ascending.
    run : ndarray, shape (m,)
        Run of each, from 0.
    place : ndarray, shape (m,)
        Place of each in its run, from 0.
    before : int
        Filaments that had a segment that was asked for.
    columns : dict of str to ndarray, shape (m,)
        RELION's columns, where a table told of filaments: each run a tube of its micrograph, its track from 0 on.
    """

    images: Int
    run: Int
    place: Int
    before: int
    columns: dict[str, npt.NDArray[Any]]

    @property
    def count(self) -> int:
        """Runs that were long enough."""
        return int(self.run.max(initial=-1)) + 1

    @property
    def attributes(self) -> dict[str, npt.NDArray[Any]]:
        """EMAN2's attributes: each run a filament of a name of its own, its segments counted from 0."""
        names = np.char.add("filament_", np.char.zfill(self.run.astype(np.str_), 5))
        return {HDF_ATTRIBUTES[0]: names, HDF_ATTRIBUTES[1]: self.place}


def read_segments(particles: Particles) -> Segments:
    """Return where each particle lies in a filament.

    Raises
    ------
    DataError
        If the particles come without columns or headers that tell of filaments.
    """
    if particles.metadata is not None:
        return _of_table(particles, particles.metadata.particles)
    if not all(name in particles.attributes for name in HDF_ATTRIBUTES):
        raise DataError(
            particles.path,
            f"tells of no filaments: it has no {' and '.join(HDF_ATTRIBUTES)} in its headers; leave out --min-segments",
        )
    names, place = (particles.attributes[name] for name in HDF_ATTRIBUTES)
    bad = next((i for i, (a, b) in enumerate(zip(names, place, strict=True)) if a is None or b is None), None)
    if bad is not None:
        raise DataError(particles.path, f"image {bad} has no {' or '.join(HDF_ATTRIBUTES)} in its header")
    filament = _counted(np.array([str(name) for name in names]))
    return Segments(
        filament=filament,
        micrograph=np.zeros_like(filament),
        position=np.asarray(place, dtype=np.float64),
        track_A=None,
    )


def _of_table(particles: Particles, table: Table) -> Segments:
    """Segments by RELION's columns; a step is what usually lies between neighbours."""
    lacking = [name for name in STAR_COLUMNS if name not in table]
    if lacking:
        raise DataError(
            particles.path, f"tells of no filaments: it has no column {', '.join(lacking)}; leave out --min-segments"
        )
    micrograph = _counted(table.columns[STAR_COLUMNS[0]])
    try:
        tube, track_A = table.integers(STAR_COLUMNS[1]), table.floats(STAR_COLUMNS[2])
    except ValueError as error:
        raise FormatError(particles.path, f"{' or '.join(STAR_COLUMNS[1:])}: {error}") from error
    tube = _counted(tube)
    filament = _counted(micrograph * len(table) + tube)
    order = np.lexsort((track_A, filament))
    gap = np.diff(track_A[order])[np.diff(filament[order]) == 0]
    step = float(np.median(gap[gap > 0])) if (gap > 0).any() else 1.0
    return Segments(filament=filament, micrograph=micrograph, position=track_A / step, track_A=track_A)


def _counted(values: npt.NDArray[np.generic]) -> Int:
    """Return the rank of each value among the different ones as they come first."""
    _, first, back = np.unique(values, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    counted: Int = rank[back]
    return counted


def runs_of(segments: Segments, members: Int, min_segments: int) -> Runs:
    """Return the runs of consecutive segments among ``members`` that are not shorter than ``min_segments``.

    Parameters
    ----------
    segments : Segments
        All segments.
    members : ndarray, shape (m,)
        Those asked for, at least one.
    min_segments : int
        Fewest segments of a run.
    """
    order = members[np.lexsort((segments.position[members], segments.filament[members]))]
    filament, position = segments.filament[order], segments.position[order]
    begins = np.append(True, (np.diff(filament) != 0) | (np.diff(position) > NEXT))
    run = np.cumsum(begins) - 1
    first = np.flatnonzero(begins)
    kept = np.bincount(run)[run] >= min_segments
    back = np.argsort(order[kept])
    left = _counted(run[kept])
    columns: dict[str, npt.NDArray[Any]] = {}
    if segments.track_A is not None:
        along_A = segments.track_A[order]
        columns = {
            STAR_COLUMNS[1]: _within(segments.micrograph[order[kept]], left)[back],
            STAR_COLUMNS[2]: (along_A - along_A[first][run])[kept][back],
        }
    return Runs(
        images=order[kept][back],
        run=left[back],
        place=(np.arange(len(order)) - first[run])[kept][back],
        before=len(np.unique(filament)),
        columns=columns,
    )


def _within(micrograph: Int, run: Int) -> Int:
    """Return the number, from 1, of each run among those of its micrograph."""
    _, first = np.unique(run, return_index=True)
    of_run = micrograph[first]
    order = np.argsort(of_run, kind="stable")
    place = np.arange(len(order))
    number = np.empty(len(order), dtype=np.int64)
    number[order] = place - np.searchsorted(of_run[order], of_run[order]) + 1
    found: Int = number[run]
    return found
