"""The tables of a page, made of the files that ``bench_quality.py`` writes."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from quality_cases import CASES

BEGIN, END = "<!-- made by benchmarks/bench_quality.py --table: begin -->", "<!-- end -->"


@dataclass(frozen=True)
class Column:
    """One column: its heading, what it takes from a run (``None`` where there is nothing), and how it is written."""

    heading: str
    value: Callable[[dict[str, Any]], float | None]
    form: str


def _score(name: str) -> Callable[[dict[str, Any]], float | None]:
    return lambda run: run["score"][name] if "score" in run else None


def _part(number: str, whole: str) -> Callable[[dict[str, Any]], float | None]:
    return lambda run: run["score"][number] / run["score"][whole] if run["score"][whole] else None


def _of_classes(name: str) -> Callable[[dict[str, Any]], float | None]:
    return lambda run: run["classes"][name]


def _accounted(run: dict[str, Any]) -> float | None:
    if "score" in run:
        share: float | None = run["score"]["particles_accounted"]
        return share
    return float(run["classes"]["accounted"] / run["classes"]["images"])


def _junk(heading: str, name: str) -> tuple[Column, ...]:
    return (
        Column(f"{heading}: precision", _score(f"{name}_precision"), ".0%"),
        Column("recall", _score(f"{name}_recall"), ".0%"),
    )


ALWAYS = (
    Column("particles accounted", _accounted, ".1%"),
    Column("classes", _of_classes("number"), ".0f"),
    Column("as even as", _of_classes("effective"), ".1f"),
)
COSTS = (
    Column("CPU, s", lambda run: run["cpu_s"], ".0f"),
    Column("wall, s", lambda run: run["wall_s"], ".0f"),
)
COLUMNS: dict[str, tuple[Column, ...]] = {
    "views": (
        Column("views found", _score("views_found"), ".0f"),
        Column("held", _score("views_held"), ".0f"),
    ),
    "rare": (Column("rare view held", _part("rare_views_held", "rare_views"), ".0%"),),
    "ari": (Column("ARI, accounted", _score("ari"), ".3f"),),
    "ari_all": (Column("ARI, all", _score("ari_all"), ".3f"),),
    "purity": (Column("purity", _score("purity"), ".3f"),),
    "molecules": (Column("purity of molecules", _score("molecule_purity"), ".3f"),),
    "spread": (
        Column("spread", _score("spread_deg"), ".1f°"),
        Column("by chance", _score("random_spread_deg"), ".1f°"),
    ),
    "pixel": (Column("pixel error", _score("pixel_error"), ".2f px"),),
    "mirror": (Column("mirrors right", _score("mirror_agreement"), ".1%"),),
    "unaccounted_junk": _junk("junk unaccounted", "junk"),
    "named_junk": _junk("junk by name", "named_junk"),
    "junk_classes": _junk("classes of junk", "junk_classes"),
    "resolution": (Column("resolution", _of_classes("resolution_A"), ".1f Å"),),
    "resolution_40": (Column("of 40 members", _of_classes("resolution_40_A"), ".1f Å"),),
}


def write_tables(page: Path, files: list[dict[str, Any]]) -> None:
    """Put the tables of ``files`` between the markers of a page."""
    text = page.read_text(encoding="utf-8")
    before, found, rest = text.partition(BEGIN)
    _, ended, after = rest.partition(END)
    if not (found and ended):
        raise SystemExit(f"{page}: has no lines {BEGIN} and {END}")
    page.write_text(f"{before}{BEGIN}\n\n" + "\n".join(_lines(files)) + f"\n{END}{after}", encoding="utf-8")


def _lines(files: list[dict[str, Any]]) -> Iterator[str]:
    for file in files:
        machine = file["machine"]
        where = f"{machine['cores']} cores of {_article(machine)}"
        yield f"Measured on {file['date']} at commit {file['commit']}, on {where}, by"
        yield from ("", "```", file["command"], "```", "")
    methods = {name: words for file in files for name, words in file["methods"].items()}
    yield "| method | options of `cryoisac isac` |"
    yield "|---|---|"
    yield from (f"| {name} | {f'`{words}`' if words else 'none'} |" for name, words in methods.items())
    yield ""
    runs = [run for file in files for run in file["runs"]]
    for name in CASES:
        of_case = [run for run in runs if run["case"] == name]
        if of_case:
            yield from _section(name, of_case)


def _article(machine: dict[str, Any]) -> str:
    return f"{'an' if machine['processor'][:1] in 'AEIO' else 'a'} {machine['processor']}"


def _section(name: str, runs: list[dict[str, Any]]) -> Iterator[str]:
    case = CASES[name]
    columns = (*ALWAYS, *(c for key in case.columns for c in COLUMNS[key]), *COSTS)
    yield from (f"### {case.title}", "")
    simulated = f"`simulate {' '.join((*case.simulate, *case.densities))}`; " if case.simulate else ""
    yield from (f"`{name}`: {simulated}`isac {' '.join(case.isac)}`.", "")
    yield "| method | seeds | " + " | ".join(column.heading for column in columns) + " |"
    yield "|---" * (len(columns) + 2) + "|"
    for method in dict.fromkeys(run["method"] for run in runs):
        mine = [run for run in runs if run["method"] == method]
        cells = [cell([column.value(run) for run in mine], column.form) for column in columns]
        yield f"| {method} | {len(mine)} | " + " | ".join(cells) + " |"
    yield ""


def cell(values: list[float | None], form: str) -> str:
    """Return the median and, of several values that differ, the range; a dash for none."""
    known = [value for value in values if value is not None]
    if not known:
        return "–"
    form, _, unit = form.partition(" ") if " " in form else (form.rstrip("°"), "", "°" if form.endswith("°") else "")
    gap = " " if unit and unit != "°" else ""
    low, middle, high = (format(v, form) for v in (min(known), median(known), max(known)))
    spread = f" ({low}–{high})" if low != high else ""
    return f"{middle}{gap}{unit}{spread}"
