"""MRC stacks against the format's definition, against mrcfile, and damaged on purpose."""

import bz2
import gzip
import io
import threading
import warnings
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from cryoisac.errors import DataError, FormatError
from cryoisac.io import mrc
from cryoisac.io.mrc import MrcStack
from cryoisac.io.mrc_write import MrcStackWriter, write_mrc_stack

RNG = np.random.default_rng(5)
IMAGES = np.rint(RNG.normal(20, 12, (6, 7, 9))).clip(0, 100).astype(np.float32)
ALL = np.arange(6)
MODES = [0, 1, 2, 6, 12]


def written(tmp_path: Path, mode: int = 2, name: str = "a.mrcs") -> Path:
    path = tmp_path / name
    write_mrc_stack(path, IMAGES, 1.5, mode=mode)
    return path


def patched(path: Path, offset: int, data: bytes) -> Path:
    content = bytearray(path.read_bytes())
    content[offset : offset + len(data)] = data
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("mode", MODES)
def test_round_trip_in_every_mode(tmp_path: Path, mode: int) -> None:
    """Known truth: small integers are exact in every mode."""
    particles = mrc.read(written(tmp_path, mode))
    assert particles.box_px == (7, 9)
    np.testing.assert_array_equal(particles.read(ALL), IMAGES)
    assert particles.read(ALL).dtype == np.float32
    np.testing.assert_array_equal(particles.read(np.array([4, 1, 1])), IMAGES[[4, 1, 1]])
    np.testing.assert_allclose(particles.pixel_size_A, 1.5, rtol=1e-7)  # float32 cell


@pytest.mark.parametrize("mode", MODES)
def test_mrcfile_reads_and_validates_what_is_written(tmp_path: Path, mode: int) -> None:
    """Independent program."""
    path = written(tmp_path, mode)
    report = io.StringIO()
    assert mrcfile.validate(path, print_file=report), report.getvalue()
    with mrcfile.open(path) as other:
        np.testing.assert_array_equal(other.data, IMAGES)
        assert other.is_image_stack()
        assert other.voxel_size.x == pytest.approx(1.5)
        assert other.header.rms == pytest.approx(IMAGES.std(dtype=np.float64), rel=1e-6)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("order", ["<", ">"])
