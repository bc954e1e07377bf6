"""Scores of whole classifications, from arrays and from files."""

import csv
from pathlib import Path

import numpy as np
import pytest

from cryoisac.errors import CryoisacError, DataError, FormatError, RunError
from cryoisac.io.star import write_star
from cryoisac.model.poses import Poses, to_relion
from cryoisac.model.table import Metadata, Table
from cryoisac.scoring.content import majority_views
from cryoisac.scoring.files import Classification, KnownTruth, read_classification, read_truth
from cryoisac.scoring.scores import axis_angles_deg, score
from cryoisac.settings import Simulation
from cryoisac.simulation.files import simulate

SETTINGS = Simulation(views=4, per_view=15, box=24, snr=1.0, junk=0.2, pixel_size=4.0, max_shift=1.0, seed=1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("simulation")
    simulate(out, SETTINGS)
    return out


@pytest.fixture(scope="module")
def truth(folder: Path) -> KnownTruth:
    return read_truth(folder / "truth.csv")


def _star(path: Path, truth: KnownTruth, label: np.ndarray, rows: np.ndarray, stack: str = "") -> None:
    psi, origin, flip = to_relion(truth.poses[rows])
    names = np.char.add(np.char.partition(truth.image[rows], "@")[:, 0], f"@{stack}") if stack else truth.image[rows]
    table = Table({}).with_column("rlnImageName", names)
    for name, cells in (
        ("rlnClassNumber", label[rows] + 1),
        ("rlnAnglePsi", psi),
        ("rlnOriginXAngst", origin[:, 0] * 4.0),
        ("rlnOriginYAngst", origin[:, 1] * 4.0),
        ("rlnIsFlip", flip),
        ("rlnOpticsGroup", np.ones(len(rows), dtype=int)),
    ):
        table = table.with_column(name, cells)
    optics = Table({}).with_column("rlnOpticsGroup", [1]).with_column("rlnImagePixelSize", [4.0])
    write_star(path, Metadata(table, optics))


def _run(folder: Path, truth: KnownTruth, label: np.ndarray) -> Path:
    folder.mkdir()
    with (folder / "ledger.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("index", "image", "class", "reason", "generation", "pixel_error", "score"))
        for i, k in enumerate(label):
            writer.writerow((i, truth.image[i], k + 1 if k >= 0 else -1, "stable" if k >= 0 else "unstable", 1, 0.1, 1))
    _star(folder / "classified.star", truth, label, np.flatnonzero(label >= 0))
    return folder


def test_known_truth_perfect_run(tmp_path: Path, truth: KnownTruth) -> None:
    """Known truth: the truth itself scores perfectly, junk included."""
    result = score(read_classification(_run(tmp_path / "run", truth, truth.view), truth), truth)
    assert (result.images, result.accounted, result.classes, result.views_found, result.views) == (75, 60, 4, 4, 4)
    assert result.ari == result.nmi == result.ari_all == result.purity == result.mirror_agreement == 1.0
    assert result.junk_precision == result.junk_recall == 1.0
    assert result.pixel_error is not None
    assert result.pixel_error < 1e-4  # angles and origins are written with six decimals
    assert result.below_one_px == 1.0
    assert result.spread_deg == pytest.approx(0.0, abs=1e-3)  # as above
    assert result.random_spread_deg is not None
    assert result.random_spread_deg > 20


def test_known_truth_flawed_run(truth: KnownTruth) -> None:
    """Known truth: every number of a small classification counted by hand."""
    label = truth.view.copy()
    particles, junk = np.flatnonzero(truth.view >= 0), np.flatnonzero(truth.view < 0)
    label[junk[:3]] = 0  # three of fifteen junk images taken for particles
    lost = particles[truth.view[particles] == 1][:5]
    label[lost] = -1  # five particles lost
    label[truth.view == 3] = 2  # two views in one class
    result = score(Classification(label=label, poses=None), truth)
    assert result.accounted == 60 + 3 - 5
    assert result.purity == pytest.approx((15 + 10 + 15) / 58)
    assert (result.views_found, result.classes) == (3, 3)
    assert result.junk_precision == pytest.approx(12 / 17)
    assert result.junk_recall == pytest.approx(12 / 15)
    assert [c.images for c in result.per_class] == [18, 10, 30]
    assert result.per_class[0].purity == pytest.approx(15 / 18)
    assert result.pixel_error is None


def test_invariance_numbers_of_classes(truth: KnownTruth) -> None:
    """Invariance: classes may carry any numbers, with gaps."""
    label = np.where(truth.view >= 0, np.array([7, 0, 3, 9])[truth.view], -1)
    result = score(Classification(label=label, poses=truth.poses), truth)
    assert (result.ari, result.classes, result.purity) == (1.0, 4, 1.0)
    assert [c.number for c in result.per_class] == [1, 4, 8, 10]


def test_definition_majority_and_axes() -> None:
    """Definition: the commonest view, the lowest of equal ones; opposite directions are one axis."""
    np.testing.assert_array_equal(
        majority_views(np.array([0, 0, 0, 2, 2, 2, 2, -1]), np.array([5, 5, 1, 4, 3, 3, 4, 1])), [5, -1, 3]
    )
    direction = np.array([[0, 0, 1.0], [0, 0, -1.0], [0, 1.0, 0], [0, np.sin(0.2), np.cos(0.2)]])
    angles = axis_angles_deg(direction, np.array([0, 0, 1, 0]))
    assert angles[2] == pytest.approx(0, abs=1e-6)
    # two axes at 0 and one at 0.2: the mean axis m satisfies tan 2m = sin 0.4 / (2 + cos 0.4)
    mean = np.arctan2(np.sin(0.4), 2 + np.cos(0.4)) / 2
    np.testing.assert_allclose(angles[[0, 1, 3]], np.rad2deg([mean, mean, 0.2 - mean]), atol=1e-5)


def test_known_truth_star_of_any_program(tmp_path: Path, truth: KnownTruth) -> None:
    """Known truth: rows in another order are found by name; where none is, their order counts."""
    rng = np.random.default_rng(0)
    shuffled = rng.permutation(75)
    _star(tmp_path / "a.star", truth, truth.view.clip(min=0), shuffled)
    _star(tmp_path / "b.star", truth, truth.view.clip(min=0), np.arange(75), stack="other.mrcs")
    _star(tmp_path / "c.star", truth, truth.view.clip(min=0), shuffled[:40])
    for name in "abc":
        result = score(read_classification(tmp_path / f"{name}.star", truth), truth)
        assert (result.ari, result.mirror_agreement) == (1.0, 1.0)
        assert result.accounted == {"a": 75, "b": 75, "c": 40}[name]


def test_errors_say_what_is_wrong(tmp_path: Path, truth: KnownTruth, folder: Path) -> None:
    """Definition of the errors: no ledger, other particles, files that disagree, columns that are missing."""
    (tmp_path / "empty").mkdir()
    with pytest.raises(RunError, match=r"no ledger\.csv"):
        read_classification(tmp_path / "empty", truth)
    run = _run(tmp_path / "run", truth, truth.view)
    lines = (run / "ledger.csv").read_text().splitlines(keepends=True)
    (run / "ledger.csv").write_text("".join(lines[:-1]))
    with pytest.raises(DataError, match="made from other particles"):
        read_classification(run, truth)
    (run / "ledger.csv").write_text("".join(lines))
    _star(run / "classified.star", truth, truth.view, np.flatnonzero(truth.view >= 0)[:-1])
    with pytest.raises(RunError, match="59 rows where"):
        read_classification(run, truth)
    (tmp_path / "truth.csv").write_text("index,view\n0,1\n")
    with pytest.raises(FormatError, match="no column image"):
        read_truth(tmp_path / "truth.csv")
    (tmp_path / "truth.csv").write_text((folder / "truth.csv").read_text() + "broken,row\n")
    with pytest.raises(FormatError, match=r"truth\.csv:77: has 2 cells"):
        read_truth(tmp_path / "truth.csv")
    with pytest.raises(CryoisacError):
        read_classification(folder / "particles.star", truth)


def test_degenerate_classifications(truth: KnownTruth) -> None:
    """Known truth: nothing accounted, and everything in one class, give numbers or none, never an error."""
    nothing = score(Classification(label=np.full(75, -1), poses=Poses.identity(75)), truth)
    assert (nothing.accounted, nothing.classes, nothing.ari, nothing.purity, nothing.junk_recall) == (
        0,
        0,
        None,
        None,
        1,
    )
    one = score(Classification(label=np.zeros(75, dtype=int), poses=Poses.identity(75)), truth)
    assert (one.classes, one.ari, one.junk_precision, one.junk_recall) == (1, 0.0, None, 0.0)
