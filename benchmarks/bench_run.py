"""Where a whole run spends time and memory, stage by stage, and how the cost of a round grows.

    python benchmarks/bench_run.py [--method isac2] [--case easy] [--threads 2] [--json FILE]
    python benchmarks/bench_run.py [--method isac2] --growth 1000 5000 20000 100000
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
from growth import growth, show_exponents
from meter import ENGINE, OUTSIDE, STAGES, metered, own_memory

from cryoisac.cli.main import run as cryoisac
from cryoisac.engine.native import instruction_set
from cryoisac.io.mrc_write import MrcStackWriter
from cryoisac.settings import Isac

METHODS = ("likelihood", "isac2")


def call(*words: str) -> None:
    """Give the command line a call, in this process and in silence."""
    with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
        status = cryoisac(words)
    if status:
        raise SystemExit(status)


def whole_run(case: str, method: str, threads: int, folder: Path) -> dict[str, Any]:
    """Return the cost of one run by stages."""
    particles, run = folder / "particles", folder / "run"
    call("simulate", str(particles), *CASES[case]["simulate"])
    words = [str(particles / "particles.star"), str(run), "--method", method, *CASES[case]["isac"]]
    with metered() as meter, own_memory(every_s=0.05) as own_MB:
        call("isac", *words, "--threads", str(threads))
    record = json.loads((run / "run.json").read_text())
    stages = {
        name: {
            "wall_s": dict(cost.wall_s),
            "cpu_s": cost.cpu_s,
            "parts_cpu_s": dict(cost.parts_cpu_s),
            "peak_MB": cost.peak_MB,
        }
        for name, cost in meter.costs.items()
    }
    counts = {"images": record["counts"]["images"], "accounted": record["counts"]["accounted"]}
    return {
        "case": case,
        "method": method,
        "threads": threads,
        **counts,
        "own_MB": max(own_MB),
        "generations": record["generations"],
        "stages": stages,
    }


def show(run: dict[str, Any]) -> None:
    """Print the CPU seconds of the stages of a run, and how much of it is not the engine's."""
    columns = [c for c in (*ENGINE, *OUTSIDE) if any(c in cost["wall_s"] for cost in run["stages"].values())]
    print(f"{run['case']}, {run['method']}: {run['images']} images, {run['threads']} threads; CPU seconds, peak in MB")
    print(f"{'stage':30}{'CPU':>8} = " + "".join(f"{c:>9}" for c in columns) + f"{'wall':>9}{'peak':>7}")
    order = [*dict.fromkeys(STAGES.values()), "everything else"]
    rows = {name: run["stages"][name] for name in order if name in run["stages"]}
    for name, cost in rows.items():
        print(line(name, cost["parts_cpu_s"], columns, sum(cost["wall_s"].values()), cost["peak_MB"]))
    by_part = {c: sum(cost["parts_cpu_s"].get(c, 0.0) for cost in rows.values()) for c in columns}
    wall = {c: sum(cost["wall_s"].get(c, 0.0) for cost in rows.values()) for c in columns}
    print(line("all", by_part, columns, sum(wall.values()), max(c["peak_MB"] for c in rows.values())))
    run["outside_engine"], run["outside_engine_cpu"] = (
        1 - sum(t.get(c, 0.0) for c in ENGINE) / sum(t.values()) for t in (wall, by_part)
    )
    print(
        f"outside the engine: {run['outside_engine']:.1%} of the wall time, {run['outside_engine_cpu']:.1%} of the CPU "
        f"time; most memory of its own {run['own_MB']:.0f} MB",
        flush=True,
    )


def line(name: str, cpu_s: dict[str, float], columns: list[str], wall_s: float, peak: float) -> str:
    """Return a row of the table."""
    parts = "".join(f"{cpu_s.get(c, 0.0):9.2f}" for c in columns)
    return f"{name:30}{sum(cpu_s.values()):8.2f} = {parts}{wall_s:9.2f}{peak:7.0f}"


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
    parser.add_argument("--method", choices=METHODS, default=Isac().method)
    parser.add_argument("--case", choices=CASES, action="append")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--growth", type=int, nargs="+", metavar="N")
    parser.add_argument("--memory", type=int, nargs=2, metavar=("N", "BOX"))
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    whole = origin()
    with tempfile.TemporaryDirectory() as home:
        if given.growth:
            whole["growth"] = growth(given.method, given.growth, given.threads)
            whole["powers"] = show_exponents(whole["growth"])
        elif given.memory:
            whole["memory"] = memory(*given.memory, given.threads, Path(home))
        else:
            whole["runs"] = []
            for case in given.case or ["easy", "hard"]:
                folder = Path(home) / case
                folder.mkdir()
                whole["runs"].append(whole_run(case, given.method, given.threads, folder))
                show(whole["runs"][-1])
    if given.json:
        given.json.write_text(json.dumps(whole, indent=1) + "\n")


if __name__ == "__main__":
    main()
