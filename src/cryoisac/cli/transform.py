"""``cryoisac transform``: the images of a stack moved by the poses of a table."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from cryoisac.cli.options import SettingOption, device_options, from_options, settings_options, threads_option
from cryoisac.engine.devices import choose_devices
from cryoisac.products.transformed import Outputs, Transformed, transform_stack
from cryoisac.settings import Transform


@click.command("transform")
@click.argument("stack", type=click.Path(path_type=Path))
@click.argument("table", type=click.Path(path_type=Path))
@click.argument("out", required=False, type=click.Path(path_type=Path, dir_okay=False))
@settings_options(Transform)
@click.option(
    "--class-sums",
    cls=SettingOption,
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write the sum of the moved images of each class here, an MRC stack in the order of classes.",
)
@click.option(
    "--class-averages",
    cls=SettingOption,
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write the average of the moved images of each class here.",
)
@threads_option
@device_options
def command(
    stack: Path,
    table: Path,
    out: Path | None,
    class_sums: Path | None,
    class_averages: Path | None,
    threads: int | None,
    **options: Any,
) -> None:
    """Move the images of STACK by the poses of TABLE, and write them to OUT (.mrcs or .hdf).

    TABLE is a STAR file with rlnAnglePsi, origins and rlnIsFlip, a stack of EMAN2 with xform.align2d in its headers,
    or text with columns angle, x, y, mirror, and a scale where there is a fifth; it has a row for each image. A STAR
    file may be STACK and TABLE at once. Leave out OUT where sums or averages of classes are all that is wanted.
    """
    settings = from_options(Transform, options)
    devices = choose_devices(options["device"], options["gpu_memory_use"])
    outputs = Outputs(images=out, sums=class_sums, averages=class_averages)
    with _progress() as told:
        made = transform_stack(stack, table, outputs, settings, threads=threads, devices=devices, told=told)
    click.echo("\n".join(summary(made, outputs)))


def summary(made: Transformed, outputs: Outputs) -> list[str]:
    """Return what was written, a line each."""
    lines = [f"Images      {made.images}" + (f": {outputs.images}" if outputs.images else "")]
    if outputs.classes:
        lines.append(f"Classes     {made.classes}, of {made.members} images")
    lines += [f"Sums        {outputs.sums}"] if outputs.sums else []
    return lines + ([f"Averages    {outputs.averages}"] if outputs.averages else [])


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[int, int], None] | None]:
    """Give a function that moves a bar on a terminal, or ``None`` elsewhere."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console  # only a terminal needs it
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("Moving", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
