"""Where the files of image names are looked for, and that no file is taken for another of the same name."""

from pathlib import Path

import numpy as np
import pytest

from cryoisac.errors import FormatError
from cryoisac.io.image_names import locate

NAMES = np.array([b"1@a.mrcs", b"2@a.mrcs"])


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Directories ``here``, the current one, and ``project/job``."""
    (tmp_path / "here").mkdir()
    (tmp_path / "project" / "job").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path


def found(listing: Path, root: Path | None = None) -> Path:
    """Return the file that ``a.mrcs`` is found to be."""
    (stack,) = locate(listing, NAMES, root).stacks
    return stack.resolve()


@pytest.mark.parametrize("folder", ["here", "project/job", "project", "."])
def test_the_only_file_is_found(places: Path, folder: str) -> None:
    """Known truth: in the current directory, beside the table, and in directories above it."""
    (places / folder / "a.mrcs").touch()
    assert found(places / "project" / "job" / "p.star") == places.resolve() / folder / "a.mrcs"


def test_the_nearest_directory_above_comes_first(places: Path) -> None:
    """Definition: a table's own directory before those above it."""
    for folder in ("project", "project/job"):
        (places / folder / "a.mrcs").touch()
    assert found(places / "project" / "job" / "p.star").parent.name == "job"


@pytest.mark.parametrize("folder", ["project/job", "project"])
def test_two_files_of_one_name_are_refused(places: Path, folder: str) -> None:
    """Definition: neither is chosen; the line names the row, both files and the way out."""
    for other in ("here", folder):
        (places / other / "a.mrcs").touch()
    with pytest.raises(FormatError, match=r"row 1: .* is one file in the current directory") as caught:
        locate(places / "project" / "job" / "p.star", NAMES)
    for other in ("here", folder):
        assert str(places / other / "a.mrcs") in str(caught.value)
    assert "start from another directory" in str(caught.value)


def test_a_nearer_file_than_that_of_the_project_is_refused(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Definition: RELION would take the project's file, others the one beside the table."""
    for folder in ("project", "project/job"):
        (places / folder / "a.mrcs").touch()
    monkeypatch.chdir(places / "project")
    with pytest.raises(FormatError, match="another beside the table"):
        locate(Path("job/p.star"), NAMES)


def test_one_file_under_two_paths_is_one_file(places: Path) -> None:
    """Invariance: links, and the current directory above the table."""
    (places / "project" / "a.mrcs").touch()
    (places / "here" / "a.mrcs").symlink_to(places / "project" / "a.mrcs")
    assert found(places / "project" / "job" / "p.star") == places.resolve() / "project" / "a.mrcs"


def test_from_the_project_directory(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Definition: as RELION is used, the names are relative to the current directory, one above the table."""
    (places / "project" / "a.mrcs").touch()
    monkeypatch.chdir(places / "project")
    assert found(Path("job/p.star")) == places.resolve() / "project" / "a.mrcs"


def test_the_recorded_directory_decides(places: Path) -> None:
    """Definition: it comes before two files that would be refused; where the file is not there, the others count."""
    for folder in ("here", "project", "project/job"):
        (places / folder / "a.mrcs").touch()
    listing = places / "project" / "job" / "p.star"
    assert found(listing, places / "project") == places.resolve() / "project" / "a.mrcs"
    with pytest.raises(FormatError, match="is one file"):
        locate(listing, NAMES, places / "nowhere")
    (places / "here" / "a.mrcs").unlink()
    assert found(listing, places / "nowhere").parent.name == "job"


def test_a_missing_file_is_named_with_the_places_tried(places: Path) -> None:
    """Definition: the row, the name, where it was looked for, the recorded directory among them."""
    with pytest.raises(FormatError, match="row 1: there is no file") as caught:
        locate(places / "project" / "job" / "p.star", NAMES, places / "gone")
    assert str(places / "gone" / "a.mrcs") in str(caught.value)
    assert "directories above" in str(caught.value)


def test_absolute_names_mean_one_file(places: Path) -> None:
    """Definition: they are not looked for anywhere else."""
    for folder in ("here", "project"):
        (places / folder / "a.mrcs").touch()
    names = np.array([f"1@{places}/project/a.mrcs".encode()])
    (stack,) = locate(places / "project" / "p.star", names).stacks
    assert stack == places / "project" / "a.mrcs"
