"""The contact sheet of class averages, and what to try where there are none."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from cryoisac.report.finished import FinishedRun
from cryoisac.report.markup import section, shown, table
from cryoisac.report.pictures import data_uri, to_gray

LAST = 1e6  # sorts after every pixel error
Gray = npt.NDArray[np.uint8]

RADIUS = ("--radius", "Check it first: it is the radius of the particle in pixels of the input images.")
CTF = ("--ctf", "Give it if the images carry their CTF uncorrected and the STAR file has its parameters.")
ADVICE = {  # what to try when no class was accepted, and why
    "isac2": (
        RADIUS,
        (
            "--img-per-grp",
            "Raise it for noisy images, so that averages gain contrast; lower it for few or diverse images.",
        ),
        ("--thld-err", "Raise it, twofold at first, so that members count as stable at a larger pixel error."),
        ("--minimum-grp-size", "Lower it, so that classes with fewer stable members are accepted."),
        ("--xr", "Raise it if particles were picked off their centres."),
        CTF,
    ),
    "likelihood": (
        RADIUS,
        CTF,
        ("--max-shift", "Raise it if particles were picked far off their centres."),
        ("--img-per-grp", "Raise it for noisy images, so that the first averages gain contrast."),
        ("--minimum-grp-size", "Lower it, so that smaller classes are kept."),
        ("--thld-err", "Raise it, so that members count as stable at a larger pixel error."),
    ),
}


def averages(run: FinishedRun) -> str:
    """Return the contact sheet of class averages, largest class first."""
    classes = run.record["classes"]
    if not classes:
        return nothing(run)
    position = {number: p for p, number in enumerate(run.record["ordered"])}
    plain = to_gray(run.averages)
    laid = None if run.laid is None else to_gray(run.laid)
    biggest_first = sorted(range(len(classes)), key=lambda c: (-classes[c]["members"], classes[c]["class"]))
    tiles = [
        _tile(
            _caption(run, classes[c]),
            classes[c],
            position.get(classes[c]["class"], -1),
            (plain[c], None if laid is None else laid[c]),
        )
        for c in biggest_first
    ]
    side_px = run.averages.shape[-1]
    width = f"{side_px} px" if run.pixel_size_A is None else f"{side_px * run.pixel_size_A:.0f} Å ({side_px} px)"
    note = (
        f'<p class="faint">Each box is {width} wide; the contrast of each average is stretched by itself. Under an '
        "average: class number, members, pixel error.</p>"
    )
    sheet = '<ul class="sheet">\n' + "\n".join(tiles) + "\n</ul>"
    return section("Class averages", note, _controls(bool(position)), sheet)


def _controls(ordered: bool) -> str:
    keys = [("members", "size"), *([("order", "similarity")] if ordered else []), ("error", "pixel error")]
    choices = "".join(
        f'<label><input type="radio" name="sort" value="{key}"{" checked" if key == "members" else ""}>{name}</label>'
        for key, name in keys
    )
    return (
        f'<form class="controls"><fieldset><legend>Sort by</legend>{choices}</fieldset>'
        '<label>Zoom <input type="range" id="tile-size" min="56" max="280" value="116"></label></form>'
    )


def _caption(run: FinishedRun, known: Mapping[str, Any]) -> str:
    found = "" if run.by_likelihood else f", from main iteration {known['main']}, generation {known['generation']}"
    return f"Class {known['class']}: {known['members']:,} members, pixel error {_error(known)}{found}"


def _error(known: Mapping[str, Any]) -> str:
    error = known["pixel_error_px"]
    return "unknown" if error is None else f"{error:.2f} px"


def _tile(caption: str, known: Mapping[str, Any], position: int, pictures: tuple[Gray, Gray | None]) -> str:
    plain, laid = pictures
    number, members, error = known["class"], known["members"], known["pixel_error_px"]
    place = LAST if error is None else error
    alt = f"Average of class {number}"
    height, width = plain.shape
    size = f'width="{width}" height="{height}"'
    images = f'<img class="plain" {size} alt="{alt}" src="{data_uri(plain)}">'
    if laid is not None:
        images += f'<img class="laid" {size} alt="{alt}, turned" src="{data_uri(laid)}">'
    return (
        f'<li data-class="{number}" data-members="{members}" data-error="{place:.6f}" data-order="{position}" '
        f'data-caption="{caption}"><button type="button" class="{"with-laid" if laid is not None else ""}" '
        f'aria-label="{caption}. Enlarge">{images}</button>'
        f"<p><b>{number}</b> <span>· {members:,}</span> <span>· {_error(known)}</span></p></li>"
    )


def nothing(run: FinishedRun) -> str:
    """Return what to try when no class was accepted."""
    settings = run.record["settings"]
    rows = []
    for flag, advice in ADVICE[settings["method"]]:
        value = settings.get(flag[2:].replace("-", "_"))
        if value is not True:  # a switch that is on cannot be tried
            name = f'<th scope="row"><code>{flag}</code></th>'
            rows.append(f'<tr>{name}<td class="number">{shown(value)}</td><td>{advice}</td></tr>')
    return section(
        "No class was accepted",
        "<p>No class kept enough members, so there are no averages. This happens when images hold too little "
        "signal for the settings, or are not what the settings say. Look at some raw images (particles must be white "
        "on dark), then try, in this order:</p>",
        table(("Setting", "Now#", "What to try"), rows),
    )
