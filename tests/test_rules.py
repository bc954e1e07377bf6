"""The quirks of the original that may be kept: named, told of, and reached by one setting."""

from dataclasses import fields
from pathlib import Path

import pytest

from cryoisac.errors import SettingError
from cryoisac.rules import OURS, SPHIRE, Rules
from cryoisac.settings import Isac

PAGE = (Path(__file__).parents[1] / "docs" / "parity.md").read_text(encoding="utf-8")
NAMES = [f.name for f in fields(Rules)]


@pytest.mark.parametrize("name", NAMES)
def test_every_rule_is_told_of(name: str) -> None:
    """Definition: the page of differences names each rule where it tells of the quirk."""
    assert f"`{name}`" in PAGE


@pytest.mark.parametrize("name", NAMES)
def test_every_rule_makes_a_difference(name: str) -> None:
    """Definition: a rule that both sides share is none."""
    assert getattr(OURS, name) != getattr(SPHIRE, name)


def test_one_setting_chooses() -> None:
    """Definition: ours unless the original's are asked for, by the original's method."""
    assert Isac().rules == Isac(method="isac2").rules == OURS
    assert Isac(method="isac2", parity="sphire").rules == SPHIRE


@pytest.mark.parametrize(("xr", "ours", "original"), [(0, 76, 75), (1, 76, 76), (2, 77, 77), (3, 78, 78)])
def test_the_box_of_the_original(xr: float, ours: int, original: int) -> None:
    """Independent program: target_nx + xr - 1 (isac2 §1 and §11); ours is never smaller than target_nx."""
    assert Isac(method="isac2", xr=xr).box_px == ours
    assert Isac(method="isac2", xr=xr, parity="sphire").box_px == original


def test_a_search_that_no_original_has_is_refused() -> None:
    """Definition: parity and the fast search contradict each other."""
    with pytest.raises(SettingError, match=r"^--search: is fast, which no original does; with --parity leave it out$"):
        Isac(method="isac2", parity="sphire", search="fast")
