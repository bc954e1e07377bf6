"""What a finished classification leaves besides images: its record, its poses, and what is known of each class."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cryoisac.errors import DataError, FormatError, RunError
from cryoisac.io.bdb_address import SCHEME
from cryoisac.io.registry import listing_of
from cryoisac.io.star_text import read_tables
from cryoisac.io.text_tables import read_table
from cryoisac.model.poses import Poses
from cryoisac.run.directory import fingerprint

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]

INITIAL, RATIO, FOUND = "2dalignment/initial2Dparams.txt", "README_shrink_ratio.txt", "all_parameters.txt"
LOCAL, COMPOSED = "ali2d_local_params.txt", "init_isac_params.txt"
TABLE, RESOLUTIONS = "class_averages.star", "FH_list.txt"
RATIO_LINE, RADIUS_LINE = 5, 6
UNACCOUNTED = -1


def read_record(home: Path) -> dict[str, Any]:
    """Return ``run.json`` of a directory of this program, empty where there is none.

    Raises
    ------
    RunError
        If it is damaged or tells of a run that has not finished.
    """
    path = home / "run.json"
    if not path.is_file():
        return {}
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(path, "is damaged, or not of this program") from error
    if not isinstance(record, dict):
        raise RunError(path, "is damaged, or not of this program")
    if record.get("status", "finished") != "finished":
        raise RunError(home, "holds a run that has not finished; finish it first with the command that began it")
    return record


def told(record: dict[str, Any], block: str, name: str) -> Any:
    """Return ``record[block][name]``, or ``None`` where there is no such entry."""
    entries = record.get(block)
    return entries.get(name) if isinstance(entries, dict) else None


def classified_particles(directory: str | Path) -> Path:
    """Return the particles of a finished run, as ``named_particles`` finds them.

    Raises
    ------
    RunError
        If it names none, or they are not there, or have changed since.
    """
    home = Path(directory)
    record = read_record(home)
    path = named_particles(home, record)
    if path is None:
        raise RunError(home, "does not say which particles were classified; give them with --stack")
    if not _is_there(str(path)):
        raise RunError(home, f"is of the particles {path}, which are not there; give them with --stack")
    before = told(record, "input", "sha256")
    if before is not None and before != fingerprint(path):
        raise RunError(home, f"is of the particles {path}, which have changed since; give the same with --stack")
    return path


def named_particles(home: Path, record: dict[str, Any]) -> Path | None:
    """Return the particles that ``run.json`` names, from here or else from above the run; ``None`` if it names none."""
    named = told(record, "input", "path")
    if not isinstance(named, str):
        return None
    scheme = SCHEME if named.startswith(SCHEME) else ""
    place = named.removeprefix(scheme)
    places = [named, *(f"{scheme}{folder / place}" for folder in home.absolute().parents)]
    return Path(next((p for p in places if _is_there(p)), named))


def _is_there(path: str) -> bool:
    try:
        return listing_of(path)[0].is_file()
    except FormatError:
        return False


def read_ratio(path: Path) -> tuple[float, float]:
    """Return working pixels per input pixel, and the particle radius in input pixels: lines 6 and 7 of the file."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
        ratio, radius_px = float(lines[RATIO_LINE]), float(lines[RADIUS_LINE])
    except (OSError, ValueError, IndexError) as error:
        raise FormatError(path, "has no shrink ratio on line 6 and radius on line 7") from error
    if not 0 < ratio < np.inf or not 0 < radius_px < np.inf:
        raise FormatError(path, f"has shrink ratio {ratio:g} and radius {radius_px:g}; both must be above 0")
    return ratio, radius_px


def isac_poses(home: Path, ratio: float) -> tuple[Poses, Bool]:
    """Return poses in input pixels, and which images are in classes, of a run of ISAC.

    Parameters
    ----------
    home : Path
        The run directory.
    ratio : float
        Working pixels per input pixel.

    Returns
    -------
    poses : Poses
        First pre-alignment, then the pose in the class with its shift divided by ``ratio``; the identity for an image
        in no class.
    accounted : ndarray, shape (n,), bool
        Whether an image is in a class.
    """
    first, then = _four_columns(home / INITIAL), _four_columns(home / FOUND)
    if len(first) != len(then):
        raise DataError(home, f"{INITIAL} has {len(first)} rows, {FOUND} {len(then)}; they are of different runs")
    accounted = then[:, 3] != UNACCOUNTED
    total = Poses.from_rows(first).then(Poses.from_rows(then).scaled(1.0 / ratio))
    return only(total, accounted), accounted


