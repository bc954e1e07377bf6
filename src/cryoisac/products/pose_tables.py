"""Poses that a table gives the images of a stack: RELION's, EMAN2's headers, or the original's text."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cryoisac.errors import DataError, FormatError
from cryoisac.io import eman_bdb, eman_hdf, star
from cryoisac.io.content import head
from cryoisac.io.eman_header import EmanTransform, scaled_pose_rows
from cryoisac.io.registry import read_image_stack
from cryoisac.io.text_tables import read_table
from cryoisac.model.poses import Poses

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]
POSE = "xform.align2d"
CLASS_NAMES = ("ISAC_class_id", "assign")  # of EMAN2's headers, from 0
WIDTHS = {4: "angle x y mirror", 5: "angle x y mirror scale", 6: "index angle x y mirror class"}


@dataclass(frozen=True, eq=False, kw_only=True)
class PoseTable:
    """What a table says of ``n`` images.

    Parameters
    ----------
    path : Path
        The table.
    poses : Poses
        In pixels of the images.
    scale : ndarray, shape (n,)
        How much each is enlarged.
    label : ndarray, shape (n,), or None
        Class from 0; -1 for an image in none. ``None`` where the table has no classes.
    """

    path: Path
    poses: Poses
    scale: Float
    label: Int | None

    def __len__(self) -> int:
        return len(self.poses)

    def shifts(self) -> "PoseTable":
        """Return the same table with poses that bring the same points to the centre, and do nothing else."""
        poses = Poses.at_offsets(self.poses.offset_px() / self.scale[:, None])
        return replace(self, poses=poses, scale=np.ones(len(self)))

    def unmirrored(self) -> "PoseTable":
        """Return the same table without mirrors."""
        return replace(self, poses=replace(self.poses, mirror=np.zeros(len(self), dtype=bool)))


def read_pose_table(path: str | Path) -> PoseTable:
    """Read the poses of a table; its content decides what it is.

    Parameters
    ----------
    path : str or Path
        A STAR file with ``rlnAnglePsi``, origins and, if any, ``rlnIsFlip`` and ``rlnClassNumber``; an EMAN2 stack
        with ``xform.align2d`` in its headers; or text: ``angle x y mirror``, with a scale for a fifth column, or with
        an index before and a class after.

    Raises
    ------
    FormatError
        If it is none of these, or a number is wrong.

    Notes
    -----
    A mirror of -1 means an image in no class, as in ``all_parameters.txt``; a scale of 0 means 1, as in the original.
    """
    path = Path(path)
    if eman_bdb.is_address(path):
        return _of_headers(path)
    start = head(path)
    if star.sniff(start):
        return _of_star(path)
    if eman_hdf.sniff(start) or eman_bdb.sniff(start):
        return _of_headers(path)
    if b"\0" in start:
        raise FormatError(path, "is no table of poses; give a STAR file, a stack of EMAN2, or a table of text")
    return _of_text(path)


def _of_star(path: Path) -> PoseTable:
    metadata = star.read_star(path)
    table, poses = metadata.particles, star.poses_of(path, metadata)
    if "rlnClassNumber" not in table:
        return PoseTable(path=path, poses=poses, scale=np.ones(len(table)), label=None)
    try:
        label = np.maximum(table.integers("rlnClassNumber"), 0) - 1
    except ValueError as error:
        raise FormatError(path, "has an rlnClassNumber that is no whole number") from error
    return PoseTable(path=path, poses=poses, scale=np.ones(len(table)), label=label)


def _of_headers(path: Path) -> PoseTable:
    stack: Any = read_image_stack(path)
    transforms = stack.column(POSE)
    lacking = next((i for i, one in enumerate(transforms) if not isinstance(one, EmanTransform)), None)
    if lacking is not None:
        raise FormatError(path, f"image {lacking} has no {POSE} in its header")
    rows, scale = scaled_pose_rows(transforms)
    bad = np.flatnonzero(~(np.isfinite(rows).all(axis=1) & np.isfinite(scale) & (scale > 0)))
    if bad.size:
        raise FormatError(path, f"image {bad[0]} has an {POSE} that is no pose in the plane")
    return PoseTable(path=path, poses=Poses.from_rows(rows), scale=scale, label=_label(stack))


def _label(stack: Any) -> Int | None:
    """Return the class that headers name, from 0."""
    for name in CLASS_NAMES:
        values = stack.column(name)
        if all(isinstance(value, int) for value in values):
            return np.maximum(np.array(values, dtype=np.int64), -1)
    return None


def _of_text(path: Path) -> PoseTable:
    table = read_table(path)
    width = table.shape[1] if table.size else 0
    if width not in WIDTHS:
        forms = "; ".join(WIDTHS.values())
        raise FormatError(path, f"has {width} columns; a table of poses has those of one of: {forms}")
    bad = np.flatnonzero(~np.isfinite(table).all(axis=1))
    if bad.size:
        raise FormatError(path, f"row {bad[0] + 1} has a value that is not a finite number")
    rows, scale, label = table[:, :4], np.ones(len(table)), None
    if width == 5:
        scale = np.where(table[:, 4] == 0, 1.0, table[:, 4])
    if width == 6:
        rows, label = table[:, 1:5], np.where(table[:, 4] == -1, -1, _whole(path, table[:, 5], "class"))
        if not np.array_equal(table[:, 0], np.arange(len(table))):
            raise FormatError(path, "has six columns, the first of which does not count rows from 0")
    unknown = np.flatnonzero(~np.isin(rows[:, 3], (-1, 0, 1)))
    if unknown.size:
        raise FormatError(path, f"row {unknown[0] + 1} has mirror {rows[unknown[0], 3]:g}; it must be 0, 1 or -1")
    if (scale < 0).any():
        raise FormatError(path, f"row {np.flatnonzero(scale < 0)[0] + 1} has a scale below 0")
    return PoseTable(path=path, poses=Poses.from_rows(rows), scale=scale, label=label)


def _whole(path: Path, column: Float, what: str) -> Int:
    odd = np.flatnonzero(column != np.rint(column))
    if odd.size:
        raise FormatError(path, f"row {odd[0] + 1} has {what} {column[odd[0]]:g}, which is no whole number")
    return np.maximum(column.astype(np.int64), -1)


def paired(table: PoseTable, images: int, stack: Path) -> PoseTable:
    """Return the table, or raise ``DataError`` unless it has a row for each image of a stack."""
    if len(table) != images:
        raise DataError(
            table.path,
            f"has poses of {len(table)} images, {stack} has {images}; give the table of these images, or a STAR file "
            "for both, whose rows name their images",
        )
    return table
