"""Images on rings, bilinearly, and images laid on their references, as ``ops.polar`` and ``ops.warp`` define it."""

import numpy as np
import torch
import torch.nn.functional

from cryoisac.engine.contract import Offsets
from cryoisac.engine.gpu.layout import Layout
from cryoisac.engine.gpu.memory import wide
from cryoisac.ops.polar import CONSTANT
from cryoisac.ops.warp import NEAR_px

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


def warped(images: torch.Tensor, placements: torch.Tensor) -> torch.Tensor:
    """Return images under their poses, by quadratic interpolation, the image itself outside; see ``rotate_shift``.

    Parameters
    ----------
    images : Tensor, shape (n, h, h)
        Images.
    placements : Tensor, shape (n, 5), of the widest type
        Cosine and sine of the angle, x, y and mirror of each pose.

    Returns
    -------
    Tensor, shape (n, h, h), float32
        Moved images.
    """
    n, side, _ = images.shape
    half = side // 2
    line = torch.arange(side, device=images.device)
    flipped = (2 * half - line) % side
    column = torch.where(placements[:, 4:5] != 0, flipped, line)  # of each output pixel before the mirror
    c, s, tx, ty, _ = placements.T[:, :, None, None]
    x = (column - half)[:, None, :] - tx
    y = (line - half)[None, :, None] - ty
    u, v = x * c - y * s + half, x * s + y * c + half
    inside = (u >= -NEAR_px) & (u < side - NEAR_px) & (v >= -NEAR_px) & (v < side - NEAR_px)
    still = (line[:, None] * side + column[:, None, :]).view(n, -1)
    flat = images.reshape(n, -1)
    moved = _quadratic(flat, u, v, side)
    return torch.where(inside, moved, torch.gather(flat, 1, still).view(n, side, side))


def _quadratic(flat: torch.Tensor, u: torch.Tensor, v: torch.Tensor, side: int) -> torch.Tensor:
    i, j = torch.floor(u + NEAR_px), torch.floor(v + NEAR_px)
    dx, dy = (u - i).float(), (v - j).float()
    i, j = i.int(), j.int()  # a remainder of 64 bits takes a GPU far longer
    rows, columns = ([(k + by) % side for by in (0, 1, -1)] for k in (j, i))

    def near(row: int, column: int) -> torch.Tensor:
        at = (rows[row] * side + columns[column]).long()
        return torch.gather(flat, 1, at.view(len(flat), -1)).view(at.shape)

    f0 = near(0, 0)
    right, up = near(0, 1), near(1, 0)
    c1, c3 = right - f0, up - f0
    c2, c4 = (c1 - f0 + near(0, -1)) / 2, (c3 - f0 + near(-1, 0)) / 2
    c5 = near(1, 1) - f0 - c1 - c3
    return f0 + dx * (c1 + (dx - 1) * c2 + dy * c5) + dy * (c3 + (dy - 1) * c4)
