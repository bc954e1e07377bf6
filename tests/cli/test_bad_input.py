"""Bad input to ``cryoisac isac``: one clear line, an exit status that is not 0, and no damage.

Definition, all of it: each case says what is given, what the line must name, and what it must tell the user to do.
"""

import csv
import hashlib
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pytest

from cryoisac.cli import main as cli
from cryoisac.io.mrc import MrcStack
from cryoisac.io.mrc_write import write_mrc_stack
from cryoisac.io.registry import read_particles
from cryoisac.settings import Simulation
from cryoisac.simulation.files import simulate
from tests.io.berkeley import database

N, BOX = 40, 32
FITTING = ("--radius", "12", "--target-radius", "12", "--target-nx", "36", "--img-per-grp", "20")

Images = npt.NDArray[np.float32]
Build = Callable[[Path], Path | str]


@dataclass(frozen=True)
class Case:
    """What is given, and what must be said.

    Parameters
    ----------
    name : str
        Name of the case.
    build : callable
        ``build(folder)`` writes the input and returns the argument PARTICLES.
    says : tuple of str
        Parts of the line: the file, row or option at fault, and what to do.
    options : tuple of str
        Options after those that fit.
    status : int
        Exit status: 1 for bad input, 2 for a wrong call.
    methods : tuple of str
        Methods that say so.
    """

    name: str
    build: Build
    says: tuple[str, ...]
    options: tuple[str, ...] = ()
    status: int = 1
    methods: tuple[str, ...] = ("likelihood", "isac2")


FILES: list[Case] = []


def says(*parts: str, options: tuple[str, ...] = ()) -> Callable[[Build], Build]:
    """Return a decorator that adds a builder to the cases."""

    def add(build: Build) -> Build:
        FILES.append(Case(build.__name__, build, parts, options))
        return build

    return add


def noise(n: int = N, h: int = BOX, w: int = BOX) -> Images:
    """Return images of nothing."""
    return np.random.default_rng(0).normal(size=(n, h, w)).astype(np.float32)


def star(folder: Path, **columns: object) -> Path:
    """Write a table of the images of ``particles.mrcs``; each further column holds one value, or one a row."""
    n = len(columns.get("rlnImageName", range(N)))  # type: ignore[arg-type]
    whole: dict[str, object] = {"rlnImageName": [f"{i + 1:06d}@particles.mrcs" for i in range(n)], **columns}
    cells = [v if isinstance(v, list) else [v] * n for v in whole.values()]
    lines = ["data_particles", "loop_", *(f"_{name}" for name in whole)]
    lines += [" ".join(map(str, row)) for row in zip(*cells, strict=True)]
    path = folder / "particles.star"
    path.write_text("\n".join(lines) + "\n")
    return path


def stack(folder: Path, images: Images | None = None, pixel_size_A: float | None = 5.0) -> Path:
    """Write ``particles.mrcs``."""
    path = folder / "particles.mrcs"
    write_mrc_stack(path, noise() if images is None else images, pixel_size_A)
    return path


def good(folder: Path) -> Path:
    """Write a table and a stack that nothing is wrong with."""
    stack(folder)
    return star(folder, rlnImagePixelSize=5.0)


CTF = {
    "rlnVoltage": 300,
    "rlnSphericalAberration": 2.7,
    "rlnAmplitudeContrast": 0.1,
    "rlnDefocusU": 10000,
    "rlnDefocusV": 11000,
    "rlnDefocusAngle": 0,
}

# Files that are not there, or not what they should be


@says("nowhere.star", "No such file")
def missing_file(folder: Path) -> Path:
    return folder / "nowhere.star"


@says("is a directory", "give the file")
def directory_instead_of_a_file(folder: Path) -> Path:
    return folder


@says("empty.star", "is empty")
def empty_file(folder: Path) -> Path:
    (folder / "empty.star").touch()
    return folder / "empty.star"


@says("notes.txt", "unknown format", "are read")
def text_that_is_no_table(folder: Path) -> Path:
    (folder / "notes.txt").write_text("Dear colleague,\nplease find the particles attached.\n")
    return folder / "notes.txt"


