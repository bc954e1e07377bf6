"""Alignments as runs: what they leave, what they refuse, and that they go on where they were interrupted."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cryoisac.errors import CryoisacError, DataError, RunError, SettingError
from cryoisac.io.eman_hdf import write_hdf_stack
from cryoisac.io.mrc_write import write_mrc_stack
from cryoisac.io.registry import read_particles
from cryoisac.io.text_tables import read_table
from cryoisac.model.poses import Poses
from cryoisac.products.classification import read_classification as read_finished
from cryoisac.run import aligned_files, aligning, aligning_steps, room
from cryoisac.run.plan import estimated_radius
from cryoisac.scoring.files import read_classification, read_truth
from cryoisac.scoring.scores import score
from cryoisac.settings import Multireference, ReferenceFree
from cryoisac.workflow.alignment import run_alignment
from tests.run.conftest import contents

MRA = Multireference(radius=12, xr="1", maxit=4, rand_seed=5)
RFA = ReferenceFree(radius=12, xr="2 1", ts="1 0.5", maxit=4)
KINDS = [pytest.param(MRA, 5, id="mra"), pytest.param(RFA, None, id="rfa")]


@pytest.mark.parametrize(("settings", "references"), KINDS)
def test_what_an_alignment_leaves(particles: Path, tmp_path: Path, settings: Any, references: int | None) -> None:
    """Definition: the files of the original by their names, tables for RELION, a record, a page; the input as it is."""
    before = {p: p.read_bytes() for p in particles.parent.iterdir()}
    outcome = run_alignment(particles, tmp_path / "out", settings, references=references, threads=2)
    record, out = outcome.record, tmp_path / "out"
    passes = record["iterations"]
    assert before == {p: p.read_bytes() for p in particles.parent.iterdir()}
    assert record == json.loads((out / "run.json").read_text())
    names = {p.name for p in out.iterdir()}
    if references:
        assert {f"aqm{i:03d}.hdf" for i in range(len(passes))} <= names
        assert {f"drm{i:03d}{c:04d}.txt" for i in range(len(passes)) for c in range(references)} <= names
        assert names >= {"multi_ref.hdf", "class_averages.mrcs", "class_averages.star", "classified.star", "ledger.csv"}
        stack = read_particles(out / f"aqm{len(passes) - 1:03d}.hdf")
        assert stack.attributes["ave_n"].tolist() == [c["members"] for c in record["classes"]]
        members = np.concatenate([np.atleast_1d(m) for m in stack.attributes["members"]])
        assert sorted(members.tolist()) == list(range(100))
        rows = read_table(out / "mref_parameters.txt")
        assert rows.shape == (100, 6)
        assert np.bincount(rows[:, 5].astype(int)).tolist() == [c["members"] for c in record["classes"]]
        curve = out / "drm0000000.txt"
    else:
        assert names >= {"aqc.hdf", "aqf.hdf", "aqfinal.hdf", "initial2Dparams.txt", "aligned.star", "average.mrcs"}
        assert {f"resolution{i + 1:03d}" for i in range(len(passes))} <= names
        assert len(read_particles(out / "aqc.hdf")) == len(read_particles(out / "aqf.hdf")) == len(passes)
        assert read_table(out / "initial2Dparams.txt").shape == (100, 4)
        curve = out / "resolution001"
    lines = curve.read_text().splitlines()
    assert all(len(line) == 3 * 14 and line.startswith("  ") for line in lines)
    assert read_table(curve)[:, 0].tolist() == pytest.approx([i / 32 for i in range(17)], abs=1e-6)
    assert "<svg" in outcome.report.read_text()
    again = run_alignment(particles, out, settings, references=references)
    assert again.already
    assert again.record == record


def test_classes_and_poses_are_those_of_the_simulation(particles: Path, tmp_path: Path) -> None:
    """Known truth: five views of twenty images from five references, in any order, and back in RELION's columns."""
    truth = read_truth(particles.parent / "truth.csv")
    images = read_particles(particles).read(np.array([np.flatnonzero(truth.view == v)[0] for v in range(5)]))
    write_mrc_stack(tmp_path / "first.mrcs", images, 10.0)
    settings = Multireference(radius=12, xr="2")
    run_alignment(particles, tmp_path / "out", settings, references=tmp_path / "first.mrcs", threads=2)
    found = score(read_classification(tmp_path / "out", truth), truth)
    assert found.ari is not None
    assert found.ari > 0.9
    assert found.pixel_error is not None
    assert found.pixel_error < 1.0  # whole steps of shifts, noise as strong as the particle


