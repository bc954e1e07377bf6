"""How good classes are, method beside method, where the truth is known.

    python benchmarks/bench_quality.py --data FOLDER [--cases views25 ...] [--seeds 0 1 2 3 4] [--json FILE]
        [--methods "default=" "isac2=--method isac2"] [--extra "--threads 2"] [--keep FOLDER] [--sheets FOLDER]
    python benchmarks/bench_quality.py --table FILE.json [...] [--page docs/quality.md]

Each case and seed is simulated once; each method, a name and its options, then makes classes of the same particles by
the command line, in a process of its own, whose CPU and wall time count. FOLDER holds ``maps`` (70S.mrc, 1MNF.pdb.gz,
spike.pdb.gz) and ``apoferritin``. With --keep, particles and runs stay there, and particles are used again. The second
form writes the tables of a page between its markers.
"""

import argparse
import json
import os
import resource
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import nullcontext
from datetime import date
from pathlib import Path
from typing import Any

from bench_isac import processor
from quality_cases import CASES, Case
from quality_classes import class_sheet, measure_classes
from quality_tables import write_tables


def call(*words: str) -> tuple[float, float]:
    """Run a cryoisac command and return its CPU and wall seconds."""
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run([sys.executable, "-m", "cryoisac", *words], capture_output=True, text=True, check=False)
    after, wall = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter() - begin
    if done.returncode:
        raise SystemExit(f"cryoisac {shlex.join(words)}\n{done.stderr or done.stdout}")
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall


def particles_of(case: Case, seed: int, data: Path, home: Path) -> Path:
    """Return the table of the particles of a case and seed; what is there from the same options is used again."""
    if case.particles:
        return data / case.particles
    words = [*case.simulation(data / "maps"), "--seed", str(seed)]
    note = home / "options.json"
    if not note.exists() or json.loads(note.read_text()) != words:
        call("simulate", str(home / "particles"), *words)
        note.write_text(json.dumps(words))
    return home / "particles" / "particles.star"


def one_run(case: Case, seed: int, options: list[str], particles: Path, run: Path) -> dict[str, Any]:
    """Return what one method made of one set of particles."""
    shutil.rmtree(run, ignore_errors=True)
    cpu, wall = call("isac", str(particles), str(run), *case.isac, "--rand-seed", str(seed), *options)
    record = json.loads((run / "run.json").read_text())
    found: dict[str, Any] = {
        "cpu_s": round(cpu, 1),
        "wall_s": round(wall, 1),
        "radius_px": record["settings"]["radius"],
        "classes": measure_classes(run, particles, radius_px=case.radius_px or record["settings"]["radius"]),
    }
    if not case.particles:
        scores = run / "score.json"
        call("score", str(run), str(particles.with_name("truth.csv")), "--json", str(scores))
        found["score"] = json.loads(scores.read_text())
        del found["score"]["per_class"]
    return found


def play(given: argparse.Namespace, methods: dict[str, list[str]], home: Path) -> None:
    """Run all cases, seeds and methods; say each in a line, and write what is known so far after each."""
    whole = {
        **circumstances(given),
        "methods": {name: shlex.join(words) for name, words in methods.items()},
        "runs": [],
    }
    for name in given.cases:
        case = CASES[name]
        for seed in given.seeds:
            place = home / name / f"seed{seed}"
            place.mkdir(parents=True, exist_ok=True)
            particles = particles_of(case, seed, given.data, place)
            for method, options in methods.items():
                found = one_run(case, seed, [*options, *shlex.split(given.extra)], particles, place / method)
                whole["runs"].append({"case": name, "seed": seed, "method": method, **found})
                brief = {**found["classes"], **found.get("score", {})}
                print(name, seed, method, f"{found['cpu_s']} CPU-s {found['wall_s']} s", json.dumps(brief), flush=True)
                if given.json:
                    given.json.write_text(json.dumps(whole, indent=1) + "\n")
            if given.sheets:
                given.sheets.mkdir(parents=True, exist_ok=True)
                runs = {method: place / method for method in methods}
                radius_px = whole["runs"][-1]["radius_px"] if case.radius_px is None else case.radius_px
                class_sheet(given.sheets / f"{name}_seed{seed}.png", runs, particles, radius_px=radius_px)


def circumstances(given: argparse.Namespace) -> dict[str, Any]:
    """Return when, where and by what command this is measured."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    words = ["--cases", *given.cases, "--seeds", *map(str, given.seeds), "--methods", *given.methods]
    words += ["--extra", given.extra] if given.extra else []
    return {
        "date": f"{date.today():%Y-%m-%d}",
        "commit": commit.stdout.strip(),
        "machine": {"processor": processor(), "cores": os.cpu_count()},
        "command": shlex.join(["python", "benchmarks/bench_quality.py", "--data", "FOLDER", *words]),
    }


def main() -> None:
    """Measure, or write tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--methods", nargs="+", default=["default="], metavar="NAME=OPTIONS")
    parser.add_argument("--extra", default="", metavar="OPTIONS")
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--sheets", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--table", type=Path, nargs="+", metavar="FILE")
    parser.add_argument("--page", type=Path, default=Path("docs/quality.md"))
    given = parser.parse_args()
    if given.table:
        write_tables(given.page, [json.loads(file.read_text()) for file in given.table])
        return
    if given.data is None:
        parser.error("--data is needed: the folder that holds maps and apoferritin")
    methods = {name: shlex.split(words) for name, _, words in (text.partition("=") for text in given.methods)}
    with nullcontext(given.keep) if given.keep else tempfile.TemporaryDirectory() as home:
        play(given, methods, Path(home))


if __name__ == "__main__":
    main()
