"""``cryoisac average``: full-size averages of the classes of a finished run."""

from pathlib import Path
from typing import Any

import click

from cryoisac.cli.options import SettingOption, from_options, settings_options, threads_option
from cryoisac.settings import Averaging


@click.command("average")
@click.argument("run_dir", metavar="RUN", type=click.Path(path_type=Path))
@click.argument("directory", metavar="OUT", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--stack",
    cls=SettingOption,
    type=click.Path(path_type=Path),
    metavar="FILE",
    default=None,
    help="The particles that were classified; those that the run names by default.",
)
@settings_options(Averaging)
@threads_option
def command(run_dir: Path, directory: Path, stack: Path | None, threads: int | None, **options: Any) -> None:
    """Make averages of the classes in RUN at the full size of the particles, in the directory OUT.

    RUN is the directory of a finished classification: of cryoisac isac, of SPHIRE's ISAC, or of averages made before.
    OUT is made; the same command continues what was interrupted. Then look at OUT/report.html.
    """
    average(run_dir, directory, from_options(Averaging, options), stack=stack, threads=threads)


def average(run_dir: Path, directory: Path, settings: Averaging, *, stack: Path | None, threads: int | None) -> None:
    """Make averages, and say what happens.

    Parameters
    ----------
    run_dir, directory : Path
        Directories of the classification and of the averages.
    settings : Averaging
        The settings.
    stack : Path or None
        The particles; ``None`` for those that the classification names.
    threads : int or None
        Threads; ``None`` for all cores.
    """
    from cryoisac.cli.progress import show
    from cryoisac.workflow.averaging import run_average

    show(
        lambda progress: run_average(run_dir, directory, settings, stack=stack, threads=threads, progress=progress),
        lambda outcome: summary(outcome.record, already=outcome.already),
        what="these averages",
    )


def summary(record: dict[str, Any], *, already: bool) -> list[str]:
    """Return what finished averages say of themselves, a line each."""
    classes = record["classes"]
    lengths = sorted(c["resolution_A"] for c in classes if c["resolution_A"] is not None)
    lines = ["These averages are finished; nothing was changed."] if already else []
    told = f", resolution {lengths[0]:.1f} to {lengths[-1]:.1f} Å" if lengths else ""
    unknown = len(classes) - len(lengths)
    rest = f" ({unknown} of unknown resolution)" if lengths and unknown else ""
    lines.append(f"{len(classes)} averages of {record['counts']['accounted']} particles{told}{rest}")
    return lines
