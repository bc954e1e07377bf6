"""The text tables of ISAC: rows of numbers without a heading, such as ``all_parameters.txt``."""

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cryoisac.errors import DataError, FormatError

ROWS = 1 << 16
WIDEST = 14


def read_table(path: Path) -> npt.NDArray[np.float64]:
    """Return the numbers of a table, shape (rows, columns); blank lines and comments count for nothing.

    Raises
    ------
    FormatError
        Naming the line, if a row has too few or too many values, or a value is no number.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # NumPy's, that a file is empty
            return np.loadtxt(path, dtype=np.float64, ndmin=2, encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise FormatError(path, f"cannot be read as text: {error}") from error
    except ValueError as error:
        raise _wrong(path, str(error)) from error


def _wrong(path: Path, otherwise: str) -> FormatError:
    """Return the error that names the first line that is wrong."""
    width = None
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        words = line.split("#")[0].split()
        if not words:
            continue
        width = len(words) if width is None else width
        if len(words) != width:
            return FormatError(path, f"has {len(words)} values, {width} expected", line=number)
        for word in words:
            try:
                float(word)
            except ValueError:
                return FormatError(path, f"'{word}' is not a number", line=number)
    return FormatError(path, otherwise)


def read_integers(path: Path) -> npt.NDArray[np.int64]:
    """Return a table of one column of whole numbers, such as ``processed_images.txt``, shape (n,).

    Raises
    ------
    FormatError
        If the table has more columns, or a number is not whole.
    """
    table = read_table(path)
    if table.size and table.shape[1] != 1:
        raise FormatError(path, f"has {table.shape[1]} columns, 1 expected")
    numbers = table.reshape(-1)
    whole = np.isfinite(numbers) & (numbers == np.rint(numbers))
    if not whole.all():
        raise FormatError(path, f"holds {numbers[~whole][0]:g}, not a whole number")
    return numbers.astype(np.int64)


def write_table(path: Path, columns: Sequence[npt.NDArray[np.generic]], *, formats: Sequence[str] = ()) -> None:
    """Write columns of equal length as ISAC does.

    Parameters
    ----------
    path : Path
        The file to write.
    columns : sequence of ndarray, shape (n,)
        Integers are written ``"  %12d"``, floats ``"  %14.6f"``, or ``"  %14.6e"`` where that is closer to the number
        or the former is wider than 14 characters.
    formats : sequence of str, optional
        Printf format of each column instead, as ``%16.6f``.

    Raises
    ------
    DataError
        If the columns differ in length.
    """
    lengths = {len(column) for column in columns}
    if len(lengths) > 1:
        raise DataError(path, f"columns of {sorted(lengths)} rows do not make a table")
    with path.open("w", encoding="ascii", newline="\n") as file:
        for start in range(0, max(lengths, default=0), ROWS):
            parts = [column[start : start + ROWS] for column in columns]
            own = [[form % value for value in part.tolist()] for part, form in zip(parts, formats, strict=False)]
            cells = own or [_cells(part) for part in parts]
            file.writelines("".join(row) + "\n" for row in zip(*cells, strict=True))


def _cells(column: npt.NDArray[np.generic]) -> list[str]:
    """Return the cells of a column, each with the two blanks before it."""
    values = np.asarray(column)
    if values.dtype.kind in "iub":
        return [f"  {value:12d}" for value in values.astype(np.int64).tolist()]
    return [f"  {_real(value)}" for value in values.astype(np.float64).tolist()]


def _real(value: float) -> str:
    fixed, exponential = f"{value:14.6f}", f"{value:14.6e}"
    too_wide = len(fixed) > WIDEST
    closer = abs(float(exponential) - value) < abs(float(fixed) - value)
    return exponential if too_wide or closer else fixed
