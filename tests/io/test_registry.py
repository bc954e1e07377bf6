"""What holds of every format, and of every file that is none of them."""

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cryoisac.errors import CryoisacError, FormatError
from cryoisac.io.eman_hdf import write_hdf_stack
from cryoisac.io.mrc_write import write_mrc_stack
from cryoisac.io.registry import FORMATS, read_image_stack, read_particles
from cryoisac.io.star import write_star
from cryoisac.model.table import Metadata, Table
from tests.io.berkeley import Writer, header, records

IMAGES = np.random.default_rng(2).normal(size=(4, 6, 6)).astype(np.float32)


def make_star(path: Path) -> None:
    stack = path.with_name("stack.mrcs")
    write_mrc_stack(stack, IMAGES, 2.0)
    names = np.array([f"{i + 1:06d}@{stack.name}" for i in range(4)]).astype(np.bytes_)
    table = Table({"rlnImageName": names}).with_column("rlnImagePixelSize", np.full(4, 2.0))
    write_star(path, Metadata(particles=table), image_root=path.parent)


def make_bdb(path: Path) -> None:
    headers = [header(i, image, apix_x=2.0) for i, image in enumerate(IMAGES)]
    Writer().write(path, {"particles": records(headers)})
    IMAGES[::-1].tofile(path.with_name(f"{path.stem}_6x6x1"))


MAKERS: dict[str, Callable[[Path], None]] = {
    ".mrcs": lambda path: write_mrc_stack(path, IMAGES, 2.0),
    ".hdf": lambda path: write_hdf_stack(path, IMAGES, 2.0),
    ".bdb": make_bdb,
    ".star": make_star,
}


@pytest.fixture(params=MAKERS)
def made(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """One file of each format."""
    path = tmp_path / f"particles{request.param}"
    MAKERS[request.param](path)
    return path


def test_every_format_is_tried_here() -> None:
    assert len(MAKERS) == len(FORMATS)
    assert all(any(suffix in known.SUFFIXES for suffix in MAKERS) for known in FORMATS)


def test_what_is_written_is_read(made: Path) -> None:
    """Known truth."""
    particles = read_particles(made)
    np.testing.assert_array_equal(particles.read(np.array([3, 0, 0])), IMAGES[[3, 0, 0]])
    np.testing.assert_array_equal(particles.pixel_size_A, [2.0] * 4)
    assert particles.box_px == (6, 6)
    assert particles.name_of(2).startswith("000003@")
    assert particles.ctf is None
    assert particles.ctf_missing


def test_content_counts_not_the_name(made: Path) -> None:
    """Invariance: a wrong or missing suffix changes nothing."""
    for name in ("particles", "particles.txt", "particles.img", "particles.mrcs"):
        moved = made.with_name(name)
        moved.write_bytes(made.read_bytes())
        np.testing.assert_array_equal(read_particles(moved).read(np.arange(4)), IMAGES)


def test_a_damaged_file_is_read_or_refused(made: Path) -> None:
    """Known truth: no damage to a file raises anything but our own errors."""
    whole = made.read_bytes()
    rng = np.random.default_rng(11)
    for trial in range(120):
        content = bytearray(whole)
        if trial % 2:
            content = content[: rng.integers(0, len(whole))]
        for _ in range(3 if content else 0):
            content[rng.integers(0, min(len(content), 2000))] = rng.integers(0, 256)
        made.write_bytes(bytes(content))
        try:
            particles = read_particles(made)
            particles.read(np.arange(len(particles)))
        except CryoisacError as error:
            assert "\n" not in str(error)  # noqa: PT017


def test_wrong_magic_is_refused_by_suffix(made: Path) -> None:
    made.write_bytes(b"\0" * 64 + made.read_bytes()[64:])
    with pytest.raises(FormatError):
        read_particles(made)


def test_stacks_named_in_tables(tmp_path: Path) -> None:
    for suffix in (".mrcs", ".hdf", ".bdb"):
        path = tmp_path / f"a{suffix}"
        MAKERS[suffix](path)
        np.testing.assert_array_equal(read_image_stack(path).read(np.arange(4)), IMAGES)
    make_star(tmp_path / "a.star")
    with pytest.raises(FormatError, match="unknown format"):
        read_image_stack(tmp_path / "a.star")


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.tif", b"II*\0" + bytes(300), "TIFF"),
        ("a.png", b"\x89PNG\r\n\x1a\n" + bytes(300), "PNG"),
        ("a.png.gz", gzip.compress(b"\x89PNG\r\n\x1a\n" + bytes(300)), "PNG"),
        ("a.cs", b"\x93NUMPY" + bytes(300), "cryoSPARC"),
        ("a.hed", bytes(1024), "IMAGIC"),
        ("a.star", b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        ("a.xmd", b"# XMIPP_STAR_1 *\ndata_a\n", "XMIPP"),
        ("a.txt", b"words", "unknown format"),
        ("a.star", b"words\n", "a.star:1: is no STAR file"),
        ("a.mrcs", b"words\n", "6 bytes"),
        ("a.hdf", b"words\n", "cannot be opened as HDF5"),
        ("a.mrcs", b"", "is empty"),
        ("a.star", b"data_\nloop_\n_rlnImageName\n", "names no particles"),
        ("a.star", b"data_model_general\n_rlnX 1\n", "model file; give"),
    ],
)
def test_what_is_not_read_is_said(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FormatError, match=says):
        read_particles(tmp_path / name)


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="No such file"):
        read_particles(tmp_path / "none.star")
    with pytest.raises(FormatError, match="directory"):
        read_particles(tmp_path)
    with pytest.raises(FormatError, match="bdb:Particles#all: there is no directory Particles"):
        read_particles("bdb:Particles#all")


