"""What breaks on a GPU alone: tensors on several devices, memory that runs out in each place, what holds it then."""

import importlib.util
import weakref
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from test_fast import bandlimited
from test_likelihood_native import asked
from torch_engines import needs_torch, place, torch_engine, torch_likelihood_engine

from cryoisac.engine.contract import Search
from cryoisac.errors import DeviceError
from cryoisac.model.poses import Poses
from cryoisac.ops.polar import Rings

pytestmark = list(needs_torch)
ROWS, REFERENCES = 12, 4
BUDGET_BYTES = 1 << 26  # that makes more than one batch of a question
SEARCHES = (
    Search(last_ring=12, normalise_rings=True, x_range_px=2, y_range_px=2),
    Search(last_ring=12, angle_step_deg=10, mirror=False),
)


def question():
    rng = np.random.default_rng(5)
    images, references = bandlimited(rng, ROWS, 32), bandlimited(rng, REFERENCES, 32)
    rows, offsets = np.arange(ROWS), np.zeros((ROWS, 2))
    offsets[3] = 3, 2  # where not every shift is open
    return images, references, rows % REFERENCES, rows, offsets


def poses_of(m):
    rng = np.random.default_rng(6)
    return Poses(angle_deg=rng.uniform(0, 360, m), shift_px=rng.uniform(-2, 2, (m, 2)), mirror=rng.random(m) < 0.5)


def lacking(*_, **__):
    import torch

    raise torch.cuda.OutOfMemoryError("out of memory")


def counted(monkeypatch):
    """Return where it will be written how many images at a time are brought before they are needed."""
    from cryoisac.engine.gpu.store import Store

    counts, expect = [], Store.expect

    def counting(store, images):
        counts.append(0 if store.resident else len(images))
        expect(store, images)

    monkeypatch.setattr(Store, "expect", counting)
    return counts


@pytest.mark.filterwarnings("ignore")  # of PyTorch's own, in what it does to fake tensors
@pytest.mark.parametrize("share", [0.6, 0.0], ids=["resident", "streamed"])
@pytest.mark.parametrize("mode", ["exact", "fast"])
def test_all_tensors_of_a_question_are_on_one_device(monkeypatch, mode, share):
    """Definition: on a GPU no operation mixes devices or types that it may not, whatever is asked."""
    import torch
    from fake_cuda import fake_cuda

    from cryoisac.engine.gpu import memory
    from cryoisac.engine.gpu.engine import TorchEngine

    monkeypatch.setattr(memory, "RESIDENT_SHARE", share)
    images, references, labels, rows, offsets = question()
    brought = counted(monkeypatch)
    with fake_cuda(monkeypatch):
        engine = TorchEngine(images, memory.Place(device=torch.device("cuda:1"), budget_bytes=BUDGET_BYTES), mode=mode)
        for search in SEARCHES:
            assert engine.score(references, rows, offsets, search).shape == (ROWS, REFERENCES)
            assert len(engine.match(references, labels, rows, offsets, search).score) == ROWS
        for total in (engine.total, engine.quick_total):
            assert total(labels, rows, poses_of(ROWS), REFERENCES).shape == (REFERENCES, 32, 32)
    assert (sum(brought) > 0) == (share == 0)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("share", [0.6, 0.0], ids=["resident", "streamed"])
def test_all_tensors_of_the_likelihood_are_on_one_device(monkeypatch, share):
    """Definition: as above."""
    import torch
    from fake_cuda import fake_cuda

    from cryoisac.engine.gpu import memory
    from cryoisac.engine.gpu.likelihood import TorchLikelihoodEngine

    monkeypatch.setattr(memory, "RESIDENT_SHARE", share)
    references, images, labels, rows, poses, search = asked("even box")
    brought = counted(monkeypatch)
    with fake_cuda(monkeypatch):
        engine = TorchLikelihoodEngine(images, memory.Place(device=torch.device("cuda:1"), budget_bytes=BUDGET_BYTES))
        assert engine.score(references, rows, search).shape == (len(rows), len(references))
        assert len(engine.match(references, labels, rows, search).score) == len(rows)
        assert len(engine.refine(references, labels, rows, poses, search.last_ring).score) == len(rows)
        assert len(engine.total(labels, rows, poses, 5)) == 5
    assert (sum(brought) > 0) == (share == 0)


@pytest.fixture
def compressed(monkeypatch):
    """Compress whatever is asked for, on a device that has no values in the basis that was made on the host before."""
    from cryoisac.engine.gpu import likelihood, search, trials

    made = []

    def basis(moments, *words, **options):
        if moments.any():
            made.append(radial_basis(moments, *words, **options))
        return made[0]

    radial_basis = trials.radial_basis
    for module in (trials, likelihood):
        monkeypatch.setattr(module, "radial_basis", basis)
    monkeypatch.setattr(search, "FEWEST_PAIRS", 0)
    monkeypatch.setattr(search, "FEWEST_COLUMNS", 0)
    return made


