"""The likelihood engine in compiled code: the fast search on stored rings, poses refined, classes added up."""

from dataclasses import dataclass

import numpy as np

from cryoisac.engine import _native
from cryoisac.engine.contract import Indices, Match, check_images, check_labels
from cryoisac.engine.likelihood import (
    Float32,
    PoseSearch,
    RingImages,
    check_references,
    norm_powers,
    used_rings,
)
from cryoisac.engine.native import chosen_instructions, chosen_threads
from cryoisac.engine.radial import RadialBasis, radial_basis
from cryoisac.errors import DataError
from cryoisac.model.poses import Poses, wrap
from cryoisac.ops.polar import Float, Rings

ENERGY_LOSS = 1e-3  # of references, left out of searches: less than the choice among nearly equal shifts changes gains
LONGEST_RING, SHORTEST_RING = 1 << 16, 8
ROW_BYTES = 160  # indices, labels, poses and scores of a row
MOMENT_COPIES = 20  # sums over groups of references, and what the decomposition holds
VECTOR_BYTES = 64
BLOCKS = 8  # of rows that a thread holds
PARTS = 256  # of sums over classes, beside one for each class
DIRECTIONS = 8


@dataclass(frozen=True, eq=False, kw_only=True)
class Ready:
    """References prepared for a search.

    Parameters
    ----------
    rings : Rings
        Rings used.
    kernels : _native.StoredSearch
        The search itself.
    basis : RadialBasis
        Radial functions that span the references.
    angles : int
        Angles at which the best shift is chosen.
    tables : _native.Basis
        The same for the kernels.
    shifts : _native.Shifts
        Shifts of the references.
    panel : ndarray, shape (k * s * basis.size * 2,), float32
        Coefficients of each reference at each shift.
    powers : ndarray, shape (k, r), float32
        What the gain loses on each ring where the squared CTF is 1.
    """

    rings: Rings
    kernels: _native.StoredSearch
    basis: RadialBasis
    angles: int
    tables: _native.Basis
    shifts: _native.Shifts
    panel: Float32
    powers: Float32