@says("notes.star:1", "data_")
def text_called_a_table(folder: Path) -> Path:
    (folder / "notes.star").write_text("Dear colleague,\nplease find the particles attached.\n")
    return folder / "notes.star"


@says("particles.star", "no block has a column rlnImageName")
def table_without_image_names(folder: Path) -> Path:
    path = folder / "particles.star"
    path.write_text("data_particles\nloop_\n_rlnDefocusU\n10000\n")
    return path


@says("particles.star", "names no particles")
def table_of_no_rows(folder: Path) -> Path:
    path = folder / "particles.star"
    path.write_text("data_particles\nloop_\n_rlnImageName\n")
    return path


@says("particles.star:5", "3 values", "2 columns")
def row_with_a_value_too_many(folder: Path) -> Path:
    path = folder / "particles.star"
    path.write_text("data_particles\nloop_\n_rlnImageName\n_rlnDefocusU\n1@particles.mrcs 10000 11000\n")
    return path


@says("particles.star", "row 7", "'particles.mrcs@7'", "000001@stack.mrcs")
def image_name_the_wrong_way_round(folder: Path) -> Path:
    stack(folder)
    names = [f"{i + 1}@particles.mrcs" if i != 6 else "particles.mrcs@7" for i in range(N)]
    return star(folder, rlnImageName=names)


@says("particles.star", "row 1", "no file particles.mrcs", "start from the directory")
def missing_stack(folder: Path) -> Path:
    return star(folder)


@says("particles.mrcs", "is cut short", "copy it again")
def truncated_stack(folder: Path) -> Path:
    path = stack(folder)
    path.write_bytes(path.read_bytes()[:-100])
    return star(folder)


@says("particles.mrcs", "is cut short", "copy it again")
def truncated_stack_by_itself(folder: Path) -> Path:
    path = stack(folder)
    path.write_bytes(path.read_bytes()[:-100])
    return path


@says("particles.star", "row 12", "image 41", "which holds 40", "correct the table")
def image_beyond_the_stack(folder: Path) -> Path:
    stack(folder)
    numbers = [i + 1 if i != 11 else N + 1 for i in range(N)]
    return star(folder, rlnImageName=[f"{i}@particles.mrcs" for i in numbers])


@says("particles.mrcs", "complex", "convert it to mode 2")
def complex_stack(folder: Path) -> Path:
    path = stack(folder)
    head = bytearray(path.read_bytes())
    head[12:16] = (4).to_bytes(4, "little")
    path.write_bytes(head)
    return path


@says("volume.mrc", "is a volume", "name it .mrcs")
def volume(folder: Path) -> Path:
    path = folder / "volume.mrc"
    write_mrc_stack(path, noise(BOX), 5.0)
    return path


@says("bdb:particles#all", "there is no directory particles", "correct")
def database_of_no_directory(folder: Path) -> str:
    return "bdb:particles#all"


@says("all.bdb", "pixels of image 0 are missing", "copy it there")
def database_without_its_pixels(folder: Path) -> str:
    images = noise()
    database(folder, "all", images).with_name(f"all_{BOX}x{BOX}x1").unlink()
    return f"bdb:{folder}#all"


@says("particles.cs", "cryoSPARC", "export the particles")
def cryosparc_dataset(folder: Path) -> Path:
    path = folder / "particles.cs"
    with path.open("wb") as file:
        np.save(file, np.zeros(3))
    return path


@says("picture.png", "PNG", "give the particle stack")
def picture(folder: Path) -> Path:
    path = folder / "picture.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    return path


@says("particles.hdf", "HDF5", "give an MRC or EMAN2 stack")
def hdf_of_another_program(folder: Path) -> Path:
    import h5py

    with h5py.File(folder / "particles.hdf", "w") as file:
        file["images"] = noise(3)
    return folder / "particles.hdf"


# Images that cannot be used


@says("particles.mrcs", "images are 40 x 32 px", "squares")
def images_that_are_not_square(folder: Path) -> Path:
    return stack(folder, noise(w=40))


