"""PyTorch's engines on the processor: definitions, compiled engines, batches, memory that runs out, several devices."""

import numpy as np
import pytest
from test_contract import IMAGES, REFERENCES, SEARCHES, rows_of, smooth
from test_fast import bandlimited
from test_likelihood_native import SEARCHES as POSE_SEARCHES
from test_likelihood_native import asked, spread
from torch_engines import DEVICE, needs_torch, place, torch_engine, torch_likelihood_engine

from cryoisac.engine.contract import Search
from cryoisac.engine.fast_reference import FastReferenceEngine
from cryoisac.engine.likelihood import RingImages
from cryoisac.engine.likelihood_native import NativeLikelihoodEngine
from cryoisac.engine.likelihood_reference import LikelihoodReferenceEngine
from cryoisac.engine.native import NativeEngine
from cryoisac.engine.reference import ReferenceEngine
from cryoisac.errors import DataError, DeviceError, SettingError
from cryoisac.model.poses import Poses, pixel_error
from cryoisac.ops.polar import Rings

pytestmark = list(needs_torch)
ROUNDING = 1.5e-6  # of the largest score: float32 sums of some thousand terms; 4e-7 was measured


def question(name, make=smooth):
    box, search = SEARCHES[name]
    rng = np.random.default_rng(len(name))
    images, references = make(rng, IMAGES, box), make(rng, REFERENCES, box)
    labels, rows, offsets = rows_of(rng, 19)
    edge = box // 2 - search.last_ring - 1
    offsets[:4] = [[0, 0], [edge, -edge], [-edge, 0.5], [edge + 7.3, 1]]
    return images, references, labels, rows, offsets, search


def agree(engine, other, asked_for, *, shares=ROUNDING):
    """Assert that scores, poses and sums of two engines are the same but for rounding."""
    references, labels, rows, offsets, search = asked_for
    a, b = (e.score(references, rows, offsets, search) for e in (engine, other))
    np.testing.assert_allclose(a, b, atol=shares * np.abs(b).max())
    a, b = (e.match(references, labels, rows, offsets, search) for e in (engine, other))
    np.testing.assert_allclose(a.score, b.score, atol=shares * np.abs(b.score).max())
    assert (a.poses.mirror == b.poses.mirror).all()
    angle = np.abs((a.poses.angle_deg - b.poses.angle_deg + 180) % 360 - 180)
    assert angle.max() < 1e-3  # the parabola divides float32 rounding by the peak's curvature
    np.testing.assert_allclose(a.poses.shift_px, b.poses.shift_px, atol=1e-4)  # that angle times the offset
    sums = [e.total(labels - 1, rows, b.poses, REFERENCES) for e in (engine, other)]
    np.testing.assert_allclose(*sums, atol=2e-5)


@pytest.mark.parametrize("name", SEARCHES)
def test_exact_answers_against_definition_and_kernels(name):
    """Definition, and independent program: the float64 engine and the compiled one."""
    images, *asked_for = question(name)
    engine = torch_engine(images)
    agree(engine, ReferenceEngine(images), asked_for)
    agree(engine, NativeEngine(images, 1), asked_for)


@pytest.mark.parametrize("name", SEARCHES)
def test_fast_answers_against_definition(name):
    """Definition: the uncompressed search at all angles; a shift that fewer angles choose may be the second best."""
    images, references, labels, rows, offsets, search = question(name, bandlimited)
    truth, engine = FastReferenceEngine(images), torch_engine(images, "fast")
    scores, found = (e.score(references, rows, offsets, search) for e in (truth, engine))
    assert np.abs(found - scores).max() < 0.02 * scores.max()
    assert np.sqrt(np.mean((found - scores) ** 2)) < 0.002 * scores.max()
    expected, got = (e.match(references, labels, rows, offsets, search) for e in (truth, engine))
    np.testing.assert_allclose(got.score, found[np.arange(19), labels], atol=ROUNDING * scores.max())
    alike = pixel_error(got.poses, expected.poses, radius_px=search.last_ring) < 0.1
    near = np.abs(got.score - expected.score) < 0.02 * scores.max()
    assert (alike | near).all()
    assert alike.mean() > 0.8  # the others have two peaks of nearly the same height