class NativeLikelihoodEngine:
    """Likelihood gains, poses and class sums of stored rings, on every core.

    Parameters
    ----------
    images : RingImages
        The images; memory-mapped samples are read in place.
    threads : int, optional
        Threads; as many as this process may use, by default.
    instructions : str, optional
        One of ``engine.native.instruction_sets()``; the best one by default.

    Raises
    ------
    DataError
        When samples are not contiguous float32, or a ring's length is no power of two or shorter than that before it.
    SettingError
        When the instruction set or the number of threads is not possible.

    Notes
    -----
    Answers are those of ``LikelihoodReferenceEngine`` to float32 rounding, but for searches: these lose
    ``ENERGY_LOSS`` of the references' energy, which makes gains deviate by the square root of that part of their
    spread over poses, and may choose between shifts whose peaks are nearly equal. They do not depend on threads or on
    how rows are batched.
    """

    def __init__(self, images: RingImages, threads: int | None = None, *, instructions: str | None = None) -> None:
        _check_rings(images.rings)
        for name, array in (("samples", images.samples), ("ctf2", images.ctf2)):
            if array.dtype != np.float32 or not array.flags.c_contiguous:
                raise DataError("ring images", f"{name} must be contiguous float32, not {array.dtype}")
        self._images = images
        self._threads = chosen_threads(threads)
        self._instructions = chosen_instructions(instructions)

    @property
    def images(self) -> RingImages:
        """The images it holds."""
        return self._images

    def plan(self, rows: int, references: int, search: PoseSearch) -> int:
        """Return the most memory, in bytes, that a question takes besides the images; see ``contract.Engine.plan``."""
        rings, samples = used_rings(self._images.rings, search.last_ring), sum(self._images.rings.lengths)
        coefficients = sum(n // 2 + 1 for n in rings.lengths)
        panel = references * len(search.shifts_px) * 8 * coefficients
        moments = (MOMENT_COPIES * 8 + self._threads * VECTOR_BYTES) * (rings.longest // 2 + 1) * len(rings.radii) ** 2
        blocks = self._threads * VECTOR_BYTES * (2 * BLOCKS * coefficients + 3 * samples + 16 * rings.longest)
        sums = 8 * samples * (references + PARTS)
        return panel + moments + blocks + sums + 16 * references * samples + rows * (ROW_BYTES + 4 * references)

    def ready(self, references: Float32, search: PoseSearch) -> Ready:
        """Return references prepared for a search, which may then be asked for many rows; see ``score``."""
        check_references(self._images, references, search)
        rings = used_rings(self._images.rings, search.last_ring)
        own, powers = _own(references), _powers(references, rings)
        kernels = self._kernels(rings, mirror=search.mirror)
        shifts = np.ascontiguousarray(search.shifts_px, dtype=np.float64)
        moments = np.empty((rings.longest // 2 + 1, len(rings.radii), len(rings.radii)))
        kernels.moments(own, _native.Shifts(outermost(shifts)), moments)
        basis = radial_basis(moments, rings, energy_loss=ENERGY_LOSS, keep_mean=False)
        angles = basis.coarse_angles(rings.longest)
        tables = _native.Basis(basis.order, basis.start, basis.first, basis.functions, rings.longest, angles, 1)
        panel = np.empty(2 * len(own) * len(shifts) * basis.size, dtype=np.float32)
        listed = _native.Shifts(shifts)
        kernels.prepare(tables, own, listed, panel)
        return Ready(
            rings=rings,
            kernels=kernels,
            basis=basis,
            angles=angles,
            tables=tables,
            shifts=listed,
            panel=panel,
            powers=powers,
        )

    def score(self, references: Float32, images: Indices, search: PoseSearch) -> Float32:
        """Return the gain of each row with each reference at its best pose, shape (m, k); see ``LikelihoodEngine``."""
        scores = np.empty((len(images), len(references)), dtype=np.float32)
        self.ask(self.ready(references, search), images, scores)
        return scores

    def ask(self, ready: Ready, images: Indices, scores: Float32) -> None:
        """Write the gain of each row with each prepared reference to ``scores``, shape (m, k), contiguous float32."""
        check_images(images, len(self._images))
        if scores.shape != (len(images), len(ready.powers)) or scores.dtype != np.float32:
            raise DataError("scores", f"shape {scores.shape}: need ({len(images)}, {len(ready.powers)}), float32")
        rows = np.ascontiguousarray(images, dtype=np.int64)
        ready.kernels.score(ready.tables, ready.shifts, ready.panel, ready.powers, *self._stored, rows, scores)

    def match(self, references: Float32, labels: Indices, images: Indices, search: PoseSearch) -> Match:
        """Return the best pose of each row on the reference that its label names; see ``LikelihoodEngine``."""
        check_images(images, len(self._images))
        check_labels(labels, len(images), len(references))
        ready = self.ready(references, search)
        m = len(images)
        score, position = np.empty(m, dtype=np.float32), np.empty(m)
        shift, mirror = np.empty(m, dtype=np.int32), np.empty(m, dtype=np.uint8)
        asked = ready.tables, ready.shifts, ready.panel, ready.powers
        ready.kernels.match(*asked, *self._stored, *_by_class(labels, images), score, position, shift, mirror)
        flip = mirror.astype(bool)
        found = np.asarray(search.shifts_px, dtype=np.float64)[shift]
        poses = Poses(
            angle_deg=wrap(position * 360.0 / ready.rings.longest),
            shift_px=np.stack((np.where(flip, -1.0, 1.0) * found[:, 0], found[:, 1]), axis=-1),
            mirror=flip,
        )
        return Match(poses=poses, score=score)

    def refine(self, references: Float32, labels: Indices, images: Indices, poses: Poses, last_ring: int) -> Match:
        """Return the poses at the nearest maximum of the gain; see ``LikelihoodEngine``."""
        check_references(self._images, references, PoseSearch(last_ring=last_ring, shifts_px=np.zeros((1, 2))))
        check_images(images, len(self._images))
        check_labels(labels, len(images), len(references))
        rings = used_rings(self._images.rings, last_ring)
        own, powers = _own(references), _powers(references, rings)
        found, score = _placements(poses, len(images)), np.empty(len(images), dtype=np.float32)
        kernels = self._kernels(rings)
        kernels.refine(own, powers, *self._stored, *_by_class(labels, images), found, score)
        moved = Poses(angle_deg=wrap(np.rad2deg(found[:, 0])), shift_px=found[:, 1:3].copy(), mirror=poses.mirror)
        return Match(poses=moved, score=score)

    def total(self, labels: Indices, images: Indices, poses: Poses, k: int) -> Float:
        """Return the sum over each class of its posed rings, shape (k, samples); see ``LikelihoodEngine``."""
        check_images(images, len(self._images))
        check_labels(labels, len(images), k, least=-1)
        placed = _placements(poses, len(images))
        sums = np.zeros((k, self._images.samples.shape[1]))
        own, order, rows = _by_class(labels, images)
        bounds = np.searchsorted(own[order], np.arange(k + 1))
        kernels = self._kernels(self._images.rings)
        kernels.total(self._images.samples, order, bounds, rows, placed, sums)
        return sums

    @property
    def _stored(self) -> tuple[Float32, Float32]:
        return self._images.samples, self._images.ctf2

    def _kernels(self, rings: Rings, *, mirror: bool = True) -> _native.StoredSearch:
        search = _native.Search.make(
            rings.points_px,
            np.array(rings.lengths, dtype=np.int32),
            np.stack((rings.sample_weights, rings.reference_weights)),
            rings.radii[-1],
            1.0,
            1,
            True,
            False,
            mirror,
        )
        return _native.StoredSearch(self._instructions, search, self._images.box_px, self._threads)


def outermost(shifts_px: Float) -> Float:
    """Return the shift nearest to none and those furthest in each of eight directions, shape (at most 9, 2)."""
    angle = 2 * np.pi * np.arange(DIRECTIONS) / DIRECTIONS
    along = shifts_px @ np.stack((np.cos(angle), np.sin(angle)))
    kept = np.unique([int((shifts_px**2).sum(axis=1).argmin()), *along.argmax(axis=0)])
    result: Float = shifts_px[kept]
    return result


def _check_rings(rings: Rings) -> None:
    lengths = rings.lengths
    sound = all(SHORTEST_RING <= n <= LONGEST_RING and n & (n - 1) == 0 for n in lengths)
    if not sound or list(lengths) != sorted(lengths):
        raise DataError("rings", f"lengths {lengths}: need rising powers of two from {SHORTEST_RING} to {LONGEST_RING}")


def _own(references: Float32) -> Float32:
    return np.ascontiguousarray(references, dtype=np.float32)


def _powers(references: Float32, rings: Rings) -> Float32:
    powers = norm_powers(references, rings).astype(np.float32)
    if not np.isfinite(powers).all():
        raise DataError("references", "a sample is not a finite number")
    return powers


def _by_class(labels: Indices, images: Indices) -> tuple[Indices, Indices, Indices]:
    """Return labels, an order in which rows of one class stand together, and images."""
    own = np.ascontiguousarray(labels, dtype=np.int64)
    return own, np.argsort(own, kind="stable"), np.ascontiguousarray(images, dtype=np.int64)


def _placements(poses: Poses, rows: int) -> Float:
    """Return angle in radians, x, y and mirror of each pose, shape (m, 4)."""
    placed = poses.rows()
    if placed.shape != (rows, 4) or not np.isfinite(placed).all():
        raise DataError("poses", f"{len(placed)} poses for {rows} rows: need one each, of finite numbers")
    placed[:, 0] = np.deg2rad(placed[:, 0])
    return placed
