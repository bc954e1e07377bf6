"""EMAN2 databases."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cryoisac.errors import CryoisacError, FormatError
from cryoisac.io import eman_bdb
from cryoisac.io.bdb_address import Address
from cryoisac.io.bdb_table import BdbTable
from cryoisac.io.eman_hdf import write_hdf_stack
from cryoisac.io.eman_header import EmanCtf, EmanTransform
from cryoisac.io.mrc_write import write_mrc_stack
from cryoisac.io.registry import listing_of, read_image_stack, read_particles
from cryoisac.io.star import write_star
from cryoisac.products.tables import bare_metadata
from tests.io.berkeley import EMAN2Ctf, Transform, Writer, database, header, pickled, records

IMAGES = np.random.default_rng(2).normal(size=(30, 6, 8)).astype(np.float32)
EVERY = np.arange(len(IMAGES))
CTF = [1.5, 0.1, 30.0, 10.0, 10.0, 300.0, 2.7, 1.5]
ROW = [200.5, 1.25, -3.5, 1]


def rich(i: int) -> dict[str, Any]:
    """Return a header with every kind of attribute."""
    matrix = EmanTransform.from_row(ROW).matrix.reshape(-1).tolist()
    return header(
        i,
        IMAGES[i],
        ctf=EMAN2Ctf([*CTF, 0.0, 2, 0.5, 0.25, 0]),
        **{"xform.align2d": Transform(matrix)},
        members=list(range(i + 1)),
        n_objects=i + 1,
        curve=[0.5, 2.0],
        note="größer",
        long="x" * 3000,
        empty=[],
    )


def virtual(directory: Path, name: str, headers: list[dict[str, Any]]) -> Path:
    """Write a database whose pixels lie elsewhere."""
    path = directory / "EMAN2DB" / f"{name}.bdb"
    return Writer().write(path, {name: records(headers, stored=False)})


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_what_was_written_is_read(tmp_path: Path, order: str, protocol: int) -> None:
    """Known truth: pixels by the positions in the database, which are not the order of the images."""
    database(tmp_path, "all", IMAGES, order=order, protocol=protocol)
    particles = read_particles(f"bdb:{tmp_path}#all")
    np.testing.assert_array_equal(particles.read(np.array([29, 0, 0, 7])), IMAGES[[29, 0, 0, 7]])
    np.testing.assert_array_equal(particles.pixel_size_A, 1.5)
    assert particles.box_px == (6, 8)
    assert particles.ctf is None
    assert particles.ctf_missing == ("ctf",)
    assert particles.attributes["ptcl_source_image"][3] == "m3.mrc"
    assert particles.stacks == (tmp_path / "EMAN2DB" / "all_8x6x1",)


def test_headers_as_those_of_an_hdf_stack(tmp_path: Path) -> None:
    """Invariance: the same headers in both kinds of file give the same particles."""
    headers = [rich(i) for i in range(5)]
    database(tmp_path, "all", IMAGES[:5], headers)
    plain = [
        {k: v for k, v in h.items() if k != "empty"}
        | {"ctf": EmanCtf(*CTF), "xform.align2d": EmanTransform.from_row(ROW)}
        for h in headers
    ]
    write_hdf_stack(tmp_path / "all.hdf", IMAGES[:5], 1.5, plain)
    ours, theirs = read_particles(f"bdb:{tmp_path}#all"), read_particles(tmp_path / "all.hdf")
    assert set(ours.attributes) == set(theirs.attributes)
    for name in theirs.attributes:
        for a, b in zip(ours.attributes[name], theirs.attributes[name], strict=True):
            if isinstance(b, str):
                assert a == b
            else:
                np.testing.assert_allclose(a, b, atol=1e-4)  # the HDF stack holds a float32 matrix
    assert ours.ctf is not None
    assert theirs.ctf is not None
    np.testing.assert_array_equal(ours.ctf.defocus_um, theirs.ctf.defocus_um)
    np.testing.assert_array_equal(ours.ctf.astigmatism_angle_deg, theirs.ctf.astigmatism_angle_deg)
    np.testing.assert_array_equal(ours.pixel_size_A, theirs.pixel_size_A)


def test_every_spelling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Definition: what EMAN2 users type, and the file itself."""
    database(tmp_path / "sub", "all", IMAGES)
    monkeypatch.chdir(tmp_path)
    for text in (
        "bdb:sub#all",
        "bdb:sub/all",
        "bdb:./sub#all",
        f"bdb:{tmp_path}/sub#all",
        f"bdb:{tmp_path}/sub/all",
        "bdb:sub/EMAN2DB#all",
        "bdb:sub/EMAN2DB/all.bdb",
        "sub/EMAN2DB/all.bdb",
    ):
        np.testing.assert_array_equal(read_particles(text).read(EVERY), IMAGES)
        np.testing.assert_array_equal(read_particles(Path(text)).read(EVERY), IMAGES)
        np.testing.assert_array_equal(read_image_stack(text).read(EVERY), IMAGES)
    monkeypatch.chdir(tmp_path / "sub")
    for text in ("bdb:all", "bdb:#all", "bdb:.#all", "bdb:../sub#all"):
        np.testing.assert_array_equal(read_particles(text).read(EVERY), IMAGES)
        assert listing_of(text)[0].samefile(tmp_path / "sub" / "EMAN2DB" / "all.bdb")


