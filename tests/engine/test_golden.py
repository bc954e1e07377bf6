"""Independent program: what SPARX found for the same images, references and search centres."""

import numpy as np
import pytest

from cryoisac.engine.contract import Search, largest_offset_px, search_limits
from cryoisac.engine.reference import ReferenceEngine
from cryoisac.model.poses import Poses
from cryoisac.ops.filters import tangent_lowpass
from cryoisac.ops.fourier import shift

RADIUS = {"a": 29, "b": 36, "c": 29}
CASES = ["a_xr0_ts1", "a_xr1_ts1", "a_xr2_ts1", "a_xr3_ts1", "a_xr1_ts05", "a_zero_xr1_ts1",
         "b_xr1_ts1", "b_xr2_ts1", "c_xr1_ts1", "c_xr2_ts1"]  # fmt: skip
ANGLE_DEG, SHIFT_px = 1e-3, 1e-4  # a float32 program of some thousand terms; 6e-5 and 7e-6 were measured


def circle(box, radius):
    y, x = np.mgrid[:box, :box] - box // 2
    return x**2 + y**2 <= radius**2


def prepared(g, case):
    """Return images z-scored and references mean-free inside the circle, as ISAC's scoring makes them."""
    images, references = g[f"{case}_img"].astype(float), g[f"{case}_refs"].astype(float)
    inside = circle(images.shape[1], RADIUS[case])
    images -= images[:, inside].mean(axis=1)[:, None, None]
    images /= images[:, inside].std(axis=1)[:, None, None]
    references -= references[:, inside].mean(axis=1)[:, None, None]
    return images.astype(np.float32), references.astype(np.float32)


def assert_same_average(image, expected):
    difference = np.abs(image - expected)
    # the quadratic formula jumps where a point passes a pixel, which float32 coordinates decide for single pixels
    assert np.percentile(difference, 90) < 5e-6
    assert difference.max() < 0.02


def assert_same_poses(poses, rows, *, angle_deg=ANGLE_DEG, shift_px=SHIFT_px):
    assert (poses.mirror == (rows[:, 3] == 1)).all()
    assert np.abs((poses.angle_deg - rows[:, 0] + 180) % 360 - 180).max() < angle_deg
    np.testing.assert_allclose(poses.shift_px, rows[:, 1:3], atol=shift_px)


@pytest.mark.parametrize("name", ["a_xr1_ts1", "c_xr1_ts1"])
def test_multireference_by_definition(golden, name):
    assert_scores_and_poses(ReferenceEngine, golden("mref"), name)


@pytest.mark.parametrize("name", CASES)
def test_multireference(native, golden, name):
    assert_scores_and_poses(native, golden("mref"), name)


def assert_scores_and_poses(exact, g, name):
    """Scores and poses of every image on every reference.

    The original mixes in a foreign pixel, by rounding, where a ring touches the last column (image 20 of case a); no
    score that it kept shows it.
    """
    case, x_range, step = name[0], float(name.split("xr")[1][0]), 0.5 if name.endswith("05") else 1.0
    images, references = prepared(g, case)
    n, k = len(images), len(references)
    offsets = np.zeros((n, 2)) if "zero" in name else g[f"{case}_offset"]
    search = Search(last_ring=RADIUS[case], x_range_px=x_range, y_range_px=x_range, step_px=step, normalise_rings=True)
    if f"{case}_xr{x_range:.0f}_limits" in g and "zero" not in name:
        limits = search_limits(offsets, images.shape[1], search)
        np.testing.assert_allclose(limits, g[f"{case}_xr{x_range:.0f}_limits"], atol=1e-12)
    engine = exact(images)
    scores = engine.score(references, np.arange(n), offsets, search)
    np.testing.assert_allclose(scores, g[f"{name}_raw"][..., 0], rtol=1e-5)  # five times the 2e-6 measured
    rows, labels = np.repeat(np.arange(n), k), np.tile(np.arange(k), n)
    match = engine.match(references, labels, rows, offsets[rows], search)
    assert_same_poses(match.poses, g[f"{name}_pose"].reshape(-1, 4))


def test_trial_shifts_one_by_one(exact, golden):
    """The largest straight and mirrored correlation at each of nine shifts."""
    g = golden("mref")
    images, references = prepared(g, "a")
    table = g["a_table_0_2_xr1"]
    engine = exact(images)
    search = {"last_ring": 29, "x_range_px": 0, "y_range_px": 0, "normalise_rings": True}
    for iy in range(3):
        for ix in range(3):
            at = g["a_offset"][:3] + np.array([ix - 1, iy - 1])
            straight = engine.score(references, np.arange(3), at, Search(mirror=False, **search))
            either = engine.score(references, np.arange(3), at, Search(**search))
            np.testing.assert_allclose(straight, table[:, :, iy, ix, 0], rtol=1e-5)
            np.testing.assert_allclose(either, table[:, :, iy, ix, (0, 2)].max(axis=-1), rtol=1e-5)


