"""The benchmark of quality: its cases are ones that the commands take, its own numbers are what they are called."""

import sys
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