@pytest.mark.parametrize(("settings", "references"), KINDS)
@pytest.mark.parametrize("last", [1, 2])
def test_an_interrupted_alignment_ends_as_an_undisturbed_one(
    particles: Path, tmp_path: Path, settings: Any, references: int | None, last: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Invariance: stopped after each iteration's files were written and before its state was, on other threads."""
    run_alignment(particles, tmp_path / "whole", settings, references=references, threads=1)
    saved = aligning_steps._save
    count = 0

    def stop(run: Any, state: Any) -> None:
        nonlocal count
        count += 1
        if count > last:
            raise KeyboardInterrupt
        saved(run, state)

    monkeypatch.setattr(aligning_steps, "_save", stop)
    for _ in range(20):
        count = 0
        try:
            run_alignment(particles, tmp_path / "broken", settings, references=references, threads=3)
            break
        except KeyboardInterrupt:
            continue
    assert contents(tmp_path / "broken") == contents(tmp_path / "whole")


def test_an_alignment_goes_on_only_as_it_began(particles: Path, tmp_path: Path) -> None:
    """Definition: other settings, other references or another command are refused, and say so."""
    out = tmp_path / "out"
    run_alignment(particles, out, MRA, references=4, threads=2)
    with pytest.raises(RunError, match=r"--ir .then 1, now 2"):
        run_alignment(particles, out, replace(MRA, ir=2), references=4)
    with pytest.raises(RunError, match="with other references"):
        run_alignment(particles, out, MRA, references=5)
    with pytest.raises(RunError, match="another command"):
        run_alignment(particles, out, RFA)


def averaged(particles: Path, out: Path, settings: Any, references: Any = 4) -> np.ndarray:
    run_alignment(particles, out, settings, references=references, threads=2)
    name = "class_averages.mrcs" if isinstance(settings, Multireference) else "average.mrcs"
    stack = read_particles(out / name)
    return stack.read(np.arange(len(stack)))


@pytest.mark.parametrize(
    "changed",
    [
        {"radius": 9},
        {"ir": 4},
        {"rs": 3},
        {"xr": "0"},
        {"yr": "0"},
        {"ts": "0.5"},
        {"xr": "1 1", "ts": "1 0.5"},
        {"center_method": 1},
        {"maxit": 2},
        {"no_mirror": True},
        {"ctf": True},
        {"lowest_cutoff": 0.39},
        {"rand_seed": 6},
        {"search": "exact"},
        {"sizes": "equal"},
        {"min_size": 24},
        {"equal_first": 0},
        {"random_method": "SHC"},
        {"dst": 90.0, "maxit": 14, "stop_share": 0.0},
        {"stop_share": 1.0, "stop_error": 100.0},
    ],
    ids=str,
)
def test_each_setting_has_an_effect_with_references(
    particles: Path, tmp_path: Path, changed: dict[str, Any], plain: np.ndarray
) -> None:
    """Definition: the averages differ from those of the defaults."""
    assert not np.array_equal(averaged(particles, tmp_path / "out", replace(MRA, **changed)), plain)


@pytest.fixture(scope="module")
def plain(particles: Path, tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    """Averages of the plain multireference alignment."""
    return averaged(particles, tmp_path_factory.mktemp("plain") / "out", MRA)


def test_the_snr_has_an_effect_with_the_ctf_only(particles: Path, tmp_path: Path) -> None:
    """Definition: a lower SNR gives weaker averages; without CTF it is refused."""
    settings = replace(RFA, ctf=True)
    weak, strong = (averaged(particles, tmp_path / f"{snr}", replace(settings, snr=snr), None) for snr in (0.01, 10.0))
    assert np.std(weak) < 0.8 * np.std(strong)
    with pytest.raises(SettingError, match="--ctf"):
        replace(RFA, snr=0.5)


def test_mirrored_poses_are_left_out(particles: Path, tmp_path: Path) -> None:
    """Definition: with --no-mirror no pose is mirrored, and without it some are."""
    for name, settings, mirrored in (("a", replace(RFA, no_mirror=True), False), ("b", RFA, True)):
        run_alignment(particles, tmp_path / name, settings, threads=2)
        assert read_table(tmp_path / name / "initial2Dparams.txt")[:, 3].any() == mirrored


def test_shift_ranges_along_both_axes_are_separate(particles: Path, tmp_path: Path) -> None:
    """Definition: with --xr 0 centres move along y alone; steps may be fractions."""
    settings = replace(RFA, xr="0", yr="1", ts="0.5", center_method=0, maxit=2)
    outcome = run_alignment(particles, tmp_path / "out", settings, threads=2)
    assert outcome.record["settings"]["search"] == "exact"  # the grid of the fast search turns with the angle
    offsets = Poses.from_rows(read_table(tmp_path / "out" / "initial2Dparams.txt")).offset_px()
    np.testing.assert_allclose(offsets[:, 0], 0, atol=2e-6)  # six decimals
    assert set(np.round(offsets[:, 1], 3)) == {-1.0, -0.5, 0.0, 0.5, 1.0}


def test_random_angles_give_another_start(particles: Path, tmp_path: Path) -> None:
    """Definition: the first average of images turned at random is rounder than of images as they lie."""
    first = {}
    for randomize in (False, True):
        out = tmp_path / f"{randomize}"
        run_alignment(particles, out, replace(RFA, randomize=randomize), threads=2)
        first[randomize] = read_particles(out / "aqc.hdf").read(np.zeros(1, dtype=np.int64))
    assert not np.array_equal(first[True], first[False])


def test_the_fourier_variance_is_written(particles: Path, tmp_path: Path) -> None:
    """Definition: of images of noise and particle, at each frequency, and on rings."""
    run_alignment(particles, tmp_path / "out", replace(RFA, fourier_variance=True), threads=2)
    picture = read_particles(tmp_path / "out" / "fourier_variance.hdf").read(np.zeros(1, dtype=np.int64))[0]
    rings = read_table(tmp_path / "out" / "fourier_variance.txt")
    assert picture.shape == (32, 32)
    assert (picture > 0).all()
    assert rings.shape == (17, 2)
    assert rings[16, 1] == pytest.approx(np.concatenate((picture[0, :], picture[:, 0])).mean(), rel=0.5)


def test_a_mask_from_a_file(particles: Path, tmp_path: Path, plain: np.ndarray) -> None:
    """Definition: its pixels are the particle; one of another size, or without pixels, is refused."""
    y, x = np.mgrid[:32, :32] - 16
    for name, mask in (("bar", abs(y) < 8), ("none", x > 99)):
        write_mrc_stack(tmp_path / f"{name}.mrc", mask.astype(np.float32)[None], 10.0)
    write_mrc_stack(tmp_path / "small.mrc", np.ones((1, 16, 16), dtype=np.float32), 10.0)
    found = averaged(particles, tmp_path / "out", replace(MRA, mask=str(tmp_path / "bar.mrc")))
    assert not np.array_equal(found, plain)
    references = read_particles(tmp_path / "out" / "aqm000.hdf").read(np.arange(4))
    rows = np.abs(references).mean(axis=(0, 2))
    assert rows[8:24].mean() > 5 * rows[:4].mean()  # low-passed behind the mask, shifted by the mean shift
    for name, sentence in (("none", "0 of 1024 pixels"), ("small", "a mask is one image of 32 px")):
        with pytest.raises(DataError, match=sentence):
            run_alignment(particles, tmp_path / name, replace(MRA, mask=str(tmp_path / f"{name}.mrc")), references=4)


FUNCTION = """
import numpy as np

def plain(average, frequency, frc, mask, center):
    assert average.shape == mask.shape and frequency.shape == frc.shape
    return average * mask, (0.0, 0.0)

def wrong(average, frequency, frc, mask, center):
    return average[1:], (0.0, 0.0)

def failing(average, frequency, frc, mask, center):
    raise ValueError("nothing to see")
"""


def test_a_function_of_the_user_makes_references(particles: Path, tmp_path: Path) -> None:
    """Definition: what it returns is the reference; what cannot be loaded or fails is refused in one sentence."""
    (tmp_path / "mine.py").write_text(FUNCTION)
    given = replace(MRA, function=f"[{tmp_path},mine,plain]", center_method=0)
    run_alignment(particles, tmp_path / "out", given, references=4, threads=2)
    reference = read_particles(tmp_path / "out" / "aqm000.hdf").read(np.arange(4))
    y, x = np.mgrid[:32, :32] - 16
    assert not reference[:, x**2 + y**2 > 144].any()
    for name, sentence in (
        (f"[{tmp_path},mine,wrong]", "must be like the average"),
        (f"[{tmp_path},mine,failing]", "ValueError: nothing to see"),
        (f"[{tmp_path},mine,absent]", "gives no absent"),
        (f"[{tmp_path},absent,plain]", "which is not there"),
        ("ref_ali3d", "is not known"),
    ):
        with pytest.raises(SettingError, match=sentence) as caught:
            run_alignment(particles, tmp_path / "refused", replace(given, function=name), references=4)
        assert "\n" not in str(caught.value)
        shutil.rmtree(tmp_path / "refused", ignore_errors=True)
    (tmp_path / "mine.py").write_text(FUNCTION + "\n# changed\n")
    with pytest.raises(RunError, match="with other function"):
        run_alignment(particles, tmp_path / "out", given, references=4)


def test_stored_poses_say_where_to_look(particles: Path, tmp_path: Path) -> None:
    """Definition: the search is centred where xform.align2d or RELION's origin puts the particle, unless ignored."""
    images = read_particles(particles).read(np.arange(100))
    far = np.roll(images, (-3, 2), axis=(1, 2))  # the particle lies at x = 2, y = -3
    from cryoisac.io.eman_header import EmanTransform

    known = [{"xform.align2d": EmanTransform.from_row((0.0, -2.0, 3.0, 0.0))} for _ in far]
    write_hdf_stack(tmp_path / "far.hdf", far, 10.0, known)
    settings = replace(MRA, radius=9, xr="0", center_method=0, maxit=1)
    run_alignment(tmp_path / "far.hdf", tmp_path / "there", settings, references=4, threads=2)
    run_alignment(
        tmp_path / "far.hdf", tmp_path / "ignored", replace(settings, ignore_poses=True), references=4, threads=2
    )
    there, ignored = (
        Poses.from_rows(read_table(tmp_path / name / "mref_parameters.txt")[:, 1:5]).offset_px()
        for name in ("there", "ignored")
    )
    np.testing.assert_allclose(there, np.tile((2.0, -3.0), (100, 1)), atol=2e-6)  # six decimals
    np.testing.assert_allclose(ignored, 0, atol=2e-6)


def refusals(particles: Path, tmp_path: Path) -> list[tuple[Any, Any, str]]:
    stack = np.random.default_rng(0).normal(size=(2, 30, 30)).astype(np.float32)
    write_mrc_stack(tmp_path / "small.mrcs", stack, 10.0)
    flat = np.zeros((2, 32, 32), dtype=np.float32)
    flat[0, 0, 0] = 1
    write_mrc_stack(tmp_path / "flat.mrcs", flat, 10.0)
    return [
        (MRA, tmp_path / "small.mrcs", "references of 30 x 30 px for particles of 32 px"),
        (MRA, tmp_path / "flat.mrcs", "reference 2 has constant"),
        (MRA, 51, "100 images that can be used are too few for 51 references"),
        (replace(MRA, radius=15), 4, "does not fit images of 32 px"),
        (replace(MRA, radius=None, xr="20"), 4, "shifts of 20 px leave no room"),
        (replace(RFA, radius=14), None, "give at most 1, or a smaller --radius"),
    ]


def test_what_cannot_be_done_is_refused(particles: Path, tmp_path: Path) -> None:
    """Definition: one line each, and nothing written."""
    for settings, references, sentence in refusals(particles, tmp_path):
        with pytest.raises(CryoisacError, match=sentence) as caught:
            run_alignment(particles, tmp_path / "out", settings, references=references)
        assert "\n" not in str(caught.value)
        assert not (tmp_path / "out").exists()


def test_what_does_not_fit_into_memory_is_refused(
    particles: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Definition: with what is needed and what is free."""
    monkeypatch.setattr(room, "available_memory_bytes", lambda: 1000)
    with pytest.raises(SettingError, match=r"the run needs .* MB, and 1 kB are free; use fewer or smaller images"):
        run_alignment(particles, tmp_path / "out", MRA, references=4)


def test_images_that_cannot_be_used_are_left_out(particles: Path, tmp_path: Path) -> None:
    """Definition: refused by name, or skipped: numbers in files stay those of the input, halves go by them."""
    images = read_particles(particles).read(np.arange(40))
    images[7] = 3.0
    write_mrc_stack(tmp_path / "some.mrcs", images, 10.0)
    with pytest.raises(DataError, match="image 8"):
        run_alignment(tmp_path / "some.mrcs", tmp_path / "out", RFA)
    outcome = run_alignment(tmp_path / "some.mrcs", tmp_path / "out", replace(MRA, on_bad_image="skip"), references=2)
    assert outcome.record["counts"]["by_reason"]["bad_image"] == 1
    members = np.concatenate(read_particles(tmp_path / "out" / "aqm000.hdf").attributes["members"])
    assert sorted(members) == [i for i in range(40) if i != 7]
    assert read_table(tmp_path / "out" / "mref_parameters.txt")[7, 5] == -1


def test_small_classes_are_filled_in_the_open(particles: Path, tmp_path: Path) -> None:
    """Definition: the record counts them, and sizes never are below the least."""
    outcome = run_alignment(
        particles, tmp_path / "out", replace(MRA, min_size=24, equal_first=0), references=4, threads=2
    )
    passes = outcome.record["iterations"]
    assert any(one["reseeded"] for one in passes)
    log = (tmp_path / "out" / "logs" / "run.log").read_text()
    for one in passes:
        assert min(one["sizes"]) >= 12
        for r in one["reseeded"]:
            assert f"class {r['label']} had {r['left']}, takes {r['taken']} of class {r['source']}" in log


def test_members_can_be_taken_as_of_a_run(particles: Path, tmp_path: Path) -> None:
    """Definition: what reads finished classifications reads this one, with its poses."""
    run_alignment(particles, tmp_path / "out", MRA, references=4, threads=2)
    found = read_finished(tmp_path / "out")
    rows = read_table(tmp_path / "out" / "mref_parameters.txt")
    assert np.array_equal(found.class_of, rows[:, 5] + 1)
    np.testing.assert_allclose(found.poses.shift_px, rows[:, 2:4], atol=1e-5)  # six decimals, twice
    assert found.ratio == 1


def test_frcs_are_written_as_the_original_writes_them(tmp_path: Path) -> None:
    """Definition: three columns of ``"  %12f"``."""
    aligned_files.write_frc(tmp_path / "frc", np.array([1.0, 0.5, -0.25]), 4)
    assert (tmp_path / "frc").read_text().splitlines()[1] == "      0.250000      0.500000      8.000000"


def test_an_automatic_radius_is_estimated_and_leaves_room_for_shifts(particles: Path, tmp_path: Path) -> None:
    """Definition: that of a classification where it fits, less where shifts would leave the box."""
    assert aligning.largest_radius(64, Multireference(xr="0")) == 30
    assert aligning.largest_radius(64, Multireference()) == 28
    assert aligning.largest_radius(65, ReferenceFree()) == 28
    found = read_particles(particles)
    estimate = estimated_radius(found, np.arange(100), 2)
    for xr, name in (("1", "near"), ("8", "far")):
        outcome = run_alignment(particles, tmp_path / name, ReferenceFree(xr=xr, maxit=1), threads=2)
        assert outcome.record["settings"]["radius"] == min(estimate, 15 - int(xr))
        assert "estimated" in outcome.record["automatic"]["radius"]