def test_some_of_the_images(tmp_path: Path) -> None:
    """Known truth: by number, and by the lists of the database `select`."""
    database(tmp_path, "all", IMAGES)
    lists = [(pickled("good"), pickled([3, 1])), (pickled("odd"), pickled("words"))]
    Writer().write(tmp_path / "EMAN2DB" / "select.bdb", {"select": sorted(lists)})
    for chosen, index in (
        ("4,0,4", [4, 0, 4]),
        ("7", [7]),
        ("select.good", [3, 1]),
        ("exclude.good", [0, 2, *range(4, 30)]),
    ):
        particles = read_particles(f"bdb:{tmp_path}#all?{chosen}")
        np.testing.assert_array_equal(particles.read(np.arange(len(index))), IMAGES[index])
        assert particles.attributes["ptcl_source_image"] == [f"m{i}.mrc" for i in index]
        assert particles.name_of(0) == f"{index[0] + 1:06d}@{tmp_path}/EMAN2DB/all.bdb"
        assert listing_of(f"bdb:{tmp_path}#all?{chosen}")[1] == chosen
    for chosen, says in (
        ("30", "image 30, but it holds 30, counted from 0"),
        ("-1", "names no images; write"),
        ("1;2", "names no images; write"),
        ("9" * 5000, "names no images"),
        ("select.none", "has no list 'none'; it has good, odd"),
        ("exclude.odd", "'odd' is no list of image numbers"),
        ("exclude.all", "has no list"),
    ):
        with pytest.raises(FormatError, match=says):
            read_particles(f"bdb:{tmp_path}#all?{chosen}")


