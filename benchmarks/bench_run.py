"""Where a whole run spends time and memory, stage by stage, and how the cost of a round grows.

    python benchmarks/bench_run.py [--case easy] [--threads 2] [--json FILE]
    python benchmarks/bench_run.py --growth 1000 5000 20000
    python benchmarks/bench_run.py --memory 10000 128

Functions of the package are wrapped by name while a run is played in this process. A stage is charged with what no
stage inside it is charged with; within a stage, the engine's three questions and the low-pass filter are told apart.
"""

import argparse
import contextlib
import functools
import importlib
import json
import os
import resource
import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as a run of the command line: threads are the engine's

import numpy as np
from bench_isac import CASES, processor

from cryoisac.cli.main import run as cryoisac
from cryoisac.cluster import generation as rounds
from cryoisac.comm import Serial
from cryoisac.engine.native import NativeEngine, instruction_set
from cryoisac.io.mrc_write import MrcStackWriter
from cryoisac.ops.masks import circle, normalise_inside
from cryoisac.settings import Isac

STAGES = {
    "cryoisac.run.opening.unusable": "scan",
    "cryoisac.run.opening.make_plan": "plan",
    "cryoisac.workflow.say_plan": "plan",
    "cryoisac.run.pipeline.write_shrunk": "shrink",
    "cryoisac.run.pipeline.play_prealignment": "pre-alignment",
    "cryoisac.run.pipeline.write_working": "working stack",
    "cryoisac.run.pipeline.normalised": "working stack",
    "cryoisac.run.pipeline.working_pixels": "working stack",
    "cryoisac.cluster.generation.score_all": "K-means: scores",
    "cryoisac.cluster.generation.equal_size": "K-means: assignment",
    "cryoisac.cluster.generation.cluster": "K-means: poses, averages",
    "cryoisac.cluster.generation.common_frame": "common frame",
    "cryoisac.cluster.generation.prove_members": "stability: alignments",
    "cryoisac.cluster.generation.find_stable": "stability: fit",
    "cryoisac.run.pipeline.checkpoint.save": "checkpoints",
    "cryoisac.workflow.order_classes": "products: ordering",
    "cryoisac.workflow.publish": "products: writing",
    "cryoisac.workflow.write_report": "products: report",
}
PARTS = {
    "cryoisac.engine.native.NativeEngine.score": "score",
    "cryoisac.engine.native.NativeEngine.match": "match",
    "cryoisac.engine.native.NativeEngine.total": "total",
    "cryoisac.align.reference_free.tangent_lowpass": "filter",
    "cryoisac.align.multireference.tangent_lowpass": "filter",
    "cryoisac.cluster.generation.tangent_lowpass": "filter",
}
ENGINE = ("score", "match", "total")
STATUS = Path("/proc/self/status")


@dataclass
class Cost:
    """What one stage took: wall seconds by part, CPU seconds of all threads, most memory in MB."""

    wall_s: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    cpu_s: float = 0.0
    peak_MB: float = 0.0


class Meter:
    """Charges time and memory to the stage, and the part of it, that is being played."""

    def __init__(self) -> None:
        self.costs: dict[str, Cost] = defaultdict(Cost)
        self._stages, self._parts = ["everything else"], ["rest"]
        reset_peak()
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def charge(self) -> None:
        """Charge what passed since the last time to the present stage."""
        wall, cpu = time.perf_counter(), time.process_time()
        cost = self.costs[self._stages[-1]]
        cost.wall_s[self._parts[-1]] += wall - self._wall
        cost.cpu_s += cpu - self._cpu
        self._wall, self._cpu = wall, cpu

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Charge what is inside to a stage."""
        self._peak()
        self.charge()
        self._stages.append(name)
        self._parts.append("rest")
        try:
            yield
        finally:
            self._peak()
            self.charge()
            self._stages.pop()
            self._parts.pop()

    @contextlib.contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Charge what is inside to a part of the present stage."""
        self.charge()
        self._parts.append(name)
        try:
            yield
        finally:
            self.charge()
            self._parts.pop()

    def _peak(self) -> None:
        """Charge the highest resident memory since the last time to the present stage, and begin anew."""
        cost = self.costs[self._stages[-1]]
        cost.peak_MB = max(cost.peak_MB, peak_MB())
        reset_peak()


