"""Sums of classes by the Fourier coefficients of rings: the definition, in float64 NumPy.

Each image is sampled on rings around the point that its pose brings to the centre. Turning it is a factor for every
angular order, mirroring it a complex conjugate, so images are added up as coefficients, and only the sum of a class is
brought back to pixels. Rings go out to the largest that fits the box; beyond it, each order falls off as a harmonic
function does.
"""

import numpy as np
import numpy.typing as npt
import scipy.ndimage

from cryoisac.engine.contract import Images, Indices
from cryoisac.model.poses import Poses
from cryoisac.ops.polar import Complex, Float, Rings
from cryoisac.ops.warp import keys

INNERMOST = 4  # samples of the ring of radius 0, all at its centre
OVERLAP = 16  # angles by which a polar grid is continued, so that its spline is periodic


def rings_of_box(box_px: int) -> Rings:
    """Return the centre, as a ring of radius 0, and all rings that fit a box."""
    last = box_px - 1 - box_px // 2
    lengths = Rings.between(1, last).lengths if last else ()
    return Rings(radii=tuple(range(last + 1)), lengths=(INNERMOST, *lengths))


def furthest_ring(box_px: int) -> int:
    """Return the radius of a ring that holds all pixels of a box, and one more for the spline between rings."""
    return int(np.ceil(np.sqrt(2) * (box_px // 2))) + 1


def ring_coefficients(images: Images, offsets_px: Float, rings: Rings) -> Complex:
    """Return the Fourier coefficients of rings around offsets.

    Parameters
    ----------
    images : ndarray, shape (n, h, h), float32
        Images.
    offsets_px : ndarray, shape (n, 2)
        Centres (x, y) of the rings, from the centre pixel.
    rings : Rings
        Rings.

    Returns
    -------
    ndarray, shape (n, r, longest // 2 + 1), complex128
        Coefficients of exp(i k angle), for k >= 0; zero beyond a ring's Nyquist order.

    Notes
    -----
    Each image is moved by a fraction of a pixel so that its centre is a pixel (Lagrange's polynomial through six), then
    sampled by cubic convolution (Keys 1981, a = -1/2). Outside an image its nearest pixel counts.
    """
    points = rings.points_px + rings.radii[-1] + 1
    values = cubic_convolution(moved_windows(images, offsets_px, rings.radii[-1]), points[:, 0], points[:, 1])
    result = np.zeros((len(images), len(rings.radii), rings.longest // 2 + 1), dtype=np.complex128)
    start = 0
    for r, length in enumerate(rings.lengths):
        result[:, r, : length // 2 + 1] = np.fft.rfft(values[:, start : start + length]) / length
        start += length
    return result


def moved_windows(images: Images, offsets_px: Float, reach_px: int) -> Float:
    """Return what lies around offsets, moved by the fraction of a pixel to a centre pixel, shape (n, s, s).

    Parameters
    ----------
    images : ndarray, shape (n, h, h), float32
        Images.
    offsets_px : ndarray, shape (n, 2)
        Offsets (x, y) from the centre pixel.
    reach_px : int
        How far from their centre windows reach: they show pixels from -reach - 1 to reach + 2.
    """
    whole = np.floor(offsets_px)
    window = np.arange(-reach_px - 1, reach_px + 3)
    x, y = images.shape[1] // 2 + whole.astype(np.int64).T[:, :, None] + window  # (n, s)
    wx, wy = (_lagrange(t) for t in (offsets_px - whole).T)
    last, row = images.shape[1] - 1, np.arange(len(images))[:, None, None]
    result = np.zeros((len(images), len(window), len(window)))
    for b in range(6):
        for a in range(6):
            i, j = np.clip(x + a - 2, 0, last), np.clip(y + b - 2, 0, last)
            result += (wx[a] * wy[b])[:, None, None] * images[row, j[:, :, None], i[:, None, :]]
    return result


def _lagrange(t: Float) -> list[Float]:
    """Return the weights of the pixels at -2 ... 3 for a fraction t: the polynomial of degree five through them."""
    at = np.arange(-2, 4)
    return [np.prod([(t - q) / (p - q) for q in at if q != p], axis=0) for p in at]


def cubic_convolution(images: Float, x: Float, y: Float) -> Float:
    """Return images (n, h, w) at points (p,), in pixels from the first, by cubic convolution over sixteen pixels."""
    i, j = np.floor(x).astype(np.int64), np.floor(y).astype(np.int64)
    result = np.zeros((len(images), len(x)))
    for b, wy in enumerate(keys(y - j), start=-1):
        for a, wx in enumerate(keys(x - i), start=-1):
            result += wy * wx * images[:, j + b, i + a]
    return result


def ring_sums(images: Images, labels: Indices, poses: Poses, k: int) -> Complex:
    """Return the ring coefficients of the sum of each class, shape (k, r, longest // 2 + 1).

    With G of an image around its offset: G exp(-i k a), and the conjugate of that where the pose is mirrored.

    Parameters
    ----------
    images : ndarray, shape (m, h, h), float32
        The image of each row.
    labels : ndarray, shape (m,), int64
        Class of each row, 0 to k - 1; rows with -1 are left out.
    poses : Poses
        Pose of each row.
    k : int
        Number of classes.
    """
    rings = rings_of_box(images.shape[1])
    orders = np.arange(rings.longest // 2 + 1)
    sums = np.zeros((k, len(rings.radii), len(orders)), dtype=np.complex128)
    own = ring_coefficients(images, poses.offset_px(), rings)
    own *= np.exp(-1j * np.deg2rad(poses.angle_deg)[:, None, None] * orders)
    own = np.where(poses.mirror[:, None, None], own.conj(), own)
    np.add.at(sums, labels[labels >= 0], own[labels >= 0])
    return sums


def pixels_of_rings(coefficients: Complex, box_px: int) -> npt.NDArray[np.float64]:
    """Return images, shape (k, h, h), whose rings have given coefficients, shape (k, r, longest // 2 + 1).

    Order k of the ring of radius r beyond the last, P, is that of the last times (P / r)^k. Between rings and angles,
    of which there are as many as samples on the longest ring, by a cubic spline across the whole diameter.
    """
    rings, last = rings_of_box(box_px), furthest_ring(box_px)
    radius = np.arange(len(rings.radii), last + 1)
    fall = (rings.radii[-1] / radius[:, None]) ** np.arange(coefficients.shape[-1])
    whole = np.concatenate((coefficients, coefficients[:, -1:] * fall), axis=1)
    n = rings.longest
    grid = _values(whole, rings, n)
    grid = np.concatenate((np.roll(grid[:, :0:-1], n // 2, axis=-1), grid), axis=1)  # radii -last ... last
    grid = np.pad(grid, ((0, 0), (0, 0), (OVERLAP, OVERLAP)), mode="wrap")
    y, x = np.mgrid[:box_px, :box_px] - box_px // 2
    turn = np.arctan2(x, y) / (2 * np.pi) % 1.0
    at = np.stack((np.hypot(x, y) + last, turn * n + OVERLAP))
    images = np.empty((len(grid), box_px, box_px))
    for image, values in zip(images, grid, strict=True):
        scipy.ndimage.map_coordinates(values, at, output=image, order=3, mode="mirror")
    return images


def _values(coefficients: Complex, rings: Rings, n: int) -> Float:
    """Return the values of rings at n angles; the Nyquist order of each ring counts once, all above 0 twice."""
    weighted = coefficients * n
    for r in range(coefficients.shape[1]):
        length = rings.lengths[min(r, len(rings.lengths) - 1)]
        weighted[:, r, length // 2] *= 0.5 if length < n else 1.0
    values: Float = np.fft.irfft(weighted, n)
    return values
