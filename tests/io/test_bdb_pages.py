"""Berkeley DB B-tree files."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cryoisac.errors import FormatError
from cryoisac.io.bdb_pages import BTreeFile
from tests.io.berkeley import Writer

RNG = np.random.default_rng(4)
MANY = [(b"%05d" % i, RNG.bytes(int(RNG.integers(0, 40)))) for i in range(600)]
LONG = [(b"%05d" % i, RNG.bytes(int(n))) for i, n in enumerate((0, 85, 86, 486, 487, 5000))]
ORDERS = pytest.mark.parametrize("order", "<>")


def read(path: Path) -> dict[str, list[tuple[bytes, bytes]]]:
    file = BTreeFile(path)
    return {name: list(file.records(name)) for name in file.tables()}


@ORDERS
@pytest.mark.parametrize("page_bytes", [512, 4096, 65536])
def test_what_was_written_is_read(tmp_path: Path, order: str, page_bytes: int) -> None:
    """Known truth: several tables in one file, trees of up to four levels, chains of overflow pages, both orders."""
    tables = {"many": MANY, "long": LONG, "empty": []}
    writer = Writer(order, page_bytes)
    path = writer.write(tmp_path / "a.bdb", tables)
    assert read(path) == tables
    assert (len(writer.pages) > 60) == (page_bytes == 512)


def test_deleted_items_and_duplicates_are_passed_over(tmp_path: Path) -> None:
    """Definition: an item with bit 0x80 is deleted; type 2 leads to duplicates."""
    records = [(b"a", b"1"), (b"b", b"22"), (b"c", b"333")]
    path = Writer().write(tmp_path / "a.bdb", {"t": records})
    for kind in (0x81, 2):
        content = bytearray(path.read_bytes())
        at = content.index(b"\x02\x00\x0122")  # length, type, data
        content[at + 2] = kind
        (tmp_path / "b.bdb").write_bytes(content)
        assert read(tmp_path / "b.bdb") == {"t": [records[0], records[2]]}


@pytest.mark.parametrize(
    ("at", "value", "says"),
    [
        (20, b"\x01\x02\0\0", "pages of 513 bytes"),
        (16, b"\x07", "version 7"),
        (24, b"\x01", "encrypted"),
        (26, b"\x01", "checksums"),
        (48, b"\xa0", "compressed"),
        (32, b"\xff", "is cut short: needs"),
        (88, b"\xff\xff", "a link to page 65535"),
        (88, b"\0", "in a circle|not what its links say"),
        (12, b"\0", "no Berkeley DB"),
    ],
)
def test_a_wrong_first_page_is_refused(tmp_path: Path, at: int, value: bytes, says: str) -> None:
    """Definition."""
    content = bytearray(Writer().write(tmp_path / "a.bdb", {"t": MANY}).read_bytes())
    content[at : at + len(value)] = value
    (tmp_path / "a.bdb").write_bytes(content)
    with pytest.raises(FormatError, match=says):
        read(tmp_path / "a.bdb")


def test_circles_are_refused(tmp_path: Path) -> None:
    """Definition: a page may be reached once; here an internal page leads to itself, and a chain to its beginning."""
    writer = Writer()
    content = bytearray(writer.write(tmp_path / "a.bdb", {"t": MANY}).read_bytes())
    internal = next(i for i, page in enumerate(writer.pages) if page[25] == 3)
    first = int.from_bytes(content[internal * 512 + 26 : internal * 512 + 28], "little")
    content[internal * 512 + first + 4] = internal
    (tmp_path / "a.bdb").write_bytes(content)
    with pytest.raises(FormatError, match="in a circle"):
        read(tmp_path / "a.bdb")
    writer = Writer()
    content = bytearray(writer.write(tmp_path / "b.bdb", {"t": LONG}).read_bytes())
    chain = [i for i, page in enumerate(writer.pages) if page[25] == 7]
    content[chain[0] * 512 + 16] = chain[0]
    (tmp_path / "b.bdb").write_bytes(content)
    with pytest.raises(FormatError, match="in a circle"):
        read(tmp_path / "b.bdb")


@settings(max_examples=150, deadline=2000, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    flips=st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(0, 255)), max_size=6),
    cut=st.none() | st.integers(0, 1 << 16),
    order=st.sampled_from("<>"),
)
def test_damage_is_read_or_refused(tmp_path: Path, flips: list[tuple[int, int]], cut: int | None, order: str) -> None:
    """Known truth: no damage raises anything but our own error, and none goes on for ever."""
    path = Writer(order).write(tmp_path / "a.bdb", {"many": MANY[:60], "long": LONG})
    content = bytearray(path.read_bytes())
    for at, value in flips:
        content[at % len(content)] = value
    path.write_bytes(content[:cut])
    try:
        found = read(path)
    except FormatError as error:
        assert "\n" not in str(error)  # noqa: PT017
    else:
        assert sum(len(r) for r in found.values()) <= 512 * len(content)


def test_a_database_of_eman2(shared: Path) -> None:
    """Independent program: what libdb 5.3's own tool lists of a file that EMAN2 wrote."""
    folder = shared / "data" / "formats" / "gpu-isac-dummy" / "isac_dummy_data_64" / "EMAN2DB"
    found = read(folder / "faces.bdb")
    assert list(found) == ["faces"]
    assert len(found["faces"]) == 130  # images, records of their pixels, maxrec and the size
    assert found["faces"][0] == (b"128x128x1\x80\x02K\x00.", b"\x80\x02K\x00.")
    assert dict(found["faces"])[b"\x80\x02U\x06maxrecq\x00."] == b"\x80\x02K?."
    assert list(read(folder / "00image_counts.bdb")) == ["00image_counts"]
