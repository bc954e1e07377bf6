"""What a method comes to: sizes and pixel errors of its classes."""

import numpy as np
import pytest

from cryoisac.cluster.result import Result
from cryoisac.model.ledger import MEMBER, Ledger
from cryoisac.model.poses import Poses


@pytest.fixture
def result():
    """Return 30 images in three classes, some of them members of none, some with no pixel error, a class with none."""
    rng = np.random.default_rng(0)
    label = rng.integers(-1, 3, 30)
    error = np.where(rng.random(30) < 0.3, np.inf, rng.uniform(0.1, 2, 30))
    error[label == 1] = np.inf
    ledger = Ledger.empty(30).entered(
        np.arange(30),
        poses=Poses.identity(30),
        label=label,
        reason=np.where(label >= 0, MEMBER, "unstable"),
        pixel_error_px=error,
    )
    return Result(
        ledger=ledger,
        averages=np.zeros((4, 6, 6), np.float32),
        shift_px=np.zeros((30, 2)),
        chapters=(),
        changes=(),
        stopped_because="",
    )


def test_sizes_count_members(result):
    """Definition by brute force: also of a class without members."""
    assert result.sizes.tolist() == [sum(x == c for x in result.ledger.label) for c in range(4)]


def test_pixel_errors_are_root_mean_squares_of_those_known(result):
    """Definition by brute force: infinite where none is known."""
    for c, found in enumerate(result.pixel_errors_px):
        known = [
            e for e, x in zip(result.ledger.pixel_error_px, result.ledger.label, strict=True) if x == c and e < np.inf
        ]
        assert found == pytest.approx(np.sqrt(np.mean(np.square(known))) if known else np.inf)
    assert np.isinf(result.pixel_errors_px[[1, 3]]).all()
