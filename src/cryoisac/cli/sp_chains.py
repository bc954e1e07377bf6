"""``sp_chains.py``: the command line by which SPHIRE orders class averages, run by this program."""

from collections.abc import Sequence
from pathlib import Path

import click

from cryoisac.cli import main as cli
from cryoisac.cli.options import SettingOption
from cryoisac.errors import DataError, SettingError
from cryoisac.settings import Order

PROGRAM = "sp_chains.py"
CHAINS = "chains_params.txt"
STACKS = (".hdf", ".mrcs")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run ``sp_chains.py`` and leave with its exit status."""
    cli.leave(arguments, command, PROGRAM)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run ``sp_chains.py`` and return its exit status; mistakes in the input become one line on stderr."""
    return cli.run(arguments, command, PROGRAM)


@click.command(PROGRAM, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.argument("stack", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--align", is_flag=True, help="Lay averages on each other before they are compared; required.")
@click.option("--circular", is_flag=True, help="Close the order; else it is a chain with two ends.")
@click.option(
    "--radius",
    type=int,
    metavar="N",
    cls=SettingOption,
    help="Radius of the circle in which averages are compared.  [px; default: half the box, less 2]",
)
@click.option("--xr", type=float, metavar="X", cls=SettingOption, help="Range of shifts.  [px; default: 4]")
@click.option("--yr", type=float, metavar="X", cls=SettingOption, help="The same as --xr, or not given.")
def command(
    stack: Path, out: Path, align: bool, circular: bool, radius: int | None, xr: float | None, yr: float | None
) -> None:
    """Put the class averages of STACK into an order in which neighbours look alike, in the file OUT (.hdf or .mrcs).

    As SPHIRE's sp_chains.py does, whose command lines run as they stand; chains_params.txt is written where it is
    called. This is cryoisac; see also cryoisac order --help.
    """
    settings = _settings(align=align, circular=circular, radius=radius, xr=xr, yr=yr)
    if out.suffix not in STACKS:
        raise DataError(out, f"is no name of a stack; let it end in {' or '.join(STACKS)}")
    for path in (out, Path(CHAINS)):
        if path.exists():
            raise DataError(path, "is there already; move it away, or work in another directory")
    from cryoisac.io.registry import read_averages
    from cryoisac.products.averages import write_chains
    from cryoisac.products.order_files import order_stack, write_stack

    made = order_stack(read_averages(stack), settings)
    write_stack(out, made)
    write_chains(Path(CHAINS), made.ordering)
    click.echo(f"Ordered {len(made.images)} averages: {out}, {CHAINS}")


def _settings(*, align: bool, circular: bool, radius: int | None, xr: float | None, yr: float | None) -> Order:
    """Return the settings that the options mean, or raise ``SettingError`` for what cannot be honoured."""
    if not align:
        raise SettingError("--align", "is missing; averages are not compared here without it")
    reach = Order().xr if xr is None else xr
    if yr is not None and yr != reach:
        raise SettingError("--yr", f"is {yr:g}, --xr {reach:g}; the range is the same in both directions here")
    if reach != int(reach):
        raise SettingError("--xr", f"is {reach:g}; give a whole number of pixels")
    return Order(radius=None if radius == -1 else radius, xr=int(reach), circular=circular)