def test_virtual_stacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Known truth: images by offset in a file, by slice of an MRC stack, by another database, and by one of those."""
    database(tmp_path / "a", "own", IMAGES)
    (tmp_path / "mics").mkdir()
    write_mrc_stack(tmp_path / "mics" / "m.mrcs", IMAGES, 1.5)
    size = 4 * 6 * 8
    headers = [
        header(0, IMAGES[0], data_path=f"../../a/EMAN2DB/own_8x6x1*{(29 - 0) * size}"),
        header(1, IMAGES[0], data_path="../../mics/m.mrcs", ptcl_source_coord_id=11, data_n=3, data_source="bdb:no"),
        header(2, IMAGES[0], data_source="bdb:a#own", data_n=12),
        header(3, IMAGES[0], data_path=str(tmp_path / "mics" / "m.mrcs"), ptcl_source_coord_id=0),
    ]
    virtual(tmp_path / "v", "first", headers)
    second = [header(i, IMAGES[0], data_source="bdb:../v#first", data_n=3 - i) for i in range(4)]
    virtual(tmp_path / "w", "second", second)
    monkeypatch.chdir(tmp_path)
    first = read_particles("bdb:v#first")
    np.testing.assert_array_equal(first.read(np.array([0, 1, 2, 3])), IMAGES[[0, 11, 12, 0]])
    named = [first.name_of(i) for i in range(4)]
    assert named[0] == "000001@v/EMAN2DB/first.bdb"
    assert named[1] == "000012@mics/m.mrcs"
    assert named[3] == f"000001@{tmp_path}/mics/m.mrcs"
    assert {p.name for p in first.stacks} == {"own_8x6x1", "m.mrcs", "own.bdb"}
    np.testing.assert_array_equal(read_particles("bdb:w#second").read(np.arange(4)), IMAGES[[0, 12, 11, 0]])


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({}, "a header but no pixels"),
        ({"data_path": "none.mrcs"}, "missing: there is no file .*none.mrcs; copy it there"),
        ({"data_path": "x" * 5000}, "there is no file"),
        ({"data_path": "a\0b"}, "there is no file"),
        ({"data_path": "v.bdb*words"}, "ends in no whole number"),
        ({"data_path": "v.bdb*" + "9" * 5000}, "ends in no whole number"),
        ({"data_path": "v.bdb*400000"}, "is cut short: image 0 of v.bdb needs 400192 bytes"),
        ({"data_path": "m.mrcs"}, "is slice None of .*m.mrcs, which holds 30"),
        ({"data_path": "m.mrcs", "ptcl_source_coord_id": 30}, "is slice 30"),
        ({"data_path": "m.mrcs", "ptcl_source_coord_id": -1}, "is slice -1"),
        ({"data_path": "m.mrcs", "ptcl_source_coord_id": 1, "nx": 7}, "6 x 8 px, .* 6 x 7"),
        ({"data_path": "v.bdb", "ptcl_source_coord_id": 1}, "no MRC file"),
        ({"data_source": "bdb:other#none", "data_n": 0}, "bdb:other#none, which is missing: looked for in .*other"),
        ({"data_source": "old.hdf", "data_n": 0}, "old.hdf, which is no database"),
        ({"data_source": "bdb:v", "data_n": 1}, "image 1 of .*v.bdb, which holds 1"),
        ({"data_source": "bdb:v", "data_n": 0}, "perhaps in a circle"),
        ({"data_source": "bdb:", "data_n": 0}, "names no database"),
        ({"nx": "eight"}, "has no size"),
        ({"nx": 1 << 40}, "has no size"),
        ({"nz": 8}, "is a volume"),
        ({"is_complex": 1}, "Fourier transform"),
    ],
)
def test_pixels_that_are_not_there_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: dict[str, Any], says: str
) -> None:
    """Definition: each message names what is missing."""
    (tmp_path / "EMAN2DB").mkdir()
    write_mrc_stack(tmp_path / "EMAN2DB" / "m.mrcs", IMAGES, 1.5)
    virtual(tmp_path, "v", [header(0, IMAGES[0], **more)])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FormatError, match=says) as caught:
        read_particles("bdb:v")
    assert "\n" not in str(caught.value)


def test_two_databases_of_one_name_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Definition: as for the stacks of a table, one beside the database and one in the current directory."""
    for place in (tmp_path, tmp_path / "v"):
        database(place / "a", "own", IMAGES)
    virtual(tmp_path / "v", "v", [header(0, IMAGES[0], data_source="bdb:a#own", data_n=12)])
    np.testing.assert_array_equal(read_particles(f"bdb:{tmp_path}/v#v").read(np.arange(1)), IMAGES[[12]])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FormatError, match="start from another directory"):
        read_particles("bdb:v#v")


