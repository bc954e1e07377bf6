"""What became of the particles, in numbers."""

from html import escape

import numpy as np

from cryoisac.model.ledger import AMBIGUOUS, REASONS
from cryoisac.report.charts import count, histogram
from cryoisac.report.finished import FinishedRun
from cryoisac.report.markup import percent, section, table, width

RIVALS = "<p>The column <code>rival</code> of <code>ledger.csv</code> names the second best class of each particle.</p>"
COLOURS = 6  # of reasons, in the style sheet
TAIL = 3.0  # pixel errors beyond this many thresholds share the last bin


def headline(run: FinishedRun) -> str:
    """Return particles, particles accounted, classes and the median pixel error."""
    counts, k = run.record["counts"], len(run.record["classes"])
    errors = run.pixel_error_px[(run.label >= 0) & np.isfinite(run.pixel_error_px)]
    size = run.pixel_size_A
    middle = float(np.median(errors)) if len(errors) else None
    per_class = f"{counts['accounted'] / k:,.0f} members each on average" if k else "none accepted"
    facts = (
        ("Particles", f"{counts['images']:,}", f"{run.record['input']['box_px']} px boxes"),
        (
            "Accounted for",
            percent(counts["accounted"], counts["images"]),
            f"{counts['accounted']:,} particles in classes",
        ),
        ("Classes", f"{k:,}", per_class),
        (
            "Median pixel error",
            "–" if middle is None else f"{middle:.2f} px",
            ("not known" if k else "no members")
            if middle is None
            else "of members" + ("" if size is None else f", {middle * size:.1f} Å"),
        ),
    )
    cells = "".join(f"<div><dt>{name}</dt><dd>{value}<small>{note}</small></dd></div>" for name, value, note in facts)
    return f'<dl class="headline">{cells}</dl>'


def fates(run: FinishedRun) -> str:
    """Return how many particles are in classes, and why the others are not."""
    counts = run.record["counts"]
    whole = counts["images"]
    reasons = {r: n for r, n in counts["by_reason"].items() if n and r}
    bar = f'<i style="width:{width(counts["accounted"], whole)}"></i>'
    rows = [_fate("", "in a class", counts["accounted"], whole)]
    for place, (reason, number) in enumerate(sorted(reasons.items(), key=lambda item: (-item[1], item[0]))):
        colour = f"reason{place % COLOURS}"
        bar += f'<i class="{colour}" style="width:{width(number, whole)}"></i>'
        rows.append(_fate(colour, REASONS.get(reason, reason.replace("_", " ")), number, whole))
    return section(
        "What became of the particles",
        f'<div class="bar tall" aria-hidden="true">{bar}</div>',
        table(("Particles", "Number#", "Share#"), rows),
        RIVALS if reasons.get(AMBIGUOUS) else "",
        f"<p>Why the run ended: {escape(run.record['stopped_because'])}</p>",
    )


def _fate(colour: str, words: str, number: int, whole: int) -> str:
    return (
        f'<tr><th scope="row"><span class="key {colour}"></span>{escape(words)}</th>'
        f'<td class="number">{number:,}</td><td class="number">{percent(number, whole)}</td></tr>'
    )


def generations(run: FinishedRun) -> str:
    """Return what each generation of the original method came to, and how the accounted particles grew."""
    if run.by_likelihood:
        return ""
    whole, sum_, rows = run.record["counts"]["images"], 0, []
    for g in run.record["generations"]:
        before, sum_ = sum_, sum_ + g["accounted"]
        growth = (
            f'<div class="bar" aria-hidden="true"><i style="width:{width(before, whole)}"></i>'
            f'<i style="width:{width(g["accounted"], whole)}"></i></div>'
        )
        rest = "".join(_number(g[name]) for name in ("classes", "accepted_classes", "stable", "rounds"))
        rows.append(
            f'<tr><th scope="row">{g["number"]}</th><td class="number">{g["main"]}.{g["generation"]}</td>'
            f"{_number(g['images'])}{_number(g['accounted'])}"
            f'<td class="number">{percent(sum_, whole)}</td><td class="share">{growth}</td>{rest}</tr>'
        )
    if not rows:
        return ""
    head = (
        "Generation",
        "Main iteration#",
        "Particles in#",
        "Newly accounted#",
        "Accounted so far#",
        "of all particles",
    )
    classes = ("Classes tried#", "Classes accepted#", "Stable particles#", "Rounds#")
    return section("Generations", table((*head, *classes), rows, kind="generations"))


def _number(value: int) -> str:
    return f'<td class="number">{value:,}</td>'


def histograms(run: FinishedRun) -> str:
    """Return histograms of class sizes, pixel errors and scores."""
    sizes = np.array([c["members"] for c in run.record["classes"]], dtype=np.float64)
    errors = np.array([c["pixel_error_px"] for c in run.record["classes"]], dtype=np.float64)
    figures = []
    if len(sizes):
        bins = count([sizes], whole=True)
        figures.append(_figure("Class sizes", histogram([""], bins, axis="members of a class", of="classes")))
    if np.isfinite(errors).any():
        bins = count([errors])
        figures.append(_figure("Pixel errors of classes", histogram([""], bins, axis="pixel error (px)", of="classes")))
    figures += [_of_particles_errors(run), _of_particles_scores(run), _of_particles_fellowship(run)]
    return section("Distributions", '<div class="charts">' + "\n".join(f for f in figures if f) + "</div>")


def _of_particles_errors(run: FinishedRun) -> str:
    limit = run.record["settings"].get("thld_err")
    member, known = run.label >= 0, np.isfinite(run.pixel_error_px)
    if not known.any():
        return ""
    series = [run.pixel_error_px[known & member], run.pixel_error_px[known & ~member]]
    beyond = limit is not None and float(run.pixel_error_px[known].max()) > TAIL * limit
    bins = count(series, limit=TAIL * limit if beyond and limit else None, edge=limit)
    mark = None if limit is None else (f"threshold {limit:g}", float(limit))
    drawn = histogram(
        ("in a class", "in none"), bins, axis="pixel error (px)", of="particles", mark=mark, open_end=beyond
    )
    return _figure("Pixel errors of particles", drawn, split=bool(len(series[1])))


def _of_particles_scores(run: FinishedRun) -> str:
    member, known = run.label >= 0, np.isfinite(run.score)
    if not known.any():
        return ""
    series = [run.score[known & member], run.score[known & ~member]]
    name, axis = "Scores", "correlation with the class (higher fits better)"
    if run.by_likelihood:
        name, axis = "Gains", "gain in log-likelihood over no particle (natural units)"
    drawn = histogram(("in a class", "in none"), count(series), axis=axis, of="particles")
    return _figure(f"{name} of particles", drawn, split=bool(len(series[1])))


def _of_particles_fellowship(run: FinishedRun) -> str:
    member, known = run.label >= 0, np.isfinite(run.fellowship)
    if not known.any():
        return ""
    series = [run.fellowship[known & member], run.fellowship[known & ~member]]
    axis = "share of its fellows that a particle keeps in other starts"
    drawn = histogram(("in a class", "in none"), count(series, edge=1.0), axis=axis, of="particles")
    return _figure("Membership stability", drawn, split=bool(len(series[1])))


def _figure(title: str, drawn: str, *, split: bool = False) -> str:
    key = '<span class="key series0"></span>in a class<span class="key series1"></span>in none' if split else ""
    caption = f"<figcaption>{key}</figcaption>" if key else ""
    return f"<figure><h3>{title}</h3>{caption}{drawn}</figure>"
