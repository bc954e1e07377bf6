"""Where a whole run spends time and memory, stage by stage, and how the cost of a round grows.

    python benchmarks/bench_run.py [--case easy] [--threads 2] [--json FILE]
    python benchmarks/bench_run.py --growth 1000 5000 20000 100000
    python benchmarks/bench_run.py --memory 10000 128

Runs are played in this process, and ``meter`` charges their stages.
"""

import argparse
import contextlib
import json
import os
import subprocess
import tempfile
from datetime import date
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as a run of the command line: threads are the engine's

import numpy as np
from bench_isac import CASES, processor
from meter import ENGINE, STAGES, metered, own_memory

from cryoisac.cli.main import run as cryoisac
from cryoisac.cluster import generation as rounds
from cryoisac.comm import Serial
from cryoisac.engine.native import NativeEngine, instruction_set
from cryoisac.io.mrc_write import MrcStackWriter
from cryoisac.settings import Isac

ROUND = {
    "scores": ("K-means: scores",),
    "assignment": ("K-means: assignment",),
    "poses": ("K-means: poses, averages",),
    "frame": ("common frame",),
    "alignment": ("stability: alignments",),
    "fit": ("stability: fit",),
}
MOST_CLASSES = 1000


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
    words = [
        "isac",
        str(particles / "particles.star"),
        str(run),
        "--method",
        "isac2",
        *CASES[case]["isac"],
        "--threads",
        str(threads),
    ]
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
    """Return the cost of a K-means pass and of an alignment pass against images and classes, 64 px of noise.

    For each number of images: as many classes as make a hundred members, as few as the least number has, and, for the
    last but one number, up to ten members a class.
    """
    points = []
    one_round(np.random.default_rng(0).standard_normal((500, 64, 64), dtype=np.float32), 5, threads)  # to warm up
    for n in numbers:
        stack = np.random.default_rng(0).standard_normal((n, 64, 64), dtype=np.float32)
        counts = {n // 100, numbers[0] // 100}
        if n == sorted(numbers)[-2:][0]:
            counts |= {n // 400, min(n // 20, MOST_CLASSES)}
        for k in sorted(counts):
            point = {"images": n, "classes": k} | one_round(stack, k, threads)
            points.append(point)
            print(line_of_growth(point), flush=True)
    return points


def line_of_growth(point: dict[str, Any]) -> str:
    """Return a row of the table: CPU seconds."""
    parts = (f"{p} {point[p + '_cpu_s']:.3f}" for p in ROUND)
    return f"{point['images']:7} images {point['classes']:5} classes: {', '.join(parts)} s, {point['peak_MB']:.0f} MB"


def one_round(stack: Any, k: int, threads: int) -> dict[str, float]:
    """Return seconds of one K-means pass and of two alignments of one pass each, by their parts."""
    n = len(stack)
    size = {"img_per_grp": n // k, "minimum_grp_size": 1, "target_radius": 27, "target_nx": 64}
    settings = Isac(method="isac2", **size, FL=0.3, FH=0.3, maxit=2, stab_ali=2)

    def make_engine(images: Any) -> NativeEngine:
        return NativeEngine(images, threads=threads, mode=settings.search)

    bench = rounds.Bench(
        engine=make_engine(stack), make_engine=make_engine, settings=settings, comm=Serial(), tick=lambda what: None
    )
    with metered() as meter:
        first = rounds.start_generation(bench, np.arange(n), main=1, number=1)
        rounds.prove_members(bench, rounds.cluster(bench, first))
    result = {"peak_MB": max(cost.peak_MB for cost in meter.costs.values())}
    for name, parts in ROUND.items():
        result[f"{name}_wall_s"] = sum(sum(meter.costs[part].wall_s.values()) for part in parts)
        result[f"{name}_cpu_s"] = sum(meter.costs[part].cpu_s for part in parts)
    return result


def show_exponents(points: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Print and return the powers of the number of images, or of classes, that fit the CPU times best."""
    fixed, most = min(p["classes"] for p in points), max(p["images"] for p in points)
    inner = max((p["images"] for p in points if p["images"] < most), default=most)
    found: dict[str, dict[str, float]] = {}
    for label, axis, chosen in (
        ("of N, K = N / 100", "images", [p for p in points if p["classes"] == p["images"] // 100]),
        (f"of N, K = {fixed}", "images", [p for p in points if p["classes"] == fixed]),
        (f"of K, N = {inner}", "classes", [p for p in points if p["images"] == inner]),
    ):
        if len(chosen) > 1:
            size = np.log([p[axis] for p in chosen])
            found[label] = {
                name: float(np.polyfit(size, np.log([max(p[f"{name}_cpu_s"], 1e-6) for p in chosen]), 1)[0])
                for name in ROUND
            }
            print(f"power {label}: " + ", ".join(f"{name} {slope:.2f}" for name, slope in found[label].items()))
    return found


def memory(n: int, box: int, threads: int, folder: Path) -> dict[str, Any]:
    """Return the peak memory of a run of one round on ``n`` images of noise."""
    path, rng = folder / "noise.mrcs", np.random.default_rng(0)
    with MrcStackWriter(path, (n, box, box), 2.0) as stack:
        for first in range(0, n, 500):
            stack.write(first, rng.standard_normal((min(500, n - first), box, box), dtype=np.float32))
    words = [
        "--method",
        "isac2",
        "--radius",
        str(int(box * 0.4)),
        "--img-per-grp",
        "200",
        "--main-iter-limit",
        "1",
        "--init-iter",
        "1",
    ]
    words += ["--maxit", "3", "--FL", "0.3", "--FH", "0.3", "--threads", str(threads), "--skip-ordering"]
    with metered() as meter, own_memory() as own_MB:
        call("isac", str(path), str(folder / "run"), *words)
    working_MB = n * Isac().box_px ** 2 * 4 / 1e6
    print(f"{n} images of {box} px, {path.stat().st_size / 1e6:.0f} MB; {threads} threads")
    print(f"working stack {working_MB:.0f} MB; most memory of its own {max(own_MB):.0f} MB")
    for name, cost in meter.costs.items():
        print(f"{name:26}{sum(cost.wall_s.values()):8.2f} s  peak, mapped files included, {cost.peak_MB:6.0f} MB")
    return {
        "images": n,
        "box_px": box,
        "threads": threads,
        "working_stack_MB": working_MB,
        "own_MB": max(own_MB),
        "with_mapped_files_MB": {name: cost.peak_MB for name, cost in meter.costs.items()},
    }


def origin() -> dict[str, Any]:
    """Return what numbers are worth nothing without: the day, the commit, the machine."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return {
        "date": f"{date.today():%Y-%m-%d}",
        "commit": commit.stdout.strip(),
        "machine": {"processor": processor(), "cores": os.cpu_count(), "instructions": instruction_set()},
    }


def main() -> None:
    """Measure what is asked for, print tables, and write JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", choices=CASES, action="append")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--growth", type=int, nargs="+", metavar="N")
    parser.add_argument("--memory", type=int, nargs=2, metavar=("N", "BOX"))
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    whole = origin()
    with tempfile.TemporaryDirectory() as home:
        if given.growth:
            whole["growth"] = growth(given.growth, given.threads)
            whole["powers"] = show_exponents(whole["growth"])
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
