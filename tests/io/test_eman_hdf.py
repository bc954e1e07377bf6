"""EMAN2 stacks: files of EMAN2 itself, and what EMAN2 needs of ours."""

import json
import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from cryoisac.errors import DataError, FormatError
from cryoisac.io import eman_hdf
from cryoisac.io.eman_hdf import write_hdf_blocks, write_hdf_stack
from cryoisac.io.eman_header import EmanCtf, EmanTransform, decode, encode, pose_rows
from cryoisac.io.eman_stack import HdfStack
from cryoisac.model.poses import Poses

RNG = np.random.default_rng(8)
IMAGES = RNG.normal(size=(3, 5, 6)).astype(np.float32)
CTF = EmanCtf(1.5, 0.1, 30.0, 10.0, 10.0, 300.0, 2.7, 1.25)
ADDED_BY_EMAN = {"HostEndian", "ImageEndian", "source_n", "source_path", "is_complex_x", "all_int"}
# from the decoded pixels, whatever the file says
RECOMPUTED_BY_EMAN = {"minimum", "maximum", "mean", "sigma", "mean_nonzero", "sigma_nonzero", "square_sum", "datatype"}


@pytest.fixture(scope="module")
def expected(shared: Path) -> dict[str, Any]:
    """Values that EMAN2 itself read back."""
    loaded: dict[str, Any] = json.loads((shared / "data" / "eman2" / "expected.json").read_text())
    return loaded


@pytest.mark.parametrize(
    "name",
    [
        "particles64.hdf",
        "particles64_8bit.hdf",
        "particles64_12bit.hdf",
        "particles64_5bit.hdf",
        "isac_tiny/class_averages.hdf",
        "isac_tiny/ordered_class_averages.hdf",
    ],
)
def test_pixels_and_headers_as_eman2_reads_them(shared: Path, expected: dict[str, Any], name: str) -> None:
    """Independent program: EMAN2's own reading of its files."""
    stack = HdfStack(shared / "data" / "eman2" / name)
    assert len(stack) == expected[name]["n"]
    pixels = stack.read(np.arange(len(stack))).astype(np.float64)
    for entry in expected[name]["images"]:
        i, seen = entry["index"], entry["pixels"]
        assert list(pixels[i].shape) == seen["shape"]
        # decoded in float32 by EMAN2: an error of 1e-7 of the range a pixel
        np.testing.assert_allclose(pixels[i].reshape(-1)[:5], seen["first5"], atol=1e-6)
        np.testing.assert_allclose(np.square(pixels[i]).sum(), seen["sumsq"], rtol=1e-6)
        header = stack.header(i)
        for key, value in entry["attributes"].items():
            if key not in ADDED_BY_EMAN | RECOMPUTED_BY_EMAN:
                same_attribute(header.get(key), value, key)


def same_attribute(ours: Any, theirs: Any, key: str) -> None:
    if isinstance(theirs, dict) and theirs["type"] == "Transform":
        np.testing.assert_allclose(ours.matrix.reshape(-1), theirs["matrix_3x4"], rtol=1e-7)
    elif isinstance(theirs, dict):
        assert ours.text().split()[:8] == theirs["string"].split()[:8]
    elif isinstance(theirs, str):
        assert ours == theirs
    elif ours is not None:
        np.testing.assert_allclose(np.asarray(ours, dtype=np.float64), theirs, rtol=1e-7)
    elif ours is None:
        assert key in ("is_complex_ri", "nx", "ny", "nz"), key


def test_statistics_of_compressed_pixels(shared: Path) -> None:
    """Independent program: EMAN2's decoded pixels, every one."""
    folder = shared / "data" / "eman2"
    wanted = np.load(folder / "particles64_8bit_pixels.npz")
    read = HdfStack(folder / "particles64_8bit.hdf").read(np.arange(6))
    np.testing.assert_allclose(read, next(iter(wanted.values())), atol=1e-6)  # float32 of values up to 4


