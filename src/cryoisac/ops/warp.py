"""Images laid on their references: rotate, shift, mirror."""

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from cryoisac.errors import DataError, SettingError
from cryoisac.model.poses import Poses

Float = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]

NEAR_px = 1e-9  # a point this little before a pixel counts as on it, so that rounding never decides
BLOCK_PIXELS = 1 << 16  # what is moved together stays in the processor's cache

Method = Literal["linear", "quadratic", "cubic"]
Outside = Literal["background", "cyclic", "zero"]


def rotate_shift(
    images: npt.ArrayLike, poses: Poses, *, method: Method = "quadratic", outside: Outside = "background"
) -> npt.NDArray[np.float32]:
    """Return images under their poses: out(x) = in(R(-a)(M^m x - t)).

    Parameters
    ----------
    images : array_like, shape (n, h, w)
        Images.
    poses : Poses
        ``n`` poses.
    method : {"quadratic", "linear", "cubic"}
        Interpolation: six-point quadratic, bilinear, or cubic convolution over sixteen points.
    outside : {"background", "cyclic", "zero"}
        What a point outside its image takes: the image's pixel at the output position, the image repeated, or 0.

    Returns
    -------
    ndarray, shape (n, h, w), float32
        Moved images.

    Raises
    ------
    DataError
        When images and poses do not pair up.
    SettingError
        When a method or rule is unknown.

    Notes
    -----
    As SPARX's ``rot_shift2D`` (quadratic or linear, background or cyclic); cubic: Keys (1981), a = -1/2. A mirrored
    image of even side keeps its column 0. Neighbours of inner points wrap around the box. The quadratic formula jumps
    slightly where a point passes a pixel; points within 1e-9 px of one count as on it.
    """
    pixels = np.asarray(images)
    if pixels.ndim != 3 or len(pixels) != len(poses):
        raise DataError("images", f"shape {pixels.shape} with {len(poses)} poses: need one pose for each image")
    if method not in _INTERPOLATE:
        raise SettingError("method", f"{method!r}: use one of {', '.join(_INTERPOLATE)}")
    if outside not in ("background", "cyclic", "zero"):
        raise SettingError("outside", f"{outside!r}: use background, cyclic or zero")
    result = np.empty(pixels.shape, dtype=np.float32)
    block = max(1, BLOCK_PIXELS // max(1, pixels[:1].size))
    for start in range(0, len(pixels), block):
        part = slice(start, start + block)
        result[part] = _warp_block(pixels[part].astype(np.float64), poses[part], method, outside)
    return result


def _warp_block(pixels: Float, poses: Poses, method: Method, outside: Outside) -> Float:
    _, h, w = pixels.shape
    x, y = _source_points(poses, h, w)
    inside = (x >= -NEAR_px) & (x < w - NEAR_px) & (y >= -NEAR_px) & (y < h - NEAR_px)
    if outside == "cyclic":
        moved = _INTERPOLATE[method](pixels, x, y)
    else:
        fill = pixels if outside == "background" else np.zeros_like(pixels)
        moved = np.where(inside, _INTERPOLATE[method](pixels, x, y), fill)
    moved[poses.mirror] = moved[poses.mirror][..., (2 * (w // 2) - np.arange(w)) % w]
    return moved


def _source_points(poses: Poses, h: int, w: int) -> tuple[Float, Float]:
    """Return where each output pixel, before the mirror, lies in its image, shape (n, h, w) each."""
    angle = np.deg2rad(poses.angle_deg)[:, None, None]
    c, s = np.cos(angle), np.sin(angle)
    shift: Float = np.fmod(poses.shift_px, (float(w), float(h)))  # the box repeats, as in the original
    x: Float = (np.arange(w) - w // 2)[None, None, :] - shift[:, 0, None, None]
    y: Float = (np.arange(h) - h // 2)[None, :, None] - shift[:, 1, None, None]
    return x * c - y * s + w // 2, x * s + y * c + h // 2


def _split(x: Float, n: int) -> tuple[Index, Float]:
    whole = np.floor(x + NEAR_px)
    return whole.astype(np.int64) % n, x - whole


class _Neighbours:
    """Pixels around the points (x, y) of images: ``near[b, a]`` lies b rows and a columns from each point's pixel."""

    def __init__(self, pixels: Float, i: Index, j: Index) -> None:
        padded = np.pad(pixels, ((0, 0), (1, 2), (1, 2)), mode="wrap")
        count, rows, self._columns = padded.shape
        self._flat = padded.ravel()
        first = (np.arange(count) * (rows * self._columns))[:, None, None]
        self._corner = first + j * self._columns + i  # of the pixel a row and a column before

    def __getitem__(self, step: tuple[int, int]) -> Float:
        start = (step[0] + 1) * self._columns + step[1] + 1
        pixels: Float = self._flat[start:].take(self._corner)
        return pixels


def _linear(pixels: Float, x: Float, y: Float) -> Float:
    (i, dx), (j, dy) = _split(x, pixels.shape[2]), _split(y, pixels.shape[1])
    near = _Neighbours(pixels, i, j)
    below = near[0, 0] * (1 - dx) + near[0, 1] * dx
    above = near[1, 0] * (1 - dx) + near[1, 1] * dx
    result: Float = below * (1 - dy) + above * dy
    return result


def _quadratic(pixels: Float, x: Float, y: Float) -> Float:
    (i, dx), (j, dy) = _split(x, pixels.shape[2]), _split(y, pixels.shape[1])
    near = _Neighbours(pixels, i, j)
    f0 = near[0, 0]
    c1 = near[0, 1] - f0
    c2 = (c1 - f0 + near[0, -1]) / 2
    c3 = near[1, 0] - f0
    c4 = (c3 - f0 + near[-1, 0]) / 2
    c5 = near[1, 1] - f0 - c1 - c3
    result: Float = f0 + dx * (c1 + (dx - 1) * c2 + dy * c5) + dy * (c3 + (dy - 1) * c4)
    return result


def _cubic(pixels: Float, x: Float, y: Float) -> Float:
    (i, dx), (j, dy) = _split(x, pixels.shape[2]), _split(y, pixels.shape[1])
    near = _Neighbours(pixels, i, j)
    result = np.zeros_like(pixels)
    for b, wy in enumerate(keys(dy)):
        line = sum(wx * near[b - 1, a - 1] for a, wx in enumerate(keys(dx)))
        result += wy * line
    return result


def keys(d: Any) -> tuple[Any, Any, Any, Any]:
    """Return the weights of the pixels at -1, 0, 1, 2 for fractions d, an array or a tensor: Keys (1981), a = -1/2."""
    return (
        ((2 - d) * d - 1) * d / 2,
        ((3 * d - 5) * d * d + 2) / 2,
        ((4 - 3 * d) * d + 1) * d / 2,
        (d - 1) * d * d / 2,
    )


_INTERPOLATE = {"linear": _linear, "quadratic": _quadratic, "cubic": _cubic}
