"""Runs killed at random moments."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cryoisac.settings import Isac, describe
from cryoisac.workflow.isac import run_isac
from tests.run.conftest import METHODS, contents

KILLS = 12


def command(particles: Path, directory: Path, settings: Isac) -> list[str]:
    """Return the command line of a run with some settings."""
    given = [
        word
        for d in describe(Isac)
        if getattr(settings, d.name) != d.default
        for word in (d.flag, str(getattr(settings, d.name)))
    ]
    return [sys.executable, "-m", "cryoisac", "isac", str(particles), str(directory), *given]


@pytest.mark.parametrize("settings", METHODS.values(), ids=METHODS)
def test_killed_runs_end_as_undisturbed_ones(particles: Path, tmp_path: Path, settings: Isac) -> None:
    """Invariance: SIGKILL at 12 random moments, each followed by the same command; every run ends the same, bitwise."""
    whole = tmp_path / "whole"
    run_isac(particles, whole, settings)
    expected = contents(whole)
    begin = time.monotonic()
    subprocess.run(command(particles, tmp_path / "timed", settings), check=True, capture_output=True)
    duration = time.monotonic() - begin
    moments = random.Random(0)
    kills, runs = 0, 0
    while kills < KILLS:
        directory = tmp_path / f"killed{runs}"
        ended = False
        while not ended:
            words = command(particles, directory, settings)
            process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            limit = moments.uniform(0.3, 1.0) * duration if kills < KILLS else None  # later ones on a busy machine end
            try:
                _, said = process.communicate(timeout=limit)
                assert process.returncode == 0, said.decode()
                ended = True
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.communicate()
                kills += 1
        assert contents(directory) == expected
        runs += 1
