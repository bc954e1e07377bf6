"""``cryoisac order`` and ``sp_chains.py``: class averages in an order in which neighbours look alike."""

import csv
import os
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import pytest

from cryoisac.cli import main as cli
from cryoisac.cli import sp_chains
from cryoisac.io.eman_hdf import write_hdf_stack
from cryoisac.io.mrc_write import write_mrc_stack
from cryoisac.io.registry import read_averages, read_particles
from cryoisac.io.star import write_star
from cryoisac.io.text_tables import read_table
from cryoisac.model.table import Metadata, Table
from cryoisac.simulation.density import procedural
from cryoisac.simulation.projection import Projector, orientation
from tests.io.berkeley import database, header
from tests.test_docs import DOCS, first_cells

K, BOX = 30, 48


@pytest.fixture(scope="module")
def shuffle() -> npt.NDArray[np.intp]:
    return np.random.default_rng(3).permutation(K)


@pytest.fixture(scope="module")
def views(shuffle: npt.NDArray[np.intp]) -> npt.NDArray[np.float32]:
    """Projections along a circle of directions, 8 degrees apart, each turned, in another order."""
    rng = np.random.default_rng(3)
    step = np.arange(K) * 360.0 / K
    # All on one side of the equator: no direction is opposite to another, whose projection is the mirror image.
    matrices = orientation(step, np.full(K, 40.0), rng.uniform(0, 360, K))
    molecule = procedural(box_px=BOX, pixel_size_A=5.0, seed=1)
    images = Projector(molecule, box_px=BOX, pixel_size_A=5.0).project(matrices)
    noisy: npt.NDArray[np.float32] = (images / images.std() + rng.normal(0, 0.05, images.shape)).astype(np.float32)
    return noisy[shuffle]


def order(averages: Path | str, out: Path, *options: str) -> int:
    return cli.run(["order", str(averages), str(out), *options])