def test_particles_of_eman2(shared: Path, expected: dict[str, Any]) -> None:
    """Known truth: the poses and CTFs that were set before EMAN2 wrote them."""
    particles = eman_hdf.read(shared / "data" / "eman2" / "particles64.hdf")
    wanted = [entry["set"] for entry in expected["particles64.hdf"]["images"]]
    poses = Poses.from_rows(particles.attributes["xform.align2d"])
    truth = Poses.from_rows([w["align2d"] for w in wanted])
    angle = np.abs((poses.angle_deg - truth.angle_deg + 180) % 360 - 180)
    assert angle.max() < 1e-4  # a float32 matrix
    np.testing.assert_allclose(poses.shift_px, truth.shift_px, atol=1e-6)
    np.testing.assert_array_equal(poses.mirror, truth.mirror)
    assert particles.ctf is not None
    ctf = np.array([w["ctf"] for w in wanted])
    np.testing.assert_allclose(particles.ctf.defocus_um, ctf[:, 0], rtol=1e-6)
    np.testing.assert_allclose(particles.ctf.astigmatism_angle_deg, ctf[:, 2], rtol=1e-6)
    np.testing.assert_allclose(particles.ctf.amplitude_contrast, ctf[:, 4] / 100, rtol=1e-6)
    np.testing.assert_array_equal(particles.pixel_size_A, 5)
    members = [None if w["members"] is None else np.array(w["members"]) for w in wanted]
    for ours, theirs in zip(particles.attributes["members"], members, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_round_trip_with_every_kind_of_attribute(tmp_path: Path) -> None:
    path = tmp_path / "a.hdf"
    row = [200.5, 1.25, -3.5, 1]
    attributes = [
        {
            "members": list(range(i + 1)),
            "n_objects": i + 1,
            "ctf": CTF,
            "xform.align2d": EmanTransform.from_row(row),
            "weight": 0.1,
            "note": "größer",
            "curve": np.array([0.5, 2.0]),
            "flag": True,
        }
        for i in range(3)
    ]
    write_hdf_stack(path, IMAGES, 1.25, attributes)
    particles = eman_hdf.read(path)
    np.testing.assert_array_equal(particles.read(np.array([2, 0, 1])), IMAGES[[2, 0, 1]])
    assert [m.tolist() for m in particles.attributes["members"]] == [[0], [0, 1], [0, 1, 2]]
    np.testing.assert_array_equal(particles.attributes["n_objects"], [1, 2, 3])
    np.testing.assert_array_equal(particles.attributes["weight"], 0.1)
    np.testing.assert_allclose(particles.attributes["xform.align2d"], [row] * 3, atol=1e-4)  # a float32 matrix
    assert particles.attributes["note"] == ["größer"] * 3
    assert particles.attributes["flag"].tolist() == [1, 1, 1]
    np.testing.assert_array_equal(particles.attributes["curve"][1], [0.5, 2])
    np.testing.assert_array_equal(particles.pixel_size_A, 1.25)
    assert particles.ctf is not None
    np.testing.assert_array_equal(particles.ctf.amplitude_contrast, 0.1)


def test_attributes_are_stored_as_eman2_needs_them(tmp_path: Path) -> None:
    """Definition: EMAN2 reads int32, float32 and float64, fixed strings with a NUL, twelve packed float32."""
    path = tmp_path / "a.hdf"
    header = {"members": [4, 5], "n_objects": 2, "note": "abc", "ctf": CTF, "x": 0.5, "xform.align2d": EmanTransform(
        np.arange(12.0).reshape(3, 4))}  # fmt: skip
    write_hdf_stack(path, IMAGES[:1], None, [header])
    with h5py.File(path) as file:
        images = file["MDF/images"]
        assert images.attrs.get_id("imageid_max").dtype == np.int32
        assert images.attrs["imageid_max"].tolist() == [0]
        group = images["0"]
        kinds = {k: (group.attrs.get_id(f"EMAN.{k}").dtype.str, group.attrs.get_id(f"EMAN.{k}").shape) for k in header}
        matrix = group.attrs.get_id("EMAN.xform.align2d")
        assert matrix.dtype.itemsize == 48
        assert list(matrix.dtype.names) == "00 01 02 03 10 11 12 13 20 21 22 23".split()  # noqa: SIM905
        assert [float(x) for x in group.attrs["EMAN.xform.align2d"][0]] == list(range(12))
        assert group.attrs.get_id("EMAN.note").get_type().is_variable_str() is False
        assert all(
            group.attrs.get_id(k).dtype.kind in "SV" or group.attrs.get_id(k).dtype in ("<i4", "<f4", "<f8")
            for k in group.attrs
        )
        assert group["image"].dtype == np.float32
        assert group["image"].shape == (5, 6)
    del kinds["xform.align2d"]
    assert kinds == {
        "members": ("<i4", (2,)),
        "n_objects": ("<i4", (1,)),
        "note": ("|S4", ()),
        "ctf": (f"|S{len(CTF.text()) + 1}", ()),
        "x": ("<f8", (1,)),
    }


def test_many_members_and_equal_bytes(tmp_path: Path) -> None:
    """Invariance: time does not show; known truth: lists beyond 64 KiB, in a format that HDF5 1.10 reads."""
    headers = [{"members": np.arange(200_000)}, {"members": np.arange(5)}, {}]
    for name in ("a", "b"):
        write_hdf_stack(tmp_path / f"{name}.hdf", IMAGES, 1.0, headers)
        write_hdf_stack(tmp_path / f"{name}0.hdf", IMAGES, 1.0)
        time.sleep(1.1 if name == "a" else 0)  # HDF5 counts seconds
    assert (tmp_path / "a.hdf").read_bytes() == (tmp_path / "b.hdf").read_bytes()
    assert (tmp_path / "a0.hdf").read_bytes() == (tmp_path / "b0.hdf").read_bytes()
    members = eman_hdf.read(tmp_path / "a.hdf").attributes["members"]
    np.testing.assert_array_equal(members[0], np.arange(200_000))
    assert members[2] is None
    superblock = (tmp_path / "a.hdf").read_bytes()[8]
    assert superblock == 2  # HDF5 1.8's
    assert (tmp_path / "a0.hdf").read_bytes()[8] == 0


def test_the_ctf_string() -> None:
    """Definition: the minimal example of the format, and EMAN1's letter O."""
    ctf = EmanCtf.parse("E1 0 0 0 0.1 300 2 1.5 0 0 0")
    assert ctf == EmanCtf(1, 0, 0, 0, 0.1, 300, 2, 1.5)
    assert ctf.text() == "E1 0 0 0 0.1 300 2 1.5 0 0 0"
    assert EmanCtf.parse("E1 0 0 0 0.1 300 2 1.5 0 2,1,2.5 1,3") == ctf
    assert EmanCtf.parse("O-2 50 1 0.1 0 0 0 0 200 2 1.5") == EmanCtf(2, 0, 0, 200, 10, 200, 2, 1.5)
    with pytest.raises(ValueError, match="no CTF"):
        EmanCtf.parse("E1 0")


def test_a_mirror_negates_the_first_row() -> None:
    """Definition: the matrix of a pose, and the way back."""
    matrix = EmanTransform.from_row([30, 2, 3, 1]).matrix
    c, s = np.cos(np.pi / 6), np.sin(np.pi / 6)
    np.testing.assert_allclose(matrix, [[-c, -s, 0, -2], [-s, c, 0, 3], [0, 0, 1, 0]])
    rows = np.column_stack((RNG.uniform(0, 360, 50), RNG.normal(size=(50, 2)), RNG.integers(0, 2, 50)))
    np.testing.assert_allclose(pose_rows([EmanTransform.from_row(r) for r in rows]), rows, atol=1e-10)
    with pytest.raises(ValueError, match="no rotation"):
        pose_rows([EmanTransform(2 * matrix)])


def test_attributes_of_other_writers() -> None:
    """Definition: scalars for lists of one, characters for truth values, text without its NUL."""
    assert decode("flag", np.array([ord("T")], dtype=np.int8)) is True
    assert decode("flag", np.array([ord("F")], dtype=np.int8)) is False
    assert decode("n", np.array(3, dtype=np.uint64)) == 3
    assert decode("members", np.array(7, dtype=np.float32)).tolist() == [7]
    assert decode("note", np.array(b"abc\0rubbish")) == "abc"
    assert decode("note", np.array("varying", dtype=object)) == "varying"


@pytest.mark.parametrize("value", [2**31, [], {"a": 1}, "E1 is no CTF", "a\0b", np.zeros((2, 2))])
def test_what_eman2_cannot_read_is_not_written(tmp_path: Path, value: Any) -> None:
    with pytest.raises(ValueError, match=r".+"):
        encode("key", value)
    with pytest.raises(DataError, match="image 0"):
        write_hdf_stack(tmp_path / "a.hdf", IMAGES[:1], 1.0, [{"key": value}])


def edited(tmp_path: Path, edit: Any) -> Path:
    path = tmp_path / "a.hdf"
    write_hdf_stack(path, IMAGES, 1.0)
    with h5py.File(path, "a") as file:
        edit(file["MDF/images"])
    return path


def replace_image(shape: tuple[int, ...]) -> Any:
    def edit(images: Any) -> None:
        del images["1/image"]
        images["1"].create_dataset("image", data=np.zeros(shape, np.float32))

    return edit


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (lambda g: g.__delitem__("1"), "has no image 1 of its 3"),
        (lambda g: g.__delitem__("1/image"), "image 1 has a header but no pixels"),
        (lambda g: g.attrs.__delitem__("imageid_max"), "no EMAN2 stack"),
        (lambda g: g.attrs.modify("imageid_max", np.array([-1], np.int32)), "holds no images"),
        (lambda g: g["2"].attrs.modify("EMAN.is_complex", np.array([1], np.int32)), "image 2 is a Fourier transform"),
        (replace_image((4, 5, 6)), "image 1 is a volume"),
        (replace_image((6,)), "image 1 is 1-dimensional"),
        (replace_image((6, 6)), r"image 1 is of \(6, 6\) px, image 0 of \(5, 6\)"),
        (lambda g: g["1"].attrs.modify("EMAN.apix_x", np.array([np.nan])), "image 1 has apix_x nan"),
        (lambda g: g["0"].attrs.create("EMAN.ctf", np.bytes_(b"E1 0\0")), "image 0, attribute ctf"),
    ],
)
def test_what_is_no_stack_is_refused(tmp_path: Path, edit: Any, says: str) -> None:
    with pytest.raises(FormatError, match=says):
        eman_hdf.read(edited(tmp_path, edit))


