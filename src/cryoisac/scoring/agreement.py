"""How well two partitions of the same images agree, by their contingency table."""

import numpy as np
import numpy.typing as npt

Int = npt.NDArray[np.int64]


def contingency(a: npt.ArrayLike, b: npt.ArrayLike) -> tuple[Int, Int, Int]:
    """Return the non-empty cells of the contingency table of two partitions.

    Parameters
    ----------
    a, b : array_like, shape (n,)
        Labels of the same images; any integers.

    Returns
    -------
    row, column : ndarray, shape (c,)
        Number of the label in ``a`` and in ``b``, in increasing order of labels.
    count : ndarray, shape (c,)
        Images in the cell.
    """
    _, rows = np.unique(np.asarray(a), return_inverse=True)
    _, columns = np.unique(np.asarray(b), return_inverse=True)
    width = int(columns.max(initial=-1)) + 1
    cell, count = np.unique(rows.astype(np.int64) * width + columns, return_counts=True)
    return cell // max(width, 1), cell % max(width, 1), count.astype(np.int64)


def adjusted_rand_index(a: npt.ArrayLike, b: npt.ArrayLike) -> float:
    r"""Return the adjusted Rand index: agreement over pairs of images, 1 if equal, 0 as by chance.

    .. math:: \frac{2 (n_{11} n_{00} - n_{10} n_{01})}
        {(n_{11} + n_{10}) (n_{10} + n_{00}) + (n_{11} + n_{01}) (n_{01} + n_{00})}

    Parameters
    ----------
    a, b : array_like, shape (n,)
        Labels of the same images.

    Returns
    -------
    float
        NaN for no images.

    Notes
    -----
    Hubert & Arabie 1985, J. Classif. 2:193; counts are Python integers, which do not overflow.
    """
    row, column, count = contingency(a, b)
    n = int(count.sum())
    if n == 0:
        return float("nan")
    together = int((count**2).sum())
    in_a = int((_margin(row, count) ** 2).sum())
    in_b = int((_margin(column, count) ** 2).sum())
    both, only_a, only_b = together - n, in_a - together, in_b - together
    neither = n * n - together - only_a - only_b
    if only_a == 0 and only_b == 0:
        return 1.0
    chance = (both + only_a) * (only_a + neither) + (both + only_b) * (only_b + neither)
    return 2 * (both * neither - only_a * only_b) / chance


def normalised_mutual_information(a: npt.ArrayLike, b: npt.ArrayLike) -> float:
    r"""Return :math:`2 I(A; B) / (H(A) + H(B))`, from 0 for independent partitions to 1 for equal ones.

    Parameters
    ----------
    a, b : array_like, shape (n,)
        Labels of the same images.

    Returns
    -------
    float
        NaN for no images.
    """
    row, column, count = contingency(a, b)
    n = count.sum()
    if n == 0:
        return float("nan")
    p, p_a, p_b = count / n, _margin(row, count) / n, _margin(column, count) / n
    entropy = float(-(p_a * np.log(p_a)).sum() - (p_b * np.log(p_b)).sum())
    if entropy <= 0:
        return 1.0
    shared = float((p * np.log(p / (p_a[row] * p_b[column]))).sum())
    return 2 * max(shared, 0.0) / entropy


def _margin(index: Int, count: Int) -> Int:
    margin = np.zeros(index.max(initial=-1) + 1, dtype=np.int64)
    np.add.at(margin, index, count)
    return margin
