"""The Triton kernel that finds maxima over angles, in Triton's interpreter or on a GPU, beside PyTorch's transform."""

import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from test_fast import bandlimited
from test_gpu import ROUNDING, agree, question
from test_likelihood_native import asked
from torch_engines import DEVICE, needs_triton, place, torch_engine, torch_likelihood_engine

pytestmark = list(needs_triton)
COARSE = {"tf32x3": 2e-6, "tf32": 5e-4}  # of the peak: float32 rounding of sums, and of factors to eleven bits
CASES = [  # angles, longest ring, where runs of orders end and how many rings they have
    (8, 8, [(5, 3)]),
    (16, 16, [(9, 4)]),
    (24, 24, [(4, 5), (13, 2)]),
    (32, 64, [(3, 7), (20, 5), (33, 1)]),
    (40, 40, [(21, 1)]),
    (64, 64, [(17, 6), (33, 3)]),
    (64, 128, [(11, 4), (12, 8)]),  # no orders beyond 11
    (128, 128, [(9, 9), (41, 5), (65, 2)]),
    (128, 256, [(30, 4), (31, 8), (129, 2)]),
    (256, 256, [(65, 3), (129, 2)]),
    (512, 512, [(30, 2), (257, 1)]),
]
FEW = 6  # rows of a question, as the interpreter is slow: of several shifts each, they fill more than a tile
SHAPES = [(1, 1, 1), (2, 5, 3), (3, 1, 8), (1, 4, 17), (1, 19, 4), (2, 5, 16)]  # groups, references, images