def test_one_section_of_a_volume_is_an_image(tmp_path: Path) -> None:
    """Definition: [1, ny, nx] also reads as 2-D; types other than float32 are read one by one."""
    path = edited(tmp_path, replace_image((1, 5, 6)))
    assert eman_hdf.read(path).source.shape == (3, 5, 6)

    def shorten(images: Any) -> None:
        del images["0/image"]
        images["0"].create_dataset("image", data=np.arange(30, dtype=np.int16).reshape(5, 6), compression="gzip")

    path = edited(tmp_path, shorten)
    np.testing.assert_array_equal(eman_hdf.read(path).read(np.array([0, 2]))[0].reshape(-1), np.arange(30))
    np.testing.assert_array_equal(eman_hdf.read(path).read(np.array([0, 2]))[1], IMAGES[2])


def test_a_cut_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.hdf"
    write_hdf_stack(path, IMAGES, 1.0)
    path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(FormatError, match="cannot be opened"):
        eman_hdf.read(path)


def test_an_image_beyond_the_stack(tmp_path: Path) -> None:
    write_hdf_stack(tmp_path / "a.hdf", IMAGES, 1.0)
    with pytest.raises(DataError, match="holds 3"):
        HdfStack(tmp_path / "a.hdf").read(np.array([3]))


