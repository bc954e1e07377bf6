"""Make the picture of averages at full size: those of a run above, at full size below.

python docs/make_full_size_picture.py RUN AVERAGES docs/images/full_size.png
"""

import json
import sys
from pathlib import Path

import numpy as np

from cryoisac.io.mrc import MrcStack
from cryoisac.ops.fourier import window
from cryoisac.report.pictures import png, to_gray

COLUMNS, GAP, MARGIN_PX, LARGER = 6, 6, 4, 2


def row(stack: Path, side_px: int, width: int) -> np.ndarray:
    """Return the first averages of a stack, cut to ``side_px`` and ``width`` pixels wide, side by side."""
    averages = window(MrcStack(stack).read(np.arange(COLUMNS)), side_px)
    pixel = np.arange(width) * side_px // width
    canvas = np.full((width, COLUMNS * (width + GAP) - GAP), 255, dtype=np.uint8)
    for i, gray in enumerate(to_gray(averages)):
        canvas[:, i * (width + GAP) : i * (width + GAP) + width] = gray[np.ix_(pixel, pixel)]
    return canvas


def main() -> None:
    """Write the picture."""
    run, made, target = map(Path, sys.argv[1:])
    record = json.loads((made / "run.json").read_text())
    half = int(record["settings"]["radius"]) + MARGIN_PX
    width = LARGER * 2 * half
    name = "class_averages.mrcs"
    above = row(run / name, 2 * round(half * record["classification"]["ratio"]), width)
    below = row(made / name, 2 * half, width)
    target.write_bytes(png(np.concatenate((above, np.full((GAP, above.shape[1]), 255, dtype=np.uint8), below))))


if __name__ == "__main__":
    main()
