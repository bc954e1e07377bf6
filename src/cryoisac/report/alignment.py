"""The page of a finished alignment: its averages, how it came to rest, what it leaves."""

from dataclasses import dataclass
from html import escape
from pathlib import Path, PureWindowsPath
from string import Template
from typing import Any

import numpy as np
import numpy.typing as npt

from cryoisac.io.atomic import write_whole
from cryoisac.io.mrc import MrcStack
from cryoisac.io.registry import read_particles
from cryoisac.report import origin
from cryoisac.report.curves import curves, spark
from cryoisac.report.html import asset
from cryoisac.report.markup import percent, section, table
from cryoisac.report.pictures import data_uri, to_gray
from cryoisac.settings import Multireference, ReferenceFree

Gray = npt.NDArray[np.uint8]

SETTINGS = {"mra": Multireference, "rfa": ReferenceFree}
FILES = {
    "class_averages.mrcs": "class averages, class after class",
    "class_averages.hdf": "the same for EMAN2 and SPHIRE, with the members of each class",
    "class_averages.star": "table of the class averages",
    "classified.star": "particles with class and pose, for RELION",
    "average.mrcs": "the average of all particles as they were aligned",
    "aligned.star": "particles with their poses, for RELION",
    "ledger.csv": "every particle: class, score, second best class",
    "multi_ref.hdf": "the last references: give them to another alignment",
    "mref_parameters.txt": "index, angle, shift x, shift y, mirror, class from 0 of each particle",
    "aqfinal.hdf": "the last reference",
    "initial2Dparams.txt": "angle, shift x, shift y, mirror of each particle",
    "fourier_variance.hdf": "variance of the aligned particles at each spatial frequency",
    "run.json": "everything on this page, for programs",
}


@dataclass(frozen=True, eq=False, kw_only=True)
class FinishedAlignment:
    """What a finished alignment left behind.

    Parameters
    ----------
    record : dict
        What ``run.json`` says.
    pictures : ndarray, shape (m, h, w), float32
        Class averages; or, of a reference-free alignment, the average at each iteration.
    files : tuple of str
        Names of the files in the run directory.
    """

    record: dict[str, Any]
    pictures: npt.NDArray[np.float32]
    files: tuple[str, ...]

    @property
    def with_references(self) -> bool:
        """Whether particles were sorted by references."""
        return bool(self.record["command"] == "mra")

    @property
    def pixel_size_A(self) -> float | None:
        """Pixel size in Å, where it is known."""
        size = self.record["input"]["pixel_size_A"]
        return None if size is None else float(size)


def write_alignment_report(run_dir: Path, record: dict[str, Any]) -> Path:
    """Write ``report.html`` into the directory of an alignment, from its averages and what ``run.json`` will say.

    Parameters
    ----------
    run_dir : Path
        Directory of the alignment.
    record : dict
        What ``run.json`` will say.

    Returns
    -------
    Path
        The page. The same alignment gives the same bytes: it holds no time and no place.
    """
    page = Path(run_dir) / "report.html"
    files = tuple(sorted(p.name for p in Path(run_dir).iterdir()))
    if record["command"] == "mra":
        stack = MrcStack(Path(run_dir) / "class_averages.mrcs")
        pictures = stack.read(np.arange(len(stack)))
    else:
        averages = read_particles(Path(run_dir) / "aqc.hdf")
        pictures = averages.read(np.arange(len(averages)))
    text = render_alignment(FinishedAlignment(record=record, pictures=pictures, files=files))
    write_whole(page, lambda temporary: temporary.write_text(text, encoding="utf-8", newline="\n"))
    return page


def render_alignment(run: FinishedAlignment) -> str:
    """Return the page of a finished alignment."""
    parts = (_warnings, _headline, _sheet, _convergence, _iterations, _reseeded, _files, _settings, _provenance)
    name = escape(PureWindowsPath(run.record["input"]["path"]).name)
    what = "multireference alignment" if run.with_references else "reference-free alignment"
    return Template(asset("page.html")).substitute(
        title=f"{name} – {what}",
        heading=name,
        version=escape(run.record["version"]),
        summary=escape(f"{what.capitalize()}. {run.record['stopped_because']}"),
        style=asset("page.css"),
        script=asset("page.js"),
        sections="\n".join(filter(None, (part(run) for part in parts))),
    )


def _warnings(run: FinishedAlignment) -> str:
    return origin.warnings(run.record)


