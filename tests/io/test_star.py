"""RELION tables: the text against starfile and gemmi, the meaning against RELION's definitions."""

import os
import string
from pathlib import Path

import numpy as np
import pytest
import starfile
from gemmi import cif
from hypothesis import given, settings
from hypothesis import strategies as st

from cryoisac.errors import DataError, FormatError
from cryoisac.io import star, star_text
from cryoisac.io.mrc_write import write_mrc_stack
from cryoisac.io.star_text import read_tables
from cryoisac.io.star_write import write_tables
from cryoisac.model.table import Table

OPTICS = """
# version 30001

data_optics

loop_ 
_rlnOpticsGroup #1 
_rlnVoltage #2 
_rlnSphericalAberration #3 
_rlnAmplitudeContrast #4 
_rlnImagePixelSize #5 
           2   300.000000     2.700000     0.100000     1.250000 
           1   200.000000     1.400000     0.070000     2.500000 
 
"""
PARTICLES = """
# version 30001

data_particles

loop_ 
_rlnImageName #1 
_rlnOpticsGroup #2 
_rlnDefocusU #3 
_rlnDefocusV #4 
_rlnDefocusAngle #5 
_rlnPhaseShift #6 
_rlnUnknown #7 
000002@stacks/a.mrcs            2 12000.000000 11000.000000    30.000000    90.000000 x 
000001@stacks/b.mrcs            1 20000.000000 20000.000000     0.000000     0.000000 1.50e-3 
000001@stacks/a.mrcs            2 10000.000000 14000.000000    80.000000     0.000000 y 
"""


def project(folder: Path, text: str = OPTICS + PARTICLES) -> Path:
    """Write two stacks, and a table of three of their images in a job's directory."""
    (folder / "stacks").mkdir(parents=True)
    for i, name in enumerate("ab"):
        write_mrc_stack(folder / "stacks" / f"{name}.mrcs", np.stack([np.full((4, 5), 10.0 * i + k) for k in range(2)]))
    path = folder / "Extract" / "job001" / "particles.star"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    return path


def test_a_table_with_optics_groups(tmp_path: Path) -> None:
    """Known truth: every number of the table arrives where RELION 3.1 puts it."""
    particles = star.read(project(tmp_path))
    assert particles.source.shape == (3, 4, 5)
    np.testing.assert_array_equal(particles.read(np.arange(3))[:, 0, 0], [1, 10, 0])
    np.testing.assert_array_equal(particles.read(np.array([2, 0, 2, 1]))[:, 0, 0], [0, 1, 0, 10])
    np.testing.assert_array_equal(particles.pixel_size_A, [1.25, 2.5, 1.25])
    assert particles.ctf is not None
    np.testing.assert_allclose(particles.ctf.defocus_um, [1.15, 2.0, 1.2])
    np.testing.assert_array_equal(particles.ctf.voltage_kV, [300, 200, 300])
    np.testing.assert_array_equal(particles.ctf.phase_shift_deg, [90, 0, 0])
    assert particles.ctf_missing == ()
    assert particles.name_of(1) == "000001@stacks/b.mrcs"
    assert particles.metadata is not None
    assert particles.metadata.particles.texts("rlnUnknown") == ["x", "1.50e-3", "y"]


def test_a_table_of_relion_3_0(tmp_path: Path) -> None:
    """Definition: pixel size = 1e4 detector pixel / magnification; single images need no number."""
    write_mrc_stack(tmp_path / "one.mrc", np.ones((1, 4, 4), np.float32))
    path = tmp_path / "old.star"
    path.write_text(
        "data_\nloop_\n_rlnImageName\n_rlnMagnification\n_rlnDetectorPixelSize\n_rlnVoltage\none.mrc 50000 7 300\n"
    )
    particles = star.read(path)
    np.testing.assert_allclose(particles.pixel_size_A, [1.4])
    assert particles.ctf is None
    assert particles.ctf_missing == (
        "rlnDefocusU",
        "rlnDefocusV",
        "rlnDefocusAngle",
        "rlnSphericalAberration",
        "rlnAmplitudeContrast",
    )
    assert particles.read(np.array([0])).sum() == 16


