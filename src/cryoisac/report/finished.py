"""What a finished run left behind, read for its report."""

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cryoisac.errors import RunError
from cryoisac.io.mrc import MrcStack

Images = npt.NDArray[np.float32]
Float = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False, kw_only=True)
class FinishedRun:
    """A finished run of ``n`` images and ``k`` classes.

    Parameters
    ----------
    record : dict
        What ``run.json`` says.
    averages : ndarray, shape (k, h, w), float32
        Class averages, class after class.
    laid : ndarray, shape (k, h, w), float32, or None
        The same, each turned as in ``ordered_class_averages.mrcs``; None where there is none.
    label : ndarray, shape (n,)
        Class of each image from 0; -1 for an image in no class.
    pixel_error_px, score : ndarray, shape (n,)
        Last pixel error, in working pixels, and last score of each image; not finite where it has none.
    fellowship : ndarray, shape (n,)
        Membership stability of each image; NaN where it is not known.
    files : tuple of str
        Names of the files in the run directory.
    """

    record: dict[str, Any]
    averages: Images
    laid: Images | None
    label: npt.NDArray[np.int64]
    pixel_error_px: Float
    score: Float
    fellowship: Float
    files: tuple[str, ...]

    @property
    def by_likelihood(self) -> bool:
        """Whether classes were made by likelihood."""
        return bool(self.record["settings"]["method"] == "likelihood")

    @property
    def pixel_size_A(self) -> float | None:
        """Working pixel size in Å, where it is known."""
        size = self.record["derived"].get("working_pixel_size_A")
        return None if size is None else float(size)


def read_run(run_dir: Path, record: dict[str, Any] | None = None) -> FinishedRun:
    """Return what a finished run left in its directory.

    Parameters
    ----------
    run_dir : Path
        Run directory with ``run.json``, ``ledger.csv`` and, where there are classes, ``class_averages.mrcs``.
    record : dict, optional
        What ``run.json`` will say; read from the file by default.

    Returns
    -------
    FinishedRun
        All that a report shows.

    Raises
    ------
    RunError
        When the run has not finished, or its files disagree.
    """
    record = _read_record(run_dir) if record is None else record
    if record.get("status") != "finished":
        raise RunError(run_dir, "the run has not finished; continue it by the command that started it")
    columns = _read_ledger(run_dir)
    k = len(record["classes"])
    if (
        len(columns["class"]) != record["counts"]["images"]
        or int((columns["class"] > 0).sum()) != (record["counts"]["accounted"])
    ):
        raise RunError(run_dir, "run.json and ledger.csv disagree; continue the run to write both again")
    tried = columns["reason"] != "untried"
    return FinishedRun(
        record=record,
        averages=_read_averages(run_dir, "class_averages.mrcs", k),
        laid=_read_laid(run_dir, record["ordered"]),
        label=columns["class"].astype(np.int64) - (columns["class"] > 0),
        pixel_error_px=columns["pixel_error"],
        score=np.where(tried & (columns["reason"] != "bad_image"), columns["score"], np.nan),
        fellowship=columns["membership_stability"],
        files=tuple(sorted(p.name for p in run_dir.iterdir())),
    )


def _read_record(run_dir: Path) -> dict[str, Any]:
    path = run_dir / "run.json"
    if not path.exists():
        raise RunError(run_dir, "there is no run.json; give the directory of a finished run")
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RunError(run_dir, "run.json is damaged; delete the directory and start again") from error
    return record


def _read_ledger(run_dir: Path) -> dict[str, npt.NDArray[Any]]:
    """Return the columns that are numbers, and reason as words."""
    path = run_dir / "ledger.csv"
    if not path.exists():
        raise RunError(run_dir, "there is no ledger.csv; continue the run to write it again")
    with path.open(newline="", encoding="utf-8") as file:
        header = next(csv.reader(file), [])
    numbers = ("class", "pixel_error", "score", "membership_stability")
    try:
        at = {name: header.index(name) for name in (*numbers, "reason")}
        table = _load(path, [at[name] for name in numbers], float)
        reason = _load(path, [at["reason"]], str)[:, 0]
    except ValueError as error:
        raise RunError(run_dir, f"ledger.csv is damaged ({error}); continue the run to write it again") from error
    return {name: table[:, c] for c, name in enumerate(numbers)} | {"reason": reason}


def _load(path: Path, columns: list[int], kind: type) -> npt.NDArray[Any]:
    return np.loadtxt(
        path,
        dtype=kind,
        delimiter=",",
        skiprows=1,
        usecols=columns,
        quotechar='"',
        comments=None,
        ndmin=2,
        encoding="utf-8",
    )


def _read_averages(run_dir: Path, name: str, k: int) -> Images:
    if k == 0:
        return np.zeros((0, 1, 1), dtype=np.float32)
    path = run_dir / name
    if not path.exists():
        raise RunError(run_dir, f"there is no {name}; continue the run to write it again")
    stack = MrcStack(path)
    if len(stack) != k:
        raise RunError(run_dir, f"{name} has {len(stack)} images for {k} classes; continue the run to write it again")
    return stack.read(np.arange(k))


def _read_laid(run_dir: Path, ordered: list[int]) -> Images | None:
    """Return the ordered averages, class after class."""
    if not ordered:
        return None
    averages = _read_averages(run_dir, "ordered_class_averages.mrcs", len(ordered))
    return averages[np.argsort(ordered)]