def _headline(run: FinishedAlignment) -> str:
    record, counts, last = run.record, run.record["counts"], run.record["iterations"][-1]
    sizes = [one["members"] for one in record["classes"]]
    halves = float(np.median([one["frc_half"] for one in record["classes"]]))
    moves = [i for i in record["iterations"] if i["pixel_error_px"] is not None]
    facts = [
        ("Particles", f"{counts['accounted']:,}", f"of {counts['images']:,}, {record['input']['box_px']} px boxes"),
        ("Iterations", f"{last['iteration']}", f"in {last['stage']} stage{'s' * (last['stage'] > 1)}"),
        ("Halves agree to", _length(run, halves), f"FRC above 0.5{', median of classes' * (len(sizes) > 1)}"),
    ]
    if run.with_references:
        spread = f"{min(sizes):,} to {max(sizes):,} members"
        facts.insert(1, ("Classes", f"{len(sizes):,}", spread))
    if moves:
        facts.append(("Last movement", f"{moves[-1]['pixel_error_px']:.2f} px", "mean pixel error between iterations"))
    cells = "".join(f"<div><dt>{name}</dt><dd>{value}<small>{note}</small></dd></div>" for name, value, note in facts)
    return f'<dl class="headline">{cells}</dl>'


def _length(run: FinishedAlignment, frequency: float) -> str:
    size = run.pixel_size_A
    return f"{1 / frequency:.1f} px" if size is None else f"{size / frequency:.1f} Å"


def _sheet(run: FinishedAlignment) -> str:
    gray, side = to_gray(run.pictures), run.pictures.shape[-1]
    width = f"{side} px" if run.pixel_size_A is None else f"{side * run.pixel_size_A:.0f} Å ({side} px)"
    if not run.with_references:
        iterations = run.record["iterations"]
        tiles = [
            _tile(gray[i], f"Average at iteration {one['iteration']}", f"<b>{one['iteration']}</b>", order=i)
            for i, one in enumerate(iterations)
        ]
        note = f"The average of all particles at each iteration, the last one final. Each box is {width} wide."
        return section("Averages", f'<p class="faint">{note}</p>', f'<ul class="sheet">{"".join(tiles)}</ul>')
    classes = run.record["classes"]
    tiles = []
    for c in sorted(range(len(classes)), key=lambda c: (-classes[c]["members"], c)):
        one = classes[c]
        length = _length(run, one["frc_half"])
        caption = f"Class {one['class']}: {one['members']:,} members, halves agree to {length}"
        text = f"<b>{one['class']}</b> <span>· {one['members']:,}</span> <span>· {length}</span>"
        tiles.append(_tile(gray[c], caption, text, order=c, members=one["members"], curve=one["frc"]))
    note = (
        f"Each box is {width} wide; the contrast of each average is stretched by itself. Under an average: its Fourier "
        "ring correlation, class, members, and how fine the detail is to which its halves agree (above 0.5)."
    )
    return section("Class averages", f'<p class="faint">{note}</p>', f'<ul class="sheet">{"".join(tiles)}</ul>')


def _tile(
    picture: Gray, caption: str, text: str, *, order: int, members: int = 0, curve: list[float] | None = None
) -> str:
    height, width = picture.shape
    image = f'<img class="plain" width="{width}" height="{height}" alt="{escape(caption)}" src="{data_uri(picture)}">'
    return (
        f'<li data-class="{order + 1}" data-members="{members}" data-caption="{escape(caption)}">'
        f'<button type="button" aria-label="{escape(caption)}. Enlarge">{image}</button>'
        f"{spark(curve) if curve else ''}<p>{text}</p></li>"
    )


