"""Scores and poses by products of matrices: every reference with every image, or each image with its own reference."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch

from cryoisac.engine.contract import Indices
from cryoisac.engine.gpu.compression import Compression
from cryoisac.engine.gpu.layout import COMPLEX_BYTES, Folded, Layout
from cryoisac.engine.gpu.memory import Place, in_batches
from cryoisac.engine.gpu.product import correlate, curve_bytes, last_largest, peaks, spectrum_of, top
from cryoisac.engine.radial import RadialBasis
from cryoisac.ops.polar import Float

Float32 = npt.NDArray[np.float32]
MOST_TOGETHER = 32  # rows of one reference that are multiplied with it at once
FEWEST_ROWS = 64  # that a batch should hold
PANEL_SHARE = 1  # batches that prepared references may take
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
        t, short = self._trials, self._compression(references)
        result = np.empty((rows, references), dtype=np.float32)

        def ask(whose: slice, _: slice) -> None:
            k = whose.stop - whose.start
            panel = t.references(np.arange(whose.start, whose.stop))
            panel = short.references(panel) if short else panel

            def work(part: slice, following: slice) -> None:
                own = np.arange(part.start, part.stop)
                images = t.images(own, np.arange(following.start, following.stop), both=short is None)
                images = short.images(images) if short else images
                result[part, whose] = self._score(panel, images, own, k).T.cpu().numpy()

            in_batches(rows, self._row_bytes(k * t.reference_shifts, k), work, self._place)

        in_batches(references, self._reference_bytes(), ask, self._place)
        return result

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
        order = np.argsort(labels, kind="stable")

        def ask(whose: slice, _: slice) -> None:
            first, last = np.searchsorted(labels[order], (whose.start, whose.stop))
            if last > first:
                self._match(order[first:last], labels, whose, found)

        in_batches(references, self._reference_bytes(), ask, self._place)
        return found

    def _match(self, rows: Indices, labels: Indices, whose: slice, found: Found) -> None:
        t, panel = self._trials, self._trials.references(np.arange(whose.start, whose.stop))
        groups = groups_of(rows, labels[rows])

        def work(part: slice, following: slice) -> None:
            own = groups[part]
            self._match_groups(own, labels[own[:, 0]] - whose.start, panel, groups[following].ravel(), found)

        taken = t.reference_shifts * self._folded_bytes // FOLDED  # of each group's reference
        row_bytes = self._row_bytes(t.reference_shifts, 1)
        in_batches(len(groups), taken + groups.shape[1] * row_bytes, work, self._place)

    def _match_groups(self, rows: Indices, labels: Indices, panel: Folded, following: Indices, found: Found) -> None:
        """Find the poses of groups (g, m) of rows, each on the reference of its label, of the panel."""
        t, device = self._trials, self._place.device
        images = t.images(rows.ravel(), following, both=t.reference_shifts > FEW_REFERENCES)
        g, m = rows.shape
        label = torch.from_numpy(labels).to(device)
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
        at = rows.ravel()
        score, index, flip, around = peaks(fine, t.open_curves(fine, at, best), t.stride, t.mirror)
        found.score[at], found.index[at] = score.cpu().numpy(), index.cpu().numpy()
        found.shift[at], found.mirror[at] = best.cpu().numpy(), flip.cpu().numpy()
        found.around[at] = around.T.cpu().numpy()

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
        t, precision = self._trials, self._place.fused
        if precision and t.stride == 1 and t.closes_whole_shifts(rows):
            from cryoisac.engine.gpu import fused  # needs Triton

            if fused.fits(angles):
                return fused.largest(spectrum_of(t.layout, references, images, groups, angles), precision)
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
        return t.reference_shifts * max(self._folded_bytes // PANEL_SHARE, together)

    def _row_bytes(self, columns: int, references: int) -> int:
        t = self._trials
        fine = references * (self._folded_bytes + curve_bytes(t.layout.longest))
        images = t.row_shifts * (t.row_bytes + self._folded_bytes)
        return images + t.row_shifts * columns * curve_bytes(t.angles) + fine


def groups_of(rows: Indices, labels: Indices) -> Indices:
    """Return rows, sorted by their label, in groups (g, m) of one label; a row stands in the places that are over.

    Parameters
    ----------
    rows, labels : ndarray, shape (n,), int64
        Rows, and their labels, which do not fall.
    """
    sizes = np.unique(labels, return_counts=True)[1]
    m = min(MOST_TOGETHER, 1 << int(np.median(sizes) // 2).bit_length())
    counts = -(-sizes // m)
    starts = np.repeat(np.cumsum(sizes) - sizes, counts)
    ends = np.repeat(np.cumsum(sizes), counts)
    number = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    at = np.minimum((starts + number * m)[:, None] + np.arange(m), ends[:, None] - 1)
    groups: Indices = rows[at]
    return groups
