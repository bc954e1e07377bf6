"""The course of an alignment."""

import numpy as np
import pytest

from cryoisac.align.stages import Course, Stage, moved, settled
from cryoisac.model.poses import Poses


def course(kick_deg: float = 0.0, stages: int = 4, iterations: int = 10) -> Course:
    one = Stage(x_range_px=2, y_range_px=1, step_px=0.5)
    return Course(
        stages=(one,) * stages, iterations=iterations, first_ring=2, last_ring=9, ring_step=3, kick_deg=kick_deg
    )


def test_kicks_of_the_original() -> None:
    """Definition: every fourth iteration, while the 1-based total is at most iterations x stages - 10."""
    found = [i for i in range(40) if course(kick_deg=90).kicked(i)]
    assert found == [i for i in range(40) if i % 4 == 0 and i + 1 <= 30]
    assert not any(course().kicked(i) for i in range(40))
    assert course(kick_deg=90).search(0, 4, normalise_rings=False).angle_step_deg == 90
    assert course(kick_deg=90).search(0, 5, normalise_rings=False).angle_step_deg == 0


def test_a_search_has_what_the_course_says() -> None:
    """Definition: ranges along x and y are separate, steps may be fractions."""
    found = course().search(1, 0, normalise_rings=True)
    assert (found.x_range_px, found.y_range_px, found.step_px) == (2, 1, 0.5)
    assert (found.first_ring, found.last_ring, found.ring_step, found.mirror) == (2, 9, 3, True)


@pytest.mark.parametrize(
    ("changed", "error", "expected"),
    [(0.0, 0.0, True), (0.0099, 0.1, True), (0.01, 0.0, False), (0.0, 0.11, False), (0.0, np.nan, False)],
)
def test_a_stage_is_over_when_little_changes(changed: float, error: float, expected: bool) -> None:
    """Definition: both thresholds."""
    assert settled(course(), 3, changed, error) is expected


def test_a_stage_is_not_over_while_kicks_are_due() -> None:
    """Definition: kicked iterations come until the last ten."""
    kicked = course(kick_deg=90)
    assert not settled(kicked, 28, 0.0, 0.0)
    assert settled(kicked, 29, 0.0, 0.0)


def test_what_moved() -> None:
    """Definition: another class or another mirror is a change; the others' pixel error is averaged."""
    before, after = Poses.identity(4), Poses.identity(4)
    after.shift_px[1] = (3.0, 4.0)
    after.mirror[3] = True
    changed, error = moved((np.zeros(4, int), before), (np.array([0, 0, 1, 0]), after), 10.0)
    assert changed == 0.5
    assert error == pytest.approx(2.5)
