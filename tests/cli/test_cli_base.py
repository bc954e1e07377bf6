"""The command line: what it prints, how it fails, how options are made of settings."""

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import click
import numpy as np
import pytest
from click.testing import CliRunner

from cryoisac.cli import main as cli
from cryoisac.cli.options import from_options, settings_options
from cryoisac.errors import DataError, SettingError
from cryoisac.settings import Isac, Setting, Settings, Simulation, describe

SMALL = ["--views", "3", "--per-view", "8", "--box", "32", "--snr", "1"]


def _run(*arguments: object, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    status = cli.run([str(a) for a in arguments])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_definition_options_of_isac() -> None:
    """Definition: every setting is an option, under every spelling of the original program."""
    seen: list[Isac] = []

    @click.command()
    @settings_options(Isac)
    def command(**options: object) -> None:
        seen.append(from_options(Isac, options))

    for flags in (
        ["--method", "isac2", "--FL", "0.1", "--img-per-grp", "60", "--ctf", "--CTF", "--rand_seed", "3"],
        ["--method=isac2", "--fl", "0.1", "--img_per_grp", "60", "--ctf", "--rand-seed", "3"],
    ):
        result = CliRunner().invoke(command, flags, catch_exceptions=False)
        assert result.exit_code == 0, result.output
    assert seen[0] == seen[1] == Isac(method="isac2", FL=0.1, img_per_grp=60, ctf=True, rand_seed=3)
    CliRunner().invoke(command, [], catch_exceptions=False)
    assert seen[2] == Isac(method="likelihood")
    shown = CliRunner().invoke(command, ["--help"], terminal_width=80).output
    for described in describe(Isac):
        assert f"  {described.flag}" in shown
    assert "--img_per_grp" not in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_definition_help_text() -> None:
    """Definition: meaning, unit, range and default, or what a missing value becomes."""

    @dataclass(frozen=True, kw_only=True)
    class Example(Settings):
        size: Annotated[int | None, Setting("A size.", "px", at_least=1, at_most=9, automatic="guessed")] = None
        kind: Annotated[str, Setting("A kind.", choices=("a", "b"))] = "a"
        on: Annotated[bool, Setting("A switch.")] = True
        off: Annotated[bool, Setting("Another.")] = False

    seen: list[Example] = []

    @click.command()
    @settings_options(Example)
    def command(**options: object) -> None:
        seen.append(from_options(Example, options))

    lines = [" ".join(line.split()) for line in CliRunner().invoke(command, ["--help"]).output.splitlines()]
    assert "--size N A size. [1 to 9 px; default: guessed]" in lines
    assert "--kind NAME A kind. [a or b; default: a]" in lines
    assert "--on / --no-on A switch. [on by default]" in lines
    assert "--off Another." in lines
    CliRunner().invoke(command, ["--no-on", "--off", "--kind", "b"], catch_exceptions=False)
    assert seen == [Example(on=False, off=True, kind="b")]


def test_simulate_then_score(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Known truth: the truth as its own classification scores 1, on paper and in JSON."""
    status, out, err = _run("simulate", tmp_path / "s", *SMALL, "--junk", "0.2", capsys=capsys)
    assert (status, err) == (0, "")
    assert "Simulated 30 images (6 of them junk) of 32 px" in out
    assert "Particle radius: 13 px" in out
    rows = (tmp_path / "s/truth.csv").read_text().splitlines()
    view = np.array([int(row.split(",")[2]) for row in rows[1:]])
    ledger = ["index,image,class,reason,generation,pixel_error,score"]
    ledger += [f"{i},x,{v + 1 if v >= 0 else -1},r,1,0,0" for i, v in enumerate(view)]
    (tmp_path / "run").mkdir()
    (tmp_path / "run/ledger.csv").write_text("\n".join(ledger))
    status, out, err = _run(
        "score", tmp_path / "run", tmp_path / "s/truth.csv", "--json", tmp_path / "n.json", capsys=capsys
    )
    assert (status, err) == (0, "")
    assert re.search(r"adjusted Rand index +1\.000", out)
    assert re.search(r"views found +3 of 3", out)
    assert re.search(r"junk unaccounted +precision 1\.000, recall 1\.000", out)
    assert json.loads((tmp_path / "n.json").read_text())["ari"] == 1.0


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["simulate"], 2, "Missing argument 'OUT_DIR'; see cryoisac simulate --help"),
        (["nonsense"], 2, "No such command 'nonsense'"),
        (["simulate", "OUT", "--box", "2"], 1, "--box: is 2; must be at least 16 px"),
        (["simulate", "OUT", "--box", "two"], 2, "'two' is not a valid integer"),
        (["simulate", "OUT", "--map", "/no/map.mrc"], 1, "/no/map.mrc: No such file or directory"),
        (["simulate", "OUT", "--map-pixel-size", "2"], 1, "has no meaning without --map"),
        (["simulate", "OUT", "--filament", "--pdb", "b"], 1, "is made up; leave out"),
        (["score", "/no/run", "/no/truth.csv"], 1, "/no/truth.csv: No such file or directory"),
    ],
)
def test_mistakes_become_one_line(
    arguments: list[str], status: int, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Definition: one line on stderr, nothing on stdout, the right exit status."""
    found = _run(*(str(tmp_path / "out") if a == "OUT" else a for a in arguments), capsys=capsys)
    assert found[:2] == (status, "")
    assert found[2].startswith("Error: ")
    assert message in found[2]
    assert found[2].count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (DataError("a.mrcs", "is\nbroken"), 1, "Error: a.mrcs: is broken"),
        (SettingError("--x", "is 3"), 1, "Error: --x: is 3"),
        (OSError(28, "No space left on device"), 1, "Error: No space left on device"),
        (PermissionError(13, "Permission denied", "/x"), 1, "Error: /x: Permission denied"),
        (MemoryError("cannot allocate 9 GiB"), 1, "Error: not enough memory (cannot allocate 9 GiB)"),
        (KeyboardInterrupt(), 130, "Interrupted."),
    ],
)
def test_no_traceback(
    error: BaseException,
    status: int,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Definition: what goes wrong inside a command becomes one line."""

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("cryoisac.cli.simulate.simulate", fail)
    found = _run("simulate", "nowhere", *SMALL, capsys=capsys)
    assert found[0] == status
    assert found[2].strip() == message


def test_help_is_quick_and_light() -> None:
    """Definition: help and version import no numerics, and are there without them."""
    code = (
        "import sys; from cryoisac.cli import main\n"
        "status = main.run(sys.argv[1:])\n"
        "heavy = [m for m in ('numpy', 'scipy', 'matplotlib', 'gemmi', 'h5py', 'rich') if m in sys.modules]\n"
        "sys.exit(status or len(heavy))\n"
    )
    for argument, expected in (("--help", "simulate"), ("--version", "cryoisac 0")):
        done = subprocess.run([sys.executable, "-c", code, argument], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        assert expected in done.stdout


def test_broken_pipe_is_quiet() -> None:
    """Definition: a reader that goes away ends the program without a word."""
    code = "from cryoisac.cli import main; main.main(['simulate', '--help'])"
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([sys.executable, "-c", code], stdout=write, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write)
    assert done.stderr == ""


def test_every_simulation_setting_is_an_option() -> None:
    """Definition: nothing that can be set is missing from the command."""
    from cryoisac.cli.simulate import command

    names = {parameter.name for parameter in command.params}
    assert {d.name for d in describe(Simulation)} <= names


def test_definition_no_command_shows_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    """Definition: called with nothing, it says what there is, and that something was missing."""
    assert cli.run([]) == 2
    said = capsys.readouterr()
    assert "simulate" in said.out
    assert said.err == ""
