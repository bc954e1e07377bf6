"""Multireference alignment."""

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import scipy.ndimage

from cryoisac.align.averages import Halving
from cryoisac.align.multireference import reference_norms
from cryoisac.align.stages import Course, Pass, Stage
from cryoisac.align.updating import Updating
from cryoisac.cluster import mra
from cryoisac.engine.contract import Engine, Search
from cryoisac.engine.native import NativeEngine
from cryoisac.engine.reference import ReferenceEngine
from cryoisac.model.poses import Poses
from cryoisac.ops import fourier
from cryoisac.ops.center import prepare_reference
from cryoisac.ops.masks import circle, normalise_inside
from cryoisac.ops.polar import Rings
from cryoisac.ops.spectra import ring_correlation
from cryoisac.ops.warp import rotate_shift

BOX, RADIUS = 32, 11


def views(k: int, rng: np.random.Generator) -> np.ndarray:
    """Some objects that look different in every pose, of different contrast."""
    y, x = np.mgrid[:BOX, :BOX] - BOX // 2
    out = np.zeros((k, BOX, BOX))
    for c in range(k):
        for _ in range(5):
            cx, cy = rng.uniform(-7, 7, 2)
            out[c] += rng.uniform(0.5, 1.5) * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / rng.uniform(4, 14))
    return out.astype(np.float32)


