"""What a classification found and what a simulation knows, read from their files."""

import csv
import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cryoisac.errors import DataError, FormatError, RunError
from cryoisac.io.star import read_star
from cryoisac.model.poses import Poses, from_relion
from cryoisac.model.table import Metadata

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]

TRUTH_COLUMNS = ("image", "view", "junk", "angle_deg", "shift_x_px", "shift_y_px", "mirror", "rot_deg", "tilt_deg")
POSE_COLUMNS = ("rlnAnglePsi", "rlnOriginXAngst", "rlnOriginYAngst")


@dataclass(frozen=True, eq=False, kw_only=True)
class KnownTruth:
    """What is known of ``n`` simulated images.

    Parameters
    ----------
    image : ndarray, shape (n,), str
        Names.
    view : ndarray, shape (n,)
        View from 0; -1 for junk.
    molecule : ndarray, shape (n,)
        Molecule from 0; -1 for junk.
    poses : Poses
        Carries each image to its view; the identity for junk.
    direction : ndarray, shape (n, 3)
        Viewing direction; NaN for junk.
    radius_px : float or None
        Radius of the particle, from ``simulation.json`` beside the truth; ``None`` if that is not there.
    """

    image: npt.NDArray[np.str_]
    view: Int
    molecule: Int
    poses: Poses
    direction: Float
    radius_px: float | None

    def __len__(self) -> int:
        return len(self.view)


@dataclass(frozen=True, eq=False, kw_only=True)
class Classification:
    """What was found for ``n`` images.

    Parameters
    ----------
    label : ndarray, shape (n,)
        Class from 0; -1 for an image in no class.
    poses : Poses or None
        Carries each image to its class; the identity for an image in no class. ``None`` where none are given.
    reason : ndarray, shape (n,), str, or None
        Why an image is in no class, as the ledger of a run says; ``None`` without a ledger.
    """

    label: Int
    poses: Poses | None
    reason: npt.NDArray[np.str_] | None = None


def read_truth(path: str | Path) -> KnownTruth:
    """Read ``truth.csv``, and the particle's radius from ``simulation.json`` beside it.

    Raises
    ------
    FormatError
        If a column is missing or a cell is no number.
    """
    path = Path(path)
    columns = read_columns(path, TRUTH_COLUMNS, ("molecule",))
    view = _integers(path, columns, "view")
    number = {name: _floats(path, columns, name) for name in TRUTH_COLUMNS[3:]}
    known = np.isfinite(number["angle_deg"]) & (view >= 0)
    rot, tilt = np.deg2rad(number["rot_deg"]), np.deg2rad(number["tilt_deg"])
    return KnownTruth(
        image=np.array(columns["image"]),
        view=view,
        molecule=_integers(path, columns, "molecule") if "molecule" in columns else np.minimum(view, 0),
        poses=Poses(
            angle_deg=np.where(known, number["angle_deg"], 0.0),
            shift_px=np.where(known[:, None], np.stack((number["shift_x_px"], number["shift_y_px"]), axis=1), 0.0),
            mirror=known & (number["mirror"] == 1),
        ),
        direction=np.stack((np.sin(tilt) * np.cos(rot), np.sin(tilt) * np.sin(rot), np.cos(tilt)), axis=1),
        radius_px=_radius(path.with_name("simulation.json")),
    )


def read_classification(path: str | Path, truth: KnownTruth) -> Classification:
    """Read the classes and poses that were found for the images of ``truth``.

    Parameters
    ----------
    path : str or Path
        A run directory with ``ledger.csv`` and ``classified.star``, or a STAR file with ``rlnClassNumber``.
    truth : KnownTruth
        Tells the images and their order.

    Raises
    ------
    RunError
        If a directory has no ledger, or its files disagree.
    DataError
        If the images are not those of the truth.
    """
    path = Path(path)
    if not path.is_dir():
        metadata = read_star(path)
        return _spread(path, metadata, _rows_in_truth(path, metadata, truth), len(truth))
    if not (path / "ledger.csv").is_file():
        raise RunError(path, "has no ledger.csv; give the directory of a finished run, or a STAR file")
    label, reason = _ledger(path / "ledger.csv", len(truth))
    if not (path / "classified.star").is_file():
        return Classification(label=label, poses=None, reason=reason)
    accounted = np.flatnonzero(label >= 0)
    metadata = read_star(path / "classified.star")
    if len(metadata.particles) != len(accounted):
        raise RunError(
            path,
            f"classified.star has {len(metadata.particles)} rows where ledger.csv accounts for {len(accounted)} images",
        )
    found = _spread(path / "classified.star", metadata, accounted, len(truth))
    if not np.array_equal(found.label, label):
        raise RunError(path, "classified.star and ledger.csv put images in different classes")
    return replace(found, reason=reason)


