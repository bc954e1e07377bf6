"""A small writer of Berkeley DB B-tree files and EMAN2 databases, for tests of what reads them."""

import pickle
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

META, INTERNAL, LEAF, OVERFLOW = 9, 3, 5, 7


class Writer:
    """Pages of one file, in either byte order."""

    def __init__(self, order: str = "<", page_bytes: int = 512) -> None:
        self.order, self.size = order, page_bytes
        self.pages: list[bytes] = [b""]

    def header(self, number: int, *, next_page: int = 0, entries: int = 0, offset: int = 0, kind: int) -> bytes:
        level = 1 if kind == LEAF else 2 if kind == INTERNAL else 0
        return struct.pack(f"{self.order}8xIIIHHBB", number, 0, next_page, entries, offset & 0xFFFF, level, kind)

    def add(self, page: bytes) -> int:
        assert len(page) <= self.size
        self.pages.append(page.ljust(self.size, b"\0"))
        return len(self.pages) - 1

    def meta(self, number: int, root: int, *, flags: int = 0x20, last: int = 0) -> bytes:
        words = {8: number, 12: 0x053162, 16: 9, 20: self.size, 32: last, 48: flags, 76: 2, 84: 32, 88: root}
        page = bytearray(self.size)
        for at, word in words.items():
            struct.pack_into(f"{self.order}I", page, at, word)
        page[25] = META
        return bytes(page)

    def tree(self, records: list[tuple[bytes, bytes]]) -> int:
        """Write sorted records as leaves and internal pages on as many levels as it takes; return the root."""
        level = [(number, first) for number, first in self._leaves(sorted(records))]
        while len(level) > 1:
            room = (self.size - 26) // (12 + max(len(first) for _, first in level) + 2)
            assert room > 1
            level = [self._internal(level[i : i + room]) for i in range(0, len(level), room)]
        return level[0][0]

    def _leaves(self, records: list[tuple[bytes, bytes]]) -> list[tuple[int, bytes]]:
        leaves, waiting, used, first = [], [], 0, b""
        for key, value in records:
            items = [self._item(key), self._item(value)]
            need = sum(len(item) + 2 for item in items)
            if waiting and 26 + used + need > self.size:
                leaves.append((self._page(waiting, LEAF), first))
                waiting, used = [], 0
            if not waiting:
                first = key[:20]
            waiting += items
            used += need
        leaves.append((self._page(waiting, LEAF), first))
        return leaves

    def _item(self, data: bytes) -> bytes:
        if len(data) <= self.size // 6:
            return struct.pack(f"{self.order}HB", len(data), 1) + data
        room = self.size - 26
        parts = [data[i : i + room] for i in range(0, len(data), room)]
        after = 0
        for part in reversed(parts):  # the last page first, so that each knows the next
            number = len(self.pages)
            after = self.add(self.header(number, next_page=after, entries=1, offset=len(part), kind=OVERFLOW) + part)
        return struct.pack(f"{self.order}HBBII", 0, 3, 0, after, len(data))

    def _internal(self, children: list[tuple[int, bytes]]) -> tuple[int, bytes]:
        items = [struct.pack(f"{self.order}HBBII", len(key), 1, 0, number, 0) + key for number, key in children]
        return self._page(items, INTERNAL), children[0][1]

    def _page(self, items: list[bytes], kind: int) -> int:
        offsets, at = [], self.size
        for item in items:
            at -= len(item)
            offsets.append(at)
        body = b"".join(reversed(items))
        index = struct.pack(f"{self.order}{len(items)}H", *offsets)
        head = self.header(len(self.pages), entries=len(items), offset=at, kind=kind) + index
        return self.add(head.ljust(self.size - len(body), b"\0") + body)

    def write(self, path: Path, tables: Mapping[str, list[tuple[bytes, bytes]]]) -> Path:
        """Write a file of named tables."""
        masters = []
        for name, records in tables.items():
            number = self.add(b"")
            self.pages[number] = self.meta(number, self.tree(records))
            masters.append((name.encode(), number.to_bytes(4, "big")))
        root = self.tree(masters)
        self.pages[0] = self.meta(0, root, last=len(self.pages) - 1)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"".join(self.pages))
        return path


class Transform:
    """Pickled as EMAN2's own."""

    def __init__(self, numbers: list[float], *, as_state: bool = True) -> None:
        self.numbers, self.as_state = numbers, as_state

    def __reduce__(self) -> Any:
        return (Transform, (), self.numbers) if self.as_state else (Transform, (self.numbers,))


class EMAN2Ctf:
    """Pickled as EMAN2's own."""

    def __init__(self, numbers: list[float]) -> None:
        self.numbers = numbers

    def __reduce__(self) -> Any:
        return (EMAN2Ctf, (), self.numbers)


def pickled(value: Any, protocol: int = 2) -> bytes:
    """Return a pickle in which the classes above bear the names of EMAN2's, which are not installed."""
    text = pickle.dumps(value, protocol)
    for kind, module in ((Transform, b"libpyTransform2"), (EMAN2Ctf, b"libpyAligner2")):
        text = text.replace(
            f"c{kind.__module__}\n".encode() + kind.__name__.encode(), b"c" + module + b"\n" + kind.__name__.encode()
        )
    return text


def records(headers: list[dict[str, Any]], *, stored: bool = True, protocol: int = 2) -> list[tuple[bytes, bytes]]:
    """Return the records of a database of images; with ``stored`` false their pixels lie elsewhere."""
    h, w = headers[0]["ny"], headers[0]["nx"]
    size = f"{w}x{h}x1"
    found = [(pickled(i, protocol), pickled(header, protocol)) for i, header in enumerate(headers)]
    found += [(pickled("maxrec", protocol), pickled(len(headers) - 1, protocol))]
    if stored:
        n = len(headers)
        found += [(pickled(size, protocol), pickled(n - 1, protocol))]
        found += [(size.encode() + pickled(i, protocol), pickled(n - 1 - i, protocol)) for i in range(n)]
    return found


def header(i: int, image: np.ndarray, **more: Any) -> dict[str, Any]:
    """Return a header as EMAN2 writes it."""
    h, w = image.shape
    plain = {"nx": w, "ny": h, "nz": 1, "is_complex": 0, "apix_x": 1.5, "mean": 0.0, "ptcl_source_image": f"m{i}.mrc"}
    return {**plain, **more}


def database(
    directory: Path, name: str, images: np.ndarray, headers: list[dict[str, Any]] | None = None, **how: Any
) -> Path:
    """Write a database with its pixels, last image first; return the file of its headers."""
    protocol = how.pop("protocol", 2)
    given = headers or [header(i, image) for i, image in enumerate(images)]
    file = directory / "EMAN2DB" / f"{name}.bdb"
    Writer(**how).write(file, {name: records(given, protocol=protocol)})
    _, h, w = images.shape
    images[::-1].astype("<f4").tofile(file.with_name(f"{name}_{w}x{h}x1"))
    return file
