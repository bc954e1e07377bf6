"""Moments of references: which angular orders hold their energy, and how it goes together from ring to ring."""

from collections.abc import Callable, Iterator

import numpy as np
import torch

from cryoisac.engine.contract import Indices
from cryoisac.engine.gpu.layout import Layout
from cryoisac.engine.gpu.memory import wide
from cryoisac.engine.gpu.transfer import sent
from cryoisac.engine.radial import constant_of
from cryoisac.ops.polar import Float

TOGETHER = 256  # references, at some shifts each
MOST_SAMPLES = 1 << 24  # of them on rings: a GB while they are made
BLANK = 1e-6  # of the energy with its mean: a reference of less varies by rounding only


def over_references(count: int, samples: int, made: Callable[[Indices], Float]) -> Float:
    """Return the sum of what is made of some references, ``made(which)``, over all of them, each of so many samples."""
    few = max(1, min(TOGETHER, MOST_SAMPLES // samples))  # whatever the device, so that answers do not hang on it
    parts = (np.arange(first, min(first + few, count)) for first in range(0, count, few))
    total: Float = sum((made(which) for which in parts), np.zeros(1))
    return total


def order_energies(layout: Layout, parts: list[torch.Tensor], *, keep_mean: bool) -> Float:
    """Return the energy of each order of references, each of them of energy 1, shape (longest // 2 + 1,).

    Parameters
    ----------
    layout : Layout
        Their rings.
    parts : list of Tensor
        Weighted coefficients of references; see ``Layout.weighted``.
    keep_mean : bool
        Whether the mean of a reference does not count, as in ``radial_basis``.
    """
    energies = [(own.abs() ** 2).sum(dim=(0, 1)) for own in _level(layout, parts, keep_mean=keep_mean)]
    result: Float = torch.cat(energies).cpu().numpy().astype(np.float64)
    return result


def order_moments(layout: Layout, parts: list[torch.Tensor], *, keep_mean: bool) -> Float:
    """Return sums over references of products between rings, shape (longest // 2 + 1, r, r); see ``radial_basis``.

    Parameters
    ----------
    layout, parts, keep_mean
        As for ``order_energies``.
    """
    r = len(layout.rings.radii)
    result = np.zeros((layout.longest // 2 + 1, r, r))
    levelled = _level(layout, parts, keep_mean=keep_mean)
    for block, own in zip(layout.blocks, levelled, strict=True):
        rows = torch.view_as_real(own.permute(2, 1, 0)).flatten(2).to(wide(own.device))  # orders, r, 2 n
        first = r - own.shape[1]
        result[block.first : block.last, first:, first:] = (rows @ rows.transpose(1, 2)).cpu().numpy()
    return result


def _level(layout: Layout, parts: list[torch.Tensor], *, keep_mean: bool) -> Iterator[torch.Tensor]:
    """Yield coefficients (n, r, orders) of each block, whose squares are energy, 1 for each reference or 0.

    Those of order 0 are without their mean where that is kept.
    """
    blocks = [own / _root(layout, own) for _, own in layout.by_order(parts)]
    first = blocks[0][:, :, 0]
    level = (first.abs() ** 2).sum(dim=1) / 2
    if keep_mean:
        constant = sent(constant_of(layout.rings).astype(np.float32), first.device)
        first -= (first * constant).sum(dim=1, keepdim=True) * constant
    first *= np.sqrt(0.5)  # an order above 0 stands for its negative too
    energy = torch.stack([(own.abs() ** 2).sum(dim=(1, 2)) for own in blocks]).sum(dim=0)
    scale = torch.where(energy > BLANK * level, energy.rsqrt(), 0.0)
    for own in blocks:
        yield own * scale[:, None, None]


def _root(layout: Layout, own: torch.Tensor) -> torch.Tensor:
    """Return the square root of the weight of the rings of a block."""
    return sent(layout.root_weights[-own.shape[1] :], own.device)[:, None]
