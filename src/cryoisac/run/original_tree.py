"""What the original leaves of pre-alignment, of each generation and of each main iteration, under its names.

A file depends on nothing but the state that it tells of, and is written before that state is saved: a run that was
interrupted writes it again, the same.
"""

import shutil
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cryoisac.align import prealignment
from cryoisac.cluster import isac
from cryoisac.cluster.generation import Generation
from cryoisac.engine.contract import Images, Indices
from cryoisac.io.atomic import write_whole
from cryoisac.io.eman_hdf import write_hdf_stack
from cryoisac.io.text_tables import write_table

FINISHED = "finished"


@dataclass(frozen=True, eq=False, kw_only=True)
class OriginalTree:
    """The tree of one run.

    Parameters
    ----------
    path : Path
        The run directory.
    usable : ndarray, shape (n,), int64
        Input images that take part; states count these.
    pixel_size_A : float or None
        Pixel size of the working images in Å.
    """

    path: Path
    usable: Indices
    pixel_size_A: float | None

    @property
    def initial(self) -> Path:
        """The folder of pre-alignment."""
        return self.path / "2dalignment"

    @property
    def working_stack_made(self) -> Path:
        """Says by being there that pre-alignment has ended and the working stack is made."""
        return self.initial / "Finished_initial_2d_alignment.txt"

    def main(self, main: int) -> Path:
        """Return the folder of a main iteration."""
        return self.path / f"main{main:03d}"

    def write_spectrum(self, weights: npt.NDArray[np.float64]) -> None:
        """Write ``rpw.txt``: the amplitude that images were whitened by, ring by ring; zeros where they were not."""
        _table(self.path / "rpw.txt", weights)

    def write_prealignment(self, state: prealignment.State) -> None:
        """Write the averages and references of pre-alignment, and the correlation of the halves at each iteration."""
        for number, frc in enumerate(state.frcs, start=1):
            columns = (frc.frequency, frc.correlation, frc.count.astype(np.float64))
            _table(self.initial / f"resolution{number:03d}", *columns)
        for name, images in (
            ("aqc.hdf", state.averages),
            ("aqf.hdf", state.references),
            ("aqfinal.hdf", state.references[-1:]),
        ):
            self._stack(self.initial / name, images)

    def write_main_begins(self, main: int, images: Indices) -> None:
        """Write the images that a main iteration begins with."""
        _table(self.main(main) / "generation000" / f"to_process_next_{main:03d}_000.txt", self.usable[images])

    def write_generation(self, ended: Generation, after: isac.State) -> None:
        """Write the class averages of a generation that ended, and the images that it leaves for the next.

        Parameters
        ----------
        ended : Generation
            The generation.
        after : State
            The run after it, its classes accepted or refused.
        """
        k = len(ended.references)
        number = f"{ended.main:03d}_{ended.number:03d}"
        folder = self.main(ended.main) / f"generation{ended.number:03d}"
        placed = after.ledger.label[ended.images] >= 0
        local = members_of(np.where(ended.stable, ended.labels, -1), k)
        absolute = [self.usable[ended.images[members]] for members in local]
        good = np.flatnonzero(np.bincount(ended.labels[placed], minlength=k))
        self._stack(folder / f"original_class_averages_{number}.hdf", ended.references, local)
        self._stack(folder / f"class_averages_{number}.hdf", ended.references, absolute)
        self._stack(
            folder / f"good_class_averages_{number}.hdf", ended.references[good], [absolute[c] for c in good.tolist()]
        )
        left_over = self.usable[ended.images[ended.stable & ~placed]]
        if len(left_over):
            _table(folder / f"to_process_next_{number}.txt", left_over)
        mark(folder / FINISHED)

    def write_main_ended(self, main: int, after: isac.State, images: int) -> None:
        """Write what all main iterations so far have come to.

        Parameters
        ----------
        main : int
            The main iteration that ended.
        after : State
            The run after it.
        images : int
            Images of the input.
        """
        folder, placed = self.main(main), self.usable[after.ledger.label >= 0]
        _table(folder / "processed_images.txt", placed)
        _table(folder / "not_processed_images.txt", np.setdiff1d(np.arange(images), placed))
        members = [self.usable[rows] for rows in members_of(after.ledger.label, len(after.averages))]
        self._stack(folder / "class_averages.hdf", after.averages, members)
        mark(folder / FINISHED)

    def _stack(self, path: Path, images: Images, members: list[Indices] | None = None) -> None:
        """Write a stack with ``members`` and ``n_objects``, as far as there are any."""
        if not len(images):
            return
        headers = [_header(rows) for rows in members] if members is not None else []
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, lambda temporary: write_hdf_stack(temporary, images, self.pixel_size_A, headers))


def forget(path: Path, last: int) -> None:
    """Remove from a run what tells of main iterations after the last one that is kept, and that it has ended."""
    (path / FINISHED).unlink(missing_ok=True)
    for folder in sorted(path.glob("main[0-9][0-9][0-9]"))[last:]:
        shutil.rmtree(folder)


def members_of(labels: Indices, k: int) -> list[Indices]:
    """Return the positions of each of ``k`` labels, ascending; a negative label is none."""
    if not k:
        return []
    labelled = np.flatnonzero(labels >= 0)
    inside = labels[labelled]
    order = labelled[np.argsort(inside, kind="stable")]
    return np.split(order, np.cumsum(np.bincount(inside, minlength=k))[:-1])


def mark(path: Path) -> None:
    """Make an empty file, which says by its name that something has ended."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, lambda temporary: temporary.touch())


def _header(members: Indices) -> dict[str, Any]:
    """Return the attributes of a class; EMAN2 has no list without elements."""
    return {"n_objects": len(members)} | ({"members": members.astype(np.int32)} if len(members) else {})


def _table(path: Path, *columns: npt.NDArray[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, partial(_write_columns, columns))


def _write_columns(columns: tuple[npt.NDArray[Any], ...], path: Path) -> None:
    write_table(path, columns)
