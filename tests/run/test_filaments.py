"""Segments of filaments: what their angles mean, and what bars change in a run."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from cryoisac.errors import DataError, SettingError
from cryoisac.io.eman_hdf import write_hdf_stack
from cryoisac.io.mrc import MrcStack
from cryoisac.io.registry import read_particles
from cryoisac.io.star import write_star
from cryoisac.model.poses import from_relion, rotate
from cryoisac.ops.warp import rotate_shift
from cryoisac.run.filaments import Filaments, across, segment_angles_deg
from cryoisac.run.plan import make_plan
from cryoisac.settings import Isac, Simulation
from cryoisac.simulation.files import simulate
from cryoisac.workflow.isac import run_isac

BOX = 48
SEGMENTS = Simulation(views=2, per_view=20, box=BOX, snr=2.0, max_shift=2.0, filament=True, psi_prior_error=0, seed=3)
SETTINGS = Isac(
    method="isac2",
    radius=16,
    filament_width=17,
    img_per_grp=20,
    minimum_grp_size=5,
    target_radius=16,
    target_nx=40,
    maxit=4,
    init_iter=1,
    main_iter_limit=1,
)


@pytest.fixture(scope="module")
def segments(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A STAR file of 40 segments whose angles are known without error."""
    folder = tmp_path_factory.mktemp("segments")
    simulate(folder, SEGMENTS)
    return folder / "particles.star"


