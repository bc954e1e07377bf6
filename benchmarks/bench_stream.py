"""How particles stream from their files into the working stack: time, cores kept busy and memory, stage by stage.

    python benchmarks/bench_stream.py [--images 100000] [--box 256] [--threads 2] [--json FILE]

A thousand particles on the disk are named again and again by hard links, so that the table names as many as are asked
for. No clustering: scan, plan, shrunk stack, working stack, and the working stack read into memory.
"""

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as a run of the command line

import numpy as np
import scipy.fft
from bench_run import origin
from meter import metered, own_memory, wanted_cores

from cryoisac.io.mrc import MrcStack
from cryoisac.io.mrc_write import MrcStackWriter
from cryoisac.ops.masks import circle
from cryoisac.run import opening, pipeline
from cryoisac.run.directory import RunDirectory
from cryoisac.run.progress import Silent
from cryoisac.run.working_stack import Preparation
from cryoisac.settings import Isac

REAL = 1000
SHOWN = ("scan", "plan", "shrink", "working stack")
LABELS = ("ImageName", "DefocusU", "DefocusV", "DefocusAngle", "Voltage", "SphericalAberration", "AmplitudeContrast")


def write_particles(folder: Path, n: int, box: int) -> Path:
    """Write discs in noise, and a table that names ``n`` of them in stacks of up to a thousand."""
    rng, real = np.random.default_rng(0), min(n, REAL)
    disc = circle(0.35 * box, box).astype(np.float32)
    with MrcStackWriter(folder / "0.mrcs", (real, box, box), 1.5) as stack:
        for i in range(real):
            stack.write(i, disc + rng.standard_normal((1, box, box), dtype=np.float32))
    for name in range(1, -(-n // real)):
        (folder / f"{name}.mrcs").hardlink_to(folder / "0.mrcs")
    header = "data_particles\n\nloop_\n" + "".join(f"_rln{label} #{i + 1}\n" for i, label in enumerate(LABELS))
    header += f"_rlnImagePixelSize #{len(LABELS) + 1}\n"
    defocus = rng.uniform(8000, 25000, n)
    rows = (
        f"{i % real + 1:06d}@{i // real}.mrcs {d:.1f} {d - 300:.1f} {i % 180} 300 2.7 0.1 1.5\n"
        for i, d in enumerate(defocus)
    )
    with (folder / "particles.star").open("w") as table:
        table.write(header)
        table.writelines(rows)
    return folder / "particles.star"


def stream(table: Path, folder: Path, threads: int) -> None:
    """Bring particles to the working stack, and that into memory."""
    home = RunDirectory(folder)
    run = opening.plan_run(home, table, Isac(method="isac2", ctf=True), threads=threads, progress=Silent())
    job = Preparation(
        particles=run.particles,
        index=run.usable,
        geometry=run.plan.geometry,
        ctf=True,
        threads=threads,
        progress=Silent(),
    )
    shift_px = np.random.default_rng(1).uniform(-5, 5, (len(run.usable), 2))
    with home.held():
        opening.begin(run)
        pipeline.write_shrunk(home.shrunk_stack, job)
        pipeline.write_working(home.working_stack, job, shift_px)
        home.shrunk_stack.unlink()
        pipeline.working_pixels(MrcStack(home.working_stack), run.plan.settings.target_radius, threads=threads)


def transforms_a_second(side: int) -> float:
    """Return how many images of this side one thread transforms to Fourier space and back in a second."""
    image = np.random.default_rng(0).standard_normal((side, side), dtype=np.float32)
    best = np.inf
    for _ in range(50):
        begin = time.perf_counter()
        scipy.fft.irfft2(scipy.fft.rfft2(image), s=image.shape)
        best = min(best, time.perf_counter() - begin)
    return 1 / best


def measure(n: int, box: int, threads: int, home: Path) -> dict[str, Any]:
    """Return time by stage and memory, and print them."""
    table = write_particles(home, n, box)
    rate = transforms_a_second(2 * box)
    with wanted_cores() as wanted, metered(wanted) as meter, own_memory() as own_MB:
        stream(table, home / "run", threads)
    working_MB = n * Isac().box_px ** 2 * 4e-6
    print(f"{n} images of {box} px, {threads} threads; a thread transforms {rate:.0f} images of {2 * box} px a second")
    stages = {}
    for name in (*SHOWN, *(other for other in meter.costs if other not in SHOWN)):
        cost = meter.costs[name]
        wall = sum(cost.wall_s.values())
        a_core = n / cost.cpu_s
        stages[name] = {
            "wall_s": wall,
            "cpu_s": cost.cpu_s,
            "wanted_cores": cost.wanted_s / wall,
            "images_a_core_s": a_core,
            "peak_MB": cost.peak_MB,
        }
        print(
            f"{name:16}{wall:8.1f} s, CPU {cost.cpu_s:7.1f} s, {cost.wanted_s / wall:5.2f} cores wanted, "
            f"{a_core:7.0f} images a core and second ({a_core / rate:.2f} of its transforms), "
            f"peak {cost.peak_MB:5.0f} MB"
        )
    print(f"working stack {working_MB:.0f} MB; most memory of its own {max(own_MB):.0f} MB")
    return {
        "images": n,
        "box_px": box,
        "threads": threads,
        "transforms_a_second": rate,
        "working_stack_MB": working_MB,
        "own_MB": max(own_MB),
        "stages": stages,
    }


def main() -> None:
    """Measure, print, and write JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--box", type=int, default=256)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        whole = origin() | {"stream": measure(given.images, given.box, given.threads, Path(home))}
    if given.json:
        given.json.write_text(json.dumps(whole, indent=1) + "\n")


if __name__ == "__main__":
    main()