def averaged_poses(home: Path, n: int | None) -> tuple[Poses, Bool]:
    """Return poses in input pixels, and which images are in classes, of averages made anew.

    Parameters
    ----------
    home : Path
        The directory; of ``ali2d_local_params.txt`` and ``init_isac_params.txt``, the first that is there is read.
    n : int, optional
        Images of the stack; by default as many as the last image in the table asks for.
    """
    path = next(p for p in (home / LOCAL, home / COMPOSED) if p.is_file())
    rows = read_table(path)
    if len(rows) and rows.shape[1] not in (5, 6):
        raise FormatError(
            path, f"has {rows.shape[1]} columns; image, angle, x, y, mirror expected, and a scale or none"
        )
    rows = rows.reshape(-1, rows.shape[1] if len(rows) else 5)
    image = rows[:, 0].astype(np.int64)
    most = int(image.max(initial=-1)) + 1 if n is None else n
    outside = np.flatnonzero((image != rows[:, 0]) | (image < 0) | (image >= most))
    if outside.size:
        raise DataError(path, f"row {outside[0] + 1} is of image {rows[outside[0], 0]:g}, of {most} counted from 0")
    if len(np.unique(image)) < len(image):
        raise DataError(path, "lists an image twice")
    _check_poses(path, rows[:, 1:5])
    lost = np.flatnonzero(rows[:, 4] == UNACCOUNTED)
    if lost.size:
        raise DataError(path, f"row {lost[0] + 1} has mirror -1, an image in no class")
    accounted = np.zeros(most, dtype=np.bool_)
    accounted[image] = True
    return Poses.identity(most).replaced(image, Poses.from_rows(rows[:, 1:5])), accounted


def only(poses: Poses, chosen: Bool) -> Poses:
    """Return poses with the identity in place of those not chosen."""
    images = np.flatnonzero(chosen)
    return Poses.identity(len(poses)).replaced(images, poses[images])


def _four_columns(path: Path) -> Float:
    rows = read_table(path)
    if not len(rows) or rows.shape[1] != 4:
        columns = rows.shape[1] if len(rows) else 0
        raise FormatError(path, f"has {columns} columns; angle, x, y, mirror expected")
    _check_poses(path, rows)
    return rows


def _check_poses(path: Path, rows: Float) -> None:
    """Raise ``FormatError`` unless rows of angle, x, y, mirror are finite, with a mirror of 0, 1 or -1."""
    bad = np.flatnonzero(~np.isfinite(rows).all(axis=1) | ~np.isin(rows[:, 3], (0, 1, UNACCOUNTED)))
    if bad.size:
        raise FormatError(path, f"row {bad[0] + 1} is no pose: numbers expected, the mirror 0, 1 or -1")


def class_facts(home: Path, number: Int, pixel_size_A: float | None) -> tuple[Float, Float]:
    """Return pixel error (pixels of the averages) and resolution (Å) of each class, NaN where they are not known.

    Parameters
    ----------
    home : Path
        The directory: ``class_averages.star`` of this program, or ``FH_list.txt`` of SPHIRE's averages.
    number : ndarray, shape (k,)
        Numbers of the classes, from 1.
    pixel_size_A : float or None
        Pixel size of the averages of ``FH_list.txt``.

    Returns
    -------
    pixel_error_px, resolution_A : ndarray, shape (k,)
        Facts of each class.
    """
    error_px, resolution_A = np.full(len(number), np.nan), np.full(len(number), np.nan)
    if (home / TABLE).is_file():
        tables = list(read_tables(home / TABLE).values())
        table = next((t for t in tables if "rlnClassNumber" in t), None)
        if table is None:
            raise FormatError(home / TABLE, "has no column rlnClassNumber")
        row = {int(c): i for i, c in enumerate(table.integers("rlnClassNumber").tolist())}
        known = np.array([row.get(int(c), -1) for c in number], dtype=np.int64)
        for name, fact in (("cryoisacPixelError", error_px), ("rlnEstimatedResolution", resolution_A)):
            if name in table:
                fact[known >= 0] = table.floats(name)[known[known >= 0]]
    elif (home / RESOLUTIONS).is_file() and pixel_size_A is not None:
        resolution_A = _resolutions(home / RESOLUTIONS, number, pixel_size_A)
    return np.where(np.isfinite(error_px), error_px, np.nan), np.where(np.isfinite(resolution_A), resolution_A, np.nan)


def _resolutions(path: Path, number: Int, pixel_size_A: float) -> Float:
    """Resolution of each class from rows of index, FH1, FH2 in cycles per pixel; FH2 is that of refined poses."""
    rows = read_table(path)
    if len(rows) and rows.shape[1] != 3:
        raise FormatError(path, f"has {rows.shape[1]} columns; index, FH1, FH2 expected")
    resolution_A = np.full(len(number), np.nan)
    for index, first, second in rows.tolist():
        frequency = first if first > 0 else second
        if frequency > 0:
            resolution_A[number == int(index) + 1] = pixel_size_A / frequency
    return resolution_A
