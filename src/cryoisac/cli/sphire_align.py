"""``sp_mref_ali2d.py`` and ``sp_ali2d.py``: the command lines of SPARX's alignments, as Cryo-RAlib takes them too.

Option names, defaults and the meaning of -1 are those of the originals; what is run is ``cryoisac mra`` and
``cryoisac rfa``.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import click

from cryoisac.cli.main import leave
from cryoisac.cli.main import run as run_command
from cryoisac.cli.mra import play
from cryoisac.cli.options import SettingOption, from_options, option_of, threads_option
from cryoisac.cli.sphire import DEVICES, DropIn, spelling
from cryoisac.errors import SettingError
from cryoisac.settings import Described, Multireference, ReferenceFree, describe

AUTOMATIC = -1
INFO = "Say what this machine computes with and what the alignment needs, and stop."


@dataclass(frozen=True, kw_only=True)
class Aligner:
    """What the two programs do not share.

    Parameters
    ----------
    name : str
        Name of the program.
    does : str
        What it does, for its help.
    settings : type
        Its settings.
    files : tuple of str
        Names of its arguments; the last one, the mask, may be left out.
    defaults : mapping
        Defaults that are not those of the settings.
    hidden : tuple of str
        Settings that have no option of their own.
    """

    name: str
    does: str
    settings: type[Multireference] | type[ReferenceFree]
    files: tuple[str, ...]
    defaults: Mapping[str, Any] = field(default_factory=dict)
    hidden: tuple[str, ...] = ("mask",)


MREF = Aligner(
    name="sp_mref_ali2d.py",
    does="Sort the particles of STACK by the references that they resemble",
    settings=Multireference,
    files=("STACK", "REFERENCE_STACK", "OUTPUT_DIRECTORY", "MASK"),
    defaults={"radius": AUTOMATIC, "xr": "0", "yr": "-1", "ts": "1", "center_method": 1, "maxit": 10},
    hidden=("mask", "sizes"),
)
ALI2D = Aligner(
    name="sp_ali2d.py",
    does="Align the particles of STACK to their own average",
    settings=ReferenceFree,
    files=("STACK", "OUTPUT_DIRECTORY", "MASK"),
    defaults={"radius": AUTOMATIC, "xr": "4 2 1 1", "yr": "-1", "ts": "2 1 0.5 0.25"},
)


def mref_main(arguments: Sequence[str] | None = None) -> None:
    """Run ``sp_mref_ali2d.py`` and leave with its exit status."""
    leave(arguments, command_of(MREF), MREF.name)


def ali2d_main(arguments: Sequence[str] | None = None) -> None:
    """Run ``sp_ali2d.py`` and leave with its exit status."""
    leave(arguments, command_of(ALI2D), ALI2D.name)


def run(program: Aligner, arguments: Sequence[str] | None = None) -> int:
    """Run one of the programs and return its exit status; mistakes in the input become one line on stderr."""
    return run_command(arguments, command_of(program), program.name)


def settings_of(program: Aligner) -> list[Described]:
    """Return the settings that a program has as options, with its defaults."""
    return [
        replace(d, default=program.defaults.get(d.name, d.default))
        for d in describe(program.settings)
        if d.name not in program.hidden
    ]


def command_of(program: Aligner) -> click.Command:
    """Return the command of a program."""
    shown = f"{' '.join(program.files[:-1])} [{program.files[-1]}]"

    def callback(paths: tuple[Path, ...], **options: Any) -> None:
        if not len(program.files) - 1 <= len(paths) <= len(program.files):
            raise click.UsageError(
                f"{len(paths)} files and directories are given; usage: {program.name} {shown} [options]"
            )
        start(program, dict(zip(program.files, paths, strict=False)), options)

    text = (
        f"{program.does}, as SPARX's and Cryo-RAlib's programs do, in OUTPUT_DIRECTORY.\n\n"
        "The command lines of the originals run as they stand. This is cryoisac, on all cores of this machine; see "
        f"also cryoisac {program.settings.command} --help."
    )
    command = DropIn(program.name, callback=callback, help=text)
    for add in _parameters(program, shown):
        add(command)
    return command


def _flag(name: str, text: str) -> Callable[[Any], Any]:
    return click.option(f"--{name}", name, cls=SettingOption, is_flag=True, help=text)


def _parameters(program: Aligner, shown: str) -> list[Callable[[Any], Any]]:
    """Return what adds arguments and options to a command, in their order."""
    own = (
        [_flag("EQ", "Make classes of equal size.")]
        if program is MREF
        else [
            click.option(
                "--mode", "mode", cls=SettingOption, metavar="F", default="F", help="F: whole rings.  [default: F]"
            ),
            click.option(
                "--random_method", "random_method", cls=SettingOption, metavar="NAME", default="", help="Leave it out."
            ),
            _flag("orient", "Leave it out."),
        ]
    )
    return [
        click.argument("paths", type=click.Path(path_type=Path), nargs=-1, metavar=shown),
        *(option_of(d, [spelling(d)]) for d in settings_of(program)),
        *own,
        click.option("--gpu_devices", "gpu_devices", cls=SettingOption, metavar="LIST", default="", help=DEVICES),
        _flag("gpu_info", INFO),
        _flag("MPI", "Accepted: one process takes all cores in any case."),
        threads_option,
    ]


def start(program: Aligner, files: Mapping[str, Path], options: Mapping[str, Any]) -> None:
    """Do what a command line says: align, continue, or tell what would be needed.

    Parameters
    ----------
    program : Aligner
        The program that was called.
    files : mapping of str to Path
        Its arguments by their names.
    options : mapping
        Its options by the names of settings.
    """
    settings = settings_from(program, options, files.get("MASK"))
    from cryoisac.engine.devices import numbered_devices
    from cryoisac.run.call import Call, gpu_numbers

    devices, without = numbered_devices(gpu_numbers(options["gpu_devices"]))
    play(
        files["STACK"],
        files["OUTPUT_DIRECTORY"],
        settings,
        references=files.get("REFERENCE_STACK"),
        threads=options["threads"],
        call=Call(devices=devices, without=without),
        only_tell=options["gpu_info"],
    )


def settings_from(
    program: Aligner, options: Mapping[str, Any], mask: Path | None = None
) -> Multireference | ReferenceFree:
    """Return the settings that options mean: -1 is automatic for the radius.

    Parameters
    ----------
    program : Aligner
        The program that was called.
    options : mapping
        Its options by the names of settings.
    mask : Path, optional
        File of a mask.

    Raises
    ------
    SettingError
        If a value is out of range, two disagree, or what is asked for is not there.
    """
    if options.get("mode", "F") != "F":
        raise SettingError(
            "--mode", f"{options['mode']} is not there: half rings tell only images that half a turn leaves as they are"
        )
    if options.get("random_method") and program is ALI2D:
        raise SettingError(
            "--random_method", f"{options['random_method']} is not there: the best of all poses is found; leave it out"
        )
    if options.get("orient"):
        raise SettingError("--orient", "is not there: it is for layer lines of helices; leave it out")
    meant = dict(options) | {"mask": None if mask is None else str(mask)}
    meant["radius"] = None if options["radius"] == AUTOMATIC else options["radius"]
    if options.get("EQ"):
        meant["sizes"] = "equal"
    return from_options(program.settings, meant)
