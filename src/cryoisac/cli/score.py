"""``cryoisac score``: a classification compared with the truth of a simulation."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from cryoisac.io.atomic import write_whole
from cryoisac.scoring.files import read_classification, read_truth
from cryoisac.scoring.scores import Score, score


@click.command("score")
@click.argument("run_dir", type=click.Path(path_type=Path))
@click.argument("truth", type=click.Path(path_type=Path))
@click.option("--json", "json_file", type=click.Path(path_type=Path), metavar="FILE", help="Write all numbers here.")
@click.option(
    "--radius",
    type=click.FloatRange(min=0, min_open=True),
    metavar="X",
    help="Particle radius in px, over which errors are taken; by default from simulation.json beside TRUTH.",
)
def command(run_dir: Path, truth: Path, json_file: Path | None, radius: float | None) -> None:
    """Compare a classification with the truth of a simulation.

    RUN_DIR is the directory of a run, or a STAR file with rlnClassNumber from any program; TRUTH is truth.csv as
    written by simulate.
    """
    known = read_truth(truth)
    result = score(read_classification(run_dir, known), known, radius_px=radius)
    if json_file:
        text = json.dumps(result.as_dict(), indent=2) + "\n"
        write_whole(json_file, lambda path: path.write_text(text, encoding="utf-8"))
    _show(list(_rows(result)))


def _rows(s: Score) -> Iterator[tuple[str, str]]:
    """Yield what is shown: a name and a number each."""
    yield "images", f"{s.images}"
    yield "accounted", f"{s.accounted} ({s.accounted_share:.1%})"
    if s.junk and s.particles_accounted is not None:
        yield "  of the particles", f"{s.particles_accounted:.1%}"
    yield "classes", f"{s.classes} (as even as {s.effective_classes:.1f})"
    yield "views found", f"{s.views_found} of {s.views}"
    yield "  mostly in one class", f"{s.views_held}"
    if s.rare_views:
        yield "  of rare views", f"{s.rare_views_held} of {s.rare_views}"
    yield "adjusted Rand index", _number(s.ari)
    yield "  unaccounted alone", _number(s.ari_all)
    yield "mutual information", _number(s.nmi)
    yield "purity", _number(s.purity)
    if s.molecules > 1:
        yield "  of molecules", _number(s.molecule_purity)
    yield "spread of directions", f"{_number(s.spread_deg, 1)}° (random {_number(s.random_spread_deg, 1)}°)"
    if s.mirror_agreement is not None:
        yield "pixel error, median", f"{_number(s.pixel_error, 2)} px"
        yield "  90 % below", f"{_number(s.pixel_error_90, 2)} px"
        yield "  rotation", f"{_number(s.rotation_deg, 2)}° = {_number(s.rotation_px, 2)} px at the radius"
        yield "  shift", f"{_number(s.shift_px, 2)} px"
        yield "mirror agreement", _number(s.mirror_agreement)
    if s.junk:
        yield "junk unaccounted", _junk(s.junk_precision, s.junk_recall)
        if s.named_junk is not None:
            yield "  called junk", _junk(s.named_junk_precision, s.named_junk_recall)
        yield "  in classes of junk", _junk(s.junk_classes_precision, s.junk_classes_recall)


def _junk(precision: float | None, recall: float | None) -> str:
    return f"precision {_number(precision)}, recall {_number(recall)}"


def _number(value: float | None, decimals: int = 3) -> str:
    return "-" if value is None else f"{value:.{decimals}f}"


def _show(rows: list[tuple[str, str]]) -> None:
    """Print a table: framed on a terminal, plain elsewhere."""
    if not sys.stdout.isatty():
        width = max(len(name) for name, _ in rows)
        click.echo("\n".join(f"{name:<{width}}  {value}" for name, value in rows))
        return
    from rich.box import SIMPLE_HEAD  # only a terminal needs it
    from rich.console import Console
    from rich.table import Table

    table = Table("score", "value", box=SIMPLE_HEAD)
    for row in rows:
        table.add_row(*row)
    Console().print(table)
