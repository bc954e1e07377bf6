"""The engine contract in compiled code: exact, on every core, the same answer for any number of threads."""

import os
from functools import cached_property

import numpy as np
import numpy.typing as npt

from cryoisac.engine import _native
from cryoisac.engine.contract import (
    Images,
    Indices,
    Match,
    Offsets,
    Search,
    check_labels,
    check_rows,
    check_search,
    check_stack,
    found_poses,
    trial_counts,
)
from cryoisac.engine.fast import ROOM_BYTES, Prepared, Workplace, fast_bytes, moment_bytes
from cryoisac.engine.reference import angle_stride
from cryoisac.engine.ring_sums import RingSums, ring_bytes
from cryoisac.errors import DataError, SettingError
from cryoisac.model.poses import Poses
from cryoisac.ops.polar import Rings

SAMPLE_BYTES = 4  # of ring spectra, float32
ROW_BYTES = 160  # indices, offsets, trials, poses and scores of a row
THREAD_BYTES = 1 << 21  # a block of 16 rows and its correlations
MODES = ("exact", "fast")
INSTRUCTIONS = "CRYOISAC_INSTRUCTIONS"


def instruction_sets() -> list[str]:
    """Return the instruction sets that this build and processor share, best first."""
    return list(_native.instruction_sets())


def instruction_set() -> str:
    """Return the instruction set in use: the best one, or what the variable CRYOISAC_INSTRUCTIONS names.

    Raises
    ------
    SettingError
        When the variable names one that is unknown, or that this processor lacks.
    """
    return _chosen(os.environ.get(INSTRUCTIONS) or None)


def _chosen(name: str | None) -> str:
    known = instruction_sets()
    if name is not None and name not in known:
        raise SettingError(INSTRUCTIONS, f"{name!r} does not run here: use one of {', '.join(known)}")
    return name or known[0]


