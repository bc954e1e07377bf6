"""Full-size averages as files: stacks, tables of resolution and poses, in this program's form and in SPHIRE's."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cryoisac.engine.moving import Moving, transform
from cryoisac.io.atomic import write_whole
from cryoisac.io.star import write_star
from cryoisac.io.text_tables import write_table
from cryoisac.model.ledger import MEMBER, Ledger
from cryoisac.model.poses import Poses
from cryoisac.model.table import Metadata, Table
from cryoisac.ops.fourier import edge_mean
from cryoisac.ops.resample import resample, resampled_box
from cryoisac.products.ordering import Ordering, order_averages
from cryoisac.settings import Isac

Images = npt.NDArray[np.float32]
Float = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]

COMPARED = Isac()  # averages are compared at the size that classes are made at
UNSCALED = 1.0


def member_ledger(n: int, numbers: Sequence[int], members: Sequence[Index], poses: Poses) -> Ledger:
    """Return a ledger of ``n`` images in which the members of the averages stand with their poses."""
    images = np.concatenate([*members, np.zeros(0, dtype=np.int64)])
    labels = np.repeat(np.array(numbers, dtype=np.int64) - 1, [len(m) for m in members])
    return Ledger.empty(n).entered(images, poses=poses, label=labels, reason=MEMBER)


def order_full_size(averages: Images, radius_px: float, seed: int) -> tuple[Ordering, Images]:
    """Return the circular order of full-size averages, and the averages in it, laid on each other.

    Parameters
    ----------
    averages : ndarray, shape (k, n, n)
        The averages.
    radius_px : float
        Particle radius.
    seed : int
        Seed of the search for the order.
    """
    background = edge_mean(averages)[:, None, None].astype(np.float32)
    flat = averages - background
    ratio = min(COMPARED.target_radius / radius_px, 1.0)
    box = max(resampled_box(averages.shape[-1], ratio), 12)
    small = resample(flat, ratio, box) if ratio < 1 else flat
    radius = min(ratio * radius_px, box // 2)
    found = order_averages(small, range_px=min(COMPARED.xr + 1, box // 2 - 2), radius_px=radius, seed=seed)
    k = len(averages)
    turns = Poses(angle_deg=found.angle_deg, shift_px=np.zeros((k, 2)), mirror=found.mirror)
    laid = transform(flat[found.order], turns, moving=Moving(method="fourier", outside=0.0))
    return found, laid + background[found.order]


def write_star_of(path: Path, stack: str, numbers: Index, sizes: Index, resolution_A: Float) -> None:
    """Write a STAR table of averages: image, class, share of the members, members, resolution (inf: not known).

    Parameters
    ----------
    path : Path
        File to write.
    stack : str
        Name of the stack of averages.
    numbers, sizes, resolution_A : ndarray, shape (k,)
        Class, members and resolution in Å of each average.
    """
    table = Table({})
    for name, cells in {
        "rlnReferenceImage": np.array([f"{i + 1:06d}@{stack}" for i in range(len(sizes))], dtype=np.str_),
        "rlnClassNumber": numbers,
        "rlnClassDistribution": sizes / max(int(sizes.sum()), 1),
        "rlnNrOfSignificantSamples": sizes,
        "rlnEstimatedResolution": resolution_A,
    }.items():
        table = table.with_column(name, cells)
    metadata = Metadata(table, particles_block="model_classes")
    write_whole(path, lambda temporary: write_star(temporary, metadata, image_root=None))


def write_curves(path: Path, numbers: Sequence[int], curves: Float, box_px: int, pixel_size_A: float | None) -> None:
    """Write ``frc.csv``: a row a ring, its frequency, and the correlation of halves of each class there.

    Parameters
    ----------
    path : Path
        File to write.
    numbers : sequence of int
        Classes.
    curves : ndarray, shape (k, r)
        Correlations; NaN, where they are not known, is left empty.
    box_px : int
        Side of the images.
    pixel_size_A : float or None
        Their pixel size.
    """
    head = ["ring", "cycles_per_px", "resolution_A", *(f"class_{c}" for c in numbers)]
    rows: list[list[Any]] = []
    for ring in range(curves.shape[1]):
        length = "" if pixel_size_A is None or not ring else f"{pixel_size_A * box_px / ring:.3f}"
        values = ["" if np.isnan(v) else f"{v:.5f}" for v in curves[:, ring].tolist()]
        rows.append([ring, f"{ring / box_px:.6f}", length, *values])
    write_rows(path, head, rows)


def write_rows(path: Path, head: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Write a CSV table."""

    def write(temporary: Path) -> None:
        with temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(head)
            writer.writerows(rows)

    write_whole(path, write)


def write_frequencies(path: Path, fh1: Sequence[float], fh2: Sequence[float]) -> None:
    """Write ``FH_list.txt``: position of the average from 0, FH1, FH2."""
    columns = [np.arange(len(fh1)), np.array(fh1, dtype=np.float64), np.array(fh2, dtype=np.float64)]
    write_whole(path, lambda temporary: write_table(temporary, columns))


def write_composed(folder: Path, members: Sequence[Index], poses: Sequence[Poses]) -> None:
    """Write ``init_isac_params.txt`` and ``params_avg``: poses of the classification, in pixels of the particles."""
    images = np.concatenate([*members, np.zeros(0, dtype=np.int64)])
    order = np.argsort(images, kind="stable")
    columns = [*_columns(Poses.concatenate(list(poses))[order]), np.full(len(images), UNSCALED)]
    _write(folder / "init_isac_params.txt", [images[order], *columns])
    for c, own in enumerate(poses):
        _write(folder / "params_avg" / f"params_avg_{c:03d}.txt", [*_columns(own), np.full(len(own), UNSCALED)])


def write_refined(folder: Path, members: Sequence[Index], poses: Sequence[Poses]) -> None:
    """Write ``ali2d_local_params.txt`` and ``ali2d_local_params_avg``: refined poses."""
    images = np.concatenate([*members, np.zeros(0, dtype=np.int64)])
    order = np.argsort(images, kind="stable")
    _write(folder / "ali2d_local_params.txt", [images[order], *_columns(Poses.concatenate(list(poses))[order])])
    for c, own in enumerate(poses):
        _write(folder / "ali2d_local_params_avg" / f"ali2d_local_params_avg_{c:03d}.txt", _columns(own))


def _columns(poses: Poses) -> list[npt.NDArray[np.generic]]:
    return [poses.angle_deg, poses.shift_px[:, 0], poses.shift_px[:, 1], poses.mirror.astype(np.int64)]


def _write(path: Path, columns: Sequence[npt.NDArray[np.generic]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, lambda temporary: write_table(temporary, columns))
