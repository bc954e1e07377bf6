"""``cryoisac mra`` and ``cryoisac rfa``: what they take, what they say, how they fail."""

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from cryoisac.cli import main as cli
from cryoisac.cli.mra import chosen
from cryoisac.cli.options import from_options, settings_options
from cryoisac.errors import SettingError
from cryoisac.settings import Alignment, Multireference, ReferenceFree, Settings, Simulation
from cryoisac.simulation.files import simulate


@pytest.fixture(scope="module")
def particles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A STAR file of 30 particles of 24 px."""
    folder = tmp_path_factory.mktemp("particles")
    simulate(folder, Simulation(views=3, per_view=10, box=24, pixel_size=12.0, snr=1.0, max_shift=1.0))
    return folder / "particles.star"


def run(*words: object, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    status = cli.run([str(word) for word in words])
    said = capsys.readouterr()
    return status, said.out, said.err


ORIGINAL = {
    Multireference: ["--ou", "9", "--ir", "2", "--rs", "2", "--xr", "2", "--yr", "1", "--ts", "0.5", "--center", "2",
                     "--maxit", "3", "--CTF", "--snr", "0.5", "--function", "ref_ali2d", "--rand_seed", "7"],
    ReferenceFree: ["--ou=9", "--xr=2 1", "--ts=1 0.5", "--yr=-1", "--nomirror", "--dst=90", "--center=-1", "--maxit=0",
                    "--CTF", "--Fourvar", "--randomize"],
}  # fmt: skip


@pytest.mark.parametrize("settings", [Multireference, ReferenceFree])
def test_settings_are_options_under_the_originals_names(settings: type[Settings]) -> None:
    """Definition."""
    seen: list[Settings] = []

    @click.command()
    @settings_options(settings)
    def command(**options: object) -> None:
        seen.append(from_options(settings, options))

    result = CliRunner().invoke(command, ORIGINAL[settings], catch_exceptions=False)  # type: ignore[index]
    assert result.exit_code == 0, result.output
    made = seen[0]
    assert isinstance(made, Alignment)
    assert made.radius == 9
    assert made.ctf
    if isinstance(made, Multireference):
        assert (made.ir, made.rs, made.center_method, made.snr, made.rand_seed) == (2, 2, 2, 0.5, 7)
        assert made.ranges() == ((2, 1, 0.5),)
        assert made.iterations == 3
    elif isinstance(made, ReferenceFree):
        assert made.no_mirror
        assert made.fourier_variance
        assert made.randomize
        assert made.ranges() == ((2, 2, 1), (1, 1, 0.5))
        assert made.iterations == 10


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, ((3, 3, 1),)),
        ({"xr": "4 2 1 1", "ts": "2,1,0.5,0.25"}, ((4, 4, 2), (2, 2, 1), (1, 1, 0.5), (1, 1, 0.25))),
        ({"xr": "4 2", "yr": "0"}, ((4, 0, 1), (2, 0, 1))),
        ({"xr": "1", "yr": "3 2", "ts": "1"}, ((1, 3, 1), (1, 2, 1))),
    ],
)
def test_lists_are_stages(given: dict[str, str], expected: tuple[tuple[float, float, float], ...]) -> None:
    """Definition: one number holds for all stages."""
    assert Multireference(**given).ranges() == expected


def test_the_stages_of_the_original_are_the_default_without_references() -> None:
    """Definition: and with a range of one's own, steps of 1 px."""
    assert ReferenceFree().ranges() == ((4, 4, 2), (2, 2, 1), (1, 1, 0.5), (1, 1, 0.25))
    assert ReferenceFree(xr="3").ranges() == ((3, 3, 1),)


@pytest.mark.parametrize(
    ("given", "flag"),
    [
        ({"xr": "4 x"}, "--xr"),
        ({"xr": ""}, "--xr"),
        ({"yr": "-2"}, "--yr"),
        ({"xr": "1 2 3", "ts": "1 1"}, "--ts"),
        ({"ts": "0.05"}, "--ts"),
        ({"xr": "1", "ts": "2"}, "--ts"),
        ({"radius": 5, "ir": 6}, "--ir"),
        ({"snr": 2.0}, "--snr"),
        ({"sizes": "equal", "min_size": 4}, "--min-size"),
        ({"sizes": "equal", "equal_first": 2}, "--equal-first"),
        ({"random_method": "SHC", "equal_first": 2}, "--equal-first"),
        ({"sizes": "equal", "random_method": "SHC"}, "--random-method"),
        ({"random_method": "SCF"}, "--random-method"),
    ],
)
def test_settings_that_cannot_be_are_refused(given: dict[str, object], flag: str) -> None:
    """Definition: one line that names the flag."""
    with pytest.raises(SettingError, match=f"^{flag}: ") as caught:
        Multireference(**given)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_references_are_a_number_or_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Definition: a file whose name is a number is a file."""
    monkeypatch.chdir(tmp_path)
    assert chosen("12") == 12
    assert chosen("refs.hdf") == Path("refs.hdf")
    (tmp_path / "12").touch()
    assert chosen("12") == Path("12")
    with pytest.raises(click.BadParameter):
        chosen("0")


def test_a_run_says_what_it_does(particles: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Definition: the plan with memory and time, a line an iteration, the end and where to look."""
    words = ("mra", particles, 3, tmp_path / "mra", "--radius", 8, "--xr", 1, "--maxit", 2)
    status, said, error = run(*words, capsys=capsys)
    assert (status, error) == (0, "")
    for text in ("Particles   30 of 30, 24 px; rings of 1 to 8 px", "References  3, images drawn", "Memory ", "Time ",
                 "Iteration 1:", "Iteration 2:", "3 classes of", "report.html"):  # fmt: skip
        assert text in said
    status, said, _ = run(*words, capsys=capsys)
    assert status == 0
    assert "nothing was changed" in said
    status, said, error = run("rfa", particles, tmp_path / "rfa", "--radius", 8, "--xr", 2, capsys=capsys)
    assert (status, error) == (0, "")
    assert "Stage 1     shifts up to 2, 2 px in steps of 1 px; at most 10 iterations" in said


def test_mistakes_are_one_line(particles: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Definition: no traceback, a status that is not 0."""
    for words, text in (
        (("mra", particles, tmp_path / "none.hdf", tmp_path / "out"), "none.hdf"),
        (("mra", particles, 0, tmp_path / "out"), "0 references"),
        (("mra", particles, 40, tmp_path / "out"), "too few for 40 references"),
        (("mra", particles, 3, tmp_path / "out", "--mask", tmp_path / "none.mrc"), "none.mrc"),
        (("rfa", particles, tmp_path / "out", "--radius", 11), "--radius"),
        (("rfa", particles, tmp_path / "out", "--function", "ref_ali3d"), "ref_ali3d"),
        (("rfa", particles, tmp_path / "out", "--ctf"), "--ctf"),
        (("rfa", tmp_path / "none.star", tmp_path / "out"), "none.star"),
    ):
        status, _, error = run(*words, capsys=capsys)
        assert status != 0
        assert text in error
        assert error.count("\n") == 1
