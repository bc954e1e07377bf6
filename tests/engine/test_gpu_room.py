"""Memory of a GPU that is none: tensors are counted as they come and go, and never take more than was planned."""

import sys
import tempfile
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from test_fast import bandlimited
from torch_engines import needs_torch

from cryoisac.engine.contract import Search
from cryoisac.model.poses import Poses

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
pytestmark = [*needs_torch, pytest.mark.filterwarnings("ignore")]  # PyTorch's own, in what it does to fake tensors
SIDE, REFERENCES = 76, 10
SEARCH = Search(last_ring=29, x_range_px=1, y_range_px=1, normalise_rings=True)


@pytest.fixture
def card(monkeypatch):
    """Return what counts the bytes on a GPU of some size, all of it free, as PyTorch would."""
    import torch
    from fake_cuda import fake_cuda
    from gpu_bytes import Counted

    if not hasattr(torch.utils, "_python_dispatch"):
        pytest.skip("this PyTorch counts no tensors")
    counted = Counted(torch.device("cuda:0"))

    def sized(total):
        return SimpleNamespace(
            mem_get_info=lambda device: (total - counted.bytes, total),
            memory_reserved=lambda device: counted.bytes,
            memory_allocated=lambda device: counted.bytes,
            empty_cache=lambda: None,
        )

    counted.give = lambda total: monkeypatch.setattr(torch, "get_device_module", lambda device: sized(total))
    with fake_cuda(monkeypatch), counted:
        yield counted


def ask(engine, n, references):
    """Ask an engine everything about its first images."""
    rows, labels = np.arange(n), np.arange(n) % len(references)
    engine.score(references, rows, np.zeros((n, 2)), SEARCH)
    engine.match(references, labels, rows, np.zeros((n, 2)), SEARCH)
    engine.total(labels, rows, Poses.identity(n), len(references))


def references_of(side):
    return bandlimited(np.random.default_rng(0), REFERENCES, side)


@pytest.mark.parametrize("mode", ["exact", "fast"])
def test_two_engines_take_no_more_than_one_may(card, mode):
    """Definition: engines that live together plan for the memory that is left, and keep within the share."""
    import torch

    from cryoisac.engine.gpu.engine import TorchEngine
    from cryoisac.engine.gpu.memory import place_of

    total, device, references = 400 << 20, torch.device("cuda:0"), references_of(SIDE)
    card.give(total)
    rows = 6 if mode == "exact" else 20
    images = np.zeros((6000, SIDE, SIDE), np.float32)  # 139 MB of the 226 MB that may stay
    engines = [TorchEngine(images, place_of(device, 0.9), mode=mode) for _ in range(2)]
    assert [e._store.resident for e in engines] == [True, False]
    for engine in engines:
        ask(engine, rows, references)
    few = TorchEngine(images[:100], place_of(device, 0.9), mode=mode)
    assert few._store.resident
    ask(few, rows, references)
    assert card.most <= 0.9 * total
    assert card.most > 6100 * 4 * SIDE**2
    del engines, engine, few
    assert card.bytes < 1 << 20  # all is given back
    assert place_of(device, 0.9).resident_bytes > 0.53 * total


@pytest.mark.long
@pytest.mark.parametrize(("n", "resident"), [(200_000, True), (1_000_000, False)])
def test_a_million_images_pass_on_a_card_of_12_GB(card, n, resident):
    """Definition: 23 GB of images are brought block by block, 5 GB stay; neither takes more than 0.9 of the card."""
    import torch
    from gpu_memory import repeated

    from cryoisac.engine.gpu.engine import TorchEngine
    from cryoisac.engine.gpu.memory import place_of

    total = 12 * 10**9
    card.give(total)
    with tempfile.TemporaryFile() as file:
        file.truncate(8000 * 4 * SIDE**2)
        images = repeated(file.fileno(), n // 8000, 8000)
        engine = TorchEngine(images, place_of(torch.device("cuda:0"), 0.9), mode="fast")
        assert engine._store.resident == resident
        ask(engine, n, references_of(SIDE))
    assert 0.05 * total < card.most <= 0.9 * total


@pytest.mark.parametrize(("budget_kb", "resident"), [(1 << 10, False), (5 << 9, True)])
def test_answers_are_the_same_whatever_runs_out(monkeypatch, budget_kb, resident):
    """Invariance: images brought in many blocks, and memory that runs out now and then, change rounding alone."""
    import torch
    from torch_engines import place

    from cryoisac.engine.gpu.engine import TorchEngine
    from cryoisac.engine.gpu.store import Store

    n, side, references = 200, 32, references_of(32)
    images = bandlimited(np.random.default_rng(1), n, side)
    rows, labels, search = np.arange(n), np.arange(n) % REFERENCES, Search(last_ring=12, x_range_px=1, y_range_px=1)

    def answers(engine):
        found = engine.match(references, labels, rows, np.zeros((n, 2)), search)
        scores = engine.score(references, rows, np.zeros((n, 2)), search)
        return scores, found.score, found.poses.rows(), engine.total(labels, rows, Poses.identity(n), REFERENCES)

    whole = TorchEngine(images, place(1 << 28), mode="fast")
    assert whole._store.resident
    expected = answers(whole)
    calls, sent, blocks = count(1), Store._sent, []

    def striking(store, own):
        blocks.append(len(own))
        if next(calls) % 5 == 0:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return sent(store, own)

    monkeypatch.setattr(Store, "_sent", striking)
    scarce = TorchEngine(images, place(budget_kb << 10), mode="fast")
    assert scarce._store.resident == resident
    scarce._store.resident, scarce._store._held = False, None
    found = answers(scarce)
    assert len(blocks) > 20
    for a, b in zip(found[:3], expected[:3], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-4)  # float32, in batches of other sizes
    assert (found[3] == expected[3]).all()  # sums, whatever the batches
