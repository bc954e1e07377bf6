"""Every sentence of ``conventions.py``, run."""

import inspect
import pkgutil
import re
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import gemmi
import numpy as np
import pytest

import cryoisac
from cryoisac import conventions
from cryoisac.io.text_tables import read_table
from cryoisac.model.ctf import CtfParameters
from cryoisac.model.ledger import Ledger
from cryoisac.model.particles import Particles
from cryoisac.model.poses import Poses, from_relion, rotate, to_relion
from cryoisac.ops import center, ctf, filters, fourier, masks, resample
from cryoisac.ops.warp import rotate_shift
from cryoisac.products.classification import Classification
from cryoisac.products.substack_files import write_particles
from cryoisac.products.tables import write_classified, write_original_tables

SENTENCES = dict(re.findall(r"^([A-Z]\w*(?: rows)?)  +(\S.*)$", conventions.__doc__ or "", flags=re.M))
TESTED: dict[str, str] = {}


def states(label: str, sentence: str) -> Callable[[Any], Any]:
    """Mark the test of one sentence; the sentence is repeated so that neither changes without the other."""

    def mark(test: Any) -> Any:
        TESTED[label] = sentence
        return test

    return mark


def spot(n: int, x: int, y: int) -> fourier.Images:
    """Return an image that is 1 at the point (x, y) and 0 elsewhere."""
    image = np.zeros((n, n), dtype=np.float32)
    image[n // 2 + y, n // 2 + x] = 1
    return image


def place(image: fourier.Images) -> tuple[int, int]:
    """Return the point of the greatest pixel."""
    y, x = np.unravel_index(np.argmax(image), image.shape)
    return int(x) - image.shape[1] // 2, int(y) - image.shape[0] // 2


@states("Images", "Arrays are ``[y, x]``, float32; x, the column index, runs fastest.")
def test_images():
    image = np.zeros((6, 8), dtype=np.float32)
    image[2, 5] = 1
    moved = fourier.shift(image, (1, 0))
    assert np.unravel_index(np.argmax(moved), moved.shape) == (2, 6)
    for made in (moved, filters.tangent_lowpass(image, 0.2, 0.2), resample.resample(spot(8, 0, 0), 0.5, 4)):
        assert made.dtype == np.float32
        assert made.strides[-1] == 4


@states("Centre", "The centre of an image of side n is the pixel n // 2 along each axis, counted from 0.")
def test_centre():
    for n in (8, 9):
        assert np.argwhere(masks.circle(0.5, n)).tolist() == [[n // 2, n // 2]]
        image = spot(n, 0, 0)
        for m in (4, 5):
            assert fourier.window(image, m)[m // 2, m // 2] == 1
        for m in (12, 13):
            assert fourier.pad(image, m)[m // 2, m // 2] == 1
        turned = rotate_shift(np.stack([image] * 3), Poses.from_rows([(90, 0, 0, 0), (180, 0, 0, 0), (0, 0, 0, 1)]))
        assert [place(t) for t in turned] == [(0, 0)] * 3


@states("Coordinates", "A point of an image is (x, y) relative to the centre pixel, in pixels.")
def test_coordinates():
    image = np.zeros((20, 20), dtype=np.float32)
    image[10 - 2, 10 + 3] = 1
    assert place(image) == (3, -2)
    assert center.centre_shift(image, 2) == (3, -2)


@states(
    "Poses", "A pose carries a point of an image to its reference: x' = M^m (R(a) x + t): rotate, shift, then mirror."
)
def test_poses():
    a, t, point = 30.0, np.array([2.0, -1.0]), np.array([5.0, 3.0])
    c, s = np.cos(np.deg2rad(a)), np.sin(np.deg2rad(a))
    expected = np.diag([-1, 1]) @ (np.array([[c, s], [-s, c]]) @ point + t)
    pose = Poses.from_rows([(a, *t, 1)])
    np.testing.assert_allclose(pose.apply([point])[0], expected, atol=1e-14)
    whole = Poses.from_rows([(90, 2, -1, 1)])
    moved = rotate_shift(spot(24, 5, 3)[None], whole)[0]
    assert place(moved) == tuple(np.rint(whole.apply([(5, 3)])[0]).astype(int)) == (-5, -6)


@states(
    "Angles",
    "R(a) = [[cos a, sin a], [-sin a, cos a]], a in degrees; positive turns the x axis towards -y.",
)
def test_angles():
    c, s = np.cos(np.deg2rad(20)), np.sin(np.deg2rad(20))
    np.testing.assert_allclose(rotate(20, np.eye(2)).T, [[c, s], [-s, c]], atol=1e-15)
    np.testing.assert_allclose(rotate(90, (1, 0)), (0, -1), atol=1e-15)
    assert place(rotate_shift(spot(20, 5, 0)[None], Poses.from_rows([(90, 0, 0, 0)]))[0]) == (0, -5)


@states(
    "Shifts",
    "A shift (x, y) in pixels moves what is seen towards larger x and y; it is stored as before the mirror.",
)
def test_shifts():
    assert place(fourier.shift(spot(20, 0, 0), (3, 2))) == (3, 2)
    poses = Poses.from_rows([(0, 3, 2, 0), (0, 3, 2, 1)])
    moved = rotate_shift(np.stack([spot(20, 0, 0)] * 2), poses)
    assert [place(m) for m in moved] == [(3, 2), (-3, 2)]


@states("Mirror", "M = diag(-1, 1): reversing x about the centre pixel; an even side keeps column 0.")
def test_mirror():
    flip = Poses.from_rows([(0, 0, 0, 1)])
    np.testing.assert_array_equal(flip.apply([(4, 3)])[0], (-4, 3))
    image = np.arange(64, dtype=np.float32).reshape(8, 8)
    mirrored = rotate_shift(image[None], flip, outside="cyclic")[0]
    np.testing.assert_allclose(mirrored, image[:, [0, 7, 6, 5, 4, 3, 2, 1]], atol=1e-5)
    odd = np.arange(49, dtype=np.float32).reshape(7, 7)
    np.testing.assert_allclose(rotate_shift(odd[None], flip)[0], odd[:, ::-1], atol=1e-5)


@states("Offsets", "The offset of a pose is the point of the image that lands on the reference's centre: o = -R(-a) t.")
def test_offsets():
    poses = Poses.from_rows([(35, 2, -1, 0), (-80, 0.5, 3, 1)])
    np.testing.assert_allclose(poses.offset_px(), -rotate(-poses.angle_deg, poses.shift_px), atol=1e-14)
    np.testing.assert_allclose(poses.apply(poses.offset_px()), 0, atol=1e-14)
    pose = Poses.from_rows([(90, 4, -2, 1)])
    x, y = np.rint(pose.offset_px()[0]).astype(int)
    assert place(rotate_shift(spot(20, x, y)[None], pose)[0]) == (0, 0)


@states(
    "RELION",
    "psi = -a and origin = R(-a) t: shift the image by its origin, rotate by psi as RELION does, then mirror.",
)
def test_relion():
    poses = Poses.from_rows([(35, 2, -1, 0), (-80, 0.5, 3, 1)])
    psi, origin, flip = to_relion(poses)
    np.testing.assert_allclose(psi, [-35, 80], atol=1e-12)
    np.testing.assert_allclose(origin, rotate([-35, 80], poses.shift_px), atol=1e-14)
    point = np.array([5.0, -4.0])
    for i in range(2):
        # RELION's rotation by psi turns x towards +y, which on its screen is clockwise
        turn = np.deg2rad(psi[i])
        x, y = point + origin[i]
        x, y = np.cos(turn) * x - np.sin(turn) * y, np.sin(turn) * x + np.cos(turn) * y
        np.testing.assert_allclose(poses[i : i + 1].apply([point])[0], (-x if flip[i] else x, y), atol=1e-13)
    np.testing.assert_allclose(from_relion(psi, origin, flip).shift_px, poses.shift_px, atol=1e-14)


@states(
    "Projections",
    "A mirrored image is its reference seen from behind: rot 0, tilt 180, psi -a; others have rot 0, tilt 0.",
)
def test_projections(tmp_path: Path):
    flat = np.array([(4.0, 1, 0), (-2, 3, 0), (1, -5, 0)])  # points of an object that looks like the reference
    poses = Poses.from_rows([(35, 0, 0, 0), (35, 0, 0, 1)])
    members = np.arange(2)
    pick = Classification(
        kind="isac2",
        directory=tmp_path,
        averages=tmp_path / "class_averages.hdf",
        number=np.array([1]),
        members=(members,),
        total=1,
        poses=poses,
        accounted=np.ones(2, dtype=np.bool_),
        ratio=1.0,
        radius_px=None,
        pixel_size_A=None,
        particles=None,
        pixel_error_px=np.full(1, np.nan),
        resolution_A=np.full(1, np.nan),
    )
    particles = Particles(path=tmp_path / "p.mrcs", source=_Blank(), name_of=lambda i: f"{i + 1:06d}@p.mrcs")
    write_particles(tmp_path / "substack", particles, pick, members, {})
    block = gemmi.cif.read(str(tmp_path / "substack.star"))[-1]
    for row, pose in enumerate(poses):
        rot, tilt, psi = (
            np.deg2rad(float(block.find_values(f"_rlnAngle{name}")[row])) for name in ("Rot", "Tilt", "Psi")
        )
        assert rot == 0
        behind = np.array([[np.cos(tilt), 0, -np.sin(tilt)], [0, 1, 0], [np.sin(tilt), 0, np.cos(tilt)]])
        turn = np.array([[np.cos(psi), np.sin(psi)], [-np.sin(psi), np.cos(psi)]])
        seen = (flat @ behind.T)[:, :2] @ turn.T
        expected = Poses.from_rows([pose]).inverse().apply(flat[None, :, :2])[0]
        np.testing.assert_allclose(seen, expected, atol=1e-5)  # six decimals of a degree


@states("Frequencies", "In cycles per pixel, 0 to 0.5; ring k of a spectrum of side n lies at k / n.")
def test_frequencies():
    n, k = 24, 5
    wave = np.cos(2 * np.pi * k * np.arange(n) / n)[None, :] * np.ones((n, 1))
    for f, passed in ((k / n + 0.01, 1.0), (k / n - 0.01, 0.0)):
        filtered = filters.apply(wave, lambda r, f=f: filters.band_response(r, 0, f))
        np.testing.assert_allclose(filtered, passed * wave, atol=1e-12)
    assert fourier.frequencies((n, n))[1].max() == 0.5
    assert fourier.absolute_frequency((n, n))[0, k] == pytest.approx(k / n, abs=1e-15)


@states("CTF", "Positive defocus is underfocus; the CTF is positive at low frequency when particles are white.")
def test_ctf():
    def curve(defocus_A: float) -> Any:
        p = CtfParameters.from_relion(defocus_A, defocus_A, 0, voltage_kV=300, cs_mm=2.7, amplitude_contrast=[0.07])
        return ctf.ctf_1d(p, np.linspace(0, 0.02, 50))[0]

    # underfocus defers the spherical aberration: defocus and amplitude contrast add up before the first maximum
    assert (curve(15_000.0) > 0).all()
    assert (np.diff(curve(15_000.0)) > 0).all()
    assert (np.diff(curve(-15_000.0)) < 0).all()


class _Blank:
    shape = (3, 8, 8)

    def read(self, index: Any) -> Any:
        return np.zeros((len(index), 8, 8), dtype=np.float32)


def _ledger() -> Ledger:
    poses = Poses.from_rows([(10, 1, 2, 0), (20, 3, 4, 1), (30, 5, 6, 1)])
    entered = {"label": [0, -1, 1], "reason": ["", "unstable", ""]}
    return Ledger.empty(3).entered(np.arange(3), poses=poses, **entered)


@states(
    "Classes",
    "A label counts classes from 0 and is -1 for an image in no class; files for people and RELION count from 1.",
)
def test_classes(tmp_path: Path):
    ledger = _ledger()
    assert ledger.left().tolist() == [1]
    particles = Particles(path=tmp_path / "p.mrcs", source=_Blank(), name_of=lambda i: f"{i + 1:06d}@p.mrcs")
    write_classified(tmp_path / "classified.star", particles, ledger, ledger.poses)
    block = gemmi.cif.read(str(tmp_path / "classified.star"))[-1]
    assert list(block.find_values("_rlnClassNumber")) == ["1", "2"]
    assert list(block.find_values("_rlnImageName"))[1].startswith("000003@")


@states("Text rows", "``angle shift_x shift_y mirror`` in working pixels; mirror is -1 for an image in no class.")
def test_text_rows(tmp_path: Path):
    write_original_tables(tmp_path, _ledger(), np.zeros((3, 2)), 0.5, 8)
    rows = read_table(tmp_path / "all_parameters.txt")
    np.testing.assert_allclose(rows[[0, 2]], [(10, 1, 2, 0), (30, 5, 6, 1)])
    assert rows[1, 3] == -1


UNITS = {
    r"(angle|psi|azimuth)\w*": r"\w*_deg",
    r"(radius|box|shift|offset|distance)\w*": r"(\w*_(px|A)|distance_px)",
}


def _parameters_of_public_functions(layer: str) -> Any:
    package = import_module(f"cryoisac.{layer}")
    for found in pkgutil.iter_modules(package.__path__, f"cryoisac.{layer}."):
        module = import_module(found.name)
        for name, member in vars(module).items():
            if getattr(member, "__module__", "") == module.__name__ and callable(member) and not name.startswith("_"):
                for parameter in inspect.signature(member).parameters:
                    yield f"{found.name}.{name}", parameter


@states("Names", "Lengths end in _px or _A, angles in _deg; n images, k classes, h rows, w columns, r rings.")
@pytest.mark.parametrize("layer", ["model", "ops"])
def test_names(layer: str):
    assert cryoisac.__path__
    seen = 0
    for function, parameter in _parameters_of_public_functions(layer):
        for quantity, named in UNITS.items():
            if re.fullmatch(quantity, parameter):
                seen += 1
                assert re.fullmatch(named, parameter), f"{function}({parameter}) has no unit"
    assert seen > 3


def test_every_sentence_is_tested():
    assert len(SENTENCES) == len((conventions.__doc__ or "").strip().splitlines()) - 2
    assert SENTENCES == TESTED