def drawn_bar(direction: tuple[float, float]) -> np.ndarray:
    """Return an image of a filament through the centre pixel along (x, y) of the image."""
    x, y = np.meshgrid(np.arange(BOX) - BOX // 2, np.arange(BOX) - BOX // 2)
    unit = np.array(direction) / np.hypot(*direction)
    away = x * unit[1] - y * unit[0]
    return np.exp(-0.5 * (away / 3) ** 2).astype(np.float32)


@pytest.mark.parametrize("direction", [(1.0, 0.0), (2.0, 1.0), (1.0, -3.0), (0.0, 1.0)])
def test_relions_psi_and_the_bar_have_one_sign(direction: tuple[float, float]) -> None:
    """Known truth: the psi that lays a drawn filament along x turns its bar onto it."""
    image = drawn_bar(direction)
    psi = -np.rad2deg(np.arctan2(direction[1], direction[0]))  # rows run down: from x towards -y
    pose = from_relion([psi], np.zeros((1, 2)), [False])
    laid = rotate_shift(image[None], pose)[0]
    assert laid[BOX // 2, 8:-8].min() > 0.9
    bar = Filaments(width_px=12.0, angle_deg=np.array([psi])).bars(np.zeros(1, dtype=np.int64), BOX)[0]
    assert image[bar].min() > 0.05
    assert image[~bar].max() < 0.5
    half_a_turn = Filaments(width_px=12.0, angle_deg=np.array([psi + 180])).bars(np.zeros(1, dtype=np.int64), BOX)[0]
    assert (bar != half_a_turn).mean() < 0.1  # the middle of a bar lies half a pixel beside the centre


def test_shifts_keep_what_is_across() -> None:
    """Definition: nothing along the filament is left, and all across it."""
    rng = np.random.default_rng(0)
    shift, angle = rng.normal(size=(50, 2)), rng.uniform(-180, 180, 50)
    found = across(shift, angle)
    along = np.stack((np.cos(np.deg2rad(angle)), -np.sin(np.deg2rad(angle))), axis=-1)
    np.testing.assert_allclose((found * along).sum(axis=1), 0, atol=1e-12)
    np.testing.assert_allclose(((shift - found) * rotate(-90.0, along)).sum(axis=1), 0, atol=1e-12)
    np.testing.assert_allclose(across(found, angle), found, atol=1e-12)


def test_angles_come_from_tables_and_headers(segments: Path, tmp_path: Path) -> None:
    """Definition: RELION's prior as it stands, EMAN2's attribute as it stands, else nothing."""
    given = read_particles(segments)
    assert given.metadata is not None
    angle = segment_angles_deg(given)
    np.testing.assert_array_equal(angle, given.metadata.particles.floats("rlnAnglePsiPrior"))
    images = given.read(np.arange(3))
    write_hdf_stack(tmp_path / "s.hdf", images, 5.0, [{"segment_angle": a} for a in (10.5, -20.0, 161.0)])
    angle = segment_angles_deg(read_particles(tmp_path / "s.hdf"))
    assert angle is not None
    assert angle.tolist() == [10.5, -20.0, 161.0]


def test_angles_that_are_missing_are_named(segments: Path, tmp_path: Path) -> None:
    """Definition: one image without an angle is named; a table without any is refused with --filament-width only."""
    given = read_particles(segments)
    assert given.metadata is not None
    images = given.read(np.arange(3))
    write_hdf_stack(tmp_path / "s.hdf", images, 5.0, [{"segment_angle": 1.0}, {}, {"segment_angle": 2.0}])
    with pytest.raises(DataError, match=r"s.hdf: image 2 .* has no number for segment_angle"):
        segment_angles_deg(read_particles(tmp_path / "s.hdf"))
    table = given.metadata.particles
    columns = {name: column for name, column in table.columns.items() if name != "rlnAnglePsiPrior"}
    bare = dataclasses.replace(given.metadata, particles=dataclasses.replace(table, columns=columns))
    write_star(segments.with_name("bare.star"), bare)
    for method in ("isac2", "likelihood"):
        asked = Isac(method=method, filament_width=17, radius=16)
        with pytest.raises(DataError, match="needs the angle of each filament: rlnAnglePsiPrior of a RELION table"):
            run_isac(segments.with_name("bare.star"), tmp_path / "run", asked)


def test_bars_that_do_not_fit_are_refused(segments: Path) -> None:
    """Definition: as wide as the box, and narrower than two working pixels; the width advised is taken."""
    given = read_particles(segments)
    rows = np.arange(len(given))
    with pytest.raises(SettingError, match=r"^--filament-width: .* no background .* at most (\d+)") as caught:
        make_plan(given, rows, dataclasses.replace(SETTINGS, filament_width=47))
    most = int(str(caught.value).split()[-1])
    assert make_plan(given, rows, dataclasses.replace(SETTINGS, filament_width=most)).images == len(given)
    with pytest.raises(SettingError, match="less than 2 px in working images"):
        make_plan(given, rows, dataclasses.replace(SETTINGS, filament_width=1))


def test_bars_mask_unless_they_are_ignored(segments: Path, tmp_path: Path) -> None:
    """Definition: beyond its bar a working image is 0; with --filament-mask-ignore it is what it was, to a scale."""
    found = {}
    for name, changes in {
        "masked": {},
        "measured": {"filament_mask_ignore": True},
        "plain": {"filament_width": None},
    }.items():
        settings = dataclasses.replace(SETTINGS, skip_prealignment=True, **changes)  # type: ignore[arg-type]
        run_isac(segments, tmp_path / name, settings)
        found[name] = MrcStack(tmp_path / name / "working_stack.mrcs").read(np.arange(40)).astype(float)
    angle = segment_angles_deg(read_particles(segments))
    assert angle is not None
    bars = Filaments(width_px=17, angle_deg=angle).working_bars(np.arange(40), 40, 1.0)
    assert (found["masked"][~bars] == 0).all()
    np.testing.assert_allclose(found["masked"][bars], found["measured"][bars], atol=1e-6)
    for measured, plain, bar in zip(found["measured"], found["plain"], bars, strict=True):
        np.testing.assert_allclose((measured[~bar].mean(), measured[bar].std(ddof=1)), (0, 1), atol=1e-5)
        assert np.corrcoef(measured.ravel(), plain.ravel())[0, 1] == pytest.approx(1, abs=1e-6)
        assert np.abs(measured - plain).max() > 1e-3


def test_pre_alignment_moves_segments_across_only(segments: Path, tmp_path: Path) -> None:
    """Known truth: shifts have nothing along the filament, and leave its axis within a pixel of the centre."""
    run_isac(segments, tmp_path / "run", SETTINGS)
    shift = np.loadtxt(tmp_path / "run" / "2dalignment" / "initial2Dparams.txt")[:, 1:3]
    angle = segment_angles_deg(read_particles(segments))
    assert angle is not None
    np.testing.assert_allclose(rotate(-angle, shift)[:, 0], 0, atol=1e-5)  # printed with six decimals
    truth = np.genfromtxt(segments.with_name("truth.csv"), delimiter=",", names=True, dtype=None, encoding="ascii")
    placed = np.stack((truth["shift_x_px"], truth["shift_y_px"]), axis=-1)
    needed = rotate(-truth["angle_deg"], placed)  # what centres the molecule, in the image
    left = rotate(-angle, needed - shift)[:, 1]
    assert np.abs(rotate(-angle, needed)[:, 1]).mean() > 0.9  # 2 px at most, either way
    assert np.abs(left).mean() < 0.5
    freely = dataclasses.replace(SETTINGS, parity="sphire")
    run_isac(segments, tmp_path / "sphire", freely)
    moved = np.loadtxt(tmp_path / "sphire" / "2dalignment" / "initial2Dparams.txt")[:, 1:3]
    assert np.abs(rotate(-angle, moved)[:, 0]).max() > 0.5