@pytest.mark.parametrize("name", POSE_SEARCHES)
def test_likelihood_against_definition_and_kernels(name):
    """Definition, and independent program: gains, poses, refined poses and sums."""
    references, images, labels, rows, poses, search = asked(name)
    truth, engine = LikelihoodReferenceEngine(images), torch_likelihood_engine(images)
    level = spread(images, references, rows, search)
    own = np.arange(len(rows)), labels
    for other, loss in ((truth, 0.02), (NativeLikelihoodEngine(images, 1), 0.06)):  # of a basis that lacks 1e-3
        a, b = (e.score(references, rows, search) for e in (engine, other))
        assert np.sqrt(np.mean(((a - b) / level) ** 2)) < loss
        c, d = (e.match(references, labels, rows, search) for e in (engine, other))
        np.testing.assert_allclose(c.score, a[own], atol=ROUNDING * np.abs(a).max())
        alike = pixel_error(c.poses, d.poses, radius_px=images.box_px / 4) < 0.1
        assert (alike | (np.abs(c.score - d.score) < 0.3 * level[own])).all()
        near = poses.then(Poses(angle_deg=np.ones(len(rows)), shift_px=poses.shift_px * 0 + 0.3, mirror=~poses.mirror))
        e, f = (x.refine(references, labels, rows, near, search.last_ring) for x in (engine, other))
        # a step that hardly rises may be taken by one and halved by the other
        np.testing.assert_allclose(e.score, f.score, atol=1e-5 * np.abs(f.score).max())
        sums = [x.total(labels - 1, rows, near, 20) for x in (engine, other)]
        np.testing.assert_allclose(*sums, atol=2e-6 * np.abs(sums[1]).max())  # float32 rings


@pytest.mark.parametrize("mode", ["exact", "fast"])
def test_small_budgets_and_several_devices(mode):
    """Invariance: images that do not fit, batches of a few rows, rows shared out over two devices."""
    images, *asked_for = question("half steps")
    whole = torch_engine(images, mode)
    for budgets in ((1 << 16,), (1 << 28, 1 << 27), (1 << 24, 1 << 16)):
        agree(torch_engine(images, mode, *budgets), whole, asked_for)
    references, labels, rows, offsets, search = asked_for
    again = torch_engine(images, mode)
    assert (whole.score(references, rows, offsets, search) == again.score(references, rows, offsets, search)).all()
    poses = whole.match(references, labels, rows, offsets, search).poses
    sums = [e.total(labels, rows, poses, 9) for e in (whole, torch_engine(images, mode, 1 << 16))]
    assert (sums[0] == sums[1]).all()  # whatever the batches


def test_likelihood_with_small_budgets_and_several_devices():
    """Invariance: as above."""
    references, images, labels, rows, poses, search = asked("even box")
    whole = torch_likelihood_engine(images)
    for budgets in ((1 << 16,), (1 << 28, 1 << 27), (1 << 24, 1 << 16)):
        engine = torch_likelihood_engine(images, *budgets)
        a, b = (e.score(references, rows, search) for e in (engine, whole))
        np.testing.assert_allclose(a, b, atol=ROUNDING * np.abs(b).max())
        a, b = (e.match(references, labels, rows, search) for e in (engine, whole))
        assert pixel_error(a.poses, b.poses, radius_px=9).max() < 1e-3
        a, b = (e.refine(references, labels, rows, poses, 15) for e in (engine, whole))
        np.testing.assert_allclose(a.score, b.score, atol=ROUNDING * np.abs(b.score).max())
        sums = [e.total(labels - 1, rows, poses, 3) for e in (engine, whole)]
        np.testing.assert_allclose(*sums, atol=1e-5)
    assert (
        torch_likelihood_engine(images, 1 << 16).total(labels, rows, poses, 3) == whole.total(labels, rows, poses, 3)
    ).all()


def test_images_stay_where_they_fit():
    """Known truth: a budget decides whether images are kept or brought block by block."""
    from cryoisac.engine.gpu.store import Store

    array = np.arange(24, dtype=np.float32).reshape(6, 4)
    rows, following = np.array([5, 0, 0]), np.array([1, 2])
    for budget, resident in ((1 << 20, True), (64, False)):
        store = Store(array, place(budget), lambda items: 2 * items, 16)
        assert store.resident == resident
        assert (store.take(rows).cpu().numpy() == 2 * array[rows]).all()
        store.expect(following)
        assert (store.take(following).cpu().numpy() == 2 * array[following]).all()
        store.expect(following)
        assert (store.take(rows).cpu().numpy() == 2 * array[rows]).all()  # others than were expected