def test_files_of_mrcfile_in_both_byte_orders(tmp_path: Path, mode: int, order: str) -> None:
    """Independent program, with an extended header."""
    path = tmp_path / "b.mrcs"
    kind = {0: "i1", 1: "i2", 2: "f4", 6: "u2", 12: "f2"}[mode]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with mrcfile.new(path) as other:
            other.set_data(IMAGES.astype(order + kind))
            other.set_image_stack()
            other.set_extended_header(np.frombuffer(b"x" * 160, "V1"))
            other.voxel_size = 2.25
    np.testing.assert_array_equal(mrc.read(path).read(ALL), IMAGES)
    np.testing.assert_allclose(MrcStack(path).pixel_size_A, 2.25, rtol=1e-6)  # float32 cell


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress])
def test_compressed_files(tmp_path: Path, pack: object) -> None:
    """Invariance: compression changes nothing, and a cut compressed file is refused."""
    packed = pack(written(tmp_path).read_bytes())  # type: ignore[operator]
    path = tmp_path / "a.mrcs.packed"
    path.write_bytes(packed)
    np.testing.assert_array_equal(mrc.read(path).read(ALL), IMAGES)
    path.write_bytes(packed[: len(packed) // 2])
    with pytest.raises(FormatError, match="cannot be read"):
        mrc.read(path)


def test_imod_bytes_are_unsigned(tmp_path: Path) -> None:
    """Definition: IMOD's stamp without its flag for signed bytes."""
    path = tmp_path / "c.mrcs"
    write_mrc_stack(path, np.full((1, 4, 4), -56.0, np.float32), mode=0)
    assert MrcStack(path).read(np.array([0])).max() == -56
    patched(path, 152, (1146047817).to_bytes(4, "little"))
    assert MrcStack(path).read(np.array([0])).max() == 200


def test_a_cut_file_is_refused_with_its_numbers(tmp_path: Path) -> None:
    path = written(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    with pytest.raises(FormatError, match=f"need {len(whole)} bytes, {len(whole) - 1} found"):
        mrc.read(path)
    path.write_bytes(whole[:500])
    with pytest.raises(FormatError, match="500 bytes"):
        mrc.read(path)
    path.write_bytes(b"")
    with pytest.raises(FormatError, match="empty"):
        mrc.read(path)


@pytest.mark.parametrize(
    ("offset", "word", "says"),
    [
        (12, 3, "complex"),
        (12, 4, "complex"),
        (12, 101, "4-bit"),
        (12, 7, "no MRC"),
        (0, -1, "no MRC"),
        (8, 0, "no MRC"),
        (0, 1 << 15, "cut short"),
        (8, (1 << 31) - 1, "cut short"),
        (92, 1 << 30, "cut short"),
        (92, -1, "no MRC"),
    ],
)
def test_damaged_headers_are_refused(tmp_path: Path, offset: int, word: int, says: str) -> None:
    path = patched(written(tmp_path), offset, word.to_bytes(4, "little", signed=True))
    with pytest.raises(FormatError, match=says):
        mrc.read(path)


def test_nonsense_pixel_sizes(tmp_path: Path) -> None:
    path = patched(written(tmp_path), 40, np.float32(np.nan).tobytes())
    with pytest.raises(FormatError, match="cell"):
        mrc.read(path)
    patched(path, 40, np.zeros(2, "f4").tobytes())
    assert mrc.read(path).pixel_size_A is None


def test_permuted_axes_and_volumes_are_refused(tmp_path: Path) -> None:
    path = patched(written(tmp_path), 64, np.array([3, 1, 2], "<i4").tobytes())
    with pytest.raises(FormatError, match="permuted"):
        mrc.read(path)
    volume = patched(written(tmp_path, name="v.mrc"), 88, b"\1")
    with pytest.raises(FormatError, match="volume"):
        mrc.read(volume)
    assert len(mrc.read(written(tmp_path, name="s.mrc"))) == 6


def test_images_beyond_the_stack(tmp_path: Path) -> None:
    stack = MrcStack(written(tmp_path))
    for outside in (6, -1):
        with pytest.raises(DataError, match="holds 6"):
            stack.read(np.array([0, outside]))


def test_equal_images_give_equal_bytes_from_any_thread(tmp_path: Path) -> None:
    """Invariance: order and number of threads do not show in the file."""
    other = tmp_path / "threads.mrcs"
    with MrcStackWriter(other, IMAGES.shape, 1.5) as stack:  # type: ignore[arg-type]
        threads = [threading.Thread(target=stack.write, args=(i, IMAGES[i : i + 1])) for i in reversed(range(6))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert other.read_bytes() == written(tmp_path).read_bytes()


def test_an_unfinished_stack_is_no_stack(tmp_path: Path) -> None:
    path = tmp_path / "half.mrcs"
    with pytest.raises(DataError, match="image 3 was never written"), MrcStackWriter(path, (6, 7, 9)) as stack:
        stack.write(0, IMAGES[:2])
    with pytest.raises(FormatError):
        mrc.read(path)


@pytest.mark.parametrize(("mode", "value"), [(2, np.nan), (2, np.inf), (12, 7e4), (0, 128), (6, -1), (1, np.nan)])
def test_pixels_that_a_mode_cannot_hold(tmp_path: Path, mode: int, value: float) -> None:
    images = IMAGES.copy()
    images[4, 2, 3] = value
    with pytest.raises(DataError, match="image 5"):
        write_mrc_stack(tmp_path / "d.mrcs", images, mode=mode)


def test_real_particles(shared: Path) -> None:
    """Independent program: mrcfile reads the same float16 pixels."""
    path = shared / "data" / "apoferritin" / "particles.mrcs"
    particles = mrc.read(path)
    chosen = np.array([1382, 0, 700])
    with mrcfile.mmap(path) as other:
        np.testing.assert_array_equal(particles.read(chosen), other.data[chosen].astype(np.float32))
