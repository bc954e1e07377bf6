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
    wish = np.array(scores, dtype=np.float32 if scores.dtype == np.float32 else np.float64)
    members = [np.zeros(0, dtype=np.int64)] * k
    free = np.arange(n)
    while len(free):
        best = wish[free].argmax(axis=1)
        wanted = wish[free, best] > -np.inf
        free, best = free[wanted], best[wanted]
        by_class = np.argsort(best, kind="stable")
        suitors, starts = free[by_class], np.searchsorted(best[by_class], np.arange(k + 1))
        refused = [np.zeros(0, dtype=np.int64)]
        for c in np.flatnonzero(np.diff(starts)).tolist():
            candidates = np.sort(np.concatenate((members[c], suitors[starts[c] : starts[c + 1]])))
            if len(candidates) > capacity:
                ranked = candidates[np.argsort(-scores[candidates, c], kind="stable")]
                candidates, turned_down = ranked[:capacity], ranked[capacity:]
                wish[turned_down, c] = -np.inf
                refused.append(turned_down)
            members[c] = candidates
        free = np.sort(np.concatenate(refused))
    labels = np.full(n, -1, dtype=np.int64)
    for c, chosen in enumerate(members):
        labels[chosen] = c
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
