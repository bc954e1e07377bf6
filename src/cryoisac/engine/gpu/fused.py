"""The largest correlation over angles straight from its spectrum, in one Triton kernel: no correlation is written.

The transform is a product with cosines and sines. Sums E and differences O of orders k and -k have, at the angles a and
-a, the correlations P + Q and P - Q with P = sum cos(ka) E and Q = i sum sin(ka) O, so that P + |Q| is the larger one;
even and odd orders apart give those at 180 - a and 180 + a too. Thus a quarter of the angles and half of the orders are
multiplied, a quarter of the work of a plain product.
"""

from functools import lru_cache

import numpy as np
import torch
import triton
import triton.language as tl

COLUMNS, ORDERS = tl.constexpr(32), tl.constexpr(16)  # of the tiles of a program
FEWEST_ANGLES, MOST_ANGLES = 16, 64
DIVISOR = 8  # of the number of angles


def fits(angles: int) -> bool:
    """Return whether the kernel can be used at so many angles."""
    return angles % DIVISOR == 0


def largest(spectrum: torch.Tensor, precision: str) -> torch.Tensor:
    """Return the largest value over angles of the inverse transform of spectra, real and imaginary parts apart.

    Parameters
    ----------
    spectrum : Tensor, shape (a, ..., 2), float32
        Real and imaginary parts of all orders, as a transform has them; contiguous. For a see ``fits``.
    precision : str
        Of products: "ieee", float32; "tf32x3", nearly that, on matrix units; "tf32", with eleven bits of each factor.

    Returns
    -------
    Tensor, shape (1, ..., 2)
        max over i of sum over k of spectrum[k] exp(2 pi 1j i k / a).
    """
    angles = len(spectrum)
    result = torch.empty(1, *spectrum.shape[1:], device=spectrum.device)
    if result.numel():
        tile = min(MOST_ANGLES, max(FEWEST_ANGLES, triton.next_power_of_2(angles // 4)))
        launched = _largest[(triton.cdiv(result.numel(), COLUMNS.value),)]
        sizes = result.numel(), angles, tile, precision
        warps = max(4, tile // 8)  # with fewer, or loads ahead, the compiler runs out of registers
        with torch.cuda.device_of(spectrum):
            waves = _waves(angles, tile, spectrum.device)
            launched(spectrum, waves, result, *sizes, num_warps=warps, num_stages=1, enable_fp_fusion=True)
    return result


@lru_cache(maxsize=64)
def _waves(angles: int, tile: int, device: torch.device) -> torch.Tensor:
    """Return cosines of even and of odd orders, then sines, at a quarter of the angles, shape (4, angles, orders).

    Both are filled up to whole tiles: angles by the first one, orders by zeros.
    """
    quarter, step = angles // 4, ORDERS.value
    angle, order = np.arange(-(-quarter // tile) * tile), np.arange(-(-quarter // step) * step)
    angle[quarter:] = 0
    phases = [2 * np.pi / angles * (angle[:, None] * (2 * order + odd) % angles) for odd in (0, 1)]
    waves = np.stack([wave(phase) for wave in (np.cos, np.sin) for phase in phases])
    waves[:, :, quarter:] = 0
    return torch.from_numpy(waves.astype(np.float32)).to(device)


@triton.jit
def _largest(spectrum, waves, result, columns, ANGLES: tl.constexpr, TILE: tl.constexpr, PRECISION: tl.constexpr):
    """Find the largest values of a few columns, which are real and imaginary parts in turn."""
    QUARTER: tl.constexpr = ANGLES // 4
    LENGTH: tl.constexpr = (QUARTER + ORDERS - 1) // ORDERS * ORDERS
    TABLE: tl.constexpr = (QUARTER + TILE - 1) // TILE * TILE * LENGTH
    columns = columns.to(tl.int64)
    column = tl.program_id(0).to(tl.int64) * COLUMNS + tl.arange(0, COLUMNS)
    inside = column < columns
    nyquist = tl.load(spectrum + ANGLES // 2 * columns + column, mask=inside, other=0.0)
    best = tl.full((COLUMNS,), float("-inf"), tl.float32)
    for first in range(0, QUARTER, TILE):
        angle = first + tl.arange(0, TILE)
        sign = 1.0 - 2.0 * (tl.where(angle < QUARTER, angle, 0) % 2)
        even_p = sign[:, None] * nyquist[None, :]
        odd_p = tl.zeros((TILE, COLUMNS), tl.float32)
        even_q = tl.zeros((TILE, COLUMNS), tl.float32)
        odd_q = tl.zeros((TILE, COLUMNS), tl.float32)
        side_p = nyquist * (1.0 - 2.0 * (QUARTER % 2))  # at a quarter of the circle, where cosines and sines are signs
        side_q = tl.zeros((COLUMNS,), tl.float32)
        for start in range(0, QUARTER, ORDERS):
            order = start + tl.arange(0, ORDERS)
            flip = 1.0 - 2.0 * (order % 2)
            at = waves + angle[:, None] * LENGTH + order[None, :]
            known = (order < QUARTER)[:, None] & inside[None, :]
            above = tl.load(spectrum + (2 * order)[:, None] * columns + column[None, :], mask=known, other=0.0)
            known &= (order > 0)[:, None]
            below = tl.load(spectrum + (ANGLES - 2 * order)[:, None] * columns + column[None, :], mask=known, other=0.0)
            even_p = tl.dot(tl.load(at), above + below, even_p, input_precision=PRECISION)
            even_q = tl.dot(tl.load(at + 2 * TABLE), above - below, even_q, input_precision=PRECISION)
            side_p += tl.sum((above + below) * flip[:, None], axis=0)
            known = (order < QUARTER)[:, None] & inside[None, :]
            above = tl.load(spectrum + (2 * order + 1)[:, None] * columns + column[None, :], mask=known, other=0.0)
            below = tl.load(
                spectrum + (ANGLES - 2 * order - 1)[:, None] * columns + column[None, :], mask=known, other=0.0
            )
            odd_p = tl.dot(tl.load(at + TABLE), above + below, odd_p, input_precision=PRECISION)
            odd_q = tl.dot(tl.load(at + 3 * TABLE), above - below, odd_q, input_precision=PRECISION)
            side_q += tl.sum((above - below) * flip[:, None], axis=0)
        near = even_p + odd_p + _exchanged(tl.abs(even_q + odd_q), TILE)
        far = even_p - odd_p + _exchanged(tl.abs(even_q - odd_q), TILE)
        best = _larger(best, tl.max(_larger(near, far), axis=0))
        side = side_p[None, :] + _exchanged(tl.abs(side_q)[None, :], 1)
        best = _larger(best, tl.max(side, axis=0))
    tl.store(result + column, best, mask=inside)


@triton.jit
def _larger(a, b):
    """Return the larger one, or what is not a number."""
    return tl.maximum(a, b, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def _exchanged(values, ROWS: tl.constexpr):
    """Return values (rows, columns) with real and imaginary columns exchanged."""
    real, imaginary = tl.split(tl.reshape(values, (ROWS, COLUMNS // 2, 2)))
    return tl.interleave(imaginary, real)
