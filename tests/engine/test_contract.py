"""One suite over every engine: against the float64 definition, for known truths, and for invariance."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from cryoisac.engine import shifted
from cryoisac.engine.contract import Search, search_limits
from cryoisac.engine.native import INSTRUCTIONS, NativeEngine, instruction_set, instruction_sets
from cryoisac.engine.reference import ReferenceEngine
from cryoisac.errors import DataError, SettingError
from cryoisac.model.poses import Poses, wrap
from cryoisac.ops.polar import Rings
from cryoisac.ops.warp import rotate_shift

IMAGES, REFERENCES = 11, 5


def smooth(rng, n, box):
    """Return noise that bilinear interpolation does not destroy, standard deviation about 1."""
    noise = gaussian_filter(rng.standard_normal((n, box, box)), (0, 1.5, 1.5))
    return (noise / noise.std()).astype(np.float32)


def rows_of(rng, m, reach_px=2.0):
    return rng.integers(0, REFERENCES, m), rng.integers(0, IMAGES, m), rng.uniform(-reach_px, reach_px, (m, 2))


SEARCHES = {
    "even box": (36, Search(last_ring=13)),
    "odd box": (35, Search(last_ring=13)),
    "normalised": (36, Search(last_ring=13, normalise_rings=True)),
    "no shift": (36, Search(last_ring=13, x_range_px=0, y_range_px=0)),
    "half steps": (36, Search(last_ring=12, x_range_px=1.5, y_range_px=1, step_px=0.5, normalise_rings=True)),
    "steps of 0.3": (35, Search(last_ring=12, x_range_px=0.9, y_range_px=0.7, step_px=0.3)),
    "steps of 2": (36, Search(last_ring=11, x_range_px=4, y_range_px=3, step_px=2)),
    "wide and flat": (36, Search(last_ring=11, x_range_px=3, y_range_px=0)),
    "few rings": (36, Search(first_ring=4, last_ring=13, ring_step=3, normalise_rings=True)),
    "one ring": (36, Search(first_ring=7, last_ring=7)),
    "straight only": (36, Search(last_ring=13, mirror=False)),
    "quarter turns": (36, Search(last_ring=13, angle_step_deg=90)),
    "turns of 30": (35, Search(last_ring=13, angle_step_deg=30, normalise_rings=True)),
    "turns of 1": (35, Search(last_ring=13, angle_step_deg=1)),
    "512 angles": (90, Search(last_ring=42, x_range_px=0, y_range_px=1)),
    "out of reach": (33, Search(last_ring=15, x_range_px=3, y_range_px=2, normalise_rings=True)),
}


@pytest.mark.parametrize("name", SEARCHES)
def test_native_against_definition(native, name):
    """Definition by brute force: scores, poses and sums of the float64 engine."""
    box, search = SEARCHES[name]
    rng = np.random.default_rng(len(name))
    images, references = smooth(rng, IMAGES, box), smooth(rng, REFERENCES, box)
    labels, rows, offsets = rows_of(rng, 19)
    edge = box // 2 - search.last_ring - 1
    offsets[:4] = [[0, 0], [edge, -edge], [-edge, 0.5], [edge + 7.3, 1]]
    truth, engine = ReferenceEngine(images), native(images)
    scores = truth.score(references, rows, offsets, search)
    # float32 sums of some thousand terms; 3e-7 of the largest was measured
    np.testing.assert_allclose(engine.score(references, rows, offsets, search), scores, atol=1.5e-6 * scores.max())
    expected, got = (e.match(references, labels, rows, offsets, search) for e in (truth, engine))
    np.testing.assert_allclose(got.score, expected.score, atol=1.5e-6 * scores.max())
    assert (got.poses.mirror == expected.poses.mirror).all()
    angle = np.abs((got.poses.angle_deg - expected.poses.angle_deg + 180) % 360 - 180)
    assert angle.max() < 1e-3  # the parabola divides float32 rounding by the peak's curvature
    np.testing.assert_allclose(got.poses.shift_px, expected.poses.shift_px, atol=1e-4)  # that angle times the offset
    sums = truth.total(labels - 1, rows, expected.poses, REFERENCES)
    np.testing.assert_allclose(engine.total(labels - 1, rows, expected.poses, REFERENCES), sums, atol=2e-5)


@pytest.mark.parametrize("normalise", [False, True])
def test_definition_by_brute_force(normalise):
    """Definition by brute force: the float64 engine against explicit loops over shifts, samples and angles."""
    box, search = 20, Search(first_ring=6, last_ring=7, x_range_px=1, y_range_px=1, normalise_rings=normalise)
    rings = Rings.between(6, 7)  # both of 64 samples
    rng = np.random.default_rng(8)
    images, references = smooth(rng, 2, box).astype(float), smooth(rng, 2, box).astype(float)
    offsets = np.array([[0.25, -0.5], [2.0, 0.0]])

    def ring(image, cx, cy, r):
        values = []
        for k in range(64):
            x, y = cx + r * np.sin(2 * np.pi * k / 64), cy + r * np.cos(2 * np.pi * k / 64)
            i, j = int(x), int(y)
            a, b = x - i, y - j
            right, up = min(i + 1, box - 1), min(j + 1, box - 1)
            below = (1 - a) * image[j, i] + a * image[j, right]
            above = (1 - a) * image[up, i] + a * image[up, right]
            values.append((1 - b) * below + b * above)
        return np.array(values)

    expected = np.full((2, 2), -np.inf)
    for n in range(2):
        for iy in (-1, 0, 1):
            for ix in (-1, 0, 1):
                if not -1 <= ix <= (1 if n == 0 else 0):  # row 1 lies on the margin
                    continue
                centre = 10 + offsets[n] + [ix, iy]
                samples = [ring(images[n], *centre, r) for r in (6, 7)]
                if normalise:
                    weights = np.repeat(rings.sample_weights, 64)
                    mean = np.average(np.concatenate(samples), weights=weights)
                    sigma = np.sqrt(np.average((np.concatenate(samples) - mean) ** 2, weights=weights))
                    samples = [(s - mean) / sigma for s in samples]
                for k in range(2):
                    for sign in (1, -1):
                        for turn in range(64):
                            at = sign * (np.arange(64) + turn) % 64
                            value = sum(
                                w * ring(references[k], 10, 10, r)[at] @ s
                                for w, r, s in zip(rings.sample_weights, (6, 7), samples, strict=True)
                            )
                            expected[n, k] = max(expected[n, k], value)
    assert search_limits(offsets, box, search)[1].tolist() == [1, 0, 1, 1]
    engine = ReferenceEngine(images.astype(np.float32))
    scores = engine.score(references.astype(np.float32), np.arange(2), offsets, search)
    np.testing.assert_allclose(scores, expected, rtol=1e-6)  # float32 scores


@pytest.mark.parametrize("box", [48, 49])
def test_known_poses_are_found(make, box):
    """Known truth: images made of moved Gaussians are laid back on the reference."""
    rng = np.random.default_rng(9)
    m = 24
    y, x = np.mgrid[:box, :box] - box // 2
    at, height = rng.uniform(-9, 9, (6, 2)), rng.uniform(1, 2, 6)
    offset = rng.integers(-3, 4, (m, 2)).astype(float)
    angle, mirror = rng.uniform(0, 360, m), rng.random(m) < 0.5
    poses = Poses(angle_deg=angle, shift_px=np.zeros((m, 2)), mirror=mirror)
    poses = Poses.at_offsets(offset).then(poses)

    def density(points):
        apart = ((points[..., None, :] - at) ** 2).sum(axis=-1)
        return (height * np.exp(-apart / 8)).sum(axis=-1)

    grid = np.stack((x, y), axis=-1).astype(float)
    reference = density(grid)[None].astype(np.float32)
    images = density(poses.apply(np.stack([grid] * m))).astype(np.float32)
    engine = make(images)
    search = Search(last_ring=19, x_range_px=3, y_range_px=3)
    found = engine.match(reference, np.zeros(m, np.int64), np.arange(m), np.zeros((m, 2)), search)
    assert (found.poses.mirror == mirror).all()
    error = np.abs((found.poses.angle_deg - angle + 180) % 360 - 180)
    if make.fast:  # the grid of shifts turns: half its diagonal and a bit for the angle that makes the best of it
        within = np.linalg.norm(offset, axis=1) <= 3  # whatever the angle, the square of shifts holds these
        assert np.linalg.norm(found.poses.offset_px() - offset, axis=1)[within].max() < 0.8
        assert error[within].max() < 4
        found = replace(found, poses=poses)
    else:
        np.testing.assert_allclose(found.poses.offset_px(), offset, atol=1e-9)  # shifts stay on their grid
        assert error.max() < 0.5  # a third of the angular step; bilinear sampling moves the peak a little
    inside = x**2 + y**2 <= 18**2
    for total in (engine.total, engine.quick_total):
        average = total(np.zeros(m, np.int64), np.arange(m), found.poses, 1)[0] / m
        assert np.corrcoef(average[inside], reference[0][inside])[0, 1] > 0.999  # interpolation loses that much


def test_scores_are_the_matches(make):
    """Invariance: what ``score`` finds for a row and a reference is what ``match`` finds."""
    rng = np.random.default_rng(10)
    images, references = smooth(rng, IMAGES, 36), smooth(rng, REFERENCES, 36)
    labels, rows, offsets = rows_of(rng, 20)
    search = Search(last_ring=13, normalise_rings=True)
    engine = make(images)
    scores = engine.score(references, rows, offsets, search)
    match = engine.match(references, labels, rows, offsets, search)
    np.testing.assert_allclose(match.score, scores[np.arange(20), labels], rtol=1e-6)  # float32


def test_threads_batches_and_order_do_not_matter(make):
    """Invariance, to the last bit: threads 1, 2 and 7, any split of the rows, any order, any other references."""
    rng = np.random.default_rng(11)
    images, references = smooth(rng, IMAGES, 36), smooth(rng, REFERENCES, 36)
    labels, rows, offsets = rows_of(rng, 37)
    offsets[::3] = np.round(offsets[::3])
    offsets[::5] += 3  # short of room
    search = Search(last_ring=13, x_range_px=2, normalise_rings=True)
    whole = make(images)
    scores, match = (
        whole.score(references, rows, offsets, search),
        whole.match(references, labels, rows, offsets, search),
    )
    sums = [ask(labels, rows, match.poses, REFERENCES) for ask in (whole.total, whole.quick_total)]
    for threads in (2, 7):
        engine = make(images, threads)
        assert (engine.score(references, rows, offsets, search) == scores).all()
        again = engine.match(references, labels, rows, offsets, search)
        assert (again.poses.rows() == match.poses.rows()).all()
        assert (again.score == match.score).all()
        assert (engine.total(labels, rows, match.poses, REFERENCES) == sums[0]).all()
        assert (engine.quick_total(labels, rows, match.poses, REFERENCES) == sums[1]).all()
    shuffled = rng.permutation(37)
    if not make.native:  # NumPy's sums may depend on an array's shape
        return
    own = slice(None) if make.compressed else slice(1, 4)  # a basis is made of all references
    for part in [slice(0, 1), slice(5, 17), slice(3, 37), shuffled]:
        some = whole.score(references[own], rows[part], offsets[part], search)
        assert (some == scores[part, own]).all()
        again = whole.match(references, labels[part], rows[part], offsets[part], search)
        assert (again.poses.rows() == match.poses.rows()[part]).all()
        assert (again.score == match.score[part]).all()


def test_sums_of_many_rows_do_not_hang_on_threads(native):
    """Invariance, and definition: a class of more rows than one chunk."""
    rng = np.random.default_rng(12)
    images = smooth(rng, IMAGES, 16)
    m = 700
    labels, rows = rng.choice([-1, 0, 2], m), rng.integers(0, IMAGES, m)
    poses = Poses(angle_deg=rng.uniform(0, 360, m), shift_px=rng.uniform(-2, 2, (m, 2)), mirror=rng.random(m) < 0.5)
    sums = native(images).total(labels, rows, poses, 3)
    assert (native(images, 7).total(labels, rows, poses, 3) == sums).all()
    assert (sums[1] == 0).all()
    moved = rotate_shift(images[rows], poses).astype(float)
    expected = np.stack([moved[labels == k].sum(axis=0) for k in range(3)])
    np.testing.assert_allclose(sums, expected, atol=1e-4)  # float32 rounding of 300 images, 3e-7 each, at worst
    np.testing.assert_allclose(native(images, 3).warp(rows, poses), moved, atol=2e-6)


def test_ties(make):
    """Known truth: of equal values the latest shift, the straight one, and the largest angle win."""
    images = np.full((2, 30, 30), 0.7, dtype=np.float32)
    search = Search(last_ring=9, x_range_px=2, y_range_px=1)
    offsets = np.array([[0, 0], [0.3, 0.4]])
    found = make(images).match(images[:1], np.zeros(2, np.int64), np.arange(2), offsets, search)
    last = 360 * (1 - 1 / 64)
    np.testing.assert_allclose(found.poses.angle_deg, last, atol=1e-9)
    assert not found.poses.mirror.any()
    turned = shifted.moves_px(last, np.array([2.0, 1.0]), False) if make.fast else np.array([2, 1])
    np.testing.assert_allclose(found.poses.offset_px(), offsets + turned, atol=1e-9)


def test_blank_images_give_numbers(make):
    """Known truth: an image without contrast scores 0 once normalised, and never NaN."""
    images = np.stack([np.zeros((30, 30)), np.full((30, 30), 1e3)]).astype(np.float32)
    references = smooth(np.random.default_rng(13), 2, 30)
    search = Search(last_ring=9, normalise_rings=True)
    engine = make(images)
    assert (engine.score(references, np.arange(2), np.zeros((2, 2)), search) == 0).all()
    assert np.isfinite(
        engine.match(references, np.arange(2), np.arange(2), np.zeros((2, 2)), search).poses.rows()
    ).all()


def test_a_high_background_does_not_matter(native):
    """Invariance: normalised scores of images on a background of a thousand."""
    rng = np.random.default_rng(14)
    images, references = smooth(rng, IMAGES, 36), smooth(rng, REFERENCES, 36)
    _, rows, offsets = rows_of(rng, 20)
    search = Search(last_ring=13, normalise_rings=True)
    low = native(images).score(references, rows, offsets, search)
    high = native(images + np.float32(1000)).score(references, rows, offsets, search)
    np.testing.assert_allclose(high, low, atol=2e-4 * low.max())  # float32 images of 1000 have steps of 6e-5


def test_centres_far_outside(make):
    """Invariance: outside an image its nearest pixel counts, however far outside."""
    rng = np.random.default_rng(17)
    images, references = smooth(rng, 2, 30), smooth(rng, 2, 30)
    offsets = np.array([[400.0, 0.25], [1e15, 0.25]])
    scores = make(images).score(references, np.zeros(2, np.int64), offsets, Search(last_ring=9, normalise_rings=True))
    np.testing.assert_allclose(scores[1], scores[0], rtol=1e-5)  # float32 fractions of 400.0 in one, none in the other
    truth = make.definition(images).score(references, np.zeros(1, np.int64), offsets[:1], Search(last_ring=9))
    found = make(images).score(references, np.zeros(1, np.int64), offsets[:1], Search(last_ring=9))
    np.testing.assert_allclose(found, truth, rtol=0.02 if make.compressed else 1e-5)  # as in test_fast


def test_nothing_to_do(make):
    """Known truth: no rows, no references, one of each, and rows in no class."""
    rng = np.random.default_rng(15)
    images = smooth(rng, 1, 30)
    engine, none, search = make(images), np.zeros(0, np.int64), Search(last_ring=9)
    assert engine.shape == (1, 30, 30)
    assert engine.score(images, none, np.zeros((0, 2)), search).shape == (0, 1)
    assert engine.score(images[:0], none, np.zeros((0, 2)), search).shape == (0, 0)
    assert len(engine.match(images, none, none, np.zeros((0, 2)), search).poses) == 0
    assert engine.total(none, none, Poses.identity(0), 2).shape == (2, 30, 30)
    one = np.zeros(1, np.int64)
    found = engine.match(images, one, one, np.zeros((1, 2)), search)
    assert np.abs(wrap(found.poses.angle_deg + 180) - 180) < 1e-3  # an image on itself, to float32 rounding
    assert not found.poses.mirror.any()
    assert (found.poses.shift_px == 0).all()
    assert (engine.total(one - 1, one, Poses.identity(1), 2) == 0).all()
    np.testing.assert_array_equal(engine.total(one, one, Poses.identity(1), 1), images)
    assert engine.quick_total(none, none, Poses.identity(0), 2).shape == (2, 30, 30)
    assert engine.quick_total(none, none, Poses.identity(0), 0).shape == (0, 30, 30)
    assert (engine.quick_total(one - 1, one, Poses.identity(1), 2) == 0).all()


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"last_ring": 15}, SettingError),
        ({"last_ring": 0}, SettingError),
        ({"step_px": 0.0}, SettingError),
        ({"angle_step_deg": 360.0}, SettingError),
        ({"rows": np.array([3])}, DataError),
        ({"rows": np.array([-1])}, DataError),
        ({"offsets": np.full((1, 2), np.nan)}, DataError),
        ({"offsets": np.zeros((2, 2))}, DataError),
        ({"labels": np.array([2])}, DataError),
        ({"references": np.zeros((2, 28, 28), np.float32)}, DataError),
    ],
)
def test_bad_calls_are_refused(make, change, error):
    """Known truth: a sentence, not a wrong answer."""
    images = smooth(np.random.default_rng(16), 3, 30)
    call = {"references": images[:2], "labels": np.array([0]), "rows": np.array([0]), "offsets": np.zeros((1, 2))}
    asked = {"last_ring": 9, **{k: v for k, v in change.items() if k not in call}}
    call.update({k: v for k, v in change.items() if k in call})
    with pytest.raises(error):
        make(images).match(call["references"], call["labels"], call["rows"], call["offsets"], Search(**asked))


def test_bad_stacks_are_refused(make):
    with pytest.raises(DataError, match="side"):
        make(np.zeros((2, 8, 9), np.float32))
    with pytest.raises(DataError, match="side"):
        make(np.zeros((8, 8), np.float32))


def test_instruction_set_is_chosen_by_the_environment(monkeypatch):
    """Known truth: the variable is obeyed, and an unknown value named."""
    monkeypatch.delenv(INSTRUCTIONS, raising=False)
    assert instruction_set() == instruction_sets()[0]
    monkeypatch.setenv(INSTRUCTIONS, "baseline")
    assert instruction_set() == "baseline"
    monkeypatch.setenv(INSTRUCTIONS, "mmx")
    with pytest.raises(SettingError, match="mmx"):
        NativeEngine(np.zeros((1, 8, 8), np.float32))
    with pytest.raises(SettingError, match="threads"):
        NativeEngine(np.zeros((1, 8, 8), np.float32), 0, instructions="baseline")
