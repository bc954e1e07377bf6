"""Reference-free alignment: random starts and schedules. The search itself is tested with the engines."""

from typing import Any

import numpy as np
import pytest

from cryoisac.align import reference_free as rf
from cryoisac.engine.contract import Search
from cryoisac.engine.native import NativeEngine
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
    whole = away.then(aligned)
    frame = Poses.from_rows(np.repeat(whole.rows()[:1], n, axis=0))
    # one object: every copy ends in one common frame, up to the 1-px shift grid and interpolation
    assert pixel_error(whole, frame, radius_px=15).max() < 1.0


def noisy_classes() -> tuple[np.ndarray, np.ndarray]:
    """Return 60 noisy images of three random objects in random poses, and which object each shows."""
    rng = np.random.default_rng(7)
    y, x = np.mgrid[:40, :40] - 20
    objects = []
    for _ in range(3):
        at, height = rng.uniform(-8, 8, (4, 2)), rng.uniform(0.5, 1.5, 4)
        objects.append(
            sum(h * np.exp(-((x - u) ** 2 + (y - v) ** 2) / 7) for h, (u, v) in zip(height, at, strict=True))
        )
    which = np.arange(60) % 3
    away = Poses(angle_deg=rng.uniform(0, 360, 60), shift_px=rng.uniform(-1, 1, (60, 2)), mirror=rng.random(60) < 0.5)
    images = rotate_shift(np.array(objects, dtype=np.float32)[which], away) + 0.3 * rng.normal(size=(60, 40, 40))
    return images.astype(np.float32), which


def test_classes_at_rest_are_left_alone() -> None:
    """Invariance: leaving classes whose members rest gives the poses of playing all iterations."""
    images, which = noisy_classes()
    engine, start = NativeEngine(images), rf.randomised(np.zeros((60, 2)), np.random.default_rng(1))
    asked: list[int] = []

    class Counted(NativeEngine):
        def match(self, references, labels, rows, offsets_px, search):  # type: ignore[no-untyped-def]
            asked.append(len(rows))
            return super().match(references, labels, rows, offsets_px, search)

    def aligned(still_px: float, engine: NativeEngine) -> Poses:
        refinement = rf.Refinement(
            search=Search(last_ring=15), iterations=30, last_cutoff=0.45, falloff=0.2, kick_deg=90.0, still_px=still_px
        )
        return rf.align_reference_free(engine, which, np.arange(60), start, 3, refinement)

    whole, rested = aligned(0.0, engine), aligned(0.05, Counted(images))
    assert asked[:17] == [60] * 17  # no class rests before the last kick, at iteration 16
    assert sum(asked) < 29 * 60
    away = pixel_error(whole, rested, radius_px=15)
    # twelve iterations follow the last kick; while resting, each would have moved a member by less than about 0.05 px
    assert away.max() < 12 * 0.05
    assert np.median(away) < 0.05


def test_a_class_does_not_feel_the_others() -> None:
    """Invariance: aligned alone or among others, a class comes out the same, bit for bit."""
    images, which = noisy_classes()
    engine, start = NativeEngine(images), rf.randomised(np.zeros((60, 2)), np.random.default_rng(1))
    refinement = rf.Refinement(search=Search(last_ring=15), iterations=14, last_cutoff=0.45, falloff=0.2)
    whole = rf.align_reference_free(engine, which, np.arange(60), start, 3, refinement)
    for c in range(3):
        rows = np.flatnonzero(which == c)
        alone = rf.align_reference_free(engine, np.zeros(20, np.int64), rows, start[rows], 1, refinement)
        assert np.array_equal(alone.rows(), whole[rows].rows())


def test_all_iterations_are_played_where_nothing_may_rest() -> None:
    """Definition: with still_px 0 even a class of one image, which soon lies still, plays every iteration."""
    images = noisy_classes()[0][:1]
    zero, start = np.zeros(1, np.int64), Poses.identity(1)

    def alignments(still_px: float) -> int:
        said: list[str] = []
        refinement = rf.Refinement(
            search=Search(last_ring=15), iterations=14, last_cutoff=0.45, falloff=0.2, still_px=still_px
        )
        rf.align_reference_free(NativeEngine(images), zero, zero, start, 1, refinement, said.append)
        return len(said)

    assert alignments(0.0) == 13
    assert alignments(0.05) < 13
