"""``sp_pipe.py isac_substack``: the call of SPHIRE's pipelines for ``cryoisac substack``."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from cryoisac import __version__
from cryoisac.cli.main import leave
from cryoisac.cli.options import SettingOption, from_options, option_of
from cryoisac.cli.substack import summary
from cryoisac.products.substack import make_substack
from cryoisac.settings import Described, Substack, describe

PROGRAM = "sp_pipe.py"
BASENAME = "isac_substack"
Callback = Callable[..., Any]


class OneCommand(click.Group):
    """A group that says which of SPHIRE's subcommands it has."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that is called, or refuse it."""
        if args and args[0] not in self.commands and not args[0].startswith("-"):
            ctx.fail(f"{PROGRAM} {args[0]} is not part of cryoisac, which has {BASENAME} alone; use SPHIRE's")
        return super().resolve_command(ctx, args)


@click.group(cls=OneCommand, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, "--version", message="cryoisac %(version)s")
def group() -> None:
    """Work on finished classifications as SPHIRE's program of this name does; cryoisac has isac_substack alone."""


def _as_there(d: Described) -> Described:
    """Return a setting with the original's default: files begin with the command's name, and images are written."""
    if d.name == "basename":
        return replace(d, setting=replace(d.setting, automatic=BASENAME))
    return replace(d, default=True) if d.name == "hdf" else d


def _options(command: Callback) -> Callback:
    """Give a command the options of a substack, each with the original's spelling first."""
    for d in reversed(list(describe(Substack))):
        spellings = (f"--{d.setting.original or d.name}", d.flag, f"--{d.name}")
        command = option_of(_as_there(d), list(dict.fromkeys(spellings)))(command)
    return command


@group.command(BASENAME)
@click.argument("stack", type=click.Path(path_type=Path))
@click.argument("isac_run", metavar="RUN", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option(
    "--isac_class_avgs_path",
    "--averages",
    "averages",
    cls=SettingOption,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="HDF stack of the class averages to take, in any order.  [default: all]",
)
@_options
def isac_substack(stack: Path, isac_run: Path, out: Path, averages: Path | None, **options: Any) -> None:
    """Take the members of class averages of RUN, with their poses, from STACK into the directory OUT.

    STACK is what was given to ISAC; RUN is the directory of ISAC, or of class averages made anew. OUT is made. The
    images are written too, as OUT/isac_substack.hdf.
    """
    settings = from_options(Substack, options)
    settings = replace(settings, basename=settings.basename or BASENAME)
    made = make_substack(isac_run, out, settings, stack=stack, averages=averages)
    click.echo("\n".join(summary(made)))


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave with its exit status, as ``cryoisac`` does."""
    leave(arguments, group, PROGRAM)
