"""The likelihood engine in float64 NumPy: its definition."""

import numpy as np

from cryoisac.engine.contract import Indices, Match, check_labels
from cryoisac.engine.likelihood import (
    Float32,
    PoseSearch,
    RingImages,
    check_references,
    gain_norms,
    used_rings,
)
from cryoisac.errors import DataError
from cryoisac.model.poses import Poses, wrap
from cryoisac.ops import hartley, polar
from cryoisac.ops.polar import Complex, Float, Rings

BLOCK_ROWS = 64
NEWTON_STEPS = 5
LONGEST_STEP_PX = 1.0


class LikelihoodReferenceEngine:
    """Every question by its formula, one shift after the other, all angles of the longest ring.

    Parameters
    ----------
    images : RingImages
        The images.
    """

    def __init__(self, images: RingImages) -> None:
        self._images = images

    @property
    def images(self) -> RingImages:
        """The images it holds."""
        return self._images

    def score(self, references: Float32, images: Indices, search: PoseSearch) -> Float32:
        """Return the gain of each row with each reference at its best pose, shape (m, k); see ``LikelihoodEngine``."""
        check_references(self._images, references, search)
        rings = used_rings(self._images.rings, search.last_ring)
        best = np.full((len(images), len(references)), -np.inf)
        for rows in _blocks(len(images)):
            spectra = self._spectra(images[rows], rings)
            for shift in search.shifts_px:
                moved = self._moved(references, -shift, rings)
                straight, mirrored = polar.correlate(moved[None], spectra[:, None], rings)
                top = straight.max(axis=-1)
                top = np.maximum(top, mirrored.max(axis=-1)) if search.mirror else top
                best[rows] = np.maximum(best[rows], top)
        return (best - gain_norms(references, self._images.ctf2[images], rings)).astype(np.float32)

    def match(self, references: Float32, labels: Indices, images: Indices, search: PoseSearch) -> Match:
        """Return the best pose of each row on the reference that its label names; see ``LikelihoodEngine``."""
        check_references(self._images, references, search)
        check_labels(labels, len(images), len(references))
        rings = used_rings(self._images.rings, search.last_ring)
        norms = gain_norms(references, self._images.ctf2[images], rings)[np.arange(len(images)), labels]
        spectra = self._spectra(images, rings)
        best, pose = np.full(len(images), -np.inf), np.zeros((len(images), 4))
        for shift in search.shifts_px:
            moved = self._moved(references, -shift, rings)[labels]
            for mirror, curve in enumerate(polar.correlate(moved, spectra, rings)[: 1 + search.mirror]):
                at = curve.argmax(axis=-1)
                around = np.take_along_axis(curve, (at[:, None] + np.arange(-3, 4)) % rings.longest, axis=-1)
                angle = (at + polar.parabola_offset(around)) * 360.0 / rings.longest
                better = around[:, 3] > best
                best = np.where(better, around[:, 3], best)
                own = (shift * (-1 if mirror else 1, 1)).tolist()
                found = np.column_stack((angle, np.tile((*own, mirror), (len(angle), 1))))
                pose = np.where(better[:, None], found, pose)
        poses = Poses(angle_deg=wrap(pose[:, 0]), shift_px=pose[:, 1:3], mirror=pose[:, 3] == 1)
        return Match(poses=poses, score=(best - norms).astype(np.float32))

    def refine(self, references: Float32, labels: Indices, images: Indices, poses: Poses, last_ring: int) -> Match:
        """Return the poses at the nearest maximum of the gain; see ``LikelihoodEngine``."""
        check_references(self._images, references, PoseSearch(last_ring=last_ring, shifts_px=np.zeros((1, 2))))
        check_labels(labels, len(images), len(references))
        rings = used_rings(self._images.rings, last_ring)
        norms = gain_norms(references, self._images.ctf2[images], rings)[np.arange(len(images)), labels]
        own, spectra = references[labels, : sum(rings.lengths)], self._spectra(images, rings)
        value, slope, bend = self._slopes(own, spectra, poses, rings)
        for _ in range(NEWTON_STEPS):
            trial = _stepped(poses, newton_step(slope, bend, self._units(rings)))
            new = self._slopes(own, spectra, trial, rings)
            better = new[0] > value
            rows = np.flatnonzero(better)
            poses = poses.replaced(rows, trial[rows])
            value = np.where(better, new[0], value)
            slope = np.where(better[:, None], new[1], slope / 2)
            bend = np.where(better[:, None, None], new[2], bend)
        return Match(poses=poses, score=(value - norms).astype(np.float32))

    def total(self, labels: Indices, images: Indices, poses: Poses, k: int) -> Float:
        """Return the sum over each class of its posed rings, shape (k, samples); see ``LikelihoodEngine``."""
        check_labels(labels, len(images), k, least=-1)
        if not np.isfinite(poses.rows()).all():
            raise DataError("poses", "an angle or shift is not a finite number")
        rings = self._images.rings
        result = np.zeros((k, self._images.samples.shape[1]))
        kept = np.flatnonzero(labels >= 0)
        for part in _blocks(len(kept)):
            rows = kept[part]
            turned = _turned(self._spectra(images[rows], rings), poses[rows], rings)[0]
            laid = hartley.moved(turned, frame_shift_px(poses[rows]), rings, self._images.box_px)
            np.add.at(result, labels[rows], laid)
        return result

    def _spectra(self, images: Indices, rings: Rings) -> Complex:
        return polar.spectra(self._images.samples[images, : sum(rings.lengths)], rings)

    def _moved(self, references: Float32, shift_px: Float, rings: Rings) -> Complex:
        """Return the weighted spectra of references moved by a shift."""
        samples = references[:, : sum(rings.lengths)]
        return polar.weigh(polar.spectra(hartley.moved(samples, shift_px, rings, self._images.box_px), rings), rings)

    def _units(self, rings: Rings) -> Float:
        """Return how far an angle of one radian moves the rim of the support, against a pixel of shift."""
        return np.array([self._images.box_px / 2, 1.0, 1.0])

    def _slopes(self, own: Float32, spectra: Complex, poses: Poses, rings: Rings) -> tuple[Float, Float, Float]:
        """Return the correlation of each row at its pose, its slope (m, 3) and bend (m, 3, 3) in (angle, dx, dy).

        The angle is in radians, the shift that in the frame of the reference.
        """
        turned = _turned(spectra, poses, rings)
        weight = np.repeat(rings.sample_weights, rings.lengths) * own
        kappa = 2 * np.pi / self._images.box_px * rings.points_px
        alpha = frame_shift_px(poses) @ kappa.T
        cosine, sine = np.cos(alpha), np.sin(alpha)
        at = [cosine * t - sine * hartley.opposite(t, rings) for t in turned]
        by = [-sine * t - cosine * hartley.opposite(t, rings) for t in turned]
        value = (weight * at[0]).sum(axis=-1)
        slope = np.stack([(weight * at[1]).sum(axis=-1), *((weight * by[0]) @ kappa).T], axis=-1)
        bend = np.empty((len(own), 3, 3))
        bend[:, 0, 0] = (weight * at[2]).sum(axis=-1)
        bend[:, 0, 1:] = bend[:, 1:, 0] = (weight * by[1]) @ kappa
        bend[:, 1:, 1:] = -np.einsum("ms,si,sj->mij", weight * at[0], kappa, kappa)
        return value, slope, bend


