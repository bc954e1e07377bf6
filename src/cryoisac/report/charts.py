"""Histograms as drawings inside a page; their colours are those of the page, light or dark."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
import numpy.typing as npt

Float = npt.NDArray[np.float64]

WIDTH, HEIGHT = 440, 230
LEFT, RIGHT, TOP, FLOOR = 52, 24, 14, 186
BINS = 6, 28  # at least and at most
FEWEST_WHOLE = 4  # edges


@dataclass(frozen=True, eq=False, kw_only=True)
class Bins:
    """Counted values.

    Parameters
    ----------
    edges : ndarray, shape (b + 1,)
        Edges of the bins.
    counts : ndarray, shape (series, b)
        Values of each series in each bin.
    whole : bool
        Whether the values are whole numbers.
    """

    edges: Float
    counts: npt.NDArray[np.int64]
    whole: bool = False


def nice_step(span: float, steps: int, *, whole: bool = False) -> float:
    """Return the least of 1, 2, 2.5, 5 times a power of ten that covers ``span`` in at most ``steps`` steps."""
    rough = max(span, 1e-9) / steps
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * m for m in (1, 2, 2.5, 5, 10, 20) if power * m >= rough * (1 - 1e-9))
    return max(1.0, float(math.ceil(step))) if whole else step


def count(
    series: Sequence[Float], *, whole: bool = False, limit: float | None = None, edge: float | None = None
) -> Bins:
    """Count finite values in bins whose edges are round numbers.

    Parameters
    ----------
    series : sequence of ndarray
        Values.
    whole : bool
        Whether values are whole numbers; bins are then centred on them.
    limit : float, optional
        Values above it are counted in the last bin.
    edge : float, optional
        A value > 0 that the bins reach from 0 and that is an edge, so that none holds values of both sides.

    Returns
    -------
    Bins
        The same bins for all series.
    """
    finite = [v[np.isfinite(v)] for v in series]
    if limit is not None:
        finite = [np.minimum(v, limit) for v in finite]
    every = np.concatenate([*finite, np.zeros(0)])
    low, high = (float(every.min()), float(every.max())) if len(every) else (0.0, 1.0)
    if limit is not None:
        high = limit
    if edge is not None:
        low, high = min(low, 0.0), max(high, edge)
    bins = int(np.clip(3 * np.cbrt(len(every)), *BINS))  # round steps leave about the 2 n^(1/3) bins of Rice's rule
    step = nice_step(high - low, bins, whole=whole) if high > low else (1.0 if whole else max(abs(low), 1.0) / 10)
    if edge is not None:
        step = edge / max(round(edge / step), 1)
    shift = 0.5 if whole else 0.0
    first = math.floor(low / step + 1e-9)
    last = math.floor(high / step) + 1 if whole else max(math.ceil(high / step - 1e-9), first + 1)
    edges = np.arange(first, last + 1, dtype=np.float64) * step - shift
    if whole and len(edges) < FEWEST_WHOLE:
        edges = np.concatenate((edges[:1] - step, edges, edges[-1:] + step))  # else one bar would fill the drawing
    top = np.nextafter(edges[-1], edges[0])
    counts = np.stack([np.histogram(np.clip(v, edges[0], top), edges)[0] for v in finite])
    return Bins(edges=edges, counts=counts, whole=whole)


@dataclass(frozen=True)
class Scale:
    """From values to places on the drawing, to a tenth of its unit."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Return the place of a value."""
        return round(self.start + (float(value) - self.low) / (self.high - self.low) * (self.end - self.start), 1)


