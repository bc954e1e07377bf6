"""How coefficients of rings lie on a device: orders in blocks that share their rings, ready for products of matrices.

With X+- = Re +- Im of an image's coefficient and Y+- of a weighted reference's, the spectrum z[k] = Y+ (X+ + i X-),
z[-k] = Y- (X- + i X+), summed over rings, has the straight correlation as the real part of its inverse transform and
the mirrored one as the imaginary part. *Up* is what z[k] needs, *down* what z[-k] needs, its orders falling, as the
transform wants them.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from cryoisac.ops.polar import Rings

COMPLEX_BYTES, REAL_BYTES = 8, 4


class Stretch(NamedTuple):
    """Consecutive rings of equal length."""

    length: int
    rings: int
    sample: int
    coefficient: int


class Block(NamedTuple):
    """Consecutive orders that the same rings have, those from a stretch on."""

    first: int
    last: int
    stretch: int


@dataclass(frozen=True, eq=False)
class Folded:
    """Coefficients of images (..., 2, r) or references (..., r), a tensor for each block of orders.

    Parameters
    ----------
    up, down : list of Tensor, shape (orders, n, ..., r)
        For the orders, rising, and for their negatives, in the same order of frequencies as a transform has them.
    """

    up: list[torch.Tensor]
    down: list[torch.Tensor]

    def take(self, index: torch.Tensor) -> "Folded":
        """Return those of some images or references."""
        return Folded([u[:, index] for u in self.up], [d[:, index] for d in self.down])


class Layout:
    """The coefficients of rings.

    Parameters
    ----------
    rings : Rings
        Rings, of lengths that do not fall.
    device : torch.device
        Where they lie.
    """

    def __init__(self, rings: Rings, device: torch.device) -> None:
        self.rings, self.longest = rings, rings.longest
        self.stretches = _stretches(rings)
        last = self.stretches[-1]
        self.samples = last.sample + last.rings * last.length
        self.coefficients = last.coefficient + last.rings * (last.length // 2 + 1)
        self.blocks = [
            Block(0 if g == 0 else self.stretches[g - 1].length // 2 + 1, s.length // 2 + 1, g)
            for g, s in enumerate(self.stretches)
        ]
        self._weights = torch.from_numpy(_reference_weights(rings, self.stretches)).to(device)
        self.area = torch.from_numpy(np.repeat(rings.sample_weights, rings.lengths).astype(np.float32)).to(device)

    def spectra(self, samples: torch.Tensor) -> torch.Tensor:
        """Return the coefficients of rings, ring after ring, (n, coefficients), of samples (n, at least samples)."""
        parts = []
        for s in self.stretches:
            own = samples[:, s.sample : s.sample + s.rings * s.length].reshape(-1, s.rings, s.length)
            parts.append(torch.fft.rfft(own).flatten(1))
        return torch.cat(parts, dim=1)

    def weighted(self, spectra: torch.Tensor) -> torch.Tensor:
        """Return coefficients of references with the weights that make correlations area integrals."""
        return spectra * self._weights

    def images(self, spectra: torch.Tensor) -> Folded:
        """Return coefficients (n, at least coefficients) of images, folded to (orders, n, 2, r)."""
        up, down = [], []
        for block, (plus, minus) in self._folded(spectra):
            up.append(torch.stack((plus, minus), dim=2))
            down.append(torch.stack((minus, plus), dim=2)[self._inner(block)].flip(0))
        return Folded(up, down)

    def references(self, spectra: torch.Tensor) -> Folded:
        """Return weighted coefficients (n, coefficients) of references, folded to (orders, n, r)."""
        up, down = [], []
        for block, (plus, minus) in self._folded(spectra):
            up.append(plus)
            down.append(minus[self._inner(block)].flip(0))
        return Folded(up, down)

    def order_energy(self, spectra: torch.Tensor) -> torch.Tensor:
        """Return the energy of each order of weighted coefficients (n, coefficients), shape (n, longest // 2 + 1)."""
        parts = []
        for block, (plus, minus) in self._folded(spectra):
            weights = torch.ones(block.last - block.first, 1, device=spectra.device)
            weights[0] = 0.5 if block.first == 0 else 1.0
            scale = torch.from_numpy(self._unweighted(block.stretch)).to(spectra.device)
            parts.append(weights * ((plus**2 + minus**2) * scale).sum(dim=-1))
        return torch.cat(parts).T

    def _unweighted(self, stretch: int) -> "np.ndarray[tuple[int], np.dtype[np.float32]]":
        """Return what turns squared weighted coefficients of rings into energy, an area integral."""
        first = sum(s.rings for s in self.stretches[:stretch])
        lengths, rings = np.array(self.rings.lengths[first:]), self.rings
        scale: np.ndarray[tuple[int], np.dtype[np.float32]] = (
            (rings.sample_weights[first:] / lengths) / rings.reference_weights[first:] ** 2
        ).astype(np.float32)
        return scale

    def _inner(self, block: Block) -> slice:
        """Return the orders of a block that have a negative."""
        last = block.last - block.first - (block.last - 1 == self.longest // 2)
        return slice(1 if block.first == 0 else 0, last)

    def _folded(self, spectra: torch.Tensor) -> "list[tuple[Block, tuple[torch.Tensor, torch.Tensor]]]":
        """Return sums and differences of real and imaginary parts, (orders, n, r), of each block."""
        result = []
        for block in self.blocks:
            parts = [self._ring(spectra, s)[:, :, block.first : block.last] for s in self.stretches[block.stretch :]]
            own = torch.cat(parts, dim=1).permute(2, 0, 1)
            result.append((block, ((own.real + own.imag).contiguous(), (own.real - own.imag).contiguous())))
        return result

    @staticmethod
    def _ring(spectra: torch.Tensor, s: Stretch) -> torch.Tensor:
        orders = s.length // 2 + 1
        return spectra[:, s.coefficient : s.coefficient + s.rings * orders].reshape(-1, s.rings, orders)


def _stretches(rings: Rings) -> list[Stretch]:
    stretches: list[Stretch] = []
    sample = coefficient = 0
    for length in sorted(set(rings.lengths)):
        count = rings.lengths.count(length)
        stretches.append(Stretch(length, count, sample, coefficient))
        sample, coefficient = sample + count * length, coefficient + count * (length // 2 + 1)
    return stretches


def _reference_weights(rings: Rings, stretches: list[Stretch]) -> "np.ndarray[tuple[int], np.dtype[np.float32]]":
    """Return the weight of each coefficient of a reference: ``polar.weigh``, and the transform's 1 / longest."""
    parts, ring = [], 0
    for s in stretches:
        own = np.repeat(rings.reference_weights[ring : ring + s.rings, None], s.length // 2 + 1, axis=1)
        if s.length < rings.longest:
            own[:, -1] *= 0.5
        parts.append(own.ravel() / rings.longest)
        ring += s.rings
    weights: np.ndarray[tuple[int], np.dtype[np.float32]] = np.concatenate(parts).astype(np.float32)
    return weights
