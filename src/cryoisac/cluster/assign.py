"""Scores to labels."""

import numpy as np
import numpy.typing as npt

Labels = npt.NDArray[np.int64]


def equal_size(scores: npt.NDArray[np.floating]) -> Labels:
    """Assign images to classes of equal size, the best matches first.

    Each of ``k`` classes takes ``q = n // k`` images; the ``n mod k`` images that no class wants join the class whose
    weakest member scores lowest. Found by deferred acceptance: every free image proposes to its best class that has
    not yet refused it, and a class keeps the best ``q`` of its proposals.

    Parameters
    ----------
    scores : ndarray, shape (n, k)
        Score of each image with each class; larger is better.

    Returns
    -------
    ndarray, shape (n,), int64
        The class of each image, 0 to k - 1.

    Notes
    -----
    The result is that of the original's EQ-K-means, which sorts all n·k pairs and hands them out in descending order
    until a class is full: capacities make that greedy rule the stable matching of Gale and Shapley
    (doi:10.1080/00029890.1962.11989827), which needs no sort of all pairs. Ties go to the lower index.
    """
    n, k = scores.shape
    capacity = n // k
    wish = np.array(scores, dtype=np.float64)
    labels = np.full(n, -1, dtype=np.int64)
    free = np.arange(n)
    while len(free):
        best = wish[free].argmax(axis=1)
        wanted = wish[free, best] > -np.inf
        free, best = free[wanted], best[wanted]
        if not len(free):
            break
        labels[free] = best
        refused = []
        for c in np.unique(best):
            members = np.flatnonzero(labels == c)
            if len(members) > capacity:
                ranked = members[np.argsort(-scores[members, c], kind="stable")]
                refused.append(ranked[capacity:])
                wish[ranked[capacity:], c] = -np.inf
        free = np.sort(np.concatenate(refused)) if refused else free[:0]
        labels[free] = -1
    unwanted = np.flatnonzero(labels < 0)
    if len(unwanted):
        labels[unwanted] = _last_to_fill(scores, labels)
    return labels


def _last_to_fill(scores: npt.NDArray[np.floating], labels: Labels) -> int:
    """Return the class whose weakest member scores lowest: the greedy rule fills it last."""
    k = scores.shape[1]
    placed = labels >= 0
    weakest = np.full(k, -np.inf if not placed.any() else np.inf)
    np.minimum.at(weakest, labels[placed], scores[placed, labels[placed]])
    return int(weakest.argmin())
