"""How far classes lie apart among images, and how well they agree with a truth."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from cryoisac.scoring.agreement import adjusted_rand_index
from cryoisac.scoring.content import share, shows_majority

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]
NEAREST = 10


def neighbours_alike(points: Float, label: Int, *, nearest: int = NEAREST) -> float:
    """Return the mean share of the nearest points of each point that have its label.

    Parameters
    ----------
    points : ndarray, shape (m, d)
        Points.
    label : ndarray, shape (m,)
        Their labels.
    nearest : int
        How many points count; all others where there are no more.

    Returns
    -------
    float
        1 where the labels lie apart; by chance about the sum of squares of their shares.
    """
    count = min(nearest, len(points) - 1)
    if count < 1:
        return 1.0
    found = cKDTree(points).query(points, k=count + 1)[1]
    own = found == np.arange(len(points))[:, None]
    own[~own.any(axis=1), -1] = True  # of points at one place the tree may leave the point itself out
    others = found[~own].reshape(len(points), count)
    return float((label[others] == label[:, None]).mean())


def alike_by_chance(label: Int) -> float:
    """Return the chance that another point has the label of a point."""
    n, sizes = len(label), np.unique(label, return_counts=True)[1]
    return float((sizes * (sizes - 1)).sum() / max(n * (n - 1), 1))


@dataclass(frozen=True, kw_only=True)
class Purity:
    """How well classes agree with a truth.

    Parameters
    ----------
    images : int
        Images in a class whose truth is known.
    views : int
        Labels of the truth among them.
    purity : float or None
        Share of the images that show the commonest label of their class.
    completeness : float or None
        Share of the images that are in the class that holds most of their label.
    ari : float or None
        Adjusted Rand index.
    """

    images: int
    views: int
    purity: float | None
    completeness: float | None
    ari: float | None


def purity(label: Int, truth: Int) -> Purity:
    """Compare classes with a truth, over the images that have both; numbers below 0 are no label.

    Notes
    -----
    ``purity`` and ``completeness`` are ``purity_score`` and ``c_purity_score`` of Cryo-RAlib.
    """
    both = (label >= 0) & (truth >= 0)
    a, b = label[both], truth[both]
    every = np.ones(len(a), dtype=bool)
    return Purity(
        images=len(a),
        views=len(np.unique(b)),
        purity=share(shows_majority(a, b), every),
        completeness=share(shows_majority(b, a), every),
        ari=adjusted_rand_index(a, b) if len(a) else None,
    )
