"""Densities: read, built from atoms, made up."""

import gzip
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from cryoisac.errors import DataError, FormatError
from cryoisac.simulation.density import Density, blobs, from_map, from_structure, procedural
from cryoisac.simulation.projection import Projector, orientation


def _write_map(path: Path, values: np.ndarray, pixel_size_A: float) -> Path:
    with mrcfile.new(path) as mrc:
        mrc.set_data(values.astype(np.float32))
        mrc.voxel_size = pixel_size_A
        mrc.set_volume()
    return path


def test_definition_blobs_sum_gaussians() -> None:
    """Definition: every voxel is the sum over Gaussians at its place."""
    rng = np.random.default_rng(0)
    position, weight, sigma = rng.uniform(-4, 4, (5, 3)), rng.uniform(1, 2, 5), rng.uniform(0.6, 1.2, 5)
    cube = blobs(position, weight, sigma)
    d = len(cube)
    z, y, x = np.indices(cube.shape) - d // 2
    squared = [(x - p[0]) ** 2 + (y - p[1]) ** 2 + (z - p[2]) ** 2 for p in position]
    expected = sum(
        w * np.exp(-r2 / (2 * s**2)) / (s * np.sqrt(2 * np.pi)) ** 3
        for w, s, r2 in zip(weight, sigma, squared, strict=True)
    )
    # each is cut off beyond four of the largest widths: exp(-8)
    np.testing.assert_allclose(cube, expected, atol=4e-4 * expected.max())


def test_known_truth_map_is_padded_about_its_centre(tmp_path: Path) -> None:
    """Known truth: a bright centre voxel stays the centre voxel; the header's pixel size may be overruled."""
    values = np.zeros((8, 9, 12))
    values[4, 4, 6] = 1
    path = _write_map(tmp_path / "a.mrc", values, 2.5)
    density = from_map(path)
    assert density.values.shape == (12, 12, 12)
    assert density.values[6, 6, 6] == 1
    assert density.pixel_size_A == pytest.approx(2.5)
    assert from_map(path, pixel_size_A=4.0).pixel_size_A == 4.0


def test_map_that_cannot_be_used_is_refused(tmp_path: Path) -> None:
    """Definition of the errors: no pixel size, constant, too flat, no map."""
    rng = np.random.default_rng(0)
    with pytest.raises(FormatError, match="map-pixel-size"):
        from_map(_write_map(tmp_path / "a.mrc", rng.random((9, 9, 9)), 0.0))
    with pytest.raises(DataError, match="constant"):
        from_map(_write_map(tmp_path / "b.mrc", np.ones((9, 9, 9)), 1.0))
    with pytest.raises(FormatError, match="8 voxels"):
        from_map(_write_map(tmp_path / "c.mrc", rng.random((2, 9, 9)), 1.0))
    (tmp_path / "d.mrc").write_text("no map" * 1000)
    with pytest.raises(FormatError):
        from_map(tmp_path / "d.mrc")


ATOMS = """\
ATOM      1  CA  ALA A   1    {:8.3f}   0.000   0.000  1.00  0.00           C
ATOM      2  O   ALA A   1    {:8.3f}   0.000   0.000  1.00  0.00           O
HETATM    3  O   HOH A   2      90.000   0.000   0.000  1.00  0.00           O
"""


def test_known_truth_structure(tmp_path: Path) -> None:
    """Known truth: two atoms, gzipped, become two peaks in the ratio of their electrons; water does not count."""
    path = tmp_path / "two.pdb.gz"
    path.write_bytes(gzip.compress(ATOMS.format(10.0, 26.0).encode()))
    density = from_structure(path, pixel_size_A=2.0)
    centre = len(density.values) // 2
    assert density.values[centre, centre, centre + 4] / density.values[centre, centre, centre - 4] == pytest.approx(
        8 / 6, rel=1e-4
    )
    (tmp_path / "none.pdb").write_text("REMARK nothing\n")
    with pytest.raises(FormatError, match="no atoms"):
        from_structure(tmp_path / "none.pdb", pixel_size_A=2.0)


def test_known_truth_radius_of_a_ball() -> None:
    """Known truth: 99.5 % of a uniform ball lies within 0.995 ** (1 / 3) of its radius."""
    z, y, x = np.indices((41, 41, 41)) - 20
    ball = (x**2 + y**2 + z**2 <= 15**2).astype(np.float32)
    # a ball of voxels is round to about half a voxel
    assert Density(values=ball, pixel_size_A=2.0, name="").radius_A == pytest.approx(30 * 0.995 ** (1 / 3), abs=1.0)


@pytest.mark.parametrize("box_px", [32, 64])
def test_invariance_procedural(box_px: int) -> None:
    """Invariance: same seed, same molecule; it fills 0.42 of its box, whatever the pixel size."""
    density = procedural(box_px=box_px, pixel_size_A=3.0, seed=1)
    assert density.radius_A / 3.0 == pytest.approx(0.42 * box_px, rel=0.05)  # radius counted in quarter voxels
    np.testing.assert_array_equal(density.values, procedural(box_px=box_px, pixel_size_A=5.0, seed=1).values)
    assert procedural(box_px=box_px, pixel_size_A=3.0, seed=2).values.shape != density.values.shape or not np.allclose(
        procedural(box_px=box_px, pixel_size_A=3.0, seed=2).values, density.values
    )


def test_known_truth_procedural_has_no_symmetry() -> None:
    """Known truth: no view resembles itself turned, or its mirror image turned, and views differ."""
    density = procedural(box_px=48, pixel_size_A=5.0, seed=0)
    projector = Projector(density, box_px=48, pixel_size_A=5.0)
    rot, tilt = np.array([0.0, 90, 200, 310, 40]), np.array([10.0, 60, 90, 75, 120])
    psi = np.arange(0, 360, 5.0)
    views = projector.project(orientation(rot, tilt, np.zeros(5))).reshape(5, -1)
    turned = projector.project(orientation(np.repeat(rot, 72), np.repeat(tilt, 72), np.tile(psi, 5)))
    mirrored = turned[:, :, ::-1] if turned.shape[-1] % 2 else np.roll(turned[:, :, ::-1], 1, axis=2)
    views = (views - views.mean(axis=1, keepdims=True)) / views.std(axis=1, keepdims=True) / np.sqrt(views.shape[1])

    def alike(images: np.ndarray) -> np.ndarray:
        flat = images.reshape(len(images), -1)
        flat = (flat - flat.mean(axis=1, keepdims=True)) / flat.std(axis=1, keepdims=True) / np.sqrt(flat.shape[1])
        return (views @ flat.T).reshape(5, 5, 72)

    straight = alike(turned)
    own = straight[np.arange(5), np.arange(5)]
    assert own[:, 0] == pytest.approx(1.0, abs=1e-5)
    assert own[:, (psi > 40) & (psi < 320)].max() < 0.85
    assert alike(mirrored).max() < 0.9
    assert straight[~np.eye(5, dtype=bool)].max() < 0.9
