"""The exploration of a finished classification."""

import shutil
from dataclasses import replace

import numpy as np
import pytest

from cryoisac.errors import DataError, RunError, SettingError
from cryoisac.explore.source import read_input
from cryoisac.explore.study import explore, sampled
from cryoisac.io.mrc_write import write_mrc_stack

from .conftest import PER_VIEW, RADIUS, SMALL, VIEWS


def test_alignment_parts_the_classes(studied):
    """Known truth recovered: three views, smeared out as given and three clouds when aligned, as is known of them."""
    assert studied.before.alike_scores < 0.7
    assert studied.after.alike_scores > 0.98
    assert studied.before.alike_points < 0.7
    assert studied.after.alike_points > 0.98
    assert studied.by_chance == pytest.approx(1 / VIEWS, abs=0.01)


def test_aligned_images_vary_in_fewer_directions(studied):
    """Known truth recovered: views differ in two directions, which hold most of what the components hold."""
    after, before = studied.after.space.share, studied.before.space.share
    assert after[:2].sum() > 3 * after[2:].sum() / 8 * 2
    assert after[:2].sum() > 2 * before[:2].sum()


def test_members_and_classes_are_those_of_the_run(studied, finished):
    """Definition: image 0 is in no class; numbers count from 1."""
    given = studied.input
    np.testing.assert_array_equal(given.index, np.arange(1, VIEWS * PER_VIEW))
    np.testing.assert_array_equal(given.number[given.label], finished.truth.view[1:] + 1)
    assert given.sizes.tolist() == np.bincount(finished.truth.view[1:]).tolist()
    assert given.radius_px == RADIUS
    assert len(given.defocus_um) == len(given.index)


def test_truth_against_itself(studied):
    """Known truth recovered: classes that are the truth agree with it."""
    found = studied.purity
    assert (found.images, found.views) == (VIEWS * PER_VIEW - 1, VIEWS)
    assert found.purity == found.completeness == found.ari == 1


@pytest.mark.parametrize("reduction", ["pca", "mpca", "twosdr"])
def test_every_reduction_parts_them(finished, tmp_path, reduction):
    """Known truth recovered, whatever the reduction; threads change no bit."""
    given = read_input(finished.run, SMALL, stack=finished.particles)
    settings = replace(SMALL, reduction=reduction, rank=25 if reduction == "pca" else SMALL.rank)
    one, two = (explore(given, settings, tmp_path, threads=threads) for threads in (1, 2))
    assert one.after.alike_scores > 0.95
    assert one.after.alike_scores > one.before.alike_scores + 0.2
    np.testing.assert_array_equal(one.after.points, two.after.points)
    np.testing.assert_array_equal(one.before.space.scores, two.before.space.scores)
    assert one.after.space.scores.shape == (VIEWS * PER_VIEW - 1, SMALL.n_components)
    assert list(tmp_path.iterdir()) == []  # the two large files are gone


def test_sample_limits_points_and_not_the_reduction(finished, tmp_path):
    """Definition: components of all images, points of a few, each with its picture."""
    given = read_input(finished.run, SMALL, stack=finished.particles)
    study = explore(given, replace(SMALL, sample=30), tmp_path)
    assert len(study.points) == len(study.after.points) == len(study.laid.small_before) == 30
    assert len(study.after.space.scores) == VIEWS * PER_VIEW - 1
    assert np.bincount(given.label[study.points]).tolist() == [10, 10, 10]
    np.testing.assert_array_equal(study.after.points, study.after.space.scores[study.points, :2])


def test_sampling_is_fair_and_knows_every_class():
    """Definition: in proportion, to within one; one of each class at least; by the seed alone."""
    label = np.repeat([0, 1, 2, 3], [600, 300, 99, 1])
    label = np.random.default_rng(0).permutation(label)
    drawn = sampled(label, 101, 5)
    counts = np.bincount(label[drawn])
    assert len(drawn) == 101
    assert (np.diff(drawn) > 0).all()
    assert counts[3] == 1
    np.testing.assert_allclose(counts[:3], np.array([600, 300, 99]) / 10, atol=1)
    np.testing.assert_array_equal(sampled(label, 101, 5), drawn)
    assert not np.array_equal(sampled(label, 101, 6), drawn)
    np.testing.assert_array_equal(sampled(label, 2000, 5), np.arange(1000))
    assert len(sampled(label, 3, 0)) == 3


def test_runs_of_the_original_are_explored(shared, tmp_path):
    """Independent program: the directory of SPHIRE's ISAC, which names no particles; images made up for it."""
    run = shared / "data" / "eman2" / "isac_tiny"
    with pytest.raises(RunError, match="does not say which particles were classified; give them with --stack"):
        read_input(run, SMALL)
    n = len((run / "all_parameters.txt").read_text().splitlines())
    images = np.random.default_rng(0).normal(size=(n, 64, 64)).astype(np.float32)
    write_mrc_stack(tmp_path / "tiny.mrcs", images, None)
    given = read_input(run, SMALL, stack=tmp_path / "tiny.mrcs")
    processed = np.loadtxt(run / "processed_images.txt", dtype=int)
    np.testing.assert_array_equal(given.index, np.sort(processed))
    assert given.radius_px == 27
    assert not given.ctf
    study = explore(given, SMALL, tmp_path)
    assert np.isfinite(study.after.points).all()


def test_what_cannot_be_explored_is_refused(finished, tmp_path):
    """Definition: one sentence each, and what to do."""
    few = tmp_path / "few.mrcs"
    write_mrc_stack(few, np.zeros((3, 48, 48), dtype=np.float32), None)
    with pytest.raises(DataError, match=r"has 3 images, where .* tells of 150; give what was classified"):
        read_input(finished.run, SMALL, stack=few)
    same = tmp_path / "same.mrcs"
    write_mrc_stack(same, np.zeros((150, 48, 48), dtype=np.float32), None)
    with pytest.raises(SettingError, match="--ctf: needs CTF parameters and a pixel size"):
        read_input(finished.run, replace(SMALL, ctf=True), stack=same)
    large = read_input(finished.run, replace(SMALL, radius=24), stack=finished.particles)
    with pytest.raises(DataError, match="too small for a particle of radius 24 px; see --radius"):
        explore(large, SMALL, tmp_path)
    shutil.copytree(finished.run, tmp_path / "run")
    table = (tmp_path / "run/all_parameters.txt").read_text().splitlines()
    (tmp_path / "run/all_parameters.txt").write_text("\n".join(table[:-1]))
    with pytest.raises(DataError):
        read_input(tmp_path / "run", SMALL, stack=finished.particles)
