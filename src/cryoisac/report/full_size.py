"""One page of full-size averages: the averages with their resolution, curves, and beside them those of working size."""

from dataclasses import dataclass
from html import escape
from importlib.resources import files
from pathlib import Path, PureWindowsPath
from string import Template
from typing import Any

import numpy as np
import numpy.typing as npt

from cryoisac.io.atomic import write_whole
from cryoisac.ops.fourier import window
from cryoisac.ops.resolution import THRESHOLD
from cryoisac.report.markup import section, table
from cryoisac.report.origin import setting_table
from cryoisac.report.pictures import data_uri, to_gray
from cryoisac.report.resolution import resolution_curves
from cryoisac.settings import Averaging

Images = npt.NDArray[np.float32]
MARGIN_PX = 6  # around the particle, in pictures
MOST_PAIRS = 24
WORST = 1e6  # sorts after every resolution

FILES = {  # what people and programs go on with
    "class_averages.mrcs": "averages at full size, class after class",
    "class_averages.hdf": "the same for EMAN2 and SPHIRE, with the members of each class",
    "ordered_class_averages.mrcs": "averages in the order of similarity, turned to lie on each other",
    "ordered_class_averages.hdf": "the same for EMAN2 and SPHIRE",
    "class_averages.star": "table of the averages with their resolution",
    "classified.star": "members with class and pose, for RELION",
    "resolution.csv": "resolution, FH1, FH2 and B-factor of each class",
    "frc.csv": "Fourier ring correlation of the halves of each class",
    "init_isac_params.txt": "poses of the classification, for SPHIRE",
    "ali2d_local_params.txt": "refined poses, for SPHIRE",
    "run.json": "everything on this page, for programs",
}


@dataclass(frozen=True, eq=False, kw_only=True)
class Shown:
    """What the page of ``k`` averages shows.

    Parameters
    ----------
    record : dict
        What ``run.json`` says.
    averages : ndarray, shape (k, n, n), float32
        Averages at full size.
    working : ndarray, shape (k, h, h), float32, or None
        Averages of the same classes as the classification has them.
    curves : ndarray, shape (k, r)
        Fourier ring correlations; NaN where they are not known.
    files : tuple of str
        Names of the files in the directory.
    """

    record: dict[str, Any]
    averages: Images
    working: Images | None
    curves: npt.NDArray[np.float64]
    files: tuple[str, ...]

    @property
    def pixel_size_A(self) -> float | None:
        """Pixel size in Å, where it is known."""
        size = self.record["input"]["pixel_size_A"]
        return None if size is None else float(size)


def write_page(path: Path, shown: Shown) -> None:
    """Write the page; the same averages give the same bytes."""
    text = render(shown)
    write_whole(path, lambda temporary: temporary.write_text(text, encoding="utf-8", newline="\n"))


def render(shown: Shown) -> str:
    """Return the page."""
    name = escape(PureWindowsPath(shown.record["input"]["path"]).name)
    parts = (_headline, _sheet, _pairs, _curves, _table, _files, _settings)
    return Template(_asset("page.html")).substitute(
        title=f"{name} – full-size averages",
        heading=name,
        version=escape(shown.record["version"]),
        summary=escape(_summary(shown)),
        style=_asset("page.css"),
        script=_asset("page.js"),
        sections="\n".join(filter(None, (part(shown) for part in parts))),
    )


def resolution_of(known: dict[str, Any]) -> str:
    """Return the resolution of a class as a page shows it."""
    if known["resolution_A"] is not None:
        return f"{known['resolution_A']:.1f} Å"
    return "none" if known["cycles_per_px"] is None else f"{1 / known['cycles_per_px']:.1f} px"


def _summary(shown: Shown) -> str:
    counts, k = shown.record["counts"], len(shown.record["classes"])
    return f"{k:,} class averages at full size, made of {counts['accounted']:,} of {counts['images']:,} particles."


def _headline(shown: Shown) -> str:
    classes, box, size = shown.record["classes"], shown.record["input"]["box_px"], shown.pixel_size_A
    lengths = np.array([1 / c["cycles_per_px"] for c in classes if c["cycles_per_px"] is not None]) * (size or 1.0)
    unit = "px" if size is None else "Å"
    facts = [
        ("Averages", f"{len(classes):,}", f"{box} px boxes" + ("" if size is None else f" at {size:.4g} Å/px")),
        ("Particles", f"{shown.record['counts']['accounted']:,}", "in these classes"),
    ]
    if len(lengths):
        facts += [
            (
                "Median resolution",
                f"{np.median(lengths):.1f} {unit}",
                f"of {len(lengths):,} classes, FRC = {THRESHOLD}",
            ),
            ("Best resolution", f"{lengths.min():.1f} {unit}", f"worst {lengths.max():.1f} {unit}"),
        ]
    cells = "".join(f"<div><dt>{n}</dt><dd>{value}<small>{note}</small></dd></div>" for n, value, note in facts)
    return f'<dl class="headline">{cells}</dl>'


def _cut(images: Images, radius: float) -> Images:
    return window(images, min(2 * int(np.ceil(radius) + MARGIN_PX), images.shape[-1]))


