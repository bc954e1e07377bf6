"""Plans: what a run needs by either method, and what is odd about it."""

from dataclasses import replace
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cryoisac.cluster.result import Result
from cryoisac.io.registry import read_particles
from cryoisac.run import likelihood, likelihood_needs, plan
from cryoisac.run.plan import Plan, make_plan
from cryoisac.run.working_stack import Geometry
from cryoisac.settings import Isac
from cryoisac.workflow.isac import run_isac
from tests.run.conftest import LIKELIHOOD, METHODS, SETTINGS


def plan_of(particles: Path, settings: Isac) -> Plan:
    """Return the plan of a run of all particles."""
    found = read_particles(particles)
    return make_plan(found, np.arange(len(found)), settings)


def test_the_disk_of_a_run_is_foreseen(particles: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Definition by brute force: no less than the files of an unfinished run, and no more but for what is fixed."""
    taken = []

    def weigh(*_: Any) -> Result:
        taken.append(sum(p.stat().st_size for p in (tmp_path / "run").rglob("*") if p.is_file()))
        raise InterruptedError

    monkeypatch.setattr(likelihood.finishing, "result", weigh)
    with pytest.raises(InterruptedError):
        run_isac(particles, tmp_path / "run", LIKELIHOOD)
    foreseen = plan_of(particles, LIKELIHOOD).disk_bytes
    assert taken[0] <= foreseen
    assert foreseen - (1 << 24) <= 1.2 * taken[0]  # 16 MB are for what does not grow with the images


def needs(n: int, k: int = 20, **changes: Any) -> tuple[int, int, tuple[float, float]]:
    """Return memory, disk and seconds of a run by likelihood of images of 64 px."""
    settings = Isac(radius=24, img_per_grp=50, max_shift=3.0, target_radius=24, target_nx=64, **changes)
    geometry = Geometry(box_px=64, radius_px=24, target_radius_px=24, target_box_px=64)
    return (
        likelihood_needs.memory_bytes(n, k, geometry, settings, 2),
        likelihood_needs.disk_bytes(n, geometry, settings),
        likelihood_needs.seconds(n, k, geometry, settings, 2),
    )


def test_needs_grow_with_images_classes_and_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Definition: ring images lie on disk, so that a million images need little more memory than their scores."""
    trial_s = cycle((0.001, 0.002, 0.05, 0.02, 0.005))  # in the order in which the trial takes them
    monkeypatch.setattr(likelihood_needs, "seconds_of", lambda work, repeats: next(trial_s))
    few, many = needs(10_000), needs(1_000_000)
    assert many[0] - few[0] < 990_000 * (20 * 2 * 4 * 6 + 1000)  # tables of scores, and 1 kB for each image
    assert many[1] > 50 * few[1]
    assert many[2][0] > 10 * few[2][0]  # 100 times as many images; what classes take stays
    assert all(0 < least < most for least, most in (few[2], many[2]))
    assert needs(10_000, k=200)[0] > few[0]
    assert needs(10_000, starts=9)[2][0] > few[2][0]


def test_what_belongs_to_one_method_is_not_said_of_the_other(particles: Path) -> None:
    """Definition: rings and --xr are the original method's, --max-shift is the other's."""
    wide = {"target_nx": 30}
    by_method = {
        method: " ".join(plan_of(particles, replace(settings, **wide)).warnings) for method, settings in METHODS.items()
    }
    assert by_method["isac2"] == ""
    assert by_method["likelihood"] == ""
    shifted = plan_of(particles, replace(LIKELIHOOD, max_shift=2.0)).warnings
    assert len(shifted) == 1
    assert shifted[0].startswith("--max-shift 2 ")
    searched = plan_of(particles, replace(SETTINGS, xr=9.0, ir=11, target_nx=28)).warnings
    assert [w.split()[0] for w in searched] == ["--xr", "--yr", "Images"]
    assert not any("--max-shift" in w for w in searched)


@pytest.mark.parametrize(
    ("target_nx", "advice"), [(28, "a larger --target-nx gives"), (36, "particles cut out with a larger box give")]
)
def test_what_would_give_more_room_is_said(particles: Path, target_nx: int, advice: str) -> None:
    """Definition: working images end where they are cut, or where the input images end."""
    warnings = plan_of(particles, replace(LIKELIHOOD, max_shift=5.0, target_nx=target_nx)).warnings
    assert f"only shifts within 1 px are tried; {advice} more room" in warnings[0]


def test_automatic_shifts_follow_the_radius_as_far_as_there_is_room() -> None:
    """Definition: 0.17 of it, or half the box less the radius and 3 px for the mask's edge; little room is said."""
    for box, found, warned in ((64, 4.08, False), (60, 3.0, False), (54, 1.0, True)):
        geometry = Geometry(box_px=box, radius_px=24, target_radius_px=24, target_box_px=64)
        shift_px, _ = plan._largest_shift(geometry)
        assert shift_px == pytest.approx(found, abs=0.05)  # to a tenth of a pixel
        settings = replace(LIKELIHOOD, radius=24, target_radius=24, target_nx=64, max_shift=shift_px)
        assert bool(plan._likelihood_warnings(geometry, settings)) == warned


def test_shifts_are_of_one_method(particles: Path) -> None:
    """Definition: the original method has ranges instead."""
    assert "max_shift" in plan_of(particles, replace(LIKELIHOOD, max_shift=None)).automatic
    assert plan_of(particles, SETTINGS).settings.max_shift is None
