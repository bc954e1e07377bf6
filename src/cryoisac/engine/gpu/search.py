"""Scores and poses by products of matrices: every reference with every image, or each image with its own reference."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch

from cryoisac.engine.contract import Indices
from cryoisac.engine.gpu import maxima
from cryoisac.engine.gpu.compression import Compression
from cryoisac.engine.gpu.layout import COMPLEX_BYTES, Folded, Layout
from cryoisac.engine.gpu.memory import Place, in_batches
from cryoisac.engine.gpu.product import correlate, curve_bytes, last_largest, peaks, top
from cryoisac.engine.gpu.transfer import Answers, sent
from cryoisac.engine.radial import RadialBasis
from cryoisac.ops.polar import Float

Float32 = npt.NDArray[np.float32]
TOGETHER = tuple(1 << power for power in range(9))  # rows of one reference that may be multiplied with it at once
FEWEST_ROWS = 64  # that a batch should hold
IMAGES_PART = 4  # the part of a batch, one in so many, for images that are made ready for several batches of products
FEW_REFERENCES = 8  # of an image, up to which it pays to turn products instead of coefficients
FEWEST_PAIRS = 1 << 26  # of an image, a reference and a shift, where a radial basis saves more time than it takes
FEWEST_COLUMNS = 64  # references and their shifts, likewise
FOLDED = 6  # times the bytes of coefficients, for the copies of those folded


class Trials(Protocol):
    """Rows and references of a question: each row stands for ``row_shifts`` images, each reference for as many.

    Rows come from a ``stack`` of so many images.
    """

    layout: Layout
    angles: int
    stride: int
    mirror: bool
    stack: int
    row_shifts: int
    reference_shifts: int
    row_bytes: int

    def basis(self) -> RadialBasis | None:
        """Return a short basis for the references, or none where all coefficients count."""

    def references(self, which: Indices) -> Folded:
        """Return references at their shifts, reference after reference."""

    def images(self, rows: Indices, following: Indices, *, both: bool) -> Folded:
        """Return rows at their shifts, row after row; others will be asked for next. See ``Layout.images``."""

    def close(self, curves: torch.Tensor, rows: Indices) -> None:
        """Set correlations (a, ..., c, s, m, u, 2) to minus infinity where a row may not go."""

    def closes_whole_shifts(self, rows: Indices) -> bool:
        """Return whether rows may go to each shift at all angles or at none."""

    def open_curves(self, curves: torch.Tensor, rows: Indices, shifts: torch.Tensor) -> torch.Tensor:
        """Return correlations (a, m, 2), each at one shift of its reference, closed in the same way."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Found:
    """The best pose of each row.

    Parameters
    ----------
    score : ndarray, shape (m,), float32
        Correlation.
    index, shift : ndarray, shape (m,), int64
        Angle at the peak, and trial: of the row's shifts or of the reference's.
    mirror : ndarray, shape (m,), bool
        Whether it is mirrored.
    around : ndarray, shape (m, 7)
        Correlations at the seven angles around the peak.
    """

    score: Float32
    index: Indices
    shift: Indices
    mirror: npt.NDArray[np.bool_]
    around: Float

    def putting(self, rows: Indices) -> Callable[[Float32], None]:
        """Return what takes the poses of some rows: score, index, shift, mirror, and seven around, (n, 11)."""

        def put(answer: Float32) -> None:
            self.score[rows], self.index[rows], self.shift[rows] = answer[:, 0], answer[:, 1], answer[:, 2]
            self.mirror[rows], self.around[rows] = answer[:, 3], answer[:, 4:]

        return put


