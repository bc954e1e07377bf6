"""Stacks between disk and engine: normalised block by block, prepared by any number of threads."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from cryoisac.align import prealignment
from cryoisac.comm import Serial
from cryoisac.engine.native import NativeEngine
from cryoisac.io.mrc import MrcStack, read
from cryoisac.io.mrc_write import write_mrc_stack
from cryoisac.model.ctf import CtfParameters
from cryoisac.model.poses import Poses, wrap
from cryoisac.ops.masks import circle
from cryoisac.rules import OURS, SPHIRE, Rules
from cryoisac.run import working_stack
from cryoisac.run.filaments import Filaments
from cryoisac.run.progress import Silent
from cryoisac.run.working_stack import Geometry, Preparation, unusable, working_pixels, write_shrunk, write_working

GEOMETRY = Geometry(box_px=40, radius_px=16, target_radius_px=11, target_box_px=28)


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    images = rng.normal(3.0, 2.0, (23, 40, 40)) * rng.uniform(0.5, 2.0, (23, 1, 1))
    write_mrc_stack(tmp_path / "images.mrcs", images.astype(np.float32), 2.0)
    return tmp_path / "images.mrcs"


def prepared(stack: Path, threads: int) -> tuple[bytes, bytes]:
    """Return the shrunk and the working stack as files."""
    particles = read(stack)
    job = Preparation(
        particles=particles,
        index=np.setdiff1d(np.arange(len(particles)), unusable(particles, threads, Silent())),
        geometry=GEOMETRY,
        ctf=False,
        threads=threads,
        progress=Silent(),
    )
    shift_px = np.random.default_rng(1).uniform(-3, 3, (len(job.index), 2))
    shrunk, working = stack.parent / "shrunk.mrcs", stack.parent / "working.mrcs"
    write_shrunk(shrunk, job)
    write_working(working, job, shift_px)
    return shrunk.read_bytes(), working.read_bytes()


def test_definition_working_pixels(stack: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Definition: mean 0 and variance 1 inside the circle, all pixels moved and scaled alike, block after block."""
    monkeypatch.setattr(working_stack, "BLOCK_BYTES", 4 * 40 * 40 * 5)  # five images: 23 leave a block of three
    given = MrcStack(stack)
    raw, mask = given.read(np.arange(23)).astype(np.float64), circle(16, 40)
    inside = raw[:, mask]
    wanted = (raw - inside.mean(axis=1)[:, None, None]) / inside.std(axis=1)[:, None, None]
    found = working_pixels(given, 16)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, wanted, atol=2e-6)  # float32 of values up to about 5
    np.testing.assert_array_equal(working_pixels(given, 16, threads=3), found)


