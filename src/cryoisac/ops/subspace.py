"""Few numbers for each image: principal components, multilinear components, and the one after the other.

Images may be mapped from a file: they are read a block at a time, and only a block is ever in double precision.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import scipy.linalg

from cryoisac.errors import DataError, SettingError
from cryoisac.ops.fourier import Float, Images
from cryoisac.ops.masks import Mask

BLOCK_BYTES = 1 << 24  # of images in double precision
SWEEPS, LEAST_GAIN = 30, 1e-7
RANK_EDGE = 1e-12  # of the largest eigenvalue: below, a direction is rounding


@dataclass(frozen=True, eq=False, kw_only=True)
class Subspace:
    """Directions in which ``n`` images vary most, the strongest first.

    Parameters
    ----------
    mean : ndarray, shape (h, w)
        Mean of the images.
    basis : ndarray, shape (r, h, w)
        Eigenimages: orthonormal, the element of largest size positive.
    scores : ndarray, shape (n, r)
        Scalar products of each image, less the mean, with the eigenimages.
    variance : ndarray, shape (r,)
        Sample variance of the scores.
    total : float
        Sample variance of the images, summed over their pixels.
    """

    mean: Float
    basis: Float
    scores: Float
    variance: Float
    total: float

    @property
    def share(self) -> Float:
        """Share of the images' variance along each eigenimage, shape (r,)."""
        return self.variance / self.total if self.total > 0 else np.zeros(len(self.variance))