def test_memory_that_runs_out_halves_batches(monkeypatch):
    """Known truth: a product that takes too much fails as on a device; the question is answered all the same."""
    import torch

    from cryoisac.engine.gpu import search as gpu_search

    images, *asked_for = question("normalised")
    references, labels, rows, offsets, search = asked_for
    whole = torch_engine(images)
    expected = whole.score(references, rows, offsets, search), whole.match(references, labels, rows, offsets, search)
    correlate, sizes = gpu_search.correlate, []

    def scarce(layout, y, x, groups, angles):
        size = y.up[0].shape[1] * x.up[0].shape[1] // groups
        sizes.append(size)
        if size > 200:
            raise torch.cuda.OutOfMemoryError("out of memory")
        return correlate(layout, y, x, groups, angles)

    monkeypatch.setattr(gpu_search, "correlate", scarce)
    # float32: on a GPU products of other sizes may be added up in another order
    near = {"rtol": 1e-6} if DEVICE == "cpu" else {"rtol": 0, "atol": ROUNDING * np.abs(expected[0]).max()}
    np.testing.assert_allclose(whole.score(references, rows, offsets, search), expected[0], **near)
    found = whole.match(references, labels, rows, offsets, search)
    np.testing.assert_allclose(found.score, expected[1].score, **near)
    assert max(sizes) > 200
    monkeypatch.setattr(gpu_search, "correlate", lambda *_: (_ for _ in ()).throw(torch.cuda.OutOfMemoryError("none")))
    with pytest.raises(DeviceError, match="no room"):
        whole.score(references, rows, offsets, search)


def test_groups_of_rows_hold_each_row():
    """Definition: every row stands in a group of its label, none in another's."""
    from cryoisac.engine.gpu.search import groups_of

    rng = np.random.default_rng(1)
    for n in (1, 7, 300):
        labels = np.sort(rng.choice([0, 3, 4, 9], n, p=[0.7, 0.1, 0.1, 0.1]))
        rows = rng.permutation(n)
        own = np.empty(n, dtype=np.int64)
        own[rows] = labels
        sizes = np.bincount(labels)
        for reference in (0.0, 1.0, 40.0):
            groups = groups_of(rows, labels, reference)
            assert set(groups.ravel()) == set(range(n))
            assert (own[groups] == own[groups[:, :1]]).all()
            costs = {m: (-(-sizes // m)).sum() * (m + reference) for m in (1, 2, 4, 8, 16, 32, 64, 128, 256)}
            assert groups.size + reference * len(groups) == min(costs.values())  # rows, and a reference of each group


def test_an_image_that_is_not_finite_spoils_no_other():
    """Known truth: its own class alone is not a number, in scores and in sums."""
    images, references, _, rows, offsets, search = question("even box")
    broken = images.copy()
    broken[rows[5], 3, 3] = np.nan
    lost = rows == rows[5]
    scores, whole = (torch_engine(x).score(references, rows, offsets, search) for x in (broken, images))
    np.testing.assert_allclose(scores[~lost], whole[~lost], rtol=1e-5)
    alone = np.where(lost, 1, 0)
    sums = torch_engine(broken).total(alone, rows, Poses.identity(len(rows)), 2)
    assert np.isfinite(sums[0]).all()
    assert np.isnan(sums[1]).any()


def test_products_may_be_told_to_be_coarser():
    """Known truth: tf32 changes what the library is told while a question is answered, and nothing afterwards."""
    import torch

    from cryoisac.engine.gpu.memory import computing

    before = torch.get_float32_matmul_precision()
    for tf32, told in ((False, "highest"), (True, "high")):
        with computing(tf32):
            assert torch.get_float32_matmul_precision() == told
        assert torch.get_float32_matmul_precision() == before


def test_bad_calls_are_refused():
    images = smooth(np.random.default_rng(2), 3, 30)
    with pytest.raises(SettingError, match="exact"):
        torch_engine(images, "quick")
    for budgets in ((1 << 26,), (1 << 26, 1 << 26)):
        with pytest.raises(DataError, match="indices"):
            torch_engine(images, "exact", *budgets).score(images, np.array([3]), np.zeros((1, 2)), Search(last_ring=9))
    falling = Rings(radii=(1, 2), lengths=(16, 8))
    samples, ctf2 = np.zeros((3, 24), np.float32), np.ones((3, 2), np.float32)
    with pytest.raises(DataError, match="lengths"):
        torch_likelihood_engine(RingImages(rings=falling, box_px=9, samples=samples, ctf2=ctf2))