def test_invariance_threads_and_bad_neighbours(stack: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Invariance: the number of threads changes no byte, whole and with an image left out."""
    monkeypatch.setattr(working_stack, "BLOCK_BYTES", 4 * 40 * 40 * 4)
    assert prepared(stack, 1) == prepared(stack, 3)
    images = MrcStack(stack).read(np.arange(23))
    images[9] = 1.0
    write_mrc_stack(stack, images, 2.0)
    with_gap = prepared(stack, 2)
    assert with_gap == prepared(stack, 5)
    write_mrc_stack(stack, np.delete(images, 9, axis=0), 2.0)
    assert prepared(stack, 1)[0] == with_gap[0]


def given_to_sphire(images: np.ndarray, ctf: np.ndarray | None, radius: int, rules: Rules) -> Preparation:
    """Return how images that SPHIRE treated are to be treated; rows of its CTF, or none."""
    rows = np.zeros((len(images), 8)) if ctf is None else ctf.astype(np.float64)
    defocus, difference, angle, _, percent, kV, cs, pixel_size_A = rows.T
    parameters = CtfParameters(
        defocus_um=defocus,
        astigmatism_um=difference,
        astigmatism_angle_deg=angle,
        bfactor_A2=np.zeros(len(rows)),
        amplitude_contrast=percent / 100,
        voltage_kV=kV,
        cs_mm=cs,
        phase_shift_deg=np.zeros(len(rows)),
    )

    class Held(SimpleNamespace):
        def __len__(self) -> int:
            return len(images)

    held: Any = Held(read=lambda index: images[index], ctf=parameters, pixel_size_A=pixel_size_A)
    return Preparation(
        particles=held,
        index=np.arange(len(images)),
        geometry=Geometry(box_px=images.shape[-1], radius_px=radius, target_radius_px=29, target_box_px=76),
        ctf=ctf is not None,
        threads=1,
        progress=Silent(),
        rules=rules,
    )


# a working image has sigma 1; 2e-5 is the reported deviation of the chain, 1.4e-2 that of enlarging
CHAINS = {"chain90_r36": (36, 1e-4), "chain128_r40": (40, 1e-4), "chain90_r27": (27, 2.5e-2)}


@pytest.mark.parametrize("name", CHAINS)
def test_working_images_of_the_original(golden: Any, tmp_path: Path, name: str) -> None:
    """Independent program: flipped, shifted, shrunk or enlarged, normalised, padded or cut; by our rules otherwise."""
    data, chain = golden("normalise"), name.split("_")[0]
    radius, tolerance = CHAINS[name]
    wanted = data[f"{name}_final"]
    n = len(wanted)
    shift_px = data[f"{chain}_shift"][:n, 1:3]
    found = {}
    for rules in (SPHIRE, OURS):
        job = given_to_sphire(data[f"{chain}_in"][:n], data[f"{chain}_ctf"][:n], radius, rules)
        write_working(tmp_path / "working.mrcs", job, shift_px)
        found[rules] = MrcStack(tmp_path / "working.mrcs").read(np.arange(n))
    np.testing.assert_allclose(found[SPHIRE], wanted, atol=tolerance)
    assert np.abs(found[OURS] - wanted).max() > 10 * tolerance


@pytest.mark.parametrize(
    ("name", "width", "radius", "masked"),
    [("fil30_r36", 30, 36, True), ("fil30_r36_ignore", 30, 36, False), ("fil31_r44_pad", 31, 44, True)],
)
def test_filaments_of_the_original(
    golden: Any, tmp_path: Path, name: str, width: int, radius: int, masked: bool
) -> None:
    """Independent program: flipped, shifted, shrunk; measured under bars, and masked by them or not."""
    data = golden("normalise")
    wanted = data[f"chain100_{name}_final"]
    n = len(wanted)
    job = given_to_sphire(data["chain100_in"][:n], data["chain100_ctf"][:n], radius, SPHIRE)
    bars = Filaments(width_px=width, angle_deg=data["chain100_segment_angle"][:n], masked=masked)
    write_working(tmp_path / "working.mrcs", replace(job, filaments=bars), data["chain100_shift"][:n, 1:3])
    found = MrcStack(tmp_path / "working.mrcs").read(np.arange(n))
    np.testing.assert_allclose(found, wanted, atol=1e-4)


@pytest.mark.parametrize(("case", "ctf", "method"), [("ctf_centerm1", True, -1), ("noctf_center0", False, 0)])
def test_prealignment_of_the_original(golden: Any, tmp_path: Path, case: str, ctf: bool, method: int) -> None:
    """Independent program: shrunk images, references and poses of each of its alignments from the poses before."""
    data = golden("prealign")
    job = given_to_sphire(data["in_90"], data["ctf"] if ctf else None, 36, SPHIRE)
    write_shrunk(tmp_path / "shrunk.mrcs", job)
    engine = NativeEngine(MrcStack(tmp_path / "shrunk.mrcs").read(np.arange(40)))
    plan = prealignment.Plan(stages=((4, 1),), radius_px=29, center_method=method, kick_deg=90.0, rules=SPHIRE)
    state, poses, frc = prealignment.start(engine), data[f"{case}_pose"], data[f"{case}_frc_all"]
    inside, played = circle(29, 73), 0
    for i in range(len(poses)):
        if abs(frc[i, 0, 1]) < 0.999:  # by the last bit it had no ring 0, and moved all rings by one
            state = prealignment.step(engine, state, plan, Serial())
        else:
            state = prealignment.step(engine, state, plan, Serial())
            if i < 2:
                np.testing.assert_allclose(
                    state.averages[-1][inside], data[f"{case}_aqc_0_1_last"][i][inside], atol=2e-6
                )
                np.testing.assert_allclose(state.references[-1], data[f"{case}_aqf_0_1_last"][i], atol=2e-6)
            np.testing.assert_allclose(state.frcs[-1].frequency, frc[i, :, 0], atol=1e-6)
            wanted = Poses.from_rows(poses[i])
            assert np.array_equal(state.poses.mirror, wanted.mirror)
            # one wrong step of 1 px would show; fits of flat curves end up to 1e-3 apart, angles follow
            np.testing.assert_allclose(state.poses.shift_px, wanted.shift_px, atol=0.02)
            np.testing.assert_allclose(wrap(state.poses.angle_deg - wanted.angle_deg + 180) - 180, 0, atol=0.3)
            played += 1
        state = replace(state, poses=Poses.from_rows(poses[i]))
    assert played >= len(poses) - 1
    rows = data[f"{case}_initial2D_rows"]
    np.testing.assert_allclose(-state.poses.offset_px() / job.geometry.ratio, rows[:, 1:3], atol=1e-4)
