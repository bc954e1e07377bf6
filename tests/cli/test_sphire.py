"""The originals' command lines: every option, and what it does."""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import h5py
import numpy as np
import pytest

from cryoisac.cli import launch, sphire
from cryoisac.cli import main as cli
from cryoisac.cli.sphire import CPU, GPU, Program, command_of, settings_from, settings_of, spelling
from cryoisac.cluster.generation import Bench, play_round, search_of, start_generation
from cryoisac.comm import Serial
from cryoisac.engine.contract import Search
from cryoisac.engine.devices import USUAL, Devices
from cryoisac.engine.native import NativeEngine
from cryoisac.io.mrc import MrcStack
from cryoisac.io.mrc_write import write_mrc_stack
from cryoisac.io.registry import read_particles
from cryoisac.io.text_tables import read_table
from cryoisac.ops import fourier
from cryoisac.ops.ctf import phase_flip
from cryoisac.ops.masks import circle, normalise_inside
from cryoisac.ops.polar import Rings
from cryoisac.run import isac2_needs
from cryoisac.settings import Isac, Simulation, describe
from cryoisac.simulation.files import simulate
from tests.run.conftest import contents

SMALL = ("--radius=12", "--img_per_grp=20", "--minimum_grp_size=8", "--target_radius=12", "--target_nx=36")
QUICK = (*SMALL, "--maxit=12", "--init_iter=2", "--rand_seed", "3")
VARIED = (
    *("--radius=11", "--img_per_grp=25", "--minimum_grp_size=11", "--target_radius=10", "--target_nx=40", "--xr=3"),
    *("--thld_err=0.3", "--maxit=12", "--init_iter=1", "--skip_prealignment", "--skip_ordering", "--main_iter_limit=1"),
)
RANKS = {"OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_RANK": "0"}
by_program = pytest.mark.parametrize("program", [GPU, CPU], ids=lambda p: p.name)
Capture = pytest.CaptureFixture[str]


def given(*words: str, program: Program = GPU) -> Isac:
    """Return the settings that a command line means."""
    command = command_of(program)
    return settings_from(command.make_context(program.name, ["stack.hdf", "out", "--radius=29", *words]).params)


def called(*words: object, program: Program = GPU) -> int:
    """Run a program and return its exit status."""
    return sphire.run(program, [str(word) for word in words])


def record_of(directory: Path) -> dict[str, Any]:
    """Return what a run says of itself."""
    found: dict[str, Any] = json.loads((directory / "run.json").read_text())
    return found


@pytest.fixture(scope="module")
def particles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A STAR file of 100 particles of 32 px in five views."""
    folder = tmp_path_factory.mktemp("particles")
    simulate(folder, Simulation(views=5, per_view=20, box=32, pixel_size=10.0, snr=1.0, max_shift=1.0, ctf=True))
    return folder / "particles.star"


@pytest.fixture(scope="module")
def base(particles: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with few options."""
    directory = tmp_path_factory.mktemp("sphire") / "base"
    assert called(particles, directory, *QUICK, program=CPU) == 0
    return directory


