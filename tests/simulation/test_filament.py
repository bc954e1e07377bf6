"""Filaments: a helix that goes on and on, seen from the side, traced with an error."""

from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from cryoisac.errors import SettingError
from cryoisac.io import star
from cryoisac.model.poses import to_relion
from cryoisac.settings import Simulation
from cryoisac.simulation.filament import RISE, TWIST_DEG, azimuth_frames, filament
from cryoisac.simulation.files import simulate
from cryoisac.simulation.images import ParticleImages
from cryoisac.simulation.particles import draw

BOX = 80
SEGMENTS = Simulation(views=6, per_view=20, box=BOX, snr=1e10, max_shift=3, filament=True, seed=3)


def test_known_truth_the_density_is_a_helix() -> None:
    """Known truth: turned by the twist and moved by the rise, the middle of the filament is itself, and polar."""
    density = filament(box_px=BOX, pixel_size_A=4.0, max_shift_px=3.0, seed=0)
    assert density.radius_A == pytest.approx(0.33 * BOX * 4)
    values = density.values.astype(float)
    d = len(values)
    z, y, x = np.indices(values.shape) - d // 2
    angle = np.deg2rad(TWIST_DEG)
    source = (
        z - RISE * BOX,
        -np.sin(angle) * x + np.cos(angle) * y,
        np.cos(angle) * x + np.sin(angle) * y,
    )
    screwed = map_coordinates(values, np.stack(source) + d // 2, order=3)
    middle = (np.abs(z) < 0.2 * BOX) & (np.hypot(x, y) < 0.3 * BOX)
    # splines of blobs of 0.64 voxels: their sampling costs some per cent
    assert np.corrcoef(screwed[middle], values[middle])[0, 1] > 0.9
    upside_down = values[::-1, ::-1]
    assert np.corrcoef(upside_down[middle], values[middle])[0, 1] < 0.9
    assert np.abs(values[[0, -1]]).max() < 1e-3 * values.max()


def test_definition_azimuths() -> None:
    """Definition: orthonormal frames, the filament along x, views half a turn over n apart about it."""
    frames = azimuth_frames(9, np.random.default_rng(0))
    np.testing.assert_allclose(frames @ frames.swapaxes(1, 2), np.broadcast_to(np.eye(3), (9, 3, 3)), atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(frames), 1)
    np.testing.assert_allclose(frames @ [0, 0, 1], np.broadcast_to([1, 0, 0], (9, 3)), atol=1e-12)
    np.testing.assert_allclose((frames[1:, 2] * frames[:-1, 2]).sum(axis=1), np.cos(np.pi / 9))


def test_known_truth_segments_lie_along_their_traced_angle(tmp_path: Path) -> None:
    """Known truth: turned by the psi of the table, each segment's longest direction is x; priors err as told."""
    simulate(tmp_path, SEGMENTS)
    truth = draw(SEGMENTS)
    particles = star.read(tmp_path / "particles.star")
    assert particles.metadata is not None
    prior = particles.metadata.particles.floats("rlnAnglePsiPrior")
    assert np.abs(prior).max() <= 90
    error = (prior - to_relion(truth.poses)[0] + 90) % 180 - 90
    assert 4 < error.std() < 6  # 120 draws of 5 degrees: a standard error of 0.3
    images = particles.read(np.arange(len(truth))).astype(float)
    y, x = np.indices((BOX, BOX)) - BOX // 2
    weight = images**2 * (np.hypot(x, y) < 0.4 * BOX)
    xx, yy, xy = ((weight * part).sum(axis=(1, 2)) for part in (x * x, y * y, x * y))
    lies = np.rad2deg(np.arctan2(2 * xy, xx - yy)) / 2  # from x towards y
    off = (lies - truth.poses.angle_deg + 90) % 180 - 90
    assert np.abs(off).max() < 12  # the axis of inertia of a helix of a few turns, cut by a disc
    assert np.abs(np.median(off)) < 3


def test_known_truth_shifts_are_along_and_across() -> None:
    """Known truth: in the frame of the view, segments are off by at most the greatest shift, in both directions."""
    poses = draw(SEGMENTS).poses
    assert (np.abs(poses.shift_px).max(axis=0) <= 3).all()
    assert (poses.shift_px.std(axis=0) > 1.4).all()  # 6 / sqrt(12) = 1.7
    clean = ParticleImages([filament(box_px=BOX, pixel_size_A=5.0, max_shift_px=3, seed=3)], SEGMENTS, draw(SEGMENTS))
    ends = clean.clean(np.arange(6))[:, :, :3]
    assert np.abs(ends).max() < 0.05 * np.abs(clean.clean(np.arange(6))).max()  # nothing is left to wrap around


def test_filaments_have_discrete_views_and_room_for_shifts() -> None:
    """Definition of the errors."""
    with pytest.raises(SettingError, match="need discrete views"):
        Simulation(filament=True, distribution="uniform")
    with pytest.raises(SettingError, match="raise --box"):
        filament(box_px=BOX, pixel_size_A=5.0, max_shift_px=9.0, seed=0)
