"""From the working stack to ring images on disk: noise measured, foreign images found, rings written."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cryoisac.errors import DataError, RunError
from cryoisac.io.mrc import MrcStack, read
from cryoisac.io.mrc_write import write_mrc_stack
from cryoisac.model.ctf import CtfParameters
from cryoisac.ops.hartley import ring_power
from cryoisac.ops.whiten import EDGE_PX, Whitening
from cryoisac.run import ring_stack
from cryoisac.run.filaments import Filaments
from cryoisac.run.progress import Silent
from cryoisac.run.ring_stack import (
    FIRST_RING,
    LEAST_ROOM_PX,
    filled_box_px,
    last_ring,
    open_rings,
    remove_rings,
    ring_geometry,
    rings_are_there,
    shift_room_px,
    survey,
    write_rings,
)
from cryoisac.run.working_stack import Geometry, Preparation

BOX, N = 36, 200
GEOMETRY = Geometry(box_px=BOX, radius_px=11, target_radius_px=11, target_box_px=BOX)
SIZES = ring_geometry(GEOMETRY, 2.0)


def particles(rng, n=N, *, snr=0.1):
    """Return images of three Gaussians each, somewhere in the particle, in noise that falls off with frequency."""
    y, x = np.mgrid[:BOX, :BOX] - BOX // 2
    at = rng.uniform(-5, 5, (n, 3, 2))
    images = np.zeros((n, BOX, BOX))
    for i in range(3):
        images += np.exp(-((x - at[:, i, 0, None, None]) ** 2 + (y - at[:, i, 1, None, None]) ** 2) / 12)
    images *= np.sqrt(snr) / images.std()
    fy, fx = np.meshgrid(np.fft.fftfreq(BOX), np.fft.rfftfreq(BOX), indexing="ij")
    falls = (1 + 4 * np.hypot(fy, fx)) ** -1.0
    noise = np.fft.irfft2(np.fft.rfft2(rng.normal(size=images.shape)) * falls, s=(BOX, BOX))
    return (images + noise / noise.std()).astype(np.float32)


def job_of(folder: Path, images, *, ctf=None, threads=1):
    """Write images as a working stack and return what describes them."""
    write_mrc_stack(folder / "working.mrcs", images, 4.0)
    given = replace(read(folder / "working.mrcs"), ctf=ctf)
    return Preparation(
        particles=given,
        index=np.arange(len(images)),
        geometry=GEOMETRY,
        ctf=ctf is not None,
        threads=threads,
        progress=Silent(),
    )


def surveyed(folder: Path, images, **changes):
    job = job_of(folder, images, **changes)
    return survey(MrcStack(folder / "working.mrcs"), SIZES, job), job


@pytest.mark.parametrize("target", [8, 11, 20])
def test_sizes_fit_into_each_other(target: int) -> None:
    """Definition: mask and rings lie within what the input fills; the particle has room for its shifts."""
    geometry = Geometry(box_px=48, radius_px=16, target_radius_px=target, target_box_px=3 * target)
    sizes = ring_geometry(geometry, 3.0)
    assert sizes.box_px == filled_box_px(geometry) <= 3 * target
    assert sizes.mask_radius_px + EDGE_PX <= sizes.box_px / 2
    assert sizes.reach_px == pytest.approx(min(3.0 * target / 16, shift_room_px(geometry)))
    assert shift_room_px(geometry) >= LEAST_ROOM_PX
    assert sizes.rings.radii == tuple(range(FIRST_RING, last_ring(geometry) + 1))
    # input images hold no frequencies beyond their own half, however large working images are made
    assert sizes.rings.radii[-1] / sizes.box_px <= 0.5 / max(1.0, geometry.ratio)


def test_the_noise_is_that_outside_the_particles(tmp_path: Path) -> None:
    """Known truth: its spectrum, relative to its variance, whatever the particles and their strength."""
    rng = np.random.default_rng(0)
    known, _ = surveyed(tmp_path, particles(rng))
    assert not known.foreign.any()
    wanted = np.array([(1 + 4 * k / BOX) ** -2.0 for k in SIZES.rings.radii])
    fy, fx = np.meshgrid(np.fft.fftfreq(BOX), np.fft.fftfreq(BOX), indexing="ij")
    wanted /= ((1 + 4 * np.hypot(fy, fx)) ** -2.0).mean()
    # the innermost ring loses what the plane takes; the particles' rims, the mask's smear and the ring's width add up
    np.testing.assert_allclose(known.noise[1:], wanted[1:], rtol=0.12)


def test_images_with_an_edge_are_foreign_and_particles_are_not(tmp_path: Path) -> None:
    """Known truth: ten of 200 images lie half on carbon or under ice."""
    rng = np.random.default_rng(1)
    images = particles(rng)
    y, x = np.mgrid[:BOX, :BOX] - BOX // 2
    images[:5] += 16 * (x > np.arange(-2, 3)[:, None, None])
    images[5:10] += 14 * np.exp(-((x - 4) ** 2 + y**2) / 100)
    known, _ = surveyed(tmp_path, images)
    assert np.array_equal(np.flatnonzero(known.foreign), np.arange(10))
    clean, _ = surveyed(tmp_path, images[10:])
    np.testing.assert_allclose(known.noise, clean.noise, rtol=1e-6)


@pytest.mark.parametrize("snr", [0.01, 0.3])
def test_few_particles_are_called_foreign(tmp_path: Path, snr: float) -> None:
    """Known truth: weak or strong, of 600 particles none."""
    known, _ = surveyed(tmp_path, particles(np.random.default_rng(2), 600, snr=snr))
    assert not known.foreign.any()


def test_units_threads_and_blocks_do_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Invariance: of intensities each scaled and offset, and of how the work is divided."""
    rng = np.random.default_rng(3)
    images = particles(rng, 60)
    known, _ = surveyed(tmp_path, images)
    scaled = (images * rng.uniform(0.5, 3, (60, 1, 1)) + rng.normal(size=(60, 1, 1))).astype(np.float32)
    np.testing.assert_allclose(surveyed(tmp_path, scaled)[0].noise, known.noise, rtol=1e-4)  # float32 pixels
    monkeypatch.setattr(ring_stack, "BLOCK_BYTES", 4 * BOX * BOX * 7)
    again, _ = surveyed(tmp_path, images, threads=3)
    np.testing.assert_allclose(again.noise, known.noise, rtol=1e-6)
    assert np.array_equal(again.foreign, known.foreign)


