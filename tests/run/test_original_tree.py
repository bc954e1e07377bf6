"""The files of the original: their names, their form, and what they say."""

import re
from pathlib import Path

import h5py
import numpy as np
import pytest

from cryoisac.align import prealignment
from cryoisac.cluster import isac
from cryoisac.cluster.generation import Generation
from cryoisac.comm import Serial
from cryoisac.engine.native import NativeEngine
from cryoisac.io.text_tables import read_integers, read_table
from cryoisac.model.ledger import Ledger
from cryoisac.model.poses import Poses
from cryoisac.ops.masks import circle
from cryoisac.run.original_tree import FINISHED, OriginalTree, forget, members_of
from cryoisac.workflow.isac import run_isac
from tests.run.conftest import LIKELIHOOD, SETTINGS

LOGS = re.compile(r"(^|/)log|command\.txt")
USABLE = np.array([1, 2, 4, 5, 6, 8, 9, 11, 12, 13])


@pytest.fixture(scope="module")
def run(particles: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run by the original's method."""
    directory = tmp_path_factory.mktemp("tree") / "run"
    run_isac(particles, directory, SETTINGS, threads=2)
    return directory


@pytest.fixture(scope="module")
def golden_run(shared: Path) -> Path:
    """What a run of the original left."""
    directory = shared / "data" / "eman2" / "isac_tiny"
    assert directory.is_dir()
    return directory


def names(directory: Path) -> set[str]:
    """Return the files under a directory but its logs."""
    every = (p.relative_to(directory).as_posix() for p in directory.rglob("*") if p.is_file())
    return {name for name in every if not LOGS.search(name)}


def images(path: Path) -> np.ndarray:
    """Return the images of an HDF stack."""
    with h5py.File(path) as file:
        group = file["MDF/images"]
        return np.stack([group[str(i)]["image"][()] for i in range(len(group))])


def headers(path: Path) -> list[dict[str, np.ndarray]]:
    """Return the attributes of the images of an HDF stack."""
    with h5py.File(path) as file:
        group = file["MDF/images"]
        return [
            {n.removeprefix("EMAN."): np.atleast_1d(v) for n, v in group[str(i)].attrs.items()}
            for i in range(len(group))
        ]


def members(path: Path) -> list[list[int]]:
    """Return the members of each class of a stack."""
    return [list(header.get("members", ())) for header in headers(path)]


def test_every_file_of_the_original_is_there(run: Path, golden_run: Path) -> None:
    """Independent program: what a run of the original leaves, but its logs, is left under the same names."""
    assert names(golden_run) <= names(run)


def test_tables_have_the_form_of_the_original(run: Path, golden_run: Path) -> None:
    """Independent program: as many columns, each as wide and of the same kind."""
    for path in sorted(golden_run.rglob("*")):
        name = path.relative_to(golden_run).as_posix()
        if LOGS.search(name) or path.suffix not in (".txt", "") or path.is_dir() or name.startswith("README"):
            continue
        assert forms(run / name) == forms(path), name
    readme = [(d / "README_shrink_ratio.txt").read_text().splitlines() for d in (run, golden_run)]
    for line in (5, 6):
        assert [bool(re.fullmatch(r"\d+\.\d{5}", lines[line].strip())) for lines in readme] == [True, True]


def forms(path: Path) -> list[str]:
    """Return the forms that the rows of a table have, numbers replaced by what they are."""
    cells = {r"  +-?\d\.\d{6}e[+-]\d\d": "R", r"  +-?\d+\.\d{6}": "R", r"  +-?\d+": "I"}
    found = set()
    for line in path.read_text().splitlines():
        whole = re.fullmatch(r"(?:  [ \d.e+-]{12}| {2}[ \d.e+-]{14})+", line)
        assert whole, f"{path}: {line}"
        for pattern, kind in cells.items():
            line = re.sub(pattern, kind, line)
        found.add(line)
    return sorted(found)


def test_stacks_have_the_attributes_of_the_original(run: Path, golden_run: Path) -> None:
    """Independent program: ``members`` and ``n_objects`` of the same type, on the same stacks."""
    for path in sorted(golden_run.rglob("*.hdf")):
        name = path.relative_to(golden_run)
        ours, theirs = headers(run / name)[0], headers(path)[0]
        assert {"members", "n_objects"} & set(ours) == {"members", "n_objects"} & set(theirs)
        for attribute in {"members", "n_objects"} & set(theirs):
            assert ours[attribute].dtype == theirs[attribute].dtype
        assert images(run / name).dtype == np.float32


def test_main_iterations_hand_on_what_the_run_has(run: Path) -> None:
    """Definition: after the last main iteration its folder holds what the run ends with."""
    last = sorted(run.glob("main*"))[-1]
    for name in ("processed_images.txt", "not_processed_images.txt"):
        assert (last / name).read_bytes() == (run / name).read_bytes()
    assert np.array_equal(images(last / "class_averages.hdf"), images(run / "class_averages.hdf"))
    assert members(last / "class_averages.hdf") == members(run / "class_averages.hdf")
    assert (run / FINISHED).read_bytes() == b""
    assert read_table(run / "rpw.txt").tolist() == [[0.0]] * 17  # half of 32 px, and one


def test_generations_leave_their_classes(tmp_path: Path) -> None:
    """Definition: members by position in the generation and by input image, small classes for the next generation."""
    labels = np.array([0, 1, 0, 1, 0, 1, 2, -1])
    stable = np.array([True, True, True, True, False, False, True, False])
    rows = np.array([0, 1, 2, 4, 5, 7, 8, 9])
    ended = Generation(
        main=2,
        number=3,
        round=1,
        images=rows,
        references=np.arange(3 * 64, dtype=np.float32).reshape(3, 8, 8),
        labels=labels,
        poses=Poses.identity(8),
        score=np.zeros(8, dtype=np.float32),
        stable=stable,
        pixel_error_px=np.zeros(8),
        agreement=1.0,
        settled=True,
    )
    ledger = Ledger.empty(10).entered(rows[[1, 3]], poses=Poses.identity(2), label=4, reason="")
    after = isac.State(
        ledger=ledger,
        averages=np.zeros((5, 8, 8), dtype=np.float32),
        chapters=(),
        main=2,
        generation=4,
        todo=rows,
        running=None,
        stopped_because="",
    )
    OriginalTree(path=tmp_path, usable=USABLE, pixel_size_A=2.0).write_generation(ended, after)
    folder = tmp_path / "main002" / "generation003"
    assert members(folder / "original_class_averages_002_003.hdf") == [[0, 2], [1, 3], [6]]
    assert members(folder / "class_averages_002_003.hdf") == [[1, 4], [2, 6], [12]]
    assert members(folder / "good_class_averages_002_003.hdf") == [[2, 6]]
    assert np.array_equal(images(folder / "good_class_averages_002_003.hdf"), ended.references[1:2])
    assert read_integers(folder / "to_process_next_002_003.txt").tolist() == [1, 4, 12]
    assert (folder / FINISHED).exists()
    assert headers(folder / "class_averages_002_003.hdf")[0]["apix_x"] == 2.0


def test_a_class_without_members_says_so(tmp_path: Path) -> None:
    """Definition: EMAN2 knows no empty list, so that the number of members is all there is."""
    tree = OriginalTree(path=tmp_path, usable=USABLE, pixel_size_A=None)
    after = isac.State(
        ledger=Ledger.empty(10).entered(np.array([3]), poses=Poses.identity(1), label=1, reason=""),
        averages=np.zeros((2, 8, 8), dtype=np.float32),
        chapters=(),
        main=2,
        generation=1,
        todo=np.arange(0),
        running=None,
        stopped_because="",
    )
    tree.write_main_ended(1, after, 15)
    found = headers(tmp_path / "main001" / "class_averages.hdf")
    assert [header["n_objects"].tolist() for header in found] == [[0], [1]]
    assert members(tmp_path / "main001" / "class_averages.hdf") == [[], [5]]
    left = read_integers(tmp_path / "main001" / "not_processed_images.txt")
    assert sorted([*left.tolist(), 5]) == list(range(15))


def test_members_are_found_class_by_class() -> None:
    """Brute force: the positions of each label, one label after the other; -1 is none, and a class may be empty."""
    labels = np.random.default_rng(0).integers(-1, 5, 50)
    labels[labels == 3] = 4
    for found, label in zip(members_of(labels, 6), range(6), strict=True):
        assert np.array_equal(found, np.flatnonzero(labels == label))
    assert members_of(labels[:0], 0) == []


def test_prealignment_keeps_what_it_made(tmp_path: Path) -> None:
    """Definition: the first average is the mean of the images, the last reference is the final one, a table each."""
    images_in = np.random.default_rng(1).normal(size=(12, 24, 24)).astype(np.float32)
    engine = NativeEngine(images_in, threads=1)
    plan = prealignment.Plan(stages=((1, 1),), radius_px=9, center_method=0, kick_deg=0.0)
    state = prealignment.start(engine)
    for _ in range(3):
        state = prealignment.step(engine, state, plan, Serial())
    OriginalTree(path=tmp_path, usable=np.arange(12), pixel_size_A=1.0).write_prealignment(state)
    folder = tmp_path / "2dalignment"
    averages, references = images(folder / "aqc.hdf"), images(folder / "aqf.hdf")
    # the engine interpolates at whole pixels, in float32: rounding only
    assert np.allclose(averages[0][circle(9, 24)], images_in.mean(axis=0)[circle(9, 24)], atol=1e-5)
    assert len(averages) == len(references) == 3
    assert np.array_equal(images(folder / "aqfinal.hdf"), references[-1:])
    assert sorted(p.name for p in folder.glob("resolution*")) == ["resolution001", "resolution002", "resolution003"]
    table = read_table(folder / "resolution001")
    half = [images_in[i::2].sum(axis=0) * circle(9, 24) for i in (0, 1)]
    half = [h - h[circle(9, 24)].mean() * circle(9, 24) for h in half]
    power = [np.fft.fft2(h.astype(np.float64)) for h in half]
    ring = np.rint(np.hypot(*np.meshgrid(np.fft.fftfreq(24) * 24, np.fft.fftfreq(24) * 24))) == 5
    expected = (power[0] * power[1].conj())[ring].real.sum()
    expected /= np.sqrt(np.square(np.abs(power[0][ring])).sum() * np.square(np.abs(power[1][ring])).sum())
    assert table[5].tolist() == pytest.approx([5 / 24, expected, ring.sum()], abs=2e-5)  # six decimals, float32 sums


def test_a_restart_forgets_what_comes_after(tmp_path: Path) -> None:
    """Definition: main iterations after the last one kept go, and the mark of the end."""
    for name in ("main001/finished", "main002/generation001/finished", "main003/a", "mainframe/b", "finished"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    forget(tmp_path, 1)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["main001", "mainframe"]


def test_a_run_by_likelihood_leaves_no_such_tree(particles: Path, tmp_path: Path) -> None:
    """Definition: its classes are not made in generations."""
    run_isac(particles, tmp_path / "run", LIKELIHOOD, threads=2)
    found = names(tmp_path / "run")
    assert not [n for n in found if n.startswith("main") or n in (FINISHED, "rpw.txt")]
    assert "all_parameters.txt" in found
