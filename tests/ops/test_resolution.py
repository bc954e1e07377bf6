"""Resolution read off curves that are drawn by hand."""

import json
from pathlib import Path

import numpy as np
import pytest

from cryoisac.ops.resolution import crossing, first_below, last_above, of_whole, optimistic_frequency


def test_crossing_lies_between_rings() -> None:
    """Definition: a straight line from 0.2 to 0.1 between rings 5 and 6 is at 0.143 at 5.57."""
    curve = np.array([1, 1, 1, 1, 0.9, 0.2, 0.1, 0.0, 0.0])
    assert crossing(curve, 16) == pytest.approx((5 + 0.57) / 16)
    assert crossing(curve, 16, threshold=0.15) == pytest.approx(5.5 / 16)


def test_one_low_ring_is_no_end() -> None:
    """Definition: a zero of the particle's own spectrum is passed, and so is what comes before ring 3."""
    curve = np.array([0, -1, 1, 0.9, 0.05, 0.9, 0.8, 0.1, 0.0, 0.0])
    assert first_below(curve) == 7
    assert crossing(curve, 18) == pytest.approx((6 + (0.8 - 0.143) / 0.7) / 18)


@pytest.mark.parametrize("curve", [np.zeros(20), np.full(20, np.nan)])
def test_no_crossing(curve: np.ndarray) -> None:
    """Definition: a curve that begins below or is not known has none."""
    assert crossing(curve, 38) is None


def test_a_curve_that_stays_above_ends_with_the_box() -> None:
    """Definition: 19 of 38 is half a cycle a pixel."""
    assert crossing(np.full(20, 0.5), 38) == 0.5


def test_the_last_ring_counts_alone() -> None:
    """Definition."""
    curve = np.ones(10)
    curve[-1] = 0
    assert first_below(curve) == 9


def test_of_whole() -> None:
    """Definition: 2 v / (1 + v), nothing below 0."""
    assert of_whole([1.0, 0.5, 0.0, -0.4]) == pytest.approx([1, 2 / 3, 0, 0])


def test_fh1_of_the_original(shared: Path) -> None:
    """Independent program: the published value of SPHIRE's test; and its rule on a curve drawn by hand."""
    known = json.loads((shared / "conformance" / "vectors.json").read_text())["get_optimistic_res"]
    assert optimistic_frequency(known["frc"][0], known["frc"][1]) == pytest.approx(known["expected"])


def test_fh1_by_its_rule() -> None:
    """Definition: the third value of 0.143 or more from the end, and 0.15 at least."""
    frequency = np.arange(11) / 20
    curve = np.array([1, 1, 1, 1, 1, 0.2, 0.1, 0.5, 0.1, 0.3, 0.1])
    assert optimistic_frequency(frequency, curve) == frequency[5]
    assert optimistic_frequency(frequency, np.zeros(11)) == 0.15


def test_fh2_by_its_rule() -> None:
    """Definition: the frequency before the first below 0.1; the last where there is none."""
    frequency = np.arange(6) / 10
    assert last_above(frequency, [1, 1, 1, 0.5, 0.05, 0.9]) == frequency[3]
    assert last_above(frequency, [0, 0, 1, 0.5, 0.2, 0.9]) == frequency[-1]
