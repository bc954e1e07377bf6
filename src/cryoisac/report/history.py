"""How classes by likelihood came about: what the starts came to, which classes were split and merged."""

from collections.abc import Mapping
from typing import Any

from cryoisac.cluster.splitting import MERGE_MARGIN, SPLIT_MARGIN
from cryoisac.report.finished import FinishedRun
from cryoisac.report.markup import section, table

SHOWN_AT_ONCE = 12  # changes; more are folded away


def starts(run: FinishedRun) -> str:
    """Return what each random start came to, and which went on."""
    found = run.record.get("starts", ())
    if not found:
        return ""
    best = max(start["evidence"] for start in found)
    rows = []
    for start in found:
        behind = best - start["evidence"]
        fate = "went on" if behind == 0 else f"{behind:,.0f}"
        rows.append(
            f'<tr><th scope="row">{start["start"]}</th><td class="number">{start["classes"]:,}</td>'
            f'<td class="number">{fate}</td></tr>'
        )
    note = (
        "<p>Each start begins with other images drawn at random. The one whose classes explain the particles best goes "
        "on; the others tell how stable memberships are.</p>"
    )
    return section("Starts", note, table(("Start", "Classes#", "Evidence behind the best (natural units)#"), rows))


def changes(run: FinishedRun) -> str:
    """Return the splits and merges after the starts, with what separate averages gain, found and by chance."""
    if not run.by_likelihood:
        return ""
    found = run.record["changes"]
    splits = sum(change["kind"] == "split" for change in found)
    note = (
        "<p>A class is split where two averages in place of one gain more than "
        f"{SPLIT_MARGIN:g} times the log-likelihood that they gain by chance; two classes that gain less than "
        f"{MERGE_MARGIN:g} times are merged.</p>"
    )
    merges = len(found) - splits
    said = f"<p>Splits after the best start: {splits:,}; merges: {merges:,}.</p>"
    head = ("Change", "Members of one part#", "of the other#", "Gain (natural units)#", "By chance#", "Ratio#")
    drawn = table(head, [_change(change) for change in found]) if found else ""
    if len(found) > SHOWN_AT_ONCE:
        drawn = f"<details><summary>All changes, in their order</summary>{drawn}</details>"
    return section("Splits and merges", note, said, drawn)


def _change(change: Mapping[str, Any]) -> str:
    gain, expected = change["gain"], change["expected"]
    cells = (
        f"{change['first']:,}",
        f"{change['second']:,}",
        f"{gain:,.0f}",
        f"{expected:,.0f}",
        f"{gain / expected:.1f}",
    )
    numbers = "".join(f'<td class="number">{cell}</td>' for cell in cells)
    return f'<tr><th scope="row">{change["kind"]}</th>{numbers}</tr>'