@pytest.mark.filterwarnings("ignore")
def test_all_tensors_of_compressed_scores_are_on_one_device(monkeypatch, compressed):
    """Definition: as above."""
    import torch
    from fake_cuda import fake_cuda

    from cryoisac.engine.gpu.engine import TorchEngine
    from cryoisac.engine.gpu.likelihood import TorchLikelihoodEngine
    from cryoisac.engine.gpu.memory import Place

    images, references, _, rows, offsets = question()
    theirs, rings, _, own, _, search = asked("even box")
    there = Place(device=torch.device("cuda:1"), budget_bytes=BUDGET_BYTES)
    torch_engine(images, "fast").score(references, rows, offsets, SEARCHES[0])
    with fake_cuda(monkeypatch):
        engine = TorchEngine(images, there, mode="fast")
        assert engine.score(references, rows, offsets, SEARCHES[0]).shape == (ROWS, REFERENCES)
    assert len(compressed) == 1
    compressed.clear()
    torch_likelihood_engine(rings).score(theirs, own, search)
    with fake_cuda(monkeypatch):
        assert TorchLikelihoodEngine(rings, there).score(theirs, own, search).shape == (len(own), len(theirs))
    assert len(compressed) == 1


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="needs Triton: pip install triton")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("compress", [False, True])
def test_the_fused_kernel_is_started_where_its_tensors_are(monkeypatch, request, compress):
    """Definition: as above, and on that device, which need not be the current one."""
    import torch
    from fake_cuda import Kernel, fake_cuda

    from cryoisac.engine.gpu import fused, packed
    from cryoisac.engine.gpu.engine import TorchEngine
    from cryoisac.engine.gpu.memory import Place

    images, references, labels, rows, offsets = question()
    if compress:
        request.getfixturevalue("compressed")
        torch_engine(images, "fast").score(references, rows, offsets, SEARCHES[0])
    kernel = Kernel()
    monkeypatch.setattr(fused, "_largest", kernel)
    for module, name in ((fused, "_waves"), (packed, "_chunks")):
        monkeypatch.setattr(module, name, getattr(module, name).__wrapped__)  # fake ones are not to be kept
    with fake_cuda(monkeypatch):
        for mode in ("exact", "fast"):
            before = kernel.started
            there = Place(device=torch.device("cuda:1"), budget_bytes=4 * BUDGET_BYTES, fused="ieee")  # a tile at once
            engine = TorchEngine(images, there, mode=mode)
            engine.score(references, rows, 0 * offsets, SEARCHES[0])
            engine.match(references, 0 * labels, rows, 0 * offsets, SEARCHES[0])
            assert kernel.started > before
            assert not there.failures


def test_fake_devices_are_told_apart(monkeypatch):
    """Known truth: what the tests above are for does fail."""
    import torch
    from fake_cuda import fake_cuda

    with fake_cuda(monkeypatch):
        there = torch.empty(3, device="cuda:1")
        for other in ("cpu", "cuda:0"):
            with pytest.raises(RuntimeError, match="device"):
                there + torch.empty(3, device=other)
        with pytest.raises(AssertionError):
            there.numpy()


def test_a_batch_that_failed_is_gone_when_memory_is_given_back(monkeypatch):
    """Known truth: nothing, such as the frames of an error, holds tensors of a batch that is tried again by halves."""
    import torch

    from cryoisac.engine.gpu import memory

    held, done, released = [], [], []

    def work(part, following):
        batch = torch.ones(part.stop - part.start)
        held.append(weakref.ref(batch))

        def deeper(own):
            if len(own) > 2:
                lacking()

        deeper(batch * 2)
        done.append(part)

    def release(device):
        assert held[-1]() is None
        released.append(device)

    monkeypatch.setattr(memory, "release", release)
    memory.in_batches(7, 1, work, place(1 << 10))
    assert [(part.start, part.stop) for part in done] == [(0, 2), (2, 4), (4, 6), (6, 7)]
    assert len(released) == 2


def test_what_is_given_back(monkeypatch):
    """Known truth: unused memory of a GPU, and its plans of transforms; nothing of the processor."""
    import torch

    from cryoisac.engine.gpu.memory import release

    cleared = []
    plans = [SimpleNamespace(clear=partial(cleared.append, number)) for number in range(2)]
    module = SimpleNamespace(empty_cache=partial(cleared.append, "unused"))
    monkeypatch.setattr(torch.backends.cuda, "cufft_plan_cache", plans)
    monkeypatch.setattr(torch, "get_device_module", lambda device: module)
    release(torch.device("cpu"))
    assert cleared == []
    for name, number in (("cuda:1", 1), ("cuda", 0)):
        release(torch.device(name))
        assert cleared[-2:] == [number, "unused"]


@pytest.mark.parametrize("said", ["CUDA error: out of memory", "CUFFT_ALLOC_FAILED", "CUBLAS_STATUS_ALLOC_FAILED"])
def test_libraries_that_lack_memory(said):
    """Known truth: memory runs out in libraries too, which raise other errors; a mistake is none of these."""
    from cryoisac.engine.gpu.memory import is_lack_of_memory

    assert is_lack_of_memory(RuntimeError(said))
    assert not is_lack_of_memory(RuntimeError("CUDA error: an illegal memory access was encountered"))


