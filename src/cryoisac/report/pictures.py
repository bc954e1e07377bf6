"""Images as pictures inside a page."""

import base64
import math
import struct
import zlib

import numpy as np
import numpy.typing as npt

SHEET_RATIO, TILE_PX, GAP_PX, WHITE = 1.6, 120, 4, 255
DARKEST_PERCENT, BRIGHTEST_PERCENT = 0.5, 99.7  # of the pixels; a few outliers must not flatten the rest


def to_gray(images: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """Return images stretched, each by itself, from black to white; a constant one is middle gray.

    Parameters
    ----------
    images : ndarray, shape (k, h, w)
        Images.

    Returns
    -------
    ndarray, shape (k, h, w), uint8
        Gray values.
    """
    if not len(images):
        return np.zeros(images.shape, dtype=np.uint8)
    low, high = np.percentile(images.astype(np.float64), (DARKEST_PERCENT, BRIGHTEST_PERCENT), axis=(1, 2))
    span = (high - low)[:, None, None]
    share = np.divide(images - low[:, None, None], span, out=np.full(images.shape, 0.5), where=span > 0)
    gray: npt.NDArray[np.uint8] = np.rint(255 * np.clip(share, 0, 1)).astype(np.uint8)
    return gray


def contact_sheet(images: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """Return one gray picture of all images, row by row, each stretched by itself; about 1.6 times as wide as high.

    Parameters
    ----------
    images : ndarray, shape (k, h, w)
        At least one image.
    """
    zoom = max(1, round(TILE_PX / max(images.shape[1:])))  # small images are hard to see
    images = images.repeat(zoom, axis=1).repeat(zoom, axis=2)
    k, h, w = images.shape
    columns = min(k, max(1, round(float(np.sqrt(SHEET_RATIO * k * h / w)))))
    rows = -(-k // columns)
    tiles = np.full((rows * columns, h + GAP_PX, w + GAP_PX), WHITE, dtype=np.uint8)
    tiles[:k, :h, :w] = to_gray(images)
    laid = tiles.reshape(rows, columns, h + GAP_PX, w + GAP_PX).swapaxes(1, 2)
    sheet: npt.NDArray[np.uint8] = np.pad(
        laid.reshape(rows * (h + GAP_PX), -1), ((GAP_PX, 0), (GAP_PX, 0)), constant_values=WHITE
    )
    return sheet


def png(gray: npt.NDArray[np.uint8], *, bits: int = 8) -> bytes:
    """Return one gray picture, shape (h, w), as a PNG file without any metadata, of 8 or 4 bits a pixel."""
    height, width = gray.shape
    packed = gray if bits == 8 else _nibbles(gray)
    rows = np.zeros((height, packed.shape[1] + 1), dtype=np.uint8)  # each row begins with its filter: 0, none
    rows[:, 1:] = packed
    header = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes(), 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, content) for name, content in chunks)


def _nibbles(gray: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return the 16 nearest grays, two in a byte, the left one in its upper half."""
    even = np.zeros((gray.shape[0], gray.shape[1] + gray.shape[1] % 2), dtype=np.uint8)
    even[:, : gray.shape[1]] = np.rint(gray / 17.0)
    packed: npt.NDArray[np.uint8] = np.bitwise_or(even[:, ::2] * 16, even[:, 1::2], dtype=np.uint8)
    return packed


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def data_uri(gray: npt.NDArray[np.uint8], *, bits: int = 8) -> str:
    """Return one gray picture, shape (h, w), as an address that holds the picture itself."""
    return "data:image/png;base64," + base64.b64encode(png(gray, bits=bits)).decode("ascii")


def tiled(pictures: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return pictures, shape (m, h, w), side by side in rows of ceil(sqrt(m)), as one; what is left over is black."""
    m, h, w = pictures.shape
    across = max(1, math.isqrt(max(m, 1) - 1) + 1)
    down = max(1, -(-m // across))
    sheet = np.zeros((down * across, h, w), dtype=np.uint8)
    sheet[:m] = pictures
    return sheet.reshape(down, across, h, w).transpose(0, 2, 1, 3).reshape(down * h, across * w)
