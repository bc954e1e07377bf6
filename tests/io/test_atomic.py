"""Whole files only."""

from pathlib import Path

import pytest

from cryoisac.io.atomic import write_whole


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    """Definition: a writer that fails leaves the old file and nothing else."""
    path = tmp_path / "a.txt"
    write_whole(path, lambda p: p.write_text("old"))

    def fails(p: Path) -> None:
        p.write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_whole(path, fails)
    assert path.read_text() == "old"
    write_whole(path, lambda p: p.write_text("new"))
    assert path.read_text() == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_the_temporary_file_lies_beside_its_target(tmp_path: Path) -> None:
    """Definition: a rename is atomic within one directory, and leftovers of others are not touched."""
    left = tmp_path / ".a.txt.12345678.partial"
    left.write_text("killed")
    seen: list[Path] = []

    def writer(p: Path) -> None:
        seen.append(p)
        p.write_text("whole")

    write_whole(str(tmp_path / "a.txt"), writer)
    assert seen[0].parent == tmp_path
    assert seen[0] != left
    assert left.read_text() == "killed"
