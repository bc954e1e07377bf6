"""Images on rings, bilinearly, as ``ops.polar`` defines it."""

import numpy as np
import torch
import torch.nn.functional

from cryoisac.engine.contract import Offsets
from cryoisac.engine.gpu.layout import Layout
from cryoisac.engine.gpu.memory import wide
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
        self._scale = 2.0 / max(box_px - 1, 1)  # from pixels to the unit of the library: -1 to 1 from edge to edge
        points = torch.from_numpy((layout.rings.points_px * self._scale).astype(np.float32)).to(device)
        self._points = [p.T for p in layout.stretched(points.T)]
        area = layout.area / layout.area.sum(dtype=wide(device)).float()
        self._area = [a.T for a in layout.stretched(area[None])]

    def __call__(
        self, images: torch.Tensor, means: torch.Tensor, centres_px: Offsets, *, normalise: bool
    ) -> list[torch.Tensor]:
        """Return the coefficients of rings around centres.

        Parameters
        ----------
        images, means : Tensor, shape (n, h, h) and (n,)
            Images, and the mean of each, which is taken off while pixels are added up.
        centres_px : ndarray, shape (n, s, 2)
            Centres (x, y) from the first pixel, some for each image.
        normalise : bool
            Whether rings are brought to mean 0 and variance 1, as ``polar.standardise`` does.

        Returns
        -------
        list of Tensor, shape (n * s, rings, orders)
            Coefficients of each stretch of rings; see ``Layout.parts``.
        """
        n, s, _ = centres_px.shape
        far = FAR_BOXES * self._box
        centre = np.clip(centres_px, -far, far) * self._scale - 1.0
        at = torch.from_numpy(centre.astype(np.float32)).to(self._device)[:, :, None]
        centred = (images - means[:, None, None])[:, None]
        samples = []
        for points in self._points:
            own = torch.nn.functional.grid_sample(centred, at + points, padding_mode="border", align_corners=True)
            samples.append(own.view(n * s, -1))
        mean = means.repeat_interleave(s)[:, None]
        if normalise:
            return self._layout.parts(self._standardised(samples, mean))
        parts = self._layout.parts(samples)
        for part, stretch in zip(parts, self._layout.stretches, strict=True):
            part[:, :, 0] += stretch.length * mean
        return parts

    def _standardised(self, samples: list[torch.Tensor], means: torch.Tensor) -> list[torch.Tensor]:
        mean = sum(own @ area for own, area in zip(samples, self._area, strict=True))
        samples = [own - mean for own in samples]
        variance = sum(own**2 @ area for own, area in zip(samples, self._area, strict=True))
        varies = variance > CONSTANT * ((mean + means) ** 2 + variance)
        scale = torch.where(varies, variance.rsqrt(), 0.0)
        return [own * scale for own in samples]