@says("small.mrcs", "24 x 24 px", "32 x 32", "one box")
def images_of_two_sizes(folder: Path) -> Path:
    stack(folder)
    write_mrc_stack(folder / "small.mrcs", noise(20, 24, 24), 5.0)
    names = [f"{i + 1}@particles.mrcs" for i in range(20)] + [f"{i + 1}@small.mrcs" for i in range(20)]
    return star(folder, rlnImageName=names)


def spoiled(folder: Path, value: float, *, whole: bool) -> Path:
    """Write a stack whose image 8, row 3 of its table, has one pixel or all pixels of a value."""
    images = noise()
    path = stack(folder)
    images[7] = np.where(whole | (np.arange(BOX * BOX).reshape(BOX, BOX) == 5), value, images[7])
    with path.open("r+b") as file:
        file.seek(1024)
        file.write(images.tobytes())
    order = [0, 1, 7, *range(2, 7), *range(8, N)]
    return star(folder, rlnImageName=[f"{i + 1:06d}@particles.mrcs" for i in order])


@says("particles.star", "image 3 (000008@particles.mrcs)", "1 of 40 images", "--on-bad-image skip")
def pixel_that_is_no_number(folder: Path) -> Path:
    return spoiled(folder, np.nan, whole=False)


@says("particles.star", "image 3 (000008@particles.mrcs)", "1 of 40 images", "--on-bad-image skip")
def pixel_that_is_infinite(folder: Path) -> Path:
    return spoiled(folder, -np.inf, whole=False)


@says("particles.star", "image 3 (000008@particles.mrcs)", "1 of 40 images", "--on-bad-image skip")
def image_that_is_constant(folder: Path) -> Path:
    return spoiled(folder, 3.0, whole=True)


@says("particles.mrcs", "none of the 40 images", options=("--on-bad-image", "skip"))
def nothing_but_bad_images(folder: Path) -> Path:
    return stack(folder, np.zeros((N, BOX, BOX), np.float32))


@says("particles.mrcs", "30 particles", "fewer than two classes", "--img-per-grp 15")
def too_few_particles(folder: Path) -> Path:
    return stack(folder, noise(30))


@says("particles.mrcs", "3 particles", "give more particles", options=("--img-per-grp", "2"))
def hardly_a_particle(folder: Path) -> Path:
    return stack(folder, noise(3))


# Tables that lack what is asked of them


@says("particles.star", "--ctf needs", "rlnDefocusV", "without --ctf", options=("--ctf",))
def ctf_columns_missing(folder: Path) -> Path:
    stack(folder)
    return star(folder, rlnImagePixelSize=5.0, rlnDefocusU=10000)


@says("particles.mrcs", "--ctf needs rlnDefocusU", "without --ctf", options=("--ctf",))
def ctf_of_a_bare_stack(folder: Path) -> Path:
    return stack(folder)


@says("particles.star", "--ctf needs the pixel size", "add rlnImagePixelSize", options=("--ctf",))
def pixel_size_missing(folder: Path) -> Path:
    stack(folder, pixel_size_A=None)
    return star(folder, **CTF)


@says("particles.star", "pixel sizes differ (5 to 6 Å)", "rescale")
def mixed_pixel_sizes(folder: Path) -> Path:
    stack(folder)
    return star(folder, rlnImagePixelSize=[5.0] * 30 + [6.0] * 10)


@says("particles.star", "particle 5 has rlnImagePixelSize 0", "correct the table")
def pixel_size_of_zero(folder: Path) -> Path:
    stack(folder)
    return star(folder, rlnImagePixelSize=[5.0] * 4 + [0.0] * 36)


@says("particles.star", "row 9", "rlnDefocusU is 'abc'", "not a number")
def defocus_that_is_no_number(folder: Path) -> Path:
    stack(folder)
    defocus = [10000] * 8 + ["abc"] + [10000] * 31
    return star(folder, rlnImagePixelSize=5.0, **{**CTF, "rlnDefocusU": defocus})


