"""The originals' command lines of the two alignments."""

import json
import re
import shlex
from pathlib import Path

import click
import numpy as np
import pytest

from cryoisac.cli import sphire_align
from cryoisac.cli.sphire_align import ALI2D, MREF, Aligner, command_of, settings_from
from cryoisac.errors import SettingError
from cryoisac.io.mrc_write import write_mrc_stack
from cryoisac.io.registry import read_particles
from cryoisac.settings import Multireference, ReferenceFree, Simulation
from cryoisac.simulation.files import simulate

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "alignment.md"
FILES = {MREF.name: ["s.hdf", "r.hdf", "out"], ALI2D.name: ["s.hdf", "out"]}


@pytest.fixture(scope="module")
def particles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A STAR file of 30 particles of 24 px, and references beside it."""
    folder = tmp_path_factory.mktemp("particles")
    simulate(folder, Simulation(views=3, per_view=10, box=24, pixel_size=12.0, snr=1.0, max_shift=1.0))
    images = read_particles(folder / "particles.star").read(np.array([0, 11, 29]))
    write_mrc_stack(folder / "refs.mrcs", images, 12.0)
    return folder / "particles.star"


def given(program: Aligner, *words: str, mask: Path | None = None) -> Multireference | ReferenceFree:
    """Return the settings that a command line means."""
    context = command_of(program).make_context(program.name, [*FILES[program.name], *words])
    return settings_from(program, context.params, mask)


def called(program: Aligner, *words: object) -> int:
    return sphire_align.run(program, [str(word) for word in words])


def test_old_command_lines_mean_what_they_meant() -> None:
    """Definition: names, defaults and -1 of the originals, also abbreviated; --MPI changes nothing."""
    plain = given(MREF)
    assert isinstance(plain, Multireference)
    assert (plain.radius, plain.ir, plain.rs, plain.center_method, plain.iterations) == (None, 1, 1, 1, 10)
    assert plain.ranges() == ((0, 0, 1),)
    assert (plain.rand_seed, plain.snr, plain.ctf, plain.sizes) == (1000, 1.0, False, "free")
    assert given(MREF, "--MPI") == plain
    full = given(MREF, "--ou=36", "--xr=3", "--ts=1", "--center=0", "--maxit=6", "--CTF", "--snr=2", "--rand_s", "3")
    assert (full.radius, full.ranges(), full.center_method, full.maxit) == (36, ((3, 3, 1),), 0, 6)
    assert (full.ctf, full.snr, full.rand_seed) == (True, 2, 3)
    free = given(ALI2D)
    assert isinstance(free, ReferenceFree)
    assert free.ranges() == ((4, 4, 2), (2, 2, 1), (1, 1, 0.5), (1, 1, 0.25))
    assert (free.center_method, free.maxit, free.dst, free.no_mirror, free.randomize) == (-1, 0, 0.0, False, False)
    more = given(ALI2D, "--nomirror", "--dst=90", "--Fourvar", "--randomize", "--xr", "2 1", "--ts=1 1", "--yr=0")
    assert isinstance(more, ReferenceFree)
    assert (more.no_mirror, more.dst, more.fourier_variance, more.randomize) == (True, 90, True, True)
    assert more.ranges() == ((2, 0, 1), (1, 0, 1))
    assert given(ALI2D, mask=Path("m.hdf")).mask == "m.hdf"


def test_eq_gives_classes_of_equal_size() -> None:
    """Definition."""
    made = given(MREF, "--EQ")
    assert isinstance(made, Multireference)
    assert made.sizes == "equal"


@pytest.mark.parametrize("words", [["--mode=H"], ["--random_method=SHC"], ["--random_method", "SCF"], ["--orient"]])
def test_what_is_not_there_is_refused(words: list[str]) -> None:
    """Definition: one sentence."""
    with pytest.raises(SettingError, match="is not there") as caught:
        given(ALI2D, *words)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("program", [MREF, ALI2D], ids=lambda p: p.name)
def test_wrong_calls_are_one_line(program: Aligner, capsys: pytest.CaptureFixture[str]) -> None:
    """Definition: too few or many files, options that are not there."""
    for words in (
        ["one"],
        ["a", "b", "c", "d", "e"],
        [*FILES[program.name], "--no_such_option"],
        [*FILES[program.name], "--ou=x"],
    ):
        assert called(program, *words) != 0
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert error.startswith("Error: ")


def test_programs_run_with_a_mask(particles: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Definition: three or four files, two or three; what comes out is as of our commands."""
    _, x = np.mgrid[:24, :24] - 12
    write_mrc_stack(tmp_path / "mask.mrc", (abs(x) < 7).astype(np.float32)[None], 12.0)
    references, mask = particles.parent / "refs.mrcs", tmp_path / "mask.mrc"
    assert called(MREF, particles, references, tmp_path / "m", mask, "--ou=8", "--xr=1", "--maxit=2") == 0
    assert (tmp_path / "m" / "aqm001.hdf").exists()
    assert called(ALI2D, particles, tmp_path / "a", "--ou=8", "--xr=1", "--ts=1", "--maxit=2") == 0
    assert (tmp_path / "a" / "initial2Dparams.txt").exists()
    assert capsys.readouterr().err == ""
    assert json.loads((tmp_path / "m" / "run.json").read_text())["settings"]["mask"] == str(mask)