def frame_shift_px(poses: Poses) -> Float:
    """Return the shifts of poses in the frame of the reference, d = M^m t, shape (m, 2)."""
    flip = np.where(poses.mirror, -1.0, 1.0)
    return np.stack((flip * poses.shift_px[:, 0], poses.shift_px[:, 1]), axis=-1)


def newton_step(slope: Float, bend: Float, unit: Float) -> Float:
    """Return the steps that lead to the top of each quadratic, at most ``LONGEST_STEP_PX``; uphill where it has none.

    Parameters
    ----------
    slope : ndarray, shape (m, 3)
        First derivatives.
    bend : ndarray, shape (m, 3, 3)
        Second derivatives.
    unit : ndarray, shape (3,)
        Pixels for a unit of each parameter.
    """
    scaled_slope, scaled_bend = slope / unit, bend / np.outer(unit, unit)
    top = np.linalg.eigvalsh(scaled_bend)
    flat = np.abs(top).max(axis=-1)
    hill = scaled_bend - np.maximum(top[:, -1] + 1e-3 * flat, 0.0)[:, None, None] * np.eye(3)
    usable = flat > 0
    hill[~usable] = -np.eye(3)
    step = -np.linalg.solve(hill, scaled_slope[..., None])[..., 0]
    length = np.linalg.norm(step, axis=-1, keepdims=True)
    result: Float = step * np.minimum(1.0, LONGEST_STEP_PX / np.maximum(length, 1e-12)) / unit
    return np.where(usable[:, None], result, 0.0)


def _stepped(poses: Poses, step: Float) -> Poses:
    """Return poses after steps (angle in radians, dx, dy in the frame of the reference), shape (m, 3)."""
    d = frame_shift_px(poses) + step[:, 1:]
    d[:, 0] *= np.where(poses.mirror, -1.0, 1.0)
    return Poses(angle_deg=wrap(poses.angle_deg + np.rad2deg(step[:, 0])), shift_px=d, mirror=poses.mirror)


def _turned(spectra: Complex, poses: Poses, rings: Rings) -> list[Float]:
    """Return rings turned and mirrored by poses, Y(phi) = X(phi - a) or X(-phi - a), and two derivatives by a."""
    mirror = poses.mirror[:, None, None]
    order = np.arange(spectra.shape[-1])
    a = np.deg2rad(poses.angle_deg)[:, None, None]
    sign = np.where(mirror, 1.0, -1.0)
    result = []
    for power in range(3):
        factor = np.exp(1j * sign * order * a) * (1j * sign * order) ** power
        laid = np.where(mirror, spectra.conj(), spectra) * factor
        parts = [np.fft.irfft(laid[:, r, : n // 2 + 1], n) for r, n in enumerate(rings.lengths)]
        result.append(np.concatenate(parts, axis=-1))
    return result


def _blocks(n: int) -> list[slice]:
    return [slice(i, min(n, i + BLOCK_ROWS)) for i in range(0, n, BLOCK_ROWS)]
