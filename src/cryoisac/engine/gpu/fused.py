"""The largest correlation over angles straight from coefficients, in one Triton kernel: no spectrum is written.

The spectrum z of a pair is a sum over rings (see ``layout``), made by chunks of orders and never kept. Its transform is
a product with cosines and sines. Sums E and differences O of orders k and -k have, at the angles a and -a, the
correlations P + Q and P - Q with P = sum cos(ka) E and Q = i sum sin(ka) O, so that P + |Q| is the larger one; even and
odd orders apart give those at 180 - a and 180 + a too. Thus a quarter of the angles and half of the orders are
multiplied, a quarter of the work of a plain product. Images and references may change places: O changes its sign, |Q|
does not.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
import triton
import triton.language as tl

from cryoisac.engine.gpu.layout import Folded
from cryoisac.engine.gpu.packed import chunks_of, packed

FEW, MANY = 4, 16  # items of a tile: of references or images, whichever are fewer, and of the others
FEWEST_ANGLES, MOST_ANGLES = 16, 64  # of a tile
DIVISOR = 8  # of the number of angles


class Shape(NamedTuple):
    """What a program of the kernel works on: tiles of angles, of orders and of items; its warps and registers."""

    angles: int
    tile: int
    orders: int
    few: int
    many: int
    warps: int
    registers: int

    @property
    def options(self) -> dict[str, int]:
        """Options of the compiler; that for AMD takes no number of registers."""
        registers = {"maxnreg": self.registers} if torch.version.hip is None else {}
        return {"num_warps": self.warps, "num_stages": 1, "enable_fp_fusion": True} | registers


def shape_of(angles: int, precision: str) -> Shape:
    """Return the shape of programs for so many angles, as large as registers hold without spilling."""
    tile = min(MOST_ANGLES, max(FEWEST_ANGLES, triton.next_power_of_2(angles // 4)))
    if precision == "ieee":
        orders, warps, registers = 16, 4 if tile == FEWEST_ANGLES else 8, 255
    else:
        orders, warps, registers = (32, 8, 255) if tile == MOST_ANGLES else (16, 8, 128)
    return Shape(angles, tile, orders, FEW, MANY, warps, registers)


def fits(angles: int, references: int, images: int) -> bool:
    """Return whether the kernel can be used at so many angles, and fills its tiles with those of a group."""
    return angles % DIVISOR == 0 and min(references, images) >= FEW


def largest(
    references: Folded,
    images: Folded,
    groups: int,
    angles: int,
    longest: int,
    precision: str,
    shape: Shape | None = None,
) -> torch.Tensor:
    """Return the largest of correlations over angles, straight and mirrored.

    Parameters
    ----------
    references, images : Folded
        Group after group, as many in each.
    groups, angles, longest : int
        Groups g, of c references and n images each; angles, see ``fits``; samples of the longest ring.
    precision : str
        Of products with waves: "ieee", float32; "tf32x3", nearly that, on matrix units; "tf32", with eleven bits of
        each factor. Those over rings are made in float32.
    shape : Shape, optional
        Of programs, instead of ``shape_of``.

    Returns
    -------
    Tensor, shape (1, g, c, n, 2)
        As if at one angle of ``product.correlate``.
    """
    shape = shape or shape_of(angles, precision)
    chunks = chunks_of(references, angles, longest, shape.orders)
    counts = references.up[0].shape[1] // groups, images.up[0].shape[1] // groups
    result = torch.empty(1, groups, *counts, 2, device=images.up[0].device)
    if not result.numel():
        return result
    sides, steps = (references, images), (2 * counts[1], 2)
    if counts[0] > counts[1]:
        sides, counts, steps = sides[::-1], counts[::-1], steps[::-1]
    few = packed(chunks, sides[0], groups, shape.few).transpose(3, 4).contiguous()
    many = packed(chunks, sides[1], groups, shape.many)
    launched = _largest[(few.shape[1] * many.shape[1] * groups,)]
    with torch.cuda.device_of(result):
        waves = _waves(shape, chunks.stretches, precision, result.device)
        # constants one by one: Triton 3.6 could not go through a tuple that is one as a whole
        lanes = tuple(map(tl.constexpr, range(shape.few)))
        sizes = *counts, *steps, few.shape[2], chunks.stretches
        half = chunks.runs[-1].last > angles // 2
        words = angles, shape.tile, shape.orders, lanes, shape.many, half, precision
        launched(few, many, chunks.starts, waves, result, *sizes, *words, **shape.options)
    return result


@lru_cache(maxsize=64)
def _waves(shape: Shape, stretches: int, precision: str, device: torch.device) -> torch.Tensor:
    """Return cosines and sines, shape (t, stretches, even and odd, cosines and sines, s, tile, orders).

    Angles are filled up to t whole tiles by the first one. At that, where sines are 0, those of odd orders stand for
    the last angle of the quarter, where they are signs. The s sets hold eleven bits, and for "tf32x3" the rest.
    """
    quarter = shape.angles // 4
    angle = np.arange(-(-quarter // shape.tile) * shape.tile)
    angle[quarter:] = 0
    order = np.arange(2 * shape.orders * stretches).reshape(stretches, shape.orders, 2).transpose(0, 2, 1)
    phase = 2 * np.pi / shape.angles * (angle[:, None, None, None] * order % shape.angles)
    waves = np.stack((np.cos(phase), np.sin(phase)), axis=3).astype(np.float32)  # angle, stretch, parity, kind, order
    waves[angle == 0, :, 1, 1] = np.sin(np.pi / 2 * (order[:, 1] % 4))
    waves = waves.reshape(-1, shape.tile, stretches, 2, 2, shape.orders).transpose(0, 2, 3, 4, 1, 5)
    if precision != "ieee":
        high = ((waves.copy().view(np.int32) + 0x1000) & -0x2000).view(np.float32)
        waves = np.stack((high, waves - high), axis=4)[:, :, :, :, : 2 if precision == "tf32x3" else 1]
    return torch.from_numpy(np.ascontiguousarray(waves)).to(device)


@triton.jit(do_not_specialize=["few_count", "many_count", "few_step", "many_step", "rows", "stretches"])
def _largest(  # noqa: PLR0913 (a kernel takes what it reads one by one)
    few,
    many,
    starts,
    waves,
    result,
    few_count,
    many_count,
    few_step,
    many_step,
    rows,
    stretches,
    ANGLES: tl.constexpr,
    TILE: tl.constexpr,
    ORDERS: tl.constexpr,
    LANES,
    MANY: tl.constexpr,
    HALF: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Find the largest values of a tile of pairs."""
    QUARTER: tl.constexpr = ANGLES // 4
    FEW: tl.constexpr = len(LANES)
    COLUMNS: tl.constexpr = 2 * FEW * MANY
    TABLE: tl.constexpr = TILE * ORDERS * (2 if PRECISION == "tf32x3" else 1)
    few_tiles, many_tiles = tl.cdiv(few_count, FEW), tl.cdiv(many_count, MANY)
    few_tile, many_tile = tl.program_id(0) % few_tiles, tl.program_id(0) // few_tiles
    group = many_tile // many_tiles
    left = few + (group * few_tiles + few_tile).to(tl.int64) * rows * (2 * FEW)
    right = many + many_tile.to(tl.int64) * rows * (2 * MANY)
    best = tl.full((COLUMNS,), float("-inf"), tl.float32)
    own = waves + tl.arange(0, TILE)[None, :] * ORDERS + tl.arange(0, ORDERS)[:, None]
    for first in range(0, QUARTER, TILE):
        even_p = tl.zeros((COLUMNS, TILE), tl.float32)
        odd_p = tl.zeros((COLUMNS, TILE), tl.float32)
        even_q = tl.zeros((COLUMNS, TILE), tl.float32)
        odd_q = tl.zeros((COLUMNS, TILE), tl.float32)
        side = tl.zeros((ORDERS, COLUMNS), tl.float32)
        for stretch in range(stretches):
            sums, differences = _spectrum(left, right, starts + 2 * stretch, LANES, ORDERS, MANY)
            side += sums * (1.0 - 2.0 * (tl.arange(0, ORDERS) % 2))[:, None]
            even_p = _multiplied(sums, own, even_p, PRECISION)
            even_q = _multiplied(differences, own + TABLE, even_q, PRECISION)
            sums, differences = _spectrum(left, right, starts + 2 * stretch + 1, LANES, ORDERS, MANY)
            odd_p = _multiplied(sums, own + 2 * TABLE, odd_p, PRECISION)
            odd_q = _multiplied(differences, own + 3 * TABLE, odd_q, PRECISION)
            own += 4 * TABLE
        side = tl.sum(side, axis=0)
        half = tl.zeros((COLUMNS,), tl.float32)
        if HALF:
            sums, differences = _spectrum(left, right, starts + 2 * stretches, LANES, ORDERS, MANY)
            half += tl.sum(sums, axis=0)
        angle = first + tl.arange(0, TILE)
        best = _larger(best, _greatest((even_p, even_q), (odd_p, odd_q), side, half, angle, QUARTER))
    column = tl.arange(0, COLUMNS)
    left_item, right_item = few_tile * FEW + column % FEW, many_tile % many_tiles * MANY + column // (2 * FEW)
    at = result + group.to(tl.int64) * few_count * many_count * 2 + column // FEW % 2
    at += left_item.to(tl.int64) * few_step + right_item.to(tl.int64) * many_step
    tl.store(at, best, mask=(left_item < few_count) & (right_item < many_count))


