"""How fast, and in how much memory, large STAR files are read: ``python benchmarks/bench_star.py --rows 500000``.

Each reader runs in a process of its own; memory is the greatest resident size (the file's mapped pages included).
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from cryoisac.io.star_text import read_tables
from cryoisac.io.star_write import write_tables
from cryoisac.model.table import Table

FLOAT_COLUMNS = 19
INTEGER_COLUMNS = 4


def generate(path: Path, rows: int) -> None:
    """Write a particle file of ``rows`` rows and 25 columns."""
    rng = np.random.default_rng(1)
    base = min(rows, 100_000)
    table = Table({})
    for i in range(FLOAT_COLUMNS):
        table = table.with_column(f"rlnFloat{i}", rng.uniform(-4000, 4000, base))
    for i in range(INTEGER_COLUMNS):
        table = table.with_column(f"rlnInteger{i}", rng.integers(1, 100, base))
    micrographs = [f"MotionCorr/job002/Movies/20170629_{i:05d}_frameImage.mrc" for i in np.arange(base) // 300]
    images = [f"{i % 300 + 1:06d}@Extract/job007/Movies/20170629_{i // 300:05d}_frameImage.mrcs" for i in range(base)]
    table = table.with_column("rlnMicrographName", micrographs).with_column("rlnImageName", images)
    tiled = table.take(np.arange(rows) % base)
    write_tables(path, {"optics": Table({"rlnOpticsGroup": np.array([b"1"])}), "particles": tiled}, version=30001)


def read_own(path: Path) -> int:
    """Read with cryoisac."""
    return len(read_tables(path)["particles"])


def read_gemmi(path: Path) -> int:
    """Read with gemmi and take every column as a list of str."""
    from gemmi import cif

    block = cif.read_file(str(path)).find_block("particles")
    loop = block.find_loop("_rlnImageName").get_loop()
    columns = [list(block.find_loop(tag)) for tag in loop.tags]
    return len(columns[0])


def read_starfile(path: Path) -> int:
    """Read with starfile, as text."""
    import starfile

    return len(starfile.read(path)["particles"])


READERS = {"cryoisac": read_own, "gemmi": read_gemmi, "starfile": read_starfile}


def measure(reader: str, path: Path) -> None:
    """Print seconds, rows a second and peak memory of one reader."""
    start = time.perf_counter()
    rows = READERS[reader](path)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"{reader:10} {rows:9,d} rows {seconds:7.2f} s {rows / seconds / 1e3:8.0f} krows/s {peak:6.2f} GiB", flush=True
    )


def main() -> None:
    """Generate a file and measure the readers on it, each step in its own process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=500_000)
    parser.add_argument("--steps", default=",".join(["generate", *READERS]))
    parser.add_argument("--file", type=Path, help="do the steps on this file, in this process")
    args = parser.parse_args()
    steps = args.steps.split(",")
    if args.file:
        for step in steps:
            generate(args.file, args.rows) if step == "generate" else measure(step, args.file)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "particles.star"
        for step in steps:
            subprocess.run(
                [sys.executable, __file__, "--file", str(path), "--steps", step, "--rows", str(args.rows)], check=False
            )


if __name__ == "__main__":
    main()