@pytest.mark.parametrize("mode", ["exact", "fast"])
def test_fewer_references_are_held_where_memory_runs_out(monkeypatch, mode):
    """Known truth: references that do not fit at once are taken by halves; where not even one fits, it is said."""
    from cryoisac.engine.gpu.layout import Layout

    images, references, labels, rows, offsets = question()
    engine, fold = torch_engine(images, mode), Layout.references
    expected = engine.score(references, rows, offsets, SEARCHES[0])
    poses = engine.match(references, labels, rows, offsets, SEARCHES[0])
    most = expected.shape[1] // 2 * (25 if mode == "fast" else 1)

    def scarce(layout, parts):
        return lacking() if len(parts[0]) > most else fold(layout, parts)

    monkeypatch.setattr(Layout, "references", scarce)
    # float32: products of other sizes are added up in another order
    np.testing.assert_allclose(engine.score(references, rows, offsets, SEARCHES[0]), expected, rtol=1e-5)
    np.testing.assert_allclose(
        engine.match(references, labels, rows, offsets, SEARCHES[0]).score, poses.score, rtol=1e-5
    )
    monkeypatch.setattr(Layout, "references", lacking)
    with pytest.raises(DeviceError, match="no room"):
        engine.score(references, rows, offsets, SEARCHES[0])


def test_images_are_brought_where_they_cannot_stay(monkeypatch):
    """Known truth: memory that runs out while images are loaded leaves them on the host, and answers the same."""
    from cryoisac.engine.gpu.store import Store

    images, references, _, rows, offsets = question()
    expected = torch_engine(images).score(references, rows, offsets, SEARCHES[0])
    monkeypatch.setattr(Store, "_loaded", lacking)
    engine = torch_engine(images)
    np.testing.assert_allclose(engine.score(references, rows, offsets, SEARCHES[0]), expected, rtol=1e-5)
    assert not engine._store.resident


def test_orders_that_a_real_transform_leaves_out_are_left_out(monkeypatch):
    """Definition: inverse transforms get no imaginary part at the ends, of which cuFFT makes what it likes."""
    import torch

    from cryoisac.engine.gpu.layout import Layout
    from cryoisac.engine.gpu.turning import Turner

    inverse, seen = torch.fft.irfft, []

    def checked(spectra, length):
        seen.append(float(spectra.imag[..., [0, -1]].abs().max()))
        return inverse(spectra, length)

    layout = Layout(Rings.between(1, 9), torch.device("cpu"))
    turner, rng = Turner(layout, 24, torch.device("cpu")), np.random.default_rng(0)
    samples = torch.from_numpy(rng.standard_normal((3, layout.samples)).astype(np.float32))
    placed = torch.from_numpy(np.column_stack((rng.uniform(-3, 3, (3, 3)), [0.0, 1.0, 1.0])))
    expected = turner.hills(layout.spectra(samples), samples, placed)
    monkeypatch.setattr(torch.fft, "irfft", checked)
    found = turner.hills(layout.spectra(samples), samples, placed)
    assert len(seen) == 3 * len(layout.stretches)
    assert max(seen) == 0
    assert (found.value == expected.value).all()


def test_memory_that_runs_out_elsewhere_is_told_in_a_line():
    """Known truth: where no smaller batch can be tried, the user reads a sentence; other errors stay as they are."""
    from cryoisac.engine.gpu.memory import computing

    with pytest.raises(DeviceError, match="memory ran out"), computing(False):
        lacking()
    with pytest.raises(RuntimeError, match="illegal"), computing(False):
        raise RuntimeError("an illegal memory access")


def test_largest_of_curves_in_any_layout():
    """Invariance: the largest correlation is the same however a transform lays out angles and mirrors."""
    import torch

    from cryoisac.engine.gpu.product import top

    curves = torch.from_numpy(np.random.default_rng(0).standard_normal((16, 3, 5, 2), dtype=np.float32))
    as_cufft = curves.permute(1, 2, 0, 3).contiguous().permute(2, 0, 1, 3)
    for stride in (1, 4):
        for mirror in (False, True):
            own = curves.numpy()[::stride].max(axis=0)
            expected = own.max(axis=-1) if mirror else own[..., 0]
            for one in (curves, as_cufft):
                assert (top(one, stride, mirror).numpy() == expected).all()


def test_rows_are_filled_up():
    """Definition: all rows in their order, then the last one again, to the next of few sizes; none stay none."""
    from cryoisac.engine.gpu.sums import TOGETHER, filled

    for n in (0, 1, TOGETHER, TOGETHER + 1):
        rows = np.random.default_rng(n).permutation(n)
        more = filled(rows)
        assert len(more) == -(-n // TOGETHER) * TOGETHER
        assert (more[:n] == rows).all()
        assert (more[n:] == rows[-1:]).all()
