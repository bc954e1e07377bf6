"""Sums by ring coefficients in PyTorch: definition, compiled engine, known truths, batches, several devices."""

import sys
from pathlib import Path

import numpy as np
import pytest
from test_contract import smooth
from test_ring_total import poses_of
from torch_engines import BUDGET_BYTES, DEVICE, needs_torch, place, torch_engine

from cryoisac.engine.contract import Search
from cryoisac.engine.fast_reference import FastReferenceEngine
from cryoisac.engine.native import NativeEngine
from cryoisac.engine.ring_total import pixels_of_rings, rings_of_box
from cryoisac.errors import DataError, DeviceError
from cryoisac.model.poses import Poses

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
pytestmark = list(needs_torch)
# float32: 22 sums of four weighted terms for a sample, some hundred samples for a coefficient, each 6e-8 of its terms
ROUNDING = 1e-6  # of the largest sum; 2e-7 was measured


def question(box, m=41, k=5):
    """Return images, labels, with -1 and a class that is empty, rows, and poses, some far outside."""
    rng = np.random.default_rng(box)
    labels, rows, poses = rng.integers(-1, k, m), rng.integers(0, 7, m), poses_of(rng, m)
    labels[labels == k - 2] = 0
    poses.shift_px[:4] = [[0, 0], [box, -box / 2], [1e6, 0.5], [-2, 1]]
    return rng.standard_normal((7, box, box)).astype(np.float32), labels, rows, poses, k


def lacking(*_, **__):
    import torch

    raise torch.cuda.OutOfMemoryError("out of memory")


@pytest.mark.parametrize("box", [1, 2, 3, 4, 8, 9, 35, 36, 76, 90])
def test_sums_against_definition_and_kernels(box):
    """Definition, and independent program: the float64 engine and the compiled one, on one device and two."""
    images, *asked = question(box)
    expected = FastReferenceEngine(images).quick_total(*asked)
    compiled = NativeEngine(images, 1, mode="fast").quick_total(*asked)
    for budgets in ((), (BUDGET_BYTES, BUDGET_BYTES), (1 << 16, 1 << 17)):
        found = torch_engine(images, "fast", *budgets).quick_total(*asked)
        np.testing.assert_allclose(found, expected, atol=ROUNDING * np.abs(expected).max())
        # compiled turns of order k carry k roundings, k to 256
        np.testing.assert_allclose(found, compiled, atol=4 * ROUNDING * np.abs(expected).max())
        assert (found[3] == 0).all()


