"""``cryoisac isac``: classify particles."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cryoisac.cli.launch import COMMAND_LINE, SoleCommand
from cryoisac.cli.options import SettingOption, device_options, from_options, settings_options, threads_option
from cryoisac.settings import Isac

if TYPE_CHECKING:
    from cryoisac.engine.devices import Devices

INFO = "Say what this machine computes with, what the run needs and what fits into memory, and stop."


@click.command("isac", cls=SoleCommand)
@click.argument("particles", type=click.Path(path_type=Path))
@click.argument("directory", metavar="OUT", required=False, type=click.Path(path_type=Path, file_okay=False))
@settings_options(Isac)
@click.option(
    "--restart",
    cls=SettingOption,
    type=click.IntRange(min=0),
    metavar="K",
    default=None,
    help="Go back: with 0 to the first start, or of --method isac2 to the beginning of the unfinished main iteration; "
    "with K to the end of its main iteration K.",
)
@threads_option
@device_options
@click.option("--gpu-info", "--gpu_info", cls=SettingOption, is_flag=True, help=INFO)
def command(
    particles: Path,
    directory: Path | None,
    restart: int | None,
    threads: int | None,
    device: str,
    gpu_memory_use: float,
    **options: Any,
) -> None:
    """Sort PARTICLES (a STAR file, an MRC or HDF stack, or bdb:DIR#NAME) into classes, in the directory OUT.

    OUT is made; the same command continues a run that was interrupted. Then look at OUT/report.html, and go on
    with the particles of OUT/classified.star.
    """
    settings = from_options(Isac, options)
    from cryoisac.engine.devices import choose_devices

    devices = choose_devices(device, gpu_memory_use)
    if options["gpu_info"]:
        from cryoisac.cli.devices import show_needs

        show_needs(particles, settings, threads, gpu_memory_use, devices)
        return
    if directory is None:
        raise click.UsageError("Missing argument 'OUT'.")
    play(particles, directory, settings, threads=threads, restart=restart, devices=devices)


def play(
    particles: Path,
    directory: Path,
    settings: Isac,
    *,
    threads: int | None,
    restart: int | None,
    devices: "Devices | None" = None,
    without: str = "",
) -> None:
    """Run ISAC and show how it goes.

    Parameters
    ----------
    particles, directory, settings, threads, restart
        As ``workflow.run_isac`` takes them.
    devices, without
        As ``run.call.Call`` has them; by default the processor.
    """
    from cryoisac.cli.progress import show
    from cryoisac.engine.devices import PROCESSOR
    from cryoisac.run.call import Call
    from cryoisac.workflow.isac import run_isac

    command_line = click.get_current_context().meta[COMMAND_LINE]
    call = Call(command=command_line, devices=devices or PROCESSOR, without=without)
    show(
        lambda progress: run_isac(
            particles, directory, settings, threads=threads, restart=restart, progress=progress, call=call
        ),
        lambda outcome: summary(outcome.record, already=outcome.already),
        what="this run",
    )


def summary(record: dict[str, Any], *, already: bool) -> list[str]:
    """Return what a finished run says of itself, a line each."""
    counts = record["counts"]
    share = 100 * counts["accounted"] / max(counts["images"], 1)
    lines = ["This run has finished; nothing was changed."] if already else [record["stopped_because"]]
    lines.append(
        f"{len(record['classes'])} classes, {counts['accounted']} of {counts['images']} particles "
        f"accounted for ({share:.1f} %)"
    )
    return lines
