"""The fast search in float64 NumPy: its definition, without compression and at all angles."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

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
    found_poses,
    room_px,
)
from cryoisac.engine.reference import ReferenceEngine, peak, refine
from cryoisac.engine.ring_total import pixels_of_rings, ring_sums
from cryoisac.model.poses import Poses
from cryoisac.ops import polar
from cryoisac.ops.polar import Complex, Float, Rings


@dataclass(frozen=True, eq=False)
class _Trial:
    """Peaks at one shift: value, position in samples, whether mirrored; each of shape (m,)."""

    score: Float
    position: Float
    mirror: npt.NDArray[np.bool_]


class FastReferenceEngine(ReferenceEngine):
    """The definition of ``NativeEngine`` in fast mode; images and ``total`` as in ``ReferenceEngine``.

    Notes
    -----
    Each row's rings are sampled once, at its offset. At every trial shift d the references' rings are sampled around
    the centre pixel + d. A shift and angle count where the centre they mean, offset - R(-a) M^m d, keeps the rings in
    the image (``search_limits``, but for the range). All rows are held at once: for tests.
    """

    def score(self, references: Images, images: Indices, offsets_px: Offsets, search: Search) -> Images:
        """Return the best correlation of each row with each reference, shape (m, k); see ``Engine``."""
        rings, rows = self._rows(references, images, offsets_px, search)
        scores = np.full((len(images), len(references)), -np.inf)
        for k, reference in enumerate(references):
            for _, spectra in self._shifts(reference[None], search, rings):
                trial = self._peaks(spectra, rows, offsets_px, _, search, rings)
                scores[:, k] = np.maximum(scores[:, k], trial.score)
        return scores.astype(np.float32)

    def match(self, references: Images, labels: Indices, images: Indices, offsets_px: Offsets, search: Search) -> Match:
        """Return the best pose of each row on the reference that its label names; see ``Engine``."""
        check_labels(labels, len(images), len(references))
        rings, rows = self._rows(references, images, offsets_px, search)
        best = _Trial(np.full(len(images), -np.inf), np.zeros(len(images)), np.zeros(len(images), dtype=bool))
        shift = np.zeros((len(images), 2))
        for d, spectra in self._shifts(references, search, rings):
            trial = self._peaks(spectra[labels], rows, offsets_px, d, search, rings)
            better = trial.score >= best.score
            shift = np.where(better[:, None], d, shift)
            pairs = zip(vars(trial).values(), vars(best).values(), strict=True)
            best = _Trial(*(np.where(better, new, old) for new, old in pairs))
        angle = best.position * 360.0 / rings.longest
        moves = shifted.confined(
            shifted.moves_px(angle, shift, best.mirror), room_px(offsets_px, self.shape[1], search.last_ring)
        )
        return Match(poses=found_poses(offsets_px, moves, angle, best.mirror), score=best.score.astype(np.float32))

    def quick_total(self, labels: Indices, images: Indices, poses: Poses, k: int) -> npt.NDArray[np.float64]:
        """Return the sum over each class of its images by ring coefficients; see ``ring_total``."""
        check_rows(self.shape, images, poses.shift_px)
        check_labels(labels, len(images), k, least=-1)
        return pixels_of_rings(ring_sums(self._images[images], labels, poses, k), self.shape[1])

    def _rows(self, references: Images, images: Indices, offsets_px: Offsets, search: Search) -> tuple[Rings, Complex]:
        """Return the rings of a search, and the spectra of rows at their offsets."""
        check_rows(self.shape, images, offsets_px)
        check_search(self.shape, references, search)
        rings = Rings.between(search.first_ring, search.last_ring, search.ring_step)
        samples = polar.sample(self._images[images], rings, self.shape[1] // 2 + offsets_px)
        samples = polar.standardise(samples, rings) if search.normalise_rings else samples
        return rings, polar.spectra(samples, rings)

    def _shifts(self, references: Images, search: Search, rings: Rings) -> Iterator[tuple[Float, Complex]]:
        """Yield the shifts of a search, in pixels, each with the weighted spectra of references there."""
        for d in shifted.trial_grid(search) * search.step_px:
            centre = np.broadcast_to(self.shape[1] // 2 + d, (len(references), 2))
            yield d, polar.weigh(polar.spectra(polar.sample(references, rings, centre), rings), rings)

    def _peaks(
        self, spectra: Complex, rows: Complex, offsets_px: Offsets, d: Float, search: Search, rings: Rings
    ) -> _Trial:
        """Return the peaks of rows on references, one each or one for all, that are shifted by d."""
        room = room_px(offsets_px, self.shape[1], search.last_ring)[:, None]
        angle = np.arange(rings.longest) * 360.0 / rings.longest
        curves = polar.correlate(spectra, rows, rings)
        open_to = [
            np.where(shifted.allowed(shifted.moves_px(angle, d, mirror), room), curve, -np.inf)
            for mirror, curve in enumerate(curves)
        ]
        (q, at_q), (t, at_t) = (peak(curve, search) for curve in open_to)
        flip = (t > q) & search.mirror
        position = refine(np.where(flip[:, None], curves[1], curves[0]), np.where(flip, at_t, at_q), search)
        return _Trial(np.where(flip, t, q), position, flip)