@says("particles.star", "particle 2 has a voltage of 300000 kV", "3000: correct it", options=("--ctf",))
def voltage_in_volts(folder: Path) -> Path:
    stack(folder)
    return star(folder, rlnImagePixelSize=5.0, **{**CTF, "rlnVoltage": [300] + [300000] * 39})


@says("particles.star", "corrected for the CTF already", "rlnCtfDataArePhaseFlipped", options=("--ctf",))
def phases_flipped_before(folder: Path) -> Path:
    stack(folder)
    return star(folder, rlnImagePixelSize=5.0, rlnCtfDataArePhaseFlipped=1, **CTF)


@says("radius: no white particle", "give --radius", options=("--radius", "AUTOMATIC"))
def no_particle_to_be_seen(folder: Path) -> Path:
    return stack(folder)


# Settings that are impossible, or do not fit the particles

SETTINGS = [
    Case(
        "smallest class above a class", good, ("--minimum-grp-size", "--img-per-grp 20"), ("--minimum-grp-size", "21")
    ),
    Case("radius too large", good, ("--radius", "15 px is too large for images of 32 px", "14"), ("--radius", "15")),
    Case("radius of zero", good, ("--radius", "at least 1 px"), ("--radius", "0")),
    Case(
        "no room to align",
        good,
        ("--radius", "no room to align", "smaller radius"),
        ("--radius", "14", "--target-radius", "4"),
    ),
    Case(
        "target radius too large",
        good,
        ("--target-radius", "17 px does not fit", "36 px", "16", "--target-nx"),
        ("--target-radius", "17"),
    ),
    Case(
        "flipped twice",
        good,
        ("--vpp", "leave out one of --CTF and --VPP"),
        ("--CTF", "--VPP"),
        methods=("isac2",),
    ),
    Case(
        "a phase plate by likelihood",
        good,
        ("--vpp", "belongs to --method isac2"),
        ("--vpp",),
        methods=("likelihood",),
    ),
    Case(
        "filaments that lie no one knows how",
        good,
        ("--filament-width", "rlnAnglePsiPrior", "segment_angle", "leave out"),
        ("--filament_width", "10"),
    ),
    Case(
        "filter the wrong way round",
        good,
        ("--FH", "below --FL 0.3", "raise --FH"),
        ("--FL", "0.3", "--FH", "0.2"),
        methods=("isac2",),
    ),
    Case(
        "cut-off beyond Nyquist",
        good,
        ("--FL", "is 0.6", "at most 0.5"),
        ("--FL", "0.6"),
        methods=("isac2",),
    ),
    Case(
        "negative search",
        good,
        ("--xr", "is -1", "at least 0"),
        ("--xr", "-1"),
        methods=("isac2",),
    ),
    Case(
        "step of zero",
        good,
        ("--ts", "is 0", "at least 0.1"),
        ("--ts", "0"),
        methods=("isac2",),
    ),
    Case(
        "step beyond the search",
        good,
        ("--ts", "is 2", "--xr 1", "at most 1", "--xr 0"),
        ("--ts", "2"),
        methods=("isac2",),
    ),
    Case(
        "step beyond the search along y",
        good,
        ("--ts", "--yr 0.5", "--yr 0"),
        ("--yr", "0.5"),
        methods=("isac2",),
    ),
    Case("not a number", good, ("--thld-err", "is not a number"), ("--thld-err", "nan")),
    Case(
        "text for a number",
        good,
        ("--maxit", "'many' is not a valid integer"),
        ("--maxit", "many"),
        2,
        methods=("isac2",),
    ),
    Case("unknown option", good, ("--radios", "--radius"), ("--radios", "12"), 2),
    Case("unknown choice", good, ("--on-bad-image", "nonsense", "stop", "skip"), ("--on-bad-image", "nonsense"), 2),
    Case(
        "option without its value",
        good,
        ("--maxit", "requires an argument"),
        ("--maxit",),
        2,
        methods=("isac2",),
    ),
    Case(
        "options of the other method",
        good,
        ("--max-shift", "belongs to --method likelihood", "leave it out"),
        ("--max-shift", "2"),
        methods=("isac2",),
    ),
    Case(
        "options of the original method",
        good,
        ("--xr", "belongs to --method isac2", "leave it out"),
        ("--xr", "2"),
        methods=("likelihood",),
    ),
    Case("negative shifts", good, ("--max-shift", "at least 0"), ("--max-shift", "-1"), methods=("likelihood",)),
    Case("no starts", good, ("--starts", "at least 1"), ("--starts", "0"), methods=("likelihood",)),
    Case(
        "radius far too small",
        good,
        ("--radius", "too little detail", "true radius"),
        ("--radius", "2"),
        methods=("likelihood",),
    ),
    Case("no threads", good, ("--threads", "0"), ("--threads", "0"), 2),
    Case("restart of nothing", good, ("--restart 1", "leave it out"), ("--restart", "1")),
]


