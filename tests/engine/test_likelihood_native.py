"""The compiled likelihood: the float64 definition on every instruction set, threads, batches, memory, errors."""

import functools
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from test_likelihood import world

from cryoisac.engine.likelihood import PoseSearch, RingImages, shift_disc, used_rings
from cryoisac.engine.likelihood_native import NativeLikelihoodEngine, outermost
from cryoisac.engine.likelihood_reference import LikelihoodReferenceEngine
from cryoisac.engine.native import instruction_sets
from cryoisac.errors import DataError, SettingError
from cryoisac.model.poses import Poses, pixel_error
from cryoisac.ops import polar
from cryoisac.ops.polar import Rings

SEARCHES = {
    "even box": ({}, PoseSearch(last_ring=17, shifts_px=shift_disc(3, 1.5))),
    "odd box": ({"box": 35, "last": 16}, PoseSearch(last_ring=16, shifts_px=shift_disc(3, 1.5))),
    "first rings": ({}, PoseSearch(last_ring=9, shifts_px=shift_disc(3, 1.5))),
    "one ring": ({}, PoseSearch(last_ring=1, shifts_px=shift_disc(2, 1))),
    "no mirror": ({}, PoseSearch(last_ring=15, shifts_px=shift_disc(2, 1), mirror=False)),
    "one reference": ({"classes": 1}, PoseSearch(last_ring=15, shifts_px=shift_disc(3, 1))),
    "many references": ({"classes": 20, "n": 37}, PoseSearch(last_ring=15, shifts_px=shift_disc(2, 2))),
    "one shift": ({}, PoseSearch(last_ring=15, shifts_px=np.array([[0.7, -1.3]]))),
    "larger": ({"box": 76, "first": 2, "last": 37, "n": 16}, PoseSearch(last_ring=37, shifts_px=shift_disc(2, 2))),
}


@pytest.fixture(params=instruction_sets())
def native(request):
    """Return a function that makes a native engine."""
    return lambda images, threads=1: NativeLikelihoodEngine(images, threads, instructions=request.param)


@functools.cache
def asked(name):
    """Return what ``world`` makes, under varied CTFs, and rows in which images repeat."""
    shape, search = SEARCHES[name]
    rng = np.random.default_rng(len(name))
    _, references, images, label, poses = world(rng, strength=1.0, **shape)
    images = RingImages(
        rings=images.rings,
        box_px=images.box_px,
        samples=images.samples,
        ctf2=rng.uniform(0.2, 1, images.ctf2.shape).astype(np.float32),
    )
    rows = rng.integers(0, len(label), len(label) + 4)
    return references, images, label[rows], rows, poses[rows], search


def spread(images, references, rows, search):
    """Return the standard deviation of gains between angles at no shift, shape (m, k)."""
    rings = used_rings(images.rings, search.last_ring)
    size = sum(rings.lengths)
    spectra = [polar.spectra(s[:, :size], rings) for s in (references, images.samples[rows])]
    curves = polar.correlate(polar.weigh(spectra[0], rings)[None], spectra[1][:, None], rings)
    return np.concatenate(curves, axis=-1).std(axis=-1)


@pytest.mark.parametrize("name", SEARCHES)
def test_searches_against_definition(native, name):
    """Definition: gains and poses of the uncompressed search, within the stated loss of energy."""
    references, images, labels, rows, _, search = asked(name)
    truth, engine = LikelihoodReferenceEngine(images), native(images)
    expected, found = (e.score(references, rows, search) for e in (truth, engine))
    error = (found - expected) / spread(images, references, rows, search)
    # a loss of 1e-3 takes sqrt(1e-3) = 0.03 of the spread; another shift may be chosen where two peaks are that close
    assert np.sqrt(np.mean(error**2)) < 0.06
    assert np.abs(error).max() < 0.3
    a, b = (e.match(references, labels, rows, search) for e in (truth, engine))
    assert (b.score == found[np.arange(len(rows)), labels]).all()
    alike = pixel_error(a.poses, b.poses, radius_px=images.box_px / 4) < 0.1
    assert alike.mean() > 0.8 or name == "one ring"  # a single ring has many peaks of nearly the same height
    own = spread(images, references, rows, search)[np.arange(len(rows)), labels]
    assert (alike | (np.abs(a.score - b.score) < 0.3 * own)).all()