@pytest.mark.parametrize("box", [1, 2, 9, 20, 33])
def test_pixels_against_definition(box):
    """Definition: pixels of any coefficients in float64, of more classes than a batch holds too."""
    from cryoisac.engine.gpu.layout import Layout
    from cryoisac.engine.gpu.ring_pixels import RingPixels

    rng, rings = np.random.default_rng(box), rings_of_box(box)
    whole = np.zeros((9, len(rings.radii), rings.longest // 2 + 1), dtype=complex)
    packed = []
    for r, length in enumerate(rings.lengths):
        own = rng.standard_normal((9, length // 2 + 1, 2)) @ [1, 1j]
        own[:, 1:] *= r > 0  # the samples of the innermost are one point
        whole[:, r, : own.shape[1]] = own
        packed.append(own)
    coefficients = np.concatenate(packed, axis=1).view(np.float64)
    expected = pixels_of_rings(whole, box)
    for budget in (BUDGET_BYTES, 1 << 16):
        there = place(budget)
        found = RingPixels(box, Layout(rings, there.device), there)(coefficients)
        # the definition's spline is periodic to 0.27^16, what is left of a sample sixteen further on
        np.testing.assert_allclose(found, expected, atol=1e-8 * np.abs(expected).max())


def test_batches_do_not_matter(monkeypatch):
    """Invariance, to the last bit: classes of more rows than are added up at once, in batches of any size."""
    from cryoisac.engine.gpu import ring_sums

    rng = np.random.default_rng(1)
    images, m = smooth(rng, 50, 32), 900
    labels, rows, poses = rng.choice([-1, 0, 2, 3], m, p=[0.1, 0.6, 0.2, 0.1]), rng.integers(0, 50, m), poses_of(rng, m)
    whole = torch_engine(images, "fast").quick_total(labels, rows, poses, 4)
    assert (whole[1] == 0).all()
    for budget in (1 << 16, 1 << 24, 1 << 26):
        assert (torch_engine(images, "fast", budget).quick_total(labels, rows, poses, 4) == whole).all()
    monkeypatch.setattr(ring_sums, "TOGETHER", 128)
    assert (torch_engine(images, "fast").quick_total(labels, rows, poses, 4) == whole).all()


def test_devices_share_rows():
    """Invariance: two devices add up what one does, each its own images; the same again, to the last bit."""
    images, *asked = question(36, m=200)
    whole = torch_engine(images, "fast").quick_total(*asked)
    shared = torch_engine(images, "fast", BUDGET_BYTES, BUDGET_BYTES // 2)
    found = shared.quick_total(*asked)
    np.testing.assert_allclose(found, whole, atol=ROUNDING * np.abs(whole).max())
    assert (found == shared.quick_total(*asked)).all()
    assert np.abs(found - shared.total(*asked)).max() > 0.01 * np.abs(whole).max()  # not by resampling


def test_a_smooth_image_comes_back():
    """Known truth: spots seen under any poses are laid on each other."""
    box, m = 48, 40
    rng = np.random.default_rng(3)
    y, x = np.mgrid[:box, :box] - box // 2
    at, height = rng.uniform(-11, 11, (6, 2)), rng.uniform(0.5, 1.0, 6)

    def density(points):
        apart = ((points[..., None, :] - at) ** 2).sum(axis=-1)
        return (height * np.exp(-apart / 8)).sum(axis=-1)

    poses, grid = poses_of(rng, m), np.stack((x, y), axis=-1).astype(float)
    images = density(poses.apply(np.stack([grid] * m))).astype(np.float32)
    average = torch_engine(images, "fast").quick_total(np.zeros(m, int), np.arange(m), poses, 1)[0] / m
    # cubic convolution takes off w^4 / 80 at w per pixel, along x and along y: 6 / (80 2^4) at the top of such spots
    np.testing.assert_allclose(average, density(grid), atol=6e-3)


def test_a_constant_has_no_edge():
    """Known truth: a constant stays one, beyond the last ring and in the corners."""
    rng = np.random.default_rng(4)
    images = np.full((2, 20, 20), 1000, dtype=np.float32)
    sums = torch_engine(images, "fast").quick_total(np.zeros(9, int), rng.integers(0, 2, 9), poses_of(rng, 9), 1)
    np.testing.assert_allclose(sums, 9000, rtol=1e-6)  # float32


def test_no_rows_no_classes_and_what_is_not_finite():
    """Known truth: nothing adds up to nothing; an image that is not finite spoils its own class alone."""
    rng = np.random.default_rng(5)
    images, rows, none = smooth(rng, 6, 20), np.arange(6), np.zeros(0, np.int64)
    engine, poses = torch_engine(images, "fast"), poses_of(rng, 6)
    assert engine.quick_total(none, none, Poses.identity(0), 0).shape == (0, 20, 20)
    assert (engine.quick_total(none, none, Poses.identity(0), 3) == 0).all()
    assert (engine.quick_total(rows * 0 - 1, rows, poses, 3) == 0).all()
    images[2, 5, 5] = np.nan
    sums = torch_engine(images, "fast").quick_total((rows == 2).astype(int), rows, poses, 2)
    assert np.isfinite(sums[0]).all()
    assert np.isnan(sums[1]).any()
    wrong = Poses(angle_deg=np.full(6, np.nan), shift_px=np.zeros((6, 2)), mirror=np.zeros(6, bool))
    with pytest.raises(DataError, match="finite"):
        engine.quick_total(rows * 0, rows, wrong, 1)


@pytest.mark.parametrize("budgets", [(), (BUDGET_BYTES, BUDGET_BYTES)])
def test_exact_engines_have_no_quicker_way(budgets):
    """Definition: in exact mode loops use the careful sums."""
    images, *asked = question(20)
    engine = torch_engine(images, "exact", *budgets)
    assert (engine.quick_total(*asked) == engine.total(*asked)).all()


def test_images_that_are_brought_add_up_the_same(monkeypatch):
    """Invariance: images that stay on the host, of which each batch's are brought while another is worked on."""
    from cryoisac.engine.gpu import memory
    from cryoisac.engine.gpu.store import Store

    images, *asked = question(24, m=300)
    whole = torch_engine(images, "fast", 1 << 24).quick_total(*asked)
    monkeypatch.setattr(memory, "RESIDENT_SHARE", 0.0)
    expected, expect = [], Store.expect
    monkeypatch.setattr(Store, "expect", lambda store, rows: (expected.append(len(rows)), expect(store, rows))[1])
    assert (torch_engine(images, "fast", 1 << 24).quick_total(*asked) == whole).all()
    assert sum(expected) > 0


def test_memory_that_runs_out_halves_batches(monkeypatch):
    """Known truth: fewer rows and classes are tried where memory runs out, for the same sums; else it is said."""
    from cryoisac.engine.gpu import ring_pixels, ring_sums

    images, *asked = question(16, m=900, k=9)
    engine = torch_engine(images, "fast")
    whole, mixed, sizes = engine.quick_total(*asked), ring_sums.mixed, []

    def scarce(values, near, weights):
        sizes.append(values.shape[1])
        return lacking() if 2 < values.shape[1] < 8 or values.shape[1] > 256 else mixed(values, near, weights)

    monkeypatch.setattr(ring_sums, "mixed", scarce)
    monkeypatch.setattr(ring_pixels, "mixed", scarce)
    assert (engine.quick_total(*asked) == whole).all()
    assert max(sizes) > 256
    monkeypatch.setattr(ring_pixels, "mixed", lacking)
    with pytest.raises(DeviceError, match="no room"):
        engine.quick_total(*asked)


@pytest.mark.parametrize("box", [15, 40])
def test_memory_of_rows_and_classes(box):
    """Definition: bytes that tensors take at the same time are no more than is said, and not much less."""
    import torch
    from gpu_bytes import Counted

    from cryoisac.engine.gpu.ring_sums import RingSums, ring_placements

    n, rng = 1024, np.random.default_rng(6)
    rings, placements = RingSums(box, place()), ring_placements(poses_of(rng, n), box)
    images = torch.from_numpy(smooth(rng, n, box)).to(DEVICE)
    rows, classes = Counted(images.device), Counted(images.device)
    with torch.inference_mode(), rows:
        rings.turned(images.clone(), placements)
    with torch.inference_mode(), classes:
        rings.pixels(np.ones((60, rings.size)))
    assert rows.most < n * rings.row_bytes < 2 * rows.most
    assert classes.most < 60 * rings.pixels.class_bytes < 3 * classes.most  # a transform copies what it is given


def test_plan_counts_coefficients():
    """Definition: beside the sums in pixels, which exact engines keep too, those of classes by coefficients."""
    images, search = smooth(np.random.default_rng(7), 3, 30), Search(last_ring=9)
    exact, fast = (torch_engine(images, mode).plan(10, 50, search) for mode in ("exact", "fast"))
    assert fast - exact == 50 * 16 * sum(length // 2 + 1 for length in rings_of_box(30).lengths)
