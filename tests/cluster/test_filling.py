"""Classes filled up with random members."""

import numpy as np

from cryoisac.cluster.filling import fill_up
from cryoisac.cluster.stability import Stability
from cryoisac.model.poses import Poses

LABELS = np.repeat(np.arange(5), [9, 8, 7, 6, 3])
STABLE_IN = [9, 5, 4, 0, 1]


def judged() -> Stability:
    """Return a test in which the first members of each class are stable, all in poses that are not the identity."""
    n = len(LABELS)
    place = np.arange(n) - np.searchsorted(LABELS, LABELS)
    stable = place < np.array(STABLE_IN)[LABELS]
    poses = Poses(angle_deg=np.full(n, 30.0), shift_px=np.ones((n, 2)), mirror=np.ones(n, dtype=bool))
    return Stability(stable=stable, pixel_error_px=np.where(stable, 0.2, np.inf), poses=poses)


def test_small_classes_are_filled_up() -> None:
    """Definition (isac2 §6.6): to five where there are so many; what is added has no pose and an error of 100 px."""
    before = judged()
    after = fill_up(before, LABELS, 5, np.random.default_rng(1))
    assert np.bincount(LABELS[after.stable]).tolist() == [9, 5, 5, 5, 3]
    assert after.stable[before.stable].all()
    added = after.stable & ~before.stable
    assert (after.pixel_error_px[added] == 100).all()
    assert not after.poses.rows()[added].any()
    assert np.array_equal(after.poses.rows()[~added], before.poses.rows()[~added])
    assert np.array_equal(after.pixel_error_px[~added], before.pixel_error_px[~added])


def test_any_other_member_may_be_added() -> None:
    """Known truth: over 200 draws every unstable member of a class of six without stable ones is left out sometimes."""
    drawn = sum(fill_up(judged(), LABELS, 5, np.random.default_rng(i)).stable[LABELS == 3] for i in range(200))
    # binomial with 200 draws at 5/6: mean 167, deviation 5.3; four deviations
    assert ((drawn > 145) & (drawn < 189)).all()


def test_nothing_is_filled_up_by_our_rule() -> None:
    """Definition: with 0 the test stands as it is."""
    before = judged()
    assert fill_up(before, LABELS, 0, np.random.default_rng(0)) is before
