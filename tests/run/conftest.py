"""A small set of particles, and what a run directory holds."""

import hashlib
from pathlib import Path

import pytest

from cryoisac.settings import Isac, Simulation
from cryoisac.simulation.files import simulate

SETTINGS = Isac(
    method="isac2",
    radius=12,
    img_per_grp=20,
    minimum_grp_size=8,
    target_radius=12,
    target_nx=36,
    maxit=12,
    init_iter=2,
    rand_seed=3,
)
LIKELIHOOD = Isac(
    radius=12,
    img_per_grp=20,
    minimum_grp_size=8,
    target_radius=12,
    target_nx=36,
    max_shift=1.0,
    starts=2,
    rand_seed=3,
)
METHODS = {"likelihood": LIKELIHOOD, "isac2": SETTINGS}


@pytest.fixture(scope="session")
def particles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A STAR file of 100 particles of 32 px in five views."""
    folder = tmp_path_factory.mktemp("particles")
    simulate(folder, Simulation(views=5, per_view=20, box=32, pixel_size=10.0, snr=1.0, max_shift=1.0, ctf=True))
    return folder / "particles.star"


def contents(directory: Path) -> dict[str, str]:
    """Return the checksum of every file of a run but its logs and the command lines that it was called by, by name."""
    return {
        str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and "logs" not in path.parts and path.name != "command.txt"
    }