def arrays(case, groups, references, images):
    """Return the orders below half of the longest ring's, and random coefficients: Y+-, X+- (orders, items, rings)."""
    _, longest, runs = case
    rng = np.random.default_rng(sum((longest, groups, references, images)))
    parts, first = [], 0
    for last, rings in runs:
        y, x = (
            rng.standard_normal((2, last - first, groups * count, rings)).astype(np.float32)
            for count in (references, images)
        )
        for order in {0, longest // 2} & set(range(first, last)):
            y[1, order - first] = 0  # these have no negative
        parts.append((first, last, y, x))
        first = last
    return parts


def folded(parts, longest, *, both):
    """Return references and images as engines have them."""
    import torch

    from cryoisac.engine.gpu.layout import Block, Folded

    def sent(array):
        return torch.from_numpy(array.copy()).to(DEVICE)

    blocks = [Block(first, last, i) for i, (first, last, _, _) in enumerate(parts)]
    pairs = [np.stack(tuple(x), axis=2) for _, _, _, x in parts]
    inner = [slice(int(b.first == 0), b.last - b.first - (b.last - 1 == longest // 2)) for b in blocks]
    turned = [p[i][::-1, :, ::-1] for i, p in zip(inner, pairs, strict=True)] if both else []
    lower = [y[1, i][::-1] for i, (_, _, y, _) in zip(inner, parts, strict=True)]
    references = Folded(blocks, [sent(y[0]) for _, _, y, _ in parts], [sent(own) for own in lower])
    return references, Folded(blocks, [sent(own) for own in pairs], [sent(own) for own in turned])


def defined(case, parts, groups):
    """Return the largest real and imaginary parts of transforms of z, in float64, (groups, references, images, 2)."""
    angles, longest, _ = case
    z = {}
    for first, last, y, x in parts:
        y, x = (v.astype(np.float64).reshape(2, last - first, groups, -1, v.shape[-1]) for v in (y, x))
        for k in range(first, min(last, angles // 2 + (angles == longest))):
            plus, minus = x[0, k - first], x[1, k - first]
            z[k] = np.einsum("gcr,gnr->gcn", y[0, k - first], plus + 1j * minus)
            if 0 < k < longest / 2:
                z[-k] = np.einsum("gcr,gnr->gcn", y[1, k - first], minus + 1j * plus)
    spectrum = np.zeros((angles, *z[0].shape), dtype=complex)
    for k, own in z.items():
        spectrum[k] = own
    curves = np.fft.ifft(spectrum, axis=0, norm="forward")
    return np.stack((curves.real.max(axis=0), curves.imag.max(axis=0)), axis=-1)


def found_in(case, parts, groups, precision="ieee", *, both=False, **options):
    """Return what the kernel finds, (groups, references, images, 2)."""
    from cryoisac.engine.gpu.fused import largest

    references, images = folded(parts, case[1], both=both)
    return largest(references, images, groups, *case[:2], precision, **options)[0].cpu().numpy()


@pytest.mark.parametrize("case", CASES, ids=str)
def test_largest_values_against_the_definition(case):
    """Definition: groups, references and images that fill no tile, or one tile and one more; runs of any rings."""
    turn = CASES.index(case)
    shapes = SHAPES[turn % 6], SHAPES[(turn + 2) % 6], SHAPES[(turn + 5) % 6]
    for i, shape in enumerate(shapes if case[0] <= 128 else shapes[:1]):  # more angles take the interpreter long
        parts = arrays(case, *shape)
        truth = defined(case, parts, shape[0])
        # float32 sums of some hundred terms
        np.testing.assert_allclose(found_in(case, parts, shape[0], both=i % 2), truth, atol=2e-6 * truth.max())


@pytest.mark.parametrize("angles", [8, 64, 128])
def test_the_peak_may_be_at_any_angle(angles):
    """Known truth: images whose correlation with a point is a spike at each angle in turn, of growing height."""
    order, turn = np.arange(angles // 2 + 1)[:, None], np.arange(angles)
    spikes = np.exp(-2j * np.pi / angles * (order * turn % angles)) * (turn + 1.0) / angles
    x = np.stack((spikes.real + spikes.imag, spikes.real - spikes.imag))[..., None].astype(np.float32)
    y = np.ones((2, angles // 2 + 1, 4, 1), dtype=np.float32)
    y[1, [0, -1]] = 0
    found = found_in((angles, angles), [(0, angles // 2 + 1, y, x)], 1)
    np.testing.assert_allclose(found, np.broadcast_to((turn + 1.0)[:, None], found.shape), rtol=1e-5)


def test_coarser_products_are_as_good_as_they_say():
    """Known truth: within what their bits allow; the interpreter makes products of the divided factors in float32."""
    for case in (CASES[5], CASES[9]):
        parts = arrays(case, 1, 5, 7)
        truth = defined(case, parts, 1)
        for precision, share in COARSE.items():
            np.testing.assert_allclose(found_in(case, parts, 1, precision), truth, atol=share * truth.max())


def test_any_shape_of_programs_finds_the_same():
    """Invariance: tiles of other sizes, more orders at once, and parts of angles one after the other."""
    from cryoisac.engine.gpu.fused import shape_of

    case = CASES[4]
    parts = arrays(case, 1, 9, 17)
    truth, usual = defined(case, parts, 1), shape_of(40, "ieee")
    for few, many, orders, tile in ((2, 32, 16, 32), (8, 16, 32, 16), (4, 8, 16, 8)):
        shape = usual._replace(few=few, many=many, orders=orders, tile=tile)
        np.testing.assert_allclose(found_in(case, parts, 1, shape=shape), truth, atol=2e-6 * truth.max())


@pytest.mark.filterwarnings("ignore:All-NaN slice:RuntimeWarning")  # of the interpreter
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
@pytest.mark.parametrize("precision", ["ieee", "tf32x3", "tf32"])
def test_what_is_not_finite_stays_in_its_pairs(precision):
    """Known truth: an image or reference that is not a number has no maxima, others do; no pairs, no answer."""
    case = CASES[6]
    parts = arrays(case, 1, 6, 20)
    truth = defined(case, parts, 1)
    none = np.array(0x7FFFFFFF, dtype=np.int32).view(np.float32)  # as a GPU writes what is not a number
    parts[0][3][0, 3, 7, 1] = parts[0][2][0, 2, 4, 0] = none
    found = found_in(case, parts, 1, precision)
    lost = np.zeros(truth.shape, dtype=bool)
    lost[:, 4] = lost[:, :, 7] = True
    assert np.isnan(found[lost]).all()
    share = COARSE.get(precision, 2e-6)
    np.testing.assert_allclose(found[~lost], truth[~lost], atol=share * truth[~lost].max())
    assert found_in(case, arrays(case, 1, 6, 0), 1).shape == (1, 6, 0, 2)


@pytest.mark.skipif(DEVICE != "cpu", reason="other tests compile it on a device")
def test_the_kernel_compiles_for_a_device_that_is_not_there(tmp_path):
    """Known truth: the compiler takes the kernel, of which the interpreter says nothing."""
    benchmarks = Path(__file__).parents[2] / "benchmarks"
    words = "from gpu_fused_compiled import compiled; from cryoisac.engine.gpu.fused import shape_of; "
    words += "[compiled(shape_of(64, precision), precision, 90) for precision in ('ieee', 'tf32x3')]"
    path = os.pathsep.join(filter(None, (str(benchmarks), os.environ.get("PYTHONPATH"))))
    more = {"TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(tmp_path), "PYTHONPATH": path}
    command = [sys.executable, "-c", words]
    ran = subprocess.run(command, env=os.environ | more, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr[-2000:]


def test_options_of_the_compiler(monkeypatch):
    """Known truth: a number of registers is an option of Triton's for NVIDIA alone."""
    import torch

    from cryoisac.engine.gpu.fused import shape_of

    for runtime, given in ((None, True), ("6.4", False)):
        monkeypatch.setattr(torch.version, "hip", runtime)
        assert ("maxnreg" in shape_of(64, "ieee").options) == given


def counted(monkeypatch):
    """Return a list that grows by the angles of each question to the kernel."""
    from cryoisac.engine.gpu import fused

    asked_for, real = [], fused.largest
    monkeypatch.setattr(fused, "largest", lambda *words: asked_for.append(words[3]) or real(*words))
    return asked_for


def fused_engine(images, mode):
    from cryoisac.engine.gpu.divided import engine_on

    return engine_on([place(fused="ieee")], images, mode)


QUESTIONS = [
    ("odd box", "exact", True),
    ("straight only", "exact", True),
    ("one ring", "exact", True),
    ("half steps", "fast", False),  # offsets to the edge: what is open depends on the angle
    ("turns of 30", "exact", False),  # not all angles are tried
]


@pytest.mark.parametrize(("name", "mode", "used"), QUESTIONS)
def test_engines_answer_the_same_with_the_kernel(monkeypatch, name, mode, used):
    """Independent program: scores, poses and sums beside those of the transform; the kernel where it is possible."""
    images, references, labels, rows, offsets, search = question(name)
    questions = counted(monkeypatch)
    few = references, labels[:FEW], rows[:FEW], offsets[:FEW], search
    agree(fused_engine(images, mode), torch_engine(images, mode), few)
    assert bool(questions) == used


def test_fast_search_answers_the_same_with_the_kernel(monkeypatch):
    """Independent program: rows with room all round, shifts chosen at fewer angles, one row, one reference."""
    images, references, labels, rows, offsets, search = question("half steps")
    questions = counted(monkeypatch)
    engines = fused_engine(images, "fast"), torch_engine(images, "fast")
    agree(*engines, (references, labels[:FEW], rows[:FEW], 0 * offsets[:FEW], search))
    assert len(set(questions)) == 1  # fewer angles; of all, each image has one reference at a time
    one = references[:1], rows[:1], 0 * offsets[:1], search
    np.testing.assert_allclose(*(e.score(*one) for e in engines), rtol=ROUNDING)


def test_likelihood_answers_the_same_with_the_kernel(monkeypatch):
    """Independent program: gains and poses beside those of the transform."""
    from cryoisac.engine.gpu.divided import likelihood_engine_on

    references, images, labels, rows, _, search = asked("even box")
    labels, rows = labels[:FEW], rows[:FEW]
    questions = counted(monkeypatch)
    engines = likelihood_engine_on([place(fused="ieee")], images), torch_likelihood_engine(images)
    a, b = (e.score(references, rows, search) for e in engines)
    np.testing.assert_allclose(a, b, atol=ROUNDING * np.abs(b).max())
    a, b = (e.match(references, labels, rows, search) for e in engines)
    np.testing.assert_allclose(a.score, b.score, atol=ROUNDING * np.abs(b.score).max())
    np.testing.assert_allclose(a.poses.rows(), b.poses.rows(), atol=1e-3)  # one computation, once a shift is chosen
    assert questions


def test_compressed_references_answer_the_same_with_the_kernel(monkeypatch):
    """Independent program: scores in a radial basis, of few orders and coefficients, beside those of the transform."""
    from cryoisac.engine.gpu import search as gpu_search

    monkeypatch.setattr(gpu_search, "FEWEST_PAIRS", 0)
    monkeypatch.setattr(gpu_search, "FEWEST_COLUMNS", 0)
    images, references, _, rows, offsets, search = question("half steps", bandlimited)
    questions = counted(monkeypatch)
    engines = fused_engine(images, "fast"), torch_engine(images, "fast")
    a, b = (e.score(references, rows[:FEW], 0 * offsets[:FEW], search) for e in engines)
    np.testing.assert_allclose(a, b, atol=ROUNDING * np.abs(b).max())
    assert questions


def broken(monkeypatch, error):
    """Let the kernel fail as it does where it cannot be compiled or started; return a list that grows with attempts."""
    from cryoisac.engine.gpu import fused

    attempts = []

    def fail(*_):
        attempts.append(1)
        raise error

    monkeypatch.setattr(fused, "largest", fail)
    return attempts


def test_an_engine_does_without_a_kernel_that_fails(monkeypatch):
    """Known truth: without a C compiler, say, the transform answers; one warning, no second attempt of that engine."""
    images, references, _, rows, offsets, search = question("odd box")
    engine, plain = fused_engine(images, "exact"), torch_engine(images)
    attempts = broken(monkeypatch, RuntimeError("Failed to find C compiler.\nPlease specify one."))
    with pytest.warns(RuntimeWarning, match=rf"^{DEVICE}: the fused kernel .* \(Failed to find C compiler\.\)$"):
        first = engine.score(references, rows, offsets, search)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        second = engine.score(references, rows, offsets, search)
    expected = plain.score(references, rows, offsets, search)
    assert (first == expected).all()
    assert (second == expected).all()
    assert len(attempts) == 1
    with pytest.warns(RuntimeWarning, match="Failed to find C compiler"):
        fused_engine(images, "exact").score(references, rows, offsets, search)  # another engine tries again
    assert len(attempts) == 2


def test_memory_that_runs_out_is_no_failure_of_the_kernel(monkeypatch):
    """Known truth: smaller batches are tried, with the kernel."""
    import torch

    from cryoisac.engine.gpu import fused

    images, references, _, rows, offsets, search = question("one ring")
    sizes, real = [], fused.largest

    def scarce(*words):
        sizes.append(words[1].up[0].shape[1])
        if len(sizes) == 1:
            raise torch.cuda.OutOfMemoryError("out of memory")
        return real(*words)

    monkeypatch.setattr(fused, "largest", scarce)
    found = fused_engine(images, "exact").score(references, rows, offsets, search)
    np.testing.assert_allclose(found, torch_engine(images).score(references, rows, offsets, search), rtol=ROUNDING * 10)
    assert max(sizes[1:]) < sizes[0]