@triton.jit
def _spectrum(left, right, start, LANES, ORDERS: tl.constexpr, MANY: tl.constexpr):
    """Return sums E of z[k] and z[-k] and, real and imaginary parts exchanged, differences O, (orders, columns).

    Columns are items of the right tile, for each straight and mirrored, for each the items of the left tile.
    """
    FEW: tl.constexpr = len(LANES)
    order = tl.arange(0, ORDERS)[:, None]
    begin, end = tl.load(start), tl.load(start + 1)
    left += (begin * ORDERS + order[:, :, None]) * (2 * FEW) + tl.arange(0, 2)[None, None, :]
    right += (begin * ORDERS + order) * (2 * MANY) + tl.arange(0, MANY)[None, :]
    above_s = [tl.zeros((ORDERS, MANY), tl.float32) for i in LANES]
    above_m = [tl.zeros((ORDERS, MANY), tl.float32) for i in LANES]
    below_s = [tl.zeros((ORDERS, MANY), tl.float32) for i in LANES]
    below_m = [tl.zeros((ORDERS, MANY), tl.float32) for i in LANES]
    for _ in range(begin, end):
        plus, minus = tl.load(right), tl.load(right + MANY)
        own = [tl.split(tl.load(left + 2 * i)) for i in LANES]
        ups = [own[i][0] for i in LANES]
        downs = [own[i][1] for i in LANES]
        above_s = [above_s[i] + ups[i] * plus for i in LANES]
        above_m = [above_m[i] + ups[i] * minus for i in LANES]
        below_s = [below_s[i] + downs[i] * minus for i in LANES]
        below_m = [below_m[i] + downs[i] * plus for i in LANES]
        left += ORDERS * 2 * FEW
        right += ORDERS * 2 * MANY
    sums = [tl.join(above_s[i] + below_s[i], above_m[i] + below_m[i]) for i in LANES]
    differences = [tl.join(above_m[i] - below_m[i], above_s[i] - below_s[i]) for i in LANES]
    COLUMNS: tl.constexpr = 2 * FEW * MANY
    return tl.reshape(_joined(sums, LANES), (ORDERS, COLUMNS)), tl.reshape(
        _joined(differences, LANES), (ORDERS, COLUMNS)
    )


