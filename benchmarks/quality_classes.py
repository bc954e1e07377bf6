"""What is told of classes without any truth: sizes, and how far halves of their members agree; and pictures of them."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cryoisac.io.mrc import MrcStack
from cryoisac.io.registry import read_particles
from cryoisac.model.poses import Poses
from cryoisac.ops.ctf import phase_flip
from cryoisac.ops.spectra import ring_correlation
from cryoisac.ops.warp import rotate_shift
from cryoisac.report.pictures import to_gray
from cryoisac.scoring.content import effective_number
from cryoisac.scoring.files import Classification, KnownTruth, read_classification
from cryoisac.streams import stream

Images = npt.NDArray[np.float32]
Float = npt.NDArray[np.float64]

SPLITS, MATCHED, THRESHOLD, SOFT_PX = 5, 40, 0.5, 5
COLUMNS, ROWS, SIDE, CAPTION, GAP = 10, 4, 96, 14, 3


def read_classes(run: Path, n: int) -> Classification:
    """Return classes and poses, in input pixels, of a run on ``n`` images."""
    nothing = np.zeros(n, dtype=np.int64)
    images = KnownTruth(
        image=np.full(n, "", dtype=np.str_),
        view=nothing,
        molecule=nothing,
        poses=Poses.identity(n),
        direction=np.zeros((n, 3)),
        radius_px=None,
    )
    return read_classification(run, images)


def measure_classes(run: Path, particles: Path, *, radius_px: float) -> dict[str, Any]:
    """Return number and evenness of classes, and resolutions in Å: of all members, and of 40 of each class.

    The resolution of a class is where the ring correlation of the averages of two random halves first falls below 0.5;
    mean over five such splits. Given is the median over members. Classes that are larger reach further; 40 members of
    each are compared like with like, in classes that have so many.
    """
    source = read_particles(particles)
    found = read_classes(run, len(source))
    sizes = np.bincount(found.label[found.label >= 0])
    resolutions = {}
    for name, most in (("resolution_A", None), (f"resolution_{MATCHED}_A", MATCHED)):
        each = [class_resolution_A(source, found, k, radius_px=radius_px, most=most) for k in range(len(sizes))]
        known = np.isfinite(each) & (sizes >= (most or 2))
        weighted = np.repeat(np.array(each)[known], sizes[known])
        resolutions[name] = round(float(np.median(weighted)), 2) if len(weighted) else None
    return {
        "images": len(source),
        "accounted": int(sizes.sum()),
        "number": int((sizes > 0).sum()),
        "effective": round(effective_number(found.label), 2),
        **resolutions,
    }


def class_resolution_A(
    source: Any, found: Classification, k: int, *, radius_px: float, most: int | None = None
) -> float:
    """Return the resolution of class ``k`` in Å by random halves of its members, of ``most`` of them if given."""
    members = np.flatnonzero(found.label == k)
    if most and len(members) > most:
        members = np.sort(stream(0, "matched members", k).choice(members, most, replace=False))
    if len(members) < 2 or found.poses is None:
        return float("nan")
    images = aligned(source, members, found.poses[members])
    box_px = images.shape[-1]
    images *= soft_disc(box_px, radius_px)
    size_A = 1.0 if source.pixel_size_A is None else float(source.pixel_size_A[0])
    limits = []
    for split in range(SPLITS):
        order = stream(0, "halves", k, split).permutation(len(members))
        halves = [images[order[i::2]].mean(axis=0) for i in (0, 1)]
        limits.append(first_fall(ring_correlation(*halves).correlation) / box_px)
    return size_A / float(np.mean(limits))


def aligned(source: Any, members: npt.NDArray[np.int64], poses: Poses) -> Images:
    """Return phase-flipped images, mean 0 and variance 1, laid on their class."""
    images = source.read(members)
    images = (images - images.mean(axis=(1, 2), keepdims=True)) / images.std(axis=(1, 2), keepdims=True)
    if source.ctf is not None:
        images = phase_flip(images, source.ctf[members], source.pixel_size_A[members])
    turned: Images = rotate_shift(images, poses).astype(np.float32)
    return turned


def first_fall(correlation: Float) -> float:
    """Return the ring, between two by interpolation, at which a curve first falls below one half."""
    below = np.flatnonzero(correlation[1:] < THRESHOLD)
    if not len(below):
        return float(len(correlation) - 1)
    ring = int(below[0]) + 1
    if ring == 1:
        return 1.0
    high, low = correlation[ring - 1], correlation[ring]
    return ring - 1 + float((high - THRESHOLD) / (high - low))


def soft_disc(box_px: int, radius_px: float) -> Images:
    """Return a disc about the centre pixel that falls off over 5 px beyond its radius."""
    axis = np.arange(box_px) - box_px // 2
    beyond = np.clip((np.hypot(axis[:, None], axis) - radius_px) / SOFT_PX, 0, 1)
    return ((1 + np.cos(np.pi * beyond)) / 2).astype(np.float32)


def class_sheet(target: Path, runs: dict[str, Path], particles: Path, *, radius_px: float) -> None:
    """Write a picture of the class averages of several runs, one below the other, the largest classes first.

    Under each average stand its members and its resolution by halves.
    """
    from PIL import Image, ImageDraw  # a test dependency; only this needs it

    blocks = [(name, *_captioned(run, particles, radius_px)) for name, run in runs.items()]
    step, height = SIDE + GAP, SIDE + CAPTION + GAP
    lines = [max(1, -(-len(pictures) // COLUMNS)) for _, pictures, _ in blocks]
    sheet = Image.new("L", (COLUMNS * step - GAP, sum(lines) * height + len(blocks) * CAPTION), 255)
    draw, top = ImageDraw.Draw(sheet), 0
    for (name, pictures, captions), several in zip(blocks, lines, strict=True):
        draw.text((2, top), name, fill=0)
        for i, (picture, caption) in enumerate(zip(pictures, captions, strict=True)):
            left, upper = i % COLUMNS * step, top + CAPTION + i // COLUMNS * height
            sheet.paste(Image.fromarray(picture).resize((SIDE, SIDE)), (left, upper))
            draw.text((left + 2, upper + SIDE), caption, fill=0)
        top += CAPTION + several * height
    sheet.save(target)


def _captioned(run: Path, particles: Path, radius_px: float) -> tuple[list[npt.NDArray[np.uint8]], list[str]]:
    """Gray averages of the largest classes of a run, and what stands under them."""
    if not (run / "class_averages.mrcs").exists():
        return [], []
    source = read_particles(particles)
    found = read_classes(run, len(source))
    sizes = np.bincount(found.label[found.label >= 0])
    order = np.argsort(-sizes, kind="stable")[: COLUMNS * ROWS]
    gray = to_gray(MrcStack(run / "class_averages.mrcs").read(order))
    resolutions = [class_resolution_A(source, found, int(k), radius_px=radius_px) for k in order]
    return list(gray), [f"{sizes[k]}  {r:.1f} A" for k, r in zip(order, resolutions, strict=True)]
