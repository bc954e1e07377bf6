"""``cryoisac order``: class averages in an order in which neighbours look alike."""

from pathlib import Path
from typing import Any

import click

from cryoisac.cli.options import from_options, settings_options
from cryoisac.errors import DataError
from cryoisac.settings import Order

STACK, CHAINS, TABLE, SHEET = "ordered_class_averages", "chains_params.txt", "order.csv", "order.png"


@click.command("order")
@click.argument("averages", type=click.Path(path_type=Path))
@click.argument("directory", metavar="OUT", type=click.Path(path_type=Path, file_okay=False))
@settings_options(Order)
def command(averages: Path, directory: Path, **options: Any) -> None:
    """Put AVERAGES into an order in which neighbours look alike, in the directory OUT.

    AVERAGES is a stack (MRC, HDF, bdb:DIR#NAME) or a STAR file that names class averages, RELION's model file among
    them. OUT is made; it receives the averages in their order, turned and mirrored to lie on each other, the order as
    a table, and a picture of it.
    """
    settings = from_options(Order, options)
    if directory.exists() and any(directory.iterdir()):
        raise DataError(directory, "is not empty; choose another directory")
    from cryoisac.io.atomic import write_whole
    from cryoisac.io.registry import read_averages
    from cryoisac.products.averages import write_chains
    from cryoisac.products.order_files import order_stack, write_order_table, write_stack
    from cryoisac.report.pictures import contact_sheet, png

    made = order_stack(read_averages(averages), settings)
    directory.mkdir(parents=True, exist_ok=True)
    for suffix in (".mrcs", ".hdf"):
        write_stack(directory / f"{STACK}{suffix}", made)
    write_chains(directory / CHAINS, made.ordering)
    write_order_table(directory / TABLE, made)
    write_whole(directory / SHEET, lambda path: path.write_bytes(png(contact_sheet(made.images))))
    shape = "circle" if made.circular else "chain"
    steps = len(made.images) - (not made.circular)
    click.echo(
        f"Ordered {len(made.images)} averages along a {shape}; neighbours correlate by "
        f"{1 - made.ordering.length / steps:.3f} on average.\n"
        f"Averages: {directory / STACK}.mrcs and .hdf\n"
        f"Order:    {directory / TABLE}\n"
        f"Picture:  {directory / SHEET}"
    )
