"""Curves as drawings inside a page; their colours are those of the page, light or dark."""

import math
from collections.abc import Sequence
from html import escape

from cryoisac.report.charts import FLOOR, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Scale, nice_step

SPARK_WIDTH, SPARK_HEIGHT = 100, 26
DOTS_AT_MOST = 60  # points that are marked one by one


def curves(
    series: Sequence[tuple[str, Sequence[float | None]]],
    x: Sequence[float],
    *,
    axis: str,
    unit: str = "",
    top: float | None = None,
    mark: tuple[str, float] | None = None,
) -> str:
    """Return curves over common places as SVG.

    Parameters
    ----------
    series : sequence of (str, sequence)
        Name and values of each curve; None where there is none.
    x : sequence of float
        Places, rising.
    axis : str
        What x is.
    unit : str
        Unit of the values, behind each number.
    top : float, optional
        Where the upright axis ends; above the largest value by default.
    mark : (str, float), optional
        A name and a value at which to draw a level line.

    Returns
    -------
    str
        One ``svg`` element, with one title a point.
    """
    known = [v for _, values in series for v in values if v is not None]
    low, high = min([*known, 0.0]), max([*known, mark[1] if mark else 0.0, 1e-6]) if top is None else top
    step = nice_step(high - low, 4)
    across = Scale(x[0], max(x[-1], x[0] + 1e-9), LEFT, WIDTH - RIGHT)
    up = Scale(step * math.floor(low / step + 1e-9), step * math.ceil(high / step - 1e-9), FLOOR, TOP)
    label = f"{axis}: " + ", ".join(name for name, _ in series)
    parts = [f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(label)}">']
    parts += _level_lines(up, step, unit)
    parts += _places(across, x)
    if mark is not None:
        level, end = up(mark[1]), WIDTH - RIGHT
        parts.append(f'<path class="mark" d="M{LEFT} {level}H{end}"/>')
        parts.append(f'<text class="marked" x="{end}" y="{level}" dy="-4" text-anchor="end">{escape(mark[0])}</text>')
    for number, (name, values) in enumerate(series):
        parts += _curve(
            number, name, [(a, v) for a, v in zip(x, values, strict=True) if v is not None], across, up, unit
        )
    parts.append(f'<path class="axis" d="M{LEFT} {FLOOR}H{WIDTH - RIGHT}"/>')
    parts.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 8}" text-anchor="middle">{escape(axis)}</text>')
    return "".join(parts) + "</svg>"


def _curve(number: int, name: str, points: list[tuple[float, float]], across: Scale, up: Scale, unit: str) -> list[str]:
    if not points:
        return []
    path = "L".join(f"{across(a)} {up(v)}" for a, v in points)
    parts = [f'<path class="curve curve{number}" d="M{path}"/>']
    if len(points) <= DOTS_AT_MOST:
        parts += [
            f'<circle class="dot{number}" cx="{across(a)}" cy="{up(v)}" r="3"><title>'
            f"{escape(f'{a:g}: {v:.4g}{unit}' + (f', {name}' if name else ''))}</title></circle>"
            for a, v in points
        ]
    return parts


def _level_lines(up: Scale, step: float, unit: str) -> list[str]:
    parts = []
    for n in range(round(up.low / step), round(up.high / step) + 1):
        parts.append(f'<path class="grid" d="M{LEFT} {up(n * step)}H{WIDTH - RIGHT}"/>')
        parts.append(
            f'<text x="{LEFT - 6}" y="{up(n * step)}" dy=".35em" text-anchor="end">{n * step:,.6g}{escape(unit)}</text>'
        )
    return parts


def _places(across: Scale, x: Sequence[float]) -> list[str]:
    step = nice_step(x[-1] - x[0], 8, whole=all(float(v).is_integer() for v in x)) if len(x) > 1 else 1.0
    first, last = math.ceil(x[0] / step - 1e-9), math.floor(x[-1] / step + 1e-9)
    return [
        f'<text x="{across(n * step)}" y="{FLOOR + 16}" text-anchor="middle">{n * step:,.6g}</text>'
        for n in range(first, last + 1)
    ]


def spark(values: Sequence[float]) -> str:
    """Return values from 0 to 1 as a small curve without axes, for under a picture."""
    if len(values) < 2:
        return ""
    last = len(values) - 1
    points = " ".join(
        f"{SPARK_WIDTH * i / last:.1f},{1 + (SPARK_HEIGHT - 2) * (1 - min(max(v, 0.0), 1.0)):.1f}"
        for i, v in enumerate(values)
    )
    return (
        f'<svg class="spark" viewBox="0 0 {SPARK_WIDTH} {SPARK_HEIGHT}" preserveAspectRatio="none" aria-hidden="true">'
        f'<polyline points="{points}"/></svg>'
    )
