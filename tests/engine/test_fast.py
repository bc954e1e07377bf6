"""The fast search: its float64 definition against the exact one, the kernels against it, known truths, invariance."""

import numpy as np
import pytest
from test_contract import IMAGES, REFERENCES, SEARCHES, rows_of, smooth

from cryoisac.engine import shifted
from cryoisac.engine.contract import Search
from cryoisac.engine.fast_reference import FastReferenceEngine
from cryoisac.engine.native import NativeEngine
from cryoisac.engine.reference import ReferenceEngine
from cryoisac.errors import SettingError
from cryoisac.model.poses import Poses, pixel_error, rotate
from cryoisac.ops.filters import tangent_lowpass
from cryoisac.simulation.density import procedural
from cryoisac.simulation.particles import posed
from cryoisac.simulation.projection import Projector, orientation


def bandlimited(rng, n, box):
    """Return images as low-passed averages are: correlations change little from one angle to the next."""
    return tangent_lowpass(rng.standard_normal((n, box, box)).astype(np.float32), 0.12, 0.2).astype(np.float32) * 8


def test_one_shift_is_the_exact_search():
    """Definition: without shifts the fast and the exact search are the same."""
    rng = np.random.default_rng(1)
    images, references = smooth(rng, IMAGES, 36), smooth(rng, REFERENCES, 36)
    labels, rows, offsets = rows_of(rng, 20)
    search = Search(last_ring=13, x_range_px=0, y_range_px=0, normalise_rings=True)
    exact, quick = ReferenceEngine(images), FastReferenceEngine(images)
    assert (quick.score(references, rows, offsets, search) == exact.score(references, rows, offsets, search)).all()
    a, b = (engine.match(references, labels, rows, offsets, search) for engine in (exact, quick))
    assert (a.poses.rows() == b.poses.rows()).all()


def test_definition_by_brute_force():
    """Definition by brute force: explicit loops over shifts, angles and mirrors, and the pose each of them means."""
    box, search = 14, Search(first_ring=3, last_ring=4, x_range_px=1, y_range_px=1)  # rings of 32 samples
    rng = np.random.default_rng(2)
    images, references = smooth(rng, 2, box).astype(float), smooth(rng, 1, box).astype(float)
    offsets = np.array([[0.25, -0.5], [1.5, 0.0]])

    def at(image, x, y):
        i, j = int(x), int(y)
        a, b = x - i, y - j
        low = (1 - a) * image[j, i] + a * image[j, i + 1]
        return (1 - b) * low + b * ((1 - a) * image[j + 1, i] + a * image[j + 1, i + 1])

    best = []
    for n in range(2):
        trials = []
        for d in [(x, y) for y in (-1, 0, 1) for x in (-1, 0, 1)]:
            for mirror in (False, True):
                for turn in range(32):
                    angle = turn * 360 / 32
                    towards = shifted.moves_px(angle, np.array(d, float), mirror)
                    if (np.abs(offsets[n] + towards) > 2.0001).any():
                        continue  # centres from -2 to 2 keep a radius of 4 within 14 pixels
                    value = 0.0
                    for r in (3, 4):
                        for k in range(32):
                            p = 2 * np.pi * k / 32
                            u = r * np.array([np.sin(p), np.cos(p)])
                            v = rotate(angle, u) * [-1 if mirror else 1, 1] + d  # where the pose carries that sample
                            value += (
                                2 * np.pi * r / 32 * at(images[n], *(7 + offsets[n] + u)) * at(references[0], *(7 + v))
                            )
                    trials.append((value, angle, towards, mirror))
        best.append(max(trials, key=lambda trial: trial[0]))
    engine = FastReferenceEngine(images.astype(np.float32))
    scores = engine.score(references.astype(np.float32), np.arange(2), offsets, search)
    np.testing.assert_allclose(scores[:, 0], [b[0] for b in best], rtol=1e-6)  # float32 scores


def test_moves_are_what_poses_say():
    """Definition: the centre that is moved by s falls on the reference's centre under the pose of the search."""
    rng = np.random.default_rng(3)
    angle, mirror, d = rng.uniform(0, 360, 50), rng.random(50) < 0.5, rng.uniform(-3, 3, (50, 2))
    offset = rng.uniform(-2, 2, (50, 2))
    centre = offset + shifted.moves_px(angle, d, mirror)
    pose = Poses(angle_deg=angle, shift_px=-rotate(angle, centre), mirror=mirror)
    np.testing.assert_allclose(pose.apply(offset[:, None])[:, 0], d, atol=1e-12)  # the row's centre lies on d
    np.testing.assert_allclose(np.linalg.norm(centre - offset, axis=1), np.linalg.norm(d, axis=1))


