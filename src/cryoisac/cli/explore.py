"""``cryoisac explore``: look at the images of a finished classification."""

import sys
from pathlib import Path
from typing import Any

import click

from cryoisac.cli.options import SettingOption, from_options, settings_options, threads_option
from cryoisac.settings import Explore


@click.command("explore")
@click.argument("run", metavar="RUN", type=click.Path(path_type=Path))
@click.argument("directory", metavar="[OUT]", required=False, type=click.Path(path_type=Path, file_okay=False))
@settings_options(Explore)
@click.option(
    "--stack",
    cls=SettingOption,
    type=click.Path(path_type=Path),
    metavar="FILE",
    default=None,
    help="The particles that were classified.  [default: those that RUN names]",
)
@click.option(
    "--truth",
    cls=SettingOption,
    type=click.Path(path_type=Path),
    metavar="FILE",
    default=None,
    help="What each particle shows: truth.csv of a simulation, another CSV file with a column view or class, or a "
    "number a line.",
)
@threads_option
def command(
    run: Path,
    directory: Path | None,
    stack: Path | None,
    truth: Path | None,
    threads: int | None,
    **options: Any,
) -> None:
    """Look at the images of a finished classification: what they vary in, and how alignment parts the classes.

    RUN is the directory of a run of this program or of SPHIRE's ISAC, or of averages made from one; or a table of
    classes and poses: a STAR file, a stack of EMAN2, or text with index, angle, x, y, mirror and class. Writes a page,
    explore.html, and the numbers behind it into OUT, by default RUN/explore, or explore beside the table.
    """
    settings = from_options(Explore, options)
    from cryoisac.cli.progress import shown_on
    from cryoisac.engine.native import default_threads
    from cryoisac.explore.embedding import check_installed
    from cryoisac.explore.files import write
    from cryoisac.explore.source import read_input
    from cryoisac.explore.study import explore

    check_installed(settings.embedding)
    given = read_input(run, settings, stack=stack, truth=truth)
    out = directory or (run if run.is_dir() else run.parent) / "explore"
    out.mkdir(parents=True, exist_ok=True)
    with shown_on(sys.stdout) as progress:
        study = explore(given, settings, out, threads=threads or default_threads(), progress=progress)
        progress.stage("Writing the page")
        page = write(study, out)
        for line in summary(study):
            progress.note(line)
        progress.note(f"Page: {page}")


def summary(study: Any) -> list[str]:
    """Return what an exploration found, a line each."""
    given, p = study.input, study.purity
    lines = [
        f"{len(given.index)} of {len(given.particles)} particles, in {len(given.number)} "
        f"class{'es' if len(given.number) > 1 else ''}; "
        f"{len(study.points)} points",
        f"Nearest images of the same class: {study.before.alike_scores:.1%} as given, "
        f"{study.after.alike_scores:.1%} aligned, {study.by_chance:.1%} by chance",
    ]
    if p is not None and p.images:
        lines.append(f"Purity {p.purity:.3f}, completeness {p.completeness:.3f}, adjusted Rand index {p.ari:.3f}")
    return lines
