"""``cryoisac mra``: multireference alignment."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cryoisac.cli.launch import COMMAND_LINE, SoleCommand
from cryoisac.cli.options import device_options, from_options, settings_options, threads_option
from cryoisac.settings import Multireference, ReferenceFree

if TYPE_CHECKING:
    from cryoisac.run.call import Call


@click.command("mra", cls=SoleCommand)
@click.argument("particles", type=click.Path(path_type=Path))
@click.argument("references", metavar="REFERENCES")
@click.argument("directory", metavar="OUT", type=click.Path(path_type=Path, file_okay=False))
@settings_options(Multireference)
@threads_option
@device_options
def command(particles: Path, references: str, directory: Path, threads: int | None, **options: Any) -> None:
    """Sort PARTICLES by the references that they resemble, and average them, again and again.

    PARTICLES is a STAR file, an MRC or an HDF stack; REFERENCES a stack of images of the same size, or a number: so
    many particles are drawn at random. OUT is made; the same command continues an alignment that was interrupted.
    """
    settings = from_options(Multireference, options)
    from cryoisac.engine.devices import choose_devices
    from cryoisac.run.call import Call

    call = Call(devices=choose_devices(options["device"], options["gpu_memory_use"]))
    play(particles, directory, settings, references=chosen(references), threads=threads, call=call)


def chosen(references: str) -> Path | int:
    """Return what ``REFERENCES`` names: a number of references, or a file."""
    if references.isdecimal() and not Path(references).exists():
        number = int(references)
        if number < 1:
            raise click.BadParameter("0 references sort nothing; give a stack of references, or a number from 1")
        return number
    return Path(references)


def play(
    particles: Path,
    directory: Path,
    settings: Multireference | ReferenceFree,
    *,
    references: Path | int | None,
    threads: int | None,
    call: "Call",
    only_tell: bool = False,
) -> None:
    """Play an alignment and show it on the terminal.

    Parameters
    ----------
    particles, directory, settings, references, threads
        As ``workflow.alignment.run_alignment`` takes them.
    call : Call
        The devices that compute; the command line is added.
    only_tell : bool
        Tell what would be done and what it needs, and do nothing.
    """
    from cryoisac.cli.devices import show_machine
    from cryoisac.cli.progress import show, shown_on
    from cryoisac.workflow.alignment import run_alignment, tell_alignment

    call = replace(call, command=click.get_current_context().meta[COMMAND_LINE])
    asked: dict[str, Any] = {"references": references, "threads": threads}
    if only_tell:
        with shown_on(sys.stdout) as progress:
            show_machine()
            tell_alignment(particles, directory, settings, progress=progress, call=call, **asked)
        return
    show(
        lambda progress: run_alignment(particles, directory, settings, progress=progress, call=call, **asked),
        lambda outcome: summary(outcome.record, already=outcome.already),
        what="this alignment",
    )


def summary(record: dict[str, Any], *, already: bool) -> list[str]:
    """Return what a finished alignment says of itself, a line each."""
    lines = ["This alignment has finished; nothing was changed." if already else record["stopped_because"]]
    sizes = [one["members"] for one in record["classes"]]
    if len(sizes) > 1:
        lines.append(f"{len(sizes)} classes of {min(sizes)} to {max(sizes)} particles")
    return lines