@triton.jit
def _multiplied(values, waves, total, PRECISION: tl.constexpr):
    """Return the product of values (orders, columns), turned, and waves (orders, angles) added to a total.

    Matrix units take eleven bits of each factor: the nearest ones, and for more of them what is left.
    """
    values, coarse = tl.trans(values), tl.load(waves)
    if PRECISION == "ieee":
        return tl.dot(values, coarse, total, input_precision="ieee")
    high = ((values.to(tl.int32, bitcast=True) + 0x1000) & -0x2000).to(tl.float32, bitcast=True)
    high = tl.where(values == values, high, values)  # else what is not a number may turn into one
    if PRECISION == "tf32x3":
        rest = tl.load(waves + total.shape[1] * values.shape[1])
        total = tl.dot(values - high, coarse, total, input_precision="tf32")
        total = tl.dot(high, rest, total, input_precision="tf32")
    return tl.dot(high, coarse, total, input_precision="tf32")


@triton.jit
def _greatest(even, odd, side, half, angle, QUARTER: tl.constexpr):
    """Return the largest of the values that P and Q of even and odd orders have at some angles, for each column."""
    edge = ((angle == 0) | (angle >= QUARTER))[None, :]
    even_p = even[0] + half[:, None] * tl.where(edge, 1.0, 1.0 - 2.0 * (angle % 2)[None, :])
    turned = tl.where(edge, 0.0, odd[1])
    near = even_p + odd[0] + tl.abs(even[1] + turned)
    far = even_p - odd[0] + tl.abs(even[1] - turned)
    last = (side + half * (1.0 - 2.0 * (QUARTER % 2)))[:, None] + tl.abs(odd[1])
    return tl.max(_larger(_larger(near, far), tl.where(edge, last, near)), axis=1)


@triton.jit
def _joined(parts, LANES):
    """Return parts, a power of two of them, next to each other along new dimensions."""
    if len(LANES) == 8:
        parts = [tl.join(parts[i], parts[i + 4]) for i in LANES[:4]]
    if len(LANES) >= 4:
        parts = [tl.join(parts[i], parts[i + 2]) for i in LANES[:2]]
    return tl.join(parts[0], parts[1])


@triton.jit
def _larger(a, b):
    """Return the larger one, or what is not a number."""
    return tl.maximum(a, b, propagate_nan=tl.PropagateNan.ALL)
