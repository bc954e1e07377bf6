"""One page that shows what an exploration found: no other file and no network is needed to read it."""

import json
from html import escape
from importlib.resources import files
from pathlib import PureWindowsPath
from string import Template

import numpy as np
import numpy.typing as npt

from cryoisac import __version__
from cryoisac.explore.colours import colours
from cryoisac.explore.figures import centres, class_sizes, scatter, spectrum
from cryoisac.explore.images import PICTURE_px
from cryoisac.explore.separation import NEAREST
from cryoisac.explore.study import Seen, Study
from cryoisac.report.charts import count, histogram
from cryoisac.report.markup import percent, section, shown, table
from cryoisac.report.pictures import data_uri, tiled, to_gray
from cryoisac.settings import Explore, describe

REDUCTIONS = {
    "pca": "principal components",
    "mpca": "multilinear principal components",
    "twosdr": "two-stage dimension reduction",
}
AXES = {"tsne": "t-SNE", "umap": "UMAP", "none": "the first two components"}
Int = npt.NDArray[np.int64]
EIGENIMAGES = 12
DECIMALS = 4  # of points, here and in embedding.csv
FILES = {
    "embedding.csv": "the points: particle, class, place before and after alignment",
    "spectrum.csv": "variance along each component, before and after alignment",
    "eigenimages.mrcs": "eigenimages of the aligned images, the strongest first",
    "mean_images.mrcs": "mean of the images as given, and aligned",
    "explore.json": "the numbers of this page, for programs",
}


def render(study: Study) -> str:
    """Return the page."""
    given = study.input
    name = escape(PureWindowsPath(str(given.particles.path)).name)
    parts = (first_images, distributions, points, components, agreement, output, settings)
    members, k = len(given.index), len(given.number)
    style = _asset("cryoisac.report", "page.css") + _asset("cryoisac.explore", "explore.css")
    return Template(_asset("cryoisac.explore", "explore.html")).substitute(
        title=f"{name} – exploration",
        heading=name,
        version=escape(__version__),
        summary=f"{members:,} of {len(given.particles):,} particles, in {k:,} class{'es' if k > 1 else ''}; "
        f"{len(study.points):,} of them are points below.",
        style=style,
        data=json.dumps(data(study), separators=(",", ":")),
        script=_asset("cryoisac.explore", "explore.js"),
        sections="\n".join(filter(None, (part(study) for part in parts))),
    )


def data(study: Study) -> dict[str, object]:
    """Return what the script of the page knows of the points."""
    given, chosen = study.input, study.points
    known: dict[str, object] = {
        "index": given.index[chosen].tolist(),
        "label": given.label[chosen].tolist(),
        "number": given.number.tolist(),
        "sizes": given.sizes.tolist(),
        "before": study.before.points.round(DECIMALS).tolist(),
        "after": study.after.points.round(DECIMALS).tolist(),
        "colours": {"class": colours(len(given.number))},
        "picture": PICTURE_px,
    }
    if given.truth is not None:
        view, of_views = _views(study)
        known["truth"], known["view"] = given.truth[given.index[chosen]].tolist(), view.tolist()
        known["colours"] = {"class": colours(len(given.number)), "truth": of_views}
    return known


def _views(study: Study) -> tuple[Int, list[str]]:
    """Return the place of each point's label among those of the truth, -1 where it is not known, and their colours."""
    truth = study.input.truth
    if truth is None:
        return np.full(len(study.points), -1), []
    every, shown_here = np.unique(truth[truth >= 0]), truth[study.input.index[study.points]]
    return np.where(shown_here < 0, -1, np.searchsorted(every, shown_here)), colours(len(every))


def first_images(study: Study) -> str:
    """Return the first images, as given and as laid."""
    index, label = study.input.index, study.input.number[study.input.label]
    rows = []
    for title, images in (("As given", study.laid.first_before), ("Aligned", study.laid.first_after)):
        tiles = "".join(
            f'<li><img width="{gray.shape[1]}" height="{gray.shape[0]}" alt="Particle {i}, {title.lower()}" '
            f'src="{data_uri(gray)}"><p>{i} <span>· class {c}</span></p></li>'
            for gray, i, c in zip(to_gray(images), index.tolist(), label.tolist(), strict=False)
        )
        rows.append(f'<h3>{title}</h3><ul class="sheet first">{tiles}</ul>')
    note = (
        '<p class="faint">The first particles that are in classes, by their number in the ledger, counted from 0: as '
        "they were given, and aligned, laid on their class averages.</p>"
    )
    return section("First images", note, *rows)


