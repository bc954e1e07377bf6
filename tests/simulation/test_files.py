"""A simulation's files: complete, reproducible, and without truth where a classification reads."""

import csv
import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from cryoisac.io import star
from cryoisac.ops.ctf import ctf_2d
from cryoisac.settings import Simulation
from cryoisac.simulation.density import procedural
from cryoisac.simulation.files import simulate
from cryoisac.simulation.images import ParticleImages
from cryoisac.simulation.particles import draw

SETTINGS = Simulation(views=3, per_view=10, box=32, snr=0.3, ctf=True, junk=0.25, per_micrograph=7, seed=4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("simulation")
    made = simulate(out, SETTINGS)
    assert (made.images, made.junk) == (40, 10)
    assert made.radius_px == pytest.approx(0.42 * 32, rel=0.05)  # counted in quarter voxels
    return out


def _truth(folder: Path) -> dict[str, list[str]]:
    with (folder / "truth.csv").open() as file:
        rows = list(csv.DictReader(file))
    return {name: [row[name] for row in rows] for name in rows[0]}


def test_known_truth_star_file_reads_back(folder: Path) -> None:
    """Known truth: the package's reader finds the images and the CTF that were drawn, and no pose."""
    particles = star.read(folder / "particles.star")
    truth = draw(SETTINGS)
    assert len(particles) == 40
    pixels = np.concatenate(
        list(ParticleImages([procedural(box_px=32, pixel_size_A=5.0, seed=4)], SETTINGS, truth).blocks())
    )
    np.testing.assert_allclose(particles.read(np.arange(40)), pixels, atol=1e-5)
    assert particles.ctf is not None
    # Å and degrees are written with six decimals
    np.testing.assert_allclose(particles.ctf.defocus_um, truth.ctf.defocus_um, atol=1e-9)
    np.testing.assert_allclose(particles.ctf.astigmatism_um, truth.ctf.astigmatism_um, atol=1e-9)
    assert particles.pixel_size_A is not None
    assert set(particles.pixel_size_A.tolist()) == {5.0}
    assert particles.metadata is not None
    assert not any("Angle" in name and "Defocus" not in name for name in particles.metadata.particles.columns)
    assert particles.metadata.particles.texts("rlnMicrographName")[6:8] == [
        "micrographs/00001.mrc",
        "micrographs/00002.mrc",
    ]


def test_independent_starfile_reads_it(folder: Path) -> None:
    """Independent program: the starfile package."""
    blocks = pytest.importorskip("starfile").read(folder / "particles.star")
    assert blocks["particles"].rlnImageName[39] == "000040@particles.mrcs"
    assert float(np.ravel(blocks["optics"]["rlnImagePixelSize"])[0]) == 5.0


def test_definition_truth_columns(folder: Path) -> None:
    """Definition: the columns, their order, and what stands where there is nothing."""
    truth = _truth(folder)
    assert ",".join(truth) == (
        "index,image,view,molecule,junk,angle_deg,shift_x_px,shift_y_px,mirror,rot_deg,tilt_deg,psi_deg,"
        "defocus_u_A,defocus_v_A,defocus_angle_deg,contrast"
    )
    drawn = draw(SETTINGS)
    np.testing.assert_array_equal(np.array(truth["view"], dtype=int), drawn.view)
    junk = np.array(truth["junk"]) != "none"
    np.testing.assert_array_equal(junk, drawn.view == -1)
    assert set(np.array(truth["angle_deg"])[junk]) == {"nan"}
    assert set(np.array(truth["mirror"])[junk]) == {"-1"}
    np.testing.assert_allclose(
        np.array(truth["angle_deg"], dtype=float)[~junk], drawn.poses.angle_deg[~junk], atol=1e-6
    )


def test_invariance_bytes(folder: Path, tmp_path: Path) -> None:
    """Invariance: the same seed gives the same bytes, another seed others; no file is left half made."""
    names = sorted(p.name for p in folder.iterdir())
    assert names == ["particles.mrcs", "particles.star", "simulation.json", "truth.csv"]
    simulate(tmp_path / "a", SETTINGS)
    simulate(tmp_path / "b", Simulation(views=3, per_view=10, box=32, snr=0.3, seed=5))
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (folder / name).read_bytes()
        assert (tmp_path / "b" / name).read_bytes() != (folder / name).read_bytes()
    assert "rlnDefocusU" not in (tmp_path / "b/particles.star").read_text()
    assert json.loads((folder / "simulation.json").read_text())["settings"]["seed"] == 4


def test_known_truth_a_phase_plate_is_in_the_table_and_in_the_images(tmp_path: Path) -> None:
    """Known truth: the shift is read back, and other than it only what the CTF does to the images is changed."""
    seen = Simulation(views=2, per_view=3, box=32, snr=1e6, ctf=True, defocus_min=0.5, defocus_max=0.6, seed=4)
    for name, shift_deg in (("plain", 0.0), ("plate", 90.0)):
        simulate(tmp_path / name, dataclasses.replace(seen, phase_shift=shift_deg))
    plain, plate = (star.read(tmp_path / name / "particles.star") for name in ("plain", "plate"))
    assert plain.ctf is not None
    assert plate.ctf is not None
    assert plain.metadata is not None
    assert "rlnPhaseShift" not in plain.metadata.particles
    np.testing.assert_array_equal(plate.ctf.phase_shift_deg, 90)
    np.testing.assert_array_equal(plate.ctf.defocus_um, plain.ctf.defocus_um)
    images = [np.fft.rfft2(particles.read(np.arange(6))) for particles in (plain, plate)]
    response = [ctf_2d(particles.ctf, 32, 5.0) for particles in (plain, plate) if particles.ctf is not None]
    crossed = [images[0] * response[1], images[1] * response[0]]  # both are the projection times both CTFs
    ratio = np.abs(crossed[0][:, 1:8, 1:8]).sum() / np.abs(crossed[1][:, 1:8, 1:8]).sum()
    scaled = crossed[0] / ratio  # the SNR is that after the CTF
    assert np.corrcoef(scaled.real.ravel(), crossed[1].real.ravel())[0, 1] > 0.999