@pytest.mark.parametrize("name", [*SEARCHES])
def test_native_against_definition(fast, name):
    """Definition: scores and poses of the uncompressed search at all angles, within the stated loss of energy."""
    box, search = SEARCHES[name]
    rng = np.random.default_rng(len(name))
    images, references = bandlimited(rng, IMAGES, box), bandlimited(rng, REFERENCES, box)
    labels, rows, offsets = rows_of(rng, 19)
    edge = box // 2 - search.last_ring - 1
    offsets[:4] = [[0, 0], [edge, -edge], [-edge, 0.5], [edge + 7.3, 1]]
    truth, engine = FastReferenceEngine(images), fast(images)
    scores = truth.score(references, rows, offsets, search)
    found = engine.score(references, rows, offsets, search)
    # a loss of 1e-3 may take sqrt(1e-3) = 3 % of a correlation's spread over poses, which is a third of its peak or
    # less; a shift that is chosen from fewer angles may be the second best
    assert np.abs(found - scores).max() < 0.02 * scores.max()
    assert np.sqrt(np.mean((found - scores) ** 2)) < 0.005 * scores.max()
    expected, got = (e.match(references, labels, rows, offsets, search) for e in (truth, engine))
    assert (got.score == found[np.arange(19), labels]).all()
    alike = pixel_error(got.poses, expected.poses, radius_px=search.last_ring) < 0.1
    assert alike.mean() > 0.8  # the others have two peaks of nearly the same height
    near = np.abs(got.score - expected.score) < 0.02 * scores.max()
    assert (alike | near).all()


def known(rng, box, views, n, reach_px):
    """Return averages of views, and images of known view and pose at a signal-to-noise ratio of 0.2."""
    projector = Projector(procedural(box_px=box, pixel_size_A=5.0, seed=3), box_px=box, pixel_size_A=5.0)
    tilt = np.degrees(np.arccos(rng.uniform(0, 1, views)))
    axes = orientation(rng.uniform(0, 360, views), tilt, rng.uniform(0, 360, views))
    view = rng.integers(0, views, n)
    turned = Poses(angle_deg=rng.uniform(0, 360, n), shift_px=np.zeros((n, 2)), mirror=rng.random(n) < 0.5)
    poses = Poses.at_offsets(rng.uniform(-reach_px, reach_px, (n, 2))).then(turned)
    images = projector.project(posed(axes[view], poses), poses.offset_px())
    clean = projector.project(axes)
    noise = clean[:, box // 4 : -box // 4, box // 4 : -box // 4].std() / np.sqrt(0.2)
    noisy = (images + noise * rng.standard_normal(images.shape)).astype(np.float32)
    return tangent_lowpass(clean.astype(np.float32), 0.3, 0.2).astype(np.float32), noisy, view, poses


def test_truth_is_found_as_by_the_exact_search(fast):
    """Known truth: views, mirrors and poses of noisy projections."""
    averages, images, view, poses = known(np.random.default_rng(4), 48, 12, 240, 2)
    rows, still = np.arange(240), np.zeros((240, 2))
    ranges = {"last_ring": 18, "x_range_px": 2, "y_range_px": 2}
    hits, errors = [], []
    for engine in (NativeEngine(images), fast(images)):
        scores = engine.score(averages, rows, still, Search(normalise_rings=True, **ranges))
        found = engine.match(averages, view, rows, still, Search(**ranges)).poses
        hits.append((scores.argmax(axis=1) == view).mean())
        errors.append(np.median(pixel_error(found, poses, radius_px=18)))
    assert hits[1] > hits[0] - 0.03  # the standard error of a share of 240
    assert errors[1] < 1.1 * errors[0]  # that of their median is 6 %


def test_rings_stay_in_the_image(fast):
    """Known truth: whatever is found, the centre keeps all rings inside, or does not move."""
    rng = np.random.default_rng(12)
    images, references = smooth(rng, IMAGES, 36), smooth(rng, REFERENCES, 36)
    labels, rows, offsets = rows_of(rng, 300, reach_px=5)
    search = Search(last_ring=13, x_range_px=3, y_range_px=3)
    found = fast(images).match(references, labels, rows, offsets, search).poses.offset_px()
    inside = np.abs(found) < 4 + 1e-9  # 18 - 13 - 1 below, 36 - 1 - 18 - 13 above
    assert (inside | (np.abs(found) < np.abs(offsets) + 1e-9)).all()
    assert np.abs(found - offsets).max() > 2


def test_blank_images_and_references_give_numbers(fast):
    """Known truth: without contrast on either side scores are 0 once normalised, and never NaN."""
    flat = np.stack([np.zeros((30, 30)), np.full((30, 30), 1e3)]).astype(np.float32)
    noise = smooth(np.random.default_rng(13), 2, 30)
    search = Search(last_ring=9, normalise_rings=True)
    both, zero = np.arange(2), np.zeros((2, 2))
    assert (fast(flat).score(noise, both, zero, search) == 0).all()
    np.testing.assert_allclose(fast(noise).score(flat, both, zero, search), 0, atol=0.1)  # 1000 x 250 px x 1e-7
    assert np.isfinite(fast(flat).match(noise, both, both, zero, search).poses.rows()).all()
    assert np.isfinite(fast(noise).match(flat, both, both, zero, search).poses.rows()).all()


def test_a_reference_mean_is_kept_exactly(fast):
    """Known truth: the mean of a reference, however high, is no part of what compression may lose."""
    rng = np.random.default_rng(14)
    images, references = bandlimited(rng, IMAGES, 36), bandlimited(rng, REFERENCES, 36)
    _, rows, offsets = rows_of(rng, 20)
    search = Search(last_ring=13, normalise_rings=True)
    low = fast(images).score(references, rows, offsets, search)
    high = fast(images).score(references + np.float32(100), rows, offsets, search)
    np.testing.assert_allclose(high, low, atol=2e-3 * low.max())  # float32 references of 100 have steps of 8e-6


def test_unknown_modes_are_refused():
    with pytest.raises(SettingError, match="exact"):
        NativeEngine(np.zeros((1, 8, 8), np.float32), mode="quick")