def test_gpus_are_said_to_be_missing(particles: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Definition: their numbers are checked, and a warning says what computes instead."""
    words = (particles, tmp_path / "a", "--ou=8", "--xr=1", "--ts=1", "--maxit=1")
    assert called(ALI2D, *words, "--gpu_devices=0,x") == 1
    assert "--gpu_devices" in capsys.readouterr().err
    assert called(ALI2D, *words, "--gpu_devices=0,1") == 0
    assert "No GPU is used" in capsys.readouterr().out
    assert any("No GPU is used" in w for w in json.loads((tmp_path / "a" / "run.json").read_text())["warnings"])


def test_gpu_info_tells_and_does_nothing(particles: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Definition: the machine, the plan, the memory; no directory."""
    assert called(ALI2D, particles, tmp_path / "a", "--ou=8", "--gpu_info", "--xr=1", "--ts=1") == 0
    said = capsys.readouterr().out
    assert "instructions" in said
    assert "Memory " in said
    assert not (tmp_path / "a").exists()


def test_gpu_info_tells_of_the_devices_that_would_compute(
    particles: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Known truth: those that were asked for, and how they would keep the images."""
    from cryoisac.engine import devices

    class Named(devices.Devices):
        def plan(self, images: int, image_bytes: int) -> list[str]:
            return [f"cuda:0: {images} images of {image_bytes} bytes stay on it"]

        def engine(self, *given: object, **named: object) -> object:
            return devices.PROCESSOR.engine(*given, **named)

    monkeypatch.setattr(devices, "numbered_devices", lambda *_: (Named(names=("cuda:0",), titles=("A",)), ""))
    assert called(ALI2D, particles, tmp_path / "a", "--ou=8", "--gpu_info", "--xr=1", "--ts=1", "--gpu_devices=0") == 0
    said = capsys.readouterr().out
    assert "cuda:0 (A)" in said
    assert "images of" in said


def test_several_processes_are_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Definition: as mpirun starts them."""
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "4")
    monkeypatch.setenv("OMPI_COMM_WORLD_RANK", "0")
    assert called(MREF, *FILES[MREF.name], "--MPI") == 2
    assert "without mpirun" in capsys.readouterr().err


def rows() -> list[list[str]]:
    text = PAGE.read_text(encoding="utf-8").split("## The original command lines")[1]
    return [
        [cell.strip() for cell in line.strip("|").split(" | ")]
        for line in text.splitlines()
        if line.startswith(("| `--", "| `MASK"))
    ]


def test_every_option_has_a_row() -> None:
    """Definition: each option of the originals is in the page, and is one of the program."""
    listed = {name for row in rows() for name in re.findall(r"`(--\w+)`", row[0])}
    taken: set[str] = set()
    for program in (MREF, ALI2D):
        taken |= {o for p in command_of(program).params if isinstance(p, click.Option) for o in p.opts}
    assert listed <= taken
    ours = {
        "--lowest_cutoff",
        "--stop_share",
        "--stop_error",
        "--search",
        "--on_bad_image",
        "--min_size",
        "--equal_first",
    }
    assert taken - listed == ours | {"--ignore_poses", "--threads"}


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0])
def test_every_option_has_a_test(row: list[str]) -> None:
    """Definition: the last column names one that is there."""
    name = row[-1].strip("`")
    file, _, test = name.rpartition("::")
    text = (ROOT / (file or "tests/run/test_aligning.py")).read_text(encoding="utf-8")
    assert re.search(rf"^def {test}\(", text, re.MULTILINE)


@pytest.mark.parametrize("program", [MREF, ALI2D], ids=lambda p: p.name)
def test_command_lines_of_the_page_parse(program: Aligner) -> None:
    """Definition: each call that the page shows is one that the program takes."""
    lines = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith(program.name)]
    assert lines
    for line in lines:
        context = command_of(program).make_context(program.name, shlex.split(line)[1:])
        settings_from(program, context.params)
