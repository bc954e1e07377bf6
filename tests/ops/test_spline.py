"""Images laid on references by splines: blobs that are known everywhere."""

import numpy as np
import pytest

from cryoisac.errors import DataError
from cryoisac.model.poses import Poses
from cryoisac.ops.fourier import absolute_frequency
from cryoisac.ops.spline import lay

SIGMA_px = 1.5
# A spline on a grid twice as fine misses at most 1/300 of a wave at 1/2 cycle per pixel; blobs of this width have a
# hundredth of their power beyond 0.25, and their peaks are near 1.
CLOSE = 2e-3


def blobs(points: np.ndarray, box: int) -> np.ndarray:
    y, x = np.mgrid[:box, :box] - box // 2
    heights = np.linspace(0.5, 1.0, len(points))
    parts = [
        h * np.exp(-((x - u) ** 2 + (y - v) ** 2) / (2 * SIGMA_px**2))
        for h, (u, v) in zip(heights, points, strict=True)
    ]
    return sum(parts).astype(np.float32)


def drawn(n: int, seed: int = 0) -> Poses:
    rng = np.random.default_rng(seed)
    return Poses(angle_deg=rng.uniform(0, 360, n), shift_px=rng.uniform(-3, 3, (n, 2)), mirror=np.arange(n) % 2 == 1)


@pytest.mark.parametrize("box", [48, 49])
def test_blobs_land_where_their_poses_carry_them(box: int) -> None:
    """Known truth: each blob moves as its centre does, mirrored or not, in boxes of even and odd side."""
    points = np.random.default_rng(1).uniform(-box / 5, box / 5, (5, 2))
    poses = drawn(6)
    laid = lay(np.repeat(blobs(points, box)[None], 6, axis=0), poses)
    carried = poses.apply(np.repeat(points[None], 6, axis=0))
    assert laid.dtype == np.float32
    for image, where in zip(laid, carried, strict=True):
        assert np.abs(image - blobs(where, box)).max() < CLOSE


def test_a_pose_that_moves_nothing_changes_nothing() -> None:
    """Invariance: an image without frequencies from 1/2 on comes back, but for its rim, to the rounding of float32."""
    rng = np.random.default_rng(2)
    spectrum = np.fft.rfft2(rng.normal(size=(2, 32, 32))) * (absolute_frequency((32, 32)) < 0.5)
    images = np.fft.irfft2(spectrum).astype(np.float32)
    assert np.abs(lay(images, Poses.identity(2)) - images)[:, 1:-1, 1:-1].max() < 1e-5


def test_there_and_back() -> None:
    """Invariance: a pose and its inverse leave the middle of an image as it was, twice the loss of one move."""
    image = blobs(np.random.default_rng(3).uniform(-8, 8, (4, 2)), 48)
    poses = drawn(4, seed=5)
    back = lay(lay(np.repeat(image[None], 4, axis=0), poses), poses.inverse())
    assert np.abs(back - image)[:, 12:36, 12:36].max() < 2 * CLOSE


def test_what_comes_from_outside_is_empty() -> None:
    """Definition: an image moved by its whole side shows nothing."""
    far = Poses(angle_deg=np.zeros(1), shift_px=np.array([[40.0, 0.0]]), mirror=np.zeros(1, dtype=bool))
    assert not lay(np.ones((1, 32, 32), dtype=np.float32), far).any()


def test_images_that_cannot_be_laid() -> None:
    """Definition: each image needs a pose, and must be a square."""
    with pytest.raises(DataError, match="one pose for each"):
        lay(np.zeros((2, 16, 16), dtype=np.float32), Poses.identity(3))
    with pytest.raises(DataError, match="squares"):
        lay(np.zeros((2, 16, 18), dtype=np.float32), Poses.identity(2))
