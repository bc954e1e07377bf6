"""The benchmarks of GPUs, tried on the processor: that they run, what they count, what they leave out."""

import importlib.util
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "benchmarks"))


def needs_torch(test: Any) -> Any:
    """Mark a test of what PyTorch computes."""
    there = importlib.util.find_spec("torch") is not None
    for mark in (pytest.mark.torch, pytest.mark.usefixtures("one_thread")):
        test = mark(test)
    return pytest.mark.skipif(not there, reason="needs PyTorch: make test-gpu")(test)


@pytest.fixture
def one_thread() -> None:
    """Compute in one thread: those of OpenMP spin where other programs have the cores."""
    import torch

    torch.set_num_threads(1)


@needs_torch
def test_gpu_check_runs_without_a_gpu(tmp_path: Path) -> None:
    """Known truth: the program that checks GPUs does each of its parts on the processor, and says so in a table."""
    words = ["--device", "torch-cpu", "--quick", "--minutes", "600", "--only"]  # on machines of any speed
    parts = "machine,accuracy,headline,rings,streaming,fused"
    program = [sys.executable, str(ROOT / "benchmarks" / "gpu_check"), *words, parts]
    own = os.environ | {"OUT": str(tmp_path), "TRITON_INTERPRET": "1", "OMP_WAIT_POLICY": "passive"}
    done = subprocess.run(program, env=own, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    table = done.stdout.split("--- gpu_check ---")[1]
    assert "FAILED" not in table
    found = json.loads((tmp_path / "gpu_check.json").read_text())
    assert set(parts.split(",")) <= set(found["seconds"])
    assert found["accuracy"]["pixels, float32"]["scores"] < 1e-5
    assert found["accuracy"]["rings, float32"]["gains"] < 0.05
    assert all(found["repeated"].values())
    assert all(row["same"] for row in found["streaming"].values())
    row = found["searches"]["score fast, 10 references"]
    assert row["ns_a_triple"] > 0
    assert sum(row["parts_ns"].values()) > row["allowed_ns"] > 0
    assert all(":" in line["at"] for line in row["largest"])
    for name, row in found.get("fused", {}).items():  # where Triton is installed
        assert row.get("apart", 0) < (5e-4 if name.endswith("tf32") else 1e-6)  # factors of eleven bits, or float32
        assert row.get("scores apart", 0) < 1e-6


@needs_torch
def test_gpu_check_leaves_out_what_it_has_no_time_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Definition: a part has its own seconds, and one for which the whole has none left is left out, and said so."""
    import gpu_record

    from cryoisac.engine.devices import choose_devices

    now, lefts = [100.0], []
    monkeypatch.setattr(gpu_record, "time", SimpleNamespace(monotonic=lambda: now[0]))
    run = gpu_record.Check(choose_devices("torch-cpu"), tmp_path / "a.json", 160.0, False)

    def first(run: gpu_record.Check) -> None:
        now[0] += 0.5
        lefts.append((run.left(), run.time_for("short", 1), run.time_for("long", 3)))
        now[0] = 156.0

    gpu_record.perform(run, {"first": (2.0, first), "second": (60.0, first)}, "torch-cpu")
    assert lefts == [(1.5, True, False)]
    found = json.loads((tmp_path / "a.json").read_text())
    assert found["left_out"] == ["long", "second"]
    assert found["seconds"] == {"first": 56.0}


@needs_torch
def test_definition_the_page_lists_the_parts_of_gpu_check() -> None:
    """Definition: every part, in the order in which they are done, and the seconds that each may take."""
    import gpu_parts

    text = (ROOT / "docs" / "gpu-internals.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| .* \| (\d+) \|$", text, re.MULTILINE)
    assert rows == [(name, str(seconds)) for name, (seconds, _) in gpu_parts.PARTS.items()]


@needs_torch
def test_definition_what_ops_cost() -> None:
    """Definition: bytes in and out, operations of products and transforms, launches and waits of ops that are known."""
    import torch
    from gpu_count import Counts, Line, counted

    def line(work: Any) -> Line:
        with counted() as counts:
            work()
        assert isinstance(counts, Counts)
        return counts.total()

    a, b, device = torch.randn(4, 5, 6), torch.randn(4, 6, 7), torch.device("cpu")
    floats = 4 * (4 * 5 * 6 + 4 * 6 * 7 + 4 * 5 * 7)
    product = Line(bytes=floats, product_flop=2 * 4 * 5 * 6 * 7, launches=1)
    assert line(lambda: torch.bmm(a, b)) == product
    assert line(lambda: torch.bmm(a, b, out=torch.empty(4, 5, 7))) == product
    assert line(lambda: a + 1) == Line(bytes=4 * 2 * 120, launches=1)
    assert line(lambda: a.mul_(2)) == Line(bytes=4 * 2 * 120, launches=1)
    rings = torch.randn(3, 8)
    transform = Line(bytes=4 * 24 + 8 * 15, transform_flop=2.5 * 3 * 8 * 3, launches=1)
    assert line(lambda: torch.fft.rfft(rings)) == transform
    assert line(lambda: torch.fft.ifft(torch.fft.rfft(rings), dim=0)).transform_flop == pytest.approx(
        transform.transform_flop + 5 * 15 * np.log2(3)
    )
    assert line(lambda: a.view(20, 6)[:, None].transpose(0, 1).expand(3, 20, 6)) == Line()
    assert line(lambda: a[torch.tensor([1])]).bytes == 2 * 4 * 30 + 8  # what is taken, where it goes, which it is
    assert line(lambda: a[:, :, :1] + 0).bytes == 20 * (6 * 4 + 4)  # values that lie apart take what is between them
    assert line(lambda: a.max().item()) == Line(bytes=4 * 120 + 2 * 4, launches=2, waits=1)
    copied = Line(launches=1, waits=1, host_bytes=480)
    assert line(lambda: a.cpu()) == copied
    assert line(lambda: a.to(device)) == copied
    assert line(lambda: a.to(device, non_blocking=True)) == Line(launches=1, host_bytes=480)

    def without_gradients() -> None:
        with torch.inference_mode():
            a @ b
            a.cpu()

    assert line(without_gradients).waits == 1
    assert line(without_gradients).product_flop == product.product_flop


@needs_torch
def test_invariance_paper_estimates_do_not_depend_on_how_many_images_were_counted() -> None:
    """Invariance: what a question takes of many images is the same, whichever two numbers of images are counted."""
    import gpu_paper
    from gpu_count import H200
    from gpu_questions import Pixels

    made = Pixels.made(48, 3)
    engine = gpu_paper.TorchEngine(made.images, gpu_paper.place(), mode="fast")
    made.score(engine, 3, 1)
    a, b = (gpu_paper.question(lambda n: made.score(engine, 3, n), rows, 1000) for rows in (16, 24))
    assert a.total().bytes == pytest.approx(b.total().bytes, rel=1e-6)
    assert a.total().launches == b.total().launches
    assert a.least_s(H200) == pytest.approx(b.least_s(H200), rel=1e-6)


@needs_torch
def test_gpu_check_goes_on_where_a_part_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Known truth: an error is noted with its place and other parts are done; a lost device needs a new process."""
    import gpu_record

    from cryoisac.engine.devices import choose_devices

    def fails(run: gpu_record.Check) -> None:
        for number in range(2):
            with run.step(f"step {number}"):
                raise ValueError("none")
        raise KeyError("all")

    started: list[list[str]] = []
    monkeypatch.setattr(gpu_record.os, "execv", lambda program, words: started.append(words))
    said = {"two": lambda run: run.say("done"), "three": lambda run: run.say("done too")}
    parts = {name: (60.0, part) for name, part in {"one": fails, **said}.items()}
    for dead in (False, True):
        monkeypatch.setattr(gpu_record, "lost", lambda run, dead=dead: dead)
        run = gpu_record.Check(choose_devices("torch-cpu"), tmp_path / "a.json", time.monotonic() + 3600, True)
        gpu_record.perform(run, parts, "torch-cpu")
        found = json.loads((tmp_path / "a.json").read_text())
        assert set(found["failed"]) == ({"step 0", "one"} if dead else {"step 0", "step 1", "one"})
        assert any("test_benchmarks_gpu.py" in line for line in found["failed"]["one"])
        assert {"done", "done too"} <= set(found["table"])
    ((_, program, *words),) = started
    assert (Path(program).name, words[words.index("--only") + 1]) == ("gpu_check", "two,three")
    again = gpu_record.Check(choose_devices("torch-cpu"), tmp_path / "a.json", time.monotonic(), True)
    again.resume()
    assert again.lines == run.lines


def test_known_truth_particles_made_in_parts(tmp_path: Path) -> None:
    """Known truth: particles that several processes make are those of the truth beside them, each at its place."""
    import gpu_runs

    from cryoisac.io.mrc import read
    from cryoisac.ops.masks import circle
    from cryoisac.ops.warp import rotate_shift
    from cryoisac.simulation.files import made_up
    from cryoisac.simulation.images import ParticleImages

    assert gpu_runs.begin_simulation(tmp_path / "particles", 36, 3, 40, 2).wait() == 0
    assert gpu_runs.simulated(tmp_path / "particles", limit_s=0)
    images = read(tmp_path / "particles" / "particles.mrcs").read(np.arange(36))
    settings, truth = gpu_runs._drawn(36, 3, 40)
    signal = ParticleImages((made_up(settings),), settings, truth).clean(np.arange(36))
    turned = rotate_shift(images, truth.poses)
    inside = circle(12, 40)
    alike = np.array([[np.corrcoef(t[inside], s[inside])[0, 1] for s in signal] for t in turned])
    own = truth.view[:, None] == truth.view
    assert alike[own].mean() > alike[~own].mean() + 0.1


def test_known_truth_a_run_tells_its_stages(tmp_path: Path) -> None:
    """Known truth: the stages of a run take its time, the engine a part of it; one that is cut off tells how far."""
    import gpu_runs

    assert gpu_runs.begin_simulation(tmp_path / "particles", 60, 3, 40, 2).wait() == 0
    words = ["isac", str(tmp_path / "particles" / "particles.star"), str(tmp_path / "run"), "--img-per-grp", "20"]
    words += ["--target-radius", "10", "--target-nx", "28", "--starts", "1", "--skip-ordering"]
    run = gpu_runs.played(words, tmp_path / "a.json", limit_s=3600)
    told = sum(sum(stage["wall_s"].values()) for stage in run.stages.values())
    assert run.end == "over"
    assert "accounted" in run.said
    assert 0 < told <= run.wall_s
    assert 0 < run.engine_share < 1
    assert {"starts", "averages", "ring transform"} <= set(run.stages)
    cut = gpu_runs.played([*words[:2], str(tmp_path / "cut"), *words[3:]], tmp_path / "b.json", limit_s=0)
    assert cut.end == "cut off"
    bad = gpu_runs.played([*words, "--maxit", "none"], tmp_path / "c.json", limit_s=3600)
    assert bad.end == "failed"
    assert "maxit" in bad.said


@needs_torch
def test_many_images_on_a_small_card(tmp_path: Path) -> None:
    """Independent program: the compiled engine, on the images that the stack repeats."""
    import gpu_memory
    import gpu_record

    from cryoisac.engine.devices import choose_devices

    run = gpu_record.Check(choose_devices("torch-cpu"), tmp_path / "a.json", time.monotonic() + 3600, True)
    gpu_memory.compare(run)
    found = json.loads((tmp_path / "a.json").read_text())["million"]
    assert found["fits"]
    assert found["images"] * 76**2 * 4 == found["stack_bytes"]
    assert found["apart"]["scores"] < 0.02  # the compiled engine leaves out some of the references' energy
    assert found["apart"]["other poses"] <= 0.01
    assert found["apart"]["sums"] < 1e-6
