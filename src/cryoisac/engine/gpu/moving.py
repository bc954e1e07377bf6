"""Images laid on their references, as ``ops.warp`` and ``engine.moving`` define it."""

from collections.abc import Callable

import numpy as np
import torch

from cryoisac.engine.contract import Images, Indices
from cryoisac.engine.gpu.memory import Place, in_batches
from cryoisac.engine.gpu.sums import class_sums
from cryoisac.engine.gpu.transfer import sent
from cryoisac.ops.polar import Float
from cryoisac.ops.warp import NEAR_px, keys
from cryoisac.settings.transform import Outside

BESIDE = 1, 2  # pixels before and after a point that an interpolation takes
Between = Callable[[Callable[[int, int], torch.Tensor], torch.Tensor, torch.Tensor], torch.Tensor]
PIXEL_BYTES = 200  # what an output pixel takes while it is made: indices of 64 bits, weights, neighbours


def move(images: Images, placements: Float, method: str, outside: Outside, place: Place) -> Images:
    """Return images under their poses, moved on a device.

    Parameters
    ----------
    images : ndarray, shape (n, h, w), float32
        Images.
    placements : ndarray, shape (n, 5)
        As ``engine.moving.placements`` has them.
    method, outside
        As for ``warped``.
    place : Place
        The device.

    Returns
    -------
    ndarray, shape (n, h, w), float32
        Moved images.
    """
    moved = np.empty(images.shape, dtype=np.float32)

    def work(part: slice, following: slice) -> None:
        own = warped(sent(images[part], place.device), sent(placements[part], place.device), method, outside)
        moved[part] = own.cpu().numpy()

    in_batches(len(images), PIXEL_BYTES * images[0].size if len(images) else 1, work, place)
    return moved


def add(
    images: Images, placements: Float, labels: Indices, sums: Float, how: tuple[str, Outside], place: Place
) -> None:
    """Add images under their poses to the sums of their classes, in place.

    Parameters
    ----------
    images, placements, place
        As for ``move``.
    labels : ndarray, shape (n,), int64
        Class of each image, 0 to k - 1; images with -1 are left out.
    sums : ndarray, shape (k, h, w), float64
        What is added to.
    how : tuple
        Method, and rule for what lies outside.
    """

    def moved(rows: Indices, following: Indices) -> torch.Tensor:
        return warped(sent(images[rows], place.device), sent(placements[rows], place.device), *how).flatten(1)

    size = int(np.prod(images.shape[1:]))
    made = class_sums(labels, len(sums), size, moved, place, PIXEL_BYTES * size)
    sums += made.reshape(sums.shape)


def warped(
    images: torch.Tensor, placements: torch.Tensor, method: str = "quadratic", outside: Outside = "background"
) -> torch.Tensor:
    """Return images under their poses; see ``engine.moving.transform``.

    Parameters
    ----------
    images : Tensor, shape (n, h, w)
        Images.
    placements : Tensor, shape (n, 5), of the widest type
        Cosine and sine of the angle over the scale, x, y and mirror of each pose.
    method : {"quadratic", "linear", "cubic"}
        Interpolation.
    outside : {"background", "cyclic"} or float
        What a point outside its image takes: the image's pixel at the output position, the image repeated, or a value.

    Returns
    -------
    Tensor, shape (n, h, w), float32
        Moved images.
    """
    n, height, width = images.shape
    row, line = (torch.arange(size, device=images.device) for size in (height, width))
    flipped = (2 * (width // 2) - line) % width
    column = torch.where(placements[:, 4:5] != 0, flipped, line)  # of each output pixel before the mirror
    c, s, tx, ty, _ = placements.T[:, :, None, None]
    x = (column - width // 2)[:, None, :] - tx
    y = (row - height // 2)[None, :, None] - ty
    u, v = (x * c + width // 2) - y * s, x * s + (y * c + height // 2)
    flat = images.reshape(n, -1)
    moved = _interpolated(images, u, v, BETWEEN[method])
    if outside == "cyclic":
        return moved
    inside = (u >= -NEAR_px) & (u < width - NEAR_px) & (v >= -NEAR_px) & (v < height - NEAR_px)
    if outside == "background":
        still = (row[:, None] * width + column[:, None, :]).view(n, -1)
        return torch.where(inside, moved, torch.gather(flat, 1, still).view(n, height, width))
    return torch.where(inside, moved, float(outside))


def _interpolated(images: torch.Tensor, u: torch.Tensor, v: torch.Tensor, between: Between) -> torch.Tensor:
    """Return the values of images (n, h, w) at points (u, v); neighbours wrap around the box."""
    _, height, width = images.shape
    before, after = BESIDE
    down, right = (torch.arange(-before, n + after, device=images.device) % n for n in (height, width))
    flat, side = images[:, down[:, None], right].flatten(1), len(right)
    i, j = (u + NEAR_px).floor_(), (v + NEAR_px).floor_()
    dx, dy = (u - i).float(), (v - j).float()
    i, j = i.int().remainder_(width), j.int().remainder_(height)  # of 64 bits it takes a GPU far longer
    at = j.mul_(side).add_(i).long().flatten(1)

    def near(down: int, right: int) -> torch.Tensor:
        return torch.gather(flat[:, (before + down) * side + before + right :], 1, at).view(dx.shape)

    return between(near, dx, dy)


def _linear(near: Callable[[int, int], torch.Tensor], dx: torch.Tensor, dy: torch.Tensor) -> torch.Tensor:
    above, below = ((1 - dx) * near(down, 0) + dx * near(down, 1) for down in (0, 1))
    return (1 - dy) * above + dy * below


def _quadratic(near: Callable[[int, int], torch.Tensor], dx: torch.Tensor, dy: torch.Tensor) -> torch.Tensor:
    f0 = near(0, 0)
    right, up = near(0, 1), near(1, 0)
    c1, c3 = right - f0, up - f0
    c2, c4 = (c1 - f0 + near(0, -1)) / 2, (c3 - f0 + near(-1, 0)) / 2
    c5 = near(1, 1) - f0 - c1 - c3
    return f0 + dx * (c1 + (dx - 1) * c2 + dy * c5) + dy * (c3 + (dy - 1) * c4)


def _cubic(near: Callable[[int, int], torch.Tensor], dx: torch.Tensor, dy: torch.Tensor) -> torch.Tensor:
    across, down = keys(dx), keys(dy)
    result = torch.zeros_like(dx)
    for b, wy in enumerate(down, -1):
        line = torch.zeros_like(dx)
        for a, wx in enumerate(across, -1):
            line += wx * near(b, a)
        result += wy * line
    return result


BETWEEN: dict[str, Between] = {"linear": _linear, "quadratic": _quadratic, "cubic": _cubic}
