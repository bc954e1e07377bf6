"""Classes and poses of runs and of tables."""

from dataclasses import replace

import numpy as np
import pytest

from cryoisac.errors import DataError, SettingError
from cryoisac.explore.source import Input, read_input
from cryoisac.io.atomic import write_whole
from cryoisac.io.star import read_star, write_star
from cryoisac.model.poses import to_relion

from .conftest import RADIUS, SMALL

KNOWN = replace(SMALL, radius=RADIUS)


def same(one: Input, other: Input, atol: float) -> None:
    np.testing.assert_array_equal(one.index, other.index)
    np.testing.assert_array_equal(one.label, other.label)
    np.testing.assert_array_equal(one.number, other.number)
    np.testing.assert_allclose(one.poses.shift_px, other.poses.shift_px, atol=atol)
    np.testing.assert_array_equal(one.poses.mirror, other.poses.mirror)
    turn = one.poses.angle_deg - other.poses.angle_deg
    np.testing.assert_allclose((turn + 180) % 360 - 180, 0, atol=atol)


@pytest.fixture
def of_run(finished) -> Input:
    """As the run says it."""
    return read_input(finished.run, SMALL, stack=finished.particles)


def test_text_of_the_notebook(finished, of_run, tmp_path):
    """Invariance: index, angle, x, y, mirror and class in a text table say what the run says."""
    rows = finished.truth.poses.rows()
    view = finished.truth.view.copy()
    view[0] = -1
    np.savetxt(tmp_path / "params.txt", np.column_stack((np.arange(len(rows)), rows, view)), fmt="%.6f")
    given = read_input(tmp_path / "params.txt", KNOWN, stack=finished.particles)
    same(given, of_run, atol=2e-5)  # tables have six decimals, of working pixels in the run
    assert (given.kind, of_run.kind) == ("table", "isac2")
    assert not given.ctf
    with pytest.raises(SettingError, match=r"--radius: is not known from .*; give the particle radius"):
        read_input(tmp_path / "params.txt", SMALL, stack=finished.particles)
    with pytest.raises(SettingError, match="--stack: is needed"):
        read_input(tmp_path / "params.txt", KNOWN)


def test_star_file_of_classes_and_poses(finished, of_run, tmp_path):
    """Invariance: a RELION table names its images itself."""
    metadata = read_star(finished.particles)
    psi, origin_px, flip = to_relion(finished.truth.poses)
    table = metadata.particles
    view = finished.truth.view + 1
    view[0] = 0
    for name, cells in {
        "rlnClassNumber": view,
        "rlnAnglePsi": psi,
        "rlnOriginXAngst": origin_px[:, 0] * 8.0,
        "rlnOriginYAngst": origin_px[:, 1] * 8.0,
        "rlnIsFlip": flip.astype(np.int64),
    }.items():
        table = table.with_column(name, cells)
    whole, path = replace(metadata, particles=table), tmp_path / "run_data.star"
    write_whole(path, lambda temporary: write_star(temporary, whole, image_root=finished.particles.parent))
    given = read_input(path, KNOWN, truth=finished.truth_file)
    same(given, of_run, atol=2e-5)
    np.testing.assert_array_equal(given.truth, finished.truth.view)
    assert read_input(path, replace(KNOWN, ctf=True)).ctf
    np.savetxt(tmp_path / "two.txt", np.zeros((2, 4)))
    with pytest.raises(DataError, match=r"has 150 images, where .* tells of 2"):
        read_input(tmp_path / "two.txt", KNOWN, stack=path)


def test_table_without_classes_is_one_class(finished, tmp_path):
    """Definition."""
    np.savetxt(tmp_path / "params.txt", finished.truth.poses.rows())
    given = read_input(tmp_path / "params.txt", KNOWN, stack=finished.particles)
    assert given.number.tolist() == [1]
    assert given.sizes.tolist() == [150]


def test_poses_that_enlarge_are_refused(finished, tmp_path):
    """Definition."""
    np.savetxt(tmp_path / "params.txt", np.column_stack((finished.truth.poses.rows(), np.full(150, 2.0))))
    with pytest.raises(DataError, match="poses that enlarge images"):
        read_input(tmp_path / "params.txt", KNOWN, stack=finished.particles)
