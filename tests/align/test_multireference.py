"""Multireference alignment: averages with their mean shift removed."""

from typing import Any

import numpy as np
import pytest

from cryoisac.align import multireference as mr
from cryoisac.engine.contract import Search
from cryoisac.engine.reference import ReferenceEngine
from cryoisac.model.poses import Poses
from cryoisac.ops.masks import circle, normalise_inside


def test_averages_of_the_original(golden: Any) -> None:
    """Independent program: recentred poses and averages of one K-means pass."""
    data = golden("mref")
    images = normalise_inside(data["a_img"], circle(29, 76))
    labels = data["assign_mref_group"].astype(np.int64)
    rows = data["a_zero_xr1_ts1_pose"][np.arange(24), labels]
    averages, poses = mr.recentred_averages(
        ReferenceEngine(images), labels, np.arange(24), Poses.from_rows(rows), 12, (0.2, 0.2)
    )
    expected = Poses.from_rows(data["kmeans_pose_out"])
    np.testing.assert_allclose(poses.shift_px, expected.shift_px, atol=1e-5)  # poses are float32
    difference = np.abs(averages[:6] - data["kmeans_average_0_5"])
    # README: 5e-6; in group 0 a last-bit decision of the outside rule changes one border pixel, which the low-pass
    # spreads to 0.02 around it
    assert difference[1:].max() < 2.5e-5
    assert difference[0].max() < 0.025


def test_a_search_that_would_leave_the_box_starts_at_the_centre(golden: Any) -> None:
    """Independent program: offsets after the reset rule; image 20 sits exactly on the limit and is left out."""
    data = golden("mref")
    found = mr.search_centres_px(Poses.from_rows(data["a_pose0"]), 76, 29)
    others = np.arange(24) != 20
    np.testing.assert_allclose(found[others], data["a_offset"][others], atol=1e-4)  # float32 poses of up to 8 px


def test_scores_become_correlation_coefficients() -> None:
    """Definition: divided by its norm, the score of a reference with itself is 1, and of another image below 1."""
    rng = np.random.default_rng(1)
    images = rng.normal(size=(3, 40, 40)).astype(np.float32)
    search = Search(last_ring=17, x_range_px=0, y_range_px=0, normalise_rings=True)
    scores = ReferenceEngine(images).score(images, np.arange(3), np.zeros((3, 2)), search)
    found = scores / mr.reference_norms(images, search)
    np.testing.assert_allclose(np.diag(found), 1.0, atol=1e-6)  # float32 scores
    assert found[~np.eye(3, dtype=bool)].max() < 0.5


def test_mean_shift_of_each_class_becomes_zero() -> None:
    """Definition: after recentring, the mean shift of a class's members, mirrored as they are seen, is zero."""
    rng = np.random.default_rng(0)
    poses = Poses(angle_deg=rng.uniform(0, 360, 30), shift_px=rng.normal(0, 2, (30, 2)), mirror=rng.random(30) < 0.5)
    labels = np.arange(30) % 4
    engine = ReferenceEngine(rng.normal(size=(30, 16, 16)).astype(np.float32))
    _, moved = mr.recentred_averages(engine, labels, np.arange(30), poses, 4, (0.3, 0.2))
    seen = moved.apply(np.zeros((30, 1, 2)))[:, 0]
    for c in range(4):
        assert seen[labels == c].mean(axis=0) == pytest.approx([0, 0], abs=1e-12)
