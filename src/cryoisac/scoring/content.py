"""What classes contain: one view or several, rare views, junk. Counted from labels alone."""

import numpy as np
import numpy.typing as npt

from cryoisac.scoring.agreement import contingency

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

RARE = 0.5
JUNK_REASON = "junk"


def majority_views(label: Int, view: Int) -> Int:
    """Return the commonest view (the lowest of equal ones) of each class, shape (k,); -1 for none, or mostly junk."""
    majority = np.full(int(label.max(initial=-1)) + 1, -1, dtype=np.int64)
    accounted = label >= 0
    if accounted.any():
        row, column, count = contingency(label[accounted], view[accounted])
        order = np.lexsort((column, -count, row))
        first = order[np.unique(row[order], return_index=True)[1]]
        majority[np.unique(label[accounted])] = np.unique(view[accounted])[column[first]]
    return majority


def shows_majority(label: Int, view: Int) -> Flags:
    """Return which images are in a class and show its majority view, shape (n,); junk shows none."""
    right = (label >= 0) & (view >= 0)
    right[right] = majority_views(label, view)[label[right]] == view[right]
    return right


def effective_number(label: Int) -> float:
    r"""Return how many equal classes are as even as these: :math:`\exp(-\sum_k p_k \ln p_k)`, 0 without any member.

    Parameters
    ----------
    label : ndarray, shape (n,)
        Classes from 0; those below are left out. p is the share of a class among what is left.
    """
    count = np.bincount(label[label >= 0])
    if not count.sum():
        return 0.0
    p = count[count > 0] / count.sum()
    return float(np.exp(-(p * np.log(p)).sum()))


def held_views(label: Int, view: Int) -> Int:
    """Return the views that one class has as its majority and holds more than half of, of all images that show it."""
    majority = majority_views(label, view)
    right = shows_majority(label, view)
    inside = np.bincount(label[right], minlength=len(majority))
    images = np.bincount(view[view >= 0], minlength=int(majority.max(initial=-1)) + 1)
    named = np.flatnonzero(majority >= 0)
    return np.unique(majority[named[2 * inside[named] > images[majority[named]]]])


def rare_views(view: Int) -> Int:
    """Return the views with less than half as many images as the median view; junk, below 0, is left out."""
    number, count = np.unique(view[view >= 0], return_counts=True)
    rare: Int = number[count < RARE * np.median(count)] if len(count) else number
    return rare


def mostly_junk(label: Int, junk: Flags) -> Flags:
    """Return which images are in a class more than half of whose members are junk, shape (n,)."""
    inside = label >= 0
    size = np.bincount(label[inside])
    bad = np.bincount(label[inside & junk], minlength=len(size))
    found = inside.copy()
    found[inside] = (2 * bad > size)[label[inside]]
    return found


def named_junk(reason: npt.NDArray[np.str_] | None, n: int) -> Flags:
    """Return which images are in no class for a reason that begins with ``junk``, shape (n,)."""
    return np.zeros(n, dtype=bool) if reason is None else np.char.startswith(reason, JUNK_REASON)


def precision_recall(called: Flags, true: Flags) -> tuple[float | None, float | None]:
    """Return the share of what is called so that is so, and of what is so that is called so; ``None`` of nothing."""
    return share(called & true, called), share(called & true, true)


def share(part: Flags, whole: Flags) -> float | None:
    """Return the share of ``whole`` that is in ``part``; ``None`` of nothing."""
    return float((part & whole).sum() / whole.sum()) if whole.any() else None