@pytest.mark.parametrize("name", ["even box", "odd box", "first rings", "one ring", "larger"])
def test_refined_poses_and_sums_against_definition(native, name):
    """Definition: the same Newton steps and the same sums in float64."""
    references, images, labels, rows, poses, search = asked(name)
    truth, engine = LikelihoodReferenceEngine(images), native(images)
    rng = np.random.default_rng(1)
    near = Poses(
        angle_deg=poses.angle_deg + rng.normal(0, 2, len(rows)),
        shift_px=poses.shift_px + rng.normal(0, 0.4, (len(rows), 2)),
        mirror=poses.mirror,
    )
    a, b = (e.refine(references, labels, rows, near, search.last_ring) for e in (truth, engine))
    # float32 sums; a step that hardly rises may be taken by one and halved by the other
    np.testing.assert_allclose(b.score, a.score, atol=1e-5 * np.abs(a.score).max())
    assert np.quantile(pixel_error(a.poses, b.poses, radius_px=images.box_px / 4), 0.9) < 0.01
    labels = np.where(rng.random(len(rows)) < 0.2, -1, labels)
    expected, found = (e.total(labels, rows, near, len(references) + 1) for e in (truth, engine))
    np.testing.assert_allclose(found, expected, atol=2e-6 * np.abs(expected).max())  # float32 rings


def test_threads_batches_and_order_do_not_matter(native):
    """Invariance, to the last bit: threads, any split and order of the rows."""
    references, images, _, _, _, search = asked("many references")
    rng = np.random.default_rng(2)
    rows, labels = rng.integers(0, len(images), 700), rng.integers(0, 20, 700)
    whole = native(images)
    scores, match = whole.score(references, rows, search), whole.match(references, labels, rows, search)
    refined = whole.refine(references, labels, rows, match.poses, 15)
    some = np.where(rng.random(700) < 0.1, -1, labels)
    few = np.where(rng.random(700) < 0.9, 0, some)  # more than is added up in one go
    totals = [whole.total(each, rows, refined.poses, 20) for each in (some, few)]
    for threads in (2, 7):
        engine = native(images, threads)
        assert (engine.score(references, rows, search) == scores).all()
        again = engine.match(references, labels, rows, search)
        assert (again.poses.rows() == match.poses.rows()).all()
        assert (again.score == match.score).all()
        again = engine.refine(references, labels, rows, match.poses, 15)
        assert (again.poses.rows() == refined.poses.rows()).all()
        assert (again.score == refined.score).all()
        for each, total in zip((some, few), totals, strict=True):
            assert (engine.total(each, rows, refined.poses, 20) == total).all()
    for part in [slice(0, 1), slice(5, 17), slice(3, 400), rng.permutation(700)]:
        assert (whole.score(references, rows[part], search) == scores[part]).all()
        again = whole.match(references, labels[part], rows[part], search)
        assert (again.poses.rows() == match.poses.rows()[part]).all()
        again = whole.refine(references, labels[part], rows[part], match.poses[part], 15)
        assert (again.poses.rows() == refined.poses.rows()[part]).all()
        assert (again.score == refined.score[part]).all()


def test_mapped_samples_are_read_in_place(native, tmp_path):
    """Invariance: samples in a file give the same answers, bit for bit, and are not copied."""
    references, images, labels, rows, poses, search = asked("even box")
    np.save(tmp_path / "samples.npy", images.samples)
    mapped = np.load(tmp_path / "samples.npy", mmap_mode="r")
    stored = RingImages(rings=images.rings, box_px=images.box_px, samples=mapped, ctf2=images.ctf2)
    one, other = native(images), native(stored)
    assert (one.score(references, rows, search) == other.score(references, rows, search)).all()
    a, b = (e.match(references, labels, rows, search) for e in (one, other))
    assert (a.poses.rows() == b.poses.rows()).all()
    a, b = (e.refine(references, labels, rows, poses, 15) for e in (one, other))
    assert (a.score == b.score).all()
    assert (one.total(labels, rows, poses, 3) == other.total(labels, rows, poses, 3)).all()


def test_more_energy_kept_is_closer(native):
    """Definition: prepared references hold all but 1e-3 of their energy, at every shift."""
    references, images, _, _, _, search = asked("even box")
    ready = native(images).ready(references, search)
    panel = ready.panel.reshape(len(references), len(search.shifts_px), -1, 2)
    order = np.repeat(ready.basis.order, np.diff(ready.basis.start))
    held = ((panel**2).sum(axis=-1) * np.where(order > 0, 1.0, 0.5)).sum(axis=-1)
    weight = np.repeat(ready.rings.sample_weights, ready.rings.lengths)
    whole = (weight * references[:, : len(weight)].astype(np.float64) ** 2).sum(axis=1)
    missing = 1 - held / whole[:, None]
    assert 0 < missing.mean() < 1.5e-3  # the basis is made from the outermost shifts
    assert missing.max() < 5e-3