def test_single_reference(exact, golden):
    """240 searches: ranges 0 to 3, all angles, quarter turns and turns of 30 degrees."""
    g = golden("align")
    table = g["ormq_table"]
    engine = exact(g["ormq_img"])
    compared = 0
    for delta, x_range, step in np.unique(table[:, 1:4], axis=0):
        rows = table[(table[:, 1:4] == [delta, x_range, step]).all(axis=1)]
        search = Search(last_ring=29, x_range_px=x_range, y_range_px=x_range, step_px=step, angle_step_deg=delta)
        offsets = rows[:, 4:6]
        match = engine.match(
            g["polar_ref"][None], np.zeros(len(rows), np.int64), rows[:, 0].astype(np.int64), offsets, search
        )
        trial = Poses(angle_deg=rows[:, 6], shift_px=rows[:, 7:9], mirror=rows[:, 9] == 1)
        found = Poses.at_offsets(offsets).then(trial)
        assert_same_poses(match.poses, found.rows())
        np.testing.assert_allclose(match.score, rows[:, 10], rtol=1e-5)
        compared += len(rows)
    assert compared == 240


RUNS = {
    "it10_dst0_xr1": (10, 1, 1), "it30_dst90_xr1": (29, 1, 1), "it30_dst90_xr3": (29, 3, 1),
    "it15_dst90_xr1_ts05": (14, 1, 0.5), "odd77": (11, 2, 1),
}  # fmt: skip


@pytest.mark.parametrize("name", RUNS)
def test_refinement_of_a_class_step_by_step(native, golden, name):
    """Each alignment of a class refinement from the poses before it: average, low-pass, search."""
    g = golden("align")
    steps, reach, step = RUNS[name]
    n = 12 if name == "odd77" else 30
    images = g["group_img"][:n]
    if name == "odd77":
        images = np.pad(images, ((0, 0), (0, 1), (0, 1)))  # centre pixel 38 of both
    engine = native(np.ascontiguousarray(images))
    one, rows = np.zeros(n, np.int64), np.arange(n)
    margin = largest_offset_px(images.shape[1], 29)
    poses = Poses.from_rows(g["rfa_start_pose"][:n])
    wrong = 0
    for i in range(steps):
        average = engine.total(one, rows, poses, 1)[0] / n
        reference = tangent_lowpass(average, 0.1 + 0.35 * i / steps, 0.2).astype(np.float32)
        if f"rfa_{name}_reference_{i}" in g:
            assert_same_average(reference, g[f"rfa_{name}_reference_{i}"])
        offsets = np.clip(poses.offset_px(), -margin, margin)
        delta = float(g[f"rfa_{name}_delta"][i])
        search = Search(last_ring=29, x_range_px=reach, y_range_px=reach, step_px=step, angle_step_deg=delta)
        found = engine.match(reference[None], one, rows, offsets, search).poses
        expected = Poses.from_rows(g[f"rfa_{name}_pose"][i])
        same = (found.mirror == expected.mirror) & (np.abs(found.shift_px - expected.shift_px) < 0.05).all(axis=1)
        wrong += int((~same).sum())
        # averages agree to float32 coordinates of the original, which flat peaks turn into hundredths of a degree
        assert_same_poses(found[same], expected.rows()[same], angle_deg=0.2, shift_px=5e-3)
        poses = expected
    assert wrong == 0
    final = tangent_lowpass(engine.total(one, rows, poses, 1)[0] / n, 0.45, 0.2)
    assert_same_average(final, g[f"rfa_{name}_final_average"])


def test_averages_of_one_iteration(exact, golden):
    """Re-centred poses and averages of six classes."""
    g = golden("mref")
    images, _ = prepared(g, "a")
    group = g["assign_mref_group"].astype(np.int64)
    n, k = len(images), 12
    rows = g["a_zero_xr1_ts1_pose"][np.arange(n), group].astype(float)
    poses = Poses.from_rows(rows)
    count = np.bincount(group, minlength=k)
    moved = np.where(poses.mirror[:, None], [-1.0, 1.0], 1.0) * poses.shift_px
    mean = np.stack([np.bincount(group, moved[:, axis], minlength=k) / count for axis in (0, 1)], axis=1)
    np.testing.assert_allclose(mean, g["kmeans_mean_shift"], atol=1e-5)
    average = exact(images).total(group, np.arange(n), poses, k) / count[:, None, None]
    got = shift(tangent_lowpass(average, 0.2, 0.2), -mean)[:6]
    difference = np.abs(got - g["kmeans_average_0_5"])
    assert difference[1:].max() < 1e-4  # float32 coordinates of the original: 5e-6 and more where images are steep
    assert difference[0].max() < 0.1  # one border pixel, by the last bit of the original's outside rule
    assert np.median(difference[0]) < 1e-4
