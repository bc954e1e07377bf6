"""Rings read from a fast Fourier transform are those summed over pixels."""

import numpy as np
import pytest

from cryoisac.ops.hartley import RingTransform, transform_rings
from cryoisac.ops.ring_sampling import TOGETHER, SampledRings


@pytest.mark.parametrize(("box", "last"), [(48, 23), (49, 24), (48, 6)])
def test_samples_are_those_of_the_sum(box: int, last: int) -> None:
    """Definition by brute force: the same samples, for even and odd sides, up to the last ring there is."""
    rings = transform_rings(last, first=1, box_px=box, support_px=box / 2)
    images = np.random.default_rng(0).normal(size=(TOGETHER + 3, box, box)).astype(np.float32)
    expected, found = RingTransform(rings, box)(images), SampledRings(rings, box)(images)
    assert found.shape == expected.shape
    # The window is good to 1e-6 of the strongest sample, and both are float32.
    assert np.abs(found - expected).max() < 5e-6 * np.abs(expected).max()


def test_no_images() -> None:
    """Definition: nothing comes of nothing."""
    rings = transform_rings(5, first=1, box_px=16, support_px=8)
    assert SampledRings(rings, 16)(np.zeros((0, 16, 16), dtype=np.float32)).shape == (0, sum(rings.lengths))
