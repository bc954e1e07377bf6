"""Images as given and as laid on their class averages."""

from dataclasses import replace

import numpy as np
import pytest

from cryoisac.errors import DataError, SettingError
from cryoisac.explore import images as explored
from cryoisac.explore.images import Lay, geometry_of, lay
from cryoisac.explore.source import read_input
from cryoisac.model.particles import Particles
from cryoisac.model.poses import Poses
from cryoisac.ops.warp import rotate_shift
from cryoisac.run.progress import Silent

from .conftest import SMALL


class Memory:
    """Images in memory."""

    def __init__(self, pixels: np.ndarray) -> None:
        self._pixels = pixels

    @property
    def shape(self):
        return self._pixels.shape

    def read(self, index):
        return self._pixels[index]


def particles_of(pixels: np.ndarray) -> Particles:
    return Particles(path="memory.mrcs", source=Memory(pixels), name_of=str)


def blobs(n: int, box: int) -> np.ndarray:
    """Smooth images without symmetry: the same three blobs."""
    y, x = np.mgrid[:box, :box] - box // 2
    spots = ((0, 0, 1.0), (6, 2, 0.8), (-2, 5, 0.6))
    image = sum(a * np.exp(-((x - u) ** 2 + (y - v) ** 2) / 18) for u, v, a in spots)
    return np.repeat(image[None].astype(np.float32), n, axis=0)


def correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    a, b = (x.reshape(len(x), -1) - x.reshape(len(x), -1).mean(axis=1, keepdims=True) for x in (a, b))
    return (a * b).sum(axis=1) / np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))


def laid(pixels: np.ndarray, poses: Poses, folder, *, threads: int = 1, target: int = 16, label=None):
    n = len(pixels)
    job = Lay(
        particles=particles_of(pixels),
        index=np.arange(n),
        label=np.zeros(n, dtype=np.int64) if label is None else label,
        poses=poses,
        geometry=geometry_of(particles_of(pixels), 20, target),
        ctf=False,
        points=np.arange(1, n, 2),
        first=min(3, n),
    )
    return lay(job, folder, threads=threads, progress=Silent())


@pytest.mark.parametrize("target", [12, 20])
def test_images_come_back_from_where_poses_took_them(tmp_path, target):
    """Known truth recovered: one image, moved by poses, then laid by the inverse of each."""
    rng = np.random.default_rng(0)
    n, box = 12, 48
    away = Poses(
        angle_deg=rng.uniform(0, 360, n), shift_px=rng.uniform(-3, 3, (n, 2)), mirror=rng.uniform(size=n) < 0.5
    )
    pixels = blobs(n, box)
    found = laid(rotate_shift(pixels, away, method="cubic"), away.inverse(), tmp_path, target=target)
    (tmp_path / "plain").mkdir()
    plain = laid(pixels, Poses.identity(n), tmp_path / "plain", target=target)
    # two interpolations, and noise-free images that are smooth: what is left is below a percent
    assert correlation(found.after, plain.before).min() > 0.99
    assert correlation(found.before, plain.before).min() < 0.8
    np.testing.assert_allclose(plain.before, plain.after, atol=1e-5)  # shifted by nothing in Fourier space


def test_inside_the_disc_only(tmp_path):
    """Definition: 0 outside the particle's disc; contrast 1 and background 0 before it was cut."""
    pixels = blobs(4, 64) * 7 + 100
    found = laid(pixels, Poses.identity(4), tmp_path)
    assert found.mask.sum() == pytest.approx(np.pi * 16**2, rel=0.02)
    assert (np.asarray(found.before)[:, ~found.mask] == 0).all()
    inside = np.asarray(found.before)[:, found.mask]
    np.testing.assert_allclose(inside.std(axis=1, ddof=1), 1, rtol=1e-5)


def test_pictures_are_of_the_images_that_were_asked_for(tmp_path, monkeypatch):
    """Definition, across blocks: the first ones whole, every second one small, the mean of each class."""
    monkeypatch.setattr(explored, "blocks", lambda index, box: (index[i : i + 3] for i in range(0, len(index), 3)))
    rng = np.random.default_rng(1)
    pixels = blobs(11, 48) + rng.normal(size=(11, 48, 48)).astype(np.float32)
    label = np.arange(11) % 2
    found = laid(pixels, Poses.identity(11), tmp_path, label=label)
    side = found.before.shape[1]
    cut = (found.first_after.shape[1] - side) // 2
    window = (..., slice(cut, cut + side), slice(cut, cut + side))
    np.testing.assert_array_equal(found.first_before[window] * found.mask, found.before[:3])
    assert found.small_before.shape == (5, explored.PICTURE_px, explored.PICTURE_px)
    (tmp_path / "whole").mkdir()
    monkeypatch.undo()
    whole = laid(pixels, Poses.identity(11), tmp_path / "whole", label=label, threads=2)
    # products of blocks of other sizes are summed in another order
    np.testing.assert_allclose(whole.after, found.after, atol=1e-4)
    np.testing.assert_allclose(whole.small_after, found.small_after, atol=1e-4)
    for c in range(2):
        np.testing.assert_allclose(
            found.averages[c][window] * found.mask, np.asarray(found.after)[label == c].mean(axis=0), atol=1e-4
        )


def test_threads_change_no_bit(finished, tmp_path):
    """Invariance."""
    given = read_input(finished.run, SMALL, stack=finished.particles)
    results = []
    for threads in (1, 2):
        folder = tmp_path / str(threads)
        folder.mkdir()
        job = Lay(
            particles=given.particles,
            index=given.index,
            label=given.label,
            poses=given.poses,
            geometry=geometry_of(given.particles, 20, 16),
            ctf=True,
            points=np.arange(10),
            first=2,
        )
        results.append(lay(job, folder, threads=threads, progress=Silent()))
        plain = lay(replace(job, ctf=False), folder, threads=threads, progress=Silent())
        assert not np.array_equal(plain.first_before, results[-1].first_before)  # phases are flipped
    np.testing.assert_array_equal(results[0].small_after, results[1].small_after)
    np.testing.assert_array_equal(results[0].averages, results[1].averages)


def test_what_does_not_fit_is_refused(tmp_path, monkeypatch):
    """Definition: one sentence each."""
    with pytest.raises(DataError, match="must be square"):
        geometry_of(particles_of(np.zeros((2, 40, 48), dtype=np.float32)), 10, 16)
    with pytest.raises(DataError, match="too small for a particle of radius 24 px; see --radius"):
        geometry_of(particles_of(np.zeros((2, 48, 48), dtype=np.float32)), 24, 16)
    with pytest.raises(DataError, match="constant"):
        laid(np.zeros((2, 48, 48), dtype=np.float32), Poses.identity(2), tmp_path)
    monkeypatch.setattr("cryoisac.run.room.shutil.disk_usage", lambda home: type("Disk", (), {"free": 10})())
    with pytest.raises(SettingError, match="disk"):
        laid(blobs(2, 48), Poses.identity(2), tmp_path)
