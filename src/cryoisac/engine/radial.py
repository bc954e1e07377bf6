"""A short radial basis for the angular orders of references, so that products run over few coefficients."""

import functools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cryoisac.ops.polar import Float, Rings

ENERGY_LOSS = 1e-4
ANGLES_AN_ORDER = 3  # of the orders that matter for the choice of a shift
COARSE_LOSS = 1e-2  # of all energy: what the orders may hold that are left out where the best shift is chosen
FEWEST_ANGLES = 64
NEGLIGIBLE = 1e-7  # of all energy: orders with less are not decomposed


@dataclass(frozen=True, eq=False, kw_only=True)
class RadialBasis:
    """Orthonormal functions of the ring, some for each angular order that is kept.

    Parameters
    ----------
    order : ndarray, shape (o,), int32
        Angular orders kept, rising.
    start : ndarray, shape (o + 1,), int32
        First coefficient of each order, and their number.
    first : ndarray, shape (o,), int32
        Where the functions of each order begin in ``functions``.
    functions : ndarray, shape (n,), float32
        Functions [coefficient][ring], without the rings too short for the order.
    main_order : int
        The lowest order above which there is no more than ``COARSE_LOSS`` of the energy.
    """

    order: npt.NDArray[np.int32]
    start: npt.NDArray[np.int32]
    first: npt.NDArray[np.int32]
    functions: npt.NDArray[np.float32]
    main_order: int

    @property
    def size(self) -> int:
        """Coefficients of all orders."""
        return int(self.start[-1])

    def coarse_angles(self, longest: int) -> int:
        """Return how many angles, a power of two, hold the orders that matter for the choice of a shift."""
        return _coarse_angles(self.main_order, longest)

    def discrete_angles(self, longest: int, stride: int) -> int:
        """Return how many angles hold all orders, and every ``stride``-th of ``longest`` among them."""
        needed = max(FEWEST_ANGLES, 2 * int(self.order[-1]) + 1, longest // (stride & -stride))
        return min(longest, 1 << (needed - 1).bit_length())


def radial_basis(
    moments: Float, rings: Rings, *, energy_loss: float = ENERGY_LOSS, keep_mean: bool = True
) -> RadialBasis:
    """Return the shortest basis that keeps all but ``energy_loss`` of the energy of references.

    Parameters
    ----------
    moments : ndarray, shape (orders, r, r)
        Sums over references of products of their weighted ring coefficients; lower triangles count.
    rings : Rings
        Their rings.
    energy_loss : float
        Largest part of the energy that the basis may lack.
    keep_mean : bool
        Whether the mean over all rings does not count as energy and is kept exactly, as images need it whose mean means
        nothing.

    Returns
    -------
    RadialBasis
        The eigenvectors of largest moments over all orders; of order 0 the constant besides, where the mean is kept or
        nothing else is.
    """
    constant = constant_of(rings)
    lower = np.tril(moments)
    squares = lower + np.swapaxes(np.tril(moments, -1), 1, 2)
    if keep_mean:
        away = np.eye(len(constant)) - np.outer(constant, constant)
        squares[0] = away @ squares[0] @ away
    energy = np.trace(squares, axis1=1, axis2=2)
    total = float(energy.sum())
    orders = np.flatnonzero(energy > NEGLIGIBLE * total)
    values, vectors = np.linalg.eigh(squares[orders])
    kept = values > _threshold(np.maximum(values, 0.0), energy_loss * total)
    functions: dict[int, Float] = {
        int(k): vectors[i][:, kept[i]].T[::-1] for i, k in enumerate(orders) if kept[i].any()
    }
    if keep_mean or not functions:
        functions[0] = np.vstack((constant[None], functions.get(0, np.empty((0, len(constant))))))
    return _packed({k: functions[k] for k in sorted(functions)}, rings, main_order(energy))


def constant_of(rings: Rings) -> Float:
    """Return the weighted coefficients of order 0 that a constant has on rings, of norm 1, shape (r,)."""
    constant: Float = np.sqrt(np.asarray(rings.radii, dtype=np.float64))
    return constant / np.linalg.norm(constant)


def main_order(energy: Float) -> int:
    """Return the lowest order above which there is no more than ``COARSE_LOSS`` of the energy of all, shape (o,)."""
    beyond = np.cumsum(energy[::-1])[::-1] - energy  # of each order: the energy above it
    return int(np.argmax(beyond <= COARSE_LOSS * energy.sum()))


def coarse_angles(energy: Float, longest: int) -> int:
    """Return how many angles matter for the choice of a shift, as ``RadialBasis``, of the energy of all orders."""
    return _coarse_angles(main_order(energy), longest)


def _coarse_angles(order: int, longest: int) -> int:
    needed = max(FEWEST_ANGLES, ANGLES_AN_ORDER * order)
    return min(longest, 1 << (needed - 1).bit_length())


@functools.cache
def plain_basis(rings: Rings) -> RadialBasis:
    """Return the basis that loses nothing: a function for every ring that has an order."""
    lengths, unit = np.array(rings.lengths), np.eye(len(rings.radii))
    orders = range(rings.longest // 2 + 1)
    return _packed({k: unit[lengths >= 2 * k] for k in orders}, rings, rings.longest // 2)


def _threshold(values: Float, loss: float) -> float:
    """Return the largest eigenvalue that may be dropped when dropped ones sum to no more than ``loss``."""
    rising = np.sort(values, axis=None)
    dropped = int(np.searchsorted(np.cumsum(rising), loss, side="right"))
    return float(rising[dropped - 1]) if dropped else 0.0


def _packed(functions: dict[int, Float], rings: Rings, main_order: int) -> RadialBasis:
    lengths = np.array(rings.lengths)
    parts = [f[:, np.searchsorted(lengths, 2 * k) :].astype(np.float32) for k, f in functions.items()]
    counts = np.array([len(f) for f in parts])
    sizes = np.array([f.size for f in parts])
    return RadialBasis(
        order=np.array(list(functions), dtype=np.int32),
        start=np.concatenate(([0], np.cumsum(counts))).astype(np.int32),
        first=np.concatenate(([0], np.cumsum(sizes)[:-1])).astype(np.int32),
        functions=np.concatenate([f.ravel() for f in parts]),
        main_order=main_order,
    )
