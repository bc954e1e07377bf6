"""A whole run: what it leaves, that it can be interrupted anywhere, that it refuses what it must."""

import contextlib
import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

import cryoisac.io.atomic
from cryoisac.align import prealignment
from cryoisac.cluster import isac, likelihood
from cryoisac.cluster.result import Result
from cryoisac.errors import CryoisacError, RunError
from cryoisac.io.mrc import MrcStack
from cryoisac.io.registry import read_particles
from cryoisac.model.poses import from_relion
from cryoisac.ops import filters, fourier
from cryoisac.ops.masks import circle
from cryoisac.ops.resample import resample
from cryoisac.ops.warp import rotate_shift
from cryoisac.products.tables import LEDGER_COLUMNS
from cryoisac.run import checkpoint, opening
from cryoisac.run.directory import fingerprint
from cryoisac.settings import Isac
from cryoisac.workflow.isac import METHODS as PLAYED
from cryoisac.workflow.isac import run_isac
from tests.run.conftest import LIKELIHOOD, METHODS, contents


@pytest.fixture(scope="module", params=METHODS.values(), ids=METHODS)
def settings(request: pytest.FixtureRequest) -> Isac:
    """Settings of a run, by each method."""
    found: Isac = request.param
    return found


@pytest.fixture(scope="module")
def whole(particles: Path, settings: Isac, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing disturbed."""
    directory = tmp_path_factory.mktemp("runs") / "whole"
    run_isac(particles, directory, settings, threads=2)
    return directory


def test_every_particle_is_in_the_ledger_once(whole: Path, particles: Path, settings: Isac) -> None:
    """Definition: a row each, in order; a class from 1 and no reason, or class -1 and a reason; sums agree."""
    with (whole / "ledger.csv").open() as file:
        rows = list(csv.DictReader(file))
    record = json.loads((whole / "run.json").read_text())
    assert list(rows[0]) == list(LEDGER_COLUMNS)
    assert [int(r["index"]) for r in rows] == list(range(100))
    assert all((int(r["class"]) >= 1) == (r["reason"] == "") for r in rows)
    sizes = np.bincount([int(r["class"]) for r in rows if int(r["class"]) > 0])[1:]
    assert sizes.tolist() == [c["members"] for c in record["classes"]]
    assert sizes.sum() == record["counts"]["accounted"]
    assert sizes.sum() + sum(record["counts"]["by_reason"].values()) == 100
    if settings.method == "isac2":
        assert all(float(r["pixel_error"]) < settings.thld_err for r in rows if int(r["class"]) > 0)
        assert {(r["rival"], r["membership_stability"]) for r in rows} == {("-1", "nan")}
    else:
        assert all(0 <= float(r["membership_stability"]) <= 1 for r in rows)
        assert all(r["rival"] != r["class"] and int(r["rival"]) <= len(sizes) for r in rows if int(r["class"]) > 0)


def test_classified_star_keeps_every_input_column(whole: Path, particles: Path) -> None:
    """Definition: accounted particles only, input cells untouched, class numbers those of the ledger."""
    before, after = read_particles(particles).metadata, read_particles(whole / "classified.star").metadata
    assert before is not None
    assert after is not None
    with (whole / "ledger.csv").open() as file:
        label = np.array([int(r["class"]) for r in csv.DictReader(file)])
    placed = np.flatnonzero(label > 0)
    for name, column in before.particles.columns.items():
        assert np.array_equal(after.particles.columns[name], column[placed]), name
    assert before.optics is not None
    assert after.optics is not None
    assert {n: c.tolist() for n, c in before.optics.columns.items()} == {
        n: c.tolist() for n, c in after.optics.columns.items()
    }
    assert np.array_equal(after.particles.integers("rlnClassNumber"), label[placed])


def test_members_lie_on_their_average(whole: Path) -> None:
    """Known truth: shifted by the origin, rotated by psi, reversed where flipped, members add up to their average."""
    members = read_particles(whole / "classified.star")
    assert members.metadata is not None
    table = members.metadata.particles
    origin = np.stack([table.floats("rlnOriginXAngst"), table.floats("rlnOriginYAngst")], axis=1) / 10.0
    poses = from_relion(table.floats("rlnAnglePsi"), origin, table.integers("rlnIsFlip"))
    label = table.integers("rlnClassNumber")
    images = members.read(np.arange(len(members)))
    laid = rotate_shift(images, poses)
    averages = MrcStack(whole / "class_averages.mrcs")
    inside = circle(11, 32)
    for c in np.unique(label):
        mean = filters.tangent_lowpass(laid[label == c].mean(axis=0).astype(np.float32), 0.3, 0.2)
        average = fourier.window(resample(averages.read(np.array([c - 1])), 1.0, 36), 32)[0]
        # phases of the members are not flipped here, and they are low-passed otherwise: 0.9 is ample, while a wrong
        # sign of psi, origin or flip leaves less than 0.6
        assert np.corrcoef(mean[inside], average[inside])[0, 1] > 0.85


def test_original_tables_agree_with_the_ledger(whole: Path) -> None:
    """Definition: processed and left images part the input; unaccounted rows are 0 0 0 -1; line 6 and 7 of README."""
    rows = np.loadtxt(whole / "all_parameters.txt")
    placed = np.loadtxt(whole / "processed_images.txt", dtype=int, ndmin=1)
    assert np.array_equal(np.flatnonzero(rows[:, 3] >= 0), placed)
    lines = (whole / "README_shrink_ratio.txt").read_text().splitlines()
    assert [float(lines[5]), float(lines[6])] == [1.0, 12.0]
    assert len(np.loadtxt(whole / "2dalignment" / "initial2Dparams.txt")) == 100


def test_a_finished_run_changes_nothing(whole: Path, particles: Path, settings: Isac) -> None:
    """Invariance: asked again, a finished run says so and leaves every byte."""
    before = contents(whole)
    outcome = run_isac(particles, whole, settings, threads=1)
    assert outcome.already
    assert contents(whole) == before


@pytest.mark.parametrize("threads", [1, 7])
def test_threads_do_not_change_the_result(
    whole: Path, particles: Path, tmp_path: Path, threads: int, settings: Isac
) -> None:
    """Invariance: every file is equal, byte for byte."""
    run_isac(particles, tmp_path / "again", settings, threads=threads)
    assert contents(tmp_path / "again") == contents(whole)


def test_another_seed_gives_another_run(whole: Path, particles: Path, tmp_path: Path, settings: Isac) -> None:
    """Definition: the seed reaches the draws."""
    run_isac(particles, tmp_path / "other", replace(settings, rand_seed=4), threads=2)
    assert contents(tmp_path / "other")["all_parameters.txt"] != contents(whole)["all_parameters.txt"]


STATES = {
    "isac2": [("isac.npz", isac.State), ("prealignment.npz", prealignment.State), ("scan.npz", opening.Scan)],
    "likelihood": [("likelihood.npz", likelihood.State), ("result.npz", Result), ("scan.npz", opening.Scan)],
}


class Cut(Exception):
    """Stops a run in the middle."""


def test_a_run_cut_at_any_write_goes_on_to_the_same_end(
    whole: Path, particles: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Isac
) -> None:
    """Invariance: cut just before or just after the first file appears, then the second, and so on to the end."""
    flush, flushes = cryoisac.io.atomic._flush, 0

    def cut(path: Path) -> None:
        nonlocal flushes
        flush(path)  # of the file before it gets its name, then of its directory
        if flushes == 0:
            raise Cut
        flushes -= 1

    directory = tmp_path / "cut"
    monkeypatch.setattr(cryoisac.io.atomic, "_flush", cut)
    for attempt in range(200):
        flushes = attempt
        with contextlib.suppress(Cut):
            run_isac(particles, directory, settings, threads=2)
            break
    assert attempt > 25  # the run makes about thirty files
    assert contents(directory) == contents(whole)


@pytest.mark.parametrize(
    ("changed", "named"),
    [({"thld_err": 0.6}, "--thld-err"), ({"radius": 11}, "--radius"), ({"ctf": True, "rand_seed": 9}, "--ctf")],
)
def test_other_settings_are_refused_by_name(
    whole: Path, particles: Path, changed: dict[str, Any], named: str, settings: Isac
) -> None:
    """Definition: the sentence names the setting, its value then and now, and nothing is touched."""
    before = contents(whole)
    with pytest.raises(RunError, match=named):
        run_isac(particles, whole, replace(settings, **changed))
    assert contents(whole) == before


def test_other_particles_are_refused(whole: Path, particles: Path, tmp_path: Path, settings: Isac) -> None:
    """Definition: a run belongs to its particles."""
    other = tmp_path / "other.star"
    other.write_text(particles.read_text().replace("particles.mrcs", f"{particles.parent}/particles.mrcs"))
    with pytest.raises(RunError, match="other particles"):
        run_isac(other, whole, settings)


def copied(particles: Path, folder: Path) -> Path:
    """Return a copy of the particles."""
    folder.mkdir()
    for path in particles.parent.glob("particles.*"):
        shutil.copy(path, folder)
    return folder / particles.name


def cut_after_the_scan(particles: Path, directory: Path, monkeypatch: pytest.MonkeyPatch, settings: Isac) -> None:
    """Begin a run, and leave it."""

    def leave(*_: Any) -> None:
        raise Cut

    with monkeypatch.context() as patch:
        patch.setitem(PLAYED, settings.method, leave)
        with pytest.raises(Cut):
            run_isac(particles, directory, settings, threads=2)


def test_changed_images_are_refused(
    particles: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Isac
) -> None:
    """Definition: a run that continues finds the image files that it began with, or names the one that changed."""
    own = copied(particles, tmp_path / "own")
    cut_after_the_scan(own, tmp_path / "run", monkeypatch, settings)
    stack = own.with_suffix(".mrcs")
    was = stack.read_bytes()
    for now in (was[:-4] + bytes(4), was + bytes(4), was[:200] + b"x" + was[201:]):
        stack.write_bytes(now)
        with pytest.raises(RunError, match=f"images have changed: {stack} was different"):
            run_isac(own, tmp_path / "run", settings, threads=2)
    stack.write_bytes(was)
    cut_after_the_scan(own, tmp_path / "run", monkeypatch, settings)


def test_the_particle_file_is_hashed_once(
    particles: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Isac
) -> None:
    """Definition: once to begin, once to continue; and what run.json says of it does not change."""
    hashed = []
    monkeypatch.setattr(opening, "fingerprint", lambda path: hashed.append(path) or fingerprint(path))
    records = []
    for times in (1, 2):
        cut_after_the_scan(particles, tmp_path / "run", monkeypatch, settings)
        records.append((tmp_path / "run" / "run.json").read_bytes())
        assert len(hashed) == times
    assert records[0] == records[1]


def test_a_directory_of_something_else_is_left_alone(particles: Path, tmp_path: Path, settings: Isac) -> None:
    """Definition: nothing is written into a directory that holds no run."""
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(RunError, match="holds no run"):
        run_isac(particles, tmp_path, settings)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_restart_replays_to_the_same_end(whole: Path, particles: Path, tmp_path: Path, settings: Isac) -> None:
    """Invariance: back to an earlier state, and on to the same result; what there is not is named in an error."""
    directory, back = tmp_path / "restarted", 1 if settings.method == "isac2" else 0
    run_isac(particles, directory, settings, threads=2)
    run_isac(particles, directory, settings, threads=2, restart=back)
    assert contents(directory) == contents(whole)
    refused = "has not ended" if settings.method == "isac2" else "no main iterations; --restart 0"
    with pytest.raises(RunError, match=refused):
        run_isac(particles, directory, settings, restart=9)
    with pytest.raises(RunError, match="was started"):
        run_isac(particles, tmp_path / "new", settings, restart=back)
    assert not (tmp_path / "new").exists()


def test_a_run_in_use_is_refused(whole: Path, particles: Path, tmp_path: Path, settings: Isac) -> None:
    """Definition: two programs cannot write one run."""
    import fcntl

    directory = tmp_path / "held"
    run_isac(particles, directory, settings, threads=2)
    (directory / "run.json").write_text((directory / "run.json").read_text().replace('"finished"', '"running"'))
    with (directory / "logs" / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(RunError, match="in use"):
            run_isac(particles, directory, settings)


def test_what_is_refused_leaves_nothing(particles: Path, tmp_path: Path, settings: Isac) -> None:
    """Definition: a run that cannot be does not make its directory."""
    for wrong in (replace(settings, radius=15), replace(settings, img_per_grp=60)):
        with pytest.raises(CryoisacError):
            run_isac(particles, tmp_path / "none", wrong)
        assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("given", ["project", "stack"])
def test_results_can_be_read_from_anywhere(
    particles: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str, settings: Isac
) -> None:
    """Invariance: the members of a run are the input's images, read from elsewhere, and through a second run."""
    project = tmp_path / "project"
    (project / "Extract" / "job001").mkdir(parents=True)
    shutil.copy(particles.parent / "particles.mrcs", project / "Extract" / "job001" / "x.mrcs")
    table = project / "Extract" / "job001" / "particles.star"
    table.write_text(particles.read_text().replace("@particles.mrcs", "@Extract/job001/x.mrcs"))
    monkeypatch.chdir(project)
    source = table if given == "project" else Path("Extract/job001/x.mrcs")
    if settings.method == "isac2":
        settings = replace(settings, skip_prealignment=True, init_iter=1)
    run_isac(source, tmp_path / "first", settings)
    monkeypatch.chdir(tmp_path)
    first = read_particles(tmp_path / "first" / "classified.star")
    run_isac(tmp_path / "first" / "classified.star", tmp_path / "second", settings)
    (tmp_path / "away").mkdir()
    monkeypatch.chdir(tmp_path / "away")
    second = read_particles(tmp_path / "second" / "classified.star")
    whole = {image.tobytes() for image in read_particles(particles).read(np.arange(100))}
    for found in (first, second):
        assert {image.tobytes() for image in found.read(np.arange(len(found)))} <= whole


def test_checkpoints_come_back_as_they_were(whole: Path, tmp_path: Path, settings: Isac) -> None:
    """Invariance: a state read and written again is the same file; a damaged one is refused."""
    for name, kind in STATES[settings.method]:
        path = whole / "state" / name
        state = checkpoint.load(path, kind)
        assert state is not None
        checkpoint.save(tmp_path / "again.npz", state)
        assert (tmp_path / "again.npz").read_bytes() == path.read_bytes()
        (tmp_path / "bad.npz").write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        with pytest.raises(RunError, match="not a checkpoint"):
            checkpoint.load(tmp_path / "bad.npz", kind)


def test_what_starts_came_to_is_recorded(particles: Path, tmp_path: Path) -> None:
    """Definition: classes and evidence of each start, in order; the first start of one alone is that of several."""
    records = [
        run_isac(particles, tmp_path / str(starts), replace(LIKELIHOOD, starts=starts)).record["starts"]
        for starts in (1, 3)
    ]
    assert [[s["start"] for s in starts] for starts in records] == [[1], [1, 2, 3]]
    assert records[0][0] == records[1][0]
    assert all(s["classes"] >= 1 and np.isfinite(s["evidence"]) for s in records[1])


def test_blas_threads_do_not_change_the_result(whole: Path, particles: Path, tmp_path: Path, settings: Isac) -> None:
    """Invariance: nor does the number of threads that products of matrices would take by themselves."""
    with threadpool_limits(1, user_api="blas"):
        run_isac(particles, tmp_path / "one", settings, threads=2)
    assert contents(tmp_path / "one") == contents(whole)


def test_ring_images_are_removed_when_the_run_has_finished(
    particles: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Definition: they are there while the run is unfinished, and not afterwards, also where it was cut in between."""
    rings = [tmp_path / "run" / "state" / name for name in ("rings.npy", "ctf2.npy")]

    def leave(*_: Any) -> None:
        raise Cut

    for place in ("cryoisac.run.likelihood.remove_rings", "cryoisac.cluster.finishing.result"):
        with monkeypatch.context() as patch:
            patch.setattr(place, leave)
            with pytest.raises(Cut):
                run_isac(particles, tmp_path / "run", LIKELIHOOD, restart=0 if rings[0].exists() else None)
        assert all(path.exists() for path in rings)
    run_isac(particles, tmp_path / "run", LIKELIHOOD)
    assert not any(path.exists() for path in rings)
    assert run_isac(particles, tmp_path / "run", LIKELIHOOD).already


def test_a_run_by_the_rules_of_the_original(particles: Path, tmp_path: Path) -> None:
    """Definition: it ends, its classes have more than the minimum, and threads change no byte; ours is another run."""
    # of 20 images a view, so that shrinking and both kinds of main iterations take part
    ours = replace(METHODS["isac2"], target_radius=10, target_nx=32, img_per_grp=25, minimum_grp_size=12)
    settings = replace(ours, parity="sphire")
    for name, chosen, threads in (("ours", ours, 2), ("one", settings, 1), ("three", settings, 3)):
        run_isac(particles, tmp_path / name, chosen, threads=threads)
    assert contents(tmp_path / "one") == contents(tmp_path / "three")
    record = json.loads((tmp_path / "one" / "run.json").read_text())
    assert record["status"] == "finished"
    assert record["settings"]["parity"] == "sphire"
    assert min(c["members"] for c in record["classes"]) > 12
    working = [(tmp_path / name / "working_stack.mrcs").read_bytes() for name in ("ours", "one")]
    assert working[0] != working[1]
