"""``sp_compute_isac_avg.py``: what its options mean, and where its averages go."""

from pathlib import Path
from typing import Any

import click
import pytest

from cryoisac.cli import sp_compute_isac_avg as program
from cryoisac.settings import Averaging

NEEDED = ["--stack=particles.star", "--isac_dir=isac"]


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the program asks for, instead of averages."""
    calls: list[dict[str, Any]] = []

    def note(run_dir: Path, directory: Path, settings: Averaging, **more: Any) -> None:
        calls.append({"run": run_dir, "out": directory, "settings": settings, **more})

    monkeypatch.setattr("cryoisac.cli.average.average", note)
    return calls


LOCAL = {"local_alignment": True}


@pytest.mark.parametrize(
    ("options", "meant"),
    [
        ([], {}),
        (["--pw_adjustment=bfactor"], {"pw_adjustment": "bfactor"}),
        (["--pixel_size=1.5"], {"pixel_size": 1.5}),
        (["--radius=52"], {"radius": 52.0}),
        (["--fl=0"], {"fl": 0.0}),
        (["--fl", "0.25"], {"fl": 0.25}),
        (["--local_alignment"], LOCAL),
        (["--local_alignment", "--xr=3"], LOCAL | {"xr": 3.0}),
        (["--local_alignment", "--fh=0.3"], LOCAL | {"fh": 0.3}),
        (["--local_alignment", "--ts=0.5"], LOCAL | {"ts": 0.5}),
        (["--local_alignment", "--maxit=9"], LOCAL | {"maxit": 9}),
        (["--navg=10"], {"navg": 10}),
        (["--noctf"], {"no_ctf": True}),
        (["--pw_adjustment=bfactor", "--B_start=30"], {"pw_adjustment": "bfactor", "B_start": 30.0}),
        (["--pw_adjustment=bfactor", "--Bfactor=200"], {"pw_adjustment": "bfactor", "Bfactor": 200.0}),
        (["--radius=-1", "--xr=-1", "--fl=-1", "--pixel_size=-1", "--Bfactor=-1", "--navg=1000000", "--ts=1"], {}),
        (["--threads=2"], {}),
        (["--local", "--RADIUS=50"], LOCAL | {"radius": 50.0}),
    ],
    ids=" ".join,
)
def test_what_options_mean(called: list[dict[str, Any]], options: list[str], meant: dict[str, Any]) -> None:
    """Definition: the options of SPHIRE's program as settings; -1 is none; beginnings of names will do."""
    assert program.run([*NEEDED, *options]) == 0
    expected = Averaging(**{"pw_adjustment": "analytical_model", **meant})
    assert called[0]["settings"] == expected
    assert called[0]["stack"] == Path("particles.star")
    assert called[0]["threads"] == (2 if "--threads=2" in options else None)
    assert called[0]["run"] == Path("isac")


def test_every_option_of_the_original_is_there() -> None:
    """Definition: spec of the companions, 6.1."""
    wanted = (
        "stack isac_dir output_dir pw_adjustment pixel_size radius fl local_alignment xr navg noctf B_start Bfactor"
    )
    options = [p for p in program.command.params if isinstance(p, click.Option)]
    assert sorted(o.opts[0] for o in options) == sorted(
        f"--{name}" for name in [*wanted.split(), "fh", "ts", "maxit", "threads"]
    )


@pytest.mark.parametrize(
    ("given", "out"),
    [([], "sharpen_isac"), (["--output_dir=there"], "there"), (["--output_dir=isac/"], "isac/sharpen")],
    ids=str,
)
def test_where_averages_go(called: list[dict[str, Any]], given: list[str], out: str) -> None:
    """Definition: sharpen_<isac_dir> by default; sharpen inside the directory where both are the same."""
    assert program.run([*NEEDED, *given]) == 0
    assert called[0]["out"] == Path(out)


@pytest.mark.parametrize(
    ("arguments", "status", "word"),
    [
        (NEEDED[:1], 1, "--isac_dir: is needed"),
        (NEEDED[1:], 1, "--stack: is needed"),
        ([*NEEDED, "--xr=3"], 1, "belongs to --local-alignment"),
        ([*NEEDED, "--Bfactor=100"], 1, "belongs to --pw-adjustment bfactor"),
        ([*NEEDED, "--fl=0.7"], 1, "up to 0.5"),
        ([*NEEDED, "--radios=3"], 2, "nearest is --radius"),
        (NEEDED, 1, "isac: is no directory"),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused_in_one_line(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    status: int,
    word: str,
) -> None:
    """Definition: a sentence, and no traceback."""
    monkeypatch.chdir(tmp_path)
    assert program.run(arguments) == status
    error = capsys.readouterr().err
    assert word in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())
