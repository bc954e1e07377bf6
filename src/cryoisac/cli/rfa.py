"""``cryoisac rfa``: reference-free alignment."""

from pathlib import Path
from typing import Any

import click

from cryoisac.alignment_settings import ReferenceFree
from cryoisac.cli.mra import play
from cryoisac.cli.options import SettingOption, from_options, settings_options


@click.command("rfa")
@click.argument("particles", type=click.Path(path_type=Path))
@click.argument("directory", metavar="OUT", type=click.Path(path_type=Path, file_okay=False))
@settings_options(ReferenceFree)
@click.option(
    "--threads",
    cls=SettingOption,
    type=click.IntRange(min=1),
    metavar="N",
    default=None,
    help="Number of threads; the result does not depend on it.  [1 or more; default: all cores]",
)
def command(particles: Path, directory: Path, threads: int | None, **options: Any) -> None:
    """Align PARTICLES to their own average, again and again: all images of one view, or all to centre them.

    PARTICLES is a STAR file, an MRC or an HDF stack. OUT is made; the same command continues an alignment that was
    interrupted.
    """
    play(particles, directory, from_options(ReferenceFree, options), references=None, threads=threads)
