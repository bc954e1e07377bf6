"""Make the picture of the README: a row of particles, and the class averages of a run.

python docs/make_picture.py PARTICLES RUN docs/images/apoferritin.png
"""

import sys
from pathlib import Path

import numpy as np

from cryoisac.io.mrc import MrcStack
from cryoisac.io.registry import read_particles
from cryoisac.report.pictures import png, to_gray

COLUMNS, GAP = 10, 4


def row(images: np.ndarray) -> np.ndarray:
    """Return images side by side, white between them."""
    gray = to_gray(images)
    k, h, w = gray.shape
    canvas = np.full((h, COLUMNS * (w + GAP) - GAP), 255, dtype=np.uint8)
    for i in range(k):
        canvas[:, i * (w + GAP) : i * (w + GAP) + w] = gray[i]
    return canvas


def main() -> None:
    """Write the picture: particles of the working stack on top, all averages by size below."""
    particles, run, target = map(Path, sys.argv[1:])
    n = len(read_particles(particles))
    raw = MrcStack(run / "working_stack.mrcs").read(np.linspace(0, n - 1, COLUMNS).astype(np.int64))
    averages = MrcStack(run / "ordered_class_averages.mrcs")
    rows = [row(raw)]
    for start in range(0, len(averages), COLUMNS):
        rows.append(row(averages.read(np.arange(start, min(start + COLUMNS, len(averages))))))
    gap = np.full((GAP, rows[0].shape[1]), 255, dtype=np.uint8)
    whole = np.concatenate([part for r in rows for part in (r, gap)][:-1])
    target.write_bytes(png(np.repeat(np.repeat(whole, 2, axis=0), 2, axis=1)))


if __name__ == "__main__":
    main()
