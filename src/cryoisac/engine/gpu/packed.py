"""Coefficients as the fused kernel reads them: tiles of images or of references, chunks of even and of odd orders.

A row of a chunk holds one ring, or radial coefficient, of each of its orders for all items of a tile, shape
(orders, 2, items): X+ or Y+ before X- or Y- (see ``layout``). A chunk has as many rows as the one of its orders that
has most rings; what is not there is zero.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch

from cryoisac.engine.gpu.layout import Folded


class Run(NamedTuple):
    """Consecutive orders of so many rings."""

    first: int
    last: int
    rings: int


@dataclass(frozen=True, eq=False)
class Chunks:
    """The rows of a spectrum's chunks.

    Parameters
    ----------
    runs : tuple of Run
        Its orders.
    source : Tensor, shape (rows * orders of a chunk,), int64
        Places among the coefficients of all runs, order after order, ring after ring; one place more holds a zero.
    starts : Tensor, shape (2 * stretches + 2,), int32
        Rows at which chunks begin, and the end: even and odd orders of a stretch in turn, at last the order of half the
        angles alone.
    coefficients, stretches : int
        Their numbers.
    """

    runs: tuple[Run, ...]
    source: torch.Tensor
    starts: torch.Tensor
    coefficients: int
    stretches: int


def chunks_of(folded: Folded, angles: int, longest: int, size: int) -> Chunks:
    """Return the chunks, of so many orders each, of a spectrum of some angles; see ``product.correlate``."""
    orders = angles // 2 + (angles == longest)
    blocks = [(b, up.shape[-1]) for b, up in zip(folded.blocks, folded.up, strict=True) if b.first < orders]
    runs = tuple(Run(b.first, min(b.last, orders), rings) for b, rings in blocks)
    return _chunks(runs, angles, size, folded.up[0].device)


@lru_cache(maxsize=64)
def _chunks(runs: tuple[Run, ...], angles: int, size: int, device: torch.device) -> Chunks:
    rings, begin, end = np.zeros(angles // 2 + 1, dtype=np.int64), np.zeros(angles // 2 + 1, dtype=np.int64), 0
    for first, last, depth in runs:
        rings[first:last] = depth
        begin[first:last] = end + depth * np.arange(last - first)
        end += depth * (last - first)
    own = np.arange(min(angles // 2, runs[-1].last))
    stretches = -(-len(own) // (2 * size))
    orders = np.full((2 * stretches + 1, size), -1)
    orders[own // (2 * size) * 2 + own % 2, own // 2 % size] = own
    orders[-1, 0] = angles // 2
    depths = np.where(orders >= 0, rings[orders], 0)
    rows = [
        np.where(ring < depth, begin[chunk] + ring, end)
        for chunk, depth in zip(orders, depths, strict=True)
        for ring in range(depth.max())
    ]
    source = torch.from_numpy(np.concatenate(rows)).to(device)
    starts = torch.from_numpy(np.cumsum([0, *depths.max(axis=1)]).astype(np.int32)).to(device)
    return Chunks(runs, source, starts, end, stretches)


def packed(chunks: Chunks, folded: Folded, groups: int, tile: int) -> torch.Tensor:
    """Return coefficients of images or references, group after group, as rows of chunks.

    Parameters
    ----------
    chunks : Chunks
        What belongs together.
    folded : Folded
        The coefficients; of images, ``up`` alone is read.
    groups, tile : int
        Groups g, and items of a tile; t tiles hold those of a group.

    Returns
    -------
    Tensor, shape (g, t, rows * orders of a chunk, 2, tile)
    """
    first = folded.up[0]
    items = first.shape[1] // groups
    shape = groups, -(-items // tile), chunks.coefficients + 1, 2, tile
    table = torch.zeros(shape, device=first.device)
    end = 0
    for i, (low, high, rings) in enumerate(chunks.runs):
        begin, end = end, end + (high - low) * rings
        own = table[:, :, begin:end].unflatten(2, (high - low, rings))
        up = folded.up[i][: high - low].unflatten(1, (groups, items))
        if first.dim() == 4:  # images
            _fill(own, up.transpose(3, 4))
        else:
            _fill(own[..., :1, :], up[..., None])
            skipped = int(low == 0)
            down = folded.down[i].flip(0)[: high - low - skipped].unflatten(1, (groups, items))
            _fill(own[:, :, skipped : skipped + len(down), :, 1:], down[..., None])
    return table.index_select(2, chunks.source)


def _fill(table: torch.Tensor, values: torch.Tensor) -> None:
    """Write values (orders, g, items, rings, s) to a table (g, tiles, orders, rings, s, tile), as far as there are."""
    tile, items = table.shape[-1], values.shape[2]
    whole = items // tile
    table[:, :whole] = values[:, :, : whole * tile].unflatten(2, (whole, tile)).permute(1, 2, 0, 4, 5, 3)
    table[:, whole:, ..., : items % tile] = values[:, :, None, whole * tile :].permute(1, 2, 0, 4, 5, 3)
