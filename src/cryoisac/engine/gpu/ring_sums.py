"""Rings of images on a device, ready to be added up; ``ring_total`` is their definition."""

import numpy as np
import numpy.typing as npt
import torch

from cryoisac.engine.gpu.layout import COMPLEX_BYTES, REAL_BYTES, Layout
from cryoisac.engine.gpu.memory import Place
from cryoisac.engine.gpu.ring_pixels import RingPixels, mixed
from cryoisac.engine.gpu.transfer import sent
from cryoisac.engine.ring_total import rings_of_box
from cryoisac.errors import DataError
from cryoisac.model.poses import Poses
from cryoisac.ops.polar import Float, Rings
from cryoisac.ops.warp import keys

TAPS = np.arange(-2, 4)  # pixels that move one by a fraction
FAR_BOXES = 2  # sides beyond which it does not matter how far outside an offset lies
HELD = 7  # copies of a row at the same time, one of them of a row that is brought for the next batch
TOGETHER = 4096  # rows that are made at once: their neighbouring lines lie in a GPU's cache


class RingSums:
    """Lays images on each other by the coefficients of their rings.

    Parameters
    ----------
    box_px : int
        Side of the images.
    place : Place
        The device.
    """

    def __init__(self, box_px: int, place: Place) -> None:
        rings, device = rings_of_box(box_px), place.device
        self._box, self._device, self._layout = box_px, device, Layout(rings, device)
        window = np.arange(-rings.radii[-1] - 1, rings.radii[-1] + 3)
        taps = np.stack((window, -window))[:, :, None] + TAPS + box_px // 2  # straight and mirrored
        self._taps = sent(taps.astype(np.int32), device)
        self._near, self._weights = (sent(own, device) for own in _ring_points(rings))
        self._powers = sent(_lagrange_polynomials(), device)
        self._orders = torch.arange(rings.longest // 2 + 1, device=device)
        self.pixels = RingPixels(box_px, self._layout, place)

    @property
    def size(self) -> int:
        """Real numbers that a row is added up as."""
        return 2 * self._layout.coefficients

    @property
    def row_bytes(self) -> int:
        """Bytes that a row takes while it is made."""
        largest = max(self._box**2 + 1, int(self._taps.shape[1]) ** 2, self._layout.samples, self.size)
        return HELD * REAL_BYTES * largest + COMPLEX_BYTES * len(self._orders)

    def turned(self, images: torch.Tensor, placements: Float) -> torch.Tensor:
        """Return the coefficients of images laid on their references.

        Parameters
        ----------
        images : Tensor, shape (n, h, h)
            Images.
        placements : ndarray, shape (n, 4)
            As ``ring_placements`` has them.

        Returns
        -------
        Tensor, shape (n, size), float32
            Real and imaginary part of each coefficient, ring after ring.

        Notes
        -----
        The window of a mirrored image is mirrored, which conjugates its coefficients.
        """
        placed = sent(placements, self._device)
        result = torch.empty(len(images), self.size // 2, dtype=torch.complex64, device=self._device)
        for first in range(0, len(images), TOGETHER):
            part = slice(first, first + TOGETHER)
            self._turn(images[part], placed[part], result[part])
        return torch.view_as_real(result).flatten(1)

    def _turn(self, images: torch.Tensor, placed: torch.Tensor, result: torch.Tensor) -> None:
        """Write the coefficients of images laid on their references, (n, size / 2)."""
        x, y, angle, mirror = placed.T
        windows = self._moved(images, y, torch.zeros_like(mirror))
        windows = self._moved(windows.transpose(1, 2), x, mirror)  # n, x, y
        points = windows.flatten(1).T.contiguous()  # so that neighbours are sums over lines, each of all images
        del windows
        samples = mixed(points, self._near, self._weights)
        del points
        phase = ((2 * mirror - 1) * angle)[:, None] * self._orders
        self._spectra(samples, torch.complex(phase.cos().float(), phase.sin().float())[:, None], result)

    def _moved(self, lines: torch.Tensor, offsets: torch.Tensor, mirror: torch.Tensor) -> torch.Tensor:
        """Return what lies around offsets of lines (n, h, w), moved by the fraction of a pixel, (n, window, w)."""
        n, height, width = lines.shape
        whole = torch.floor(offsets)
        weights = self._lagrange(offsets - whole)[:, None].expand(-1, self._taps.shape[1], -1)
        near = self._taps[mirror.int()] + whole.int()[:, None, None]
        near.clamp_(0, height - 1)
        near += height * torch.arange(n, dtype=torch.int32, device=self._device)[:, None, None]
        moved = mixed(lines.reshape(n * height, width), near.flatten(0, 1), weights.flatten(0, 1))
        return moved.view(n, -1, width)

    def _lagrange(self, t: torch.Tensor) -> torch.Tensor:
        """Return the weights of pixels for fractions t, shape (n, 6): Horner's rule for all polynomials at once."""
        value = self._powers[0].expand(len(t), -1)
        for power in self._powers[1:]:
            value = torch.addcmul(power, value, t[:, None])
        return value.float()

    def _spectra(self, samples: torch.Tensor, turn: torch.Tensor, result: torch.Tensor) -> None:
        """Write the coefficients of samples (samples, n) times factors of the orders, (n, 1, orders)."""
        for s in self._layout.stretches:
            own = samples[s.sample : s.sample + s.rings * s.length].T.reshape(-1, s.rings, s.length)
            orders = s.length // 2 + 1
            place = result[:, s.coefficient : s.coefficient + s.rings * orders].view(-1, s.rings, orders)
            torch.mul(torch.fft.rfft(own), turn[:, :, :orders], out=place)


def ring_placements(poses: Poses, box_px: int) -> Float:
    """Return the offset x and y in pixels, the angle in radians, and whether mirrored, of each pose, shape (m, 4).

    Raises
    ------
    DataError
        When an angle or shift is not a finite number.
    """
    if not np.isfinite(poses.rows()).all():
        raise DataError("poses", "an angle or shift is not a finite number")
    far = FAR_BOXES * box_px + len(TAPS)
    angle = np.deg2rad(np.fmod(poses.angle_deg, 360.0))
    return np.column_stack((np.clip(poses.offset_px(), -far, far), angle, poses.mirror))


def _lagrange_polynomials() -> Float:
    """Return the coefficients of the polynomials of degree five through pixels at -2 ... 3, shape (power, pixel)."""
    others = [np.delete(TAPS, i) for i in range(len(TAPS))]
    return np.stack([np.poly(own) / np.prod(at - own) for at, own in zip(TAPS, others, strict=True)], axis=-1)


def _ring_points(rings: Rings) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
    """Return sixteen points of a window (x, y) near each sample, and their weights over its ring's length."""
    reach = rings.radii[-1]
    whole = np.floor(rings.points_px)
    x, y = (np.stack(keys(t), axis=-1) for t in (rings.points_px - whole).T)
    taps = whole.astype(np.int64)[:, :, None] + np.arange(-1, 3) + reach + 1  # samples, (x, y), taps
    near = taps[:, 0, :, None] * (2 * reach + 4) + taps[:, 1, None, :]
    weights = x[:, :, None] * y[:, None, :] / np.repeat(rings.lengths, rings.lengths)[:, None, None]
    return near.reshape(len(x), -1).astype(np.int32), weights.reshape(len(x), -1).astype(np.float32)