def test_images_without_a_background_are_refused(tmp_path: Path) -> None:
    """Bad input: the third image is 0 around the particle; the message names it."""
    images = particles(np.random.default_rng(4), 9)
    y, x = np.mgrid[:BOX, :BOX] - BOX // 2
    images[2] *= np.hypot(x, y) < SIZES.radius_px
    with pytest.raises(DataError, match=r"image 3 \(.*no noise around the particle"):
        surveyed(tmp_path, images)


def test_rings_are_the_whitened_images(tmp_path: Path) -> None:
    """Definition: what the transform gives, without the foreign images, with a CTF of their own each."""
    rng = np.random.default_rng(5)
    images = particles(rng, 40)
    images[7] += 12 * (np.arange(BOX) > BOX // 2)
    n = np.ones(40)
    ctf = CtfParameters(
        defocus_um=rng.uniform(1, 2, 40),
        astigmatism_um=0.1 * n,
        astigmatism_angle_deg=30 * n,
        bfactor_A2=0 * n,
        amplitude_contrast=0.1 * n,
        voltage_kV=300 * n,
        cs_mm=2.7 * n,
        phase_shift_deg=0 * n,
    )
    known, job = surveyed(tmp_path, images, ctf=ctf)
    assert np.flatnonzero(known.foreign).tolist() == [7]
    write_rings(tmp_path, MrcStack(tmp_path / "working.mrcs"), SIZES, known, job)
    found, kept = open_rings(tmp_path, SIZES), np.delete(np.arange(40), 7)
    whitening = Whitening(SIZES.rings, known.noise, SIZES.support)
    samples, ctf2 = whitening(images[kept], ctf[kept], 4.0)
    np.testing.assert_allclose(found.samples, samples, atol=1e-5 * np.abs(samples).max())
    np.testing.assert_allclose(found.ctf2, ctf2, rtol=1e-5)
    assert found.ctf2.std(axis=0).max() > 0.05


def test_rings_of_noise_have_the_power_of_the_mask(tmp_path: Path) -> None:
    """Known truth: without particles every ring holds the share of unit noise that the mask lets through."""
    known, job = surveyed(tmp_path, particles(np.random.default_rng(6), 300, snr=0.0))
    write_rings(tmp_path, MrcStack(tmp_path / "working.mrcs"), SIZES, known, job)
    found = open_rings(tmp_path, SIZES)
    power = ring_power(found.samples, SIZES.rings).mean(axis=0) / SIZES.support.share
    # 300 images of some 2 pi k / 3 coefficients: 0.03 on ring 4, and as much in the noise that they are divided by
    np.testing.assert_allclose(power[2:], 1, atol=0.12)
    assert (found.ctf2 == 1).all()


def test_files_are_the_same_for_any_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Invariance: to the last byte."""
    monkeypatch.setattr(ring_stack, "BLOCK_BYTES", 4 * BOX * BOX * 16)
    images, written = particles(np.random.default_rng(7), 60), []
    for threads in (1, 3):
        known, job = surveyed(tmp_path, images, threads=threads)
        write_rings(tmp_path, MrcStack(tmp_path / "working.mrcs"), SIZES, known, job)
        written.append([(tmp_path / name).read_bytes() for name in ring_stack.RING_FILES])
    assert written[0] == written[1]


def test_files_come_and_go_whole(tmp_path: Path) -> None:
    """Definition: there or not, damaged or of other sizes; the message says what to do."""
    assert not rings_are_there(tmp_path)
    known, job = surveyed(tmp_path, particles(np.random.default_rng(8), 20))
    write_rings(tmp_path, MrcStack(tmp_path / "working.mrcs"), SIZES, known, job)
    assert rings_are_there(tmp_path)
    other = ring_geometry(Geometry(box_px=30, radius_px=9, target_radius_px=9, target_box_px=30), 1.0)
    with pytest.raises(RunError, match="damaged"):
        open_rings(tmp_path, other)
    path = tmp_path / "rings.npy"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(RunError, match="damaged"):
        open_rings(tmp_path, SIZES)
    remove_rings(tmp_path)
    assert not rings_are_there(tmp_path)
    remove_rings(tmp_path)


def filaments(rng, n=N):
    """Return white noise with a filament across each image, of contrast 3 and off its centre by a pixel at most."""
    angle_deg, off_px = rng.uniform(-90, 90, n), rng.uniform(-1, 1, n)
    y, x = np.mgrid[:BOX, :BOX] - BOX // 2
    turn = np.deg2rad(angle_deg)[:, None, None]
    away = np.sin(turn) * x + np.cos(turn) * y - off_px[:, None, None]
    images = 3 * np.exp(-0.5 * (away / 1.5) ** 2) + rng.normal(size=(n, BOX, BOX))
    return images.astype(np.float32), angle_deg


def test_bars_keep_filaments_out_of_the_noise(tmp_path: Path) -> None:
    """Known truth: noise is white beyond bars, while a disc takes the filament for noise; rings are what bars show."""
    images, angle_deg = filaments(np.random.default_rng(9))
    sizes = ring_geometry(GEOMETRY, 1.0, 7.0)
    assert sizes.support.bar_px == pytest.approx(4.5)
    job = replace(job_of(tmp_path, images), filaments=Filaments(width_px=7.0, angle_deg=angle_deg))
    stack = MrcStack(tmp_path / "working.mrcs")
    known, by_disc = survey(stack, sizes, job), survey(stack, ring_geometry(GEOMETRY, 1.0), job)
    np.testing.assert_allclose(known.noise[1:], 1, atol=0.1)  # 200 images of some k coefficients: 0.04 on ring 3
    assert by_disc.noise[0] > 1.3
    write_rings(tmp_path, stack, sizes, known, job)
    kept = np.flatnonzero(~known.foreign)
    samples, _ = Whitening(sizes.rings, known.noise, sizes.support)(images[kept], None, 1.0, angle_deg[kept])
    found = open_rings(tmp_path, sizes)
    np.testing.assert_allclose(found.samples, samples, atol=1e-5 * np.abs(samples).max())


def test_rings_of_noise_under_bars_have_their_power(tmp_path: Path) -> None:
    """Known truth: without filaments every ring holds the share of unit noise that disc and bar let through."""
    rng = np.random.default_rng(10)
    images, sizes = rng.normal(size=(300, BOX, BOX)).astype(np.float32), ring_geometry(GEOMETRY, 1.0, 7.0)
    bars = Filaments(width_px=7.0, angle_deg=rng.uniform(-90, 90, 300))
    job, stack = replace(job_of(tmp_path, images), filaments=bars), MrcStack(tmp_path / "working.mrcs")
    known = survey(stack, sizes, job)
    write_rings(tmp_path, stack, sizes, known, job)
    power = ring_power(open_rings(tmp_path, sizes).samples, sizes.rings).mean(axis=0) / sizes.support.share
    # 300 images of some k coefficients: 0.03 on ring 4, and as much in the noise that they are divided by
    np.testing.assert_allclose(power[2:], 1, atol=0.12)
    assert sizes.support.share < 0.6 * SIZES.support.share