def test_attributes_are_read_when_they_are_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Definition: opening reads what is needed of each image; the rest is read on demand, once, and is the same."""
    own = [{"weight": 0.5 * i, "note": "abc"[: i + 1]} | ({"seldom": i} if i == 1 else {}) for i in range(3)]
    write_hdf_stack(tmp_path / "a.hdf", IMAGES, 1.25, own)
    opened, open_attribute = [], h5py.h5a.open
    monkeypatch.setattr(h5py.h5a, "open", lambda group, name: opened.append(name) or open_attribute(group, name))
    attributes = eman_hdf.read(tmp_path / "a.hdf").attributes
    assert set(opened) == {b"imageid_max", b"EMAN.apix_x", b"EMAN.is_complex"}
    assert sorted(attributes) == ["note", "seldom", "weight"]
    for _ in range(2):
        assert attributes["weight"].tolist() == [0.0, 0.5, 1.0]
    assert opened.count(b"EMAN.weight") == 3
    assert attributes["note"] == ["a", "ab", "abc"]
    assert attributes["seldom"] == [None, 1, None]
    assert not {"nx", "apix_x", "ctf", "absent"} & set(attributes)
    assert "absent" not in attributes
    assert attributes.get("apix_x") is None


def test_blocks_make_the_same_file(tmp_path: Path) -> None:
    """Invariance: images all at once or some at a time."""
    headers = [{"ISAC_class_id": i} for i in range(3)]
    write_hdf_stack(tmp_path / "a.hdf", IMAGES, 1.25, headers)
    write_hdf_blocks(tmp_path / "b.hdf", (IMAGES[i : i + 2] for i in (0, 2)), headers, 1.25)
    assert (tmp_path / "a.hdf").read_bytes() == (tmp_path / "b.hdf").read_bytes()


def test_projections_are_matrices_of_eman2() -> None:
    """Definition: Rz(psi) Ry(theta) Rz(phi) of SPIDER, the shift with minus signs."""
    phi, theta, psi = np.deg2rad([20, 50, 310])

    def about_z(a: float) -> Any:
        return np.array([[np.cos(a), np.sin(a), 0], [-np.sin(a), np.cos(a), 0], [0, 0, 1]])

    tilt = np.array([[np.cos(theta), 0, -np.sin(theta)], [0, 1, 0], [np.sin(theta), 0, np.cos(theta)]])
    matrix = EmanTransform.from_projection((20, 50, 310, 2, -1)).matrix
    np.testing.assert_allclose(matrix[:, :3], about_z(psi) @ tilt @ about_z(phi), atol=1e-12)
    assert matrix[:, 3].tolist() == [-2, 1, 0]