def distributions(study: Study) -> str:
    """Return class sizes, rotations, centres and defoci."""
    given = study.input
    found = given.poses
    sizes = class_sizes(given.number, given.sizes, colours(len(given.number)))
    turned = histogram(
        [""], count([found.angle_deg], edge=360.0), axis="rotation onto the class average (deg)", of="particles"
    )
    figures = [
        _figure("Class sizes", sizes),
        _figure("Where particles' centres lie", centres(found.offset_px())),
        _figure("Rotations", turned),
    ]
    defocus_um = given.defocus_um
    if defocus_um is not None:
        drawn = histogram([""], count([defocus_um]), axis="mean of the two defoci (µm)", of="particles")
        figures.append(_figure("Defocus", drawn))
    mirrored = f"<p>Mirrored: {percent(int(found.mirror.sum()), len(found))} of the particles.</p>"
    return section("Classes and poses", '<div class="charts poses">' + "".join(figures) + "</div>", mirrored)


def points(study: Study) -> str:
    """Return the points before and after alignment, the classes, and how to read them."""
    given, s, label = study.input, study.settings, study.input.label[study.points]
    colourings = [("class", label, colours(len(given.number)))]
    if given.truth is not None:
        colourings.append(("truth", *_views(study)))
    keys = "step through the points with the arrow keys"
    planes = "".join(
        f'<figure data-plane="{key}"><h3>{title}</h3><p class="faint">{_alike(seen, study.by_chance)}</p>'
        f'<div class="stage" tabindex="0" role="group" aria-label="{title}: {keys}">'
        f"{scatter(f'{len(label):,} points, {title.lower()}', seen.points, colourings)}<canvas></canvas></div></figure>"
        for key, title, seen in (
            ("before", "As given", study.before),
            ("after", "Aligned", study.after),
        )
    )
    note = (
        f"<p>Each point is a particle. Its image, inside the particle's disc, is reduced to "
        f"{len(study.after.space.variance)} numbers by {REDUCTIONS[s.reduction]}, and these to a place in the plane by "
        f"{AXES[s.embedding]}. What is near was alike; long distances and the sizes of clouds say little.</p>"
        "<p>Laying images on the averages of their classes draws each class together, its noise too. Clouds that are "
        "apart show that classes differ, not that they are right.</p>"
    )
    sheets = "".join(
        f'<img id="sheet-{key}" hidden alt="" src="{data_uri(tiled(to_gray(small)), bits=4)}">'
        for key, small in (("before", study.laid.small_before), ("after", study.laid.small_after))
    )
    return section(
        "Before and after alignment",
        note,
        _controls(study),
        f'<div class="planes">{planes}</div>',
        legend(study),
        sheets,
    )


def _alike(seen: Seen, by_chance: float) -> str:
    return (
        f"{percent(seen.alike_scores, 1)} of the {NEAREST} most alike images are of the same class; "
        f"by chance {percent(by_chance, 1)}."
    )


def _controls(study: Study) -> str:
    kinds = [("class", "class"), *([("truth", "truth")] if study.input.truth is not None else []), ("none", "nothing")]
    choices = "".join(
        f'<label><input type="radio" name="colour" value="{key}"{" checked" if key == "class" else ""}>{name}</label>'
        for key, name in kinds
    )
    return (
        f'<form class="controls"><fieldset><legend>Colour by</legend>{choices}</fieldset>'
        '<p class="faint">Point at a particle or a class to see it; click to keep a class, Esc to let go.</p></form>'
    )


def legend(study: Study) -> str:
    """Return the classes: average, number, members."""
    given = study.input
    pictures = to_gray(study.laid.averages)
    items = "".join(
        f'<li><button type="button" data-label="{c}" aria-pressed="false" style="--of:{colour}" '
        f'aria-label="Class {number}, {size:,} members">'
        f'<img width="{gray.shape[1]}" height="{gray.shape[0]}" alt="" src="{data_uri(gray)}">'
        f"<span><b>{number}</b> · {size:,}</span></button></li>"
        for c, (number, size, colour, gray) in enumerate(
            zip(given.number.tolist(), given.sizes.tolist(), colours(len(given.number)), pictures, strict=True)
        )
    )
    return f'<h3>Classes</h3><ul class="legend">{items}</ul>'