def isac(particles: Path | str, out: Path, *options: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Run the command with options that fit and these, and return its exit status and what it says on stderr."""
    words = [*FITTING, *options]
    if "AUTOMATIC" in words:  # leave the setting out
        words = [w for w in words[2:] if w not in ("--radius", "AUTOMATIC")]
    status = cli.run(["isac", str(particles), str(out), *words])
    return status, capsys.readouterr().err


def check_line(error: str, says: tuple[str, ...]) -> None:
    """Check that an error is one line that says what it must."""
    assert error.startswith("Error: ")
    assert error.count("\n") == 1
    for part in says:
        assert part in error


def state_of(folder: Path) -> dict[str, str]:
    """Return what every path below a folder is or holds, but for logs."""
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() if p.is_file() else "directory"
        for p in sorted(folder.rglob("*"))
        if "logs" not in p.parts
    }


by_method = pytest.mark.parametrize("method", ["likelihood", "isac2"])


@pytest.mark.parametrize(
    ("case", "method"),
    [pytest.param(case, m, id=f"{case.name}-{m}") for case in FILES + SETTINGS for m in case.methods],
)
def test_bad_input_is_one_line_and_no_directory(
    case: Case, method: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data").mkdir()
    monkeypatch.chdir(tmp_path)
    particles = case.build(tmp_path / "data")
    before = state_of(tmp_path)
    status, error = isac(particles, tmp_path / "out", "--method", method, *case.options, capsys=capsys)
    assert status == case.status
    check_line(error, case.says)
    assert state_of(tmp_path) == before


# Machines that cannot hold the run


@by_method
def test_too_little_memory(
    method: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cryoisac.run.room.available_memory_bytes", lambda: 1_000_000)
    status, error = isac(good(tmp_path), tmp_path / "out", "--method", method, capsys=capsys)
    assert status == 1
    check_line(error, ("memory: the run needs", "1 MB are free", "fewer particles"))
    assert not (tmp_path / "out").exists()


@by_method
def test_too_little_disk(
    method: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Usage(NamedTuple):
        free: int = 1000

    monkeypatch.setattr("cryoisac.run.room.shutil.disk_usage", lambda path: Usage())
    status, error = isac(good(tmp_path), tmp_path / "out", "--method", method, capsys=capsys)
    assert status == 1
    check_line(error, ("disk: the run needs", str(tmp_path), "1 kB are free", "make room"))
    assert not (tmp_path / "out").exists()


@by_method
def test_a_disk_that_fills_up_on_the_way(
    method: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same command goes on when there is room again."""

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    particles = simulated(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr("cryoisac.io.mrc_write.os.pwrite", full)
        status, error = isac(particles, tmp_path / "out", *QUICK[method], capsys=capsys)
    assert status == 1
    check_line(error, ("No space left on device",))
    assert not list((tmp_path / "out").rglob("*.mrcs*"))
    assert isac(particles, tmp_path / "out", *QUICK[method], capsys=capsys) == (0, "")


# Output directories that are taken


def taken_by_a_file(out: Path) -> None:
    out.write_text("precious")


def taken_above_by_a_file(out: Path) -> None:
    out.parent.write_text("precious")


def taken_by_something_else(out: Path) -> None:
    out.mkdir(parents=True)
    (out / "thesis.tex").write_text("precious")


def taken_by_a_program_with_a_state(out: Path) -> None:
    (out / "state").mkdir(parents=True)
    (out / "state" / ".thesis.partial").write_text("precious")
    (out / "state" / "game.sav").write_text("precious")


def taken_by_a_program_with_a_record(out: Path) -> None:
    out.mkdir(parents=True)
    (out / "run.json").write_text('{"status": "finished", "precious": 1}')


@pytest.mark.parametrize(
    ("take", "says", "status"),
    [
        (taken_by_a_file, ("is a file",), 2),
        (taken_above_by_a_file, ("cannot be made", "is not a directory", "choose another"), 1),
        (taken_by_something_else, ("holds no run", "thesis.tex", "choose another directory"), 1),
        (taken_by_a_program_with_a_state, ("holds no run", "game.sav", "choose another directory"), 1),
        (taken_by_a_program_with_a_record, ("run.json", "not of this program", "choose another directory"), 1),
    ],
)
def test_what_is_not_ours_is_left_alone(
    take: Callable[[Path], None],
    says: tuple[str, ...],
    status: int,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "above" / "out"
    (tmp_path / "data").mkdir()
    if take is not taken_above_by_a_file:
        out.parent.mkdir()
    take(out)
    before = state_of(out.parent)
    found, error = isac(good(tmp_path / "data"), out, capsys=capsys)
    assert found == status
    check_line(error, (str(out), *says))
    assert state_of(out.parent) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_directory_without_permission(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    particles = good(tmp_path)
    (tmp_path / "locked").mkdir(mode=0o500)
    status, error = isac(particles, tmp_path / "locked" / "out", capsys=capsys)
    assert status == 1
    check_line(error, ("cannot be written", str(tmp_path / "locked"), "choose another directory"))


# Runs that were damaged

QUICK = {
    "likelihood": ("--minimum-grp-size", "8", "--starts", "2", "--max-shift", "1"),
    "isac2": (
        *("--method", "isac2", "--minimum-grp-size", "8", "--maxit", "8", "--init-iter", "2"),
        *("--main-iter-limit", "1"),
    ),
}
SAVED = {
    "likelihood": ("survey.npz", "rings.npy", "ctf2.npy", "likelihood.npz"),
    "isac2": ("prealignment.npz", "isac.npz"),
}


def simulated(folder: Path) -> Path:
    """Simulate 60 particles in three views."""
    simulate(folder / "simulated", Simulation(views=3, per_view=20, box=BOX, pixel_size=10.0, snr=1.0, max_shift=1.0))
    return folder / "simulated" / "particles.star"


@pytest.fixture(scope="module")
def unfinished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with particles and a run of them by each method that is not finished."""
    folder = tmp_path_factory.mktemp("unfinished")
    particles = str(simulated(folder))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cryoisac.workflow.isac.publish", stopped)
        patch.setattr("cryoisac.cluster.finishing.result", stopped)
        for method, options in QUICK.items():
            with pytest.raises(Stop):
                cli.run(["isac", particles, str(folder / method), *FITTING, *options])
            assert json.loads((folder / method / "run.json").read_text())["status"] == "running"
    return folder


class Stop(Exception):
    """Ends a run before its end."""


def stopped(*_: object) -> None:
    raise Stop


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def overwritten(path: Path) -> None:
    path.write_bytes(np.random.default_rng(0).bytes(path.stat().st_size))


@pytest.mark.parametrize("damage", [cut, emptied, overwritten])
@pytest.mark.parametrize(
    ("method", "name"),
    [
        (method, name)
        for method, saved in SAVED.items()
        for name in ("run.json", "working_stack.mrcs", "state/scan.npz", *(f"state/{s}" for s in saved))
    ],
)
def test_a_damaged_run_is_refused_and_not_damaged_further(
    method: str,
    name: str,
    damage: Callable[[Path], None],
    unfinished: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    shutil.copytree(unfinished / method, out)
    damage(out / name)
    if (method, name) == ("likelihood", "working_stack.mrcs"):  # read only where ring images are not there yet
        (out / "state" / "rings.npy").unlink()
    before = state_of(out)
    status, error = isac(unfinished / "simulated" / "particles.star", out, *QUICK[method], capsys=capsys)
    assert status == 1
    check_line(error, (str(out / name), "choose another directory" if name == "run.json" else "delete it"))
    after = state_of(out)
    for changed in {"run.json", "command.txt"} - {name}:  # as it was, in the program's own layout; and the call
        before.pop(changed, None), after.pop(changed, None)
    assert after == before


def record_without(key: str, record: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in record.items() if k != key}


@pytest.mark.parametrize("key", ["given", "input", "status", "settings", "version"])
def test_a_record_that_lacks_something(
    key: str, unfinished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = json.loads((unfinished / "likelihood" / "run.json").read_text())
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "run.json").write_text(json.dumps(record_without(key, record)))
    before = state_of(tmp_path)
    status, error = isac(
        unfinished / "simulated" / "particles.star", tmp_path / "out", *QUICK["likelihood"], capsys=capsys
    )
    assert status == 1
    check_line(error, (str(tmp_path / "out"), "choose another directory"))
    assert state_of(tmp_path) == before


# Bad images that are to be passed over


@by_method
def test_skipped_images_stand_in_the_ledger(method: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The run succeeds; bad images have the reason, no class, and rows in the tables of all images."""
    particles, bad = simulated(tmp_path), [0, 17, 59]
    path = particles.parent / "particles.mrcs"
    images = MrcStack(path).read(np.arange(60)).copy()
    images[0, 3, 4], images[17], images[59, 0, 0] = np.nan, 5.0, np.inf
    with path.open("r+b") as file:
        file.seek(1024)
        file.write(images.tobytes())
    out = tmp_path / "out"
    assert isac(particles, out, *QUICK[method], "--on-bad-image", "skip", capsys=capsys) == (0, "")
    with (out / "ledger.csv").open() as table:
        rows = list(csv.DictReader(table))
    assert len(rows) == 60
    assert [i for i, row in enumerate(rows) if row["reason"] == "bad_image"] == bad
    assert all(rows[i]["class"] == "-1" for i in bad)
    names = set(read_particles(out / "classified.star").metadata.particles.texts("rlnImageName"))  # type: ignore[union-attr]
    placed = [i for i, row in enumerate(rows) if row["class"] != "-1"]
    assert names == {rows[i]["image"] for i in placed}
    assert placed
    assert len(np.loadtxt(out / "all_parameters.txt")) == 60
    assert len(np.loadtxt(out / "2dalignment" / "initial2Dparams.txt")) == 60
    left = np.loadtxt(out / "not_processed_images.txt", dtype=int)
    assert sorted([*left, *placed]) == list(range(60))
    assert json.loads((out / "run.json").read_text())["counts"]["by_reason"]["bad_image"] == 3


# Particles that a method can do nothing with


@pytest.mark.parametrize("outside", [0.0, 3.0])
def test_masked_images_are_refused_by_likelihood(
    outside: float, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where the background is constant there is no noise to measure: the line names the image and another way."""
    y, x = np.mgrid[:BOX, :BOX] - BOX // 2
    images = noise()
    images[20:, x**2 + y**2 > 12**2] = outside
    particles = stack(tmp_path, images)
    status, error = isac(particles, tmp_path / "out", capsys=capsys)
    assert status == 1
    check_line(error, ("particles.mrcs: image 21 ", "no noise around the particle", "--method isac2"))


def test_shifts_beyond_the_working_images_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Definition: of 32 px images, 16 - 3 px for the mask's edge - 12 leave 1 px."""
    assert cli.run(["isac", str(simulated(tmp_path)), str(tmp_path / "out"), *FITTING, "--max-shift", "3"]) == 0
    warnings = [line for line in capsys.readouterr().out.splitlines() if "Warning" in line]
    assert "--max-shift 3 reaches beyond the working images: only shifts within 1 px" in warnings[0]
    assert "larger box" in warnings[0]