def test_real_files_of_many_programs_are_read_or_refused(shared: Path) -> None:
    """Independent programs: 128 files of RELION, cryoSPARC, XMIPP, SPIDER, EMAN2, IMOD and others."""
    read, refused = {}, {}
    folder = shared / "data" / "formats"
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        name = path.relative_to(folder).as_posix()
        try:
            particles = read_particles(path)
            read[name] = particles.read(np.arange(len(particles))).shape
        except FormatError as error:
            refused[name] = str(error)
            assert "\n" not in str(error)  # noqa: PT017
    assert read["spider-formats/exa/images/sav_data.mrcs"] == (5, 130, 130)
    assert read["aspire-io/sample_particles_relion30.star"] == (17, 200, 200)
    assert read["cryodrgn-io/empiar_10076_7.star"] == (7, 320, 320)
    for name, says in {
        "eman2-spi/test.spi": "SPIDER",
        "xmipp-formats/image/singleImage_swap.spi": "SPIDER",
        "xmipp-formats/image/smallStack.stk": "SPIDER",
        "xmipp-formats/image/smallStack.hed": "IMAGIC",
        "xmipp-formats/image/singleImage.tif": "TIFF",
        "gpu-isac-dummy/isac_dummy_data_64/EMAN2DB/faces.bdb": "faces_128x128x1; copy it there",
        "gpu-isac-dummy/isac_dummy_data_64/EMAN2DB/00image_counts.bdb": "holds no images",
        "cryodrgn-io/empiar_10076_7.cs": "cryoSPARC",
        "mrcfile-tests/EMD-3001.map": "axes permuted",
        "mrcfile-tests/emd_3197.map.gz": "volume",
        "mrcfile-tests/emd_3197.png.gz": "PNG",
        "starfile-io/empty_loop.star": "no particle images",
        "starfile-io/relion_tutorial/run_it025_optimiser_2D.star": "run_itNNN_data.star",
        "cryosparc-tools-cs/job096_run_data.star": "git lfs pull",
        "cryodrgn-io/relion5.star": "there is no file toy_images_a.mrcs",
    }.items():
        assert says in refused[name]
    unknown = [name for name, error in refused.items() if "unknown format" in error]
    assert {Path(name).suffix for name in unknown} == {".txt", ".xml"}