def components(study: Study) -> str:
    """Return mean images, eigenimages and spectra."""
    rows = []
    for title, seen in (("Aligned", study.after), ("As given", study.before)):
        basis = to_gray(seen.space.basis[:EIGENIMAGES].astype(np.float32))
        mean = to_gray(seen.space.mean[None].astype(np.float32))
        captions = ["mean", *(f"{i} · {percent(v, 1)}" for i, v in enumerate(seen.space.share.tolist(), 1))]
        tiles = "".join(
            f'<li><img width="{gray.shape[1]}" height="{gray.shape[0]}" alt="{title}: {words}" src="{data_uri(gray)}">'
            f"<p>{words}</p></li>"
            for gray, words in zip(np.concatenate((mean, basis)), captions, strict=False)
        )
        rows.append(f'<h3>{title}</h3><ul class="sheet eigen">{tiles}</ul>')
    drawn = spectrum([("aligned", study.after.space.share), ("as given", study.before.space.share)])
    key = '<span class="key series0"></span>aligned<span class="key series1"></span>as given'
    sums = (
        f"<p>{len(study.after.space.share)} components hold {percent(float(study.after.space.share.sum()), 1)} of the "
        f"variance of the aligned images and {percent(float(study.before.space.share.sum()), 1)} as given; "
        "most of the rest is noise.</p>"
    )
    chart = (
        f'<div class="charts"><figure><h3>Share of variance</h3><figcaption>{key}</figcaption>{drawn}</figure></div>'
    )
    note = (
        '<p class="faint">The mean and the first eigenimages, each with its share of the variance inside the disc; the '
        "contrast of each is stretched by itself.</p>"
    )
    return section("What the images vary in", note, *rows, chart, sums)


def agreement(study: Study) -> str:
    """Return how far classes are apart, and how they agree with a truth."""
    rows = [
        f'<tr><th scope="row">{name}</th><td class="number">{percent(seen.alike_scores, 1)}</td>'
        f'<td class="number">{percent(seen.alike_points, 1)}</td></tr>'
        for name, seen in (("As given", study.before), ("Aligned", study.after))
    ]
    chance = percent(study.by_chance, 1)
    rows.append(
        f'<tr><th scope="row">By chance</th><td class="number">{chance}</td><td class="number">{chance}</td></tr>'
    )
    apart = table((f"Of the {NEAREST} nearest, of the same class", "by components#", "in the plane#"), rows)
    p = study.purity
    if p is None:
        return section("How far classes lie apart", apart)
    facts = (
        ("Purity: share that shows the commonest view of its class", p.purity),
        ("Completeness: share in the class that holds most of its view", p.completeness),
        ("Adjusted Rand index", p.ari),
    )
    scores = table(
        (f"Classes and truth, over {p.images:,} particles of {p.views:,} views", "#"),
        [
            f'<tr><th scope="row">{words}</th><td class="number">{"–" if value is None else f"{value:.3f}"}</td></tr>'
            for words, value in facts
        ],
    )
    return section("How far classes lie apart", apart, "<h3>Agreement with the truth</h3>", scores)


def output(study: Study) -> str:
    """Return what lies beside the page."""
    rows = [f'<tr><th scope="row"><code>{name}</code></th><td>{what}</td></tr>' for name, what in FILES.items()]
    return section("Files beside this page", table(("File", "What it holds"), rows))


def settings(study: Study) -> str:
    """Return all settings, as they were used."""
    used = {"radius": study.input.radius_px, "ctf": study.input.ctf}
    rows = []
    for d in describe(Explore):
        value = used.get(d.name, getattr(study.settings, d.name))
        unit = f" {escape(d.setting.unit)}" if d.setting.unit else ""
        rows.append(
            f'<tr><th scope="row"><code>{escape(d.flag)}</code></th><td>{escape(d.setting.meaning)}</td>'
            f"<td>{shown(value)}{unit}</td></tr>"
        )
    return section("Settings", table(("Setting", "Meaning", "Value"), rows, kind="settings"))


def _figure(title: str, drawn: str) -> str:
    return f"<figure><h3>{title}</h3>{drawn}</figure>"


def _asset(package: str, name: str) -> str:
    return (files(package) / name).read_text(encoding="utf-8")
