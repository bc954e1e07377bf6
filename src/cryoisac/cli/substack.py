"""``cryoisac substack``: the members of chosen classes."""

from pathlib import Path
from typing import Any

import click

from cryoisac.cli.options import SettingOption, from_options, settings_options
from cryoisac.products.substack import Made, make_substack
from cryoisac.settings import Substack


@click.command("substack")
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option(
    "--averages",
    "--isac_class_avgs_path",
    "averages",
    cls=SettingOption,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="HDF stack of the class averages to take, in any order, as sorted by hand or by a program.  [default: all]",
)
@settings_options(Substack)
@click.option(
    "--stack",
    cls=SettingOption,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The particles that were classified.  [default: those that RUN names]",
)
def command(run: Path, out: Path, averages: Path | None, stack: Path | None, **options: Any) -> None:
    """Take the members of chosen classes of RUN, with their poses, into the directory OUT.

    RUN is the directory of a finished run of cryoisac or of SPHIRE's ISAC, or of class averages made anew from one.
    OUT is made. Without options the members of all classes are taken; a class is left out where any option leaves it
    out. Go on with the particles of OUT/substack.star.
    """
    settings = from_options(Substack, options)
    made = make_substack(run, out, settings, stack=stack, averages=averages)
    click.echo("\n".join(summary(made)))


def summary(made: Made) -> list[str]:
    """Return what came of a substack, a line each."""
    given = f"{made.given} given, " if made.given < made.averages else ""
    lines = [
        f"Images      {made.images}, {made.accounted} of them in classes",
        f"Classes     {made.averages}, {given}{made.taken} taken",
        f"Members     {made.members}",
    ]
    if made.runs:
        lines.append(f"Filaments   {made.filaments}, of which {made.runs} runs of segments are left")
    lines += [f"Warning     {warning}" for warning in made.warnings]
    lines.append(f"Substack    {made.particles} particles: {made.star}")
    return [*lines, f"Images in   {made.hdf}"] if made.hdf else lines
