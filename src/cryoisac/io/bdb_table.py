"""One database of EMAN2: the headers of its images, and where it keeps their pixels."""

import re
from pathlib import Path
from typing import Any

import numpy as np

from cryoisac.errors import FormatError
from cryoisac.io.bdb_pages import BTreeFile
from cryoisac.io.bdb_pickle import CTF, TRANSFORM, Instance, unpickle
from cryoisac.io.eman_header import EmanCtf, EmanTransform, text_or_ctf

RECORD = re.compile(rb"(\d{1,6}x\d{1,6}x\d{1,6})(.+)", re.DOTALL)
LARGEST = 1 << 62
MOST_PARTS = 10_000  # a CTF with its background has some hundreds
KEPT_OUT = frozenset(("minimum", "maximum", "mean", "sigma", "square_sum", "mean_nonzero", "sigma_nonzero"))


class BdbTable:
    """The headers of one database.

    Parameters
    ----------
    file : Path
        ``directory/EMAN2DB/name.bdb``.

    Attributes
    ----------
    columns : dict of str to list
        Values of each attribute, one an image, ``None`` where an image has none.
    records : dict of int to tuple
        Of the images whose pixels are in a file of this database: size ``128x128x1`` and position in that file.
    entries : dict of str to bytes
        What it holds besides images, by name, as stored.

    Raises
    ------
    FormatError
        If the file is damaged, or lacks an image.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.columns: dict[str, list[Any]] = {}
        self.records: dict[int, tuple[str, int]] = {}
        self.entries: dict[str, bytes] = {}
        headers: dict[int, bytes] = {}
        tree = BTreeFile(file)
        for key, value in tree.records(self._name(tree)):
            self._enter(key, value, headers)
        self._count = len(headers)
        missing = next((i for i in range(self._count) if i not in headers), None)
        if missing is not None:
            raise FormatError(
                file,
                f"has no image {missing} of its {max(headers) + 1}; renumber it with e2proc2d.py, or copy it again",
            )
        for i in range(self._count):
            self._keep(i, headers.pop(i))

    def __len__(self) -> int:
        return self._count

    def value(self, i: int, name: str) -> Any:
        """Return one attribute of image ``i``, ``None`` where it has none."""
        return self.columns[name][i] if name in self.columns else None

    def listed(self, name: str) -> list[int]:
        """Return the whole numbers of an entry that is a list.

        Raises
        ------
        FormatError
            If there is no such entry, or it is no such list.
        """
        if name not in self.entries:
            raise FormatError(self.file, f"has no list '{name}'; it has {', '.join(sorted(self.entries)) or 'none'}")
        numbers = self._unpickled(self.entries[name], f"list '{name}'")
        if not isinstance(numbers, (list, tuple)) or not all(isinstance(n, int) for n in numbers):
            raise FormatError(self.file, f"its entry '{name}' is no list of image numbers")
        return list(numbers)

    def _name(self, tree: BTreeFile) -> str:
        names = list(tree.tables())
        if self.file.stem in names or not names:
            return self.file.stem if names else self._no_table()
        if len(names) > 1:
            raise FormatError(self.file, f"holds {', '.join(names)}, none of them {self.file.stem}; rename it")
        return names[0]

    def _no_table(self) -> str:
        raise FormatError(self.file, "is a Berkeley DB file but no database of EMAN2: it has no named table")

    def _enter(self, key: bytes, value: bytes, headers: dict[int, bytes]) -> None:
        """Take up one record of the file."""
        record = RECORD.fullmatch(key)
        number = self._unpickled(key if record is None else record[2], "key")
        if isinstance(number, str) and record is None:
            self.entries[number] = value
        elif not isinstance(number, int) or not 0 <= number < LARGEST:
            raise FormatError(self.file, f"has a key {str(number)[:40]!r}, which EMAN2 does not write")
        elif record is None:
            headers[number] = value
        else:
            position = self._unpickled(value, f"record of image {number}")
            if not isinstance(position, int) or not 0 <= position < LARGEST:
                raise FormatError(self.file, f"is damaged: image {number} has no position in its file of pixels")
            self.records[number] = record[1].decode(), position

    def _keep(self, i: int, stored: bytes) -> None:
        header = self._unpickled(stored, f"header of image {i}")
        if not isinstance(header, dict):
            raise FormatError(self.file, f"image {i} has no header but a {type(header).__name__}")
        for name, raw in header.items():
            if isinstance(name, str) and name not in KEPT_OUT:
                if name not in self.columns:
                    self.columns[name] = [None] * self._count
                try:
                    self.columns[name][i] = _meaning(name, raw)
                except ValueError as error:
                    raise FormatError(self.file, f"image {i}, attribute {name}: {error}") from error

    def _unpickled(self, stored: bytes, what: str) -> Any:
        try:
            return unpickle(stored)
        except ValueError as error:
            raise FormatError(self.file, f"its {what} {error}") from error


def _meaning(name: str, raw: Any) -> Any:
    """Return the value of an attribute, as ``eman_header.decode`` returns those of HDF stacks."""
    if isinstance(raw, Instance):
        return _made(raw)
    if isinstance(raw, str):
        return text_or_ctf(raw)
    if isinstance(raw, int) and not -LARGEST < raw < LARGEST:
        raise ValueError("is a number beyond 64 bits")
    if name == "members" and isinstance(raw, int):
        return np.array([raw], dtype=np.int64)
    if not isinstance(raw, (list, tuple)):
        return raw
    if not raw or not all(isinstance(item, (int, float)) and -LARGEST < item < LARGEST for item in raw):
        return raw or None
    return np.array(raw, dtype=np.int64 if name == "members" else None)


def _made(instance: Instance) -> EmanCtf | EmanTransform:
    """Return the object of EMAN2 that was stored."""
    texts, numbers = _parts(instance)
    if instance.kind == TRANSFORM and len(numbers) == 12:
        return EmanTransform(np.array(numbers, dtype=np.float64).reshape(3, 4))
    if instance.kind == CTF and len(numbers) >= 8:
        return EmanCtf(*numbers[:8])
    if instance.kind == CTF and len(texts) == 1:
        return EmanCtf.parse(texts[0])
    raise ValueError(f"is a {instance.kind} of {len(numbers)} numbers, which EMAN2 does not write")


def _parts(instance: Instance) -> tuple[list[str], list[float]]:
    """Return text and numbers of which an object was to be made, out of the lists that they lie in."""
    texts: list[str] = []
    numbers: list[float] = []
    waiting = list(reversed(instance.parts))
    for _ in range(MOST_PARTS):
        if not waiting:
            break
        part = waiting.pop()
        if isinstance(part, (list, tuple)):
            waiting += reversed(part[:MOST_PARTS])
        elif isinstance(part, str):
            texts.append(part)
        elif isinstance(part, (int, float)):
            numbers.append(float(part))
    return texts, numbers
