"""``cryoisac substack`` and ``sp_pipe.py isac_substack``: what they take, say and refuse."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cryoisac.cli import main as cli
from cryoisac.cli import sp_pipe
from cryoisac.io.eman_hdf import write_hdf_stack
from cryoisac.io.eman_stack import HdfStack
from cryoisac.io.star import read_star
from cryoisac.products.classification import read_classification
from cryoisac.settings import Isac, Simulation
from cryoisac.simulation.files import simulate
from cryoisac.workflow.isac import run_isac


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on 60 simulated particles in three views, which lie beside it."""
    home = tmp_path_factory.mktemp("home")
    made = simulate(home, Simulation(views=3, per_view=20, box=32, pixel_size=10.0, snr=1.0, max_shift=1.0))
    settings = Isac(radius=12, img_per_grp=20, minimum_grp_size=8, target_radius=10, target_nx=30, starts=2)
    run_isac(made.particles, home / "run", settings, threads=1)
    return home / "run"


def said(capsys: pytest.CaptureFixture[str], *arguments: object, pipe: bool = False) -> tuple[int, str, str]:
    call = [str(a) for a in arguments]
    status = cli.run(call, sp_pipe.group, sp_pipe.PROGRAM) if pipe else cli.run(call)
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def files(out: Path) -> dict[str, bytes]:
    return {p.relative_to(out).as_posix(): p.read_bytes() for p in out.rglob("*") if p.is_file()}


def test_it_says_what_came_of_it(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Known truth: counts as the run itself tells them."""
    found = read_classification(run)
    status, out, err = said(capsys, "substack", run, tmp_path / "out", "--classes", "2")
    assert (status, err) == (0, "")
    assert out.splitlines() == [
        f"Images      60, {found.accounted.sum()} of them in classes",
        f"Classes     {found.total}, 1 taken",
        f"Members     {found.size[1]}",
        f"Substack    {found.size[1]} particles: {tmp_path / 'out' / 'substack.star'}",
    ]


def test_options_are_those_of_the_settings(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Definition: averages of a file, another name, images; the given averages are counted."""
    averages = tmp_path / "good.hdf"
    write_hdf_stack(averages, np.ones((1, 8, 8), np.float32), None, [{"members": read_classification(run).members[1]}])
    call = ("substack", run, tmp_path / "out", "--averages", averages, "--basename", "mine", "--hdf")
    status, out, _ = said(capsys, *call, "--stack", run.parent / "particles.star", "--min-size", "1")
    assert status == 0
    assert ", 1 given, 1 taken" in out
    assert f"Images in   {tmp_path / 'out' / 'mine.hdf'}" in out
    assert len(HdfStack(tmp_path / "out" / "mine.hdf")) == len(read_star(tmp_path / "out" / "mine.star").particles)


def test_the_originals_call_makes_the_same(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Invariance: SPHIRE's spelling, and ours with its names."""
    particles, averages = run.parent / "particles.star", run / "ordered_class_averages.hdf"
    status, _, _ = said(
        capsys,
        *("isac_substack", particles, run, tmp_path / "a", f"--isac_class_avgs_path={averages}"),
        *("--substack_basename=mine", "--min_nr_segments=0"),
        pipe=True,
    )
    assert status == 0
    ours = ("substack", run, tmp_path / "b", "--stack", particles, "--averages", averages)
    assert said(capsys, *ours, "--basename", "mine", "--hdf")[0] == 0
    assert files(tmp_path / "a") == files(tmp_path / "b")


def test_the_originals_call_has_its_names(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Definition: isac_substack is how names begin; images are written unless they are not wanted."""
    particles = run.parent / "particles.star"
    assert said(capsys, "isac_substack", particles, run, tmp_path / "a", pipe=True)[0] == 0
    assert {"isac_substack.star", "isac_substack.hdf"} <= set(files(tmp_path / "a"))
    assert said(capsys, "isac_substack", particles, run, tmp_path / "b", "--no-hdf", pipe=True)[0] == 0
    assert "isac_substack.hdf" not in files(tmp_path / "b")


@pytest.mark.parametrize("name", ["moon_eliminator", "organize_micrographs", "desymmetrize"])
def test_other_pipelines_are_refused(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Definition: one line that says what there is."""
    status, out, err = said(capsys, name, "a", "--b=c", pipe=True)
    assert status == 2
    assert out == ""
    assert err.startswith(f"Error: sp_pipe.py {name} is not part of cryoisac, which has isac_substack alone")
    assert err.count("\n") == 1


def test_mistakes_are_one_line(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Definition: where, what, and nothing is made."""
    for options, words in (
        (("--classes", "99"), "--classes: there is no class 99"),
        (("--min-segments", "3"), "tells of no filaments"),
        (("--averages", run / "class_averages.mrcs"), "is no HDF stack"),
        (("--stack", tmp_path / "no.star"), "no.star"),
    ):
        status, out, err = said(capsys, "substack", run, tmp_path / "out", *options)
        assert (status, out) == (1, "")
        assert words in err
        assert err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_the_page_tells_every_option() -> None:
    """Definition: each spelling in the page's table is one that the program takes, and no setting is left out."""
    page = (Path(__file__).parents[2] / "docs" / "companions.md").read_text(encoding="utf-8")
    told = set(re.findall(r"`(--[\w-]+)`", page.split("What differs")[0])) | {"--hdf"}
    taken = sp_pipe.isac_substack.params
    spelled = {spelling for p in taken for spelling in (*p.opts, *p.secondary_opts)}
    assert told <= spelled
    assert all(set(p.opts) & told for p in taken if p.param_type_name == "option")
    line = re.search(r"^sp_pipe.py isac_substack (.*)$", page, re.MULTILINE)
    assert line is not None
    sp_pipe.isac_substack.make_context("isac_substack", shlex.split(line[1]))


def test_the_script_is_installed() -> None:
    """Definition: beside the interpreter, and it knows its name."""
    script = Path(sys.executable).with_name("sp_pipe.py")
    done = subprocess.run([script, "isac_substack", "--help"], capture_output=True, text=True, check=True)
    assert "--isac_class_avgs_path" in done.stdout
    assert "sp_pipe.py isac_substack" in done.stdout