def reset_peak() -> None:
    """Forget the highest resident memory so far, where the system can (Linux)."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_MB() -> float:
    """Return the highest resident memory of this process, in MB; on Linux since it was last reset."""
    if STATUS.exists():
        return next(int(line.split()[1]) for line in STATUS.read_text().splitlines() if line[:6] == "VmHWM:") * 1.024e-3
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1.024e-3


def found(path: str) -> tuple[Any, str] | None:
    """Return the module or class that holds a name, and the name; ``None`` where there is no such thing."""
    words = path.split(".")
    for end in range(len(words) - 1, 0, -1):
        with contextlib.suppress(ModuleNotFoundError, AttributeError):
            holder = importlib.import_module(".".join(words[:end]))
            for word in words[end:-1]:
                holder = getattr(holder, word)
            return (holder, words[-1]) if hasattr(holder, words[-1]) else None
    return None


@contextlib.contextmanager
def metered() -> Iterator[Meter]:
    """Wrap the functions of ``STAGES`` and ``PARTS`` while a run is played."""
    meter, undo = Meter(), []

    def wrap(function: Callable[..., Any], enter: Callable[[str], Any], name: str) -> Callable[..., Any]:
        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            with enter(name):
                return function(*args, **kwargs)

        return call

    for table, enter in ((STAGES, meter.stage), (PARTS, meter.part)):
        for path, name in table.items():
            place = found(path)
            if place is not None:
                undo.append((*place, getattr(*place)))
                setattr(*place, wrap(getattr(*place), enter, name))
    try:
        yield meter
        meter.charge()
    finally:
        for holder, name, function in undo:
            setattr(holder, name, function)


def call(*words: str) -> None:
    """Give the command line a call, in this process and in silence."""
    with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
        status = cryoisac(words)
    if status:
        raise SystemExit(status)


def whole_run(case: str, threads: int, folder: Path) -> dict[str, Any]:
    """Return the cost of one run by stages."""
    particles, run = folder / "particles", folder / "run"
    call("simulate", str(particles), *CASES[case]["simulate"])
    words = ["isac", str(particles / "particles.star"), str(run), *CASES[case]["isac"], "--threads", str(threads)]
    with metered() as meter:
        call(*words)
    record = json.loads((run / "run.json").read_text())
    stages = {
        name: {"wall_s": dict(cost.wall_s), "cpu_s": cost.cpu_s, "peak_MB": cost.peak_MB}
        for name, cost in meter.costs.items()
    }
    counts = {"images": record["counts"]["images"], "accounted": record["counts"]["accounted"]}
    return {"case": case, "threads": threads, **counts, "generations": record["generations"], "stages": stages}


def show(run: dict[str, Any]) -> None:
    """Print the stages of a run, and how much of it is not the engine's."""
    columns = (*ENGINE, "filter", "rest")
    print(f"{run['case']}: {run['images']} images, {run['threads']} threads; wall seconds, CPU seconds, peak in MB")
    print(f"{'stage':26}{'wall':>8} = " + "".join(f"{c:>8}" for c in columns) + f"{'CPU':>9}{'peak':>7}")
    order = [*dict.fromkeys(STAGES.values()), "everything else"]
    rows = {name: run["stages"][name] for name in order if name in run["stages"]}
    for name, cost in rows.items():
        print(line(name, cost["wall_s"], columns, cost["cpu_s"], cost["peak_MB"]))
    by_part = {c: sum(cost["wall_s"].get(c, 0.0) for cost in rows.values()) for c in columns}
    cpu, peak = sum(c["cpu_s"] for c in rows.values()), max(c["peak_MB"] for c in rows.values())
    print(line("all", by_part, columns, cpu, peak))
    run["outside_engine"] = 1 - sum(by_part[c] for c in ENGINE) / sum(by_part.values())
    print(f"outside the engine: {run['outside_engine']:.1%} of the wall time", flush=True)


def line(name: str, wall_s: dict[str, float], columns: tuple[str, ...], cpu_s: float, peak: float) -> str:
    """Return a row of the table."""
    parts = "".join(f"{wall_s.get(c, 0.0):8.2f}" for c in columns)
    return f"{name:26}{sum(wall_s.values()):8.2f} = {parts}{cpu_s:9.2f}{peak:7.0f}"