@dataclass(frozen=True, eq=False, kw_only=True)
class Multilinear:
    """Rows and columns in which ``n`` images vary most.

    Parameters
    ----------
    mean : ndarray, shape (h, w)
        Mean of the images.
    left : ndarray, shape (h, p0)
        A: orthonormal columns, the strongest first.
    right : ndarray, shape (w, q0)
        B: orthonormal columns, the strongest first.
    scores : ndarray, shape (n, p0, q0)
        Aᵀ (X - mean) B of each image X.
    energy : tuple of float
        Mean of |scores|² over the images after each sweep.
    total : float
        Sample variance of the images, summed over their pixels.
    """

    mean: Float
    left: Float
    right: Float
    scores: Float
    energy: tuple[float, ...]
    total: float

    def strongest(self, components: int) -> Subspace:
        """Return the directions a bᵀ, of a column of A and one of B, along which images vary most."""
        n, p0, q0 = self.scores.shape
        flat = self.scores.reshape(n, p0 * q0)
        power = (flat * flat).sum(axis=0) / (n - 1)
        order = np.argsort(-power, kind="stable")[:components]
        a, b = self.left[:, order // q0], self.right[:, order % q0]
        signed = Subspace(
            mean=self.mean,
            basis=np.einsum("hr,wr->rhw", a, b),
            scores=flat[:, order],
            variance=power[order],
            total=self.total,
        )
        return _with_signs(signed)


def pca(images: Images, components: int, *, mask: Mask | None = None, block: int | None = None) -> Subspace:
    r"""Return the principal components of images.

    The eigenvectors of :math:`C = \sum_i (x_i - \bar x)(x_i - \bar x)^T / (n - 1)` of largest eigenvalue; where there
    are fewer images than pixels, by way of the n x n matrix of the images' scalar products.

    Parameters
    ----------
    images : ndarray, shape (n, h, w)
        Images; may be mapped from a file.
    components : int
        Eigenimages; fewer are returned where the images have fewer.
    mask : ndarray, shape (h, w), bool, optional
        Pixels that count; all others are taken as 0.
    block : int, optional
        Images in double precision at once; 16 MB by default. The result does not depend on it but for rounding.

    Returns
    -------
    Subspace

    Raises
    ------
    DataError
        When there are fewer than two images.
    SettingError
        When no component is asked for.

    Notes
    -----
    Pearson, Phil. Mag. 2 (1901) 559; of cryo-EM images, van Heel & Frank, Ultramicroscopy 6 (1981) 187.
    """
    _check(images, components=components)
    _, h, w = images.shape
    chosen = np.flatnonzero(np.ones(h * w, dtype=bool) if mask is None else mask.ravel())
    rows = _Rows(images, chosen, block)
    mean = rows.mean()
    values, directions, total = (_by_images if len(images) < len(chosen) else _by_pixels)(rows, mean, components)
    basis, middle = np.zeros((len(values), h * w)), np.zeros(h * w)
    basis[:, chosen], middle[chosen] = directions.T, mean
    found = Subspace(
        mean=middle.reshape(h, w),
        basis=basis.reshape(-1, h, w),
        scores=np.concatenate([part @ directions for part in rows.centred(mean)]),
        variance=values / (len(images) - 1),
        total=total / (len(images) - 1),
    )
    return _with_signs(found)


def mpca(images: Images, rows: int, columns: int, *, block: int | None = None) -> Multilinear:
    r"""Return the multilinear principal components of images.

    The orthonormal A, shape (h, p0), and B, shape (w, q0), of largest :math:`\sum_i |A^T (X_i - \bar X) B|^2`, by
    turns: B from the leading eigenvectors of :math:`\sum_i X_i^T A A^T X_i` (in the first sweep, of
    :math:`\sum_i X_i^T X_i`), A from those of :math:`\sum_i X_i B B^T X_i^T`, until a sweep gains less than 1e-7 of
    energy an image, or 30 times.

    Parameters
    ----------
    images : ndarray, shape (n, h, w)
        Images; may be mapped from a file.
    rows, columns : int
        p0 and q0: to how many rows and columns the images are reduced.
    block : int, optional
        Images in double precision at once; 16 MB by default. The result does not depend on it but for rounding.

    Returns
    -------
    Multilinear
        A, B and the scores; the product of A and B, h w by p0 q0 numbers, is never made.

    Raises
    ------
    DataError
        When there are fewer than two images.
    SettingError
        When more rows or columns are asked for than the images have, or none.

    Notes
    -----
    Ye, Janardan & Li, KDD 2004, 354; Hung, Wu, Tu & Huang, Biometrika 99 (2012) 569.
    """
    blocks = _centred(images, rows, columns, block)
    left, right, energy = _by_turns(blocks, rows, columns, len(images))
    return Multilinear(
        mean=blocks.mean,
        left=left,
        right=right,
        scores=np.concatenate([left.T @ part @ right for part in blocks]),
        energy=energy,
        total=blocks.energy() / (len(images) - 1),
    )


def two_stage(images: Images, rows: int, columns: int, components: int, *, block: int | None = None) -> Subspace:
    r"""Return two-stage dimension reduction (2SDR): principal components of multilinear components.

    With A and B of ``mpca`` and the leading eigenvectors G, shape (p0 q0, r), of the scores' covariance, an image has
    the scores :math:`(A \otimes B \, G)^T \, \mathrm{vec}(X - \bar X)`, and eigenimage j is :math:`A G_j B^T`.

    Parameters
    ----------
    images : ndarray, shape (n, h, w)
        Images; may be mapped from a file.
    rows, columns : int
        p0 and q0 of the first stage.
    components : int
        r; fewer are returned where the scores have fewer.
    block : int, optional
        Images in double precision at once; 16 MB by default. The result does not depend on it but for rounding.

    Returns
    -------
    Subspace

    Raises
    ------
    DataError
        When there are fewer than two images.
    SettingError
        When more rows or columns are asked for than the images have, or no component.

    Notes
    -----
    Chung, Wang, Niu, Chang, Tu & Wu, "Two-stage dimension reduction for noisy high-dimensional images and application
    to cryogenic electron microscopy", arXiv:1911.09816.
    """
    _check(images, components=components)
    blocks, n = _centred(images, rows, columns, block), len(images)
    left, right, _ = _by_turns(blocks, rows, columns, n)

    def flat() -> Iterator[Float]:
        return ((left.T @ part @ right).reshape(-1, rows * columns) for part in blocks)

    values, core = leading(np.asarray(sum(part.T @ part for part in flat())), min(components, n - 1))
    found = Subspace(
        mean=blocks.mean,
        basis=np.stack([left @ g.reshape(rows, columns) @ right.T for g in core.T]),
        scores=np.concatenate([part @ core for part in flat()]),
        variance=values / (n - 1),
        total=blocks.energy() / (n - 1),
    )
    return _with_signs(found)


def _centred(images: Images, rows: int, columns: int, block: int | None) -> "_Centred":
    """Return the images less their mean, after checking that they have so many rows and columns."""
    _, h, w = images.shape
    _check(images, rows=rows, columns=columns)
    if rows > h or columns > w:
        raise SettingError("rank", f"is {max(rows, columns)}, above the side of images of {w}x{h} px; lower it")
    return _Centred(_Rows(images, np.arange(h * w), block), (h, w))


def _by_turns(blocks: "_Centred", rows: int, columns: int, n: int) -> tuple[Float, Float, tuple[float, ...]]:
    """Return A, B and the energy of the scores after each sweep."""
    _, right = leading(blocks.scatter(axis=1), columns)
    energy: list[float] = []
    while True:
        found, left = leading(blocks.scatter(axis=0, onto=right), rows)
        energy.append(float(found.sum()) / n)
        if len(energy) == SWEEPS or (len(energy) > 1 and energy[-1] - energy[-2] < LEAST_GAIN):
            return left, right, tuple(energy)
        _, right = leading(blocks.scatter(axis=1, onto=left), columns)


def leading(symmetric: Float, count: int) -> tuple[Float, Float]:
    """Return at most ``count`` largest eigenvalues of a symmetric matrix, descending, and eigenvectors as columns."""
    side = len(symmetric)
    values, vectors = scipy.linalg.eigh(symmetric, subset_by_index=(side - min(count, side), side - 1))
    return np.maximum(values[::-1], 0.0), vectors[:, ::-1]


def _true_rank(values: Float) -> int:
    """Return how many eigenvalues are more than rounding."""
    return int((values > RANK_EDGE * values[0]).sum()) if len(values) else 0


def _by_pixels(rows: "_Rows", mean: Float, count: int) -> tuple[Float, Float, float]:
    """Return eigenvalues, directions and trace of the scatter of all pixels."""
    scatter = sum(part.T @ part for part in rows.centred(mean))
    values, vectors = leading(np.asarray(scatter), count)
    kept = _true_rank(values)
    return values[:kept], vectors[:, :kept], float(np.trace(scatter))


def _by_images(rows: "_Rows", mean: Float, count: int) -> tuple[Float, Float, float]:
    """Return the same by way of the images' scalar products, a pair of blocks at a time."""
    gram = np.concatenate(
        [np.concatenate([part @ other.T for other in rows.centred(mean)], axis=1) for part in rows.centred(mean)]
    )
    values, vectors = leading(gram, count)
    kept = _true_rank(values)
    weight = np.split(vectors[:, :kept] / np.sqrt(values[:kept]), rows.edges)
    directions = sum(part.T @ share for part, share in zip(rows.centred(mean), weight, strict=True))
    return values[:kept], np.asarray(directions), float(np.trace(gram))


def _with_signs(found: Subspace) -> Subspace:
    """Return the subspace with the element of largest size of each eigenimage positive."""
    flat = found.basis.reshape(-1, found.mean.size)
    peak = np.abs(flat).argmax(axis=1)
    sign = np.where(flat[np.arange(len(flat)), peak] < 0, -1.0, 1.0)
    return replace(found, basis=found.basis * sign[:, None, None], scores=found.scores * sign)


def _check(images: Images, **counts: int) -> None:
    if len(images) < 2:
        raise DataError("images", f"{len(images)} given; two or more are needed to see how they vary")
    for name, count in counts.items():
        if count < 1:
            raise SettingError(name, f"is {count}; must be at least 1")


class _Rows:
    """Images as rows of chosen pixels, a block at a time in double precision."""

    def __init__(self, images: Images, chosen: npt.NDArray[np.intp], block: int | None) -> None:
        self._images = images
        self._chosen: slice | npt.NDArray[np.intp] = slice(None) if len(chosen) == images[0].size else chosen
        size = block or max(1, BLOCK_BYTES // (8 * len(chosen)))
        self.edges = list(range(size, len(images), size))

    def _parts(self) -> Iterator[Float]:
        for first, end in zip([0, *self.edges], [*self.edges, len(self._images)], strict=True):
            flat = self._images[first:end].reshape(end - first, -1)
            yield flat[:, self._chosen].astype(np.float64)

    def mean(self) -> Float:
        """Return the mean row."""
        total: Float = np.asarray(sum(part.sum(axis=0) for part in self._parts()))
        return total / len(self._images)

    def centred(self, mean: Float) -> Iterator[Float]:
        """Yield rows less their mean, shape (m, d)."""
        for part in self._parts():
            part -= mean
            yield part


class _Centred:
    """Images less their mean, a block at a time."""

    def __init__(self, rows: _Rows, shape: tuple[int, int]) -> None:
        self._rows, self._shape = rows, shape
        self.mean = rows.mean().reshape(shape)

    def __iter__(self) -> Iterator[Float]:
        return (part.reshape(-1, *self._shape) for part in self._rows.centred(self.mean.ravel()))

    def energy(self) -> float:
        """Return the sum of squares of all pixels."""
        return float(sum(np.vdot(part, part) for part in self))

    def scatter(self, *, axis: int, onto: Float | None = None) -> Float:
        """Return the sum of X P Pᵀ Xᵀ over the images (axis 0) or of Xᵀ P Pᵀ X (axis 1); P is all where not given."""
        total = np.zeros((self._shape[axis], self._shape[axis]))
        for part in self:
            side = part if axis == 0 else part.transpose(0, 2, 1)  # (m, side, other)
            seen = side if onto is None else side @ onto
            flat = np.ascontiguousarray(seen.transpose(1, 0, 2)).reshape(len(total), -1)
            total += flat @ flat.T
        return total
