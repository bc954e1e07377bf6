"""Coefficients of rings made pixels on a device, as ``ring_total.pixels_of_rings`` defines them.

The spline's coefficients are made where they are cheapest: around rings as a factor for every angular order, between
rings as a product with the inverse of its matrix, one for even and one for odd orders, which are even and odd across
the whole diameter.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional

from cryoisac.engine.gpu.layout import Layout
from cryoisac.engine.gpu.memory import Place, in_batches
from cryoisac.engine.gpu.transfer import sent
from cryoisac.engine.ring_total import furthest_ring
from cryoisac.ops.polar import Float

GRID_COPIES = 4  # of a class's polar grid: its orders, a transform's copy of them, its values, room to work in


def mixed(values: torch.Tensor, near: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Return weighted sums of lines of values.

    Parameters
    ----------
    values : Tensor, shape (lines, n)
        Lines.
    near : Tensor, shape (m, t), integer
        The lines of each sum.
    weights : Tensor, shape (m, t), of the type of values
        Their weights.

    Returns
    -------
    Tensor, shape (m, n)
        Sums, each by itself and in the order of its terms: they depend neither on n nor on m.
    """
    return torch.nn.functional.embedding_bag(near, values, mode="sum", per_sample_weights=weights)


class RingPixels:
    """Makes pixels of the coefficients of rings.

    Parameters
    ----------
    box_px : int
        Side of the images.
    layout : Layout
        The rings of the box.
    place : Place
        The device.
    """

    def __init__(self, box_px: int, layout: Layout, place: Place) -> None:
        self._box, self._layout, self._place = box_px, layout, place
        self._angles, self._radii = layout.longest, furthest_ring(box_px) + 1
        order, radius = np.arange(self._angles // 2 + 1), np.arange(self._radii)[:, None]
        furthest = layout.rings.radii[-1]

        def there(values: npt.NDArray[Any]) -> torch.Tensor:
            return sent(values, place.device)

        self._fall = there((furthest / radius[furthest + 1 :]) ** order)[:, None, :, None]
        self._shares = there(_shares(layout, self._radii))[:, None]
        self._between = [there(m) for m in _between_rings(self._radii)]
        self._all_radii = there(np.tile(radius[:, 0], (self._radii, 1)).astype(np.int32))
        near, weights = _polar_points(box_px, self._radii, self._angles)
        self._near, self._weights = there(near), there(weights)

    def __call__(self, coefficients: Float) -> Float:
        """Return images whose rings have given coefficients.

        Parameters
        ----------
        coefficients : ndarray, shape (k, 2 * layout.coefficients)
            Real and imaginary part of each, ring after ring.

        Returns
        -------
        ndarray, shape (k, h, h), float64
            Images.
        """
        images = np.empty((len(coefficients), self._box, self._box))

        def work(part: slice, following: slice) -> None:
            pixels = self._pixels(self._grid(sent(coefficients[part], self._place.device)))
            images[part] = pixels.T.reshape(-1, self._box, self._box).cpu().numpy()

        in_batches(len(images), self.class_bytes, work, self._place)
        return images

    @property
    def class_bytes(self) -> int:
        """Bytes that a class takes while its pixels are made."""
        grid, pixels = self._radii * (self._angles + 2), self._box**2
        return 8 * (GRID_COPIES * grid + 2 * self._layout.coefficients + pixels)

    def _grid(self, coefficients: torch.Tensor) -> torch.Tensor:
        """Return the spline's coefficients at all radii and angles, shape (radii, k, angles)."""
        n, rings = len(coefficients), len(self._layout.rings.radii)
        whole = coefficients.new_zeros(self._radii, n, self._angles // 2 + 1, 2)
        ring = 0
        for s in self._layout.stretches:
            orders = s.length // 2 + 1
            own = coefficients[:, 2 * s.coefficient : 2 * (s.coefficient + s.rings * orders)]
            whole[ring : ring + s.rings, :, :orders] = own.view(n, s.rings, orders, 2).transpose(0, 1)
            ring += s.rings
        torch.mul(whole[rings - 1], self._fall, out=whole[rings:])
        whole *= self._shares
        for parity, weights in enumerate(self._between):
            own = whole[:, :, parity::2]
            whole[:, :, parity::2] = mixed(own.flatten(1), self._all_radii, weights).view(own.shape)
        return torch.fft.irfft(torch.view_as_complex(whole), self._angles, norm="forward")

    def _pixels(self, grid: torch.Tensor) -> torch.Tensor:
        """Return pixels (h * h, k) of the spline's coefficients."""
        return mixed(grid.transpose(1, 2).flatten(0, 1), self._near, self._weights)


def _shares(layout: Layout, radii: int) -> Float:
    """Return the factors of the parts of coefficients, shape (radii, orders, 2).

    A ring's Nyquist order counts half unless it is the transform's; the spline around rings divides by
    (2 + cos(2 pi k / angles)) / 3; a real transform leaves out imaginary parts at both its ends.
    """
    orders, lengths = layout.longest // 2 + 1, np.array(layout.rings.lengths)
    shares = np.ones((radii, orders, 2))
    own = lengths[np.minimum(np.arange(radii), len(lengths) - 1)]
    short = np.flatnonzero(own < layout.longest)
    shares[short, own[short] // 2] = 0.5
    shares *= (3 / (2 + np.cos(2 * np.pi * np.arange(orders) / layout.longest)))[:, None]
    shares[:, [0, -1], 1] = 0.0
    return shares


def _between_rings(radii: int) -> tuple[Float, Float]:
    """Return what makes a spline's coefficients of values at radii 0, 1, ..., of even and of odd orders.

    Notes
    -----
    The inverse of the cubic spline's matrix over the whole diameter, its ends mirrored; order k has (-1)^k times its
    values at the radius -r.
    """
    size = 2 * radii - 1
    matrix = (np.eye(size, k=-1) + 4 * np.eye(size) + np.eye(size, k=1)) / 6
    matrix[0, 1] = matrix[-1, -2] = 2 / 6
    inverse = np.linalg.inv(matrix)[radii - 1 :]
    outward, inward = inverse[:, radii - 1 :].copy(), inverse[:, radii - 1 :: -1].copy()
    inward[:, 0] = 0.0  # the centre is there once
    return outward + inward, outward - inward


def _polar_points(box_px: int, radii: int, angles: int) -> tuple[npt.NDArray[np.int32], Float]:
    """Return sixteen points of the polar grid near each pixel, and their weights in a cubic spline, (h * h, 16)."""
    y, x = (own.ravel() - box_px // 2 for own in np.mgrid[:box_px, :box_px])
    radius, angle = np.hypot(x, y), np.arctan2(x, y) / (2 * np.pi) % 1.0 * angles
    i, j = np.floor(radius).astype(np.int64), np.floor(angle).astype(np.int64)
    taps = np.arange(-1, 3)
    r = np.minimum(i[:, None] + taps, radii - 1)[:, :, None]  # the last of them may lie outside, and weigh nothing
    turned = (j[:, None] + taps)[:, None, :] + np.where(r < 0, angles // 2, 0)
    near = np.abs(r) * angles + turned % angles
    weights = _spline(radius - i)[:, :, None] * _spline(angle - j)[:, None, :]
    return near.reshape(len(x), -1).astype(np.int32), weights.reshape(len(x), -1)


def _spline(t: Float) -> Float:
    """Return the weights of the coefficients at -1, 0, 1, 2 for fractions t, shape (n, 4): the cubic B-spline."""
    weights: Float = np.stack(((1 - t) ** 3, (3 * t - 6) * t * t + 4, ((3 - 3 * t) * t + 3) * t + 1, t**3), axis=-1)
    return weights / 6
