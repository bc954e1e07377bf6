"""What an exploration leaves: its page, and the numbers behind it."""

import csv
import json
from collections.abc import Iterable
from dataclasses import asdict
from functools import partial
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np

from cryoisac import __version__
from cryoisac.engine.contract import Images
from cryoisac.explore.page import DECIMALS, render
from cryoisac.explore.separation import NEAREST
from cryoisac.explore.study import Seen, Study
from cryoisac.io.atomic import write_whole
from cryoisac.io.mrc_write import write_mrc_stack

PAGE = "explore.html"


def write(study: Study, folder: Path) -> Path:
    """Write the page, its points and spectra as CSV, eigenimages and means as MRC stacks, and ``explore.json``.

    Parameters
    ----------
    study : Study
        What was found.
    folder : Path
        An existing directory.

    Returns
    -------
    Path
        The page. The same study gives the same bytes: it holds no time and no place.
    """
    size = study.input.pixel_size_A
    pixel_size_A = None if size is None else size * study.input.radius_px / study.settings.target_radius
    before, after = study.before.space, study.after.space
    means = np.stack((before.mean, after.mean)).astype(np.float32)
    _write_rows(folder / "embedding.csv", _points(study))
    _write_rows(folder / "spectrum.csv", _spectrum(study))
    for name, images in (("mean_images.mrcs", means), ("eigenimages.mrcs", after.basis.astype(np.float32))):
        if len(images):
            write_whole(folder / name, partial(_write_stack, images, pixel_size_A))
    said = json.dumps(record(study), indent=1, ensure_ascii=False) + "\n"
    write_whole(folder / "explore.json", lambda path: path.write_text(said, encoding="utf-8"))
    text = render(study)
    write_whole(folder / PAGE, lambda path: path.write_text(text, encoding="utf-8", newline="\n"))
    return folder / PAGE


def _points(study: Study) -> Iterable[Iterable[object]]:
    given, chosen = study.input, study.points
    yield "index", "class", "x_before", "y_before", "x_after", "y_after"
    places = np.concatenate((study.before.points, study.after.points), axis=1)
    number = given.number[given.label[chosen]]
    for i, c, row in zip(given.index[chosen].tolist(), number.tolist(), places.tolist(), strict=True):
        yield i, c, *(f"{value:.{DECIMALS}f}" for value in row)


def _spectrum(study: Study) -> Iterable[Iterable[object]]:
    yield "component", "variance_before", "share_before", "variance_after", "share_after"
    before, after = study.before.space, study.after.space
    for j in range(max(len(before.variance), len(after.variance))):
        row = [v[j] if j < len(v) else 0.0 for s in (before, after) for v in (s.variance, s.share)]
        yield j + 1, *(f"{value:.8g}" for value in row)


def _write_stack(images: Images, pixel_size_A: float | None, path: Path) -> None:
    write_mrc_stack(path, images, pixel_size_A)


def _write_rows(path: Path, rows: Iterable[Iterable[object]]) -> None:
    def write_to(temporary: Path) -> None:
        with temporary.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows(rows)

    write_whole(path, write_to)


def record(study: Study) -> dict[str, Any]:
    """Return the numbers of an exploration, for programs."""
    given = study.input
    return {
        "program": "cryoisac",
        "version": __version__,
        "classification": given.kind,
        "particles": PureWindowsPath(str(given.particles.path)).name,
        "settings": asdict(study.settings) | {"radius": given.radius_px, "ctf": given.ctf},
        "counts": {
            "images": len(given.particles),
            "members": len(given.index),
            "classes": len(given.number),
            "points": len(study.points),
        },
        "classes": [
            {"class": number, "members": size}
            for number, size in zip(given.number.tolist(), given.sizes.tolist(), strict=True)
        ],
        "nearest_of_same_class": {
            "nearest": NEAREST,
            "by_chance": study.by_chance,
            "before": _alike(study.before),
            "after": _alike(study.after),
        },
        "truth": None if study.purity is None else asdict(study.purity),
    }


def _alike(seen: Seen) -> dict[str, float]:
    return {
        "by_components": seen.alike_scores,
        "in_the_plane": seen.alike_points,
        "variance_held": float(seen.space.share.sum()),
    }
