"""Pre-alignment."""

from typing import Any

import numpy as np
import pytest

from cryoisac.align import prealignment as pre
from cryoisac.comm import Serial
from cryoisac.engine.reference import ReferenceEngine
from cryoisac.model.poses import Poses


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        (60, ((0, 1),)),
        (62, ((1, 1),)),
        (64, ((2, 1),)),
        (66, ((3, 1),)),
        (76, ((8, 2), (4, 1))),
        (85, ((12, 3), (4, 1))),
        (96, ((16, 4), (8, 2), (4, 1))),
        (128, ((32, 8), (16, 4), (8, 2), (4, 1))),
    ],
)
def test_stages_of_the_original(box: int, expected: tuple[tuple[int, int], ...]) -> None:
    """Independent program: isac2 §2.6 and §15."""
    assert pre.stages(box, 29) == expected


def test_a_particle_that_does_not_fit_is_refused() -> None:
    """Definition: the disc and one pixel around it must lie in the box."""
    with pytest.raises(ValueError, match="does not fit"):
        pre.stages(59, 29)


@pytest.mark.parametrize("case", ["ctf_centerm1", "noctf_center0", "noctf_center1"])
def test_kicks_and_ranges_of_the_original(golden: Any, case: str) -> None:
    """Independent program: discrete angles and ranges of each alignment."""
    data = golden("prealign")
    steps = len(data[f"{case}_delta"])
    plan = pre.Plan(stages=pre.stages(73, 29), radius_px=29, center_method=0, kick_deg=90.0)
    if steps == plan.iterations - 1:
        assert [plan.kick_at(i) for i in range(steps)] == data[f"{case}_delta"].tolist()
    ranges = [(s.x_range_px, s.y_range_px, s.step_px) for s in map(plan.search_at, range(steps))]
    assert np.array_equal(ranges, data[f"{case}_range"])


def test_mean_shift_of_the_original(golden: Any) -> None:
    """Independent program: the centre passed into each alignment is the mean shift of the one before."""
    data = golden("prealign")
    for i in range(1, 13):
        found = pre.mean_shift_px(Poses.from_rows(data["ctf_centerm1_pose"][i - 1]))
        # stored as float32, magnitudes below 1
        np.testing.assert_allclose(found, data["ctf_centerm1_cs"][i], atol=1e-6)


def test_images_of_one_object_are_centred_on_each_other() -> None:
    """Known truth: noiseless copies, shifted by whole pixels, come to lie on each other."""
    n, box = 12, 48
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:box, :box] - box // 2
    blob = np.exp(-((x - 5) ** 2 + (y - 2) ** 2) / 14) + 0.6 * np.exp(-((x + 6) ** 2 + (y + 5) ** 2) / 9)
    shifts = rng.integers(-2, 3, (n, 2))
    images = np.stack([np.roll(blob, (s[1], s[0]), (0, 1)) for s in shifts]).astype(np.float32)
    engine = ReferenceEngine(images)
    plan = pre.Plan(stages=((4, 1),), radius_px=16, center_method=0, kick_deg=0.0)
    state = pre.start(engine)
    while not pre.finished(state, plan):
        state = pre.step(engine, state, plan, Serial())
    left = state.poses.offset_px() - shifts
    # the grid is whole pixels, so all images must sit at the same point to rounding error
    np.testing.assert_allclose(left, np.tile(left[0], (n, 1)), atol=1e-5)
