"""PyTorch's engines with references in a short radial basis: the basis of the compiled engines, and what it loses."""

import numpy as np
import pytest
from test_contract import SEARCHES
from test_fast import bandlimited
from test_gpu import question
from test_likelihood_native import SEARCHES as POSE_SEARCHES
from test_likelihood_native import asked, spread
from torch_engines import needs_torch, torch_engine, torch_likelihood_engine

from cryoisac.engine import fast
from cryoisac.engine.contract import Search
from cryoisac.engine.fast_reference import FastReferenceEngine
from cryoisac.engine.likelihood_native import NativeLikelihoodEngine
from cryoisac.engine.likelihood_reference import LikelihoodReferenceEngine
from cryoisac.engine.native import NativeEngine

pytestmark = list(needs_torch)


@pytest.fixture
def bases(monkeypatch):
    """Compress whatever is asked for, and return the bases that are made, by both engines."""
    from cryoisac.engine.gpu import search

    made = []

    def kept(layout, basis):
        made.append(basis)
        return compression(layout, basis)

    compression = search.Compression
    monkeypatch.setattr(search, "Compression", kept)
    monkeypatch.setattr(search, "FEWEST_PAIRS", 0)
    monkeypatch.setattr(search, "FEWEST_COLUMNS", 0)
    monkeypatch.setattr(fast, "FEW_IMAGES", 0)
    return made


def spans(basis, rings):
    """Return the projections on what the functions of each order span, (orders, r, r)."""
    result = np.zeros((rings.longest // 2 + 1, len(rings.radii), len(rings.radii)))
    for i, order in enumerate(basis.order):
        count = basis.start[i + 1] - basis.start[i]
        far = (np.array(rings.lengths) >= 2 * order).sum()
        own = basis.functions[basis.first[i] :][: count * far].reshape(count, far).astype(np.float64)
        result[order, -far:, -far:] = own.T @ own
    return result


@pytest.mark.parametrize("name", SEARCHES)
def test_scores_against_definition_and_kernels(bases, name):
    """Definition, and independent program: within the stated loss of energy, in the same basis."""
    images, references, _, rows, offsets, search = question(name, bandlimited)
    found = torch_engine(images, "fast").score(references, rows, offsets, search)
    truth = FastReferenceEngine(images).score(references, rows, offsets, search)
    # a loss of 1e-4 may take 1 % of a correlation's spread over poses, which is a third of its peak or less; a shift
    # that is chosen from fewer angles may be the second best
    assert np.abs(found - truth).max() < 0.02 * truth.max()
    assert np.sqrt(np.mean((found - truth) ** 2)) < 0.005 * truth.max()
    other = NativeEngine(images, 1, mode="fast")
    same = other.score(references, rows, offsets, search)
    assert np.median(np.abs(found - same)) < 1e-5 * truth.max()  # float32; where both choose the same shift
    mine, theirs = bases[0], other.prepared(references, search).basis
    rings = fast.Rings.between(search.first_ring, search.last_ring, search.ring_step)
    apart = [spans(basis, rings) for basis in (mine, theirs)]
    assert np.abs(apart[0] - apart[1]).max() < 1e-2  # functions next to the threshold turn by rounding of moments
    assert mine.size == theirs.size
    assert mine.main_order == theirs.main_order


@pytest.mark.parametrize("name", POSE_SEARCHES)
def test_gains_against_definition_and_kernels(bases, name):
    """Definition, and independent program: the same for the likelihood."""
    references, images, _, rows, _, search = asked(name)
    level = spread(images, references, rows, search)
    found = torch_likelihood_engine(images).score(references, rows, search)
    truth = LikelihoodReferenceEngine(images).score(references, rows, search)
    same = NativeLikelihoodEngine(images, 1).score(references, rows, search)
    assert np.sqrt(np.mean(((found - truth) / level) ** 2)) < 0.06  # a loss of 1e-3 may take 3 %, and shifts differ
    assert np.median(np.abs(found - same) / level) < 1e-4
    assert len(bases) == 1


def test_symmetric_references_lack_orders(bases):
    """Known truth: of references with a fourfold axis, orders that are no multiples of four hold nothing."""
    rng = np.random.default_rng(5)
    images, once = bandlimited(rng, 5, 37), bandlimited(rng, 4, 37)
    references = np.mean([np.rot90(once, i, axes=(1, 2)) for i in range(4)], axis=0).astype(np.float32)
    search, rows = Search(last_ring=13, x_range_px=0, y_range_px=0), np.arange(5)
    found = torch_engine(images, "fast").score(references, rows, np.zeros((5, 2)), search)
    truth = FastReferenceEngine(images).score(references, rows, np.zeros((5, 2)), search)
    assert (bases[0].order % 4 == 0).all()
    assert np.abs(found - truth).max() < 0.01 * truth.max()


def test_the_mean_of_references_is_kept(bases):
    """Known truth: the mean of a reference, however high, is no part of what compression may lose."""
    images, references, _, rows, offsets, _ = question("even box", bandlimited)
    engine, search = torch_engine(images, "fast"), Search(last_ring=13, normalise_rings=True)
    low, high = (engine.score(references + np.float32(x), rows, offsets, search) for x in (0, 100))
    assert len(bases) == 2
    np.testing.assert_allclose(high, low, atol=2e-3 * low.max())  # float32 references of 100 have steps of 8e-6


def test_devices_and_rows_do_not_decide(monkeypatch):
    """Invariance: whether to compress depends on the whole stack, not on a device's share or on rows asked for."""
    from cryoisac.engine.gpu import search as gpu_search

    images, references, _, rows, offsets, search = question("even box", bandlimited)
    columns = len(references) * 9
    monkeypatch.setattr(gpu_search, "FEWEST_COLUMNS", columns)
    for pairs, compressed in ((columns * len(images), True), (columns * len(images) + 1, False)):
        monkeypatch.setattr(gpu_search, "FEWEST_PAIRS", pairs)
        scores = [
            torch_engine(images, "fast", *budgets).score(references, rows, offsets, search)
            for budgets in ((1 << 28,), (1 << 28, 1 << 26), (1 << 16,))
        ]
        truth = FastReferenceEngine(images).score(references, rows, offsets, search)
        for own in scores[1:]:
            np.testing.assert_allclose(own, scores[0], atol=1.5e-6 * truth.max())  # float32
        few = torch_engine(images, "fast").score(references, rows[:3], offsets[:3], search)
        np.testing.assert_allclose(few, scores[0][:3], atol=1.5e-6 * truth.max())
        assert (np.median(np.abs(scores[0] - truth)) > 1e-6 * truth.max()) == compressed  # float32 is a tenth of that
