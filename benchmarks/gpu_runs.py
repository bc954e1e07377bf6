"""Whole runs for ``gpu_check``, each in a process of its own: particles in a minute, seconds by stage and by question.

    gpu_runs.py simulate FOLDER IMAGES VIEWS BOX WORKERS
    gpu_runs.py run FILE WORDS...

The first makes particles in several processes. The second plays ``cryoisac WORDS...`` under ``meter`` and writes what
each stage took to FILE every second, so that a run which is cut off tells how far it came.
"""

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as a run of the command line: threads are the engine's

import numpy as np

PIXEL_A, SNR = 5.0, 0.1
BLOCK = 256
DONE = "radius"  # of the particle in px: a file that is there once all particles are
TORCH = {
    f"cryoisac.engine.gpu.{module}.{name}.{question}": part
    for module, name, questions in (
        ("engine", "TorchEngine", {"quick_total": "total"}),
        ("divided", "DividedEngine", {"quick_total": "total"}),
        ("likelihood", "TorchLikelihoodEngine", {"refine": "refine"}),
        ("divided", "DividedLikelihoodEngine", {"refine": "refine"}),
    )
    for question, part in ({"score": "score", "match": "match", "total": "total"} | questions).items()
}


def begin_simulation(folder: Path, images: int, views: int, box: int, workers: int) -> "subprocess.Popen[bytes]":
    """Begin to make particles, of each view as many, in a process that has a group of its own."""
    folder.mkdir(parents=True)
    words = ["simulate", str(folder), *map(str, (images, views, box, workers))]
    with folder.with_suffix(".txt").open("w") as log:
        return subprocess.Popen([sys.executable, __file__, *words], stdout=log, stderr=log, start_new_session=True)


def simulated(folder: Path, *, limit_s: float) -> str:
    """Return the radius of particles, once they are there, or nothing after some seconds."""
    end = time.monotonic() + limit_s
    while not (folder / DONE).exists():
        if time.monotonic() > end:
            return ""
        time.sleep(0.2)
    return (folder / DONE).read_text()


def simulate(folder: Path, images: int, views: int, box: int, workers: int) -> None:
    """Make particles, each part of them in a process."""
    from cryoisac.io.mrc_write import MrcStackWriter
    from cryoisac.io.star import write_star
    from cryoisac.simulation.files import made_up, star_metadata, write_truth

    settings, truth = _drawn(images, views, box)
    write_star(folder / "particles.star", star_metadata(truth, settings))
    write_truth(folder / "truth.csv", truth, with_ctf=settings.ctf)
    with MrcStackWriter(folder / "particles.mrcs", (len(truth), box, box), PIXEL_A) as stack:

        def make(number: int) -> None:
            words = ["worker", *map(str, (images, views, box, workers, number))]
            with subprocess.Popen([sys.executable, __file__, *words], stdout=subprocess.PIPE) as worker:
                assert worker.stdout is not None
                for first, count in _blocks(_part(len(truth), workers, number)):
                    block = np.frombuffer(worker.stdout.read(4 * count * box * box), dtype=np.float32)
                    stack.write(first, block.reshape(count, box, box))

        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(make, range(workers)))
    radius = folder / f"{DONE}.part"
    radius.write_text(f"{made_up(settings).radius_A / PIXEL_A:.0f}")
    radius.replace(folder / DONE)


def work(images: int, views: int, box: int, workers: int, number: int) -> None:
    """Write the pixels of one part to standard output."""
    from cryoisac.simulation.files import made_up
    from cryoisac.simulation.images import ParticleImages

    settings, truth = _drawn(images, views, box)
    part = _part(len(truth), workers, number)
    own = replace(truth, **{f.name: getattr(truth, f.name)[part] for f in fields(truth)})
    made = ParticleImages((made_up(settings),), replace(settings, seed=settings.seed + 1 + number), own)
    for block in made.blocks(BLOCK):
        sys.stdout.buffer.write(np.ascontiguousarray(block, dtype=np.float32).data)


