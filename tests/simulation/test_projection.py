"""Projections: by definition, in every pose, and against RELION's own."""

from pathlib import Path

import numpy as np
import pytest

from cryoisac.io.mrc import MrcStack
from cryoisac.model.ctf import CtfParameters
from cryoisac.ops.ctf import ctf_2d
from cryoisac.simulation.density import Density, blobs
from cryoisac.simulation.projection import Projector, euler_angles, orientation, to_pixels


def _random_orientations(n: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    tilt = np.rad2deg(np.arccos(rng.uniform(-1, 1, n)))
    return orientation(rng.uniform(-180, 180, n), tilt, rng.uniform(-180, 180, n))


@pytest.mark.parametrize(("box_px", "magnification"), [(64, 1.0), (63, 1.0), (48, 0.7), (80, 1.3)])
def test_definition_projection_of_gaussians_is_known(box_px: int, magnification: float) -> None:
    """Definition: a Gaussian projects to a Gaussian at the first two components of A r, moved by the offset."""
    rng = np.random.default_rng(3)
    position = rng.uniform(-1, 1, (20, 3))
    position *= rng.uniform(0, 18, (20, 1)) / np.linalg.norm(position, axis=1, keepdims=True)
    weight, sigma = rng.uniform(0.5, 2, 20), np.full(20, 1.6)
    projector = Projector(
        Density(values=blobs(position, weight, sigma), pixel_size_A=magnification, name=""),
        box_px=box_px,
        pixel_size_A=1.0,
    )
    matrices, offset = _random_orientations(5, 4), rng.uniform(-3, 3, (5, 2))
    axis = np.arange(box_px) - box_px // 2
    for matrix, o, image in zip(matrices, offset, projector.project(matrices, offset), strict=True):
        seen = magnification * position @ matrix[:2].T + o
        width = magnification * sigma
        x = np.exp(-((axis - seen[:, :1]) ** 2) / (2 * width[:, None] ** 2))
        y = np.exp(-((axis - seen[:, 1:]) ** 2) / (2 * width[:, None] ** 2))
        expected = np.einsum("a,ay,ax->yx", weight / (2 * np.pi * sigma**2), y, x)
        scale = (image * expected).sum() / (expected**2).sum()
        # ghosts of the cubic spline reach 0.5 % at the rim of a density padded to twice its side
        assert np.abs(image - scale * expected).max() < 0.005 * image.max()


def test_invariance_view_from_behind_is_mirror_image() -> None:
    """Invariance: turning about y by 180 degrees reverses x."""
    rng = np.random.default_rng(0)
    density = Density(values=blobs(rng.uniform(-8, 8, (9, 3)), np.ones(9), np.full(9, 1.5)), pixel_size_A=1.0, name="")
    projector = Projector(density, box_px=33, pixel_size_A=1.0)
    front = orientation([20.0], [50.0], [0.0])
    behind = orientation([0.0], [180.0], [0.0]) @ front
    # float32 coefficients
    np.testing.assert_allclose(projector.project(behind), projector.project(front)[:, :, ::-1], atol=1e-5)


def test_known_truth_euler_angles_of_orientation() -> None:
    """Known truth: angles come back from their matrix, at the poles too."""
    matrices = np.concatenate(
        (_random_orientations(50, 1), orientation([10.0, 10.0], [0.0, 180.0], [25.0, 25.0]), np.eye(3)[None])
    )
    np.testing.assert_allclose(orientation(*euler_angles(matrices)), matrices, atol=1e-9)


# RELION interpolates linearly in a volume padded by this factor: the closer to exact, the larger it is.
@pytest.mark.parametrize(("name", "least"), [("batch_pfac2", 0.998), ("batch_pfac3", 0.999)])
def test_independent_relion_projections(shared: Path, name: str, least: float) -> None:
    """Independent program: images by ``relion_project`` with angles, origins and astigmatic CTF."""
    starfile = pytest.importorskip("starfile")
    folder = shared / "data/formats/simplecryoem-relion-proj"
    stack = MrcStack(folder / f"relion_proj_{name}.mrcs")
    images = stack.read(np.arange(len(stack)))
    rows = starfile.read(folder / f"relion_proj_{name}.star")["particles"]
    volume = MrcStack(folder / "pointmass.mrc")
    density = Density(values=volume.read(np.arange(64)), pixel_size_A=3.54, name="")
    projector = Projector(density, box_px=64, pixel_size_A=3.54)
    origin_px = rows[["rlnOriginXAngst", "rlnOriginYAngst"]].to_numpy() / 3.54
    spectra = projector.spectra(orientation(rows.rlnAngleRot, rows.rlnAngleTilt, rows.rlnAnglePsi), -origin_px)
    ctf = CtfParameters.from_relion(
        rows.rlnDefocusU,
        rows.rlnDefocusV,
        rows.rlnDefocusAngle,
        voltage_kV=200.0,
        cs_mm=1.4,
        amplitude_contrast=0.1,
    )
    ours = to_pixels(spectra * ctf_2d(ctf, 64, 3.54), 64)
    correlation = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(ours, images, strict=True)]
    assert len(correlation) == 24
    assert min(correlation) > least
    scale = (ours * images).sum() / (ours**2).sum()
    assert scale == pytest.approx(1.0, abs=0.01)  # and white on the same side
