"""Whole runs by PyTorch's engines, and what a run says of its devices."""

import csv
import functools
import importlib.util
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cryoisac.cli import main as cli
from cryoisac.engine.devices import PROCESSOR, Devices, choose_devices
from cryoisac.run.call import Call
from cryoisac.run.directory import RunDirectory
from cryoisac.run.opening import on_devices
from cryoisac.settings import Isac, Multireference, Simulation
from cryoisac.simulation.files import simulate
from cryoisac.workflow.alignment import run_alignment
from cryoisac.workflow.isac import run_isac

SETTINGS = Isac(img_per_grp=20, target_radius=10, target_nx=28, starts=1, skip_ordering=True)
ISAC2 = Isac(method="isac2", img_per_grp=20, target_radius=10, target_nx=28, init_iter=2, maxit=8, skip_ordering=True)
needs_torch = [
    pytest.mark.torch,
    pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="needs PyTorch: make test-gpu"),
]


@pytest.fixture(scope="module")
def particles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return sixty images of three views."""
    made = simulate(
        tmp_path_factory.mktemp("particles") / "made",
        Simulation(views=3, per_view=20, box=40, pixel_size=10.0, snr=1.0),
    )
    return Path(made.particles)


@pytest.fixture(scope="module")
def played(particles: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Isac], Path]:
    """Return what plays a run by PyTorch's engines on one device, once for the same settings."""

    @functools.cache
    def play(settings: Isac) -> Path:
        directory = tmp_path_factory.mktemp("played") / "run"
        run_isac(particles, directory, settings, threads=1, call=Call(devices=choose_devices("torch-cpu")))
        return directory

    return play


def members(directory: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return the class of each particle, and the pair of particles that each pair of classes shares."""
    with (directory / "ledger.csv").open() as file:
        labels = np.array([int(row["class"]) for row in csv.DictReader(file)])
    return labels, labels[:, None] == labels


class TestRuns:
    """Runs that need PyTorch."""

    pytestmark = needs_torch

    @pytest.mark.parametrize("settings", [SETTINGS, ISAC2], ids=["likelihood", "isac2"])
    def test_classes_are_those_of_the_processor(
        self, particles: Path, tmp_path: Path, played: Callable[[Isac], Path], settings: Isac
    ) -> None:
        """Independent program: the compiled engine. Searches of likelihood lose 1e-3 of a reference's energy there,
        which moves a gain by less than one, so that a particle near a threshold may be judged otherwise."""
        run_isac(particles, tmp_path / "cpu", settings, threads=1)
        (a, together), (b, also) = members(tmp_path / "cpu"), members(played(settings))
        in_both = (a > 0) & (b > 0)
        assert (together[np.ix_(in_both, in_both)] == also[np.ix_(in_both, in_both)]).all()
        assert ((a > 0) != (b > 0)).sum() <= (2 if settings.method == "likelihood" else 0)
        assert in_both.sum() > 40
        assert "cpu: 60 images stay on it" in RunDirectory(played(settings)).log.read_text()
        record = json.loads((played(settings) / "run.json").read_text())
        assert record["device"] == "cpu (PyTorch on the processor)"

    @pytest.mark.parametrize("settings", [SETTINGS, ISAC2], ids=["likelihood", "isac2"])
    def test_classes_do_not_depend_on_how_many_devices(
        self,
        particles: Path,
        tmp_path: Path,
        played: Callable[[Isac], Path],
        monkeypatch: pytest.MonkeyPatch,
        settings: Isac,
    ) -> None:
        """Invariance: rows shared out over one device and over three unequal ones, one with room for no image."""
        from cryoisac.engine.gpu import chosen

        alone, made = members(played(settings))[0], []
        (one,) = chosen.places(("cpu",), 0.9, 1)
        rooms = ((1 << 14, 1.0), (1 << 26, 1.3), (1 << 28, 2.2))  # bytes, and how fast

        def places(names: tuple[str, ...], *_: object) -> list[Any]:
            made.append(names)
            return [replace(one, budget_bytes=budget, speed=speed) for budget, speed in rooms]

        monkeypatch.setattr(chosen, "places", places)
        run_isac(particles, tmp_path / "run", settings, threads=1, call=Call(devices=Devices(names=("cpu",) * 3)))
        assert set(made) == {("cpu",) * 3}
        assert (alone > 0).sum() > 40
        assert (members(tmp_path / "run")[0] == alone).all()

    def test_a_plan_is_told_by_gpu_info(self, particles: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """Known truth: how images will be kept."""
        words = ["isac", str(particles), "--img-per-grp", "20", "--radius", "12", "--device", "torch-cpu", "--gpu-info"]
        for method in ("likelihood", "isac2"):
            assert cli.run([*words, "--method", method]) == 0
            (line,) = [x for x in capsys.readouterr().out.splitlines() if x.startswith("device ")]
            assert "cpu: 60 images stay on it" in line

    def test_alignments_are_those_of_the_processor(self, particles: Path, tmp_path: Path) -> None:
        """Independent program: classes of a multireference alignment."""
        settings = Multireference(radius=14, xr="1", ts="1", maxit=3, search="exact")
        for name in ("cpu", "torch-cpu"):
            call = Call(devices=choose_devices(name))
            run_alignment(particles, tmp_path / name, settings, references=3, threads=1, call=call)
        a, b = (members(tmp_path / name)[0] for name in ("cpu", "torch-cpu"))
        assert (a == b).all()


def test_the_command_line_takes_devices(particles: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Known truth: what is chosen is said; what is not there is refused before anything is made."""
    words = ["isac", str(particles), str(tmp_path / "run"), "--img-per-grp", "20"]
    for device in ("cuda:97", "gpu:0"):
        assert cli.run([*words, "--device", device]) == 1
        assert capsys.readouterr().err.startswith(("Error: cuda", "Error: gpu", "Error: --device"))
    assert cli.run([*words, "--gpu-memory-use", "2"]) == 1
    assert "--gpu-memory-use: is 2" in capsys.readouterr().err
    assert cli.run([*words[:2], *words[3:], "--radius", "12", "--gpu-info"]) == 0
    said = capsys.readouterr().out
    assert "GPUs" in said
    assert "needed" in said
    assert not (tmp_path / "run").exists()


def test_another_device_is_said_where_a_run_goes_on() -> None:
    """Known truth: the record names what computes now, and warns where that is another than at the beginning."""
    gpu = Devices(names=("cuda:0",), titles=("A",))
    assert on_devices(PROCESSOR, None, ["x"]) == {"device": "processor", "warnings": ["x"]}
    assert on_devices(gpu, {"device": "cuda:0 (A)"}, [])["warnings"] == []
    (warning,) = on_devices(gpu, {"device": "processor"}, [])["warnings"]
    assert warning.startswith("Begun on processor, continued on cuda:0 (A)")
    assert on_devices(replace(PROCESSOR, reason="none"), {}, [])["warnings"] == []