@pytest.fixture(scope="module")
def varied(particles: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with many other options."""
    directory = tmp_path_factory.mktemp("sphire") / "varied"
    assert called(particles, directory, *VARIED) == 0
    return directory


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What ``play`` would be asked for; nothing is run."""
    seen: dict[str, Any] = {}

    def play(particles: Path, directory: Path, settings: Isac, **rest: Any) -> None:
        seen.update(rest, particles=particles, directory=directory, settings=settings)

    monkeypatch.setattr(sphire, "play", play)
    return seen


def refused(capsys: Capture, *words: object, program: Program = GPU) -> str:
    """Return the one line with which a command line is refused, after checking that there is nothing else."""
    status = called(*words, program=program)
    said = capsys.readouterr()
    assert status in (1, 2)
    assert said.out == ""
    assert said.err.startswith("Error: ")
    assert said.err.count("\n") == 1
    return said.err


# The command line


@by_program
def test_every_setting_of_the_method_is_an_option(program: Program) -> None:
    """Definition: all of isac2 and those of both methods, but the method itself; nothing of the likelihood method."""
    names = {d.name for d in settings_of(program)}
    assert names == {d.name for d in describe(Isac) if d.method != "likelihood"} - {"method"}


@by_program
def test_every_option_reaches_its_setting(program: Program) -> None:
    """Definition: another value than the default is what the settings hold; with = or as a word of its own."""
    for d in settings_of(program):
        if d.name in ("radius", "filament_mask_ignore"):  # the latter needs a filament
            continue
        if d.type is bool:
            words, value = [spelling(d)], True
        elif d.setting.choices:
            value = next(c for c in d.setting.choices if c != d.default)
            words = [spelling(d), value]
        else:
            value = d.type(d.setting.at_least + 1 if d.default == d.setting.at_least else d.setting.at_least)
            value = {"FH": 0.3, "target_nx": 70, "img_per_grp": 300}.get(d.name, value)
            words = [f"{spelling(d)}={value}"]
        for attempt in ([words[0], *words[1:]], ["=".join(words)] if len(words) > 1 else words):
            assert getattr(given(*attempt, program=program), d.name) == value, d.name


def test_defaults_are_those_of_each_original() -> None:
    """Definition: isac2 section 12, with the group sizes of each program; centring as in docs/parity.md."""
    gpu, cpu = given(), given(program=CPU)
    assert (gpu.img_per_grp, gpu.minimum_grp_size) == (None, None)
    assert (cpu.img_per_grp, cpu.minimum_grp_size) == (200, 60)
    assert replace(gpu, img_per_grp=200, minimum_grp_size=60) == cpu
    expected = {
        **{"xr": 1, "yr": None, "ts": 1.0, "ir": 1, "rs": 1, "thld_err": 0.7, "target_radius": 29, "target_nx": 76},
        **{"maxit": 30, "dst": 90, "FL": 0.2, "FH": 0.45, "FF": 0.2, "init_iter": 7, "iter_reali": 1, "stab_ali": 5},
        **{"main_iter_limit": None, "delta_good": 0, "ctf": False, "skip_prealignment": False, "skip_ordering": False},
        **{"center_method": -1, "method": "isac2"},
    }
    assert {name: getattr(gpu, name) for name in expected} == expected


@by_program
def test_minus_one_is_automatic(program: Program) -> None:
    """Definition: for the group sizes, yr and main_iter_limit; for center_method it is a method."""
    words = ("--img_per_grp=-1", "--minimum_grp_size", "-1", "--yr=-1", "--main_iter_limit=-1", "--center_method=-1")
    found = given(*words, program=program)
    assert (found.img_per_grp, found.minimum_grp_size, found.yr, found.main_iter_limit) == (None,) * 4
    assert found.center_method == -1


def test_names_may_be_begun_and_spelled_otherwise() -> None:
    """Definition: as the originals' parser takes a unique beginning; and - for _, in any case."""
    assert given("--img=50", "--min", "20", "--fl", "0.1", "--stab-ali=3", "--ctf") == given(
        "--img_per_grp=50", "--minimum_grp_size=20", "--FL=0.1", "--stab_ali=3", "--CTF"
    )


def test_old_command_lines_mean_what_they_meant(asked: dict[str, Any]) -> None:
    """Definition: options before, between and after the files."""
    words = "--radius=29 bdb:particles --CTF out --gpu_devices=0,1 --img_per_grp=100 --minimum_grp_size=60"
    assert called(*words.split()) == 0
    assert (str(asked["particles"]), str(asked["directory"])) == ("bdb:particles", "out")
    assert (asked["restart"], asked["without"] != "") == (None, True)
    expected = Isac(method="isac2", radius=29, ctf=True, img_per_grp=100, minimum_grp_size=60)
    assert asked["settings"] == expected


def test_help_names_every_option(capsys: Capture) -> None:
    """Definition: -h and --help, in the originals' spelling."""
    assert called("-h") == 0
    text = capsys.readouterr().out
    assert called("--help") == 0
    assert capsys.readouterr().out == text
    for d in settings_of(GPU):
        assert f"  {spelling(d)}" in text
    for name in ("--restart [K]", "--gpu_devices LIST", "--gpu_memory_use X", "--gpu_info", "--threads N"):
        assert f"  {name}" in text
    assert "required" in text
    assert "likelihood" not in text


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["s", "o"], "--radius is required, as in the original"),
        (["s", "o", "--radius=0"], "--radius: is 0; must be at least 1"),
        ([], "usage: sp_isac2_gpu.py stack_file [output_directory]"),
        (["s", "o", "p", "--radius=29"], "usage: sp_isac2_gpu.py stack_file [output_directory]"),
        (["s", "--raduis=29"], "no option --raduis; the nearest is --radius"),
        (["s", "--radius=29", "--maxiter=3"], "no option --maxiter; the nearest is --maxit"),
        (["s", "--radius=29", "--r=3"], "--r may be --radius or --rs or"),
        (["s", "--radius=29", "--gpu_class_limit"], "--gpu_class_limit is no option of the original either"),
        (["s", "--radius=29", "--gpu_devices=0,x"], "--gpu_devices: is '0,x'; give the numbers"),
        (["s", "--radius=29", "--gpu_devices=0,-1"], "--gpu_devices"),
        (["s", "--radius=29", "--gpu_devices=1,1"], "--gpu_devices"),
        (["s", "--radius=29", "--gpu_memory_use=0"], "--gpu_memory_use: is 0; give a share"),
        (["s", "--radius=29", "--gpu_memory_use=1.5"], "more than 0 and at most 1"),
        (["s", "--radius=29", "--restart=-2"], "--restart -2 is no main iteration"),
        (["s", "--radius=29", "--restart=first"], "--restart first is no main iteration"),
        (["s", "--radius=29", "--img_per_grp=50", "--minimum_grp_size=60"], "is 60, more than"),
        (["s", "--radius=29", "--img_per_grp=ten"], "'ten' is not a valid integer"),
        (["s", "--radius=29", "--max_shift=3"], "no option --max_shift"),
        (["no such stack", "--radius=29"], "no such stack"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes_are_one_line(
    words: list[str], part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """Definition: the sentence, and no directory."""
    monkeypatch.chdir(tmp_path)
    assert part in refused(capsys, *words)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif("vpp" not in {d.name for d in describe(Isac)}, reason="there is no such setting")
@by_program
def test_ctf_and_phase_plate_are_refused_together(program: Program, capsys: Capture) -> None:
    """Definition: by both programs, though the CPU program lets both through."""
    said = refused(capsys, "s", "o", "--radius=29", "--CTF", "--VPP", program=program)
    assert "--CTF" in said
    assert "--VPP" in said


# One process


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, (0, 1)),
        ({"OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_RANK": "2"}, (2, 4)),
        ({"PMI_SIZE": "3", "PMI_RANK": "0"}, (0, 3)),
        ({"MPI_LOCALNRANKS": "2", "MPI_LOCALRANKID": "1"}, (1, 2)),
        ({"SLURM_NTASKS": "8", "SLURM_PROCID": "0"}, (0, 1)),  # a batch script
        ({"SLURM_NTASKS": "8", "SLURM_PROCID": "5", "SLURM_STEP_ID": "0"}, (5, 8)),
        ({"SLURM_NTASKS": "8", "SLURM_PROCID": "0", "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "1"}, (0, 1)),
        ({"OMPI_COMM_WORLD_SIZE": "1", "OMPI_COMM_WORLD_RANK": "0"}, (0, 1)),
        ({"PMI_SIZE": "x", "PMI_RANK": "0"}, (0, 1)),
    ],
)
def test_launchers_are_known(environment: dict[str, str], expected: tuple[int, int]) -> None:
    """Definition: rank and number of processes, as Open MPI, MPICH, hydra and Slurm tell them."""
    assert launch.rank_and_size(environment) == expected


@pytest.mark.parametrize("run", [lambda: called("s", "o"), lambda: cli.run(["isac", "s", "o"])], ids=["sphire", "isac"])
def test_several_processes_are_refused_by_the_first(
    run: Callable[[], int], monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """Definition: one sentence of rank 0, silence of the others, the same status."""
    for name, value in RANKS.items():
        monkeypatch.setenv(name, value)
    assert run() == 2
    said = capsys.readouterr()
    assert said.err.startswith("Error: 4 processes were started; ")
    assert "--threads" in said.err
    assert said.err.count("\n") == 1
    monkeypatch.setenv("OMPI_COMM_WORLD_RANK", "3")
    assert run() == 2
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "")


def test_one_rank_is_welcome(asked: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Definition: mpirun with one process is as good as none."""
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "1")
    monkeypatch.setenv("OMPI_COMM_WORLD_RANK", "0")
    assert called("s", "o", "--radius=29") == 0
    assert asked["settings"].radius == 29


# Files and directories


@pytest.mark.parametrize(
    ("program", "form"),
    [
        (GPU, r"ISAC_run_[A-Z][a-z]{2}-\d\d-\d{4}_\d\d:\d\d:\d\d"),
        (CPU, r"isac_directory_\d\d_[A-Z][a-z]{2}_\d{4}_\d\d_\d\d_\d\d"),
    ],
)
def test_a_directory_is_named_where_none_is_given(program: Program, form: str, asked: dict[str, Any]) -> None:
    """Definition: by date and time, in the form of each original."""
    assert called("stack.hdf", "--radius=29", program=program) == 0
    assert re.fullmatch(form, str(asked["directory"]))
    assert called("stack.hdf", "here/out", "--radius=29", program=program) == 0
    assert asked["directory"] == Path("here/out")


def test_an_interrupted_run_in_a_directory_without_a_given_name_tells_it(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """Definition: the same command alone would begin another run."""

    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(sphire, "play", interrupted)
    for words, told in ((["stack.hdf"], True), (["stack.hdf", "out"], False)):
        assert called(*words, "--radius=29") == cli.INTERRUPTED
        assert ("It needs the directory too: ISAC_run_" in capsys.readouterr().out) == told


def test_the_run_is_that_of_isac2(base: Path, particles: Path, tmp_path: Path, capsys: Capture) -> None:
    """Invariance: ``cryoisac isac --method isac2`` leaves the same files, but for the command lines."""
    assert cli.run(["isac", str(particles), str(tmp_path / "run"), "--method", "isac2", *QUICK]) == 0
    assert contents(tmp_path / "run") == contents(base)
    ours, theirs = (directory / "command.txt" for directory in (tmp_path / "run", base))
    assert ours.read_text() == f"cryoisac isac {particles} {tmp_path / 'run'} --method isac2 {' '.join(QUICK)}\n"
    assert theirs.read_text() == f"sp_isac2.py {particles} {base} {' '.join(QUICK)}\n"


def test_a_finished_run_is_left_alone(base: Path, particles: Path, capsys: Capture) -> None:
    """Definition: the same command again changes nothing, and says so."""
    before = contents(base) | {"command": (base / "command.txt").read_text()}
    assert called(particles, base, *QUICK, program=CPU) == 0
    assert "nothing was changed" in capsys.readouterr().out
    assert contents(base) | {"command": (base / "command.txt").read_text()} == before


@pytest.mark.parametrize("form", [["--restart"], ["--restart=0"], ["--restart", "0"], ["--restart=1"]], ids=" ".join)
def test_restart(form: list[str], base: Path, particles: Path, tmp_path: Path, capsys: Capture) -> None:
    """Invariance: from wherever it goes back to, a run comes to the same end; each call is written down."""
    directory = tmp_path / "run"
    shutil.copytree(base, directory)
    for name in ("isac.npz", "main001.npz"):
        (directory / "state" / name).unlink()
    if form == ["--restart=1"]:
        said = refused(capsys, *form, particles, directory, *QUICK, program=CPU)
        assert "main iteration 1 has not ended" in said
        return
    record = record_of(directory) | {"status": "running"}
    (directory / "run.json").write_text(json.dumps(record))
    assert called(*form, particles, directory, *QUICK, program=CPU) == 0
    assert contents(directory) == contents(base)
    assert len((directory / "command.txt").read_text().splitlines()) == 2


@pytest.mark.parametrize("form", ["--restart", "--restart=0", "--restart=2"])
def test_restart_needs_a_run(form: str, particles: Path, tmp_path: Path, capsys: Capture) -> None:
    """Definition: nothing can be continued that was not begun."""
    assert "needs a run that was started" in refused(capsys, particles, tmp_path / "new", form, *QUICK)
    assert not (tmp_path / "new").exists()


# Devices


def test_gpus_are_said_to_be_missing(particles: Path, base: Path, tmp_path: Path, capsys: Capture) -> None:
    """Definition: one line with the threads used instead, a warning in the record, and the same classes."""
    words = ("--gpu_devices=0,1", "--gpu_memory_use=0.5", "--threads=1")
    assert called(particles, tmp_path / "run", *QUICK, *words) == 0
    said = [line for line in capsys.readouterr().out.splitlines() if "GPU" in line]
    assert len(said) == 1
    assert "All is computed on the processor with 1 thread." in said[0]
    assert any("All is computed on the processor." in w for w in record_of(tmp_path / "run")["warnings"])
    same = ("all_parameters.txt", "class_averages.hdf", "ledger.csv")
    assert all((tmp_path / "run" / name).read_bytes() == (base / name).read_bytes() for name in same)
    assert not [w for w in record_of(base)["warnings"] if "GPU" in w]


@pytest.mark.parametrize("words", [["--gpu_devices="], [], ["--gpu_devices", "3"], ["--gpu_memory_use=1"]])
def test_gpus_reach_the_run(words: list[str], asked: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Definition: numbers and share of memory, on a machine that has GPUs; the usual device without numbers."""

    def choose(text: str, share: float) -> Devices:
        return Devices(names=(text,), memory_share=share)

    monkeypatch.setattr("cryoisac.engine.devices.choose_devices", choose)
    assert called("s", "o", "--radius=29", *words) == 0
    assert asked["devices"].names == (("cuda:3",) if "3" in words else (USUAL,))
    assert asked["devices"].memory_share == (1.0 if "--gpu_memory_use=1" in words else 0.9)
    assert asked["without"] == ""


def test_gpu_info_tells_what_is_needed(
    particles: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """Definition: machine, classes, memory, and the most classes that fit: they do, and one more does not."""
    monkeypatch.chdir(tmp_path)
    free = 272_000_000
    monkeypatch.setattr("cryoisac.workflow.isac.available_memory_bytes", lambda: free)
    assert called(particles, "--gpu_info", *QUICK) == 0
    rows = dict(re.findall(r"^(\w+) {2,}(.*)$", capsys.readouterr().out, re.MULTILINE))
    assert {"instructions", "threads", "memory", "particles", "classes", "needed", "limit"} <= set(rows)
    assert rows["classes"].startswith("5 of about 20 particles")
    assert list(tmp_path.iterdir()) == []
    most = int(rows["limit"].split()[0].replace(",", ""))
    assert 0 < most < 50
    from cryoisac.workflow.isac import needs

    plan = needs(particles, replace(given(*QUICK), radius=12)).plan
    taken = [isac2_needs.memory_bytes(100, k, plan.geometry, plan.settings) for k in (most, most + 1)]
    assert taken[0] <= free < taken[1]
    monkeypatch.setattr("cryoisac.workflow.isac.available_memory_bytes", lambda: 10 * free)
    assert called(particles, "--gpu_info", *QUICK) == 0
    assert "limit         any number of classes of these particles fit" in capsys.readouterr().out


# What the options do: in whole runs


def lines_of(directory: Path) -> list[float]:
    """Return what the lines 6 and 7 of the note on shrinking hold."""
    return [float(line) for line in (directory / "README_shrink_ratio.txt").read_text().splitlines()[5:7]]


def test_radius_and_target_radius_give_the_ratio(base: Path, varied: Path) -> None:
    """Definition: working pixels per input pixel, and the radius."""
    assert lines_of(base) == [1.0, 12.0]
    assert lines_of(varied) == [pytest.approx(10 / 11, abs=1e-5), 11.0]


def test_target_nx_and_xr_give_the_working_box(base: Path, varied: Path) -> None:
    """Definition: target_nx + xr - 1."""
    assert MrcStack(base / "working_stack.mrcs").shape == (100, 36, 36)
    assert MrcStack(varied / "working_stack.mrcs").shape == (100, 42, 42)
    assert MrcStack(varied / "class_averages.mrcs").shape[1:] == (42, 42)


def test_img_per_grp_gives_the_number_of_classes(base: Path, varied: Path) -> None:
    """Definition: images / img_per_grp."""
    assert [record_of(d)["generations"][0]["classes"] for d in (base, varied)] == [5, 4]


def test_automatic_group_sizes_are_those_of_the_gpu_program(particles: Path) -> None:
    """Definition: max(50, images / 200) and 0.6 of it."""
    from cryoisac.workflow.isac import needs

    settings = needs(particles, given("--radius=12", "--target_radius=12", "--target_nx=36")).plan.settings
    assert (settings.img_per_grp, settings.minimum_grp_size) == (50, 30)


def test_minimum_grp_size_bounds_the_classes(base: Path, varied: Path) -> None:
    """Definition: no class has fewer members; smaller ones are told as such."""
    for directory, least in ((base, 8), (varied, 11)):
        record = record_of(directory)
        assert record["settings"]["minimum_grp_size"] == least
        assert min(c["members"] for c in record["classes"]) >= least


def test_thld_err_bounds_the_pixel_errors(base: Path, varied: Path) -> None:
    """Definition: no member has more; without the tighter limit some have."""

    def errors(directory: Path) -> list[float]:
        rows = [line.split(",") for line in (directory / "ledger.csv").read_text().splitlines()[1:]]
        return [float(row[5]) for row in rows if int(row[2]) > 0]

    assert max(errors(varied)) < 0.3 < max(errors(base)) < 0.7


def test_init_iter_bounds_the_rounds(base: Path, varied: Path) -> None:
    """Definition: rounds of a generation."""
    assert max(g["rounds"] for g in record_of(base)["generations"]) == 2
    assert {g["rounds"] for g in record_of(varied)["generations"]} == {1}


def test_main_iter_limit_ends_the_run(varied: Path) -> None:
    """Definition: the limit is what ended it, and there is no second main iteration."""
    assert record_of(varied)["stopped_because"] == "The limit of main iterations, 1, was reached."
    assert not (varied / "main002").exists()


def test_skip_prealignment_takes_images_as_centred(base: Path, varied: Path) -> None:
    """Definition: no shifts, no averages of all particles."""
    assert np.abs(read_table(base / "2dalignment" / "initial2Dparams.txt")).max() > 0
    assert np.abs(read_table(varied / "2dalignment" / "initial2Dparams.txt")).max() == 0
    assert (base / "2dalignment" / "aqc.hdf").exists()
    assert not (varied / "2dalignment" / "aqc.hdf").exists()


def test_skip_ordering_leaves_averages_in_their_order(base: Path, varied: Path) -> None:
    """Definition: no ordered averages."""
    assert (base / "ordered_class_averages.hdf").exists()
    assert not (varied / "ordered_class_averages.hdf").exists()
    assert not (varied / "chains_params.txt").exists()


def test_ctf_flips_phases(particles: Path, base: Path, tmp_path: Path) -> None:
    """Invariance: as a run without it on images whose phases were flipped before."""
    whole = read_particles(particles)
    assert whole.ctf is not None
    assert whole.pixel_size_A is not None
    flipped = phase_flip(whole.read(np.arange(100)), whole.ctf, whole.pixel_size_A)
    write_mrc_stack(tmp_path / "flipped.mrcs", flipped, 10.0)
    words = (*QUICK, "--skip_prealignment", "--init_iter=1", "--main_iter_limit=1")
    stacks = []
    for name, stack, more in (("a", particles, ["--CTF"]), ("b", tmp_path / "flipped.mrcs", []), ("c", particles, [])):
        assert called(stack, tmp_path / name, *words, *more) == 0
        found = MrcStack(tmp_path / name / "working_stack.mrcs")
        stacks.append(found.read(np.arange(100))[:, circle(12, 36)])
    likeness = [np.median([np.corrcoef(x, y)[0, 1] for x, y in zip(stacks[0], s, strict=True)]) for s in stacks[1:]]
    # the background is measured before the flip by one and after it by the other, which moves a constant at most
    assert likeness[0] > 0.999 > 0.95 > likeness[1]


@pytest.mark.parametrize(("method", "away"), [(0, True), (1, False)])
def test_center_method_centres_the_average(method: int, away: bool, tmp_path: Path) -> None:
    """Known truth: particles that all lie 3 px off the centre; the first reference does so too, or is centred."""
    y, x = np.mgrid[:32, :32] - 16
    rng = np.random.default_rng(2)
    blob = np.exp(-((x - 3) ** 2 + y**2) / 12) + 0.5 * np.exp(-((x - 3) ** 2 + (y - 4) ** 2) / 4)
    stack = (5 * blob + rng.normal(size=(60, 32, 32))).astype(np.float32)
    write_mrc_stack(tmp_path / "off.mrcs", stack, 2.0)
    words = ("--main_iter_limit=1", "--init_iter=1", "--skip_ordering", f"--center_method={method}")
    assert called(tmp_path / "off.mrcs", tmp_path / "run", *QUICK, *words) == 0
    with h5py.File(tmp_path / "run" / "2dalignment" / "aqf.hdf") as file:
        first = file["MDF/images/0/image"][()]
    peak = np.unravel_index(first.argmax(), first.shape)[1] - 16
    assert (peak >= 2) == away
    assert abs(peak) <= 3


# What the options do: in one round, by what the engine is asked


class Listening:
    """An engine that writes down what it is asked for.

    Parameters
    ----------
    engine : NativeEngine
        Answers.
    heard : list
        Gets a tuple for each match: rows, search, references.
    """

    def __init__(self, engine: NativeEngine, heard: list[tuple[int, Search, np.ndarray]]) -> None:
        self._engine, self._heard = engine, heard

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def match(self, references: Any, labels: Any, images: Any, centres: Any, search: Search) -> Any:
        self._heard.append((len(images), search, np.array(references)))
        return self._engine.match(references, labels, images, centres, search)


def round_of(*words: str) -> tuple[list[str], list[tuple[int, Search, np.ndarray]], list[int]]:
    """Play a round on 40 images of noise, and return what it said, what it asked for, and what it drew."""
    settings = given("--radius=12", "--target_radius=12", "--target_nx=36", "--img_per_grp=20", *words)
    images = np.random.default_rng(4).normal(size=(40, 36, 36)).astype(np.float32)
    said: list[str] = []
    heard: list[tuple[int, Search, np.ndarray]] = []
    engine: Any = Listening(NativeEngine(normalise_inside(images, circle(12, 36)), threads=2), heard)
    bench = Bench(engine=engine, make_engine=NativeEngine, settings=settings, comm=Serial(), tick=said.append)
    start = start_generation(bench, np.arange(40), main=1, number=1)
    play_round(bench, start)
    return said, heard, [int(v) for v in np.round(1000 * start.references[:, 18, 18])]


def aligning(said: list[str]) -> list[str]:
    return [text for text in said if text.startswith("aligning")]


def test_fl_and_fh_give_the_cutoffs() -> None:
    """Definition: a pass each, from FL in steps of 0.05 while below FH."""
    said, _, _ = round_of("--FL=0.15", "--FH=0.32", "--maxit=2")
    assert [text.split()[2] for text in said if text.startswith("K-means")] == ["0.15", "0.20", "0.25", "0.30"]
    said, _, _ = round_of("--FL=0.3", "--FH=0.34", "--maxit=2")
    assert [text.split()[2] for text in said if text.startswith("K-means")] == ["0.30"]


def test_ff_gives_the_fall_of_the_filter() -> None:
    """Definition: the first averages inside classes, cut off at 0.1, hold nothing at 0.15 if the fall is steep."""
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(36), np.fft.fftfreq(36)))

    def above(word: str) -> float:
        _, heard, _ = round_of("--FL=0.2", "--FH=0.24", "--maxit=2", word)
        power = np.abs(np.fft.fft2(heard[1][2][0])) ** 2  # after the one pass of K-means
        return float(power[(frequency > 0.15) & (frequency < 0.2)].mean() / power[frequency < 0.05].mean())

    # the formula leaves 4 % of the amplitude at 0.15 with a fall of 0.5, and 1e-14 of it with one of 0.05
    assert above("--FF=0.5") > 1e-6
    assert above("--FF=0.05") < 1e-12


def test_maxit_gives_the_alignments() -> None:
    """Definition: one less than averages; kicks keep every class moving till the tenth but last."""
    assert len(aligning(round_of("--maxit=2", "--FL=0.4")[0])) == 1
    assert aligning(round_of("--maxit=5", "--FL=0.4")[0])[0].endswith(" 1 of 4")


def test_stab_ali_gives_the_repeats() -> None:
    """Definition: so many rows an image in a stability test."""
    for repeats in (2, 4):
        _, heard, _ = round_of(f"--stab_ali={repeats}", "--maxit=2", "--FL=0.4")
        assert heard[-1][0] == 40 * repeats


def test_dst_gives_discrete_angles() -> None:
    """Definition: at every fourth iteration but the last ten; none with 0."""
    for step in (0.0, 60.0):
        _, heard, _ = round_of(f"--dst={step}", "--maxit=13", "--FL=0.4")
        assert {search.angle_step_deg for _, search, _ in heard} == {0.0, step}


def test_iter_reali_leaves_tests_out() -> None:
    """Definition: the second round is refined once for each image instead of tested."""
    settings = given("--iter_reali=2", "--init_iter=3")
    assert (settings.iter_reali, settings.init_iter) == (2, 3)
    images = np.random.default_rng(4).normal(size=(40, 36, 36)).astype(np.float32)
    rows = []
    for every in ("1", "2"):
        heard: list[tuple[int, Search, np.ndarray]] = []
        words = ("--radius=12", "--target_radius=12", "--target_nx=36", "--img_per_grp=20", "--maxit=2", "--FL=0.4")
        engine: Any = Listening(NativeEngine(images, threads=2), heard)
        bench = Bench(
            engine=engine,
            make_engine=NativeEngine,
            settings=given(*words, f"--iter_reali={every}"),
            comm=Serial(),
            tick=lambda _: None,
        )
        start = start_generation(bench, np.arange(40), main=1, number=1)
        play_round(bench, replace(start, round=1, labels=np.arange(40) % 2))
        rows.append(heard[-1][0])
    assert rows == [200, 40]


def test_rand_seed_gives_the_first_references() -> None:
    """Definition: another seed draws other images; the same one the same."""
    drawn = [round_of(f"--rand_seed={seed}", "--maxit=2", "--FL=0.4")[2] for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]


# What the options do: to the search


def found_shift(away: tuple[float, float], *words: str) -> np.ndarray:
    """Return the shift (x, y) that is found for an image moved by ``away``."""
    y, x = np.mgrid[:40, :40] - 20
    picture = np.exp(-((x - 4) ** 2 + (y - 2) ** 2) / 8) - 0.6 * np.exp(-((x + 3) ** 2 + (y - 4) ** 2) / 5)
    picture = (picture + 0.8 * np.exp(-(x**2 + (y + 6) ** 2) / 6)).astype(np.float32)
    moved = fourier.shift(picture[None], np.array([away]))
    search = search_of(given("--target_radius=12", "--target_nx=40", *words))
    zero = np.zeros(1, dtype=np.int64)
    found = NativeEngine(moved, threads=1).match(picture[None], zero, zero, np.zeros((1, 2)), search)
    offset: np.ndarray = found.poses.offset_px()[0]
    return offset


@pytest.mark.parametrize(
    ("away", "words"),
    [((3, 0), ["--xr=3"]), ((0, 3), ["--yr=3"]), ((0, 3), ["--xr=3", "--yr=-1"]), ((0.5, 0), ["--ts=0.5"])],
)
def test_xr_yr_and_ts_give_the_shifts(away: tuple[float, float], words: list[str]) -> None:
    """Known truth: a shift that lies on the grid is found."""
    # the picture is moved in Fourier space, and the rings sample it exactly at the same points
    assert np.abs(found_shift(away, *words)) == pytest.approx(np.abs(away), abs=1e-6)


@pytest.mark.parametrize(
    ("away", "words", "most"),
    [((3, 0), ["--yr=3"], (1, 3)), ((0, 3), ["--xr=3", "--yr=1"], (3, 1)), ((2, 2), ["--xr=0"], (0, 0))],
)
def test_xr_and_yr_bound_the_shifts(away: tuple[float, float], words: list[str], most: tuple[float, float]) -> None:
    """Known truth: what lies beyond the range is not found."""
    assert (np.abs(found_shift(away, *words)) <= np.array(most) + 1e-6).all()


def test_ts_is_the_step_of_the_shifts() -> None:
    """Definition: what lies between two steps is not found."""
    assert set(np.abs(found_shift((0.5, 0), "--xr=1", "--ts=1"))) <= {0.0, 1.0}


def test_ir_and_rs_give_the_rings() -> None:
    """Brute force: rings of the first, then every rs-th; what lies inside the first does not count."""
    search = search_of(given("--target_radius=12", "--target_nx=36", "--ir=4", "--rs=3"))
    assert list(Rings.between(search.first_ring, search.last_ring, search.ring_step).radii) == [4, 7, 10]
    images = np.random.default_rng(6).normal(size=(2, 36, 36)).astype(np.float32)
    inside = circle(2, 36)
    images[1] = np.where(inside, -images[0], images[0])
    zero, rows = np.zeros(2, dtype=np.int64), np.arange(2)
    for ir, same in ((1, False), (4, True)):
        search = search_of(given("--target_radius=12", "--target_nx=36", "--xr=0", f"--ir={ir}"))
        found = NativeEngine(images, threads=1).match(images[:1], zero, rows, np.zeros((2, 2)), search)
        assert (found.score[0] == pytest.approx(found.score[1], rel=1e-5)) == same


def test_settings_made_of_options_are_checked_once(capsys: Capture) -> None:
    """Definition: what ``cryoisac isac`` refuses is refused here by the same sentence."""
    assert "--FH: is 0.1, below --FL 0.2" in refused(capsys, "s", "o", "--radius=29", "--FH=0.1")
    with pytest.raises(click.UsageError):
        settings_from({"radius": None})
