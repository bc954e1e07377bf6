"""Resolution curves as a drawing inside a page; its colours are those of the page, light or dark."""

import math
from collections.abc import Sequence
from html import escape

import numpy as np
import numpy.typing as npt

from cryoisac.report.charts import FLOOR, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Scale, nice_step

Float = npt.NDArray[np.float64]
LOWEST, HIGHEST = -0.2, 1.0
TICKS = (0.0, 0.25, 0.5, 0.75, 1.0)
MOST_DRAWN = 60  # faint lines, evenly chosen; more would be one gray patch


def resolution_curves(
    numbers: Sequence[int], frequency: Float, curves: Float, *, unit: str, threshold: float, lengths: bool
) -> str:
    """Return Fourier ring correlations over frequency as SVG, the median of all as a strong line.

    Parameters
    ----------
    numbers : sequence of int
        Class of each curve.
    frequency : ndarray, shape (r,)
        Frequencies.
    curves : ndarray, shape (k, r)
        Correlations; those that are not known, NaN, are left out.
    unit : str
        Unit of the frequencies, as they are shown.
    threshold : float
        Correlation at which to draw a line across.
    lengths : bool
        Whether 1 / frequency is a length in Å, to be named under the axis.

    Returns
    -------
    str
        One ``svg`` element.
    """
    known = np.flatnonzero(np.isfinite(curves).all(axis=1))
    x = Scale(0.0, float(frequency[-1]), LEFT, WIDTH - RIGHT)
    y = Scale(LOWEST, HIGHEST, FLOOR, TOP)
    label = f"Fourier ring correlation of {len(known)} classes over frequency"
    parts = [f'<svg class="chart curves" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">']
    for tick in TICKS:
        parts.append(f'<path class="grid" d="M{LEFT} {y(tick)}H{WIDTH - RIGHT}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y(tick)}" dy=".35em" text-anchor="end">{tick:g}</text>')
    parts += _under(x, lengths=lengths)
    drawn = known[np.unique(np.linspace(0, max(len(known) - 1, 0), min(len(known), MOST_DRAWN)).astype(np.int64))]
    for c in drawn.tolist():
        parts.append(
            f'<path class="line" d="{_path(x, y, frequency, curves[c])}"><title>Class {numbers[c]}</title></path>'
        )
    if len(known) > 1:
        middle = _path(x, y, frequency, np.median(curves[known], axis=0))
        parts.append(f'<path class="median" d="{middle}"><title>Median of all classes</title></path>')
    parts.append(f'<path class="mark" d="M{LEFT} {y(threshold)}H{WIDTH - RIGHT}"/>')
    parts.append(
        f'<text class="marked" x="{WIDTH - RIGHT}" y="{y(threshold) - 4}" text-anchor="end">{threshold:g}</text>'
    )
    parts.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 8}" text-anchor="middle">{escape(unit)}</text>')
    return "".join(parts) + "</svg>"


def _under(x: Scale, *, lengths: bool) -> list[str]:
    step = nice_step(x.high, 6)
    parts = []
    for n in range(math.floor(x.high / step + 1e-9) + 1):
        name = f"{1 / (n * step):.3g} Å" if lengths and n else f"{n * step:.4g}"
        parts.append(
            f'<text x="{x(n * step)}" y="{FLOOR + 16}" text-anchor="middle">{"" if lengths and not n else name}</text>'
        )
    return parts


def _path(x: Scale, y: Scale, frequency: Float, curve: Float) -> str:
    points = zip(frequency[1:].tolist(), np.clip(curve[1:], LOWEST, HIGHEST).tolist(), strict=True)
    return "M" + "L".join(f"{x(f)} {y(v)}" for f, v in points)
