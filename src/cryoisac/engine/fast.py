"""The fast search in compiled code: references shifted and compressed once, rows sampled once."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cryoisac.engine import _native, shifted
from cryoisac.engine.contract import Images, Indices, Match, Offsets, Search, found_poses, room_px
from cryoisac.engine.radial import RadialBasis, plain_basis, radial_basis
from cryoisac.engine.reference import angle_stride
from cryoisac.ops.polar import Rings

Float32 = npt.NDArray[np.float32]
ROOM_BYTES = 200  # limits and moves of a row, in float64 while they are worked out
MOMENT_COPIES = 20  # sums over groups of references, and what the decomposition holds
LANE_BYTES = 64
FEW_IMAGES = 256  # in a stack: to make a basis would take longer than it saves


def moment_bytes(rings: Rings) -> int:
    """Return the bytes that one thread needs to add up the moments of references."""
    counts = _rings_with_order(rings)
    return int(LANE_BYTES * (counts * (counts + 1) // 2).sum())


def fast_bytes(rings: Rings, references: int, search: Search) -> int:
    """Return the most bytes that prepared references take: all their coefficients, at every shift."""
    counts = _rings_with_order(rings)
    moments = MOMENT_COPIES * 8 * len(counts) * len(rings.radii) ** 2
    return int(references * len(shifted.trial_grid(search)) * 8 * (counts.sum() + 1) + moments)


def _rings_with_order(rings: Rings) -> npt.NDArray[np.int64]:
    """Return how many rings have each angular order, shape (longest // 2 + 1,)."""
    orders = np.arange(rings.longest // 2 + 1)
    counts: npt.NDArray[np.int64] = (np.array(rings.lengths) // 2 >= orders[:, None]).sum(axis=1)
    return counts


@dataclass(frozen=True, eq=False, kw_only=True)
class Workplace:
    """What the fast search works on and with.

    Parameters
    ----------
    stack : ndarray, shape (n, h, h), float32
        The images.
    means : ndarray, shape (n,) or (0,), float32
        Mean of each image, where rings are normalised.
    instructions : str
        Instruction set.
    threads : int
        Threads.
    """

    stack: Images
    means: Float32
    instructions: str
    threads: int


class Prepared:
    """References ready for a search: their radial basis, and their coefficients in it at every shift.

    A stack of few images is not worth a basis: all coefficients are kept, and all angles.

    Parameters
    ----------
    references : ndarray, shape (k, h, h), float32
        The references.
    search : Search
        Rings, shifts and angles.
    native_search : _native.Search
        The same for the kernels.
    place : Workplace
        Images, instruction set, threads.
    """

    def __init__(self, references: Images, search: Search, native_search: _native.Search, place: Workplace) -> None:
        self._search, self._place, self._count = search, place, len(references)
        self._rings = Rings.between(search.first_ring, search.last_ring, search.ring_step)
        box, (nx, ny) = place.stack.shape[1], shifted.trial_reach(search)
        self._kernels = _native.FastSearch(place.instructions, native_search, box, nx, ny, place.threads)
        own = np.ascontiguousarray(references, dtype=np.float32)
        longest = self._rings.longest
        self.basis = plain_basis(self._rings) if len(place.stack) <= FEW_IMAGES else self._short_basis(own)
        stride = angle_stride(search, longest)
        discrete = search.angle_step_deg > 0
        basis = self.basis
        self.angles = basis.discrete_angles(longest, stride) if discrete else basis.coarse_angles(longest)
        self._basis = _native.Basis(
            basis.order,
            basis.start,
            basis.first,
            basis.functions,
            longest,
            self.angles,
            stride * self.angles // longest if discrete else 1,
        )
        self._panel = np.empty(self._kernels.panel_size(self._basis, self._count), dtype=np.float32)
        self._kernels.prepare(self._basis, own, self._panel)

    def _short_basis(self, references: Images) -> RadialBasis:
        r = len(self._rings.radii)
        moments = np.empty((self._rings.longest // 2 + 1, r, r))
        self._kernels.moments(references, moments)
        return radial_basis(moments, self._rings)

    def score(self, images: Indices, offsets_px: Offsets) -> Images:
        """Return the best correlation of each row with each reference, shape (m, k)."""
        scores = np.empty((len(images), self._count), dtype=np.float32)
        self._kernels.score(self._basis, self._panel, *self._rows(images, offsets_px), scores)
        return scores

    def match(self, labels: Indices, images: Indices, offsets_px: Offsets) -> Match:
        """Return the best pose of each row on the reference that its label names."""
        m = len(images)
        score, position = np.empty(m, dtype=np.float32), np.empty(m)
        shift, mirror = np.empty(m, dtype=np.int32), np.empty(m, dtype=np.uint8)
        stack, means, rows, offsets, room = self._rows(images, offsets_px)
        order = np.argsort(labels, kind="stable")
        own = np.ascontiguousarray(labels, dtype=np.int64)
        found = score, position, shift, mirror
        self._kernels.match(self._basis, self._panel, stack, means, own, order, rows, offsets, room, *found)
        angle = position * 360.0 / self._rings.longest
        trial = shifted.trial_grid(self._search)[shift]
        moves = shifted.moves_px(angle, trial * self._search.step_px, mirror)
        moves = shifted.confined(moves, self._room(offsets_px))
        return Match(poses=found_poses(offsets_px, moves, angle, mirror.astype(bool)), score=score)

    def _room(self, offsets_px: Offsets) -> Offsets:
        return room_px(offsets_px, self._place.stack.shape[1], self._search.last_ring)

    def _rows(self, images: Indices, offsets_px: Offsets) -> tuple[Images, Float32, Indices, Offsets, Float32]:
        return (
            self._place.stack,
            self._place.means,
            np.ascontiguousarray(images, dtype=np.int64),
            np.ascontiguousarray(offsets_px, dtype=np.float64),
            self._room(offsets_px).astype(np.float32),
        )
