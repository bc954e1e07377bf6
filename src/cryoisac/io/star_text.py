"""The text of STAR files, read: blocks of text columns, and nothing of what they mean; see ``star_write``.

Each row stands on one line, as in every STAR file of RELION. Loops are read some megabytes at a time: separators are
found and columns gathered by NumPy, so that a row costs no Python.
"""

import mmap
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import numpy as np
import numpy.typing as npt

from cryoisac.errors import FormatError
from cryoisac.model.table import Table

Bytes = npt.NDArray[np.bytes_]
Octets = npt.NDArray[np.uint8]

CHUNK_BYTES = 1 << 22
BLANK = 32
NEWLINE = 10
QUOTES = (b"'", b'"')
KEYWORD = re.compile(rb"\n(?=data_|loop_|_)")
TOKEN = re.compile(rb"'((?:[^'\n]|'(?=\S))*)'(?!\S)|\"((?:[^\"\n]|\"(?=\S))*)\"(?!\S)|#[^\n]*|([^\s#'\"]\S*)|(\S+)")
SPECIAL = np.frombuffer(b"\"'#", np.uint8)


def read_tables(path: Path) -> dict[str, Table]:
    """Return the blocks of a STAR file by name, without ``data_``, in their order.

    Parameters
    ----------
    path : Path
        A STAR file.

    Returns
    -------
    dict of str to Table
        Cells hold the text of the file; quotes around a value are taken off.

    Raises
    ------
    FormatError
        Naming the line, if the text is no STAR file, or a row has too few or too many values.
    """
    if not path.stat().st_size:
        raise FormatError(path, "is empty")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
        return _blocks(_Text(path, text))


class _Text:
    """The text and how far it has been read."""

    def __init__(self, path: Path, text: mmap.mmap) -> None:
        self.path, self.text, self.at = path, text, 0

    def fail(self, problem: str, offset: int | None = None) -> NoReturn:
        offset = self.at if offset is None else offset
        raise FormatError(self.path, problem, line=self.text[:offset].count(b"\n") + 1)

    def words(self, line: bytes, offset: int) -> list[bytes]:
        """Return the values of a line that begins at ``offset``."""
        try:
            return words_of(line)
        except ValueError as error:
            self.fail(str(error), offset)

    def lines(self) -> Iterator[tuple[bytes, list[bytes]]]:
        """Yield what each line begins with, empty if that is in quotes, and all its values.

        Lines without values are passed over; the text is read as far as the beginning of the line.
        """
        while self.at < len(self.text):
            end = self.text.find(b"\n", self.at) + 1 or len(self.text)
            line = self.text[self.at : end]
            words = self.words(line, self.at)
            if words:
                yield b"" if line.lstrip()[:1] in QUOTES else words[0], words
            self.at = max(self.at, end)


def words_of(line: bytes) -> list[bytes]:
    """Return the values of a line, without quotes and comments; ``ValueError`` where a quote is not closed."""
    words = []
    for found in TOKEN.finditer(line):
        single, double, plain, broken = found.groups()
        if broken is not None:
            raise ValueError(f"has a quoted value without its closing quote: {broken.decode(errors='replace')}")
        words += [word for word in (single, double, plain) if word is not None]
    return words


def _blocks(source: _Text) -> dict[str, Table]:
    tables: dict[str, Table] = {}
    name: str | None = None
    for first, words in source.lines():
        if first.startswith(b"data_"):
            name = first[5:].decode(errors="replace")
            if name in tables:
                source.fail(f"has a second block data_{name}")
            tables[name] = Table({}, is_loop=False)
        elif name is None:
            source.fail("is no STAR file: its first line is no data_ block")
        elif first == b"loop_" and len(words) == 1:
            if tables[name].columns:
                source.fail(f"has a second table in block data_{name}; one a block is read")
            tables[name] = _loop(source)
        elif first.startswith(b"_"):
            _pair(source, tables[name], words)
        else:
            source.fail("has a value that belongs to no name")
    return tables


def _pair(source: _Text, table: Table, words: list[bytes]) -> None:
    name = words[0][1:].decode(errors="replace")
    if table.is_loop:
        source.fail(f"has _{name} after the rows of a table; one table a block is read")
    if len(words) != 2:
        source.fail(f"has {len(words) - 1} values for _{name}, 1 expected")
    if name in table:
        source.fail(f"names _{name} twice")
    table.columns[name] = np.array([words[1]], dtype=f"S{max(len(words[1]), 1)}")