class Searcher:
    """Asks for rows and references in batches that fit a device.

    Parameters
    ----------
    trials : Trials
        Rows and references.
    place : Place
        The device.
    """

    def __init__(self, trials: Trials, place: Place) -> None:
        self._trials, self._place = trials, place
        self._fine = trials.angles < trials.layout.longest
        self._folded_bytes = FOLDED * COMPLEX_BYTES * trials.layout.coefficients

    def scores(self, rows: int, references: int) -> Float32:
        """Return the largest correlation of each row with each reference, shape (m, k)."""
        short = self._compression(references)
        result, answers = np.empty((rows, references), dtype=np.float32), Answers()

        def ask(whose: slice, _: slice) -> None:
            def put(part: slice, scores: Float32) -> None:
                result[part, whose] = scores

            self._compare(rows, whose, short, lambda part, each: answers.put(each, partial(put, part)))

        in_batches(references, self._reference_bytes(), ask, self._place)
        answers.settle()
        return result

    def _compare(
        self, rows: int, whose: slice, short: Compression | None, use: Callable[[slice, torch.Tensor], None]
    ) -> None:
        """Call ``use(rows, scores)`` with the scores (m, k) of all rows with some references."""
        t, k = self._trials, whose.stop - whose.start
        panel = t.references(np.arange(whose.start, whose.stop))
        panel = short.references(panel) if short else panel
        image_bytes = self._image_bytes()
        pair_bytes = self._pair_bytes(k, short.coefficients if short else t.layout.coefficients)
        together = image_bytes + pair_bytes  # of a row, where several batches of products are not worth it

        def prepare(part: slice, following: slice) -> None:
            own = np.arange(part.start, part.stop)
            images = t.images(own, np.arange(following.start, following.stop), both=short is None)
            images = short.images(images) if short else images

            def work(some: slice, _: slice) -> None:
                each = slice(some.start * t.row_shifts, some.stop * t.row_shifts)
                scores = self._score(panel, images.take(each), own[some], k)
                use(slice(part.start + some.start, part.start + some.stop), scores.T.contiguous())

            in_batches(len(own), max(together, pair_bytes * IMAGES_PART // (IMAGES_PART - 1)), work, self._place)

        in_batches(rows, min(together, image_bytes * IMAGES_PART), prepare, self._place)

    def found(self, labels: Indices, references: int) -> Found:
        """Return the best pose of each row on the reference that its label names."""
        m = len(labels)
        found = Found(
            score=np.empty(m, dtype=np.float32),
            index=np.empty(m, dtype=np.int64),
            shift=np.empty(m, dtype=np.int64),
            mirror=np.empty(m, dtype=np.bool_),
            around=np.empty((m, 7)),
        )
        order, answers = np.argsort(labels, kind="stable"), Answers()

        def ask(whose: slice, _: slice) -> None:
            first, last = np.searchsorted(labels[order], (whose.start, whose.stop))
            if last > first:
                self._match(order[first:last], labels, whose, lambda rows, each: answers.put(each, found.putting(rows)))

        in_batches(references, self._reference_bytes(), ask, self._place)
        answers.settle()
        return found

    def _match(
        self, rows: Indices, labels: Indices, whose: slice, use: Callable[[Indices, torch.Tensor], None]
    ) -> None:
        t, panel = self._trials, self._trials.references(np.arange(whose.start, whose.stop))
        taken = t.reference_shifts * COMPLEX_BYTES * t.layout.coefficients  # of each group's reference
        row_bytes = self._image_bytes() + self._pair_bytes(1, t.layout.coefficients)
        groups = groups_of(rows, labels[rows], taken / row_bytes)

        def work(part: slice, following: slice) -> None:
            own = groups[part]
            each = self._match_groups(own, labels[own[:, 0]] - whose.start, panel, groups[following].ravel())
            use(own.ravel(), each)

        in_batches(len(groups), taken + groups.shape[1] * row_bytes, work, self._place)

    def _match_groups(self, rows: Indices, labels: Indices, panel: Folded, following: Indices) -> torch.Tensor:
        """Return the poses (g m, 11), as ``Found`` takes them, of groups (g, m) of rows, each on its own reference."""
        t, device = self._trials, self._place.device
        images = t.images(rows.ravel(), following, both=t.reference_shifts > FEW_REFERENCES)
        g, m = rows.shape
        label = sent(labels, device)
        shifts = torch.arange(t.reference_shifts, device=device)
        own = (label[:, None] * t.reference_shifts + shifts).ravel()
        curves = self._curves(panel.take(own), images, g, t.angles, rows)
        curves = curves.view(-1, g, 1, t.reference_shifts, m, t.row_shifts, 2)
        t.close(curves, rows)
        value = top(curves, t.stride, t.mirror)[:, 0].permute(0, 2, 1, 3).reshape(g * m, -1)  # s, u in turn
        best = last_largest(value, 1)
        column = torch.arange(g * m, device=device) * t.row_shifts + best % t.row_shifts
        reference = label.repeat_interleave(m) * t.reference_shifts + best // t.row_shifts
        del curves
        fine = correlate(t.layout, panel.take(reference), images.take(column), g * m, t.layout.longest)[:, :, 0, 0]
        open_curves = t.open_curves(fine, rows.ravel(), best)
        score, index, flip, around = peaks(fine, open_curves, t.stride, t.mirror)
        return torch.stack((score, index, best, flip, *around), dim=1)  # whole numbers are exact in float32

    def _score(self, panel: Folded, images: Folded, rows: Indices, k: int) -> torch.Tensor:
        """Return the best of each reference and row, (k, m)."""
        t = self._trials
        m = len(rows)
        curves = self._curves(panel, images, 1, t.angles, rows)
        curves = curves.view(-1, 1, k, t.reference_shifts, m, t.row_shifts, 2)
        t.close(curves, rows[None])
        value = top(curves, t.stride, t.mirror)[0]  # k, s, m, u
        if not self._fine:
            return value.amax(dim=(1, 3))
        best = last_largest(value[..., 0], 1)  # k, m
        del curves
        which = torch.arange(k, device=best.device)[:, None] * t.reference_shifts + best
        fine = self._curves(panel.take(which.T.reshape(-1)), images, m, t.layout.longest, rows)
        fine = fine[:, :, :, 0].transpose(1, 2).reshape(len(fine), k * m, 2)
        return top(t.open_curves(fine, np.tile(rows, k), best.reshape(-1)), 1, t.mirror).view(k, m)

    def _curves(self, references: Folded, images: Folded, groups: int, angles: int, rows: Indices) -> torch.Tensor:
        """Return correlations at some angles, as ``correlate``, or as if at one angle the largest of all."""
        t, found = self._trials, None
        if t.stride == 1 and t.closes_whole_shifts(rows):
            found = maxima.largest(self._place, references, images, groups, angles, t.layout.longest)
        if found is not None:
            return found
        return correlate(t.layout, references, images, groups, angles)

    def _compression(self, references: int) -> Compression | None:
        """Return a basis for scores, if it is worth it: whatever rows are asked for, so that answers do not change."""
        t = self._trials
        columns = references * t.reference_shifts
        worth = columns >= FEWEST_COLUMNS and columns * t.stack >= FEWEST_PAIRS
        basis = t.basis() if worth else None
        return Compression(t.layout, basis) if basis else None

    def _reference_bytes(self) -> int:
        """Return what a reference takes of a batch: its coefficients while made, or correlations with some rows."""
        t = self._trials
        together = FEWEST_ROWS * t.row_shifts * curve_bytes(t.angles)
        return t.reference_shifts * max(self._folded_bytes, together)

    def _image_bytes(self) -> int:
        """Return what a row takes while its coefficients are made."""
        return self._trials.row_shifts * (self._trials.row_bytes + self._folded_bytes)

    def _pair_bytes(self, references: int, coefficients: int) -> int:
        """Return what a row takes while it is compared with references."""
        t = self._trials
        fine = FOLDED * COMPLEX_BYTES * coefficients + curve_bytes(t.layout.longest)
        return references * (t.row_shifts * t.reference_shifts * curve_bytes(t.angles) + fine)


def groups_of(rows: Indices, labels: Indices, reference: float) -> Indices:
    """Return rows, sorted by their label, in groups (g, m) of one label; a row stands in the places that are over.

    Parameters
    ----------
    rows, labels : ndarray, shape (n,), int64
        Rows, and their labels, which do not fall.
    reference : float
        What the reference of a group costs beside a row: m is chosen for the least cost.
    """
    sizes = np.unique(labels, return_counts=True)[1]
    costs = [(-(-sizes // m)).sum() * (m + reference) for m in TOGETHER]
    m = TOGETHER[int(np.argmin(costs))]
    counts = -(-sizes // m)
    starts = np.repeat(np.cumsum(sizes) - sizes, counts)
    ends = np.repeat(np.cumsum(sizes), counts)
    number = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    at = np.minimum((starts + number * m)[:, None] + np.arange(m), ends[:, None] - 1)
    groups: Indices = rows[at]
    return groups
