"""``cryoisac rfa``: reference-free alignment."""

from pathlib import Path
from typing import Any

import click

from cryoisac.cli.launch import SoleCommand
from cryoisac.cli.mra import play
from cryoisac.cli.options import device_options, from_options, settings_options, threads_option
from cryoisac.settings import ReferenceFree


@click.command("rfa", cls=SoleCommand)
@click.argument("particles", type=click.Path(path_type=Path))
@click.argument("directory", metavar="OUT", type=click.Path(path_type=Path, file_okay=False))
@settings_options(ReferenceFree)
@threads_option
@device_options
def command(particles: Path, directory: Path, threads: int | None, **options: Any) -> None:
    """Align PARTICLES to their own average, again and again: all images of one view, or all to centre them.

    PARTICLES is a STAR file, an MRC or an HDF stack. OUT is made; the same command continues an alignment that was
    interrupted.
    """
    settings = from_options(ReferenceFree, options)
    from cryoisac.engine.devices import choose_devices
    from cryoisac.run.call import Call

    call = Call(devices=choose_devices(options["device"], options["gpu_memory_use"]))
    play(particles, directory, settings, references=None, threads=threads, call=call)
