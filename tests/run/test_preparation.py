"""What is measured on all images before they are prepared: the spectrum that whitens images of a phase plate."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cryoisac.io.mrc import MrcStack, read
from cryoisac.io.mrc_write import write_mrc_stack
from cryoisac.io.registry import read_particles
from cryoisac.model.ctf import CtfParameters
from cryoisac.ops.masks import circle
from cryoisac.ops.normalise import subtract_background
from cryoisac.ops.resample import resample
from cryoisac.ops.spectra import rotational_power, whitening_table
from cryoisac.run import checkpoint, working_stack
from cryoisac.run.checks import flips_phases
from cryoisac.run.preparation import Whitening, summed_amplitude
from cryoisac.run.progress import Silent
from cryoisac.run.working_stack import Geometry, Preparation, corrected, write_shrunk
from cryoisac.settings import Isac, Simulation
from cryoisac.simulation.files import simulate
from cryoisac.workflow.isac import run_isac

GEOMETRY = Geometry(box_px=64, radius_px=24, target_radius_px=12, target_box_px=30)
SETTINGS = Isac(
    method="isac2",
    vpp=True,
    radius=12,
    img_per_grp=10,
    minimum_grp_size=5,
    target_radius=12,
    target_nx=36,
    maxit=4,
    init_iter=1,
    main_iter_limit=1,
)


def job_of(folder: Path, images: Any, *, ctf: CtfParameters | None = None, threads: int = 1) -> Preparation:
    """Write images as a stack and return how they are prepared."""
    write_mrc_stack(folder / "images.mrcs", np.asarray(images, dtype=np.float32), 5.0)
    return Preparation(
        particles=dataclasses.replace(read(folder / "images.mrcs"), ctf=ctf),
        index=np.arange(len(images)),
        geometry=GEOMETRY,
        ctf=ctf is not None,
        threads=threads,
        progress=Silent(),
    )


def plates(n: int, defocus_um: float = 1.0) -> CtfParameters:
    """Return the CTF of ``n`` images taken with a phase plate."""
    return CtfParameters.from_relion(
        np.full(n, defocus_um * 1e4),
        defocus_um * 1e4,
        0.0,
        voltage_kV=300.0,
        cs_mm=2.7,
        amplitude_contrast=0.1,
        phase_shift_deg=90.0,
    )


def test_the_table_and_its_images_agree_with_sphire(golden: Any, tmp_path: Path) -> None:
    """Independent program: the table of ten images, and the first of them flipped, then whitened."""
    g = golden("filters")
    defocus, difference, angle, b, percent, kV, cs, apix = np.atleast_2d(g["vpp_ctf_par"]).astype(np.float64).T
    ctf = CtfParameters(
        defocus_um=defocus,
        astigmatism_um=difference,
        astigmatism_angle_deg=angle,
        bfactor_A2=b,
        amplitude_contrast=percent / 100,
        voltage_kV=kV,
        cs_mm=cs,
        phase_shift_deg=np.zeros(1),
    )
    job = job_of(tmp_path, g["vpp_in"])
    table = whitening_table(summed_amplitude(job), len(job.index))
    np.testing.assert_allclose(table, g["vpp_table"], rtol=5e-6)  # float32 sums there
    given = dataclasses.replace(job.particles, ctf=ctf, pixel_size_A=apix)
    flipping = dataclasses.replace(job, particles=given, ctf=True, whitening=table)
    one = np.zeros(1, dtype=np.int64)
    found = corrected(g["vpp_in"][:1], one, flipping)
    np.testing.assert_allclose(found[0], g["vpp_flip_then_whiten_nopad_0"], atol=1.5e-4)  # float32 of values up to 124
    plain = corrected(g["vpp_in"][:1], one, dataclasses.replace(flipping, ctf=False))
    np.testing.assert_allclose(plain[0], g["vpp_out"][0], atol=1.5e-4)


def test_pre_alignment_sees_whitened_images_that_are_not_flipped(tmp_path: Path) -> None:
    """Definition: whiten, shrink, subtract the background; what the original does first."""
    images = np.random.default_rng(2).normal(size=(5, 64, 64)).astype(np.float32)
    job = job_of(tmp_path, images, ctf=plates(5))
    table = np.linspace(1.0, 2.0, 33)
    write_shrunk(tmp_path / "shrunk.mrcs", dataclasses.replace(job, whitening=table))
    white = corrected(images, job.index, dataclasses.replace(job, ctf=False, whitening=table))
    shrunk = subtract_background(resample(white, 0.5, 32), circle(12, 32))
    np.testing.assert_allclose(MrcStack(tmp_path / "shrunk.mrcs").read(job.index), shrunk, atol=1e-6)


def test_the_average_spectrum_becomes_flat(tmp_path: Path) -> None:
    """Known truth: images of a steep spectrum have, once whitened, a mean amplitude of 1 on rings but the innermost."""
    rng = np.random.default_rng(0)
    fy, fx = np.meshgrid(np.fft.fftfreq(64), np.fft.rfftfreq(64), indexing="ij")
    spectrum = np.fft.rfft2(rng.normal(size=(300, 64, 64))) / (0.02 + np.hypot(fy, fx))
    job = job_of(tmp_path, np.fft.irfft2(spectrum, s=(64, 64)))
    table = whitening_table(summed_amplitude(job), 300)
    white = corrected(job.particles.read(job.index), job.index, dataclasses.replace(job, whitening=table))
    amplitude = np.sqrt(rotational_power(white)).mean(axis=0)
    # the table is linear between rings, and the spectrum is steep within the first; the last holds shares only
    np.testing.assert_allclose(amplitude[3:-1], 1, rtol=0.03)


def test_threads_do_not_change_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Invariance: bit for bit, over many blocks."""
    monkeypatch.setattr(working_stack, "BLOCK_BYTES", 3 * 64 * 64 * 4)
    images = np.random.default_rng(1).normal(size=(40, 64, 64))
    alone, together = (summed_amplitude(job_of(tmp_path, images, threads=threads)) for threads in (1, 4))
    assert alone.tobytes() == together.tobytes()


