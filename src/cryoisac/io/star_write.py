"""The text of STAR files, written; ``star_text`` reads it."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from cryoisac.errors import DataError
from cryoisac.io.star_text import BLANK, NEWLINE, Bytes, octets, words_of
from cryoisac.model.table import Table

WRITE_ROWS = 1 << 16
UNSAFE_FIRST = np.frombuffer(b"\0\"'#_;", np.uint8)


def write_tables(
    path: Path, tables: Mapping[str, Table], *, comments: Sequence[str] = (), version: int | None = None
) -> None:
    """Write blocks as a STAR file, every cell with its own text.

    Parameters
    ----------
    path : Path
        The file to write.
    tables : mapping of str to Table
        Blocks by name, without ``data_``.
    comments : sequence of str
        Lines for the top of the file.
    version : int, optional
        Number of RELION's ``# version`` line before each block, 30001 for RELION 3.1.

    Raises
    ------
    DataError
        If a cell has a line break, or both kinds of quotes and blanks.
    """
    with path.open("wb") as file:
        file.writelines(f"# {comment}\n".encode() for comment in comments)
        for name, table in tables.items():
            heading = f"\n# version {version}\n" if version is not None else ""
            file.write(f"{heading}\ndata_{name}\n\n".encode())
            if table.is_loop:
                file.write(b"loop_ \n")
                file.writelines(f"_{label} #{i} \n".encode() for i, label in enumerate(table.columns, 1))
                file.writelines(_rows(path, table))
            else:
                file.writelines(_pairs(path, name, table))
            file.write(b"\n")


def _pairs(path: Path, name: str, table: Table) -> Iterator[bytes]:
    if len(table) > 1:
        raise DataError(path, f"block {name} has {len(table)} rows but is written as names with values")
    for label, column in table.columns.items():
        yield b"_%-40s %s\n" % (label.encode(), _quoted(path, column)[0])


def _rows(path: Path, table: Table) -> Iterator[bytes]:
    """Yield the rows of a table, padded to columns, some thousand at a time."""
    for start in range(0, len(table), WRITE_ROWS):
        rows = slice(start, start + WRITE_ROWS)
        columns = [octets(_quoted(path, column[rows])) for column in table.columns.values()]
        page = np.full((len(columns[0]), sum(c.shape[1] + 1 for c in columns)), BLANK, np.uint8)
        page[:, -1] = NEWLINE
        at = 0
        for cells in columns:
            width = cells.shape[1]
            np.copyto(page[:, at : at + width], cells, where=cells != 0)
            at += width + 1
        yield page.tobytes()


def _quoted(path: Path, column: Bytes) -> Bytes:
    """Return a column, no wider than its longest cell, with quotes where a cell would not be read back as it is."""
    cells = octets(column)
    inside = (cells > 0) & (cells <= BLANK)
    needs = inside.any(axis=1) | np.isin(cells[:, 0], UNSAFE_FIRST)
    needs |= np.char.startswith(column, b"data_") | np.char.startswith(column, b"loop_")
    if needs.any():
        quoted = np.array([_quote(path, cell) for cell in column[needs].tolist()])
        column = column.astype(f"S{max(column.dtype.itemsize, quoted.dtype.itemsize)}")
        column[needs] = quoted
    used = int(np.flatnonzero(octets(column).any(axis=0))[-1]) + 1
    return column.astype(f"S{used}")


def _quote(path: Path, cell: bytes) -> bytes:
    for mark in (b'"', b"'"):
        quoted = mark + cell + mark
        try:
            if words_of(quoted) == [cell]:
                return quoted
        except ValueError:
            continue
    raise DataError(path, f"the value {cell!r} cannot be written in a STAR file")