def test_images_are_found_as_relion_finds_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Definition: in the table's own directory and those above; a comment comes before all."""
    path = project(tmp_path / "project")
    other = tmp_path / "other" / "stacks"
    other.mkdir(parents=True)
    for name in "ab":
        write_mrc_stack(other / f"{name}.mrcs", np.full((2, 4, 5), 77.0))
    assert star.read(path).read(np.array([0])).max() == 1
    monkeypatch.chdir(tmp_path / "other")
    again = tmp_path / "elsewhere.star"
    star.write_star(again, star.read_star(path), image_root=tmp_path / "project")
    assert star.read(again).read(np.array([0])).max() == 1
    star.write_star(again, star.read_star(path), image_root=Path("project"))
    assert star.read(again).read(np.array([0])).max() == 1


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("000001@stacks/b.mrcs", "000001@stacks/c.mrcs", "row 2: there is no file stacks/c.mrcs; looked for"),
        ("000001@stacks/b.mrcs", "000003@stacks/b.mrcs", "row 2 names image 3 of .*b.mrcs, which holds 2"),
        ("000001@stacks/b.mrcs", "stacks/b.mrcs", "row 2 names .*b.mrcs without the number of an image, which holds 2"),
        ("000001@stacks/b.mrcs", "000000@stacks/b.mrcs", "row 2: image name '000000@stacks/b.mrcs'"),
        ("000001@stacks/b.mrcs", "0x1@stacks/b.mrcs", "row 2: image name"),
        ("000001@stacks/b.mrcs", "000001@", "row 2: image name"),
        ("000001@stacks/b.mrcs", "@stacks/b.mrcs", "row 2: image name"),
        ("20000.000000 20000", "2000O 20000", "row 2 of the particles table: rlnDefocusU is '2000O', not a number"),
        ("20000.000000 20000", "nan 20000", "row 2 of the particles table: rlnDefocusU is 'nan'"),
        ("2.500000", "0.000000", "particle 2 has rlnImagePixelSize 0, not above 0"),
        ("           1   200", "           3   200", "row 2: optics group 1 is not in the optics table"),
        ("           1   200", "           2   200", "optics group twice"),
        (" y \n", "\n", ":30: has 6 values in a table of 7 columns"),
        (" y \n", " y z\n", ":30: has 8 values in a table of 7 columns"),
        (" y \n", " 'y\n", ":30: has a quoted value without its closing quote"),
        ("rlnUnknown", "rlnOpticsGroup", "names _rlnOpticsGroup twice"),
        ("data_particles", "data_optics", "second block data_optics"),
        ("_rlnUnknown #7", "_rlnUnknown 7", "value beside the label"),
        (" y \n", " y \n_rlnMore 5\n", "after the rows of a table"),
        (" y \n", " y \nloop_\n_rlnMore\n5\n", "second table in block data_particles"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, old: str, new: str, says: str) -> None:
    text = OPTICS + PARTICLES
    assert old in text
    path = project(tmp_path, new.join(text.rsplit(old, 1)))
    with pytest.raises(FormatError, match=says):
        star.read(path).read(np.arange(3))


def test_stacks_of_another_size_are_refused(tmp_path: Path) -> None:
    path = project(tmp_path)
    write_mrc_stack(tmp_path / "stacks" / "b.mrcs", np.zeros((2, 6, 6), np.float32))
    with pytest.raises(FormatError, match=r"b.mrcs: has images of 6 x 6 px, others .* have 4 x 5"):
        star.read(path).read(np.arange(3))


def test_few_stacks_stay_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Invariance: closing and opening stacks changes nothing."""
    monkeypatch.setattr("cryoisac.io.stacks.OPEN_STACKS", 1)
    particles = star.read(project(tmp_path))
    for _ in range(3):
        np.testing.assert_array_equal(particles.read(np.arange(3))[:, 0, 0], [1, 10, 0])


def test_the_text_of_every_cell_survives(tmp_path: Path) -> None:
    """Invariance: reading what was written gives the same bytes again, with quotes, comments and further blocks."""
    path = tmp_path / "a.star"
    path.write_text(
        "# made by hand\n\ndata_general # a comment\n\n_rlnOne 'two words' \n_rlnTwo \"\"\n\n"
        'data_particles\nloop_\n_rlnImageName #1\n_rlnNote\n\n1@a.mrcs 0.10 # note\n# all\n2@b.mrcs "it\'s so"\n'
        "\ndata_last\nloop_\n_x\n1e-3\n1E3"
    )
    metadata = star.read_star(path)
    assert metadata.particles.texts("rlnNote") == ["0.10", "it's so"]
    assert metadata.others["general"].texts("rlnOne") == ["two words"]
    assert metadata.others["general"].texts("rlnTwo") == [""]
    assert metadata.others["last"].texts("x") == ["1e-3", "1E3"]
    first, second = tmp_path / "b.star", tmp_path / "c.star"
    star.write_star(first, metadata)
    star.write_star(second, star.read_star(first))
    assert first.read_bytes() == second.read_bytes()
    block = cif.read_file(str(first)).find_block("particles")
    assert [cif.as_string(cell) for cell in block.find_loop("_rlnNote")] == ["0.10", "it's so"]


CELL = st.text(string.printable.translate({ord(c): None for c in "\n\r\x0b\x0c"}), max_size=8)


@settings(max_examples=150, deadline=None)
@given(rows=st.lists(st.tuples(CELL, CELL), min_size=1, max_size=4), loop=st.booleans())
def test_any_text_survives_or_is_refused(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]], loop: bool
) -> None:
    """Known truth: no text is changed without a word."""
    rows = rows if loop else rows[:1]
    path = tmp_path_factory.mktemp("s") / "a.star"
    columns = {name: np.array([row[i].encode() for row in rows]) for i, name in enumerate("ab")}
    try:
        write_tables(path, {"t": Table(columns, is_loop=loop)})
    except DataError as error:
        assert "cannot be written" in str(error)  # noqa: PT017
        return
    table = read_tables(path)["t"]
    assert [table.texts("a"), table.texts("b")] == [[row[i] for row in rows] for i in range(2)]


def test_chunks_do_not_show(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Invariance: the text is cut into pieces of any size."""
    path = shared / "data" / "formats" / "iospi-star" / "test.star"
    whole = read_tables(path)
    monkeypatch.setattr(star_text, "CHUNK_BYTES", 301)
    pieces = read_tables(path)
    assert list(whole) == list(pieces)
    for name, table in whole.items():
        for label, column in table.columns.items():
            np.testing.assert_array_equal(column, pieces[name].columns[label])