def growth(numbers: list[int], threads: int) -> list[dict[str, Any]]:
    """Return the cost of a K-means pass and of a stability test against the number of images, 64 px of noise."""
    points = []
    for n in numbers:
        pixels = np.random.default_rng(0).standard_normal((n, 64, 64), dtype=np.float32)
        stack = normalise_inside(pixels, circle(27, 64))
        for k in dict.fromkeys((n // 100, numbers[0] // 100)):
            point = {"images": n, "classes": k} | one_round(stack, k, threads)
            points.append(point)
            print(
                f"{n:7} images {k:5} classes: scores {point['scores_s']:8.2f} s, assignment "
                f"{point['assignment_s']:6.2f} s, whole pass {point['pass_s']:8.2f} s, stability test "
                f"{point['stability_s']:8.2f} s, peak {point['peak_MB']:6.0f} MB",
                flush=True,
            )
    return points


def one_round(stack: Any, k: int, threads: int) -> dict[str, float]:
    """Return seconds of one K-means pass, of its parts, and of one stability test."""
    n = len(stack)
    settings = Isac(img_per_grp=n // k, minimum_grp_size=1, target_radius=27, target_nx=64, FL=0.3, FH=0.3)

    def make_engine(images: Any) -> NativeEngine:
        return NativeEngine(images, threads=threads)

    bench = rounds.Bench(
        engine=make_engine(stack), make_engine=make_engine, settings=settings, comm=Serial(), tick=lambda what: None
    )
    with metered() as meter:
        first = rounds.start_generation(bench, np.arange(n), main=1, number=1)
        with meter.stage("pass"):
            clustered = rounds.cluster(bench, first)
        with meter.stage("test"):
            rounds.prove_members(bench, clustered)

    def wall(*names: str) -> float:
        return sum(sum(meter.costs[name].wall_s.values()) for name in names)

    kmeans = ("K-means: scores", "K-means: assignment", "K-means: poses, averages", "common frame")
    return {
        "scores_s": wall("K-means: scores"),
        "assignment_s": wall("K-means: assignment"),
        "pass_s": wall(*kmeans),
        "stability_s": wall("stability: alignments", "stability: fit"),
        "peak_MB": max(cost.peak_MB for cost in meter.costs.values()),
    }


def show_exponents(points: list[dict[str, Any]]) -> None:
    """Print the slopes of log time against log size that fit the points of ``growth`` best."""
    fixed = min(p["classes"] for p in points)
    for label, chosen in (
        ("K = N / 100", [p for p in points if p["classes"] == p["images"] // 100]),
        (f"K = {fixed}", [p for p in points if p["classes"] == fixed]),
    ):
        if len(chosen) < 2:
            continue
        n, k = (np.array([p[name] for p in chosen], dtype=float) for name in ("images", "classes"))
        for name, size, axis in (("scores_s", n * k, "N K"), ("pass_s", n * k, "N K"), ("stability_s", n, "N")):
            slope = np.polyfit(np.log(size), np.log([p[name] for p in chosen]), 1)[0]
            print(f"{label}: {name.removesuffix('_s')} grows as ({axis})^{slope:.2f}")


def memory(n: int, box: int, threads: int, folder: Path) -> dict[str, Any]:
    """Return the peak memory of everything before the first round, for ``n`` images of noise."""
    path, rng = folder / "noise.mrcs", np.random.default_rng(0)
    with MrcStackWriter(path, (n, box, box), 2.0) as stack:
        for first in range(0, n, 500):
            stack.write(first, rng.standard_normal((min(500, n - first), box, box), dtype=np.float32))
    base = peak_MB()
    words = ["--radius", str(int(box * 0.4)), "--img-per-grp", "200", "--main-iter-limit", "1", "--init-iter", "1"]
    words += ["--maxit", "2", "--FL", "0.3", "--FH", "0.3", "--threads", str(threads), "--skip-ordering"]
    with metered() as meter:
        call("isac", str(path), str(folder / "run"), *words)
    side = Isac().box_px
    result: dict[str, Any] = {"images": n, "box_px": box, "base_MB": base, "working_stack_MB": n * side**2 * 4 / 1e6}
    print(f"{n} images of {box} px; working stack {result['working_stack_MB']:.0f} MB; before the run {base:.0f} MB")
    for name, cost in meter.costs.items():
        print(f"{name:26}{sum(cost.wall_s.values()):8.2f} s  peak {cost.peak_MB:6.0f} MB")
    result["stages"] = {name: cost.peak_MB for name, cost in meter.costs.items()}
    return result


def main() -> None:
    """Measure what is asked for, print tables, and write JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", choices=CASES, action="append")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--growth", type=int, nargs="+", metavar="N")
    parser.add_argument("--memory", type=int, nargs=2, metavar=("N", "BOX"))
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    whole: dict[str, Any] = {
        "date": f"{date.today():%Y-%m-%d}",
        "commit": commit.stdout.strip(),
        "machine": {"processor": processor(), "cores": os.cpu_count(), "instructions": instruction_set()},
    }
    with tempfile.TemporaryDirectory() as home:
        if given.growth:
            whole["growth"] = growth(given.growth, given.threads)
            show_exponents(whole["growth"])
        elif given.memory:
            whole["memory"] = memory(*given.memory, given.threads, Path(home))
        else:
            whole["runs"] = []
            for case in given.case or ["easy", "hard"]:
                folder = Path(home) / case
                folder.mkdir()
                whole["runs"].append(whole_run(case, given.threads, folder))
                show(whole["runs"][-1])
    if given.json:
        given.json.write_text(json.dumps(whole, indent=1) + "\n")


if __name__ == "__main__":
    main()
