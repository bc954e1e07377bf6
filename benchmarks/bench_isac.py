"""Whole runs of ISAC on simulated particles: how many are placed, how rightly, and at what cost.

    python benchmarks/bench_isac.py [--case easy] [--seeds 0 1 2] [--map 70S.mrc --map-pixel-size 5] [--json FILE]
    python benchmarks/bench_isac.py --flags=--search=fast
    python benchmarks/bench_isac.py --resample

Each run is the command line as a user gives it, in a process of its own; CPU time includes starting Python. With
``--flags`` it gets further options; with ``--resample`` the averages of loops are made as those that are published.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path
from typing import Any

CASES: dict[str, dict[str, list[str]]] = {
    "easy": {
        "simulate": ["--views", "10", "--per-view", "60", "--box", "64", "--snr", "0.3", "--max-shift", "2"],
        "isac": ["--radius", "27", "--img-per-grp", "60", "--minimum-grp-size", "18"],
    },
    "middle": {
        "simulate": ["--views", "25", "--per-view", "80", "--box", "90", "--snr", "0.1", "--max-shift", "3", "--ctf"],
        "isac": ["--ctf", "--img-per-grp", "80"],
    },
    "hard": {
        "simulate": ["--views", "50", "--per-view", "100", "--box", "90", "--snr", "0.1", "--max-shift", "3", "--ctf"],
        "isac": ["--ctf", "--img-per-grp", "100"],
    },
}


RESAMPLE = """
import sys
from cryoisac.cli.main import main
from cryoisac.engine.native import NativeEngine
NativeEngine.quick_total = NativeEngine.total
main(sys.argv[1:])
"""


def call(*words: str, program: tuple[str, str] = ("-m", "cryoisac")) -> float:
    """Run a cryoisac command and return its CPU seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *program, *words], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def one_run(case: str, seed: int, given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Return what one seed of a case came to."""
    density = [] if given.map is None else ["--map", given.map, "--map-pixel-size", given.map_pixel_size]
    program = ("-c", RESAMPLE) if given.resample else ("-m", "cryoisac")
    flags = ["--method", "isac2", *CASES[case]["isac"], "--rand-seed", str(seed), *given.flags]
    particles, run, scores = folder / f"particles{seed}", folder / f"run{seed}", folder / f"scores{seed}.json"
    call("simulate", str(particles), *CASES[case]["simulate"], *density, "--seed", str(seed))
    begin = time.perf_counter()
    cpu = call("isac", str(particles / "particles.star"), str(run), *flags, program=program)
    wall = time.perf_counter() - begin
    call("score", str(run), str(particles / "truth.csv"), "--json", str(scores))
    record = json.loads((run / "run.json").read_text())
    score = json.loads(scores.read_text())
    del score["per_class"]
    return {
        "case": case,
        "seed": seed,
        "cpu_s": round(cpu, 1),
        "wall_s": round(wall, 1),
        "score": score,
        "radius_px": record["settings"]["radius"],
        "generations": record["generations"],
    }


def main() -> None:
    """Run the cases that are asked for and print a line for each run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", choices=CASES, action="append")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--map")
    parser.add_argument("--map-pixel-size", default="5")
    parser.add_argument("--flags", action="append", default=[])
    parser.add_argument("--resample", action="store_true")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    runs = []
    with tempfile.TemporaryDirectory() as folder:
        for case in given.case or list(CASES):
            for seed in given.seeds:
                home = Path(folder) / case
                home.mkdir(exist_ok=True)
                found = one_run(case, seed, given, home)
                runs.append(found)
                print(
                    case, seed, f"{found['cpu_s']} CPU-s, {found['wall_s']} s", json.dumps(found["score"]), flush=True
                )
    if given.json:
        commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
        whole = {
            "date": f"{date.today():%Y-%m-%d}",
            "commit": commit.stdout.strip(),
            "machine": {"processor": processor(), "cores": os.cpu_count()},
            "flags": given.flags + ["averages of loops resampled"] * given.resample,
            "density": Path(given.map).name if given.map else "procedural",
            "runs": runs,
        }
        given.json.write_text(json.dumps(whole, indent=1) + "\n")


def processor() -> str:
    """Return the name of the processor."""
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []:
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


if __name__ == "__main__":
    main()
