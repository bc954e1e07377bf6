"""The engine contract on a device: images resampled on rings there, compared as matrices, laid on each other."""

import numpy as np

from cryoisac.engine import shifted
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
    room_px,
)
from cryoisac.engine.gpu.memory import Place, computing
from cryoisac.engine.gpu.search import Searcher
from cryoisac.engine.gpu.store import Store
from cryoisac.engine.gpu.totals import ImageSums
from cryoisac.engine.gpu.trials import ExactTrials, FastTrials, PixelRows, PixelTrials, with_means
from cryoisac.engine.ring_sums import ring_bytes
from cryoisac.errors import SettingError
from cryoisac.model.poses import Poses
from cryoisac.ops.polar import Float, parabola_offset

MODES = ("exact", "fast")
ROW_BYTES = 200  # of a row on the host


class TorchEngine:
    """Score, match and add up images on a device that PyTorch drives.

    Parameters
    ----------
    images : ndarray, shape (n, h, h), float32
        The working stack.
    place : Place
        The device, and what may be taken of its memory; images that do not fit stay on the host.
    mode : str
        "exact", or "fast": references shifted instead of rows, and of many compressed for scores.
    stack : int, optional
        Images of the whole stack, where these are a part of it.

    Notes
    -----
    Exact answers equal those of ``ReferenceEngine``, fast ones those of ``FastReferenceEngine`` but for the choice
    between shifts whose peaks are nearly equal, to float32 rounding, and for ``radial.ENERGY_LOSS`` of the references'
    energy in scores of many references. Batches move them by that rounding; class sums not at all.
    """

    def __init__(self, images: Images, place: Place, *, mode: str = "exact", stack: int | None = None) -> None:
        own = check_stack(images)
        if mode not in MODES:
            raise SettingError("mode", f"{mode!r}: must be one of {', '.join(MODES)}")
        self._shape = (own.shape[0], own.shape[1], own.shape[2])
        self._fast, self._place, self._stack = mode == "fast", place, stack or len(own)
        self._store = Store(own, place, with_means, 4 * (own[:1].size + 1))
        self._sums = ImageSums(self._store, own.shape[1], place)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Images, rows and columns of the stack."""
        return self._shape

    def plan(self, rows: int, references: int, search: Search) -> int:
        """Return the most memory, in bytes, that a question takes besides the stack, on device and host."""
        sums = references * 8 * self.shape[1] * self.shape[2]
        if self._fast:
            sums += ring_bytes(self.shape[1], references, threads=0)
        return self._place.budget_bytes + sums + rows * (ROW_BYTES + 4 * references)

    def score(self, references: Images, images: Indices, offsets_px: Offsets, search: Search) -> Images:
        """Return the best correlation of each row with each reference, shape (m, k); see ``Engine``."""
        with computing(self._place.tf32):
            searcher, _ = self._asked(references, images, offsets_px, search)
            return searcher.scores(len(images), len(references))

    def match(self, references: Images, labels: Indices, images: Indices, offsets_px: Offsets, search: Search) -> Match:
        """Return the best pose of each row on the reference that its label names; see ``Engine``."""
        check_labels(labels, len(images), len(references))
        with computing(self._place.tf32):
            searcher, trials = self._asked(references, images, offsets_px, search)
            found = searcher.found(np.asarray(labels, dtype=np.int64), len(references))
        between = parabola_offset(found.around) if search.angle_step_deg == 0 else 0.0
        angle = np.nan_to_num(found.index + between) * 360.0 / trials.layout.longest
        moves = trials.shifts_px[found.shift]
        if self._fast:
            moves = shifted.moves_px(angle, moves, found.mirror)
            moves = shifted.confined(moves, room_px(offsets_px, self.shape[1], search.last_ring))
        return Match(poses=found_poses(offsets_px, moves, angle, found.mirror), score=found.score)

    def total(self, labels: Indices, images: Indices, poses: Poses, k: int) -> Float:
        """Return the sum over each class of its images laid on it, shape (k, h, w); see ``Engine``."""
        check_rows(self.shape, images, poses.shift_px)
        check_labels(labels, len(images), k, least=-1)
        with computing(self._place.tf32):
            return self._sums.resampled(labels, images, poses, k)

    def quick_total(self, labels: Indices, images: Indices, poses: Poses, k: int) -> Float:
        """Return class sums for use inside a loop, (k, h, w): in fast mode by ring coefficients; see ``Engine``."""
        if not self._fast:
            return self.total(labels, images, poses, k)
        check_rows(self.shape, images, poses.shift_px)
        check_labels(labels, len(images), k, least=-1)
        with computing(self._place.tf32):
            return self._sums.by_rings(labels, images, poses, k)

    def _asked(
        self, references: Images, images: Indices, offsets_px: Offsets, search: Search
    ) -> tuple[Searcher, PixelTrials]:
        check_rows(self.shape, images, offsets_px)
        check_search(self.shape, references, search)
        make = FastTrials if self._fast else ExactTrials
        rows = PixelRows(self._store, self._stack, self.shape[1], images, np.asarray(offsets_px, dtype=np.float64))
        trials = make(rows, np.ascontiguousarray(references, dtype=np.float32), search, self._place.device)
        return Searcher(trials, self._place), trials
