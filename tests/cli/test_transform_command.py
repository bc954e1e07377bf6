"""``cryoisac transform``: a stack moved by the poses of a table."""

from typing import ClassVar

import mrcfile
import numpy as np
import pytest

from cryoisac.cli.main import run
from cryoisac.engine.moving import Moving
from cryoisac.io.mrc_write import write_mrc_stack
from cryoisac.io.registry import read_image_stack, read_particles
from cryoisac.model.poses import Poses
from cryoisac.products import transformed
from tests.engine.torch_engines import DEVICE, needs_torch


@pytest.fixture
def made(tmp_path, monkeypatch):
    """Return images, poses and classes that lie in stack.mrcs and table.txt of the current directory."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(21)
    images = rng.standard_normal((12, 10, 10)).astype(np.float32)
    rows = np.column_stack(
        (rng.uniform(0, 360, 12).round(3), rng.uniform(-2, 2, (12, 2)).round(3), rng.integers(0, 2, 12))
    )
    label = rng.integers(-1, 3, 12)
    write_mrc_stack(tmp_path / "stack.mrcs", images, 2.5)
    np.savetxt("table.txt", np.column_stack((np.arange(12), rows, label)))
    return images, Poses.from_rows(rows), label


def read(name):
    stack = read_image_stack(name)
    return stack.read(np.arange(stack.shape[0]))


@pytest.mark.parametrize(
    ("options", "moving"),
    [
        ([], Moving()),
        (["--method", "linear", "--outside", "cyclic"], Moving(method="linear", outside="cyclic")),
        (["--method", "cubic", "--outside", "-1.5"], Moving(method="cubic", outside=-1.5)),
        (["--method", "fourier", "--threads", "1"], Moving(method="fourier")),
    ],
)
@pytest.mark.parametrize("out", ["moved.mrcs", "moved.hdf"])
def test_images_are_moved_as_asked(made, monkeypatch, out, options, moving):
    """Definition: image by image what ``Moving.move`` gives, in blocks of any size, with the pixel size."""
    images, poses, _ = made
    monkeypatch.setattr(transformed, "BLOCK_BYTES", 5 * 400)
    assert run(["transform", "stack.mrcs", "table.txt", out, *options]) == 0
    assert (read(out) == moving.move(images, poses)).all()
    assert read_particles(out).pixel_size_A[0] == pytest.approx(2.5)


def test_shift_only_and_ignore_mirror(made):
    """Definition: the pose that brings the same point to the centre alone; the pose without its mirror."""
    images, poses, _ = made
    assert run(["transform", "stack.mrcs", "table.txt", "a.mrcs", "--shift"]) == 0
    assert (read("a.mrcs") == Moving().move(images, Poses.at_offsets(poses.offset_px()))).all()
    assert run(["transform", "stack.mrcs", "table.txt", "b.mrcs", "--ignore_mirror"]) == 0
    rows = poses.rows()
    rows[:, 3] = 0
    assert (read("b.mrcs") == Moving().move(images, Poses.from_rows(rows))).all()


def test_sums_and_averages_of_classes(made, monkeypatch, capsys):
    """Definition: moved images of a class added up, and divided by their number; with moved images or without."""
    images, poses, label = made
    monkeypatch.setattr(transformed, "BLOCK_BYTES", 5 * 400)
    moved = Moving().move(images, poses).astype(np.float64)
    sums = np.stack([moved[label == c].sum(axis=0) for c in range(label.max() + 1)])
    options = ["--class-sums", "sums.mrcs", "--class-averages", "averages.mrcs"]
    for out in ([], ["moved.mrcs"]):
        assert run(["transform", "stack.mrcs", "table.txt", *out, *options]) == 0
        np.testing.assert_allclose(read("sums.mrcs"), sums, atol=1e-5)  # float32 files
        means = sums / np.bincount(label[label >= 0])[:, None, None]
        np.testing.assert_allclose(read("averages.mrcs"), means, atol=1e-5)  # float32 files
    assert f"{len(sums)}, of {(label >= 0).sum()} images" in capsys.readouterr().out
    with mrcfile.open("sums.mrcs") as file:
        assert file.voxel_size.x == pytest.approx(2.5)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["stack.mrcs", "table.txt"], "OUT: is missing"),
        (["stack.mrcs", "table.txt", "moved.png"], "must end in .mrcs or .hdf"),
        (["stack.mrcs", "table.txt", "stack.mrcs"], "which is read"),
        (["stack.mrcs", "table.txt", "a.mrcs", "--class-sums", "sums.hdf"], "must end in .mrcs"),
        (["stack.mrcs", "short.txt", "a.mrcs"], "poses of 1 images, stack.mrcs has 12"),
        (["stack.mrcs", "table.txt", "a.mrcs", "--outside", "zero"], "choose background, cyclic or a number"),
        (["stack.mrcs", "table.txt", "a.mrcs", "--outside", "inf"], "choose background, cyclic or a number"),
        (["stack.mrcs", "table.txt", "a.mrcs", "--shift-only", "--ignore-mirror"], "leave one out"),
        (["stack.mrcs", "classless.txt", "--class-sums", "a.mrcs"], "names no classes"),
        (["stack.mrcs", "unplaced.txt", "--class-sums", "a.mrcs"], "no image in a class"),
        (["missing.mrcs", "table.txt", "a.mrcs"], "missing.mrcs"),
    ],
)
def test_what_cannot_be_done_is_refused_in_one_line(made, capsys, tmp_path, arguments, said):
    _, poses, _ = made
    np.savetxt("short.txt", poses[:1].rows())
    np.savetxt("classless.txt", poses.rows())
    np.savetxt("unplaced.txt", np.column_stack((np.arange(12), poses.rows(), np.full(12, -1))))
    before = sorted(p.name for p in tmp_path.iterdir())
    assert run(["transform", *arguments]) == 1
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == before


class TestOnADevice:
    pytestmark: ClassVar = list(needs_torch)

    def test_images_and_sums(self, made, monkeypatch):
        """Independent program: as the compiled kernels do it; block by block."""
        images, poses, label = made
        monkeypatch.setattr(transformed, "BLOCK_BYTES", 5 * 400)
        device = "torch-cpu" if DEVICE == "cpu" else DEVICE
        arguments = ["stack.mrcs", "table.txt", "moved.mrcs", "--class-sums", "sums.mrcs", "--device", device]
        assert run(["transform", *arguments]) == 0
        expected = Moving().move(images, poses)
        np.testing.assert_allclose(read("moved.mrcs"), expected, atol=2e-6)  # values up to 4, in float32
        for c, total in enumerate(read("sums.mrcs")):
            np.testing.assert_allclose(total, expected[label == c].sum(axis=0), atol=1e-5)