def rows(out: Path) -> list[dict[str, str]]:
    with (out / "order.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def said(capsys: pytest.CaptureFixture[str]) -> str:
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error


def test_a_circle_of_views_comes_out_in_its_order(
    views: Any, shuffle: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Known truth: neighbours are neighbours on the circle, but for direction and start; laid on each other."""
    attributes = [{"members": [i, i + 1], "n_objects": 2, "ISAC_class_id": i, "mean_angle": 3.0} for i in range(K)]
    write_hdf_stack(tmp_path / "a.hdf", views, 5.0, attributes)
    out = tmp_path / "out"
    assert order(tmp_path / "a.hdf", out) == 0
    assert "Ordered 30 averages along a circle" in capsys.readouterr().out
    found = np.array([int(row["average"]) - 1 for row in rows(out)])
    steps = np.diff(shuffle[np.append(found, found[0])]) % K
    assert set(steps) in ({1}, {K - 1})

    table = read_table(out / "chains_params.txt")
    np.testing.assert_array_equal(table[:, 0], np.arange(K))
    np.testing.assert_array_equal(table[:, 1], found)
    assert not table[:, 3:5].any()
    np.testing.assert_allclose([float(row["angle_deg"]) for row in rows(out)], table[:, 2], atol=1e-4)  # of 4 digits
    assert all(row["image"] == f"{int(row['average']):06d}@{tmp_path / 'a.hdf'}" for row in rows(out))

    ours = read_particles(out / "ordered_class_averages.hdf")
    images = ours.read(np.arange(K))
    np.testing.assert_array_equal(images, read_particles(out / "ordered_class_averages.mrcs").read(np.arange(K)))
    assert [m.tolist() for m in ours.attributes["members"]] == [[i, i + 1] for i in found]
    np.testing.assert_array_equal(ours.attributes["ISAC_class_id"], found)
    np.testing.assert_array_equal(ours.attributes["n_objects"], 2)
    assert "mean_angle" not in ours.attributes
    np.testing.assert_array_equal(ours.pixel_size_A, 5.0)
    close = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in pairwise(images)]
    apart = np.corrcoef(views.reshape(K, -1))[np.triu_indices(K, 1)]
    assert min(close) > apart.mean()
    assert (out / "order.png").read_bytes().startswith(b"\x89PNG")
    named = first_cells(DOCS / "files.md", "What an order of averages writes")
    assert {path.name for path in out.iterdir()} == set(named)


def test_a_chain_has_its_ends_at_the_gap(views: Any, shuffle: Any, tmp_path: Path) -> None:
    """Known truth: of half a circle a chain runs from end to end; the first has none before it."""
    half = np.flatnonzero(shuffle < K // 2)
    write_mrc_stack(tmp_path / "a.mrcs", views[half], 5.0)
    assert order(tmp_path / "a.mrcs", tmp_path / "out", "--no-circular") == 0
    chain = shuffle[half][[int(row["average"]) - 1 for row in rows(tmp_path / "out")]]
    assert chain.tolist() in (list(range(K // 2)), list(range(K // 2))[::-1])
    assert rows(tmp_path / "out")[0]["similarity"] == "nan"


def test_every_kind_of_input_gives_the_same_order(views: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Invariance: MRC, HDF, a database, tables of averages and of images."""
    monkeypatch.chdir(tmp_path)
    some = views[:8]
    write_mrc_stack(Path("a.mrcs"), some, 5.0)
    write_hdf_stack(Path("a.hdf"), some, 5.0)
    database(tmp_path, "a", some, [header(i, image, apix_x=5.0) for i, image in enumerate(some)])
    names = np.array([f"{i + 1:06d}@a.mrcs" for i in range(8)], dtype=np.bytes_)
    for column, block in (("rlnReferenceImage", "model_classes"), ("rlnImageName", "particles")):
        write_star(Path(f"{column}.star"), Metadata(Table({column: names}), particles_block=block))
    inputs = ("a.mrcs", "a.hdf", "bdb:a", "rlnReferenceImage.star", "rlnImageName.star")
    for i, name in enumerate(inputs):
        assert order(name, Path(f"out{i}")) == 0
        for file in ("ordered_class_averages.mrcs", "chains_params.txt") if i < 3 else ("chains_params.txt",):
            assert Path(f"out{i}", file).read_bytes() == Path("out0", file).read_bytes()
    assert read_averages("rlnReferenceImage.star").name_of(2) == "000003@a.mrcs"


def test_every_option_has_an_effect(views: Any, tmp_path: Path) -> None:
    """Definition: radius and range change the likeness; the seed is allowed to change nothing but the search."""
    write_mrc_stack(tmp_path / "a.mrcs", np.roll(views, (3, 2), axis=(1, 2)), 5.0)
    moved = views.copy()
    moved[::2] = np.roll(moved[::2], (3, 2), axis=(1, 2))
    write_mrc_stack(tmp_path / "moved.mrcs", moved, 5.0)
    assert order(tmp_path / "moved.mrcs", tmp_path / "0") == 0
    for i, options in enumerate((("--radius", "8"), ("--xr", "0"), ("--range", "1"), ("--seed", "7")), 1):
        assert order(tmp_path / "moved.mrcs", tmp_path / f"{i}", *options) == 0
    like = [sorted(row["similarity"] for row in rows(tmp_path / f"{i}")) for i in range(5)]
    assert like[1] != like[0]
    assert like[2] != like[0]
    assert like[3] not in (like[0], like[2])
    mean = [np.mean([float(s) for s in each]) for each in like]
    assert mean[2] < mean[0]  # without shifts those that were moved are less like the others
    assert mean[4] == pytest.approx(mean[0], abs=0.02)  # another search, a tour about as short


def test_bad_input_is_said_in_a_line(views: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Definition: where, what, and what to do; nothing is written."""
    good = tmp_path / "a.mrcs"
    write_mrc_stack(good, views, 5.0)
    write_mrc_stack(tmp_path / "one.mrcs", views[:1], 5.0)
    write_mrc_stack(tmp_path / "wide.mrcs", views[:, :40], 5.0)
    write_mrc_stack(tmp_path / "small.mrcs", views[:, :10, :10].copy(), 5.0)
    for name, options, says in (
        ("one.mrcs", (), "holds 1 average; an order needs two"),
        ("wide.mrcs", (), "48 x 40 px; they must be squares"),
        ("small.mrcs", (), "at least 12 are needed"),
        ("none.mrcs", (), "No such file"),
        ("a.mrcs", ("--xr", "23"), "--xr: is 23; averages of 48 px leave room for shifts up to 22 px"),
        ("a.mrcs", ("--radius", "25"), "--radius: is 25 px, beyond the edge"),
        ("a.mrcs", ("--radius", "0"), "--radius: is 0; must be at least 1 px"),
    ):
        assert order(tmp_path / name, tmp_path / "out", *options) == 1
        assert says in said(capsys)
        assert not (tmp_path / "out").exists()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").touch()
    assert order(good, tmp_path / "full") == 1
    assert "full: is not empty; choose another directory" in said(capsys)
    assert os.listdir(tmp_path / "full") == ["notes.txt"]  # noqa: PTH208
    images = views.copy()
    images[4, 0, 0] = np.nan
    with h5py.File(tmp_path / "nan.hdf", "w") as file:
        group = file.create_group("MDF/images")
        group.attrs["imageid_max"] = np.array([K - 1], dtype=np.int32)
        for i, image in enumerate(images):
            group[f"{i}/image"] = image
    assert order(tmp_path / "nan.hdf", tmp_path / "out") == 1
    assert "average 5 has pixels that are not finite" in said(capsys)


def test_two_averages_are_enough(views: Any, tmp_path: Path) -> None:
    """Definition: of two and three averages every order is a circle."""
    for k in (2, 3):
        write_mrc_stack(tmp_path / f"{k}.mrcs", views[:k], 5.0)
        for options in ((), ("--no-circular",)):
            out = tmp_path / f"out{k}{len(options)}"
            assert order(tmp_path / f"{k}.mrcs", out, *options) == 0
            assert sorted(int(row["average"]) for row in rows(out)) == list(range(1, k + 1))


def test_the_originals_command_line(
    views: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Definition: the same result in the file that is named, the parameters where it is called; no silent options."""
    monkeypatch.chdir(tmp_path)
    write_hdf_stack(Path("a.hdf"), views[:8], 5.0, [{"members": [i, 9], "n_objects": 2} for i in range(8)])
    line = ["a.hdf", "b.hdf", "--circular", "--align", "--radius=20", "--xr=4", "--yr=4"]
    assert sp_chains.run(line) == 0
    assert order("a.hdf", Path("ours"), "--radius", "20", "--xr", "4") == 0
    assert Path("b.hdf").read_bytes() == Path("ours/ordered_class_averages.hdf").read_bytes()
    assert Path("chains_params.txt").read_bytes() == Path("ours/chains_params.txt").read_bytes()
    capsys.readouterr()
    assert sp_chains.run(line) == 1
    assert "b.hdf: is there already" in said(capsys)
    for wrong, says in (
        (["a.hdf", "c.hdf", "--align"], "chains_params.txt: is there already"),
        (["a.hdf", "c.hdf", "--circular"], "--align: is missing"),
        (["a.hdf", "c.hdf", "--align", "--yr=2"], "--yr: is 2, --xr 4; the range is the same"),
        (["a.hdf", "c.hdf", "--align", "--xr=1.5"], "--xr: is 1.5; give a whole number"),
        (["a.hdf", "c.txt", "--align"], "c.txt: is no name of a stack"),
    ):
        assert sp_chains.run(wrong) == 1
        assert says in said(capsys)
    assert not Path("c.hdf").exists()
    assert sp_chains.run(["a.hdf", "c.hdf", "--align", "--dd"]) == 2
    assert "--dd" in said(capsys)
    Path("chains_params.txt").unlink()
    assert sp_chains.run(["a.hdf", "c.mrcs", "--align", "--radius=-1"]) == 0
    assert len(read_averages("c.mrcs")) == 8
