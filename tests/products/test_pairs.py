"""Alignment of every pair of class averages."""

import numpy as np
import pytest

from cryoisac.errors import DataError, SettingError
from cryoisac.model.poses import Poses, pixel_error
from cryoisac.ops.warp import rotate_shift
from cryoisac.products.pairs import align_pairs


def turned(picture: np.ndarray, rows: list) -> tuple[np.ndarray, Poses]:
    """Copies of a picture under poses (angle, x, y, mirror)."""
    poses = Poses.from_rows(rows)
    return rotate_shift(np.repeat(picture[None], len(poses), axis=0), poses, method="cubic", outside="zero"), poses


def test_original_program(golden):
    """Independent program: 28 pairs as aligned by SPARX; twice five times the deviation that README.md gives."""
    case = golden("frc_chain")
    expected = case["chain_pair_ccc_alpha_sx_sy_mirror_peak"]
    upper = np.triu_indices(8, 1)
    found = align_pairs(case["chain_avg"], range_px=2, radius_px=36)
    angle = (found.angle_deg - expected[..., 1] + 180) % 360 - 180
    assert (found.mirror == (expected[..., 4] == 1))[upper].all()
    assert np.abs(found.similarity - expected[..., 0])[upper].max() < 2e-7  # 5 x 4e-8
    assert np.abs(angle[upper]).max() < 5e-5  # 5 x 1e-5
    assert np.abs(found.shift_px - expected[..., 2:4])[upper].max() < 1.5e-4  # 5 x 3e-5


def test_known_poses_are_recovered(asymmetric):
    """Known truth recovered: copies of one picture, turned, moved and mirrored."""
    pictures, truth = turned(
        asymmetric, [(0, 0, 0, 0), (30, 1.2, -0.7, 0), (200, -1.5, 1.1, 1), (117, 0.4, 1.8, 0), (301, 0, -1.3, 1)]
    )
    found = align_pairs(pictures, range_px=4)
    i, j = np.triu_indices(5, 1)
    expected = truth[i].inverse().then(truth[j])
    assert (found.mirror[i, j] == expected.mirror).all()
    # Half a degree (a third of an angular sample) at 20 px is 0.17 px, and 0.1 px of interpolation.
    assert pixel_error(found.poses(i, j), expected, radius_px=20).max() < 0.27
    assert found.similarity[i, j].min() > 0.99


def test_both_directions_undo_each_other(asymmetric):
    """Invariance: laying i on j and then j on i moves nothing."""
    pictures, _ = turned(asymmetric, [(0, 0, 0, 0), (80, 1, 0, 1), (150, 0, 1, 0)])
    found = align_pairs(pictures, range_px=2)
    i, j = np.triu_indices(3, 1)
    there_and_back = found.poses(i, j).then(found.poses(j, i))
    assert pixel_error(there_and_back, Poses.identity(3), radius_px=30).max() < 1e-9  # rounding of sines
    assert (found.similarity == found.similarity.T).all()
    assert (np.diag(found.similarity) == 1).all()


def test_contrast_and_brightness_do_not_matter(asymmetric):
    """Invariance: a correlation coefficient knows neither, however faint the averages are."""
    pictures, _ = turned(asymmetric, [(0, 0, 0, 0), (80, 1, 0, 1), (150, 0, 1, 0)])
    one = align_pairs(pictures, range_px=2)
    two = align_pairs(1e-3 * pictures + 0.5, range_px=2)
    assert np.abs(one.similarity - two.similarity).max() < 1e-4  # float32 keeps 1e-3 on 0.5 to 6e-5


def test_constant_average_is_like_no_other(asymmetric):
    """Definition: a constant has no correlation coefficient, which counts as 0."""
    found = align_pairs(np.stack((asymmetric, np.zeros_like(asymmetric), asymmetric)), range_px=1)
    assert found.similarity[1, 0] == found.similarity[1, 2] == 0
    assert found.similarity[0, 2] > 0.99


def test_bad_input_is_named(asymmetric):
    """Definition: bad input raises, and says which."""
    broken = np.stack((asymmetric, asymmetric))
    broken[1, 3, 3] = np.nan
    with pytest.raises(DataError, match="class average 2"):
        align_pairs(broken, range_px=1)
    with pytest.raises(DataError, match="square"):
        align_pairs(np.zeros((2, 20, 30)), range_px=1)
    with pytest.raises(SettingError, match="range_px"):
        align_pairs(asymmetric[None], range_px=40)
    with pytest.raises(SettingError, match="radius_px"):
        align_pairs(asymmetric[None], range_px=1, radius_px=50)
