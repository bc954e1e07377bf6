"""What is called from Python: arrays in, arrays out, progress and cancellation."""

import csv
import pkgutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import cryoisac
from cryoisac.cli.main import run
from cryoisac.io.registry import read_image_stack
from cryoisac.ops.spectra import ring_correlation

ROOT = Path(__file__).parents[2]
SMALL = {"img_per_grp": 30, "target_radius": 10, "target_nx": 28}
QUICK = {"method": "isac2", "init_iter": 2, "main_iter_limit": 1, "search": "fast", **SMALL}


def stopping(after):
    """Return a callback that stops the work at its ``after``-th call, and what it was told."""
    told = []

    def callback(stage, done, total):
        told.append((stage, done, total))
        return len(told) < after

    return callback, told


def test_an_array_is_classified_as_a_file(simulated, tmp_path, monkeypatch):
    """Independent path: the command on the same images finds the same classes, poses and averages."""
    monkeypatch.chdir(tmp_path)
    found = cryoisac.isac(simulated.images, pixel_size_A=10.0, directory="array", **SMALL)
    cryoisac.write_particles("given.star", simulated.images, pixel_size_A=10.0)
    flags = ["--img-per-grp", "30", "--target-radius", "10", "--target-nx", "28"]
    assert run(["isac", "given.star", "file", *flags]) == 0
    with Path("file/ledger.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    numbers = np.array([int(row["class"]) for row in rows])
    assert (np.where(numbers > 0, numbers - 1, -1) == found.labels).all()
    assert [row["reason"] for row in rows] == found.reason.tolist()
    averages = read_image_stack("file/class_averages.mrcs")
    assert (averages.read(np.arange(averages.shape[0])) == found.class_averages).all()
    assert found.sizes.sum() == (found.labels >= 0).sum()
    assert found.record["input"]["pixel_size_A"] == 10.0
    again = cryoisac.isac(simulated.images, pixel_size_A=10.0, directory="array", **SMALL)
    assert (again.poses.rows() == found.poses.rows()).all()
    with pytest.raises(cryoisac.CryoisacError, match="other particles"):
        cryoisac.isac(simulated.images + 1, pixel_size_A=10.0, directory="array", **SMALL)


@pytest.mark.parametrize("settings", [SMALL, QUICK], ids=["likelihood", "isac2"])
def test_classes_and_poses_are_found(simulated, settings):
    """Known truth: the classes are the views, the poses those of the particles, in their pixels; nothing is left."""
    found = cryoisac.isac(simulated.images, **settings)
    score = cryoisac.score(found.labels, simulated, poses=found.poses)
    assert score.ari > 0.99  # SNR 1: hardly an error
    assert score.pixel_error < 1.0  # a working pixel is 1.6 px
    assert found.class_pixel_errors_px.shape == (3,)
    assert found.class_averages.shape == (3, 28, 28)


def test_alignments_find_views_and_poses(simulated):
    """Known truth: with the clean projections for references each image finds its view and pose; without, its pose."""
    found = cryoisac.align_multireference(simulated.images, simulated.projections, xr=[3, 1], ts=[1, 0.5])
    score = cryoisac.score(found.labels, simulated, poses=found.poses)
    assert score.ari > 0.99  # SNR 1
    assert score.pixel_error < 0.6  # half a step of the search
    assert found.averages.shape == found.references.shape == simulated.projections.shape
    one = simulated.labels == 0
    alone = cryoisac.align_reference_free(simulated.images[one], device="cpu")
    assert alone.averages.shape == (1, 40, 40)
    assert (alone.labels == 0).all()
    error = cryoisac.pixel_error(alone.poses, found.poses[one], radius_px=12)
    assert error.shape == (one.sum(),)
    drawn = cryoisac.align_multireference(simulated.images, 3, maxit=2)
    assert drawn.sizes.sum() == len(simulated.images)


@pytest.mark.parametrize(
    "call",
    [
        lambda images, **how: cryoisac.isac(images, **SMALL, **how),
        lambda images, **how: cryoisac.isac(images, **QUICK, **how),
        lambda images, **how: cryoisac.align_multireference(images, 3, **how),
        lambda images, **how: cryoisac.align_reference_free(images, **how),
    ],
    ids=["likelihood", "isac2", "multireference", "reference-free"],
)
def test_a_callback_stops_a_run_that_then_goes_on(simulated, tmp_path, monkeypatch, call):
    """Invariance: stopped on its way, a run in a directory goes on to the same end; without one nothing is left."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    callback, told = stopping(10**9)
    whole = call(simulated.images, callback=callback)
    assert all(total is None or done <= total for _, done, total in told)
    for after in (2, len(told) // 2):
        callback, _ = stopping(after)
        with pytest.raises(cryoisac.Cancelled):
            call(simulated.images, callback=callback)
        assert list(temporary.iterdir()) == []
        callback, heard = stopping(after)
        with pytest.raises(cryoisac.Cancelled):
            call(simulated.images, directory=tmp_path / "run", callback=callback)
        assert len(heard) == after
    rest = call(simulated.images, directory=tmp_path / "run")
    assert (rest.labels == whole.labels).all()
    assert (rest.poses.rows() == whole.poses.rows()).all()


def test_a_callback_may_raise(simulated):
    """Definition: what a callback raises comes out."""

    def callback(stage, done, total):
        raise KeyError(stage)

    with pytest.raises(KeyError):
        cryoisac.simulate(views=1, per_view=2, box=40, pixel_size=10.0, callback=callback)
    with pytest.raises(KeyError):
        cryoisac.align_reference_free(simulated.images, callback=callback)


def test_images_are_moved_and_averaged(simulated):
    """Definition: averages are means of moved images, of poses as such or as rows; a fifth column enlarges."""
    images, poses, labels = simulated.images, simulated.poses, simulated.labels
    moved = cryoisac.transform(images, poses)
    assert (cryoisac.transform(images.astype(np.float64), poses.rows()) == moved).all()
    averages = cryoisac.class_averages(images, poses, labels)
    for c in range(3):
        np.testing.assert_allclose(averages[c], moved[labels == c].mean(axis=0), atol=1e-5)  # float32 means
    rows = np.column_stack((poses.rows(), np.full(len(images), 1.5)))
    larger = cryoisac.transform(images, rows, outside=0.0)
    assert (larger != cryoisac.transform(images, poses, outside=0.0)).any()
    assert cryoisac.class_sums(images, poses, labels, 5).shape == (5, 40, 40)
    correlation = cryoisac.frc(averages[0], simulated.projections[0])
    assert (correlation.correlation == ring_correlation(averages[0], simulated.projections[0]).correlation).all()
    assert correlation.correlation[1:8].mean() > 0.9  # 30 images of SNR 1 at the true poses


def test_simulated_images_are_those_of_the_command(tmp_path, simulated):
    """Independent path: the files of ``cryoisac simulate`` hold the same images and truth."""
    options = ["--views", "3", "--per-view", "30", "--box", "40", "--pixel-size", "10", "--snr", "1", "--seed", "5"]
    assert run(["simulate", str(tmp_path / "made"), *options]) == 0
    stack = cryoisac.read_particles(tmp_path / "made" / "particles.star")
    assert (stack.read(np.arange(len(stack))) == simulated.images).all()
    with (tmp_path / "made" / "truth.csv").open(newline="") as file:
        assert [int(row["view"]) for row in csv.DictReader(file)] == simulated.labels.tolist()


@pytest.mark.parametrize("name", ["a.star", "a.hdf", "a.mrcs"])
def test_what_is_written_is_read_back(tmp_path, name):
    """Known truth: pixels, pixel size, CTF, poses and classes come back from each kind of file that holds them."""
    made = cryoisac.simulate(views=2, per_view=3, box=40, pixel_size=10.0, ctf=True)
    known = {} if name == "a.mrcs" else {"ctf": made.ctf, "poses": made.poses, "labels": made.labels}
    cryoisac.write_particles(tmp_path / name, made.images, pixel_size_A=10.0, **known)
    back = cryoisac.read_particles(tmp_path / name)
    assert (back.read(np.arange(6)) == made.images).all()
    np.testing.assert_allclose(back.pixel_size_A, 10.0)
    if known:
        from cryoisac.products.pose_tables import read_pose_table

        np.testing.assert_allclose(back.ctf.defocus_um, made.ctf.defocus_um, atol=1e-6)  # printed decimals
        table = read_pose_table(tmp_path / name)
        assert cryoisac.pixel_error(table.poses, made.poses, radius_px=20).max() < 1e-3  # float32 matrices, decimals
        assert (table.label == made.labels).all()


def test_scores_of_classes_alone():
    """Definition: numbers that need no poses or directions, and none that do."""
    score = cryoisac.score([0, 0, 1, 1, -1], [2, 2, 0, 0, -1])
    assert score.ari == 1.0
    assert score.purity == 1.0
    assert score.junk_recall == 1.0
    assert score.spread_deg is None
    assert score.pixel_error is None


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda x: cryoisac.isac(x, img_per_group=10), "img_per_group: is no setting; did you mean img_per_grp"),
        (lambda x: cryoisac.isac(x, img_per_grp=0), "must be at least"),
        (lambda x: cryoisac.isac(x, device="cuda:x"), "give auto, cpu, cuda"),
        (lambda x: cryoisac.align_reference_free(x, device="cpu", gpu_memory_use=2), "share of the memory"),
        (lambda x: cryoisac.isac(x[0]), "give an array of shape"),
        (lambda x: cryoisac.isac(x.astype(str)), "give real numbers"),
        (lambda x: cryoisac.isac(x[:, :, 1:]), "must be cut out as squares"),
        (
            lambda x: cryoisac.isac(
                x, ctf=cryoisac.simulate(views=1, per_view=1, box=40, pixel_size=10.0, ctf=True).ctf
            ),
            "1 images",
        ),
        (lambda x: cryoisac.isac(x, pixel_size_A=-1), "above 0"),
        (lambda x: cryoisac.isac("missing.star", pixel_size_A=2), "belongs to images in an array"),
        (lambda x: cryoisac.isac("missing.star"), "missing.star"),
        (lambda x: cryoisac.align_multireference(x, 0), "references: is 0"),
        (lambda x: cryoisac.align_multireference(x, x[:3, 1:, 1:]), "39"),
        (lambda x: cryoisac.transform(x, np.zeros((2, 4))), "give one an image"),
        (lambda x: cryoisac.transform(x, np.zeros((len(x), 3))), "give Poses, or rows"),
        (lambda x: cryoisac.transform(x, np.full((len(x), 4), 2)), "mirror"),
        (lambda x: cryoisac.class_averages(x, np.zeros((len(x), 4)), [0.5] * len(x)), "whole numbers"),
        (lambda x: cryoisac.frc(x[0], x[0], mask=np.ones((3, 3))), "mask"),
        (lambda x: cryoisac.write_particles("a.png", x), "end it in"),
        (lambda x: cryoisac.write_particles("a.mrcs", x, labels=np.zeros(len(x))), "images alone"),
        (lambda x: cryoisac.score([0], [0], poses=np.zeros((1, 4))), "classes alone"),
    ],
)
def test_mistakes_are_told_in_one_line(simulated, tmp_path, monkeypatch, call, said):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(cryoisac.CryoisacError, match=said) as caught:
        call(simulated.images)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_names_are_listed_typed_and_explained():
    """Definition: ``dir`` and ``help`` show every public name; each has a docstring; what is unknown is refused."""
    assert set(cryoisac.__all__) <= set(dir(cryoisac))
    for name in set(cryoisac.__all__) - {"__version__"}:
        assert getattr(cryoisac, name).__doc__
    with pytest.raises(AttributeError, match="no attribute 'classify'"):
        _ = cryoisac.classify
    shown = subprocess.run(
        [sys.executable, "-c", "import pydoc, cryoisac; print(pydoc.plain(pydoc.render_doc(cryoisac)))"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "align_reference_free(" in shown


def test_no_name_is_that_of_a_module():
    """Definition: importing a module would put it in the place of a function of its name."""
    modules = {module.name for module in pkgutil.iter_modules(cryoisac.__path__)}
    assert not modules & set(cryoisac.__all__)


def test_strict_type_checkers_see_the_types(tmp_path):
    """Independent program: mypy --strict on a caller's file knows what each name returns."""
    source = tmp_path / "caller.py"
    source.write_text(
        "import cryoisac\n"
        "import numpy as np\n"
        "found = cryoisac.isac(np.zeros((4, 8, 8)), img_per_grp=2)\n"
        "reveal_type(found.labels)\n"
        "reveal_type(cryoisac.transform(np.zeros((4, 8, 8)), found.poses))\n"
        "reveal_type(cryoisac.ISAC().fit_predict(np.zeros((4, 64))))\n"
        "cryoisac.transform(np.zeros((4, 8, 8)), found.poses, method='spline')\n"
    )
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(ROOT / ".mypy_cache"), str(source)]
    said = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT).stdout
    assert said.count("numpy.ndarray[") >= 3
    assert "incompatible type \"Literal['spline']\"" in said
    assert "Found 1 error" in said


class Tensor:
    """As PyTorch's: an array that lies elsewhere, and must be fetched."""

    def __init__(self, values):
        self.values = np.asarray(values)

    def detach(self):
        return self

    def cpu(self):
        return self.values


def test_tensors_are_fetched_from_their_device(simulated):
    """Invariance: the same as of arrays."""
    images, rows = simulated.images[:6], simulated.poses[:6].rows()
    labels = np.arange(6) % 2
    moved = cryoisac.transform(Tensor(images), Tensor(rows))
    np.testing.assert_array_equal(moved, cryoisac.transform(images, rows))
    averages = cryoisac.class_averages(Tensor(images), Tensor(rows), Tensor(labels))
    np.testing.assert_array_equal(averages, cryoisac.class_averages(images, rows, labels))
    curves = cryoisac.frc(Tensor(moved), Tensor(images)).correlation
    np.testing.assert_array_equal(curves, cryoisac.frc(moved, images).correlation)