def _drawn(images: int, views: int, box: int) -> tuple[Any, Any]:
    from cryoisac.settings import Simulation
    from cryoisac.simulation.particles import draw

    settings = Simulation(views=views, per_view=images // views, box=box, pixel_size=PIXEL_A, snr=SNR)
    return settings, draw(settings)


def _part(n: int, workers: int, number: int) -> slice:
    bounds = [round(n * i / workers) for i in range(workers + 1)]
    return slice(bounds[number], bounds[number + 1])


def _blocks(part: slice) -> Iterator[tuple[int, int]]:
    for first in range(part.start, part.stop, BLOCK):
        yield first, min(BLOCK, part.stop - first)


@dataclass(frozen=True, kw_only=True)
class Played:
    """What a run took.

    Parameters
    ----------
    wall_s : float
        Seconds, with starting Python.
    end : str
        How it ended: "over", "failed", or "cut off" for want of time.
    said : str
        What it said last, of what came of it if it did.
    stages : dict
        Wall and CPU seconds of each stage, by question of the engine, and what is outside it.
    """

    wall_s: float
    end: str
    said: str
    stages: dict[str, dict[str, dict[str, float]]]

    @property
    def engine_share(self) -> float:
        """Share of the wall time that questions to the engine took."""
        from meter import ENGINE

        parts = [(name, s) for stage in self.stages.values() for name, s in stage["wall_s"].items()]
        return sum(s for name, s in parts if name in ENGINE) / max(sum(s for _, s in parts), 1e-9)

    def rows(self) -> list[str]:
        """Return a line for each stage that took a hundredth of the time."""
        from meter import ENGINE

        lines, whole = [], sum(sum(stage["wall_s"].values()) for stage in self.stages.values())
        for name, stage in self.stages.items():
            wall, cpu = (sum(stage[key].values()) for key in ("wall_s", "cpu_s"))
            if wall > 0.01 * whole:
                engine = {key: s for key, s in stage["wall_s"].items() if key in ENGINE}
                parts = ", ".join(f"{key} {s:.1f}" for key, s in engine.items() if s > 0.005 * whole)
                lines.append(f"{name:30} {wall:7.1f} s, engine {sum(engine.values()):6.1f}; CPU {cpu:7.1f}  {parts}")
        return lines


def played(words: list[str], path: Path, *, limit_s: float) -> Played:
    """Play ``cryoisac`` with some words, for some seconds at most."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    said, start = path.with_suffix(".txt"), time.monotonic()
    with said.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, __file__, "run", str(path), *words], stdout=file, stderr=subprocess.STDOUT
        )
        try:
            end = "failed" if process.wait(max(limit_s, 0)) else "over"
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            end = "cut off"
    stages = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    lines = said.read_text(encoding="utf-8", errors="replace").splitlines()
    last = [line for line in lines if "accounted" in line] or [line for line in lines if line.strip()] or [""]
    return Played(wall_s=time.monotonic() - start, end=end, said=last[-1].strip()[:300], stages=stages)


def run(path: Path, words: list[str]) -> int:
    """Play a run in this process, and write what it takes."""
    from meter import PARTS, metered

    from cryoisac.cli.main import run as cryoisac

    with metered(parts=PARTS | (TORCH if "cpu" not in words else {})) as meter, _saved(meter, path):
        return int(cryoisac(tuple(words)))


@contextlib.contextmanager
def _saved(meter: Any, path: Path) -> Iterator[None]:
    """Write what was charged so far each second, and at the end."""
    done = threading.Event()

    def save() -> None:
        known = {
            name: {"wall_s": dict(cost.wall_s), "cpu_s": dict(cost.parts_cpu_s)}
            for name, cost in list(meter.costs.items())
        }
        part = path.with_suffix(".part")
        part.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")
        part.replace(path)

    def watch() -> None:
        while not done.wait(1.0):
            with contextlib.suppress(RuntimeError):  # a stage that begins just now
                save()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()
        meter.charge()
        save()


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    what, *given = sys.argv[1:]
    if what == "run":
        sys.exit(run(Path(given[0]), given[1:]))
    if what == "simulate":
        simulate(Path(given[0]), *map(int, given[1:]))
    else:
        work(*map(int, given))
