"""What each part of the likelihood method contributes: whole runs with one part at a time taken away.

    python benchmarks/bench_ablation.py --data FOLDER [--cases views25-noisy uniform-small] [--seeds 0 1 2]
        [--parts "whole" ...] [--keep FOLDER] [--json FILE]
    python benchmarks/bench_ablation.py --table FILE.json [--page docs/quality.md]

FOLDER is that of ``bench_quality.py``. Runs are made in this process, with a part replaced for as long as a run takes;
CPU seconds are those of the run. The second form writes the table of a page between its markers.
"""

import argparse
import json
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

import numpy as np
from bench_quality import circumstances, particles_of
from quality_cases import CASES

from cryoisac.cluster import judging, likelihood, partition
from cryoisac.engine.contract import Match
from cryoisac.engine.likelihood_native import NativeLikelihoodEngine
from cryoisac.run import likelihood as run_likelihood
from cryoisac.run import ring_stack
from cryoisac.scoring.files import read_classification, read_truth
from cryoisac.scoring.scores import score
from cryoisac.settings import Isac
from cryoisac.workflow.isac import run_isac

BEGIN, END = "<!-- made by benchmarks/bench_ablation.py --table: begin -->", "<!-- ablation: end -->"


@contextmanager
def free_starts() -> Iterator[None]:
    """Let every image take its best class in the starts, however large."""
    assigned = partition.assigned
    with (
        patch.object(partition, "assigned", lambda scores, sizes: assigned(scores, "free")),
        patch.object(likelihood, "assigned", lambda scores, sizes: assigned(scores, "free")),
    ):
        yield


@contextmanager
def fixed_number() -> Iterator[None]:
    """Split no class and merge none."""

    def only_sorted(bench: Any, old: Any, position: Any) -> Any:
        return likelihood.sorted_once(bench, old, bench.coarse, "free"), ()

    with patch.object(likelihood, "split_and_merge", only_sorted):
        yield


@contextmanager
def white() -> Iterator[None]:
    """Take the noise as white."""
    survey = ring_stack.survey

    def flat(*given: Any) -> Any:
        known = survey(*given)
        return replace(known, noise=np.full_like(known.noise, known.noise.mean()))

    with patch.object(run_likelihood, "survey", flat):
        yield


@contextmanager
def foreign_kept() -> Iterator[None]:
    """Let images of ice and edges take part."""
    survey = ring_stack.survey

    def blind(*given: Any) -> Any:
        known = survey(*given)
        return replace(known, foreign=np.zeros_like(known.foreign))

    with patch.object(run_likelihood, "survey", blind):
        yield


@contextmanager
def no_newton() -> Iterator[None]:
    """Leave poses as the search finds them, on its grid of shifts."""
    refine = NativeLikelihoodEngine.refine

    def unmoved(self: Any, references: Any, labels: Any, images: Any, poses: Any, last_ring: int) -> Match:
        return Match(poses=poses, score=refine(self, references, labels, images, poses, last_ring).score)

    with patch.object(NativeLikelihoodEngine, "refine", unmoved):
        yield


@contextmanager
def no_judge() -> Iterator[None]:
    """Make every image a member of its best class."""
    judge = judging.judge

    def lenient(*given: Any) -> Any:
        verdict = judge(*given)
        return replace(verdict, reason=np.full_like(verdict.reason, ""))

    with patch.object(likelihood, "judge", lenient):
        yield


def cycles(count: float) -> Any:
    """Tell classes apart by another number of cycles in the particle's diameter."""
    return patch.object(partition, "CLASS_CYCLES", count)


PARTS: dict[str, tuple[dict[str, Any], Any]] = {
    "whole": ({}, nullcontext),
    "shifts of ±1 px only": ({"max_shift": 1.0}, nullcontext),
    "no split, no merge": ({}, fixed_number),
    "free sizes in the starts": ({}, free_starts),
    "one start": ({"starts": 1}, nullcontext),
    "no CTF": ({"ctf": False}, nullcontext),
    "no whitening": ({}, white),
    "8 cycles in a diameter, not 12": ({}, lambda: cycles(8.0)),
    "all rings": ({}, lambda: cycles(100.0)),
    "no Newton steps": ({}, no_newton),
    "foreign images kept": ({}, foreign_kept),
    "nobody judged": ({}, no_judge),
}