def _ledger(path: Path, n: int) -> tuple[Int, npt.NDArray[np.str_]]:
    """Class from 0 and reason of each image."""
    columns = read_columns(path, ("index", "class", "reason"))
    index, number = _integers(path, columns, "index"), _integers(path, columns, "class")
    if len(index) != n or not np.array_equal(np.sort(index), np.arange(n)):
        raise DataError(path, f"does not list the {n} images of the truth once each; was it made from other particles?")
    label = np.empty(n, dtype=np.int64)
    label[index] = np.where(number > 0, number - 1, -1)
    return label, np.array(columns["reason"])[np.argsort(index)]


def _spread(path: Path, metadata: Metadata, rows: Int, n: int) -> Classification:
    """Place the rows of a STAR file at the images ``rows`` of ``n``."""
    table = metadata.particles
    if "rlnClassNumber" not in table:
        raise FormatError(path, "has no rlnClassNumber; give the particles of a classification")
    number = table.integers("rlnClassNumber")
    label = np.full(n, -1, dtype=np.int64)
    label[rows] = np.where(number > 0, number - 1, -1)
    if any(name not in table for name in POSE_COLUMNS):
        return Classification(label=label, poses=None)
    psi, x_A, y_A = (table.floats(name) for name in POSE_COLUMNS)
    flip = table.floats("rlnIsFlip") if "rlnIsFlip" in table else np.zeros(len(table))
    given = from_relion(psi, np.stack((x_A, y_A), axis=1) / _pixel_size_A(path, metadata)[:, None], flip)
    poses = Poses.identity(n)
    poses.angle_deg[rows], poses.shift_px[rows], poses.mirror[rows] = given.angle_deg, given.shift_px, given.mirror
    return Classification(label=label, poses=poses)


def _pixel_size_A(path: Path, metadata: Metadata) -> Float:
    """Pixel size of each particle by its optics group, shape (n,)."""
    optics, table = metadata.optics, metadata.particles
    if optics is None or "rlnImagePixelSize" not in optics:
        raise FormatError(path, "has no optics group with rlnImagePixelSize, without which origins have no pixels")
    sizes = optics.floats("rlnImagePixelSize")
    if len(sizes) == 1 or "rlnOpticsGroup" not in table:
        return np.full(len(table), sizes[0])
    groups = optics.integers("rlnOpticsGroup")
    order = np.argsort(groups)
    found: Float = sizes[order][np.searchsorted(groups[order], table.integers("rlnOpticsGroup"))]
    return found


def _rows_in_truth(path: Path, metadata: Metadata, truth: KnownTruth) -> Int:
    """Image of the truth that each row of a STAR file is: by name, else in order if there are as many."""
    n = len(metadata.particles)
    if "rlnImageName" in metadata.particles:
        wanted, known = _short_names(np.array(metadata.particles.texts("rlnImageName"))), _short_names(truth.image)
        order = np.argsort(known)
        place = order[np.searchsorted(known[order], wanted).clip(max=len(known) - 1)]
        if np.array_equal(known[place], wanted):
            if len(np.unique(place)) < n:
                raise DataError(path, "names an image twice; score one row an image")
            found: Int = place.astype(np.int64)
            return found
    if n != len(truth):
        raise DataError(path, f"has {n} images, none by the names of the truth's {len(truth)}; was it simulated here?")
    return np.arange(n)


def _short_names(names: npt.NDArray[np.str_]) -> npt.NDArray[np.str_]:
    """Reduce ``1@folder/stack.mrcs`` to ``000001@stack.mrcs``."""
    parts = np.char.partition(names, "@")
    file = np.char.rpartition(parts[:, 2], "/")[:, 2]
    return np.char.add(np.char.zfill(np.char.lstrip(parts[:, 0], "0"), 9), np.char.add("@", file))


def read_columns(path: Path, wanted: tuple[str, ...], welcome: tuple[str, ...] = ()) -> dict[str, tuple[str, ...]]:
    """Return the columns ``wanted``, and those ``welcome`` that are there, of a CSV file with a header, as text."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = csv.reader(file)
        header = next(rows, [])
        missing = [name for name in wanted if name not in header]
        if missing:
            raise FormatError(path, f"has no column {', '.join(missing)}", line=1)
        body = [row for row in rows if row]
    short = next((i for i, row in enumerate(body) if len(row) != len(header)), None)
    if short is not None:
        raise FormatError(path, f"has {len(body[short])} cells where the header has {len(header)}", line=short + 2)
    columns = list(zip(*body, strict=True)) or [()] * len(header)
    return {name: columns[header.index(name)] for name in (*wanted, *welcome) if name in header}


def _floats(path: Path, columns: dict[str, tuple[str, ...]], name: str) -> Float:
    try:
        return np.array(columns[name], dtype=np.float64)
    except ValueError as problem:
        raise FormatError(path, f"column {name}: {problem}") from problem


def _integers(path: Path, columns: dict[str, tuple[str, ...]], name: str) -> Int:
    values = _floats(path, columns, name)
    if not np.array_equal(values, np.rint(values)):
        raise FormatError(path, f"column {name} must hold whole numbers")
    return values.astype(np.int64)


def _radius(path: Path) -> float | None:
    try:
        return float(json.loads(path.read_text(encoding="utf-8"))["radius_px"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
