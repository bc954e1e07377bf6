"""The way of a user: simulated particles are classified, averaged at full size, and taken on as a substack."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from cryoisac.errors import RunError
from cryoisac.io.mrc import MrcStack
from cryoisac.io.registry import read_particles
from cryoisac.io.star import read_star
from cryoisac.products.substack import make_substack
from cryoisac.run.directory import fingerprint
from cryoisac.scoring.alignment import alignment_errors
from cryoisac.scoring.files import read_classification, read_truth
from cryoisac.settings import Averaging, Isac, Simulation, Substack
from cryoisac.simulation.files import simulate
from cryoisac.workflow.averaging import run_average
from cryoisac.workflow.isac import run_isac
from tests.io.berkeley import database, header

RADIUS = 12
METHODS = {"likelihood": {"max_shift": 1.0, "starts": 2}, "isac2": {"maxit": 12, "init_iter": 2}}


@pytest.fixture(scope="module")
def particles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A STAR file of 150 particles of 32 px in three views, beside their truth."""
    folder = tmp_path_factory.mktemp("particles")
    views = Simulation(views=3, per_view=50, box=32, pixel_size=8.0, snr=1.0, max_shift=1.0, ctf=True)
    return simulate(folder, views).particles


@pytest.fixture(scope="module", params=sorted(METHODS))
def run(request: pytest.FixtureRequest, particles: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run by each method, on working images smaller than the particles' own."""
    sizes = {"radius": RADIUS, "img_per_grp": 50, "minimum_grp_size": 8, "target_radius": 10, "target_nx": 30}
    home = tmp_path_factory.mktemp("runs") / request.param
    run_isac(particles, home, Isac(method=request.param, ctf=True, rand_seed=3, **sizes, **METHODS[request.param]))
    return home


@pytest.mark.parametrize("local", [False, True], ids=["poses of the run", "aligned at full size"])
def test_poses_are_true_to_the_end(run: Path, particles: Path, tmp_path: Path, local: bool) -> None:
    """Known truth: after one rigid motion a class, poses are as simulated."""
    run_average(run, tmp_path / "averages", Averaging(local_alignment=local))
    made = make_substack(tmp_path / "averages", tmp_path / "substack", Substack())
    truth = read_truth(particles.with_name("truth.csv"))
    found = read_classification(made.star, truth)
    assert found.poses is not None
    assert (found.label >= 0).mean() > 0.8
    rotation, shift, mirror = [], [], []
    for label in np.unique(found.label[found.label >= 0]):
        members = np.flatnonzero(found.label == label)
        members = members[truth.view[members] == np.bincount(truth.view[members]).argmax()]
        errors = alignment_errors(found.poses[members], truth.poses[members], radius_px=RADIUS)
        rotation.append(errors.rotation_deg)
        shift.append(errors.shift_px)
        mirror.append(errors.mirror_right)
    # shifts left in working pixels would be wrong by 0.13 px by likelihood, and 0.30 px with isac2
    assert np.nanmedian(np.concatenate(shift)) < (0.1 if local or run.name == "likelihood" else 0.25)
    assert np.nanmedian(np.concatenate(rotation)) < 1  # a degree is 0.2 px at the radius
    assert np.concatenate(mirror).mean() > 0.95


def test_classes_are_chosen_by_their_resolution(run: Path, tmp_path: Path) -> None:
    """Definition: exactly the classes whose average reaches the limit."""
    outcome = run_average(run, tmp_path / "averages", Averaging())
    resolution_A = {c["class"]: c["resolution_A"] for c in outcome.record["classes"]}
    limit_A = float(np.mean(sorted(resolution_A.values())[:2]))
    made = make_substack(tmp_path / "averages", tmp_path / "substack", Substack(min_resolution=limit_A))
    taken = classes_in(made.star)
    assert taken == {number for number, reached in resolution_A.items() if reached <= limit_A}
    assert 0 < len(taken) < len(resolution_A)


def test_particles_in_a_database_are_found(
    run: Path, particles: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Invariance: the same images, where the run names an EMAN2 database; changed ones are refused."""
    images = read_particles(particles).read(np.arange(150))
    database(tmp_path, "all", images, [header(i, images[i], apix_x=8.0) for i in range(150)])
    home = tmp_path / "run"
    shutil.copytree(run, home)
    record = json.loads((home / "run.json").read_text())
    record["input"].update(path="bdb:all", sha256=fingerprint(Path(f"bdb:{tmp_path}#all")))
    (home / "run.json").write_text(json.dumps(record))
    monkeypatch.chdir(tmp_path)
    settings = Averaging(no_ctf=True)
    run_average(run, tmp_path / "expected", settings)
    run_average(home, tmp_path / "made", settings)
    expected, made = (MrcStack(tmp_path / name / "class_averages.mrcs") for name in ("expected", "made"))
    every = np.arange(expected.shape[0])
    np.testing.assert_array_equal(made.read(every), expected.read(every))
    record["input"]["sha256"] = "0" * 64
    (home / "run.json").write_text(json.dumps(record))
    with pytest.raises(RunError, match="have changed since"):
        run_average(home, tmp_path / "other", settings)


def classes_in(star: Path) -> set[int]:
    """Return the class numbers of a substack."""
    return set(read_star(star).particles.integers("rlnClassNumber").tolist())