def particles(
    n: int, k: int, rng: np.random.Generator, noise: float = 0.2
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return noisy images of ``k`` objects in random poses, normalised, their objects, and the objects."""
    objects, label = views(k, rng), np.arange(n) % k
    poses = Poses(angle_deg=rng.uniform(0, 360, n), shift_px=rng.uniform(-1, 1, (n, 2)), mirror=rng.random(n) < 0.5)
    images = rotate_shift(objects[label], poses) + rng.normal(0, noise, (n, BOX, BOX))
    return normalise_inside(images.astype(np.float32), circle(RADIUS, BOX)), label, objects


def plan_for(n: int, **changed: Any) -> mra.Plan:
    mask = circle(RADIUS, BOX)
    stage = Stage(x_range_px=1, y_range_px=2, step_px=1)
    course = Course(stages=(stage,), iterations=changed.pop("iterations", 10), first_ring=1, last_ring=RADIUS)
    return mra.Plan(
        **{
            "course": course,
            "assignment": mra.FREE,
            "fewest": 0,
            "halving": Halving(number=np.arange(n), mask=mask),
            "updating": Updating(mask=mask, center_method=-1, lowest_cutoff=0.12),
            "seed": 1,
        }
        | changed
    )


def played(engine: Engine, references: np.ndarray, plan: mra.Plan) -> mra.State:
    state = mra.start(references, Poses.identity(engine.shape[0]))
    while not mra.finished(state, plan):
        state = mra.step(engine, state, plan)
    return state


def test_one_iteration_by_brute_force() -> None:
    """Definition: every image on every reference at every shift, angle and mirror, in float64, image by image."""
    rng = np.random.default_rng(0)
    n, k = 12, 3
    images, _, objects = particles(n, k, rng)
    plan = plan_for(n)
    found = mra.step(NativeEngine(images, threads=2), mra.start(objects, Poses.identity(n)), plan)

    rings = Rings.between(1, RADIUS, 1)
    radius_px = np.repeat(rings.radii, rings.lengths)
    area = np.repeat(rings.sample_weights, rings.lengths)
    turn = np.concatenate([np.arange(length) / length for length in rings.lengths])

    def standard(picture: np.ndarray, x: float, y: float, turns: np.ndarray) -> np.ndarray:
        points = np.stack((radius_px * np.sin(2 * np.pi * turns), radius_px * np.cos(2 * np.pi * turns)))
        samples = scipy.ndimage.map_coordinates(picture.astype(np.float64), (points[1] + y, points[0] + x), order=1)
        centred = samples - samples @ area / area.sum()
        return centred / np.sqrt(centred**2 @ area / area.sum())

    half, best = BOX // 2, np.full((n, k), -np.inf)
    angles = np.arange(rings.longest) / rings.longest
    for c in range(k):
        # the reference turned, mirrored or not, sampled where an image's rings are
        laid = [standard(objects[c], half, half, sign * turn + a) for sign in (1, -1) for a in angles]
        for i in range(n):
            for dx, dy in itertools.product((-1, 0, 1), (-2, -1, 0, 1, 2)):
                own = standard(images[i], half + dx, half + dy, turn)
                best[i, c] = max(best[i, c], float((np.stack(laid) * area @ own).max() / area.sum()))
    assert np.array_equal(found.labels, best.argmax(axis=1))
    # short rings are sampled at fewer angles: turned by a part of a step they are interpolated in one way by Fourier
    # transform, here linearly between pixels
    np.testing.assert_allclose(found.score, best.max(axis=1), atol=5e-3)
    np.testing.assert_array_equal(found.rival, np.argsort(best, axis=1)[:, -2])

    # averages of those classes in those poses, filtered by their own halves, then moved by minus the mean shift
    search = plan.course.search(0, 0, normalise_rings=True)
    poses = ReferenceEngine(images).match(objects, found.labels, np.arange(n), np.zeros((n, 2)), search).poses
    moved = rotate_shift(images, poses)
    for c in range(k):
        mine = found.labels == c
        even, odd = (moved[mine & (np.arange(n) % 2 == p)].mean(axis=0) for p in (0, 1))
        frc = ring_correlation(even, odd, mask=plan.halving.mask)
        reference = prepare_reference(moved[mine].mean(axis=0), plan.halving.mask, frc, 0).image
        seen = poses[np.flatnonzero(mine)].apply(np.zeros((mine.sum(), 1, 2)))[:, 0].mean(axis=0)
        expected = fourier.shift(reference[None], -seen[None])[0]
        # angles of float32 rings differ by up to 1e-3 degrees, and the cut-off with them
        np.testing.assert_allclose(found.references[c], expected, atol=2e-3 * np.abs(expected).max())


def test_scores_of_the_original(golden: Any) -> None:
    """Independent program: correlation coefficients times norms of references are SPARX's peaks."""
    data = golden("mref")
    mask = circle(29, 76)
    images = normalise_inside(data["a_img"], mask)
    references = normalise_inside(data["a_refs"], mask, mean_only=True)
    search = Search(last_ring=29, normalise_rings=True)
    found = mra.coefficients(NativeEngine(images, threads=2), references, np.zeros((24, 2)), search)
    peaks = data["a_zero_xr1_ts1_raw"][..., 0]
    np.testing.assert_allclose(found * reference_norms(references, search), peaks, rtol=2e-3)  # README, image 20
    assert found.max() <= 1


@pytest.mark.parametrize("assignment", [mra.FREE, mra.EQUAL, mra.CLIMBING])
def test_objects_are_told_apart(assignment: str) -> None:
    """Known truth: from rough references, every image finds its object, whatever the contrast of the reference."""
    rng = np.random.default_rng(2)
    n, k = 120, 4
    images, label, objects = particles(n, k, rng)
    rough = objects + rng.normal(0, 0.1, objects.shape).astype(np.float32)
    contrast = np.array([1.0, 30.0, 0.1, 3.0], dtype=np.float32)[:, None, None]
    plan = plan_for(n, assignment=assignment)
    state = played(NativeEngine(images, threads=2), rough * contrast, plan)
    assert (state.labels == label).mean() > 0.97
    assert len(state.passes) < 10  # it came to rest
    assert state.passes[-1].changed < plan.course.still_share


def test_brightness_of_references_does_not_matter() -> None:
    """Invariance: scaling a reference or adding to it leaves labels and poses as they are."""
    rng = np.random.default_rng(3)
    images, _, objects = particles(40, 3, rng)
    engine, plan = NativeEngine(images, threads=1), plan_for(40, iterations=1)
    first, second = (played(engine, r, plan) for r in (objects, objects * np.float32(64.0)))
    assert np.array_equal(first.labels, second.labels)
    np.testing.assert_allclose(first.poses.rows(), second.poses.rows(), atol=1e-4)  # float32 peaks


def test_threads_and_order_do_not_matter() -> None:
    """Invariance: more threads give the same bits; images in another order the same classes."""
    rng = np.random.default_rng(4)
    images, _, objects = particles(60, 3, rng, noise=0.6)
    plan = plan_for(60, iterations=3)
    one, four = (played(NativeEngine(images, threads=t), objects, plan) for t in (1, 4))
    assert np.array_equal(one.labels, four.labels)
    assert np.array_equal(one.poses.rows(), four.poses.rows())
    assert np.array_equal(one.references, four.references)
    order = rng.permutation(60)
    shuffled = plan_for(60, iterations=3, halving=Halving(number=order, mask=plan.halving.mask))
    other = played(NativeEngine(images[order], threads=1), objects, shuffled)
    assert np.array_equal(other.labels, one.labels[order])


def test_small_classes_are_dissolved() -> None:
    """Definition: their members join the best of the classes that stay; the largest always stays."""
    scores = np.array([[5, 4, 1], [5, 1, 4], [1, 9, 0], [0, 9, 1], [0, 9, 1], [0, 9, 1]], dtype=np.float32)
    labels, lost = mra.dissolved(scores, scores.argmax(axis=1), 3)
    assert lost == ((0, 2), (2, 0))
    assert labels.tolist() == [1, 1, 1, 1, 1, 1]
    labels, lost = mra.dissolved(scores, scores.argmax(axis=1), 2)
    assert lost == ((2, 0),)
    assert labels.tolist() == [0, 0, 1, 1, 1, 1]
    assert mra.dissolved(scores, scores.argmax(axis=1), 0)[1] == ()
    assert mra.dissolved(scores, scores.argmax(axis=1), 99)[1] == ((0, 2), (2, 0))


def test_empty_classes_take_the_worse_half_of_the_largest() -> None:
    """Definition: again and again, the half that fits worse; who came from where is told."""
    labels = np.array([0] * 8 + [1] * 3)
    fit = np.array([8, 1, 7, 2, 6, 3, 5, 4, 0, 0, 0], dtype=np.float32)
    new, said = mra.refilled(labels, fit, ((2, 1), (3, 0)))
    assert np.flatnonzero(new == 2).tolist() == [1, 3, 5, 7]
    assert np.flatnonzero(new == 3).tolist() == [4, 6]
    assert [(r.label, r.left, r.source, r.taken) for r in said] == [(2, 1, 0, 4), (3, 0, 0, 2)]


def test_free_classes_do_not_collapse() -> None:
    """Known truth: one object in nine of ten images, and five references; no class falls below its least size."""
    rng = np.random.default_rng(5)
    n = 200
    first, label, _ = particles(n, 2, rng, noise=0.5)
    rare = np.concatenate((np.flatnonzero(label == 0)[:90], np.flatnonzero(label == 1)[:10]))
    images = first[rare]
    plan = plan_for(100, fewest=4, iterations=6)
    state = played(NativeEngine(images, threads=2), mra.random_references(images, 5, 3), plan)
    assert min(min(p.sizes) for p in state.passes) >= 4
    assert sum(state.passes[-1].sizes) == 100


def test_climbing_images_only_climb() -> None:
    """Definition: an image goes to a class that fits it better than its own, or stays; by lot, the same each time."""
    rng = np.random.default_rng(6)
    scores = rng.normal(size=(500, 6)).astype(np.float32)
    before = rng.integers(0, 6, 500)
    state = mra.start(np.zeros((6, 8, 8), dtype=np.float32), Poses.identity(500))
    plan = plan_for(500, assignment=mra.CLIMBING)
    first = mra.assigned(scores, state, plan)
    assert np.array_equal(first, scores.argmax(axis=1))
    done = Pass(iteration=0, stage=0, changed=1, pixel_error_px=0, sizes=(), cutoffs=(), falloffs=(), criterion=0)
    later = replace(state, labels=before, passes=(done,))
    labels = mra.assigned(scores, later, plan)
    own, new = scores[np.arange(500), before], scores[np.arange(500), labels]
    at_top = before == scores.argmax(axis=1)
    assert np.array_equal(labels[at_top], before[at_top])
    assert (new[~at_top] > own[~at_top]).all()
    assert (labels[~at_top] != scores[~at_top].argmax(axis=1)).mean() > 0.2
    assert np.array_equal(labels, mra.assigned(scores, later, plan))


def test_first_classes_are_of_equal_size() -> None:
    """Definition: for as many iterations as are said, whatever comes later; the stage does not end before."""
    rng = np.random.default_rng(8)
    images, label, objects = particles(120, 3, rng)
    rare = np.concatenate([images[label == c][:m] for c, m in enumerate((35, 15, 10))])
    plan = plan_for(60, equal_first=4)
    state = played(NativeEngine(rare, threads=2), objects, plan)
    assert [p.sizes for p in state.passes[:4]] == [(20, 20, 20)] * 4
    assert state.passes[4].sizes != (20, 20, 20)


def test_random_references_are_images() -> None:
    """Definition: distinct images of the stack, the same for a seed."""
    images = np.random.default_rng(7).normal(size=(20, 8, 8)).astype(np.float32)
    first, again, other = (mra.random_references(images, 6, seed) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert len({one.tobytes() for one in first}) == 6
    assert {one.tobytes() for one in first} <= {one.tobytes() for one in images}
