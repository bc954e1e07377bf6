"""The Triton kernel that finds maxima over angles, in Triton's interpreter or on a GPU, beside PyTorch's transform."""

import numpy as np
import pytest
from test_gpu import ROUNDING, agree, question
from test_likelihood_native import asked
from torch_engines import DEVICE, needs_triton, place, torch_engine, torch_likelihood_engine

pytestmark = list(needs_triton)
ANGLES = (8, 16, 24, 32, 40, 64, 128, 256, 512)
COARSE = {"tf32x3": 1e-5, "tf32": 3e-3}  # of the peak: products of 22 and 11 bits


def largest(spectrum, precision="ieee"):
    """Return what the kernel finds in an array of complex numbers, (..., 2)."""
    import torch

    from cryoisac.engine.gpu.fused import largest

    parts = torch.view_as_real(torch.from_numpy(spectrum.astype(np.complex64))).to(DEVICE)
    return largest(parts, precision)[0].cpu().numpy()


def transformed(spectrum):
    """Return the largest real and imaginary parts of inverse transforms, in float64, (..., 2)."""
    curves = np.fft.ifft(spectrum.astype(np.complex64), axis=0, norm="forward")
    return np.stack((curves.real.max(axis=0), curves.imag.max(axis=0)), axis=-1)


def spectra(shape):
    rng = np.random.default_rng(sum(shape))
    return rng.standard_normal(shape) + 1j * rng.standard_normal(shape)


@pytest.mark.parametrize("angles", ANGLES)
def test_largest_values_against_a_transform(angles):
    """Definition: one image and reference, and numbers that fill no tile, or one tile and one column more."""
    for shape in ((1, 1, 1), (3, 5), (2, 1, 8), (17,)):
        spectrum = spectra((angles, *shape))
        truth = transformed(spectrum)
        np.testing.assert_allclose(largest(spectrum), truth, atol=1e-6 * truth.max())  # float32 sums of 2 a terms


@pytest.mark.parametrize("angles", [8, 64, 128])
def test_the_peak_may_be_at_any_angle(angles):
    """Known truth: one wave of each order, and a spike at each angle, are found at their heights."""
    turns = np.arange(angles)
    spikes = np.exp(-2j * np.pi / angles * np.outer(turns, turns))
    spikes = spikes / angles * (1.0 + turns)  # angle i is i + 1 high, the imaginary part 0
    np.testing.assert_allclose(largest(spikes), np.stack((turns + 1.0, 0 * turns), -1), atol=1e-5 * angles)
    np.testing.assert_allclose(largest(1j * spikes)[:, 1], turns + 1.0, rtol=1e-5)
    waves = np.eye(angles, dtype=complex)
    np.testing.assert_allclose(largest(waves), transformed(waves), atol=1e-6)


def test_coarser_products_are_as_good_as_they_say():
    """Known truth: within what their bits allow; the interpreter makes them all in float32."""
    spectrum = spectra((128, 5, 7))
    truth = transformed(spectrum)
    for precision, share in COARSE.items():
        np.testing.assert_allclose(largest(spectrum, precision), truth, atol=share * truth.max())


@pytest.mark.filterwarnings("ignore:All-NaN slice:RuntimeWarning")  # of the interpreter
def test_what_is_not_finite_stays_in_its_pair():
    """Known truth: a pair that holds what is not a number has no maximum, others have theirs; no pairs, no answer."""
    spectrum = spectra((64, 40))
    truth = transformed(spectrum)
    spectrum[:, 7] = np.nan
    found = largest(spectrum)
    assert np.isnan(found[7]).all()
    others = np.arange(40) != 7
    np.testing.assert_allclose(found[others], truth[others], atol=1e-6 * truth.max())
    assert largest(spectrum[:, :0]).shape == (0, 2)


def counted(monkeypatch):
    """Return a list that grows with each question to the kernel."""
    from cryoisac.engine.gpu import fused

    asked_for, real = [], fused.largest
    monkeypatch.setattr(fused, "largest", lambda *words: asked_for.append(words[0].shape) or real(*words))
    return asked_for


def fused_engine(images, mode):
    from cryoisac.engine.gpu.divided import engine_on

    return engine_on([place(fused="ieee")], images, mode)


CASES = [
    ("odd box", "exact", True),
    ("straight only", "exact", True),
    ("one ring", "exact", True),
    ("half steps", "fast", False),  # offsets to the edge: what is open depends on the angle
    ("turns of 30", "exact", False),  # not all angles are tried
]


@pytest.mark.parametrize(("name", "mode", "used"), CASES)
def test_engines_answer_the_same_with_the_kernel(monkeypatch, name, mode, used):
    """Independent program: scores, poses and sums beside those of the transform; the kernel where it is possible."""
    images, *asked_for = question(name)
    questions = counted(monkeypatch)
    agree(fused_engine(images, mode), torch_engine(images, mode), asked_for)
    assert bool(questions) == used


def test_fast_search_answers_the_same_with_the_kernel(monkeypatch):
    """Independent program: rows with room all round, shifts chosen at fewer angles, one row, one reference."""
    images, references, labels, rows, offsets, search = question("half steps")
    questions = counted(monkeypatch)
    engines = fused_engine(images, "fast"), torch_engine(images, "fast")
    agree(*engines, (references, labels[:6], rows[:6], 0 * offsets[:6], search))
    assert len({shape[0] for shape in questions}) == 2  # fewer angles, then all
    one = references[:1], rows[:1], 0 * offsets[:1], search
    np.testing.assert_allclose(*(e.score(*one) for e in engines), rtol=ROUNDING)


def test_likelihood_answers_the_same_with_the_kernel(monkeypatch):
    """Independent program: gains and poses beside those of the transform."""
    from cryoisac.engine.gpu.divided import likelihood_engine_on

    references, images, labels, rows, _, search = asked("even box")
    questions = counted(monkeypatch)
    engines = likelihood_engine_on([place(fused="ieee")], images), torch_likelihood_engine(images)
    a, b = (e.score(references, rows, search) for e in engines)
    np.testing.assert_allclose(a, b, atol=ROUNDING * np.abs(b).max())
    a, b = (e.match(references, labels, rows, search) for e in engines)
    np.testing.assert_allclose(a.score, b.score, atol=ROUNDING * np.abs(b.score).max())
    np.testing.assert_allclose(a.poses.rows(), b.poses.rows(), atol=1e-3)  # one computation, once a shift is chosen
    assert questions
