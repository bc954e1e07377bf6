"""A run on the particles of an EMAN2 database."""

import json
from pathlib import Path

import numpy as np
import pytest

from cryoisac.cli import main as cli
from cryoisac.io.registry import read_image_stack, read_particles
from cryoisac.settings import Simulation
from cryoisac.simulation.files import simulate
from tests.cli.test_isac_command import OPTIONS
from tests.io.berkeley import EMAN2Ctf, database, header


def run(particles: str | Path, out: str, *options: str) -> int:
    return cli.run(["isac", str(particles), out, *OPTIONS["likelihood"], *options])


def test_the_classes_are_those_of_the_stack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Invariance: the same images with the same CTFs give the same classes, and a table that is read again."""
    monkeypatch.chdir(tmp_path)
    made = simulate("p", Simulation(views=3, per_view=20, box=32, pixel_size=10.0, snr=1.0, max_shift=1.0, ctf=True))
    particles = read_particles(made.particles)
    images = particles.read(np.arange(60))
    ctf = particles.ctf
    assert ctf is not None
    rows = np.column_stack((ctf.defocus_um, ctf.astigmatism_um, ctf.astigmatism_angle_deg, ctf.bfactor_A2))
    rows = np.column_stack((rows, 100 * ctf.amplitude_contrast, ctf.voltage_kV, ctf.cs_mm, np.full(60, 10.0)))
    headers = [header(i, images[i], apix_x=10.0, ctf=EMAN2Ctf([*rows[i].tolist(), 0.0, 0, 0])) for i in range(60)]
    file = database(Path("eman"), "all", images, headers)

    assert run(made.particles, "a", "--ctf") == 0
    assert run("bdb:eman#all", "b", "--ctf") == 0
    assert Path("a/all_parameters.txt").read_bytes() == Path("b/all_parameters.txt").read_bytes()
    record = json.loads(Path("b/run.json").read_text(encoding="utf-8"))
    assert "RELION cannot read these images" in " ".join(record["warnings"])
    assert "RELION" not in " ".join(json.loads(Path("a/run.json").read_text(encoding="utf-8"))["warnings"])
    members = np.loadtxt("b/processed_images.txt", dtype=int)
    monkeypatch.chdir(tmp_path / "b")
    again = read_particles("classified.star")
    np.testing.assert_array_equal(again.read(np.arange(len(members))), images[members])
    monkeypatch.chdir(tmp_path)
    assert ">all<" in Path("b/report.html").read_text(encoding="utf-8")
    assert read_image_stack("bdb:eman#all").shape == (60, 32, 32)
    capsys.readouterr()

    assert run("bdb:eman/all", "b", "--ctf") == 0
    assert "finished; nothing was changed" in capsys.readouterr().out
    assert run("bdb:eman#all?0,1,2", "b", "--ctf") == 1
    assert "holds a run on other particles (bdb:eman#all)" in capsys.readouterr().err
    headers[0]["apix_x"] = 11.0
    database(Path("eman"), "all", images, headers)
    assert file.exists()
    assert run("bdb:eman#all", "b", "--ctf") == 1
    assert "holds a run on other particles" in capsys.readouterr().err


def test_images_that_are_corrected_already_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Definition: as with an HDF stack, ctf_applied tells."""
    images = np.random.default_rng(0).normal(size=(60, 32, 32)).astype(np.float32)
    ctf = EMAN2Ctf([1.5, 0, 0, 0, 10.0, 300.0, 2.7, 10.0, 0, 0, 0])
    database(tmp_path, "all", images, [header(i, images[i], ctf=ctf, ctf_applied=1) for i in range(60)])
    assert run(f"bdb:{tmp_path}#all", str(tmp_path / "out"), "--ctf") == 1
    assert "ctf_applied says; run without --ctf" in capsys.readouterr().err
