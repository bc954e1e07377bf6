"""Poses that tables give."""

import numpy as np
import pytest

from cryoisac.errors import DataError, FormatError
from cryoisac.io.eman_hdf import write_hdf_stack
from cryoisac.io.eman_header import EmanTransform
from cryoisac.model.poses import Poses
from cryoisac.products.pose_tables import paired, read_pose_table

ROWS = np.array([[10.0, 1.5, -2.0, 0], [200.0, 0.25, 3.0, 1], [355.0, -4.0, 0.5, 0]])


def star(path, columns, rows, optics=""):
    heads = "".join(f"_{name} #{i}\n" for i, name in enumerate(columns, 1))
    body = "".join(" ".join(map(str, row)) + "\n" for row in rows)
    path.write_text(f"{optics}\ndata_particles\n\nloop_\n{heads}{body}\n")
    return path


def relion_rows():
    """Return psi, origins in pixels and flips of ROWS by hand: psi = -a, origin = R(-a) t."""
    a = np.deg2rad(-ROWS[:, 0])
    x, y = ROWS[:, 1], ROWS[:, 2]
    return -ROWS[:, 0], np.cos(a) * x + np.sin(a) * y, -np.sin(a) * x + np.cos(a) * y, ROWS[:, 3].astype(int)


def test_relions_poses_in_angstrom(tmp_path):
    """Definition: origins over the pixel size of each optics group; classes from 1, none for 0."""
    psi, x, y, flip = relion_rows()
    size, group = np.array([2.0, 3.0, 2.0]), [1, 2, 1]
    names = ("rlnImageName", "rlnAnglePsi", "rlnOriginXAngst", "rlnOriginYAngst", "rlnIsFlip", "rlnClassNumber")
    rows = zip([f"{i}@x.mrcs" for i in (1, 2, 3)], psi, x * size, y * size, flip, (3, 0, 1), group, strict=True)
    optics = "\ndata_optics\n\nloop_\n_rlnOpticsGroup #1\n_rlnImagePixelSize #2\n1 2.0\n2 3.0\n"
    table = read_pose_table(star(tmp_path / "a.star", (*names, "rlnOpticsGroup"), rows, optics))
    np.testing.assert_allclose(table.poses.rows(), ROWS, atol=1e-9)  # printed with 16 digits
    assert table.label.tolist() == [2, -1, 0]
    assert table.scale.tolist() == [1, 1, 1]


def test_relions_poses_in_pixels(tmp_path):
    """Definition: RELION 3.0's origins need no pixel size; without rlnIsFlip nothing is mirrored."""
    psi, x, y, _ = relion_rows()
    rows = zip([f"{i}@x.mrcs" for i in (1, 2, 3)], psi, x, y, strict=True)
    table = read_pose_table(
        star(tmp_path / "a.star", ("rlnImageName", "rlnAnglePsi", "rlnOriginX", "rlnOriginY"), rows)
    )
    np.testing.assert_allclose(table.poses.rows()[:, :3], ROWS[:, :3], atol=1e-9)  # printed with 16 digits
    assert not table.poses.mirror.any()
    assert table.label is None


def test_headers_of_eman(tmp_path):
    """Known truth: transforms as they were written, one of them enlarging; classes from 0."""
    transforms = [EmanTransform.from_row(row) for row in ROWS]
    transforms[1].matrix[:2, :2] *= 1.25
    headers = [{"xform.align2d": t, "ISAC_class_id": c} for t, c in zip(transforms, (1, 0, -1), strict=True)]
    write_hdf_stack(tmp_path / "a.hdf", np.ones((3, 4, 4), dtype=np.float32), attributes=headers)
    table = read_pose_table(tmp_path / "a.hdf")
    np.testing.assert_allclose(table.poses.rows(), ROWS, atol=1e-4)  # float32 matrices
    np.testing.assert_allclose(table.scale, [1, 1.25, 1], rtol=1e-6)  # float32 matrices
    assert table.label.tolist() == [1, 0, -1]


def test_tables_of_text(tmp_path):
    """Definition: four columns; five with a scale, 0 for 1; six with an index and a class."""
    path = tmp_path / "a.txt"
    np.savetxt(path, ROWS)
    four = read_pose_table(path)
    np.testing.assert_allclose(four.poses.rows(), ROWS)
    assert four.label is None
    np.savetxt(path, np.column_stack((ROWS, [0, 1.5, 1])))
    assert read_pose_table(path).scale.tolist() == [1, 1.5, 1]
    np.savetxt(path, np.column_stack((np.arange(3), ROWS, [5, 0, 2])))
    six = read_pose_table(path)
    np.testing.assert_allclose(six.poses.rows(), ROWS)
    assert six.label.tolist() == [5, 0, 2]
    np.savetxt(path, [[0, 1, 0, 0, -1, 4]])
    unplaced = read_pose_table(path)
    assert unplaced.label.tolist() == [-1]
    assert not unplaced.poses.mirror.any()


def test_what_is_left_of_a_pose(tmp_path):
    """Definition: shifts alone bring the same point of an image to the centre; without a mirror the rest stays."""
    np.savetxt(tmp_path / "a.txt", np.column_stack((ROWS, [1, 2, 1])))
    table = read_pose_table(tmp_path / "a.txt")
    moved = table.shifts()
    assert not moved.poses.angle_deg.any()
    assert not moved.poses.mirror.any()
    centre = -moved.poses.shift_px  # of the image, in its own frame
    np.testing.assert_allclose(table.poses.apply(centre * table.scale[:, None]), 0, atol=1e-9)  # float64
    np.testing.assert_allclose(table.unmirrored().poses.rows()[:, :3], table.poses.rows()[:, :3])
    assert not table.unmirrored().poses.mirror.any()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1 2 3\n", "3 columns"),
        ("", "0 columns"),
        ("1 2 3 0\n1 2 3\n", "3 values"),
        ("1 2 3 2\n", "mirror 2"),
        ("1 nan 3 0\n", "not a finite number"),
        ("1 2 3 0 -1\n", "scale below 0"),
        ("1 0 0 0 0 4\n", "does not count rows"),
        ("0 0 0 0 0 4.5\n", "no whole number"),
        ("\ndata_x\n\nloop_\n_rlnImageName #1\n1@a.mrcs\n", "gives no poses"),
    ],
)
def test_wrong_tables_are_refused(tmp_path, text, said):
    path = tmp_path / "a.txt"
    path.write_text(text or "# nothing\n")
    with pytest.raises(FormatError, match=said):
        read_pose_table(path)


def test_headers_without_poses_and_other_files_are_refused(tmp_path):
    write_hdf_stack(tmp_path / "a.hdf", np.ones((2, 4, 4), dtype=np.float32))
    with pytest.raises(FormatError, match="no xform"):
        read_pose_table(tmp_path / "a.hdf")
    (tmp_path / "b").write_bytes(b"\0" * 100)
    with pytest.raises(FormatError, match="no table of poses"):
        read_pose_table(tmp_path / "b")


def test_tables_pair_with_stacks(tmp_path):
    np.savetxt(tmp_path / "a.txt", ROWS)
    table = read_pose_table(tmp_path / "a.txt")
    assert paired(table, 3, tmp_path) is table
    with pytest.raises(DataError, match="poses of 3 images"):
        paired(table, 4, tmp_path)
    assert isinstance(table.poses, Poses)