def _loop(source: _Text) -> Table:
    """Read a table whose ``loop_`` line begins where the source stands."""
    source.at = source.text.find(b"\n", source.at) + 1 or len(source.text)
    names = _names(source)
    parts: list[list[Bytes]] = []
    more = True
    while more:
        chunk, more = _next_rows(source)
        parts.append(_columns(source, chunk, len(names)))
        source.at += len(chunk)
    columns = [list(column) for column in zip(*parts, strict=True)]
    del parts
    joined = {}
    for i, name in enumerate(names):
        joined[name], columns[i] = np.concatenate(columns[i]), []  # a column's pieces go as soon as it is joined
    return Table(joined)


def _names(source: _Text) -> list[str]:
    """Read the labels of a loop and leave the source at its first row."""
    names: list[str] = []
    for first, words in source.lines():
        if not first.startswith(b"_"):
            break
        name = first[1:].decode(errors="replace")
        if len(words) > 1:
            source.fail(f"has a value beside the label _{name} of a table")
        if name in names:
            source.fail(f"names _{name} twice")
        names.append(name)
    if not names:
        source.fail("has a loop_ without labels")
    return names


def _next_rows(source: _Text) -> tuple[bytes, bool]:
    """Return the next whole lines of a loop, and whether more may follow."""
    size = CHUNK_BYTES
    while True:
        chunk = source.text[source.at : source.at + size]
        keyword = KEYWORD.search(b"\n" + chunk)
        if keyword is not None:
            return chunk[: keyword.start()], False
        if source.at + len(chunk) >= len(source.text):
            return chunk, False
        end = chunk.rfind(b"\n") + 1
        if end:
            return chunk[:end], True
        size *= 2


def _columns(source: _Text, chunk: bytes, n: int) -> list[Bytes]:
    """Return the ``n`` columns of the rows in a chunk of text."""
    text = np.frombuffer(b"\n" + chunk + b"\n", np.uint8)
    edges = np.flatnonzero(np.diff(text <= BLANK))
    starts, lengths = edges[::2] + 1, edges[1::2] - edges[::2]
    if np.isin(text[starts], SPECIAL).any():
        return _careful_columns(source, chunk, n)
    newlines = np.flatnonzero(text == NEWLINE)
    counts = np.diff(np.searchsorted(starts, newlines))
    wrong = np.flatnonzero((counts != 0) & (counts != n))
    if wrong.size:
        offset = source.at + int(newlines[wrong[0]])
        source.fail(f"has {counts[wrong[0]]} values in a table of {n} columns", offset)
    return [gather(text, starts[i::n], lengths[i::n]) for i in range(n)]


def gather(text: Octets, starts: npt.NDArray[np.intp], lengths: npt.NDArray[np.intp]) -> Bytes:
    """Return the words of a text as a column."""
    if not len(starts):
        return np.zeros(0, dtype="S1")
    width = int(lengths.max())
    padded = np.concatenate((text, np.zeros(width, np.uint8)))
    windows = np.ndarray((len(text),), dtype=f"V{width}", buffer=padded.data, strides=(1,))
    cells = windows[starts].view(np.uint8).reshape(-1, width)
    cells *= np.arange(width) < lengths[:, None]
    return cells.view(f"S{width}")[:, 0]


def _careful_columns(source: _Text, chunk: bytes, n: int) -> list[Bytes]:
    """Return the columns of rows that have quotes or comments, line by line."""
    rows = []
    offset = source.at
    for line in chunk.splitlines(keepends=True):
        words = source.words(line, offset)
        if words and len(words) != n:
            source.fail(f"has {len(words)} values in a table of {n} columns", offset)
        if words:
            rows.append(words)
        offset += len(line)
    return [np.array([row[i] for row in rows], dtype=np.bytes_) for i in range(n)]


def octets(column: Bytes) -> Octets:
    """Return the bytes of a column, shape (n, width), zero beyond the text."""
    return np.ascontiguousarray(column).view(np.uint8).reshape(len(column), -1)