@pytest.mark.parametrize(
    "name",
    [
        "apoferritin/particles.star",
        "formats/iospi-star/test.star",
        "formats/cryodrgn-io/relion5.star",
        "formats/cryodrgn-io/sta_testing.star",
        "formats/simplecryoem-relion-proj/relion_proj_batch.star",
        "formats/starfile-io/loop_single_quote.star",
        "formats/starfile-io/default_pipeline.star",
        "formats/starfile-io/relion_tutorial/run_it025_optimiser_2D.star",
    ],
)
def test_starfile_reads_the_same(shared: Path, tmp_path: Path, name: str) -> None:
    """Independent program: starfile on the original, and on what we write of it."""
    tables = read_tables(shared / "data" / name)
    write_tables(tmp_path / "again.star", tables, version=30001)
    original = starfile.read(shared / "data" / name, always_dict=True)
    again = starfile.read(tmp_path / "again.star", always_dict=True)
    assert list(original) == list(again) == list(tables)
    for block, frame in original.items():
        assert list(frame) == list(tables[block].columns)
        for label in frame:
            values, text = np.atleast_1d(frame[label]), tables[block].columns[label]
            np.testing.assert_array_equal(values, np.atleast_1d(again[block][label]))
            if values.dtype.kind in "if":
                numbers = np.where(text == b"", b"nan", text)  # starfile's number for empty text
                np.testing.assert_array_equal(numbers.astype(values.dtype), values)
            elif tables[block].is_loop:
                assert [t.decode() for t in text.tolist()] == list(map(str, values))


def test_an_old_table_with_many_rows_costs_no_python(tmp_path: Path) -> None:
    """Known truth: 20 stacks of 500 images, in no order."""
    n = 10_000
    rng = np.random.default_rng(3)
    stack, position = rng.integers(0, 20, n), rng.integers(0, 500, n)
    for k in range(20):
        images = np.broadcast_to((500.0 * k + np.arange(500.0))[:, None, None], (500, 2, 2))
        write_mrc_stack(tmp_path / f"{k}.mrcs", images.astype(np.float32))
    names = np.array([f"{p + 1}@{k}.mrcs" for k, p in zip(stack, position, strict=True)]).astype(np.bytes_)
    write_tables(tmp_path / "a.star", {"": Table({"rlnImageName": names})})
    chosen = rng.permutation(n)[:3000]
    read = star.read(tmp_path / "a.star").read(chosen)
    np.testing.assert_array_equal(read[:, 1, 1], (500 * stack + position)[chosen])


def test_real_particles(shared: Path) -> None:
    """Independent program: starfile's numbers for the real particles."""
    particles = star.read(shared / "data" / "apoferritin" / "particles.star")
    frame = starfile.read(shared / "data" / "apoferritin" / "particles.star")["particles"]
    assert particles.ctf is not None
    u, v, _ = particles.ctf.to_relion()
    np.testing.assert_allclose(u, frame["rlnDefocusU"], rtol=1e-12)
    np.testing.assert_allclose(v, frame["rlnDefocusV"], rtol=1e-12)
    assert len(particles) == 1383
    assert os.fspath(particles.path).endswith("particles.star")
