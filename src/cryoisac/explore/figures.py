"""Drawings of the exploration: class sizes, centres, spectra, points in the plane."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cryoisac.report.charts import FLOOR, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Scale, nice_step

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]

PLANE, MARGIN = 600, 16  # side of the plane of points, and what stays free around them
SQUARE, ACROSS, MARGINAL = 300, 19, 52  # side of the drawing of centres, its hexagons, height of its margins
SHADES = 5


def class_sizes(number: Int, sizes: Int, colours: Sequence[str]) -> str:
    """Return a bar for each class, in its colour."""
    step = nice_step(float(sizes.max()), 4, whole=True)
    y = Scale(0.0, step * math.ceil(sizes.max() / step), FLOOR, TOP)
    parts = [_open(f"Bars: members of {len(sizes):,} classes"), *_levels(y, step, "{:,.0f}")]
    wide = (WIDTH - LEFT - RIGHT) / len(sizes)
    gap = min(0.2 * wide, 4.0)
    for c, (name, size, colour) in enumerate(zip(number.tolist(), sizes.tolist(), colours, strict=True)):
        parts.append(
            f'<rect x="{LEFT + c * wide + gap / 2:.2f}" y="{y(size)}" width="{min(wide - gap, 48):.2f}" '
            f'height="{FLOOR - y(size):.1f}" style="fill:{colour}"><title>class {name}: {size:,} members</title></rect>'
        )
    every = max(1, math.ceil(len(sizes) / 12))
    for c in range(0, len(sizes), every):
        middle = LEFT + c * wide + gap / 2 + min(wide - gap, 48) / 2
        parts.append(f'<text x="{middle:.1f}" y="{FLOOR + 16}" text-anchor="middle">{number[c]}</text>')
    return "".join(parts) + _below("class") + "</svg>"


def spectrum(series: Sequence[tuple[str, Float]]) -> str:
    """Return the share of variance along each component, one line a series of name and shares."""
    most = max(len(shares) for _, shares in series)
    top = max(float(shares.max(initial=0)) for _, shares in series)
    step = nice_step(100 * max(top, 1e-9), 4)
    x = Scale(1.0, max(most, 2), LEFT + 6, WIDTH - RIGHT)
    y = Scale(0.0, step * max(math.ceil(100 * top / step), 1), FLOOR, TOP)
    parts = [_open(f"Lines: share of variance along {most} components"), *_levels(y, step, "{:g} %")]
    for place, (name, shares) in enumerate(series):
        at = [(x(1 + i), y(100 * v)) for i, v in enumerate(shares.tolist())]
        line = " ".join(f"{a},{b}" for a, b in at)
        parts.append(f'<polyline class="line{place}" points="{line}"/>')
        parts += [
            f'<circle class="series{place}" cx="{a}" cy="{b}" r="2.6"><title>component {i}, {name}: {100 * v:.2f} %'
            "</title></circle>"
            for i, ((a, b), v) in enumerate(zip(at, shares.tolist(), strict=True), 1)
        ]
    tick = nice_step(most, 6, whole=True)
    for n in sorted({1, *np.arange(tick, most + 1, tick).astype(int).tolist()}):
        parts.append(f'<text x="{x(n)}" y="{FLOOR + 16}" text-anchor="middle">{n}</text>')
    return "".join(parts) + _below("component") + "</svg>"


def centres(offset_px: Float) -> str:
    """Return where the particles' centres lie in their images: hexagons by their number, and both margins.

    Parameters
    ----------
    offset_px : ndarray, shape (n, 2)
        Centres (x, y) relative to the centres of the images, in pixels.
    """
    far = float(np.quantile(np.abs(offset_px), 0.995))
    step = nice_step(2 * max(far, 0.5), 6)
    reach = step * math.ceil(max(far, 0.5) / step)
    inside = offset_px[(np.abs(offset_px) <= reach).all(axis=1)]
    whole = SQUARE + MARGINAL
    x, y = Scale(-reach, reach, LEFT, LEFT + SQUARE), Scale(-reach, reach, MARGINAL, MARGINAL + SQUARE)
    label = f"Centres of {len(offset_px):,} particles, in pixels from the centres of their images"
    parts = [
        f'<svg class="chart" viewBox="0 0 {LEFT + whole + 8} {whole + 44}" role="img" aria-label="{label}">',
        f'<path class="grid" d="M{x(0)} {MARGINAL}V{whole}M{LEFT} {y(0)}H{LEFT + SQUARE}"/>',
        *_hexagons(inside, reach, x, y),
        *_margins(inside, reach, x, y),
        f'<path class="axis" fill="none" d="M{LEFT} {MARGINAL}H{LEFT + SQUARE}V{whole}H{LEFT}Z"/>',
    ]
    for n in range(-round(reach / step), round(reach / step) + 1):
        value = f"{n * step:g}"
        parts.append(f'<text x="{x(n * step)}" y="{whole + 16}" text-anchor="middle">{value}</text>')
        parts.append(f'<text x="{LEFT - 6}" y="{y(n * step)}" dy=".35em" text-anchor="end">{value}</text>')
    left_out = len(offset_px) - len(inside)
    more = f"; {left_out:,} further out" if left_out else ""
    parts.append(f'<text x="{LEFT + SQUARE / 2}" y="{whole + 36}" text-anchor="middle">x and y (px){more}</text>')
    return "".join(parts) + "</svg>"


def hexagons(points: Float, reach: float, across: int = ACROSS) -> tuple[Float, Int]:
    """Return the centres, shape (c, 2), and counts, shape (c,), of the hexagons that hold points.

    Parameters
    ----------
    points : ndarray, shape (n, 2)
        Points (x, y) within ``reach`` of 0 along both.
    reach : float
        Half of the side of the square that is covered.
    across : int
        Hexagons along x.

    Notes
    -----
    Carr et al., J. Am. Stat. Assoc. 82 (1987) 424: a point belongs to the nearest site of two rectangular lattices.
    """
    wide = 2 * reach / across
    unit = np.array([wide, wide * math.sqrt(3)])
    first = np.rint(points / unit)
    second = np.floor(points / unit) + 0.5
    from_first, from_second = (((points - site * unit) ** 2).sum(axis=1) for site in (first, second))
    sites = np.where((from_first <= from_second)[:, None], first, second)
    found, counts = np.unique(sites, axis=0, return_counts=True)
    return found * unit, counts.astype(np.int64)


def _hexagons(points: Float, reach: float, x: Scale, y: Scale) -> list[str]:
    middles, counts = hexagons(points, reach)
    size = SQUARE / ACROSS / math.sqrt(3)
    corners = [(size * math.sin(a), size * math.cos(a)) for a in np.arange(6) * math.pi / 3]
    most = int(counts.max(initial=1))
    parts = []
    for (a, b), count in zip(middles.tolist(), counts.tolist(), strict=True):
        path = "L".join(f"{x(a) + dx:.1f} {y(b) + dy:.1f}" for dx, dy in corners)
        shade = math.ceil(SHADES * math.sqrt(count / most))
        title = f"about {a:.1f}, {b:.1f} px: {count:,} particles"
        parts.append(f'<path class="shade{shade}" d="M{path}Z"><title>{title}</title></path>')
    return parts


def _margins(points: Float, reach: float, x: Scale, y: Scale) -> list[str]:
    edges = np.linspace(-reach, reach, 2 * ACROSS + 1)
    parts = []
    for axis, scale in enumerate((x, y)):
        counts = np.histogram(points[:, axis], edges)[0]
        high = (MARGINAL - 8) * counts / max(int(counts.max(initial=1)), 1)
        wide = SQUARE / (2 * ACROSS) - 0.6
        for low, tall in zip(edges[:-1].tolist(), high.tolist(), strict=True):
            if tall > 0 and axis == 0:
                parts.append(
                    f'<rect class="series1" x="{scale(low)}" y="{MARGINAL - 3 - tall:.1f}" width="{wide:.1f}" '
                    f'height="{tall:.1f}"/>'
                )
            elif tall > 0:
                parts.append(
                    f'<rect class="series1" x="{LEFT + SQUARE + 3}" y="{scale(low)}" width="{tall:.1f}" '
                    f'height="{wide:.1f}"/>'
                )
    return parts


@dataclass(frozen=True)
class Plane:
    """From points to places on a square drawing, alike along both axes: left + scale x, top - scale y."""

    scale: float
    left: float
    top: float

    @staticmethod
    def of(points: Float) -> "Plane":
        """Return the plane that shows all points."""
        low, high = points.min(axis=0), points.max(axis=0)
        scale = (PLANE - 2 * MARGIN) / max(float((high - low).max()), 1e-9)
        middle = (low + high) / 2
        return Plane(scale, PLANE / 2 - scale * float(middle[0]), PLANE / 2 + scale * float(middle[1]))

    def __call__(self, points: Float) -> Float:
        """Return places, shape (m, 2), to a tenth."""
        x, y = self.left + self.scale * points[:, 0], self.top - self.scale * points[:, 1]
        places: Float = np.stack((x, y), axis=-1).round(1)
        return places


def dot_size(points: int) -> float:
    """Return the diameter of a dot, smaller where there are many."""
    return float(np.clip(150 / math.sqrt(max(points, 1)), 3.8, 9.0))


def scatter(name: str, points: Float, colourings: Sequence[tuple[str, Int, Sequence[str]]]) -> str:
    """Return points in the plane, once in each colouring, one path a label.

    Parameters
    ----------
    name : str
        What is shown, for those who do not see it.
    points : ndarray, shape (m, 2)
        Points.
    colourings : sequence of (str, ndarray of shape (m,), sequence of str)
        Name, label of each point from 0 or -1 for none, colour of each label.
    """
    plane = Plane.of(points)
    places = plane(points)
    parts = [
        f'<svg class="plane" viewBox="0 0 {PLANE} {PLANE}" role="img" aria-label="{name}" '
        f'data-scale="{plane.scale:.6g}" data-left="{plane.left:.6g}" data-top="{plane.top:.6g}" '
        f'style="--dot:{dot_size(len(points)):.1f}">'
    ]
    for kind, label, colour in colourings:
        parts.append(f'<g class="by-{kind}">')
        for value in np.unique(label).tolist():
            dots = "".join(f"M{a:g} {b:g}h0" for a, b in places[label == value].tolist())
            stroke = f' style="stroke:{colour[value]}"' if value >= 0 else ""
            parts.append(f'<path data-label="{value}"{stroke} d="{dots}"/>')
        parts.append("</g>")
    return "".join(parts) + "</svg>"


def _open(label: str) -> str:
    return f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">'


def _levels(y: Scale, step: float, form: str) -> list[str]:
    parts = []
    for tick in np.arange(0, y.high + step / 2, step).tolist():
        parts.append(f'<path class="grid" d="M{LEFT} {y(tick)}H{WIDTH - RIGHT}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y(tick)}" dy=".35em" text-anchor="end">{form.format(tick)}</text>')
    return parts


def _below(axis: str) -> str:
    return (
        f'<path class="axis" d="M{LEFT} {FLOOR}H{WIDTH - RIGHT}"/>'
        f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 8}" text-anchor="middle">{axis}</text>'
    )
