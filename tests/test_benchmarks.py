"""The benchmark of quality: its cases are ones that the commands take, its own numbers are what they are called."""

import importlib.util
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from cryoisac.cli.main import group
from cryoisac.cli.options import from_options
from cryoisac.settings import Isac, Simulation

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "benchmarks"))

from meter import PARTS, STAGES, found  # noqa: E402
from quality_cases import CASES  # noqa: E402
from quality_classes import first_fall, soft_disc  # noqa: E402
from quality_tables import BEGIN, COLUMNS, END, cell, write_tables  # noqa: E402


@pytest.mark.parametrize("name", CASES)
def test_definition_commands_take_the_options(name: str) -> None:
    """Definition: every option of a case is one of the command's, and its settings are allowed."""
    case = CASES[name]
    for command, words, settings in (
        ("simulate", case.simulation(Path("maps")), Simulation),
        ("isac", ["particles.star", *case.isac], Isac),
    ):
        taken = group.get_command(None, command).make_context(command, [*words, "out"])  # type: ignore[union-attr, arg-type]
        from_options(settings, taken.params)
    assert all(key in COLUMNS for key in case.columns)


def test_known_truth_where_a_curve_falls() -> None:
    """Known truth: a line from 1 at ring 0 to 0 at ring 10 is one half at 5; one that never falls ends at the last."""
    assert first_fall(1 - np.arange(11) / 10) == pytest.approx(5)
    assert first_fall(np.ones(11)) == 10
    assert first_fall(np.array([1, 0.9, 0.4, 0.9])) == pytest.approx(1.8)
    assert first_fall(np.array([1, 0.1, 0.9])) == 1


def test_definition_disc() -> None:
    """Definition: 1 inside, 0 from five pixels beyond."""
    disc = soft_disc(32, 8)
    y, x = np.indices((32, 32)) - 16
    assert (disc[np.hypot(x, y) <= 8] == 1).all()
    assert np.abs(disc[np.hypot(x, y) >= 13]).max() < 1e-6


def test_definition_cells() -> None:
    """Definition: median and range; one number where there is one; a dash where there is none."""
    assert cell([0.5, 0.25, 0.75], ".0%") == "50% (25%–75%)"
    assert cell([2.0, 2.0, None], ".1f px") == "2.0 px"
    assert cell([3.14, 4.0], ".1f°") == "3.6° (3.1–4.0)"
    assert cell([None], ".1f") == "–"


def test_definition_tables_stay_between_their_markers(tmp_path: Path) -> None:
    """Definition: text around the markers is kept, what was between them is not, and twice is as once."""
    page = tmp_path / "page.md"
    page.write_text(f"above\n{BEGIN}\nold\n{END}\nbelow\n")
    run = {
        **{"case": "apoferritin", "seed": 0, "method": "a", "cpu_s": 3.2, "wall_s": 2.0, "radius_px": 42},
        "classes": {
            **{"images": 10, "accounted": 5, "number": 2, "effective": 1.9},
            **{"resolution_A": 9.0, "resolution_40_A": None},
        },
    }
    file = {
        **{"date": "2000-01-01", "commit": "abc", "command": "python x", "methods": {"a": "--xr 2"}},
        "machine": {"processor": "AMD", "cores": 2},
        "runs": [run, {**run, "seed": 1, "cpu_s": 5.2}],
    }
    write_tables(page, [file])
    text = page.read_text()
    assert text.startswith("above\n")
    assert text.endswith("\nbelow\n")
    assert "old" not in text
    assert "| a | 2 | 50.0% | 2 | 1.9 | 9.0 Å | – | 4 (3–5) | 2 |" in text
    write_tables(page, [file])
    assert page.read_text() == text


@pytest.mark.parametrize("path", [*STAGES, *PARTS])
def test_definition_stages_are_functions(path: str) -> None:
    """Definition: what a run is metered by exists; a function that was moved would count for its surroundings."""
    place = found(path)
    assert place is not None
    assert callable(getattr(*place))


@pytest.mark.torch
@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="needs PyTorch: make test-gpu")
def test_gpu_check_runs_without_a_gpu(tmp_path: Path) -> None:
    """Known truth: the program that checks GPUs does each of its parts on the processor, and says so in a table."""
    words = ["--device", "torch-cpu", "--quick", "--minutes", "1", "--only"]
    parts = "machine,accuracy,searches,rings,streaming,fused"
    program = [sys.executable, str(ROOT / "benchmarks" / "gpu_check"), *words, parts]
    own = os.environ | {"OUT": str(tmp_path), "TRITON_INTERPRET": "1"}
    done = subprocess.run(program, env=own, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    table = done.stdout.split("--- gpu_check ---")[1]
    assert "FAILED" not in table
    found = json.loads((tmp_path / "gpu_check.json").read_text())
    assert set(parts.split(",")) <= set(found["seconds"])
    assert found["accuracy"]["pixels, float32"]["scores"] < 1e-5
    assert found["accuracy"]["rings, float32"]["gains"] < 0.05
    assert all(found["repeated"].values())
    assert all(row["same"] for row in found["streaming"].values())
    assert found["searches"]["score exact, 10 references"]["ns_a_triple"] > 0
    for row in found.get("fused", {}).values():  # where Triton is installed
        assert row.get("apart", 0) < 1e-6
        assert row.get("scores apart", 0) < 1e-6


@pytest.mark.torch
@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="needs PyTorch: make test-gpu")
def test_gpu_check_goes_on_where_a_part_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Known truth: an error is noted with its place and other parts are done; a lost device needs a new process."""
    import gpu_record

    from cryoisac.engine.devices import choose_devices

    def fails(run: gpu_record.Check) -> None:
        for number in range(2):
            with run.step(f"step {number}"):
                raise ValueError("none")
        raise KeyError("all")

    started: list[list[str]] = []
    monkeypatch.setattr(gpu_record.os, "execv", lambda program, words: started.append(words))
    parts = {"one": fails, "two": lambda run: run.say("done"), "three": lambda run: run.say("done too")}
    for dead in (False, True):
        monkeypatch.setattr(gpu_record, "lost", lambda run, dead=dead: dead)
        run = gpu_record.Check(choose_devices("torch-cpu"), tmp_path / "a.json", time.monotonic() + 60, True)
        gpu_record.perform(run, parts, "torch-cpu")
        found = json.loads((tmp_path / "a.json").read_text())
        assert set(found["failed"]) == ({"step 0", "one"} if dead else {"step 0", "step 1", "one"})
        assert any("test_benchmarks.py" in line for line in found["failed"]["one"])
        assert {"done", "done too"} <= set(found["table"])
    ((_, program, *words),) = started
    assert (Path(program).name, words[words.index("--only") + 1]) == ("gpu_check", "two,three")
    again = gpu_record.Check(choose_devices("torch-cpu"), tmp_path / "a.json", time.monotonic(), True)
    again.resume()
    assert again.lines == run.lines