def _sheet(shown: Shown) -> str:
    record = shown.record
    pictures = to_gray(_cut(shown.averages, record["settings"]["radius"]))
    place = {number: p for p, number in enumerate(record["ordered"])}
    classes = record["classes"]
    biggest_first = sorted(range(len(classes)), key=lambda c: (-classes[c]["members"], classes[c]["class"]))
    tiles = [_tile(classes[c], place.get(classes[c]["class"], -1), pictures[c]) for c in biggest_first]
    keys = (("members", "size", " checked"), ("order", "similarity", ""), ("resolution", "resolution", ""))
    choices = "".join(
        f'<label><input type="radio" name="sort" value="{key}"{on}>{name}</label>' for key, name, on in keys
    )
    controls = (
        f'<form class="controls"><fieldset><legend>Sort by</legend>{choices}</fieldset>'
        '<label>Zoom <input type="range" id="tile-size" min="56" max="420" value="116"></label></form>'
    )
    note = (
        '<p class="faint">Cut out around the particle; the contrast of each average is stretched by itself. Under an '
        f"average: class number, members, resolution (where random halves of the class correlate by {THRESHOLD}).</p>"
    )
    sheet = '<ul class="sheet full">\n' + "\n".join(tiles) + "\n</ul>"
    return section("Class averages", note, controls, sheet)


def _tile(known: dict[str, Any], position: int, picture: npt.NDArray[np.uint8]) -> str:
    number, members, told = known["class"], known["members"], resolution_of(known)
    sort = WORST if known["cycles_per_px"] is None else 1 / known["cycles_per_px"]
    caption = f"Class {number}: {members:,} members, resolution {told}"
    height, width = picture.shape
    size = f'width="{width}" height="{height}"'
    image = f'<img class="plain" {size} alt="Average of class {number}" src="{data_uri(picture)}">'
    return (
        f'<li data-class="{number}" data-members="{members}" data-resolution="{sort:.6f}" data-order="{position}" '
        f'data-caption="{caption}"><button type="button" aria-label="{caption}. Enlarge">{image}</button>'
        f"<p><b>{number}</b> <span>· {members:,}</span> <span>· {told}</span></p></li>"
    )


def _pairs(shown: Shown) -> str:
    """Return averages of the classification beside those at full size, of the largest classes."""
    if shown.working is None:
        return ""
    record, classes = shown.record, shown.record["classes"]
    radius = record["settings"]["radius"]
    ratio = float(record["classification"]["ratio"])
    largest = sorted(range(len(classes)), key=lambda c: -classes[c]["members"])[:MOST_PAIRS]
    small = to_gray(_cut(shown.working[largest], ratio * (radius + MARGIN_PX) - MARGIN_PX))
    large = to_gray(_cut(shown.averages[largest], radius))
    cells = [
        f'<li><img alt="Class {classes[c]["class"]} as classified" src="{data_uri(a)}">'
        f'<img alt="Class {classes[c]["class"]} at full size" src="{data_uri(b)}">'
        f"<p><b>{classes[c]['class']}</b> <span>· {resolution_of(classes[c])}</span></p></li>"
        for c, a, b in zip(largest, small, large, strict=True)
    ]
    some = f"the {MOST_PAIRS} largest classes" if len(classes) > MOST_PAIRS else "each class"
    note = f'<p class="faint">Of {some}: left as the classification has it, right at full size.</p>'
    return section("Before and after", note, '<ul class="pairs">\n' + "\n".join(cells) + "\n</ul>")


def _curves(shown: Shown) -> str:
    if not np.isfinite(shown.curves).all(axis=1).any():
        return ""
    size, box = shown.pixel_size_A, shown.record["input"]["box_px"]
    frequency = np.arange(shown.curves.shape[1]) / box / (size or 1.0)
    drawing = resolution_curves(
        [c["class"] for c in shown.record["classes"]],
        frequency,
        shown.curves,
        unit="cycles per pixel" if size is None else "resolution",
        threshold=THRESHOLD,
        lengths=size is not None,
    )
    caption = "<figcaption>Each class as a thin line, their median as a thick one.</figcaption>"
    return section("Resolution", f'<div class="charts"><figure>{caption}{drawing}</figure></div>')


def _table(shown: Shown) -> str:
    classes = shown.record["classes"]
    with_b = any(c["B_A2"] is not None for c in classes)
    head = ("Class#", "Members#", "Resolution#", "FH1#", "FH2#", *(("B#",) if with_b else ()))
    rows = []
    for c in classes:
        cells = [f"{c['class']}", f"{c['members']:,}", resolution_of(c), f"{c['FH1']:.3f}", f"{c['FH2']:.3f}"]
        if with_b:
            cells.append("–" if c["B_A2"] is None else f"{c['B_A2']:.0f} Å²")
        rows.append("<tr>" + "".join(f'<td class="number">{cell}</td>' for cell in cells) + "</tr>")
    note = '<p class="faint">FH1 and FH2 are the frequencies, in cycles per pixel, that SPHIRE gives.</p>'
    return section(
        "Classes", f"<details><summary>{len(classes):,} classes</summary>{note}{table(head, rows)}</details>"
    )


def _files(shown: Shown) -> str:
    rows = [
        f'<tr><th scope="row"><code>{name}</code></th><td>{what}</td></tr>'
        for name, what in FILES.items()
        if name in shown.files or name == "run.json"
    ]
    return section("Files to go on with", table(("File", "What it holds"), rows))


def _settings(shown: Shown) -> str:
    return setting_table(Averaging, shown.record)


def _asset(name: str) -> str:
    return (files("cryoisac.report") / name).read_text(encoding="utf-8")
