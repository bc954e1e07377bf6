"""Class averages in an order in which neighbours look alike: around a circle, or along a chain."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cryoisac.model.poses import Poses
from cryoisac.products.pairs import Pairs, align_pairs
from cryoisac.products.tour import nearest_neighbour_tours, shortest_chain, shortest_tour, tour_length
from cryoisac.streams import stream

Float = npt.NDArray[np.float64]
Index = npt.NDArray[np.intp]

KICKS = 30  # disturbances of the tour; more gain less than half a percent for 500 averages


@dataclass(frozen=True, eq=False, kw_only=True)
class Ordering:
    """An order of ``k`` class averages, and how each is laid on the one before it.

    Parameters
    ----------
    order : ndarray, shape (k,)
        Average at each position, counted from 0.
    angle_deg : ndarray, shape (k,)
        Rotation in degrees of the average at each position; 0 for the first.
    mirror : ndarray, shape (k,), bool
        Whether the average at each position is mirrored, after its rotation.
    similarity : ndarray, shape (k, k)
        Correlation coefficients of the averages, in the order in which they were given.
    length : float
        Sum of max(0, 1 - similarity) over the steps, of a circle with that from the last to the first.
    """

    order: Index
    angle_deg: Float
    mirror: npt.NDArray[np.bool_]
    similarity: Float
    length: float


def order_averages(
    averages: npt.ArrayLike, *, range_px: float, radius_px: float | None = None, seed: int = 0, circular: bool = True
) -> Ordering:
    """Order class averages along a short tour on the distance max(0, 1 - similarity).

    Parameters
    ----------
    averages : array_like, shape (k, n, n)
        Class averages.
    range_px : float
        Range of the shifts when two averages are aligned; ISAC takes its ``xr`` + 1.
    radius_px : float, optional
        Radius of the mask under which averages are compared; n // 2 - 2 by default.
    seed : int
        Seed of the search for a short tour.
    circular : bool
        Whether the tour closes, or is a chain whose ends need not be alike.

    Returns
    -------
    Ordering
        The order. A circle begins at the average from which the greedy chain is best, and goes on to its nearer
        neighbour; a chain begins at the end that has the nearer neighbour.

    Raises
    ------
    DataError
        When the averages are not square, too small or not finite.
    SettingError
        When the shift range or the radius does not fit the box.

    Notes
    -----
    Follows the program ``sp_chains`` that ISAC calls, with another and reproducible search for the tour. As there,
    nothing closes the rotation from the last average to the first: projections along a closed path over the sphere of
    views come back rotated, so the gap is no error to spread.
    """
    pairs = align_pairs(averages, range_px=range_px, radius_px=radius_px)
    distance = np.maximum(0.0, 1.0 - pairs.similarity)
    rng = stream(seed, "ordering")
    if circular:
        order = begin_at(shortest_tour(distance, kicks=KICKS, rng=rng), distance)
    else:
        order = shortest_chain(distance, kicks=KICKS, rng=rng)
    angle, mirror = along(pairs, order)
    return Ordering(
        order=order,
        angle_deg=angle,
        mirror=mirror,
        similarity=pairs.similarity,
        length=float(tour_length(distance, order) if circular else distance[order[:-1], order[1:]].sum()),
    )


def begin_at(tour: Index, distance: Float) -> Index:
    """Return a closed tour turned to begin at the start of the best greedy chain and go on to its nearer neighbour.

    The greedy chain from a start goes on to the nearest point that is left; the best has the smallest sum of steps but
    for the last, where nothing is left to choose, so that a chain is not blamed for an odd one out.
    """
    if len(tour) < 2:
        return tour
    chains = nearest_neighbour_tours(distance)
    steps = distance[chains[:, :-2], chains[:, 1:-1]].sum(axis=1)
    turned = np.roll(tour, -int(np.flatnonzero(tour == steps.argmin())[0]))
    if distance[turned[0], turned[-1]] < distance[turned[0], turned[1]]:
        turned = np.roll(turned[::-1], 1)
    return turned


def along(pairs: Pairs, order: Index) -> tuple[Float, npt.NDArray[np.bool_]]:
    """Return rotation and mirror that carry each average along the tour to the first."""
    steps = pairs.poses(order[1:], order[:-1])
    here = Poses.identity(1)
    accumulated = [here]
    for position in range(len(order) - 1):
        here = steps[position : position + 1].then(here)
        accumulated.append(here)
    poses = Poses.concatenate(accumulated[: len(order)])
    return poses.angle_deg, poses.mirror
