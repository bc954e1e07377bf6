"""References and images in a short radial basis, so that products run over few coefficients."""

import itertools

import numpy as np
import numpy.typing as npt
import torch

from cryoisac.engine.gpu.layout import Block, Folded, Layout
from cryoisac.engine.radial import RadialBasis

STEP = 8  # coefficients of an order are filled up to a multiple, so that many orders can be multiplied together


class Compression:
    """Brings folded coefficients into a radial basis: B' W^-1/2 (W Y) of references, B' W^1/2 X of images.

    Parameters
    ----------
    layout : Layout
        The rings, of weights W.
    basis : RadialBasis
        Functions B for each order.
    """

    def __init__(self, layout: Layout, basis: RadialBasis) -> None:
        self._layout, self.blocks = layout, _blocks(layout, basis)
        device = layout.area.device
        functions = [_functions(layout, basis, block) for block in self.blocks]
        roots = [layout.root_weights[-own.shape[1] :, None] for own in functions]
        pairs = list(zip(functions, roots, strict=True))
        self._of_references = [torch.from_numpy(own / root).to(device) for own, root in pairs]
        self._of_images = [torch.from_numpy(own * root).to(device) for own, root in pairs]

    @property
    def coefficients(self) -> int:
        """Coefficients of an image or reference, with those that are filled up."""
        return sum(own.shape[0] * own.shape[2] for own in self._of_images)

    def references(self, folded: Folded) -> Folded:
        """Return references in the basis."""
        up, down = [], []
        for block, own in zip(self.blocks, self._of_references, strict=True):
            first, inner = folded.blocks[block.stretch].first, self._layout.inner(block)
            up.append(torch.bmm(folded.up[block.stretch][block.first - first : block.last - first], own))
            rising = folded.down[block.stretch].flip(0)  # from the first order that has a negative
            begin = block.first + inner.start - max(first, 1)
            down.append(torch.bmm(rising[begin : begin + inner.stop - inner.start], own[inner]).flip(0))
        return Folded(self.blocks, up, down)

    def images(self, folded: Folded) -> Folded:
        """Return images in the basis; of ``folded``, ``down`` is not needed."""
        up, down = [], []
        for block, own in zip(self.blocks, self._of_images, strict=True):
            first = folded.blocks[block.stretch].first
            orders = folded.up[block.stretch][block.first - first : block.last - first]
            up.append(torch.bmm(orders.flatten(1, 2), own).unflatten(1, (-1, 2)))
            down.append(self._layout.turned_over(block, up[-1]))
        return Folded(self.blocks, up, down)


def _blocks(layout: Layout, basis: RadialBasis) -> list[Block]:
    """Return runs of orders, up to the highest of the basis, that share their rings and as many functions."""
    counts = np.zeros(int(basis.order[-1]) + 1, dtype=np.int64)
    counts[basis.order] = np.diff(basis.start)
    falling = np.maximum.accumulate(counts[::-1])[::-1]
    blocks = []
    for stretch, whole in enumerate(layout.blocks):
        own = -(-falling[whole.first : whole.last] // STEP)
        cuts = np.flatnonzero(np.diff(own)) + 1
        bounds = whole.first + np.concatenate(([0], cuts, [len(own)]))
        blocks += [Block(int(a), int(b), stretch) for a, b in itertools.pairwise(bounds) if a < b]
    return blocks


def _functions(layout: Layout, basis: RadialBasis, block: Block) -> npt.NDArray[np.float32]:
    """Return the functions of each order of a block, (orders, r, functions), filled up with zeros."""
    counts, rings = np.diff(basis.start), sum(s.rings for s in layout.stretches[block.stretch :])
    among = np.flatnonzero((block.first <= basis.order) & (basis.order < block.last))
    size = -(-int(counts[among].max(initial=1)) // STEP) * STEP
    functions = np.zeros((block.last - block.first, rings, size), dtype=np.float32)
    for i in among:
        own = basis.functions[basis.first[i] : basis.first[i] + counts[i] * rings].reshape(counts[i], rings)
        functions[basis.order[i] - block.first, :, : counts[i]] = own.T
    return functions
