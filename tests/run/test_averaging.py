"""Full-size averages of finished runs: the original's, ours, interrupted, with every setting."""

import csv
import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cryoisac.engine.moving import Moving, transform
from cryoisac.errors import CryoisacError, DataError, RunError, SettingError
from cryoisac.io.eman_hdf import write_hdf_stack
from cryoisac.io.eman_header import EmanCtf
from cryoisac.io.eman_stack import HdfStack
from cryoisac.io.mrc import MrcStack
from cryoisac.io.mrc_write import write_mrc_stack
from cryoisac.io.star import read_star
from cryoisac.io.star_text import read_tables
from cryoisac.ops.masks import circle
from cryoisac.ops.resample import resample
from cryoisac.products.classification import read_classification
from cryoisac.products.pairs import align_pairs
from cryoisac.settings import Averaging, Isac, Simulation
from cryoisac.simulation.density import procedural
from cryoisac.simulation.files import simulate
from cryoisac.simulation.images import ParticleImages
from cryoisac.simulation.particles import draw
from cryoisac.workflow.averaging import run_average
from cryoisac.workflow.isac import run_isac
from tests.run.conftest import contents
from tests.test_docs import DOCS, first_cells, numberless

BOX = 48
SIMULATION = Simulation(views=3, per_view=30, box=BOX, pixel_size=7.0, snr=0.5, ctf=True, max_shift=1.5, seed=2)


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("simulated")
    simulate(folder, SIMULATION)
    return folder


@pytest.fixture(scope="module")
def radius_px(simulated: Path) -> int:
    return round(json.loads((simulated / "simulation.json").read_text())["radius_px"])


@pytest.fixture(scope="module")
def classified(simulated: Path, radius_px: int) -> Path:
    """A run whose working images are less than half as large as the particles."""
    home = simulated / "isac"
    settings = Isac(
        radius=radius_px,
        img_per_grp=30,
        minimum_grp_size=10,
        ctf=True,
        target_radius=9,
        target_nx=24,
        max_shift=2.0,
        starts=2,
    )
    run_isac(simulated / "particles.star", home, settings, threads=1)
    return home


@pytest.fixture(scope="module")
def averaged(classified: Path) -> Path:
    run_average(classified, classified.parent / "plain", Averaging(pw_adjustment="no_adjustment"), threads=1)
    return classified.parent / "plain"


@pytest.fixture(scope="module")
def astray(averaged: Path) -> Path:
    """The same classes, their members two pixels off."""
    folder = averaged.parent / "astray"
    shutil.copytree(averaged, folder)
    rows = np.loadtxt(folder / "init_isac_params.txt")
    rows[:, 2:4] += np.random.default_rng(0).normal(0, 2, (len(rows), 2))
    np.savetxt(folder / "init_isac_params.txt", rows, fmt=["%d", "%.6f", "%.6f", "%.6f", "%d", "%.1f"])
    return folder


@pytest.fixture(scope="module")
def usual_averages(tmp_path_factory: pytest.TempPathFactory) -> dict[Averaging, np.ndarray]:
    """What the first class came to by settings that several tests begin with."""
    return {}


def first_class(run: Path, out: Path, settings: Averaging) -> np.ndarray:
    run_average(run, out, dataclasses.replace(settings, navg=1), threads=1)
    return images(out)


def images(directory: Path) -> np.ndarray:
    stack = MrcStack(directory / "class_averages.mrcs")
    return stack.read(np.arange(len(stack)))


