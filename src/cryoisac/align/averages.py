"""Averages of classes and of their halves, plain or by Wiener's filter: what ends each iteration of an alignment."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.fft
import scipy.ndimage

from cryoisac.engine.contract import Engine, Images, Indices
from cryoisac.model.ctf import CtfParameters
from cryoisac.model.poses import Poses
from cryoisac.ops.ctf import ctf_2d, turned
from cryoisac.ops.masks import Mask, normalise_inside
from cryoisac.ops.spectra import RingCorrelation, ring_correlation

Float = npt.NDArray[np.float64]

BLOCK_VALUES = 1 << 20  # of CTFs worked on at once
LEAST_CTF2 = 1e-6  # a half class that no image tells anything of at some frequency has 0 there


@dataclass(frozen=True, eq=False, kw_only=True)
class Imaging:
    """How the images, already multiplied by their CTF, were seen.

    Parameters
    ----------
    ctf : CtfParameters
        Parameters of the n images.
    pixel_size_A : ndarray, shape (n,)
        Their pixel sizes.
    snr : float
        Signal-to-noise ratio of one image, as Wiener's filter takes it.
    """

    ctf: CtfParameters
    pixel_size_A: Float
    snr: float


@dataclass(frozen=True, eq=False, kw_only=True)
class Averages:
    """Averages of k classes.

    Parameters
    ----------
    images : ndarray, shape (k, h, w), float32
        The averages; empty classes are zero.
    frc : RingCorrelation
        Agreement of the halves of each class; correlation of shape (k, r).
    sizes : ndarray, shape (k,), int64
        Members.
    """

    images: Images
    frc: RingCorrelation
    sizes: Indices


@dataclass(frozen=True, eq=False, kw_only=True)
class Halving:
    """How images are averaged and halves compared.

    Parameters
    ----------
    number : ndarray, shape (n,), int64
        Number of each image in the input: even ones make one half, odd ones the other.
    mask : ndarray, shape (h, w), bool
        Where halves are compared.
    imaging : Imaging or None
        CTFs by which averages are corrected, where images were multiplied by them.
    edge_px : float
        Width of a cosine edge around the mask where halves are compared; 0 for none, as in the original, where what
        both halves show at the mask's edge makes them agree at all frequencies.
    """

    number: Indices
    mask: Mask
    imaging: Imaging | None = None
    edge_px: float = 0.0

    def correlated(self, even: Images, odd: Images) -> RingCorrelation:
        """Return the Fourier ring correlation of halves, shape (k, h, w) each."""
        if self.edge_px <= 0:
            return ring_correlation(even, odd, mask=self.mask)
        weight = softened(self.mask, self.edge_px)
        a, b = (normalise_inside(half, self.mask, mean_only=True) * weight for half in (even, odd))
        return ring_correlation(a, b)


def class_averages(
    engine: Engine, labels: Indices, poses: Poses, k: int, how: Halving, *, careful: bool = False
) -> Averages:
    r"""Return the average of each class in its members' poses, and the agreement of its halves.

    With images :math:`C_i x_i` the average is, in Fourier space, :math:`\sum C_i x_i / (\sum C_i^2 + 1 / SNR)`, each
    image and its CTF turned and mirrored as its pose says; without CTF it is the mean.

    Parameters
    ----------
    engine : Engine
        Holds the n images.
    labels : ndarray, shape (n,), int64
        Class of each image, 0 to k - 1.
    poses : Poses
        Pose of each image on its class.
    k : int
        Number of classes.
    how : Halving
        Halves, mask and CTFs.
    careful : bool
        Resample images as for averages that leave a loop.

    Returns
    -------
    Averages
        Averages and agreement of halves.
    """
    n, box, _ = engine.shape
    half = 2 * labels + how.number % 2
    total = engine.total if careful else engine.quick_total
    sums = total(half, np.arange(n), poses, 2 * k).reshape(k, 2, box, box)
    count = np.bincount(half, minlength=2 * k).reshape(k, 2)
    if how.imaging is None:
        halves = sums / np.maximum(count, 1)[..., None, None]
        images = sums.sum(axis=1) / np.maximum(count.sum(axis=1), 1)[:, None, None]
    else:
        squares = squared_ctf_sums(how.imaging, half, poses, 2 * k, box).reshape(k, 2, box, -1)
        least = 1 / how.imaging.snr
        halves = _divided(sums, squares + np.maximum(least / 2, LEAST_CTF2))
        images = _divided(sums.sum(axis=1), squares.sum(axis=1) + np.maximum(least, LEAST_CTF2))
    even, odd = halves[:, 0].astype(np.float32), halves[:, 1].astype(np.float32)
    frc = how.correlated(even, odd)
    return Averages(images=images.astype(np.float32), frc=frc, sizes=count.sum(axis=1))


def softened(mask: Mask, width_px: float) -> Images:
    """Return 1 inside a mask, and a cosine of the distance from it down to 0 outside, shape (h, w), float32."""
    distance = scipy.ndimage.distance_transform_edt(~mask)
    weight: Images = (0.5 + 0.5 * np.cos(np.pi * np.minimum(distance / width_px, 1.0))).astype(np.float32)
    return weight


def squared_ctf_sums(imaging: Imaging, labels: Indices, poses: Poses, k: int, box_px: int) -> Float:
    """Return the sum over each class of the squared CTFs of its images, turned and mirrored as their poses say.

    Parameters
    ----------
    imaging : Imaging
        CTFs of the n images.
    labels : ndarray, shape (n,), int64
        Class of each image.
    poses : Poses
        Their poses.
    k : int
        Number of classes.
    box_px : int
        Side of the images.

    Returns
    -------
    ndarray, shape (k, box_px, box_px // 2 + 1)
        Sums over the real Fourier transform.
    """
    seen = turned(imaging.ctf, poses)
    sums = np.zeros((k, box_px, box_px // 2 + 1))
    for rows in _blocks(np.argsort(labels, kind="stable"), BLOCK_VALUES // (box_px * (box_px // 2 + 1))):
        squares = ctf_2d(seen[rows], box_px, imaging.pixel_size_A[rows]) ** 2
        found, first = np.unique(labels[rows], return_index=True)
        sums[found] += np.add.reduceat(squares, first, axis=0)
    return sums


def _divided(sums: Float, by: Float) -> Float:
    """Return images (..., h, w) whose transforms are divided by real arrays (..., h, w // 2 + 1)."""
    divided: Float = scipy.fft.irfft2(scipy.fft.rfft2(sums) / by, s=sums.shape[-2:])
    return divided


def _blocks(order: Indices, size: int) -> Iterator[Indices]:
    for first in range(0, len(order), max(size, 1)):
        yield order[first : first + max(size, 1)]
