"""Stacks between disk and engine: normalised block by block, prepared by any number of threads."""

from pathlib import Path

import numpy as np
import pytest

from cryoisac.io.mrc import MrcStack, read
from cryoisac.io.mrc_write import write_mrc_stack
from cryoisac.ops.masks import circle
from cryoisac.run import working_stack
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
