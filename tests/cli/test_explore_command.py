"""The command ``cryoisac explore``."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from cryoisac.cli import main as cli


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A finished run of this program, on two simulated views."""
    folder = tmp_path_factory.mktemp("cli")
    simulated = ["--views", "2", "--per-view", "30", "--box", "40", "--pixel-size", "10", "--snr", "1"]
    assert cli.run(["simulate", str(folder / "s"), *simulated]) == 0
    classified = ["--img-per-grp", "30", "--target-radius", "12", "--target-nx", "32", "--minimum-grp-size", "10"]
    assert cli.run(["isac", str(folder / "s/particles.star"), str(folder / "run"), *classified]) == 0
    return folder / "run"


def call(capsys, *arguments: object) -> tuple[int, str, str]:
    status = cli.run(["explore", *(str(a) for a in arguments)])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_a_run_is_explored_where_it_lies(run, capsys):
    """Known truth recovered: particles, radius and classes are those of the run; its purity is that of the truth."""
    truth = run.parent / "s/truth.csv"
    few = ["--target-radius", "12", "--rank", "8", "--n-components", "6", "--embedding", "none"]
    status, out, err = call(capsys, run, *few, "--truth", truth)
    assert (status, err) == (0, "")
    said = json.loads((run / "explore/explore.json").read_text())
    record = json.loads((run / "run.json").read_text())
    assert said["classification"] == "cryoisac"
    assert said["counts"]["members"] == record["counts"]["accounted"]
    assert [c["members"] for c in said["classes"]] == [c["members"] for c in record["classes"]]
    assert said["settings"]["radius"] == record["settings"]["radius"]
    assert said["truth"]["purity"] > 0.95
    assert f"Page: {run / 'explore' / 'explore.html'}" in out
    assert "in 2 classes" in out


def test_the_run_goes_on_as_before(run, capsys):
    """Invariance: a directory of an exploration inside a run is no hindrance to it."""
    particles = run.parent / "s/particles.star"
    settings = ["--img-per-grp", "30", "--target-radius", "12", "--target-nx", "32", "--minimum-grp-size", "10"]
    assert cli.run(["isac", str(particles), str(run), *settings]) == 0
    assert "nothing was changed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--rank", "8", "--n-components", "65"], "--n-components: is 65; --rank 8 leaves no more than 64"),
        (["--target-radius", "8", "--rank", "17"], "--rank: is 17, above the 16 rows of the images"),
        (["--reduction", "pca", "--rank", "8"], "--rank: is 8, but --reduction pca has no use for it"),
        (["--embedding", "none", "--neighbours", "5"], "--neighbours: is 5, but --embedding none has no use for it"),
        (["--ctf", "--stack", "MISSING"], "MISSING"),
        (["--truth", "MISSING"], "MISSING"),
    ],
)
def test_mistakes_become_one_line(run, capsys, tmp_path, options, said):
    """Definition: one line on stderr, and nothing is written."""
    options = [str(tmp_path / "none.csv") if o == "MISSING" else o for o in options]
    status, out, err = call(capsys, run, tmp_path / "out", *options)
    assert status == 1
    assert out == ""
    assert said.replace("MISSING", "No such file") in err
    assert err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_no_run_is_said_so(tmp_path, capsys):
    """Definition."""
    status, _, err = call(capsys, tmp_path)
    assert status == 1
    assert "holds no finished classification" in err


def test_the_rest_of_the_program_needs_no_scikit_learn():
    """Definition: neither the help of this command nor the page's modules import it, or matplotlib."""
    code = (
        "import sys; sys.modules['sklearn'] = sys.modules['matplotlib'] = None\n"
        "import cryoisac.explore.files, cryoisac.cli.explore\n"
        "from cryoisac.cli.main import run\n"
        "sys.exit(run(['explore', '--help']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--embedding NAME" in done.stdout
