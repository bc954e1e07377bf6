"""``cryoisac substack``: the members of chosen classes."""

from pathlib import Path
from typing import Any

import click

from cryoisac.cli.options import SettingOption, from_options, settings_options
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
    make(run, out, from_options(Substack, options), averages, stack)


def make(run: Path, out: Path, settings: Substack, averages: Path | None, stack: Path | None) -> None:
    """Make a substack and say what came of it."""
    from cryoisac.products.substack import make_substack  # only once the call is known to be right

    made = make_substack(run, out, settings, stack=stack, averages=averages)
    given = f", {made.given} given" if averages else ""
    lines = [
        f"Images      {made.images}, {made.accounted} of them in classes",
        f"Classes     {made.averages}{given}, {made.taken} taken",
        f"Members     {made.members}",
    ]
    if settings.min_segments:
        lines.append(f"Filaments   {made.filaments}, in {made.runs} runs of {settings.min_segments} segments or more")
    lines += [f"Warning     {warning}" for warning in made.warnings]
    lines.append(f"Substack    {made.particles} particles: {made.star}")
    if made.hdf:
        lines.append(f"Images in   {made.hdf}")
    click.echo("\n".join(lines))
