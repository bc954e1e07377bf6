"""Images on rings, bilinearly, as ``ops.polar`` defines it."""

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional

from cryoisac.engine.contract import Indices, Offsets
from cryoisac.engine.gpu.layout import Layout
from cryoisac.engine.gpu.memory import wide
from cryoisac.engine.gpu.transfer import sent
from cryoisac.ops.polar import CONSTANT

FAR_BOXES = 4  # sides beyond which it does not matter how far outside a centre lies


class Sampler:
    """Samples images on rings, and transforms the rings.

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
        self._layout, self._box, self._device = layout, box_px, device
        points = torch.from_numpy(layout.rings.points_px.astype(np.float32)).to(device)
        self._points = [p.T for p in layout.stretched(points.T)]
        area = layout.area / layout.area.sum(dtype=wide(device)).float()
        self._area = [a.T for a in layout.stretched(area[None])]

    def __call__(
        self, pixels: tuple[torch.Tensor, torch.Tensor], centres_px: Offsets, shifts_px: Offsets, *, normalise: bool
    ) -> list[torch.Tensor]:
        """Return the coefficients of rings around centres.

        Parameters
        ----------
        pixels : tuple of Tensor, shape (n, h, h) and (n,)
            Images, and the mean of each, which is taken off while pixels are added up.
        centres_px : ndarray, shape (n, 2)
            A centre (x, y) of each image from its first pixel.
        shifts_px : ndarray, shape (s, 2)
            How it is moved.
        normalise : bool
            Whether rings are brought to mean 0 and variance 1, as ``polar.standardise`` does.

        Returns
        -------
        list of Tensor, shape (n * s, rings, orders)
            Coefficients of each stretch of rings; see ``Layout.parts``.
        """
        images, means = pixels
        far = FAR_BOXES * self._box
        centred = (images - means[:, None, None])[:, None]
        whole = np.rint(shifts_px).astype(np.int64)
        if len(shifts_px) > 1 and (whole == shifts_px).all():
            samples = self._moved(centred, np.clip(centres_px, -far, far), whole)
        else:
            centres = np.clip(centres_px[:, None] + shifts_px, -far, far)
            samples = _read(centred, self._grids(centres, self._box, self._box))
        samples = [own.flatten(0, 1) for own in samples]
        mean = means.repeat_interleave(len(shifts_px))[:, None]
        if normalise:
            return self._layout.parts(self._standardised(samples, mean))
        parts = self._layout.parts(samples)
        for part, stretch in zip(parts, self._layout.stretches, strict=True):
            part[:, :, 0] += stretch.length * mean
        return parts

    def _grids(self, centres_px: Offsets, width: int, height: int) -> list[torch.Tensor]:
        """Return the places (n, s, samples, 2) of each stretch of rings around centres, in the unit of the library."""
        scale = 2.0 / np.maximum(np.array([width, height]) - 1, 1)  # -1 to 1 from edge to edge
        at = sent((centres_px * scale - 1.0).astype(np.float32), self._device)[:, :, None]
        on_edge = sent(scale.astype(np.float32), self._device)
        return [at + points * on_edge for points in self._points]

    def _moved(self, images: torch.Tensor, centres_px: Offsets, shifts_px: Indices) -> list[torch.Tensor]:
        """Return the samples around centres that are moved by whole pixels: moved images around the same centre.

        An image at several shifts along x is one image read from several pixels on: nothing is copied.
        """
        reach = np.abs(shifts_px).max(axis=0)
        x, y = (int(r) for r in reach)
        larger = torch.nn.functional.pad(images, (2 * x, 2 * x, 2 * y, 2 * y), mode="replicate")
        n, _, h, w = larger.shape
        height, width = h - 2 * y, w - 2 * x
        grids, samples = self._grids((centres_px + reach)[:, None], width, height), []
        for first, step, count in _runs(shifts_px):
            start = int(first[1] + y) * w + int(first[0] + x)
            moved = larger.as_strided((n, count, height, width), (h * w, step, w, 1), start)
            samples.append(_read(moved, grids))
        return [torch.cat(own, dim=1) for own in zip(*samples, strict=True)]

    def _standardised(self, samples: list[torch.Tensor], means: torch.Tensor) -> list[torch.Tensor]:
        mean = sum(own @ area for own, area in zip(samples, self._area, strict=True))
        samples = [own - mean for own in samples]
        variance = sum(own**2 @ area for own, area in zip(samples, self._area, strict=True))
        varies = variance > CONSTANT * ((mean + means) ** 2 + variance)
        scale = torch.where(varies, variance.rsqrt(), 0.0)
        return [own * scale for own in samples]


def _read(images: torch.Tensor, grids: list[torch.Tensor]) -> list[torch.Tensor]:
    """Return what images (n, c, h, w) are at places (n, s, samples, 2), shape (n, c s, samples) each."""
    read = [torch.nn.functional.grid_sample(images, at, padding_mode="border", align_corners=True) for at in grids]
    return [own.flatten(1, 2) for own in read]


def _runs(shifts_px: Indices) -> Iterator[tuple[Indices, int, int]]:
    """Yield the first shift, step and count of runs of shifts that rise along x in equal steps."""
    steps, start = np.diff(shifts_px, axis=0), 0
    while start < len(shifts_px):
        stop = start + 1
        if stop < len(shifts_px) and steps[start, 0] > 0 and steps[start, 1] == 0:
            while stop < len(shifts_px) and (steps[stop - 1] == steps[start]).all():
                stop += 1
        step = int(steps[start, 0]) if stop > start + 1 else 1
        yield shifts_px[start], step, stop - start
        start = stop