class NativeEngine:
    """Score, match and add up images by compiled kernels.

    Parameters
    ----------
    images : ndarray, shape (n, h, h), float32
        The working stack; not copied when it is contiguous float32.
    threads : int, optional
        Threads; as many as this process may use, by default.
    instructions : str, optional
        One of ``instruction_sets()``; ``instruction_set()`` by default.
    mode : str
        "exact", or "fast": references shifted instead of rows and compressed, several times faster.

    Raises
    ------
    SettingError
        When the mode, the instruction set or the number of threads is not possible.

    Notes
    -----
    Exact answers equal those of ``ReferenceEngine`` to float32 rounding. Fast ones are those of
    ``FastReferenceEngine`` but for ``radial.ENERGY_LOSS`` of the references' energy and for the choice between shifts
    whose peaks are nearly equal. Neither depends on threads or on how rows are batched. Memory besides the stack:
    references' spectra (16 kB each for 29 rings; fast, up to that for each shift) and about 1 MB a thread.
    """

    def __init__(
        self, images: Images, threads: int | None = None, *, instructions: str | None = None, mode: str = "exact"
    ) -> None:
        self._images = check_stack(images)
        if mode not in MODES:
            raise SettingError("mode", f"{mode!r}: must be one of {', '.join(MODES)}")
        self._fast = mode == "fast"
        self._threads = chosen_threads(threads)
        self._instructions = chosen_instructions(instructions)
        self._kernels = _native.Engine(self._instructions)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Images, rows and columns of the stack."""
        n, h, w = self._images.shape
        return n, h, w

    @cached_property
    def _ring_sums(self) -> RingSums:
        return RingSums(self.shape[1], instructions=self._instructions, threads=self._threads)

    @cached_property
    def _means(self) -> npt.NDArray[np.float32]:
        """Mean of each image, taken off before rings are normalised so that float32 sums stay exact."""
        means: npt.NDArray[np.float64] = self._images.mean(axis=(1, 2), dtype=np.float64)
        return means.astype(np.float32)

    def plan(self, rows: int, references: int, search: Search) -> int:
        """Return the most memory, in bytes, that a question takes besides the stack; see ``Engine``."""
        rings = Rings.between(search.first_ring, search.last_ring, search.ring_step)
        spectra = references * 2 * SAMPLE_BYTES * sum(rings.lengths)
        if self._fast:
            spectra = fast_bytes(rings, references, search) + self._threads * moment_bytes(rings) + rows * ROOM_BYTES
            spectra = max(spectra, ring_bytes(self.shape[1], references, self._threads))
        sums = references * 8 * self.shape[1] * self.shape[2]
        return spectra + sums + rows * (ROW_BYTES + 4 * references) + self._threads * THREAD_BYTES

    def prepared(self, references: Images, search: Search) -> Prepared:
        """Return references made ready for fast searches of this stack."""
        check_search(self.shape, references, search)
        stack, means = self._stack(search)
        place = Workplace(stack=stack, means=means, instructions=self._instructions, threads=self._threads)
        return Prepared(references, search, _native_search(search), place)

    def score(self, references: Images, images: Indices, offsets_px: Offsets, search: Search) -> Images:
        """Return the best correlation of each row with each reference, shape (m, k); see ``Engine``."""
        check_rows(self.shape, images, offsets_px)
        if self._fast:
            return self.prepared(references, search).score(images, offsets_px)
        check_search(self.shape, references, search)
        scores = np.empty((len(images), len(references)), dtype=np.float32)
        stack, means = self._stack(search)
        rows, offsets, reach = self._rows(images, offsets_px, search)
        self._kernels.score(
            _native_search(search),
            stack,
            means,
            np.ascontiguousarray(references, dtype=np.float32),
            rows,
            offsets,
            reach,
            scores,
            self._threads,
        )
        return scores

    def match(self, references: Images, labels: Indices, images: Indices, offsets_px: Offsets, search: Search) -> Match:
        """Return the best pose of each row on the reference that its label names; see ``Engine``."""
        check_rows(self.shape, images, offsets_px)
        check_labels(labels, len(images), len(references))
        if self._fast:
            return self.prepared(references, search).match(labels, images, offsets_px)
        check_search(self.shape, references, search)
        m = len(images)
        score, position = np.empty(m, dtype=np.float32), np.empty(m)
        trial, mirror = np.empty((m, 2), dtype=np.int32), np.empty(m, dtype=np.uint8)
        stack, means = self._stack(search)
        rows, offsets, reach = self._rows(images, offsets_px, search)
        self._kernels.match(
            _native_search(search),
            stack,
            means,
            np.ascontiguousarray(references, dtype=np.float32),
            np.ascontiguousarray(labels, dtype=np.int64),
            np.argsort(labels, kind="stable"),
            rows,
            offsets,
            reach,
            score,
            position,
            trial,
            mirror,
            self._threads,
        )
        longest = Rings.between(search.first_ring, search.last_ring, search.ring_step).longest
        angle = position * 360.0 / longest
        return Match(
            poses=found_poses(offsets_px, trial.astype(np.float64) * search.step_px, angle, mirror.astype(bool)),
            score=score,
        )

    def total(self, labels: Indices, images: Indices, poses: Poses, k: int) -> npt.NDArray[np.float64]:
        """Return the sum over each class of its images laid on it, shape (k, h, w); see ``Engine``."""
        check_rows(self.shape, images, poses.shift_px)
        check_labels(labels, len(images), k, least=-1)
        order = np.argsort(labels, kind="stable")
        bounds = np.searchsorted(labels[order], np.arange(k + 1))
        sums = np.zeros((k, *self.shape[1:]))
        rows = np.ascontiguousarray(images, dtype=np.int64)
        self._kernels.total(self._images, order, bounds, rows, self._placements(poses), sums, self._threads)
        return sums

    def quick_total(self, labels: Indices, images: Indices, poses: Poses, k: int) -> npt.NDArray[np.float64]:
        """Return class sums for use inside a loop, (k, h, w): in fast mode by ring coefficients; see ``Engine``."""
        if not self._fast:
            return self.total(labels, images, poses, k)
        check_rows(self.shape, images, poses.shift_px)
        check_labels(labels, len(images), k, least=-1)
        return self._ring_sums.total(self._images, labels, images, poses, k)

    def warp(self, images: Indices, poses: Poses) -> Images:
        """Return the images of rows under their poses, shape (m, h, w): what ``total`` adds up."""
        check_rows(self.shape, images, poses.shift_px)
        moved = np.empty((len(images), *self.shape[1:]), dtype=np.float32)
        rows = np.ascontiguousarray(images, dtype=np.int64)
        self._kernels.warp(self._images, rows, self._placements(poses), moved, self._threads)
        return moved

    def _stack(self, search: Search) -> tuple[Images, npt.NDArray[np.float32]]:
        return self._images, self._means if search.normalise_rings else np.empty(0, dtype=np.float32)

    def _rows(
        self, images: Indices, offsets_px: Offsets, search: Search
    ) -> tuple[Indices, Offsets, npt.NDArray[np.int32]]:
        return (
            np.ascontiguousarray(images, dtype=np.int64),
            np.ascontiguousarray(offsets_px, dtype=np.float64),
            trial_counts(offsets_px, self.shape[1], search).astype(np.int32),
        )

    def _placements(self, poses: Poses) -> npt.NDArray[np.float64]:
        """Return cos, sin, x, y and mirror of each pose, shape (m, 5)."""
        if not np.isfinite(poses.rows()).all():
            raise DataError("poses", "an angle or shift is not a finite number")
        angle = np.deg2rad(poses.angle_deg)
        shift = np.fmod(poses.shift_px, self.shape[1])
        return np.column_stack((np.cos(angle), np.sin(angle), shift, poses.mirror))


def chosen_instructions(name: str | None) -> str:
    """Return the instruction set of this name, or ``instruction_set()`` where it is None.

    Raises
    ------
    SettingError
        When it is unknown, or this processor lacks it.
    """
    return _chosen(name) if name else instruction_set()


def chosen_threads(threads: int | None) -> int:
    """Return this number of threads, or ``default_threads()`` where it is None.

    Raises
    ------
    SettingError
        When it is less than 1.
    """
    if threads is not None and threads < 1:
        raise SettingError("threads", f"{threads}: must be at least 1")
    return threads if threads is not None else default_threads()


def default_threads() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _native_search(search: Search) -> _native.Search:
    rings = Rings.between(search.first_ring, search.last_ring, search.ring_step)
    return _native.Search.make(
        rings.points_px,
        np.array(rings.lengths, dtype=np.int32),
        np.stack((rings.sample_weights, rings.reference_weights)),
        rings.radii[-1],
        float(search.step_px),
        angle_stride(search, rings.longest),
        bool(search.angle_step_deg == 0),
        bool(search.normalise_rings),
        bool(search.mirror),
    )