def record(directory: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((directory / "run.json").read_text())
    return found


def clean_projections() -> np.ndarray:
    molecule = procedural(box_px=BOX, pixel_size_A=SIMULATION.pixel_size, seed=SIMULATION.seed)
    truth = draw(SIMULATION, molecules=1)
    first = np.array([np.flatnonzero(truth.view == v)[0] for v in range(SIMULATION.views)])
    return ParticleImages((molecule,), SIMULATION, truth).clean(first)


def best_likeness(averages: np.ndarray, radius: float) -> np.ndarray:
    """Return how alike each average is to the clean projection that is most like it, in its best pose."""
    clean, k = clean_projections(), len(averages)
    pairs = align_pairs(np.concatenate((averages, clean)), range_px=4, radius_px=radius)
    return pairs.similarity[:k, k:].max(axis=1)


def test_they_show_more_than_working_averages(classified: Path, averaged: Path, radius_px: int) -> None:
    """Known truth: at full size, averages are more like the clean projections than those of working size enlarged."""
    small = MrcStack(classified / "class_averages.mrcs")
    working = small.read(np.arange(len(small)))
    ratio = read_classification(classified).ratio
    large = resample(working, 1 / ratio, BOX)
    before, after = best_likeness(large, radius_px), best_likeness(images(averaged), radius_px)
    assert after.min() > before.max()
    assert after.min() > 0.9
    assert all(c["resolution_A"] is not None for c in record(averaged)["classes"])


def test_stand_ins_of_the_originals_particles_give_its_averages(shared: Path, tmp_path: Path) -> None:
    """Independent program: each average of SPHIRE's ISAC, moved back by SPHIRE's poses, comes forth from them again."""
    golden = shared / "data" / "eman2" / "isac_tiny"
    found = read_classification(golden)
    stack = HdfStack(golden / "class_averages.hdf")
    averages = resample(stack.read(np.arange(len(stack))), 1 / found.ratio, 64)
    disc = circle(found.radius_px or 0.0, 64)
    averages = np.where(disc, averages - averages[:, ~disc].mean(axis=1)[:, None, None], 0).astype(np.float32)
    particles = np.random.default_rng(0).normal(scale=1e-3, size=(len(found.accounted), 64, 64)).astype(np.float32)
    for average, members in zip(averages, found.members, strict=True):
        copies = np.repeat(average[None], len(members), axis=0)
        moving = Moving(method="fourier", outside=0.0)
        particles[members] += transform(copies, found.poses[members].inverse(), moving=moving)
    write_mrc_stack(tmp_path / "stand_ins.mrcs", particles, 4.0)
    settings = Averaging(no_ctf=True, pw_adjustment="no_adjustment")
    run_average(golden, tmp_path / "out", settings, stack=tmp_path / "stand_ins.mrcs", threads=1)
    inner = circle((found.radius_px or 0.0) - 2, 64)
    for made, average in zip(images(tmp_path / "out"), averages, strict=True):
        assert np.corrcoef(made[inner], average[inner])[0, 1] > 0.99


def test_the_files_of_sphire(classified: Path, averaged: Path) -> None:
    """Definition: the layout that SPHIRE's tools read, and what our reader makes of it."""
    whole, found = read_classification(classified), read_classification(averaged)
    assert found.kind == "averages"
    assert found.ratio == 1
    assert np.array_equal(found.number, whole.number)
    assert all(np.array_equal(a, b) for a, b in zip(found.members, whole.members, strict=True))
    assert np.abs(found.poses.rows() - whole.poses.rows()).max() < 1e-5
    rows = np.loadtxt(averaged / "init_isac_params.txt")
    assert rows.shape == (whole.size.sum(), 6)
    assert np.array_equal(rows[:, 0], np.sort(np.concatenate(whole.members)))
    assert (rows[:, 5] == 1).all()
    for c, members in enumerate(whole.members):
        own = np.loadtxt(averaged / "params_avg" / f"params_avg_{c:03d}.txt")
        assert np.abs(own[:, :4] - whole.poses[members].rows()).max() < 1e-5
    frequencies = np.loadtxt(averaged / "FH_list.txt")
    assert np.array_equal(frequencies[:, 0], np.arange(len(whole.number)))
    assert not (averaged / "ali2d_local_params.txt").exists()
    stack = HdfStack(averaged / "class_averages.hdf")
    assert stack.column("n_objects") == whole.size.tolist()
    assert stack.column("apix_x")[0] == pytest.approx(7.0)


def test_tables_tell_what_the_record_tells(averaged: Path) -> None:
    """Definition: resolution.csv, frc.csv, the STAR table and run.json hold the same numbers."""
    classes = record(averaged)["classes"]
    with (averaged / "resolution.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(r["class"]) for r in rows] == [c["class"] for c in classes]
    assert [float(r["resolution_A"]) for r in rows] == [c["resolution_A"] for c in classes]
    table = read_tables(averaged / "class_averages.star")["model_classes"]
    assert table.floats("rlnEstimatedResolution") == pytest.approx([c["resolution_A"] for c in classes], abs=1e-3)
    curves = np.genfromtxt(averaged / "frc.csv", delimiter=",", skip_header=1)
    assert curves[:, 0].tolist() == list(range(BOX // 2 + 1))
    assert curves[1:, 2] == pytest.approx(7.0 * BOX / curves[1:, 0], abs=1e-3)
    assert curves[:, 3] == pytest.approx(classes[0]["frc"], abs=1e-4)
    members = read_star(averaged / "classified.star").particles
    assert len(members) == sum(c["members"] for c in classes)


def test_local_alignment_writes_poses_that_can_be_read(classified: Path, tmp_path: Path) -> None:
    """Definition: refined poses lie within the range of those given, and are what the reader takes."""
    run_average(classified, tmp_path / "out", Averaging(local_alignment=True, xr=4.0), threads=1)
    rows = np.loadtxt(tmp_path / "out" / "ali2d_local_params.txt")
    found, whole = read_classification(tmp_path / "out"), read_classification(classified)
    images_ = rows[:, 0].astype(int)
    assert np.abs(found.poses[images_].rows() - rows[:, 1:]).max() < 1e-5
    moves = whole.poses[images_].inverse().then(found.poses[images_])
    assert 0.05 < np.hypot(*moves.shift_px.T).max() < 6.0  # 4 px, and what a half moves as a whole
    one = np.loadtxt(tmp_path / "out" / "ali2d_local_params_avg" / "ali2d_local_params_avg_000.txt")
    assert one.shape == (len(whole.members[0]), 4)
    files = [p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*") if p.is_file()]
    assert {numberless(name) for name in files} == set(
        first_cells(DOCS / "files.md", "What averages at full size write")
    )
    assert {c["rounds"] for c in record(tmp_path / "out")["classes"]} <= set(range(1, 6))


LOCAL = Averaging(local_alignment=True, maxit=1)


@pytest.mark.parametrize(
    ("usual", "option"),
    [
        (Averaging(), {"pw_adjustment": "no_adjustment"}),
        (Averaging(), {"pw_adjustment": "bfactor"}),
        (Averaging(), {"pixel_size": 5.0}),
        (Averaging(), {"radius": 15.0}),
        (Averaging(), {"fl": 0.05}),
        (Averaging(), {"lowpass": 80.0}),
        (Averaging(), {"local_alignment": True}),
        (Averaging(), {"no_ctf": True}),
        (Averaging(), {"rand_seed": 1}),
        (Averaging(pw_adjustment="bfactor"), {"B_start": 90.0}),
        (Averaging(pw_adjustment="bfactor"), {"Bfactor": 500.0}),
        (LOCAL, {"xr": 6.0}),
        (dataclasses.replace(LOCAL, xr=6.0), {"ts": 6.0}),
        (LOCAL, {"maxit": 3}),
        (LOCAL, {"fh": 0.1}),
        (LOCAL, {"fl": 1.0}),
    ],
    ids=lambda v: "-".join(f"{n}={x}" for n, x in v.items()) if isinstance(v, dict) else "",
)
def test_every_setting_changes_the_averages(
    astray: Path, tmp_path: Path, usual_averages: dict[Averaging, np.ndarray], usual: Averaging, option: dict[str, Any]
) -> None:
    """Invariance that must not be."""
    if usual not in usual_averages:
        usual_averages[usual] = first_class(astray, tmp_path / "usual", usual)
    other = first_class(astray, tmp_path / "other", dataclasses.replace(usual, **option))
    assert other.shape == (1, BOX, BOX)  # navg: one of three
    assert np.abs(other - usual_averages[usual]).max() > 1e-4 * np.abs(other).max()


def test_a_measured_spectrum(classified: Path, tmp_path: Path) -> None:
    """Definition: a file's first column is the power that averages get; one that is none is refused."""
    np.savetxt(tmp_path / "power.txt", np.stack((np.exp(-np.arange(40) / 5), np.arange(40)), axis=1))
    run_average(classified, tmp_path / "out", Averaging(pw_adjustment=str(tmp_path / "power.txt"), navg=1), threads=1)
    run_average(classified, tmp_path / "model", Averaging(navg=1), threads=1)
    assert np.corrcoef(images(tmp_path / "out").ravel(), images(tmp_path / "model").ravel())[0, 1] < 0.99
    np.savetxt(tmp_path / "short.txt", np.ones(5))
    for name, error in (("short.txt", CryoisacError), ("none.txt", SettingError)):
        with pytest.raises(error, match=r"rows|no file"):
            run_average(classified, tmp_path / "no", Averaging(pw_adjustment=str(tmp_path / name)), threads=1)
    assert not (tmp_path / "no").exists()


def test_threads_and_interruptions_do_not_matter(
    classified: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Invariance: killed after a class and continued on other threads, every file is the same, bit for bit."""
    settings = Averaging(local_alignment=True, maxit=1)
    run_average(classified, tmp_path / "whole", settings, threads=1)
    from cryoisac.run import averaging

    once, count = averaging.average_class, iter(range(9))

    def killed(*args: Any) -> Any:
        if next(count) == 1:
            raise KeyboardInterrupt
        return once(*args)

    monkeypatch.setattr(averaging, "average_class", killed)
    with pytest.raises(KeyboardInterrupt):
        run_average(classified, tmp_path / "killed", settings, threads=2)
    assert len(list((tmp_path / "killed" / "state").glob("class_*.npz"))) == 1
    assert record(tmp_path / "killed")["status"] == "running"
    done: list[int] = []
    monkeypatch.setattr(averaging, "average_class", lambda *args: done.append(args[1].number) or once(*args))
    assert not run_average(classified, tmp_path / "killed", settings, threads=2).already
    assert done == [2, 3]
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")
    before = contents(tmp_path / "whole")
    assert run_average(classified, tmp_path / "whole", settings, threads=1).already
    assert contents(tmp_path / "whole") == before


@pytest.mark.parametrize(
    ("given", "flag"),
    [
        ({"xr": 2.0}, "--xr"),
        ({"ts": 0.5}, "--ts"),
        ({"maxit": 2}, "--maxit"),
        ({"fh": 0.2}, "--fh"),
        ({"B_start": 20.0}, "--B-start"),
        ({"Bfactor": 100.0, "pw_adjustment": "no_adjustment"}, "--Bfactor"),
        ({"fl": 0.6}, "--fl"),
        ({"fl": 0.2, "lowpass": 10.0}, "--lowpass"),
    ],
)
def test_settings_that_would_do_nothing_are_refused(given: dict[str, Any], flag: str) -> None:
    """Definition: each with a sentence that says what it needs."""
    with pytest.raises(SettingError, match=f"^{flag}: ") as caught:
        Averaging(**given)
    assert "\n" not in str(caught.value)


def test_directories_that_are_not_free(classified: Path, averaged: Path, tmp_path: Path) -> None:
    """Definition: averages of other settings, a classification, the run itself, or somebody's files."""
    with pytest.raises(RunError, match=r"--pw-adjustment \(then no_adjustment, now bfactor\)"):
        run_average(classified, averaged, Averaging(pw_adjustment="bfactor"), threads=1)
    with pytest.raises(RunError, match="the classification itself"):
        run_average(classified, classified, Averaging(), threads=1)
    with pytest.raises(RunError, match="holds a classification"):
        run_average(averaged, classified, Averaging(), threads=1)
    with pytest.raises(RunError, match="another command"):
        run_isac(classified.parent / "particles.star", averaged, Isac(), threads=1)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(RunError, match="letter"):
        run_average(classified, tmp_path / "mine", Averaging(), threads=1)


def test_averages_of_averages(averaged: Path, tmp_path: Path) -> None:
    """Invariance: averages made anew from averages are the same."""
    run_average(averaged, tmp_path / "again", Averaging(pw_adjustment="no_adjustment"), threads=1)
    first, again = images(averaged), images(tmp_path / "again")
    assert np.abs(first - again).max() < 1e-3 * np.abs(first).max()  # poses are written with six decimals


def test_particles_that_do_not_do(classified: Path, simulated: Path, shared: Path, tmp_path: Path) -> None:
    """Definition: each is refused with a sentence before anything is written."""
    stack = simulated / "particles.mrcs"
    n = len(MrcStack(stack))
    out = tmp_path / "out"
    with pytest.raises(DataError, match="--no-ctf"):
        run_average(classified, out, Averaging(), stack=stack, threads=1)
    write_mrc_stack(tmp_path / "few.mrcs", np.zeros((5, BOX, BOX), dtype=np.float32), 7.0)
    with pytest.raises(DataError, match=f"{n} images, not 5"):
        run_average(classified, out, Averaging(), stack=tmp_path / "few.mrcs", threads=1)
    with pytest.raises(RunError, match="--stack"):
        run_average(shared / "data" / "eman2" / "isac_tiny", out, Averaging(), threads=1)
    with pytest.raises(SettingError, match="has room for"):
        run_average(classified, out, Averaging(radius=40.0), threads=1)
    text = (simulated / "particles.star").read_text()
    for flag, more, word in (
        ("rlnCtfDataAreCtfPremultiplied", {"local_alignment": True}, "multiplied by their CTF"),
        ("rlnImagePixelSize", {}, "pixel"),
    ):
        path = simulated / f"{flag}.star"
        path.write_text(_flagged(text, flag))
        if word == "pixel":
            continue
        with pytest.raises(DataError, match=word):
            run_average(classified, out, Averaging(**more), stack=path, threads=1)
    assert not out.exists()


def _flagged(text: str, name: str) -> str:
    """Return a STAR file with a column of ones more in its optics table."""
    lines, inside = [], False
    for line in text.splitlines():
        inside = line.startswith("data_optics") or (inside and not line.startswith("data_"))
        words = line.split()
        if inside and words and not line.startswith(("data_", "loop_", "_", "#")):
            line += " 1"
        lines.append(line)
    heads = [i for i, line in enumerate(lines) if line.startswith("_")]
    first = next(i for i in range(len(heads)) if heads[i + 1] != heads[i] + 1)
    lines.insert(heads[first] + 1, f"_{name} #{first + 2}")
    return "\n".join(lines) + "\n"


def test_headers_that_do_not_say_what_was_done(tmp_path: Path, classified: Path, simulated: Path) -> None:
    """Definition: ctf_applied of SPHIRE may mean flipped or multiplied: refused, but without CTF."""
    stack = MrcStack(simulated / "particles.mrcs")
    pixels = stack.read(np.arange(len(stack)))
    ctf = EmanCtf(1.5, 0.0, 0.0, 0.0, 10.0, 300.0, 2.7, 7.0)
    headers = [{"ctf": ctf, "ctf_applied": 1}] * len(pixels)
    write_hdf_stack(tmp_path / "applied.hdf", pixels, 7.0, headers)
    with pytest.raises(DataError, match="ctf_applied says"):
        run_average(classified, tmp_path / "out", Averaging(), stack=tmp_path / "applied.hdf", threads=1)
    settings = Averaging(no_ctf=True, navg=1)
    run_average(classified, tmp_path / "out", settings, stack=tmp_path / "applied.hdf", threads=1)


@pytest.mark.parametrize("local", [False, True])
def test_boxes_of_odd_side(tmp_path: Path, local: bool) -> None:
    """Known truth: the centre of an odd box is its middle pixel, where averages lie on the clean projection."""
    settings = dataclasses.replace(SIMULATION, box=47, views=1, per_view=40)
    simulate(tmp_path, settings)
    molecule = procedural(box_px=47, pixel_size_A=settings.pixel_size, seed=settings.seed)
    truth = draw(settings, molecules=1)
    images_ = ParticleImages((molecule,), settings, truth)
    average = np.zeros((1, 47, 47), dtype=np.float32)
    folder = tmp_path / "classes"
    folder.mkdir()
    rows = np.column_stack((np.arange(40), truth.poses.rows(), np.ones(40)))
    np.savetxt(folder / "init_isac_params.txt", rows, fmt="%.6f")
    write_hdf_stack(folder / "class_averages.hdf", average, 7.0, [{"members": np.arange(40, dtype=np.int32)}])
    chosen = Averaging(radius=17.0, local_alignment=local, pw_adjustment="no_adjustment")
    run_average(folder, tmp_path / "out", chosen, stack=tmp_path / "particles.star", threads=1)
    disc = circle(17, 47)
    clean = images_.clean(np.array([0]))[0]
    assert np.corrcoef(images(tmp_path / "out")[0][disc], clean[disc])[0, 1] > 0.97


def test_flipped_particles_are_told_by_their_table(classified: Path, simulated: Path, tmp_path: Path) -> None:
    """Invariance that must not be: the same pixels, called phase-flipped, are averaged otherwise."""
    path = simulated / "flipped.star"
    path.write_text(_flagged((simulated / "particles.star").read_text(), "rlnCtfDataArePhaseFlipped"))
    for name, stack in (("raw", None), ("flipped", path)):
        run_average(classified, tmp_path / name, Averaging(navg=1), stack=stack, threads=1)
    a, b = images(tmp_path / "raw"), images(tmp_path / "flipped")
    assert np.abs(a - b).max() > 0.01 * np.abs(a).max()


def test_the_page(averaged: Path) -> None:
    """Definition: every class with its resolution, curves, both sizes, no other file needed."""
    page = (averaged / "report.html").read_text(encoding="utf-8")
    for c in record(averaged)["classes"]:
        assert f"Class {c['class']}: {c['members']} members, resolution {c['resolution_A']:.1f} Å" in page
        assert f'alt="Class {c["class"]} as classified"' in page
    assert "<svg" in page
    assert 'src="http' not in page
    assert str(averaged) not in page