def settings_of(words: tuple[str, ...], **changes: Any) -> Isac:
    """Return the settings that command-line words of a case name, with changes."""
    named: dict[str, Any] = {}
    rest = list(words)
    while rest:
        name = rest.pop(0).removeprefix("--").replace("-", "_")
        named[name] = True if not rest or rest[0].startswith("--") else int(rest.pop(0))
    return Isac(**(named | changes))


def one_run(case: str, seed: int, part: str, particles: Path, home: Path) -> dict[str, Any]:
    """Return what a run without one part came to."""
    changes, taken = PARTS[part]
    shutil.rmtree(home, ignore_errors=True)
    before = time.process_time()
    with taken():
        run_isac(particles, home, settings_of(CASES[case].isac, rand_seed=seed, **changes))
    cpu = time.process_time() - before
    truth = read_truth(particles.with_name("truth.csv"))
    found = score(read_classification(home, truth), truth)
    keys = (
        "particles_accounted",
        "classes",
        "ari",
        "ari_all",
        "purity",
        "spread_deg",
        "pixel_error",
        "mirror_agreement",
    )
    return {"case": case, "seed": seed, "part": part, "cpu_s": round(cpu, 1)} | {k: getattr(found, k) for k in keys}


def rows_of(runs: list[dict[str, Any]]) -> Iterator[str]:
    """Yield the lines of the tables, a table for each case."""
    for case in dict.fromkeys(r["case"] for r in runs):
        yield f"### {CASES[case].title}: one part taken away"
        yield ""
        heads = ("taken away", "seeds", "particles accounted", "classes", "ARI, accounted", "ARI, all")
        heads = (*heads, "spread", "pixel error", "CPU, s")
        yield f"| {' | '.join(heads)} |"
        yield "|" + "---|" * len(heads)
        for part in dict.fromkeys(r["part"] for r in runs if r["case"] == case):
            own = [r for r in runs if r["case"] == case and r["part"] == part]
            m = {k: median(r[k] for r in own) for k in own[0] if k not in ("case", "seed", "part")}
            name = "nothing" if part == "whole" else part
            yield (
                f"| {name} | {len(own)} | {m['particles_accounted']:.1%} | {m['classes']:.0f} | {m['ari']:.3f} "
                f"| {m['ari_all']:.3f} | {m['spread_deg']:.1f}° | {m['pixel_error']:.2f} px | {m['cpu_s']:.0f} |"
            )
        yield ""


def write_table(path: Path, page: Path) -> None:
    """Write the tables of a file into a page."""
    whole = json.loads(path.read_text())
    head = [f"Measured on {whole['date']} at commit {whole['commit']}; medians over seeds.", ""]
    text = page.read_text()
    before, after = text[: text.index(BEGIN)], text[text.index(END) :]
    page.write_text(before + "\n".join([BEGIN, "", *head, *rows_of(whole["runs"])]) + after)


def main() -> None:
    """Run what is asked for, a line each, or write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--cases", nargs="+", default=["views25-noisy", "uniform-small"], choices=CASES)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=PARTS)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--table", type=Path)
    parser.add_argument("--page", type=Path, default=Path("docs/quality.md"))
    given = parser.parse_args()
    if given.table:
        write_table(given.table, given.page)
        return
    given.methods, given.extra = [], ""
    runs: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() if given.keep is None else nullcontext(given.keep) as folder:
        for case in given.cases:
            for seed in given.seeds:
                home = Path(folder) / case / f"seed{seed}"
                home.mkdir(parents=True, exist_ok=True)
                particles = particles_of(CASES[case], seed, given.data, home)
                for part in given.parts:
                    runs.append(one_run(case, seed, part, particles, home / "ablation"))
                    print(json.dumps(runs[-1]), flush=True)
                    if given.json:
                        given.json.write_text(json.dumps(circumstances(given) | {"runs": runs}, indent=1) + "\n")


if __name__ == "__main__":
    main()
