"""Pictures and finished runs that several tests share."""

from pathlib import Path

import numpy as np
import pytest

from cryoisac.settings import Isac, Simulation
from cryoisac.simulation.files import simulate
from cryoisac.workflow.isac import run_isac


@pytest.fixture(scope="session")
def asymmetric() -> np.ndarray:
    """Picture of 64 px without any symmetry: a few blobs near the centre."""
    y, x = np.mgrid[-32:32, -32:32].astype(np.float64)
    blobs = [
        (0, 0, 7, 1.0),
        (9, 4, 3, 1.3),
        (-6, 10, 4, 0.9),
        (3, -11, 2.5, 1.1),
        (-12, -5, 2.5, 0.7),
        (13, -3, 2, 0.8),
    ]
    return sum(a * np.exp(-((x - u) ** 2 + (y - v) ** 2) / (2 * s * s)) for u, v, s, a in blobs).astype(np.float32)


@pytest.fixture(scope="session")
def particles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A STAR file of 100 particles of 32 px in five views, beside their truth."""
    folder = tmp_path_factory.mktemp("particles")
    simulate(folder, Simulation(views=5, per_view=20, box=32, pixel_size=10.0, snr=1.0, max_shift=1.0, ctf=True))
    return folder / "particles.star"


@pytest.fixture(scope="session", params=["likelihood", "isac2"])
def finished(request: pytest.FixtureRequest, particles: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on ``particles``, in working images smaller than they are, by each method."""
    own = {"likelihood": {"max_shift": 1.0, "starts": 2}, "isac2": {"maxit": 12, "init_iter": 2}}[request.param]
    settings = Isac(
        method=request.param,
        radius=12,
        img_per_grp=20,
        minimum_grp_size=8,
        target_radius=10,
        target_nx=30,
        rand_seed=3,
        **own,
    )
    home = tmp_path_factory.mktemp("finished") / request.param
    run_isac(particles, home, settings, threads=1)
    return home


@pytest.fixture(scope="session")
def golden_run(shared: Path) -> Path:
    """The directory of a run of the original ISAC."""
    return shared / "data" / "eman2" / "isac_tiny"