@pytest.mark.parametrize("ctf", [True, False])
def test_a_run_whitens_once_and_says_whether_it_flips(tmp_path: Path, ctf: bool) -> None:
    """Definition: the table is saved; the log says what is done; the working images are others than without."""
    seen = Simulation(views=2, per_view=20, box=32, pixel_size=10.0, snr=1.0, max_shift=1.0, ctf=ctf)
    simulate(tmp_path / "particles", dataclasses.replace(seen, phase_shift=90.0) if ctf else seen)
    particles = tmp_path / "particles" / "particles.star"
    if not ctf:
        particles = particles.with_suffix(".mrcs")
    run_isac(particles, tmp_path / "vpp", SETTINGS)
    run_isac(particles, tmp_path / "plain", dataclasses.replace(SETTINGS, vpp=False))
    stacks = [MrcStack(tmp_path / name / "working_stack.mrcs").read(np.arange(40)) for name in ("vpp", "plain")]
    assert np.abs(stacks[0] - stacks[1]).mean() > 0.1
    table = checkpoint.load(tmp_path / "vpp" / "state" / "whitening.npz", Whitening)
    assert table is not None
    np.testing.assert_allclose(np.loadtxt(tmp_path / "vpp" / "rpw.txt"), table.table, rtol=1e-4)  # as printed
    assert not np.loadtxt(tmp_path / "plain" / "rpw.txt").any()
    log = (tmp_path / "vpp" / "logs" / "run.log").read_text()
    assert log.count("Measuring the spectrum") <= 1
    kept = dataclasses.replace(SETTINGS, parity="sphire")
    assert flips_phases(read_particles(particles), SETTINGS) is ctf
    assert not flips_phases(read_particles(particles), kept)
    told = "phases flipped by the CTF of the particles" if ctf else "phases are not flipped, as the particles have no"
    assert told in log
