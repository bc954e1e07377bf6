"""Averages that become references."""

from typing import Any

import numpy as np
import pytest

from cryoisac.align.averages import Averages, Halving, class_averages
from cryoisac.align.updating import MEAN_SHIFT, Updating, updated
from cryoisac.engine.reference import ReferenceEngine
from cryoisac.model.poses import Poses
from cryoisac.ops.center import Reference, prepare_reference
from cryoisac.ops.filters import tangent_response
from cryoisac.ops.masks import circle
from cryoisac.ops.spectra import RingCorrelation
from cryoisac.ops.warp import rotate_shift


def off_centre(n: int, box: int, rng: np.random.Generator) -> tuple[np.ndarray, Poses]:
    """Images of a blob that lies 3, -2 px off the centre of the average, and their poses on it."""
    y, x = np.mgrid[:box, :box] - box // 2
    blob = np.exp(-((x - 3) ** 2 + (y + 2) ** 2) / 20) + 0.5 * np.exp(-((x - 6) ** 2 + (y + 4) ** 2) / 8)
    poses = Poses(angle_deg=rng.uniform(0, 360, n), shift_px=rng.uniform(-1, 1, (n, 2)), mirror=rng.random(n) < 0.5)
    images = rotate_shift(np.tile(blob.astype(np.float32), (n, 1, 1)), poses.inverse())
    return images + rng.normal(0, 0.01, images.shape).astype(np.float32), poses


@pytest.mark.parametrize("method", [MEAN_SHIFT, 1, 2])
def test_members_follow_a_reference_that_is_centred(method: int) -> None:
    """Known truth: averaged in the poses that are returned, the members give the centred reference."""
    rng = np.random.default_rng(0)
    n, box = 40, 40
    images, poses = off_centre(n, box, rng)
    engine, mask, one = ReferenceEngine(images), circle(17, box), np.zeros(n, dtype=np.int64)
    halving = Halving(number=np.arange(n), mask=mask)
    how = Updating(mask=mask, center_method=method, lowest_cutoff=0.12)
    new = updated(class_averages(engine, one, poses, 1, halving), one, poses, how)
    again = class_averages(engine, one, new.poses, 1, halving)
    filtered = prepare_reference(again.images[0], mask, _curve(again, 0), 0).image
    inner = circle(12, box)  # the mask was laid on before the shift in one, after it in the other
    assert np.corrcoef(filtered[inner], new.references[0][inner])[0, 1] > 0.995  # resampled once more
    assert np.abs(new.poses.shift_px - poses.shift_px).max() > (0.01 if method == MEAN_SHIFT else 1)


def test_the_mean_shift_is_removed() -> None:
    """Definition: as seen on their reference, members have no shift on average."""
    rng = np.random.default_rng(1)
    images, poses = off_centre(30, 40, rng)
    labels, mask = np.arange(30) % 3, circle(17, 40)
    averages = class_averages(ReferenceEngine(images), labels, poses, 3, Halving(number=np.arange(30), mask=mask))
    new = updated(averages, labels, poses, Updating(mask=mask, center_method=MEAN_SHIFT, lowest_cutoff=0.12))
    seen = new.poses.apply(np.zeros((30, 1, 2)))[:, 0]
    for c in range(3):
        np.testing.assert_allclose(seen[labels == c].mean(axis=0), 0, atol=1e-12)


def test_each_class_has_its_own_filter_and_a_least_cutoff() -> None:
    """Definition: cut-offs fitted to each class's halves, none below the least that is given."""
    mask, box = circle(13, 32), 32
    frequency = np.arange(17) / box
    fine, coarse = (np.clip(tangent_response(frequency, c, 0.1), 0, 1) for c in (0.35, 0.06))
    frc = RingCorrelation(frequency=frequency, correlation=np.stack((fine, coarse)), count=np.ones(17, dtype=np.int64))
    images = np.random.default_rng(2).normal(size=(2, box, box)).astype(np.float32)
    averages = Averages(images=images, frc=frc, sizes=np.array([1, 1]))
    poses, labels = Poses.identity(2), np.arange(2)
    for least in (0.12, 0.08):
        how = Updating(mask=mask, center_method=0, lowest_cutoff=least)
        found = updated(averages, labels, poses, how).cutoffs
        assert found[0] > 0.3
        assert found[1] == least


def test_a_function_takes_the_place_of_the_filter() -> None:
    """Definition: what it returns is the reference, and members follow its shift."""
    images, poses = off_centre(6, 24, np.random.default_rng(3))
    mask, one = circle(9, 24), np.zeros(6, dtype=np.int64)

    def function(average: Any, frc: Any, mask: Any, method: int) -> Reference:
        assert method == 1
        return Reference(image=2 * average, centre_px=(1.0, 0.0), cutoff=np.nan, falloff=np.nan)

    averages = class_averages(ReferenceEngine(images), one, poses, 1, Halving(number=np.arange(6), mask=mask))
    how = Updating(mask=mask, center_method=1, lowest_cutoff=0.1, function=function)
    new = updated(averages, one, poses, how)
    np.testing.assert_array_equal(new.references, 2 * averages.images)
    moved = new.poses.apply(np.zeros((6, 1, 2))) - poses.apply(np.zeros((6, 1, 2)))
    np.testing.assert_allclose(moved[:, 0], np.tile((-1.0, 0.0), (6, 1)), atol=1e-12)


def _curve(averages: Averages, c: int) -> RingCorrelation:
    f = averages.frc
    return RingCorrelation(frequency=f.frequency, correlation=f.correlation[c], count=f.count)