def histogram(
    names: Sequence[str],
    bins: Bins,
    *,
    axis: str,
    of: str,
    mark: tuple[str, float] | None = None,
    open_end: bool = False,
) -> str:
    """Return a stacked histogram as SVG.

    Parameters
    ----------
    names : sequence of str
        Name of each series; the first is drawn at the bottom.
    bins : Bins
        Counted values.
    axis : str
        What is counted, with its unit.
    of : str
        What each count counts, such as "particles".
    mark : (str, float), optional
        A name and a value at which to draw an upright line.
    open_end : bool
        Whether the last bin holds all values beyond it too.

    Returns
    -------
    str
        One ``svg`` element, with one title a bar.
    """
    tallest = max(int(bins.counts.sum(axis=0).max()), 1)
    step = nice_step(tallest, 4, whole=True)
    x = Scale(float(bins.edges[0]), float(bins.edges[-1]), LEFT, WIDTH - RIGHT)
    y = Scale(0.0, step * math.ceil(tallest / step), FLOOR, TOP)
    label = f"Histogram: {escape(axis)}, {int(bins.counts.sum()):,} {escape(of)}"
    parts = [f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">']
    parts += _horizontal_lines(y, step)
    parts += _bars(names, bins, x, y, of=of, open_end=open_end)
    parts += _ticks(x, whole=bins.whole)
    if mark is not None and x.low <= mark[1] <= x.high:
        parts += _upright_line(x, *mark)
    parts.append(f'<path class="axis" d="M{LEFT} {FLOOR}H{WIDTH - RIGHT}"/>')
    below = escape(axis) + (
        f"; last bar: {x.high - (bins.edges[-1] - bins.edges[-2]):.4g} and more" if open_end else ""
    )
    parts.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 8}" text-anchor="middle">{below}</text>')
    return "".join(parts) + "</svg>"


def _horizontal_lines(y: Scale, step: float) -> list[str]:
    parts = []
    for tick in np.arange(0, y.high + step / 2, step).tolist():
        parts.append(f'<path class="grid" d="M{LEFT} {y(tick)}H{WIDTH - RIGHT}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y(tick)}" dy=".35em" text-anchor="end">{tick:,.0f}</text>')
    return parts


def _ticks(x: Scale, *, whole: bool) -> list[str]:
    step = nice_step(x.high - x.low, 6, whole=whole)
    first, last = math.ceil(x.low / step - 1e-9), math.floor(x.high / step + 1e-9)
    return [
        f'<text x="{x(n * step)}" y="{FLOOR + 16}" text-anchor="middle">{n * step:,.6g}</text>'
        for n in range(first, last + 1)
    ]


def _upright_line(x: Scale, name: str, value: float) -> list[str]:
    beside, gap = ("end", -5) if value > (x.low + 2 * x.high) / 3 else ("start", 5)
    return [
        f'<path class="mark" d="M{x(value)} {TOP}V{FLOOR}"/>',
        f'<text class="marked" x="{x(value)}" dx="{gap}" y="{TOP + 9}" text-anchor="{beside}">{escape(name)}</text>',
    ]


def _bars(names: Sequence[str], bins: Bins, x: Scale, y: Scale, *, of: str, open_end: bool) -> list[str]:
    """Return the bars, each with a title that says what it holds."""
    parts = []
    below = np.zeros(bins.counts.shape[1], dtype=np.int64)
    for series, name in enumerate(names):
        for b in np.flatnonzero(bins.counts[series]).tolist():
            low, high, held = float(bins.edges[b]), float(bins.edges[b + 1]), int(bins.counts[series, b])
            base, head = y(float(below[b])), y(float(below[b] + held))
            width = max(x(high) - x(low) - 1, 0.5)
            span = f"{low:.6g} and more" if open_end and b == len(below) - 1 else f"{low:.6g} to {high:.6g}"
            title = f"{span}: {held:,} {of}" + (f", {name}" if name else "")
            parts.append(
                f'<rect class="series{series}" x="{x(low) + 0.5:.1f}" y="{head}" width="{width:.1f}" '
                f'height="{base - head:.1f}"><title>{escape(title)}</title></rect>'
            )
        below += bins.counts[series]
    return parts
