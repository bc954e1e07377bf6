"""Stored rings under any poses: turned by their orders, moved by phases; their correlation's slopes, Newton steps.

A pose's angle a, mirror and shift d in the frame of the reference lay order k of a ring at e^{-i k b} X[k], X
conjugated and b = -a where mirrored; then the ring is moved by d.
"""

from dataclasses import dataclass

import numpy as np
import torch

from cryoisac.engine.gpu.layout import Layout
from cryoisac.engine.gpu.memory import wide
from cryoisac.engine.likelihood_reference import LONGEST_STEP_PX

THIRD_TURN = 2 * np.pi / 3


@dataclass(frozen=True, eq=False)
class Hills:
    """Correlations, slopes and bends in (b, dx, dy): bends as aa, ax, ay, xx, xy, yy."""

    value: torch.Tensor
    slope: torch.Tensor
    bend: torch.Tensor


class Turner:
    """Turns and moves rings.

    Parameters
    ----------
    layout : Layout
        The rings.
    box_px : int
        Side of the images.
    device : torch.device
        Where they are.
    """

    def __init__(self, layout: Layout, box_px: int, device: torch.device) -> None:
        self._layout, self._box, self.type = layout, box_px, wide(device)
        waves = 2 * np.pi / box_px * layout.rings.points_px.T
        self._waves = torch.from_numpy(waves.astype(np.float32)).to(device)  # (2, samples)
        self._orders = torch.arange(layout.longest // 2 + 1, device=device)
        slope = -1j * np.arange(layout.longest // 2 + 1)
        slopes = (slope**0, slope, slope * slope)  # a device's complex power takes logarithms, of 0 too
        self._slopes = [torch.from_numpy(own.astype(np.complex64)).to(device) for own in slopes]

    def moved(self, samples: torch.Tensor, shifts_px: torch.Tensor) -> torch.Tensor:
        """Return rings (n, samples) moved by each of some shifts (s, 2), shape (n, s, samples)."""
        alpha = self._turns(shifts_px)
        return torch.cos(alpha) * samples[:, None] - torch.sin(alpha) * self._opposite(samples)[:, None]

    def laid(self, spectra: torch.Tensor, placed: torch.Tensor) -> torch.Tensor:
        """Return the rings of images laid on their references, (n, samples).

        Parameters
        ----------
        spectra : Tensor, shape (n, coefficients), complex
            Coefficients of rings.
        placed : Tensor, shape (n, 4)
            b in radians, dx, dy, mirror, as above.
        """
        (turned,) = self._turned(spectra, placed, derivatives=0)
        cosine, sine = self._phases(placed)
        return cosine * turned - sine * self._opposite(turned)

    def hills(self, spectra: torch.Tensor, weighted: torch.Tensor, placed: torch.Tensor) -> Hills:
        """Return the correlations of images with references (n, samples), weighted by area, and their derivatives."""
        cosine, sine = self._phases(placed)
        opposite = self._opposite(weighted)
        even, odd = cosine * weighted + sine * opposite, cosine * opposite - sine * weighted  # moved back by d
        y = self._turned(spectra, placed, derivatives=2)
        straight, turned = odd * y[0], odd * y[1]
        x, z = self._waves
        own = even * y[0]
        parts = [own, even * y[1], even * y[2], own * (x * x), own * (x * z), own * (z * z)]
        value, first, second, xx, xz, zz = (part.sum(dim=1) for part in parts)
        slope = torch.stack((first, (straight * x).sum(dim=1), (straight * z).sum(dim=1)))
        bend = torch.stack((second, (turned * x).sum(dim=1), (turned * z).sum(dim=1), -xx, -xz, -zz))
        return Hills(value.to(self.type), slope.to(self.type), bend.to(self.type))

    def climbed(
        self, spectra: torch.Tensor, weighted: torch.Tensor, placed: torch.Tensor, steps: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return poses after some Newton steps, and the correlations there; a step that leads down is halved."""
        now = self.hills(spectra, weighted, placed)
        for _ in range(steps):
            trial = placed.clone()
            trial[:, :3] += newton_step(now, self._box / 2).T
            new = self.hills(spectra, weighted, trial)
            better = new.value > now.value
            placed = torch.where(better[:, None], trial, placed)
            now = Hills(
                torch.where(better, new.value, now.value),
                torch.where(better, new.slope, now.slope / 2),
                torch.where(better, new.bend, now.bend),
            )
        return placed, now.value

    def _phases(self, placed: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        alpha = self._turns(placed[:, 1:3].float())
        return torch.cos(alpha), torch.sin(alpha)

    def _turns(self, shifts_px: torch.Tensor) -> torch.Tensor:
        """Return the phases of shifts (n, 2), shape (n, samples): no product of matrices, which may be in tf32."""
        x, y = self._waves
        return shifts_px[:, :1] * x + shifts_px[:, 1:] * y

    def _opposite(self, samples: torch.Tensor) -> torch.Tensor:
        """Return rings turned by 180 degrees."""
        parts = [
            samples[:, s.sample : s.sample + s.rings * s.length].reshape(-1, s.rings, s.length).roll(s.length // 2, -1)
            for s in self._layout.stretches
        ]
        return torch.cat([part.flatten(1) for part in parts], dim=1)

    def _turned(self, spectra: torch.Tensor, placed: torch.Tensor, *, derivatives: int) -> list[torch.Tensor]:
        """Return rings turned and mirrored, and derivatives of these by the angle b."""
        angle = placed[:, :1] * self._orders
        factor = torch.complex(torch.cos(angle).float(), -torch.sin(angle).float())
        mirror = placed[:, 3, None, None] != 0
        powers = range(derivatives, -1, -1)
        result: list[list[torch.Tensor]] = [[] for _ in powers]
        for s in self._layout.stretches:
            orders = s.length // 2 + 1
            own = spectra[:, s.coefficient : s.coefficient + s.rings * orders].reshape(-1, s.rings, orders)
            laid = torch.where(mirror, own.conj(), own) * factor[:, None, :orders]
            for power in powers:
                own = laid * self._slopes[power][:orders] if power else laid
                own.imag[..., -1] = 0.0  # of the highest order, which cuFFT does not leave out at all lengths
                result[power].append(torch.fft.irfft(own, s.length).flatten(1))
        return [torch.cat(parts, dim=1) for parts in result]


def newton_step(hills: Hills, unit_px: float) -> torch.Tensor:
    """Return the steps (3, n) to the top of each quadratic; the formulas of ``likelihood_reference.newton_step``."""
    unit = torch.ones(3, dtype=hills.slope.dtype, device=hills.slope.device)
    unit[0] = 1 / unit_px  # without a copy from the host, which would wait for the device
    slope = -unit[:, None] * hills.slope
    first, second = torch.triu_indices(3, 3, device=unit.device)
    bend = (unit[first] * unit[second])[:, None] * hills.bend
    smallest, largest = _eigenvalues(bend)
    flat = torch.maximum(smallest.abs(), largest.abs())
    usable = flat > 0
    lowered = (largest + 1e-3 * flat).clamp(min=0)
    lowered = torch.where(usable, lowered, 1.0)  # any negative definite matrix, where there is none
    aa, ax, ay, xx, xy, yy = bend
    step = _solved((aa - lowered, ax, ay, xx - lowered, xy, yy - lowered), slope)
    length = step.norm(dim=0)
    shorter = (LONGEST_STEP_PX / length.clamp(min=1e-12)).clamp(max=1.0)
    return torch.where(usable, step * shorter * unit[:, None], 0.0)


def _eigenvalues(m: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the smallest and largest eigenvalue of matrices (aa, ax, ay, xx, xy, yy), trigonometrically."""
    aa, ax, ay, xx, xy, yy = m
    mean = (aa + xx + yy) / 3
    a, b, c = aa - mean, xx - mean, yy - mean
    spread = ((a * a + b * b + c * c + 2 * (ax * ax + ay * ay + xy * xy)) / 6).sqrt()
    determinant = a * (b * c - xy * xy) - ax * (ax * c - xy * ay) + ay * (ax * xy - b * ay)
    cosine = torch.where(spread > 0, determinant / (2 * spread**3), 1.0).clamp(-1, 1)
    third = torch.acos(cosine) / 3
    return mean + 2 * spread * torch.cos(third + THIRD_TURN), mean + 2 * spread * torch.cos(third)


def _solved(m: tuple[torch.Tensor, ...], right: torch.Tensor) -> torch.Tensor:
    """Return the solutions (3, n) of symmetric definite systems, by Cramer's rule."""
    aa, ax, ay, xx, xy, yy = m
    c0, c1, c2 = xx * yy - xy * xy, xy * ay - ax * yy, ax * xy - xx * ay
    d0, d1, d2 = aa * yy - ay * ay, ax * ay - aa * xy, aa * xx - ax * ax
    one = 1 / (aa * c0 + ax * c1 + ay * c2)
    x, y, z = right
    return one * torch.stack((c0 * x + c1 * y + c2 * z, c1 * x + d0 * y + d1 * z, c2 * x + d1 * y + d2 * z))
