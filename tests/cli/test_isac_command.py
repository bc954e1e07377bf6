"""``cryoisac isac`` as its users meet it: what it prints, what it passes on, how it is stopped and goes on."""

import io
import json
import re
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import pytest
from rich.console import Console

from cryoisac.cli import main as cli
from cryoisac.cli.progress import Terminal
from cryoisac.settings import Simulation
from cryoisac.simulation.files import simulate
from tests.run.conftest import LIKELIHOOD, SETTINGS, contents

COMMON = (
    *("--radius", "12", "--target-radius", "12", "--target-nx", "36", "--rand-seed", "3"),
    *("--img-per-grp", "20", "--minimum-grp-size", "8"),
)
OPTIONS = {
    "likelihood": (*COMMON, "--max-shift", "1", "--starts", "2"),
    "isac2": (*COMMON, "--method", "isac2", "--maxit", "12", "--init-iter", "2"),
}
WORDS_OF_THE_OTHER = {"likelihood": ("generation", "stable", "round of"), "isac2": ("Start", "split", "likelihood")}
FIRST_STATE = {"likelihood": "survey.npz", "isac2": "isac.npz"}
by_method = pytest.mark.parametrize("method", OPTIONS)
STAMP = re.compile(r"^\d\d:\d\d:\d\d  ")


def isac(
    particles: Path, out: Path, *options: str, method: str = "isac2", capsys: pytest.CaptureFixture[str]
) -> tuple[int, list[str], str]:
    """Run the command and return its exit status, the lines on stdout and the text on stderr."""
    status = cli.run(["isac", str(particles), str(out), *OPTIONS[method], *options])
    said = capsys.readouterr()
    return status, said.out.splitlines(), said.err


@pytest.fixture(scope="module")
def particles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A STAR file of 100 simulated particles of 32 px in five views."""
    folder = tmp_path_factory.mktemp("particles")
    simulate(folder, Simulation(views=5, per_view=20, box=32, pixel_size=10.0, snr=1.0, max_shift=1.0, ctf=True))
    return folder / "particles.star"


@by_method
def test_what_a_run_says(method: str, particles: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Definition: plan, rounds, the share accounted for and the report on stdout, each line with its time."""
    out = tmp_path / "run"
    status, lines, error = isac(particles, out, method=method, capsys=capsys)
    record = json.loads((out / "run.json").read_text())
    counts, classes = record["counts"], len(record["classes"])
    assert (status, error) == (0, "")
    assert all(STAMP.match(line) for line in lines)
    text = "\n".join(STAMP.sub("", line) for line in lines)
    number = "5 of about 20" if method == "isac2" else "about 5 at first, of 20"
    for begin in ("Particles   100 of 100, 32 px", "Radius      12 px", f"Classes     {number}", "Memory", "Time"):
        assert f"\n{begin}" in text
    for word in WORDS_OF_THE_OTHER[method]:
        assert word not in text
    assert f"\n{classes} classes, {counts['accounted']} of 100 particles accounted for (" in text
    assert f"({counts['accounted']:.1f} %)" in text  # of 100
    assert text.endswith(f"Report: {out / 'report.html'}")
    assert (out / "report.html").is_file()

    before = contents(out)
    status, lines, error = isac(particles, out, method=method, capsys=capsys)
    assert (status, error) == (0, "")
    assert "finished; nothing was changed" in lines[0]
    assert lines[-1].endswith(f"Report: {out / 'report.html'}")
    assert contents(out) == before