def _convergence(run: FinishedAlignment) -> str:
    passes = run.record["iterations"]
    x = [float(one["iteration"]) for one in passes]
    settings = run.record["settings"]
    changed = [None if one["changed"] is None else 100 * one["changed"] for one in passes]
    moved = [one["pixel_error_px"] for one in passes]
    figures = []
    if any(v is not None for v in moved):
        mark = (f"end of a stage: {settings['stop_error']:g} px", float(settings["stop_error"]))
        drawn = curves([("", moved)], x, axis="iteration", mark=mark)
        figures.append(_figure("Mean pixel error from one iteration to the next (px)", drawn))
        name = "Changed class or mirror" if run.with_references else "Changed mirror"
        mark = (f"end of a stage: {100 * settings['stop_share']:g} %", 100 * float(settings["stop_share"]))
        figures.append(_figure(f"{name} (% of particles)", curves([("", changed)], x, axis="iteration", mark=mark)))
    if run.with_references:
        quantiles = [(name, [float(f(one["sizes"])) for one in passes]) for name, f in _SIZES]
        figures.append(_figure("Members of a class", curves(quantiles, x, axis="iteration"), [n for n, _ in _SIZES]))
    cutoffs = [[c for c in one["cutoffs"] if c is not None] for one in passes]
    if any(cutoffs):
        middle = [float(np.median(c)) if c else None for c in cutoffs]
        title = "Low-pass cut-off (cycles per pixel" + (", median of classes)" if run.with_references else ")")
        figures.append(_figure(title, curves([("", middle)], x, axis="iteration")))
    if not run.with_references:
        frc = run.record["classes"][0]["frc"]
        frequency = [(i + 1) / run.record["input"]["box_px"] for i in range(len(frc))]
        drawn = curves([("", frc)], frequency, axis="cycles per pixel", top=1.0, mark=("0.5", 0.5))
        figures.append(_figure("Fourier ring correlation of the halves, last average", drawn))
    return section("How it came to rest", f'<div class="charts">{"".join(figures)}</div>')


_SIZES = (("largest", max), ("median", np.median), ("smallest", min))


def _figure(title: str, drawn: str, names: list[str] | None = None) -> str:
    keys = "".join(f'<span class="key curve{i}"></span>{escape(name)}' for i, name in enumerate(names or []))
    caption = f"<figcaption>{keys}</figcaption>" if keys else ""
    return f"<figure><h3>{escape(title)}</h3>{caption}{drawn}</figure>"


def _iterations(run: FinishedAlignment) -> str:
    rows = []
    for one in run.record["iterations"]:
        cutoffs = [c for c in one["cutoffs"] if c is not None]
        cells = [
            f"{one['stage']}",
            "–" if one["changed"] is None else percent(one["changed"], 1),
            "–" if one["pixel_error_px"] is None else f"{one['pixel_error_px']:.2f}",
            f"{one['criterion']:.4g}",
            f"{np.median(cutoffs):.3f}" if cutoffs else "–",
        ]
        if run.with_references:
            cells += [f"{min(one['sizes']):,} to {max(one['sizes']):,}", f"{len(one['reseeded'])}"]
        numbers = "".join(f'<td class="number">{cell}</td>' for cell in cells)
        rows.append(f'<tr><th scope="row">{one["iteration"]}</th>{numbers}</tr>')
    head = ["Iteration", "Stage#", "Changed#", "Pixel error (px)#"]
    criterion = "Mean correlation with the reference#" if run.with_references else "Power of the average#"
    more = ["Members#", "Filled anew#"] if run.with_references else []
    return section("Iterations", table([*head, criterion, "Cut-off#", *more], rows))


def _reseeded(run: FinishedAlignment) -> str:
    rows = [
        f'<tr><th scope="row">{one["iteration"]}</th><td class="number">{r["label"]}</td>'
        f'<td class="number">{r["left"]:,}</td><td class="number">{r["source"]}</td>'
        f'<td class="number">{r["taken"]:,}</td></tr>'
        for one in run.record["iterations"]
        for r in one["reseeded"]
    ]
    if not rows:
        return ""
    note = (
        "<p>A class with too few members was dissolved: they joined the classes that fit them best besides, and the "
        "class took over the half of the largest class that fitted it worse.</p>"
    )
    head = ("Iteration", "Class#", "Members that left#", "Filled from class#", "Members taken#")
    return section("Classes filled anew", note, table(head, rows))


def _files(run: FinishedAlignment) -> str:
    return origin.file_table(FILES, run.files)


def _settings(run: FinishedAlignment) -> str:
    return origin.setting_table(SETTINGS[run.record["command"]], run.record)


def _provenance(run: FinishedAlignment) -> str:
    given, size = run.record["input"], run.pixel_size_A
    facts = {
        "Program": f"cryoisac {run.record['version']}",
        "Input": PureWindowsPath(given["path"]).name,
        "Particles": f"{given['images']:,} in boxes of {given['box_px']} px"
        + ("; pixel size unknown" if size is None else f" at {size:.4g} Å/px"),
        "Fingerprint (SHA-256)": given["sha256"],
        "Computed on": run.record.get("device", "processor"),
    }
    if given["references"] is not None:
        drawn = f"{given['references']}, drawn from the particles"
        is_file = not str(given["references"]).isdecimal()
        facts["References"] = PureWindowsPath(given["references"]).name if is_file else drawn
    return origin.fact_list(facts)
