"""Short tours and chains through points whose distances are known."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Float = npt.NDArray[np.float64]
Index = npt.NDArray[np.intp]

NEAREST_NEIGHBOUR_TOURS = 4  # tours that are improved from the start; more gain little
LONGEST_SEGMENT = 3  # moved as one by Or-opt, as Or proposed
GAIN = 1e-12  # improvements below are rounding


@dataclass(frozen=True)
class Move:
    """An exchange of edges that shortens a tour by ``gain``; ``length`` 0 reverses, else moves a segment."""

    gain: float
    first: int
    second: int
    length: int = 0
    reverse: bool = False


def nearest_neighbour_tours(distance: Float) -> Index:
    """Return, for every point, the tour from it that always goes on to the nearest point not yet seen.

    Parameters
    ----------
    distance : ndarray, shape (k, k)
        Symmetric distances.

    Returns
    -------
    ndarray, shape (k, k)
        Row s is the tour that starts at point s; of points equally near, the first.
    """
    k = len(distance)
    start = np.arange(k)
    tours = np.empty((k, k), dtype=np.intp)
    tours[:, 0] = start
    seen = np.eye(k, dtype=bool)
    for position in range(1, k):
        here = distance[tours[:, position - 1]]  # (start, point)
        tours[:, position] = np.where(seen, np.inf, here).argmin(axis=1)
        seen[start, tours[:, position]] = True
    return tours


def tour_length(distance: Float, tour: npt.NDArray[Any]) -> Any:
    """Return the length of closed tours, shape (..., k): the sum of distances from each point to the next."""
    return distance[tour, np.roll(tour, -1, axis=-1)].sum(axis=-1)


def shortest_tour(distance: Float, *, kicks: int, rng: np.random.Generator) -> Index:
    """Return a closed tour that no exchange of two edges and no move of a short segment makes shorter.

    The best nearest-neighbour tours are improved by 2-opt and Or-opt; the shortest is then disturbed ``kicks`` times
    by a random double bridge and improved again, and a disturbance is kept where it shortens the tour.

    Parameters
    ----------
    distance : ndarray, shape (k, k)
        Symmetric distances >= 0.
    kicks : int
        Number of disturbances.
    rng : numpy.random.Generator
        Where they are drawn from.

    Returns
    -------
    ndarray, shape (k,)
        Every point once.

    Notes
    -----
    Croes, Oper. Res. 6 (1958) 791; Or, thesis, Northwestern University (1976); Martin, Otto & Felten, Complex Syst. 5
    (1991) 299. Optimal in practice for some ten points, within some percent of it for hundreds.
    """
    k = len(distance)
    if k < 4:
        return np.arange(k)
    tours = nearest_neighbour_tours(distance)
    first = np.argsort(tour_length(distance, tours), kind="stable")[:NEAREST_NEIGHBOUR_TOURS]
    improved = [improve(distance, tours[s]) for s in first]
    best = min(improved, key=lambda t: float(tour_length(distance, t)))
    if k < 8:  # a double bridge needs eight points to differ from what 2-opt and Or-opt undo
        return best
    for _ in range(kicks):
        trial = improve(distance, _double_bridge(best, rng))
        if tour_length(distance, trial) < tour_length(distance, best) - GAIN:
            best = trial
    return best


def shortest_chain(distance: Float, *, kicks: int, rng: np.random.Generator) -> Index:
    """Return an order of points in which the sum of steps is short, without one from the last back to the first.

    It is the closed tour through the points and one more that lies on all of them, cut at that one.

    Parameters
    ----------
    distance, kicks, rng
        As in ``shortest_tour``.

    Returns
    -------
    ndarray, shape (k,)
        Every point once, from the end that has the nearer neighbour.
    """
    k = len(distance)
    tour = shortest_tour(np.pad(distance, ((0, 1), (0, 1))), kicks=kicks, rng=rng)
    chain = np.roll(tour, -int(np.flatnonzero(tour == k)[0]))[1:]
    if k > 1 and distance[chain[-1], chain[-2]] < distance[chain[0], chain[1]]:
        return chain[::-1]
    return chain


def improve(distance: Float, tour: Index) -> Index:
    """Return a tour after making the best 2-opt or Or-opt move again and again until none shortens it.

    Parameters
    ----------
    distance : ndarray, shape (k, k)
        Symmetric distances, k >= 4.
    tour : ndarray, shape (k,)
        Every point once.

    Returns
    -------
    ndarray, shape (k,)
        A tour that is not longer.
    """
    while (move := _best_move(distance[np.ix_(tour, tour)])).gain > GAIN:
        tour = _make(tour, move)
    return tour


def _best_move(along: Float) -> Move:
    """Return the best move, where ``along[a, b]`` is the distance between positions a and b of the tour."""
    k = len(along)
    moves = [_best_reversal(along)]
    for length in range(1, min(LONGEST_SEGMENT, k - 3) + 1):
        moves += [_best_transport(along, length, reverse) for reverse in (False, True)]
    return max(moves, key=lambda m: m.gain)


def _best_reversal(along: Float) -> Move:
    """Return the best 2-opt move: edges (a, a+1) and (b, b+1) become (a, b) and (a+1, b+1)."""
    ahead = np.roll(along, (-1, -1), axis=(0, 1))  # [a, b] -> along[a + 1, b + 1]
    edge = np.diagonal(np.roll(along, -1, axis=1))  # along[a, a + 1]
    gain = edge[:, None] + edge[None, :] - along - ahead
    np.fill_diagonal(gain, 0.0)
    a, b = np.unravel_index(int(gain.argmax()), gain.shape)
    return Move(float(gain[a, b]), int(min(a, b)), int(max(a, b)))


def _best_transport(along: Float, length: int, reverse: bool) -> Move:
    """Return the best Or-opt move: the ``length`` points from position s go between positions c and c + 1."""
    k = len(along)
    at = np.arange(k)
    before, last, after = (at - 1) % k, (at + length - 1) % k, (at + length) % k
    removed = along[before, at] + along[last, after] - along[before, after]
    head, tail = (last, at) if reverse else (at, last)
    joined = along[head] + along[tail][:, (at + 1) % k] - along[at, (at + 1) % k]  # (s, c)
    gain = removed[:, None] - joined
    inside = (at[None, :] - before[:, None]) % k <= length  # c is s - 1 or within the segment
    gain[inside] = -np.inf
    s, c = np.unravel_index(int(gain.argmax()), gain.shape)
    return Move(float(gain[s, c]), int(s), int(c), length, reverse)


def _make(tour: Index, move: Move) -> Index:
    if move.length == 0:
        a, b = move.first, move.second
        return np.concatenate((tour[: a + 1], tour[a + 1 : b + 1][::-1], tour[b + 1 :]))
    turned = np.roll(tour, -move.first)  # the segment comes first
    segment, rest = turned[: move.length], turned[move.length :]
    gap = (move.second - move.first) % len(tour) - move.length + 1
    return np.concatenate((rest[:gap], segment[::-1] if move.reverse else segment, rest[gap:]))


def _double_bridge(tour: Index, rng: np.random.Generator) -> Index:
    a, b, c = np.sort(rng.choice(np.arange(1, len(tour)), size=3, replace=False))
    return np.concatenate((tour[:a], tour[b:c], tour[a:b], tour[c:]))