def test_every_spelling_reaches_the_run(particles: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Invariance: the original's spellings and ours give one run; what is given is what is recorded."""
    rest = ("--thld-err", "0.8", "--skip-ordering", "--main-iter-limit", "1")
    ours = ("--img-per-grp", "25", "--ctf", "--FL", "0.15", "--FH", "0.4", "--stab-ali", "3")
    originals = ("--img_per_grp", "25", "--CTF", "--fl", "0.15", "--fh", "0.4", "--stab_ali=3")
    records = []
    for name, options in (("ours", ours), ("originals", originals)):
        status, _, error = isac(particles, tmp_path / name, *options, *rest, capsys=capsys)
        assert (status, error) == (0, "")
        records.append(json.loads((tmp_path / name / "run.json").read_text()))
    assert records[0] == records[1]
    given = records[0]["given"]
    expected = {
        "img_per_grp": 25,
        "ctf": True,
        "FL": 0.15,
        "FH": 0.4,
        "stab_ali": 3,
        "thld_err": 0.8,
        "skip_ordering": True,
        "main_iter_limit": 1,
        "rand_seed": 3,
        "xr": 1.0,
        "yr": None,
    }
    assert {name: given[name] for name in expected} == expected
    assert not (tmp_path / "ours" / "ordered_class_averages.mrcs").exists()


def test_options_make_the_settings_that_are_meant(
    particles: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Definition: the command line of these tests and the settings of the tests of runs are the same."""
    assert isac(particles, tmp_path / "run", "--main-iter-limit", "1", capsys=capsys)[0] == 0
    given = json.loads((tmp_path / "run" / "run.json").read_text())["given"]
    assert given == asdict(SETTINGS) | {"main_iter_limit": 1}
    assert isac(particles, tmp_path / "other", method="likelihood", capsys=capsys)[0] == 0
    assert json.loads((tmp_path / "other" / "run.json").read_text())["given"] == asdict(LIKELIHOOD)


def test_a_search_that_is_less_than_it_seems_is_said(
    particles: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Definition: a ring of 12 px in images of 39 px leaves 39 // 2 - 12 - 1 = 6 px for shifts."""
    options = ("--target-nx", "30", "--xr", "10", "--yr", "6", "--ts", "5", "--ir", "10", "--main-iter-limit", "1")
    status, lines, _ = isac(particles, tmp_path / "run", *options, capsys=capsys)
    assert status == 0
    warning, rings = [line for line in lines if "Warning" in line]
    assert "compared on 3 rings only; lower --ir" in rings
    assert "--xr 10" in warning
    assert "only shifts within 6 px" in warning
    assert "--target-nx" in warning


@by_method
def test_interrupted_and_continued(
    method: str, particles: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Invariance: Ctrl-C gives one line and status 130; the same command goes on to what an undisturbed run leaves."""
    out = tmp_path / "cut"
    command = [sys.executable, "-m", "cryoisac", "isac", str(particles), str(out), *OPTIONS[method]]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not (out / "state" / FIRST_STATE[method]).exists():  # the run is under way, and not near its end
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    said, error = process.communicate(timeout=60)
    assert process.returncode == cli.INTERRUPTED
    assert error.split("\n") == ["", "Interrupted.", ""]  # the first ends the line that ^C was shown on
    assert said.splitlines()[-1].endswith("Stopped; the same command continues this run.")
    assert json.loads((out / "run.json").read_text())["status"] == "running"
    assert isac(particles, out, method=method, capsys=capsys)[0] == 0
    assert isac(particles, tmp_path / "whole", method=method, capsys=capsys)[0] == 0
    assert contents(out) == contents(tmp_path / "whole")


def test_a_live_line_fits_a_terminal() -> None:
    """Definition: in 80 columns one line says the stage, how much of it is done, and the time left, whole."""
    screen = io.StringIO()
    with Terminal(Console(file=screen, width=80, force_terminal=True, color_system=None)) as terminal:
        terminal.stage("Generation 1.2, round 3: 1234567 particles", 35, "passes")
        for _ in range(3):
            time.sleep(0.002)
            terminal.advance()
        terminal.note("a note")
    frames = [frame.rstrip() for frame in re.split(r"\x1b\[[0-9;?]*[a-zA-Z]|[\r\n]+", screen.getvalue())]
    shown = [frame for frame in frames if "3/35 passes" in frame]
    assert any(
        re.fullmatch(r"Generation 1.2, round 3: 1234567 particles .* 3/35 passes, 0:00:\d\d left", f) for f in shown
    )
    assert max(map(len, frames)) <= 80
    assert "a note" in frames


def test_help_reads_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    """Definition: what is taken, what is left, where to look; nothing of the program's own notation."""
    assert cli.run(["isac", "--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    for part in (
        "PARTICLES OUT",
        "STAR file",
        "same command continues",
        "OUT/report.html",
        "--threads N",
        "--restart K",
    ):
        assert part in text
    for notation in ("\\b", "INTEGER", "x>="):
        assert notation not in text
