"""What the images are known to show, from a table."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from cryoisac.errors import DataError, FormatError
from cryoisac.scoring.files import read_columns

Int = npt.NDArray[np.int64]
COLUMNS = ("view", "class")


def read_labels(path: Path, n: int) -> Int:
    """Return what each of ``n`` images shows, -1 where that is not known, shape (n,).

    Parameters
    ----------
    path : Path
        ``truth.csv`` of a simulation; another CSV file with a column ``view`` or ``class``; or a text file with one
        number a line. A row an image, in the order of the particles.
    n : int
        Images.

    Raises
    ------
    FormatError
        If it is none of these.
    DataError
        If it does not have a row an image.
    """
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    header = [name.strip() for name in lines[0].split(",")] if lines else []
    name = next((name for name in COLUMNS if name in header), None)
    try:
        cells = read_columns(path, (name,))[name] if name else [line for line in lines if line.strip()]
        values = np.array(cells, dtype=np.float64)
    except ValueError as problem:
        raise FormatError(
            path, "holds no labels: give a CSV file with a column view or class, or one number a line"
        ) from problem
    if not np.array_equal(values, np.rint(values)):
        raise FormatError(path, "must hold one whole number a row: what an image shows")
    if len(values) != n:
        raise DataError(path, f"has {len(values)} rows for {n} particles; give one a particle, in their order")
    return np.maximum(values.astype(np.int64), -1)
