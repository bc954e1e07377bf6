"""The bytes of files: read from where they lie, by any thread."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from cryoisac.errors import FormatError
from cryoisac.io.content import Content
from cryoisac.io.mrc import MrcStack
from cryoisac.io.mrc_write import write_mrc_stack

BYTES = np.random.default_rng(0).integers(0, 256, 5000, dtype=np.uint8)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "bytes").write_bytes(BYTES.tobytes())
    return tmp_path / "bytes"


def test_definition_items_at_offsets(path: Path) -> None:
    """Definition: item i is the bytes from offset i on; neighbours, gaps, repeats, backwards, and none at all."""
    content = Content(path)
    assert content.size == 5000
    for offsets in ([0, 24, 48, 100, 100, 76, 4976], [4976], []):
        out = np.zeros((len(offsets), 2, 3), dtype=">i4")
        content.read(np.array(offsets, dtype=np.int64), out)
        wanted = b"".join(BYTES[o : o + 24].tobytes() for o in offsets)
        assert out.tobytes() == wanted


def test_invariance_threads(path: Path) -> None:
    """Invariance: a hundred reads at once from one open file are the reads one by one."""
    content = Content(path)

    def work(offset: int) -> bytes:
        out = np.empty((3, 50), dtype=np.uint8)
        content.read(offset + 50 * np.arange(3), out)
        return out.tobytes()

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(work, range(100))) == [BYTES[i : i + 150].tobytes() for i in range(100)]


def test_a_file_cut_short_meanwhile_is_refused(path: Path) -> None:
    """Known truth: what was there when the file was opened is missed, not invented."""
    content = Content(path)
    os.truncate(path, 4000)
    with pytest.raises(FormatError, match="cut short while it was being read"):
        content.read(np.array([3900]), np.empty((1, 200), dtype=np.uint8))


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="the system does not show what is mapped")
def test_stacks_are_not_mapped_and_are_closed(tmp_path: Path) -> None:
    """Known truth: reading maps no page of the file, and a stack that nobody holds leaves no file open."""
    path = tmp_path / "a.mrcs"
    write_mrc_stack(path, np.zeros((4, 8, 8), np.float32))
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    stack = MrcStack(path)
    stack.read(np.arange(4))
    assert str(path) not in Path("/proc/self/maps").read_text()
    del stack
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