def test_addresses_of_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Definition: the message says what there is."""
    monkeypatch.chdir(tmp_path)
    database(tmp_path / "a", "one", IMAGES)
    (tmp_path / "b").mkdir()
    for text, says in (
        ("bdb:a#two", "there is no file a/EMAN2DB/two.bdb; a/EMAN2DB holds one"),
        ("bdb:c#one", "there is no directory c"),
        ("bdb:b#one", "b holds no EMAN2DB"),
        ("bdb:a#", r"names no database; write bdb:directory#name \(a/EMAN2DB holds one\)"),
        ("bdb:", "names no database"),
    ):
        with pytest.raises(FormatError, match=says):
            read_particles(text)
    assert str(Address.parse("bdb:a/one?1,2")) == "bdb:a#one?1,2"


def test_incomplete_databases(tmp_path: Path) -> None:
    """Definition: pixels that are missing or cut short, an image that was deleted, a size that differs, no images."""
    file = database(tmp_path, "all", IMAGES)
    pixels = file.with_name("all_8x6x1")
    os.truncate(pixels, pixels.stat().st_size - 4)
    with pytest.raises(FormatError, match=r"all_8x6x1: is cut short: image 0 of all.bdb needs 5760 bytes, 5756 found"):
        read_particles(file)
    pixels.unlink()
    with pytest.raises(FormatError, match="all_8x6x1; copy it there"):
        read_particles(file)
    whole = records([header(i, IMAGES[i]) for i in range(4)])
    for gone, says in (
        ([0], "has no image 0 of its 4"),
        ([2], "has no image 2 of its 4"),
        (range(4), "holds no images"),
    ):
        left = [(key, value) for key, value in whole if key not in [pickled(i) for i in gone]]
        Writer().write(file, {"all": left})
        with pytest.raises(FormatError, match=says):
            read_particles(file)
    headers = [header(0, IMAGES[0]), header(1, IMAGES[0][:5])]
    with pytest.raises(FormatError, match=r"image 1 is of \(5, 8\) px, 0 of \(6, 8\)"):
        read_particles(database(tmp_path, "odd", IMAGES[:2], headers))
    Writer().write(file, {"a": whole, "b": whole})
    with pytest.raises(FormatError, match="holds a, b, none of them all; rename it"):
        read_particles(file)
    evil = [(pickled(0), b"cposix\nsystem\n(S'true'\ntR.")]
    Writer().write(file, {"all": evil})
    with pytest.raises(FormatError, match=r"its header of image 0 would make or call 'posix.system'"):
        read_particles(file)


def test_names_are_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Invariance: a table with the names of a database's images gives the same images, from any directory."""
    database(tmp_path / "a", "all", IMAGES)
    (tmp_path / "b").mkdir()
    monkeypatch.chdir(tmp_path)
    particles = read_particles("bdb:a#all?5,1")
    write_star(tmp_path / "b" / "table.star", bare_metadata(particles), image_root=particles.image_root)
    monkeypatch.chdir(tmp_path / "b")
    again = read_particles("table.star")
    np.testing.assert_array_equal(again.read(np.arange(2)), IMAGES[[5, 1]])


def test_many_files_and_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Invariance: images of more files than stay open, read by threads, are the images one by one."""
    monkeypatch.setattr("cryoisac.io.bdb_stack.OPEN_FILES", 3)
    (tmp_path / "EMAN2DB").mkdir()
    for i in range(10):
        IMAGES[i].astype("<f4").tofile(tmp_path / "EMAN2DB" / f"pixels{i}")
    virtual(tmp_path, "v", [header(i, IMAGES[i], data_path=f"pixels{i % 10}*0") for i in range(30)])
    stack = eman_bdb.open_stack(f"bdb:{tmp_path}#v")
    index = np.random.default_rng(0).integers(0, 30, (40, 7))
    with ThreadPoolExecutor(4) as pool:
        for asked, found in zip(index, pool.map(stack.read, index), strict=True):
            np.testing.assert_array_equal(found, IMAGES[asked % 10])
    assert stack.read(np.array([], dtype=np.int64)).shape == (0, 6, 8)
    with pytest.raises(CryoisacError, match="image 31 was asked for"):
        stack.read(np.array([30]))


def test_a_damaged_database_is_read_or_refused(tmp_path: Path) -> None:
    """Known truth: no damage to a database raises anything but our own errors."""
    file = database(tmp_path, "all", IMAGES[:6], [rich(i) for i in range(6)])
    whole = file.read_bytes()
    rng = np.random.default_rng(11)
    refused = 0
    for trial in range(200):
        content = bytearray(whole)
        for _ in range(1 + trial % 5):
            content[rng.integers(0, len(content))] = rng.integers(0, 256)
        file.write_bytes(content if trial % 10 else content[: rng.integers(0, len(content))])
        try:
            particles = read_particles(file)
            particles.read(np.arange(len(particles)))
            list(particles.attributes.items())
        except CryoisacError as error:
            refused += 1
            assert "\n" not in str(error)  # noqa: PT017
    assert refused > 20


def test_a_database_of_eman2_without_its_pixels(shared: Path) -> None:
    """Independent program: the headers that EMAN2 wrote; what is missing is named."""
    folder = shared / "data" / "formats" / "gpu-isac-dummy" / "isac_dummy_data_64"
    with pytest.raises(FormatError, match=r"pixels of image 0 are missing: .*faces_128x128x1; copy it"):
        read_particles(f"bdb:{folder}#faces")
    table = BdbTable(folder / "EMAN2DB" / "faces.bdb")
    assert len(table) == 64
    assert table.columns["source_n"] == list(range(64))
    assert table.records[63] == ("128x128x1", 63)
    assert table.value(5, "SPIDER.date") == "S-522-PE"
