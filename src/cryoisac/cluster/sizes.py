"""Which class each image goes to, when classes may be neither too small nor too large."""

import numpy as np
import numpy.typing as npt

Labels = npt.NDArray[np.int64]

ROUNDS = 60
FIRST_STEP = 0.5  # of the typical margin between the best and the second best class
LAST_STEP = 0.02


def bounded(scores: npt.NDArray[np.float32], least: float, most: float) -> Labels:
    """Return the class of each image with about ``least`` to ``most`` members in every class.

    Each class asks a price, and every image takes the class with the largest score less price. Prices rise where
    classes are too full and fall where they are too empty, by ever smaller steps (dual ascent on the assignment
    problem), so sizes keep to the limits but for a few members.

    Parameters
    ----------
    scores : ndarray, shape (n, k)
        Gain of each image with each class.
    least, most : float
        Limits of a class's size.

    Returns
    -------
    ndarray, shape (n,), int64
        Classes.

    Notes
    -----
    Bertsekas, Math. Program. 1988, describes auctions of this kind.
    """
    n, k = scores.shape
    labels: Labels = scores.argmax(axis=1)
    if k < 2:
        return labels
    price = np.zeros(k, dtype=np.float32)
    unit = _typical_margin(scores)
    for step in np.geomspace(FIRST_STEP, LAST_STEP, ROUNDS) * unit:
        sizes = np.bincount(labels, minlength=k)
        over = np.maximum(sizes - most, 0.0) - np.maximum(least - sizes, 0.0)
        if not over.any():
            break
        price += (step * np.clip(over * k / n, -1.0, 1.0)).astype(np.float32)
        labels = (scores - price).argmax(axis=1)
    return labels


def _typical_margin(scores: npt.NDArray[np.float32]) -> float:
    best_two = np.partition(scores, scores.shape[1] - 2, axis=1)[:, -2:]
    return float(np.median(best_two[:, 1] - best_two[:, 0])) or 1.0
