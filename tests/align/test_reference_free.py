"""Reference-free alignment: random starts and schedules. The search itself is tested with the engines."""

from typing import Any

import numpy as np
import pytest

from cryoisac.align import reference_free as rf
from cryoisac.engine.contract import Search
from cryoisac.engine.reference import ReferenceEngine
from cryoisac.model.poses import Poses, pixel_error
from cryoisac.ops.warp import rotate_shift


def test_random_starts_keep_the_offset(golden: Any) -> None:
    """Independent program: for the angle and mirror that the original drew, the same pose; ours keep the offset."""
    rows = golden("mref")["randomise_rows"]
    old, drawn, new = Poses.from_rows(rows[:, :4]), rows[:, 4:6], Poses.from_rows(rows[:, 6:])
    offset = old.offset_px()
    expected = Poses(angle_deg=drawn[:, 0], shift_px=Poses.at_offsets(offset).shift_px, mirror=drawn[:, 1] == 1)
    turned = Poses.at_offsets(offset).then(
        Poses(angle_deg=drawn[:, 0], shift_px=np.zeros((len(rows), 2)), mirror=expected.mirror)
    )
    assert pixel_error(turned, new, radius_px=29).max() < 1e-4  # float32 angles of up to 360 degrees
    ours = rf.randomised(offset, np.random.default_rng(0))
    np.testing.assert_allclose(ours.offset_px(), offset, atol=1e-12)


def test_schedule_of_the_original(golden: Any) -> None:
    """Independent program: discrete angles at iterations 0, 4, 8, 12, 16 of 30; none within the last ten."""
    data = golden("align")
    refinement = rf.Refinement(search=Search(last_ring=29), iterations=30, last_cutoff=0.45, falloff=0.2, kick_deg=90.0)
    kicks = [refinement.search_at(i).angle_step_deg for i in range(29)]
    assert kicks == data["rfa_it30_dst90_xr1_delta"].tolist()
    assert [refinement.cutoff(i) for i in (0, 29)] == pytest.approx([0.1, 0.45])


def test_copies_of_one_object_are_laid_on_each_other() -> None:
    """Known truth: noiseless copies in random poses agree after alignment to within the grid's half pixel."""
    n, box = 10, 40
    rng = np.random.default_rng(2)
    y, x = np.mgrid[:box, :box] - box // 2
    blob = (
        np.exp(-((x - 5) ** 2 + (y - 1) ** 2) / 14)
        + 0.7 * np.exp(-((x + 6) ** 2 + (y + 5) ** 2) / 9)
        + 0.5 * np.exp(-((x - 1) ** 2 + (y - 8) ** 2) / 6)
    ).astype(np.float32)
    away = Poses(angle_deg=rng.uniform(0, 360, n), shift_px=np.zeros((n, 2)), mirror=np.zeros(n, dtype=bool))
    images = rotate_shift(np.repeat(blob[None], n, axis=0), away).astype(np.float32)
    refinement = rf.Refinement(search=Search(last_ring=15), iterations=14, last_cutoff=0.45, falloff=0.2, kick_deg=0.0)
    zero = np.zeros(n, dtype=np.int64)
    aligned = rf.align_reference_free(ReferenceEngine(images), zero, np.arange(n), Poses.identity(n), 1, refinement)
    whole = away.then(aligned.poses)
    frame = Poses.from_rows(np.repeat(whole.rows()[:1], n, axis=0))
    # one object: every copy ends in one common frame, up to the 1-px shift grid and interpolation
    assert pixel_error(whole, frame, radius_px=15).max() < 1.0
