"""What an engine is: it holds a working stack and answers three questions about rows of it.

A *row* is one image at one offset. Every question names its rows by ``images`` (indices into the stack; the same image
may stand in many rows, as in the repeated alignments of a stability test) and, where a search is made, by the offset
of each row: the point (x, y) of the image, relative to its centre pixel, that the search is centred on.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from cryoisac.errors import DataError, SettingError
from cryoisac.model.poses import Poses, rotate, wrap

Images = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]
Offsets = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Search:
    """Where poses are looked for: rings, shift grid, angles.

    Parameters
    ----------
    first_ring, last_ring, ring_step : int
        Radii of the rings, in pixels: first, first + step, ... up to last.
    x_range_px, y_range_px : float
        Largest trial shift along each axis; shortened for an image where a ring would leave the box.
    step_px : float
        Step of the trial shifts.
    normalise_rings : bool
        Whether the ring samples of each image are brought to zero mean and unit variance (area weighted), so that
        scores of different images compare: ISAC's multireference alignment does, its reference-free alignment not.
    mirror : bool
        Whether mirrored poses are tried.
    angle_step_deg : float
        When positive, only angles that are multiples of this are tried, without interpolation.
    """

    last_ring: int
    first_ring: int = 1
    ring_step: int = 1
    x_range_px: float = 1.0
    y_range_px: float = 1.0
    step_px: float = 1.0
    normalise_rings: bool = False
    mirror: bool = True
    angle_step_deg: float = 0.0


@dataclass(frozen=True, eq=False, kw_only=True)
class Match:
    """The best pose of each row on its reference.

    Parameters
    ----------
    poses : Poses
        ``m`` poses, the row's offset included.
    score : ndarray, shape (m,), float32
        The correlation at that pose.
    """

    poses: Poses
    score: npt.NDArray[np.float32]


class Engine(Protocol):
    """The questions, for arrays in and arrays out; the answers do not depend on batch or thread count."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Images, rows and columns of the stack."""

    def plan(self, rows: int, references: int, search: Search) -> int:
        """Return the most memory, in bytes, that a question of this size takes besides the stack.

        Parameters
        ----------
        rows : int
            Rows of the question.
        references : int
            References or classes.
        search : Search
            Rings, shifts and angles.

        Returns
        -------
        int
            Bytes, the answer included.
        """

    def score(self, references: Images, images: Indices, offsets_px: Offsets, search: Search) -> Images:
        """Return the best correlation of each row with each reference.

        Parameters
        ----------
        references : ndarray, shape (k, h, w), float32
            The references.
        images : ndarray, shape (m,), int64
            The image of each row.
        offsets_px : ndarray, shape (m, 2)
            Centre of each row's search, (x, y).
        search : Search
            Rings, shifts and angles.

        Returns
        -------
        ndarray, shape (m, k), float32
            Largest correlation over shift, angle and mirror; only the sampled maximum, not interpolated.
        """

    def match(self, references: Images, labels: Indices, images: Indices, offsets_px: Offsets, search: Search) -> Match:
        """Return the best pose of each row on the reference that its label names.

        Parameters
        ----------
        references : ndarray, shape (k, h, w), float32
            The references.
        labels : ndarray, shape (m,), int64
            The reference of each row, 0 to k - 1.
        images, offsets_px, search
            As for ``score``.

        Returns
        -------
        Match
            Poses and scores of the ``m`` rows.
        """

    def total(self, labels: Indices, images: Indices, poses: Poses, k: int) -> npt.NDArray[np.float64]:
        """Return the sum over each class of its images laid on it.

        Parameters
        ----------
        labels : ndarray, shape (m,), int64
            Class of each row, 0 to k - 1; rows with -1 are left out.
        images : ndarray, shape (m,), int64
            The image of each row.
        poses : Poses
            Pose of each row.
        k : int
            Number of classes.

        Returns
        -------
        ndarray, shape (k, h, w), float64
            Class sums, by quadratic interpolation; a point that falls outside its image takes the image's pixel at
            the output position ("background" rule of SPARX). Divide by ``bincount(labels)`` for averages.
        """

    def quick_total(self, labels: Indices, images: Indices, poses: Poses, k: int) -> npt.NDArray[np.float64]:
        """Return class sums for use inside a loop, (k, h, w): as ``total``, but made in the engine's quickest way.

        Averages that leave a loop are made by ``total``.
        """


