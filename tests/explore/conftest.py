"""Simulated particles of three views, classified by their truth."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from cryoisac.explore.source import read_input
from cryoisac.explore.study import Study, explore
from cryoisac.model.ledger import Ledger
from cryoisac.products.averages import write_averages
from cryoisac.products.tables import write_original_tables
from cryoisac.scoring.files import KnownTruth, read_truth
from cryoisac.settings import Explore, Simulation
from cryoisac.simulation.files import simulate

VIEWS, PER_VIEW, RADIUS, RATIO = 3, 50, 20, 1.25
SMALL = Explore(target_radius=16, rank=8, n_components=10, embedding="none")


@dataclass(frozen=True, eq=False)
class Finished:
    """A classification that is the truth, but for image 0, which is in no class."""

    run: Path
    particles: Path
    truth_file: Path
    truth: KnownTruth


def write_run(path: Path, label: np.ndarray, truth: KnownTruth) -> None:
    """Write what is read of a run: tables, and the headers of averages."""
    path.mkdir()
    n, k = len(label), int(label.max()) + 1
    members = np.flatnonzero(label >= 0)
    ledger = Ledger.empty(n).entered(members, poses=truth.poses[members].scaled(RATIO), label=label[members], reason="")
    write_original_tables(path, ledger, np.zeros((n, 2)), RATIO, RADIUS)
    averages = np.random.default_rng(0).normal(size=(k, 8, 8)).astype(np.float32)
    write_averages(path / "class_averages", averages, ledger, None, np.arange(k))


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Finished:
    """Three views of fifty noisy images each."""
    folder = tmp_path_factory.mktemp("explored")
    settings = Simulation(views=VIEWS, per_view=PER_VIEW, box=48, pixel_size=8.0, snr=0.5, ctf=True)
    made = simulate(folder / "particles", settings)
    truth = read_truth(made.truth)
    label = truth.view.copy()
    label[0] = -1
    write_run(folder / "run", label, truth)
    return Finished(folder / "run", made.particles, made.truth, truth)


@pytest.fixture(scope="session")
def studied(finished, tmp_path_factory) -> Study:
    """What came of exploring it, by t-SNE."""
    settings = replace(SMALL, embedding="tsne", ctf=True)
    given = read_input(finished.run, settings, stack=finished.particles, truth=finished.truth_file)
    return explore(given, settings, tmp_path_factory.mktemp("study"))
