"""Small pieces of a page."""

from collections.abc import Iterable
from html import escape
from typing import Any


def section(heading: str, *parts: str) -> str:
    """Return parts under a heading."""
    return f"<section>\n<h2>{escape(heading)}</h2>\n" + "\n".join(p for p in parts if p) + "\n</section>"


def table(head: Iterable[str], rows: Iterable[str], *, kind: str = "") -> str:
    """Return a table; a column head that ends in ``#`` is one of numbers."""
    cells = "".join(
        f'<th scope="col" class="number">{h[:-1]}</th>' if h.endswith("#") else f'<th scope="col">{h}</th>'
        for h in head
    )
    return (
        f'<div class="scroll"><table class="{kind}"><thead><tr>{cells}</tr></thead>\n<tbody>\n'
        + "\n".join(rows)
        + "\n</tbody></table></div>"
    )


def percent(part: float, whole: float) -> str:
    """Return a share in percent, to a tenth."""
    return f"{100 * part / whole:.1f} %" if whole else "0 %"


def width(part: float, whole: float) -> str:
    """Return a share as a length in CSS."""
    return f"{100 * part / whole:.2f}%" if whole else "0%"


def shown(value: Any) -> str:
    """Return a value as a page shows it."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return escape(f"{value:g}" if isinstance(value, float) else f"{value}")