def search_limits(offsets_px: Offsets, box_px: int, search: Search) -> npt.NDArray[np.float64]:
    """Return how far each row may be searched so that no ring leaves its image.

    With c = n // 2 and R the last ring: towards negative min(range, c + o - R - 1), towards positive
    min(range, n - 1 - c - o - R), never below 0.

    Parameters
    ----------
    offsets_px : ndarray, shape (m, 2)
        Offsets (x, y).
    box_px : int
        Side n of the images.
    search : Search
        Ranges and last ring.

    Returns
    -------
    ndarray, shape (m, 4)
        Limits -x, +x, -y, +y in pixels, each >= 0.

    Notes
    -----
    As SPARX's ``search_range``.
    """
    reach = np.array([search.x_range_px, search.x_range_px, search.y_range_px, search.y_range_px])
    limits: Offsets = np.minimum(reach, room_px(offsets_px, box_px, search.last_ring))
    return limits


def room_px(offsets_px: Offsets, box_px: int, last_ring: int) -> Offsets:
    """Return how far each row's centre may move towards -x, +x, -y, +y with all rings inside, shape (m, 4), >= 0."""
    centre = box_px // 2
    below = centre + offsets_px - last_ring - 1
    above = box_px - 1 - centre - offsets_px - last_ring
    return np.maximum(np.stack((below, above), axis=-1).reshape(-1, 4), 0.0)


def largest_offset_px(box_px: int, last_ring: int) -> int:
    """Return how far a search centre may lie from the image centre: n // 2 - R - 1, the original's ``mashi``."""
    return box_px // 2 - last_ring - 1


def trial_counts(offsets_px: Offsets, box_px: int, search: Search) -> Indices:
    """Return how many steps each row is searched towards -x, +x, -y, +y, shape (m, 4); trial shifts are i * step."""
    return np.floor(search_limits(offsets_px, box_px, search) / search.step_px).astype(np.int64)


def found_poses(offsets_px: Offsets, trial_px: Offsets, angle_deg: Offsets, mirror: npt.NDArray[np.bool_]) -> Poses:
    """Return the poses (a, -R(a) o, m) of rows found at angle a with their centre at o = offset + trial shift."""
    angle = wrap(angle_deg)
    return Poses(angle_deg=angle, shift_px=-rotate(angle, offsets_px + trial_px), mirror=mirror)


def check_stack(images: Images) -> Images:
    """Return a stack of square images as contiguous float32.

    Raises
    ------
    DataError
        When the array is not three-dimensional, or its images are not square.
    """
    stack = np.ascontiguousarray(images, dtype=np.float32)
    if stack.ndim != 3 or stack.shape[1] != stack.shape[2] or stack.shape[1] == 0:
        raise DataError("stack", f"shape {np.shape(images)}: an engine needs (images, side, side)")
    return stack


def check_images(images: Indices, count: int) -> None:
    """Raise DataError unless every row names one of so many images."""
    if images.ndim != 1 or (images.size and not 0 <= images.min() <= images.max() < count):
        raise DataError("rows", f"images must be indices from 0 to {count - 1}")


def check_rows(shape: tuple[int, int, int], images: Indices, offsets_px: Offsets) -> None:
    """Raise DataError unless every row names an image of the stack and has a finite offset (x, y)."""
    check_images(images, shape[0])
    if offsets_px.shape != (len(images), 2) or not np.isfinite(offsets_px).all():
        raise DataError("rows", f"offsets of shape {offsets_px.shape} for {len(images)} rows: need finite (x, y) each")


def check_labels(labels: Indices, rows: int, k: int, *, least: int = 0) -> None:
    """Raise DataError unless there is one label for each row, from ``least`` to k - 1."""
    if labels.shape != (rows,) or (rows and not least <= labels.min() <= labels.max() < k):
        raise DataError("rows", f"labels must be one number from {least} to {k - 1} for each of {rows} rows")


def check_search(shape: tuple[int, int, int], references: Images, search: Search) -> None:
    """Raise DataError or SettingError unless the references have the images' side and the rings fit them."""
    n = shape[1]
    if references.ndim != 3 or references.shape[1:] != shape[1:]:
        raise DataError("references", f"shape {references.shape}: images have side {n}, so must references")
    if search.last_ring > n - 1 - n // 2:
        raise SettingError("last_ring", f"{search.last_ring} px leaves a box of {n} px: at most {n - 1 - n // 2}")
    if not search.step_px > 0:
        raise SettingError("step_px", f"{search.step_px}: must be positive")
    if not 0 <= search.angle_step_deg < 360:
        raise SettingError("angle_step_deg", f"{search.angle_step_deg}: must lie in [0, 360)")
