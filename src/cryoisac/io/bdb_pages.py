"""Berkeley DB B-tree files: the records of their tables. Nothing in a file is trusted before it is checked."""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import numpy as np

from cryoisac.errors import FormatError
from cryoisac.io.content import Content

MAGIC = 0x053162
VERSIONS = (8, 9, 10)  # Berkeley DB 3.1 to 18.1
META, INTERNAL, LEAF, OVERFLOW = 9, 3, 5, 7  # types of pages
DATA, LONG_DATA = 1, 3  # types of items
DELETED = 0x80
META_BYTES, HEADER_BYTES = 512, 26
SEVERAL_TABLES, COMPRESSED = 0x20, 0x80  # flags of a meta page


def is_berkeley(head: bytes) -> bool:
    """Return whether a file that begins with ``head`` is a Berkeley DB B-tree, of either byte order."""
    return MAGIC in (int.from_bytes(head[12:16], "little"), int.from_bytes(head[12:16], "big"))


class BTreeFile:
    """One file of named tables, each a B-tree of keys and values.

    Parameters
    ----------
    path : Path
        The file.

    Raises
    ------
    FormatError
        If it is no such file, is cut short, encrypted or compressed; from ``tables`` and ``records`` also where a page
        or an item is not what it must be.

    Notes
    -----
    A walk visits no page twice, so it ends on any file. Pages hold: header of 26 bytes (number at 8, next page at 16,
    entries at 20, bytes of an overflow page at 22, type at 25), then the offsets of the items, 16 bit each. An item is
    length (16 bit), type, data; one too long for its page is instead type, page at 4 and length at 8 of a chain of
    overflow pages. Off-page duplicates are passed over, and of equal keys all are given.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._content = Content(path)
        head = self._content.start
        if len(head) < META_BYTES or not is_berkeley(head):
            raise FormatError(path, "is no Berkeley DB file")
        self._order = "<" if int.from_bytes(head[12:16], "little") == MAGIC else ">"
        self._page_bytes, last = self._words(head, 20)[0], self._words(head, 32)[0]
        if self._page_bytes not in (1 << power for power in range(9, 17)):
            self._damaged(f"pages of {self._page_bytes} bytes")
        self._pages = self._content.size // self._page_bytes
        if last >= self._pages:
            needed = (last + 1) * self._page_bytes
            raise FormatError(path, f"is cut short: needs {needed} bytes, {self._content.size} found; copy it again")
        self._root, self._flags = self._meta(0)

    def tables(self) -> dict[str, int]:
        """Return the first page of each named table."""
        if not self._flags & SEVERAL_TABLES:
            return {}
        found = {}
        for key, value in self._walk(self._root):
            if len(value) != 4:
                self._damaged(f"a table's page number of {len(value)} bytes")
            found[key.decode(errors="replace")] = int.from_bytes(value, "big")  # in network order whatever the host
        return found

    def records(self, table: str) -> Iterator[tuple[bytes, bytes]]:
        """Yield keys and values of a table that ``tables`` lists; in the order of their bytes."""
        root, _ = self._meta(self.tables()[table])
        return self._walk(root)

    def _words(self, page: bytes, offset: int, count: int = 1) -> tuple[int, ...]:
        return struct.unpack_from(f"{self._order}{count}I", page, offset)

    def _meta(self, number: int) -> tuple[int, int]:
        """Return root page and flags of the table that begins at page ``number``."""
        page = self._page(number, META, set())
        version, encryption, checksums = self._words(page, 16)[0], page[24], page[26] & 1
        root, flags = self._words(page, 88)[0], self._words(page, 48)[0]
        if version not in VERSIONS:
            raise FormatError(self.path, f"is a Berkeley DB B-tree of version {version}, which is not read")
        if encryption or checksums or flags & COMPRESSED:
            raise FormatError(self.path, "is encrypted, compressed or has checksums; EMAN2 writes none of these")
        return root, flags

    def _page(self, number: int, kind: int | None, seen: set[int]) -> bytes:
        """Return a page of a type, or of a tree, that was not visited in this walk."""
        if not 0 <= number < self._pages or number in seen:
            self._damaged(f"a link to page {number}" + (", where it leads in a circle" if number in seen else ""))
        seen.add(number)
        octets = np.empty((1, self._page_bytes), dtype=np.uint8)
        self._content.read(np.array([number * self._page_bytes]), octets)
        page = octets.tobytes()
        if self._words(page, 8)[0] != number or page[25] not in ((INTERNAL, LEAF) if kind is None else (kind,)):
            self._damaged(f"page {number} is not what its links say")
        return page

    def _walk(self, root: int) -> Iterator[tuple[bytes, bytes]]:
        seen: set[int] = set()
        waiting = [root]
        while waiting:
            number = waiting.pop()
            page = self._page(number, None, seen)
            offsets = self._offsets(page, number)
            if page[25] == INTERNAL:
                waiting += [self._words(page, offset + 4)[0] for offset in reversed(offsets)]
                continue
            for key_at, value_at in zip(offsets[::2], offsets[1::2], strict=True):
                key, value = self._item(page, key_at, seen), self._item(page, value_at, seen)
                if key is not None and value is not None:
                    yield key, value

    def _offsets(self, page: bytes, number: int) -> tuple[int, ...]:
        """Return where the items of a page of a tree begin."""
        (count,) = struct.unpack_from(f"{self._order}H", page, 20)
        first, end = HEADER_BYTES + 2 * count, self._page_bytes - (8 if page[25] == INTERNAL else 3)
        if first > self._page_bytes or (page[25] == LEAF and count % 2):
            self._damaged(f"page {number} with {count} items")
        offsets: tuple[int, ...] = struct.unpack_from(f"{self._order}{count}H", page, HEADER_BYTES)
        if count and not first <= min(offsets) <= max(offsets) <= end:
            self._damaged(f"page {number} with an item outside it")
        return offsets

    def _item(self, page: bytes, offset: int, seen: set[int]) -> bytes | None:
        """Return the data of an item of a leaf; ``None`` if it is deleted or a link to duplicates."""
        length, kind = struct.unpack_from(f"{self._order}HB", page, offset)
        if kind & DELETED:
            return None
        if kind == DATA:
            if offset + 3 + length > self._page_bytes:
                self._damaged(f"an item of {length} bytes beyond its page")
            return page[offset + 3 : offset + 3 + length]
        if kind == LONG_DATA:
            if offset + 12 > self._page_bytes:
                self._damaged("an item beyond its page")
            number, announced = self._words(page, offset + 4, 2)
            return self._long(number, announced, seen)
        return None

    def _long(self, number: int, length: int, seen: set[int]) -> bytes:
        """Return data that lies on a chain of overflow pages."""
        parts = []
        while number:
            page = self._page(number, OVERFLOW, seen)
            (here,) = struct.unpack_from(f"{self._order}H", page, 22)
            if HEADER_BYTES + here > self._page_bytes:
                self._damaged(f"page {number} with {here} bytes")
            parts.append(page[HEADER_BYTES : HEADER_BYTES + here])
            (number,) = self._words(page, 16)
        data = b"".join(parts)
        if len(data) != length:
            self._damaged(f"an item of {len(data)} bytes where {length} are announced")
        return data

    def _damaged(self, how: str) -> NoReturn:
        raise FormatError(self.path, f"is damaged: {how}; copy it again")
