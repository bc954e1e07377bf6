"""One page that says what a run came to: no other file and no network is needed to read it."""

from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from cryoisac.io.atomic import write_whole
from cryoisac.report import accounts, history, origin, sheet
from cryoisac.report.finished import FinishedRun, read_run


def write_report(run_dir: Path, record: dict[str, Any] | None = None) -> Path:
    """Write ``report.html`` into the directory of a finished run.

    Parameters
    ----------
    run_dir : Path
        Run directory with ``run.json``, ``ledger.csv`` and, where there are classes, ``class_averages.mrcs``.
    record : dict, optional
        What ``run.json`` will say, for a run that writes its record last; read from the file by default.

    Returns
    -------
    Path
        The page. The same run gives the same bytes: it holds no time and no place.

    Raises
    ------
    RunError
        When the run has not finished, or its files disagree.
    """
    page = Path(run_dir) / "report.html"
    text = render(read_run(Path(run_dir), record))
    write_whole(page, lambda temporary: temporary.write_text(text, encoding="utf-8", newline="\n"))
    return page


def render(run: FinishedRun) -> str:
    """Return the page of a finished run."""
    parts = (
        lambda run: origin.warnings(run.record),
        accounts.headline,
        sheet.averages,
        accounts.fates,
        accounts.generations,
        history.starts,
        history.changes,
        accounts.histograms,
        origin.files,
        origin.settings,
        origin.provenance,
    )
    name = escape(origin.input_name(run))
    return Template(asset("page.html")).substitute(
        title=f"{name} – class averages",
        heading=name,
        version=escape(run.record["version"]),
        summary=escape(_summary(run)),
        style=asset("page.css"),
        script=asset("page.js"),
        sections="\n".join(filter(None, (part(run) for part in parts))),
    )


def _summary(run: FinishedRun) -> str:
    counts, k = run.record["counts"], len(run.record["classes"])
    classes = f"class{'es' if k > 1 else ''}"
    if run.by_likelihood:
        if not k:
            return f"None of {counts['images']:,} particles is explained by a class."
        return f"{counts['accounted']:,} of {counts['images']:,} particles lie in {k:,} {classes}."
    generations = len(run.record["generations"])
    if not k:
        return f"None of {counts['images']:,} particles found a stable class in {generations} generations."
    return (
        f"{counts['accounted']:,} of {counts['images']:,} particles lie in {k:,} stable {classes}, "
        f"found in {generations} generation{'s' if generations > 1 else ''}."
    )


def asset(name: str) -> str:
    """Return a file of which a page is made."""
    return (files("cryoisac.report") / name).read_text(encoding="utf-8")