MEASURE = """
import re
from pathlib import Path
import numpy as np
from cryoisac.engine.likelihood import PoseSearch, RingImages, shift_disc
from cryoisac.engine.likelihood_native import NativeLikelihoodEngine
from cryoisac.model.poses import Poses
from cryoisac.ops.hartley import transform_rings
def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text()).group(1)) * 1024
rng = np.random.default_rng(0)
rings = transform_rings(20, first=2, box_px=76, support_px=34)
samples = rng.normal(size=(64, sum(rings.lengths))).astype(np.float32)
images = RingImages(rings=rings, box_px=76, samples=samples, ctf2=np.ones((64, 19), np.float32))
rows, k = {rows}, {k}
references, row = np.repeat(samples[:8], k // 8, axis=0), np.arange(rows) % 64
labels, poses = np.arange(rows) % k, Poses.identity(rows)
engine, search = NativeLikelihoodEngine(images, 2), PoseSearch(last_ring=16, shifts_px=shift_disc(3, 1.5))
engine.match(references[:1], labels[:8] * 0, row[:8], search)
before = peak()
engine.{question}
print(peak() - before, engine.plan(rows, k, search))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
@pytest.mark.parametrize(
    ("rows", "k", "question"),
    [
        (20_000, 400, "score(references, row, search)"),
        (100_000, 400, "match(references, labels, row, search)"),
        (100_000, 400, "refine(references, labels, row, poses, 16)"),
        (100_000, 400, "total(labels, row, poses, k)"),
    ],
)
def test_no_more_is_taken_than_was_planned(rows, k, question):
    """Definition: the rise of the process's peak memory during one question, in a process of its own."""
    program = MEASURE.format(rows=rows, k=k, question=question)
    said = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
    taken, planned = map(int, said.split())
    assert taken <= planned
    if question.startswith("score"):  # the largest question; a plan that claims too much refuses what could be done
        assert planned < 3 * taken


def test_an_image_that_is_not_finite_has_no_gain(native):
    """Known truth: its own gains are not numbers; those of rows beside it, and of other references, are."""
    references, images, labels, rows, poses, search = asked("even box")
    samples = images.samples.copy()
    samples[rows[2], 5] = np.nan
    engine = native(RingImages(rings=images.rings, box_px=36, samples=samples, ctf2=images.ctf2))
    lost = rows == rows[2]
    scores = engine.score(references, rows, search)
    assert np.isnan(scores[lost]).all()
    assert (scores[~lost] == native(images).score(references, rows, search)[~lost]).all()
    assert (np.isnan(engine.match(references, labels, rows, search).score) == lost).all()
    refined = engine.refine(references, labels, rows, poses, 15)
    assert (np.isnan(refined.score) == lost).all()
    assert np.isfinite(refined.poses.rows()).all()


def test_outermost_shifts():
    """Known truth: of a disc, its middle and its rim."""
    kept = outermost(shift_disc(4.5, 1.5))
    assert len(kept) == 9
    assert (kept == 0).all(axis=1).sum() == 1
    assert np.hypot(*kept.T).max() == 4.5
    assert outermost(np.array([[2.0, 1.0]])).tolist() == [[2.0, 1.0]]


def test_unfit_images_and_settings_are_refused():
    _, images, *_ = asked("even box")
    double = RingImages(rings=images.rings, box_px=36, samples=images.samples.astype(np.float64), ctf2=images.ctf2)
    with pytest.raises(DataError, match="float32"):
        NativeLikelihoodEngine(double)
    falling = Rings(radii=(1, 2), lengths=(16, 8))
    samples, ctf2 = np.zeros((3, 24), np.float32), np.ones((3, 2), np.float32)
    with pytest.raises(DataError, match="powers of two"):
        NativeLikelihoodEngine(RingImages(rings=falling, box_px=9, samples=samples, ctf2=ctf2))
    with pytest.raises(SettingError, match="threads"):
        NativeLikelihoodEngine(images, 0)
    with pytest.raises(SettingError, match="use one of"):
        NativeLikelihoodEngine(images, instructions="abacus")


def test_wrong_rows_are_refused(native):
    references, images, labels, rows, poses, search = asked("even box")
    with pytest.raises(DataError, match="indices"):
        native(images).score(references, rows + 30, search)
    with pytest.raises(DataError, match="poses"):
        native(images).refine(references, labels, rows, poses[1:], 15)
    with pytest.raises(DataError, match="finite"):
        native(images).score(references * np.float32(np.nan), rows, search)
