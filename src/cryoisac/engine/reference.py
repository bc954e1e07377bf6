"""The engine contract in float64 NumPy: readable, slow, and the definition of every other engine."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

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
from cryoisac.model.poses import Poses
from cryoisac.ops import polar
from cryoisac.ops.polar import Complex, Float, Rings
from cryoisac.ops.warp import rotate_shift

BLOCK_ROWS = 64
BLOCK_REFERENCES = 16


@dataclass(frozen=True, eq=False)
class _Best:
    """The best found so far of some rows: correlation, trial shift, peak position in samples, mirror."""

    score: Float
    trial_px: Float
    position: Float
    mirror: npt.NDArray[np.bool_]


class ReferenceEngine:
    """The definition: every other engine answers as this one does, to float32 rounding.

    Parameters
    ----------
    images : ndarray, shape (n, h, h), float32
        The working stack.

    Notes
    -----
    Among equal correlations the later shift wins (y outer, x inner, both rising), then straight before mirrored, then
    the larger angle.
    """

    def __init__(self, images: Images) -> None:
        self._images = check_stack(images)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Images, rows and columns of the stack."""
        n, h, w = self._images.shape
        return n, h, w

    def plan(self, rows: int, references: int, search: Search) -> int:
        """Return the most memory, in bytes, that a question takes besides the stack; see ``Engine``."""
        rings = Rings.between(search.first_ring, search.last_ring, search.ring_step)
        block = BLOCK_ROWS * (16 * sum(rings.lengths) + BLOCK_REFERENCES * 64 * rings.longest)
        sums = references * 8 * self.shape[1] * self.shape[2]
        return block + sums + references * 160 * sum(rings.lengths) + rows * (200 + 8 * references)

    def score(self, references: Images, images: Indices, offsets_px: Offsets, search: Search) -> Images:
        """Return the best correlation of each row with each reference, shape (m, k); see ``Engine``."""
        rings, coefficients = self._prepare(references, images, offsets_px, search)
        result = np.full((len(images), len(references)), -np.inf)
        for rows in _blocks(len(images), BLOCK_ROWS):
            for valid, _, trial in self._trials(images[rows], offsets_px[rows], search, rings):
                for refs in _blocks(len(references), BLOCK_REFERENCES):
                    straight, mirrored = polar.correlate(coefficients[None, refs], trial[:, None], rings)
                    top = np.maximum(peak(straight, search)[0], peak(mirrored, search)[0])
                    top = top if search.mirror else peak(straight, search)[0]
                    best = np.where(valid[:, None], np.maximum(result[rows, refs], top), result[rows, refs])
                    result[rows, refs] = best
        return result.astype(np.float32)

    def match(self, references: Images, labels: Indices, images: Indices, offsets_px: Offsets, search: Search) -> Match:
        """Return the best pose of each row on the reference that its label names; see ``Engine``."""
        check_labels(labels, len(images), len(references))
        rings, coefficients = self._prepare(references, images, offsets_px, search)
        poses, scores = [], []
        for rows in _blocks(len(images), BLOCK_ROWS):
            best = self._best(coefficients[labels[rows]], images[rows], offsets_px[rows], search, rings)
            angle = best.position * 360.0 / rings.longest
            poses.append(found_poses(offsets_px[rows], best.trial_px, angle, best.mirror))
            scores.append(best.score)
        score = np.concatenate(scores) if scores else np.zeros(0)
        return Match(poses=Poses.concatenate(poses), score=score.astype(np.float32))

    def total(self, labels: Indices, images: Indices, poses: Poses, k: int) -> npt.NDArray[np.float64]:
        """Return the sum over each class of its images laid on it, shape (k, h, w); see ``Engine``."""
        check_rows(self.shape, images, poses.shift_px)
        check_labels(labels, len(images), k, least=-1)
        result = np.zeros((k, *self.shape[1:]))
        kept = np.flatnonzero(labels >= 0)
        for part in _blocks(len(kept), BLOCK_ROWS):
            rows = kept[part]
            np.add.at(result, labels[rows], rotate_shift(self._images[images[rows]], poses[rows]))
        return result

    def quick_total(self, labels: Indices, images: Indices, poses: Poses, k: int) -> npt.NDArray[np.float64]:
        """Return the same as ``total``."""
        return self.total(labels, images, poses, k)

    def _prepare(
        self, references: Images, images: Indices, offsets_px: Offsets, search: Search
    ) -> tuple[Rings, Complex]:
        """Return the rings of a search, and the weighted spectra of references."""
        check_rows(self.shape, images, offsets_px)
        check_search(self.shape, references, search)
        rings = Rings.between(search.first_ring, search.last_ring, search.ring_step)
        centre = np.full((len(references), 2), self.shape[1] // 2)
        samples = polar.sample(references, rings, centre)
        return rings, polar.weigh(polar.spectra(samples, rings), rings)

    def _trials(
        self, images: Indices, offsets_px: Offsets, search: Search, rings: Rings
    ) -> Iterator[tuple[npt.NDArray[np.bool_], Float, Complex]]:
        """Yield for each trial shift of some rows: the rows it is allowed for, the shift, the spectra there."""
        left, right, down, up = trial_counts(offsets_px, self.shape[1], search).T
        for j in range(-int(down.max()), int(up.max()) + 1):
            for i in range(-int(left.max()), int(right.max()) + 1):
                valid = (-left <= i) & (i <= right) & (-down <= j) & (j <= up)
                shift = np.array([i, j]) * search.step_px
                samples = polar.sample(self._images[images], rings, self.shape[1] // 2 + offsets_px + shift)
                samples = polar.standardise(samples, rings) if search.normalise_rings else samples
                yield valid, shift, polar.spectra(samples, rings)

    def _best(self, coefficients: Complex, images: Indices, offsets_px: Offsets, search: Search, rings: Rings) -> _Best:
        n = len(images)
        best = _Best(np.full(n, -np.inf), np.zeros((n, 2)), np.zeros(n), np.zeros(n, dtype=bool))
        for valid, shift, trial in self._trials(images, offsets_px, search, rings):
            straight, mirrored = polar.correlate(coefficients, trial, rings)
            q, at_q = peak(straight, search)
            t, at_t = peak(mirrored, search)
            flip = (t > q) & search.mirror
            score = np.where(flip, t, q)
            position = refine(np.where(flip[:, None], mirrored, straight), np.where(flip, at_t, at_q), search)
            better = valid & (score >= best.score)
            best = _Best(
                np.where(better, score, best.score),
                np.where(better[:, None], shift, best.trial_px),
                np.where(better, position, best.position),
                np.where(better, flip, best.mirror),
            )
        return best


def _blocks(n: int, size: int) -> list[slice]:
    return [slice(start, min(n, start + size)) for start in range(0, n, size)]


def angle_stride(search: Search, longest: int) -> int:
    """Return how many samples of a correlation lie between the angles that are tried; 1 for all of them."""
    return max(1, int(search.angle_step_deg / 360.0 * longest)) if search.angle_step_deg > 0 else 1


def peak(curve: Float, search: Search) -> tuple[Float, Indices]:
    """Return the largest value along the last axis and its index, the last of equal ones."""
    tried = curve[..., :: angle_stride(search, curve.shape[-1])]
    last = tried.shape[-1] - 1 - np.argmax(tried[..., ::-1], axis=-1)
    value = np.take_along_axis(tried, last[..., None], axis=-1)[..., 0]
    return value, last * angle_stride(search, curve.shape[-1])


def refine(curve: Float, index: Indices, search: Search) -> Float:
    """Return the position of the peak at ``index`` between samples; the sample itself where angles are discrete."""
    if search.angle_step_deg > 0:
        return index.astype(np.float64)
    around = (index[:, None] + np.arange(-3, 4)) % curve.shape[-1]
    return index + polar.parabola_offset(np.take_along_axis(curve, around, axis=-1))
