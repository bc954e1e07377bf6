"""How coefficients of rings lie on a device: orders in blocks that share their rings, ready for products of matrices.

With X+- = Re +- Im of an image's coefficient and Y+- of a weighted reference's, the spectrum z[k] = Y+ (X+ + i X-),
z[-k] = Y- (X- + i X+), summed over rings, has the straight correlation as the real part of its inverse transform and
the mirrored one as the imaginary part. *Up* is what z[k] needs, *down* what z[-k] needs, its orders falling, as the
transform wants them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
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
    blocks : list of Block
        The orders of each; those beyond the last are zero.
    up, down : list of Tensor, shape (orders, n, ..., r)
        For the orders, rising, and for their negatives, in the same order of frequencies as a transform has them. Of
        images, the latter may be left out, as they are the former conjugated and multiplied by i.
    """

    blocks: list[Block]
    up: list[torch.Tensor]
    down: list[torch.Tensor]

    def take(self, index: torch.Tensor | slice) -> "Folded":
        """Return those of some images or references."""
        return Folded(self.blocks, [u[:, index] for u in self.up], [d[:, index] for d in self.down])


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
        self._weights = [torch.from_numpy(w).to(device) for w in _reference_weights(rings, self.stretches)]
        self.root_weights = np.sqrt(rings.reference_weights / rings.longest).astype(np.float32)
        self.area = torch.from_numpy(np.repeat(rings.sample_weights, rings.lengths).astype(np.float32)).to(device)

    def parts(self, samples: list[torch.Tensor]) -> list[torch.Tensor]:
        """Return the coefficients (n, rings, orders) of each stretch, of its samples (n, rings * length)."""
        pairs = zip(samples, self.stretches, strict=True)
        return [torch.fft.rfft(own.reshape(-1, s.rings, s.length)) for own, s in pairs]

    def stretched(self, samples: torch.Tensor) -> list[torch.Tensor]:
        """Return samples (n, at least samples) as those of each stretch."""
        return [samples[:, s.sample : s.sample + s.rings * s.length] for s in self.stretches]

    def spectra(self, samples: torch.Tensor) -> torch.Tensor:
        """Return the coefficients of rings, ring after ring, (n, coefficients), of samples (n, at least samples)."""
        return torch.cat([part.flatten(1) for part in self.parts(self.stretched(samples))], dim=1)

    def split(self, spectra: torch.Tensor) -> list[torch.Tensor]:
        """Return coefficients (n, at least coefficients) as those of each stretch, (n, rings, orders)."""
        result = []
        for s in self.stretches:
            orders = s.length // 2 + 1
            own = spectra[:, s.coefficient : s.coefficient + s.rings * orders]
            result.append(own.reshape(-1, s.rings, orders))
        return result

    def weighted(self, parts: list[torch.Tensor]) -> list[torch.Tensor]:
        """Return coefficients of references with the weights that make correlations area integrals."""
        return [part * weight for part, weight in zip(parts, self._weights, strict=True)]

    def images(self, parts: list[torch.Tensor], *, both: bool) -> Folded:
        """Return coefficients of images, folded to (orders, n, 2, r); ``down`` only where both are wanted."""
        up = self._pairs(parts)
        down = [self.turned_over(*pair) for pair in zip(self.blocks, up, strict=True)] if both else []
        return Folded(self.blocks, up, down)

    def turned_over(self, block: Block, up: torch.Tensor) -> torch.Tensor:
        """Return ``down`` of images for the orders of a block, of its ``up``."""
        return up[self.inner(block)].flip(0, 2)

    def references(self, parts: list[torch.Tensor]) -> Folded:
        """Return weighted coefficients of references, folded to (orders, n, r)."""
        up, down = [], []
        for block, own in zip(self.blocks, self._pairs(parts), strict=True):
            plus, minus = own.unbind(dim=2)
            up.append(plus.contiguous())
            down.append(minus[self.inner(block)].flip(0))
        return Folded(self.blocks, up, down)

    def inner(self, block: Block) -> slice:
        """Return the orders of a block that have a negative."""
        last = block.last - block.first - (block.last - 1 == self.longest // 2)
        return slice(1 if block.first == 0 else 0, last)

    def by_order(self, parts: list[torch.Tensor]) -> Iterator[tuple[Block, torch.Tensor]]:
        """Yield each block and its coefficients, (n, r, orders)."""
        for block in self.blocks:
            yield block, torch.cat([part[:, :, block.first : block.last] for part in parts[block.stretch :]], dim=1)

    def _pairs(self, parts: list[torch.Tensor]) -> list[torch.Tensor]:
        """Return sums and differences of real and imaginary parts, (orders, n, 2, r), for each block."""
        n, device, result = len(parts[0]), parts[0].device, []
        for block in self.blocks:
            own = self.stretches[block.stretch :]
            orders, rings = block.last - block.first, sum(s.rings for s in own)
            pairs, first = torch.empty(orders, n, 2, rings, device=device), 0
            for part, stretch in zip(parts[block.stretch :], own, strict=True):
                source = part[:, :, block.first : block.last].permute(2, 0, 1)
                last = first + stretch.rings
                torch.add(source.real, source.imag, out=pairs[:, :, 0, first:last])
                torch.sub(source.real, source.imag, out=pairs[:, :, 1, first:last])
                first = last
            result.append(pairs)
        return result


def _stretches(rings: Rings) -> list[Stretch]:
    stretches: list[Stretch] = []
    sample = coefficient = 0
    for length in sorted(set(rings.lengths)):
        count = rings.lengths.count(length)
        stretches.append(Stretch(length, count, sample, coefficient))
        sample, coefficient = sample + count * length, coefficient + count * (length // 2 + 1)
    return stretches


def _reference_weights(rings: Rings, stretches: list[Stretch]) -> list[npt.NDArray[np.float32]]:
    """Return the weight of each coefficient of a reference: ``polar.weigh``, and the transform's 1 / longest."""
    parts, ring = [], 0
    for s in stretches:
        own = np.repeat(rings.reference_weights[ring : ring + s.rings, None], s.length // 2 + 1, axis=1)
        if s.length < rings.longest:
            own[:, -1] *= 0.5
        parts.append((own / rings.longest).astype(np.float32))
        ring += s.rings
    return parts
