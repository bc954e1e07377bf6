"""``sp_isac2_gpu.py`` and ``sp_isac2.py``: the command lines of SPHIRE's ISAC as they stand, run by this program.

Option names, defaults and the meaning of -1 are those of the originals; what is run is ``--method isac2``, and the run
directory is the same as that of ``cryoisac isac --method isac2``.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from itertools import pairwise
from pathlib import Path
from typing import Any

import click

from cryoisac.cli.isac import play
from cryoisac.cli.launch import SoleCommand
from cryoisac.cli.main import leave
from cryoisac.cli.main import run as run_command
from cryoisac.cli.options import SettingOption, from_options, option_of, threads_option
from cryoisac.settings import Described, Isac, describe

ALONE = "last"  # what --restart without a number means
AUTOMATIC = -1
SAID: dict[str, dict[str, Any]] = {
    "radius": {"meaning": "Particle radius in the input images; required.", "automatic": ""},
    "minimum_grp_size": {"automatic": "0.6 of img_per_grp"},
    "ctf": {"meaning": "Flip phases by the CTF."},
}
GONE = {"gpu_class_limit": "is no option of the original either; --gpu_info says how many classes fit"}


@dataclass(frozen=True, kw_only=True)
class Program:
    """What the two programs do not share.

    Parameters
    ----------
    name : str
        Name of the program.
    directory : str
        Form, as of ``time.strftime``, of the run directory's name where none is given.
    defaults : mapping
        Defaults that are not those of ``cryoisac isac``.
    """

    name: str
    directory: str
    defaults: Mapping[str, Any] = field(default_factory=dict)


GPU = Program(name="sp_isac2_gpu.py", directory="ISAC_run_%b-%d-%Y_%H:%M:%S")
CPU = Program(
    name="sp_isac2.py",
    directory="isac_directory_%d_%b_%Y_%H_%M_%S",
    defaults={"img_per_grp": 200, "minimum_grp_size": 60},
)


def gpu_main(arguments: Sequence[str] | None = None) -> None:
    """Run ``sp_isac2_gpu.py`` and leave with its exit status."""
    leave(arguments, command_of(GPU), GPU.name)


def cpu_main(arguments: Sequence[str] | None = None) -> None:
    """Run ``sp_isac2.py`` and leave with its exit status."""
    leave(arguments, command_of(CPU), CPU.name)


def run(program: Program, arguments: Sequence[str] | None = None) -> int:
    """Run one of the programs and return its exit status; mistakes in the input become one line on stderr."""
    return run_command(arguments, command_of(program), program.name)


def settings_of(program: Program) -> list[Described]:
    """Return the settings that a program has as options, with its defaults."""
    every = [d for d in describe(Isac) if d.method in ("", "isac2") and d.name != "method"]
    return [
        replace(
            d,
            default=program.defaults.get(d.name, d.default),
            setting=replace(d.setting, **SAID.get(d.name, {})),
            method="",
        )
        for d in every
    ]


def spelling(d: Described) -> str:
    """Return the original's spelling of an option."""
    return f"--{d.setting.original or d.name}"


class DropIn(SoleCommand):
    """A command with the originals' options; a unique beginning of a name will do, and ``-`` for ``_``, in any case."""

    def __init__(self, name: str, **attributes: Any) -> None:
        read = {"token_normalize_func": self.whole_name, "help_option_names": ["-h", "--help"]}
        super().__init__(name, context_settings=read, **attributes)

    @property
    def names(self) -> list[str]:
        """The options without their dashes."""
        options = [p for p in self.params if isinstance(p, click.Option)]
        return [name[2:] for option in options for name in (*option.opts, *option.secondary_opts)] + ["help"]

    def whole_name(self, given: str) -> str:
        """Return the option that a name means, or the name as it is where it means none, or several."""
        found = [name for name in self.names if _small(name) == _small(given)] or self._begun(given)
        return found[0] if len(found) == 1 and given != "h" else given

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the arguments; an option that is not known is refused with the name that is nearest to it."""
        try:
            return super().parse_args(ctx, [self._completed(*pair) for pair in pairwise([*args, ""])])
        except click.NoSuchOption as error:
            raise click.UsageError(self._advice(error.option_name.lstrip("-")), ctx) from error

    def _completed(self, word: str, following: str) -> str:
        """Return a word of the command line; a --restart that no number follows is given the value that it means."""
        bare = word.startswith("--") and self.whole_name(word[2:]) == "restart"
        return f"--restart={ALONE}" if bare and not following.lstrip("-").isdecimal() else word

    def _begun(self, given: str) -> list[str]:
        return [name for name in self.names if _small(name).startswith(_small(given))]

    def _advice(self, given: str) -> str:
        if _small(given) in GONE:
            return f"--{given} {GONE[_small(given)]}"
        if self._begun(given):
            return f"--{given} may be {' or '.join(f'--{name}' for name in self._begun(given))}; write it out"
        by_small = {_small(name): name for name in self.names}
        nearest = get_close_matches(_small(given), by_small, n=1, cutoff=0.0)
        return f"there is no option --{given}; the nearest is --{by_small[nearest[0]]}"


def _small(name: str) -> str:
    return name.lower().replace("-", "_")


def command_of(program: Program) -> click.Command:
    """Return the command of a program."""

    def callback(paths: tuple[Path, ...], **options: Any) -> None:
        if not 1 <= len(paths) <= 2:
            usage = f"usage: {program.name} stack_file [output_directory] --radius=N [options]"
            raise click.UsageError(f"{len(paths)} files and directories are given, not 1 or 2; {usage}")
        start(program, paths[0], paths[1] if len(paths) > 1 else None, options)

    text = (
        f"Sort the particles of STACK_FILE into classes, as SPHIRE's {program.name} does, in OUTPUT_DIRECTORY.\n\n"
        "The command lines of the original run as they stand. This is cryoisac, on all cores of this machine; see "
        "also cryoisac isac --help."
    )
    command = DropIn(program.name, callback=callback, help=text)
    for add in _parameters(program):
        add(command)
    return command


def _parameters(program: Program) -> list[Callable[[Any], Any]]:
    """Return what adds arguments and options to a command, in their order."""
    return [
        click.argument("paths", type=click.Path(path_type=Path), nargs=-1, metavar="STACK_FILE [OUTPUT_DIRECTORY]"),
        *(option_of(d, [spelling(d)]) for d in settings_of(program)),
        click.option("--restart", "restart", cls=SettingOption, metavar="[K]", default="-1", help=RESTART),
        click.option("--gpu_devices", "gpu_devices", cls=SettingOption, metavar="LIST", default=None, help=DEVICES),
        click.option(
            "--gpu_memory_use",
            "gpu_memory_use",
            cls=SettingOption,
            type=float,
            metavar="X",
            default=0.9,
            help="Share of the free memory of the GPUs to use.  [more than 0, at most 1; default: 0.9]",
        ),
        click.option("--gpu_info", "gpu_info", cls=SettingOption, is_flag=True, help=INFO),
        threads_option,
    ]


RESTART = (
    "Continue a run: from where it stopped if no number follows; with 0 from the beginning of the unfinished main "
    "iteration, with K from the end of its main iteration K.  [default: -1, continue what is there]"
)
DEVICES = "Numbers of the GPUs to use, as 0,1; without any in the machine, the processor computes, and says so."
INFO = "Say what this machine computes with, what the run needs and how many classes fit into memory, and stop."


def start(program: Program, stack_file: Path, output_directory: Path | None, options: Mapping[str, Any]) -> None:
    """Do what a command line says: run, continue, or tell what would be needed.

    Parameters
    ----------
    program : Program
        The program that was called.
    stack_file, output_directory : Path
        Its arguments; without a directory one is named by date and time.
    options : mapping
        Its options by the names of settings.
    """
    settings = settings_from(options)
    restart = restart_at(options["restart"])
    from cryoisac.engine.devices import numbered_devices
    from cryoisac.run.call import gpu_numbers, memory_share

    gpus = gpu_numbers(options["gpu_devices"] or "")
    share = memory_share(options["gpu_memory_use"])
    if options["gpu_info"]:
        from cryoisac.cli.devices import show_needs

        show_needs(stack_file, settings, options["threads"], share, numbered_devices(gpus, share)[0])
        return
    directory = output_directory or Path(time.strftime(program.directory))
    if restart == ALONE:
        _check_begun(directory)
    number = restart if isinstance(restart, int) else None
    devices, without = numbered_devices(gpus, share)
    try:
        play(
            stack_file,
            directory,
            settings,
            threads=options["threads"],
            restart=number,
            devices=devices,
            without=without,
        )
    except KeyboardInterrupt:
        if output_directory is None:
            click.echo(f"It needs the directory too: {directory}")
        raise


def settings_from(options: Mapping[str, Any]) -> Isac:
    """Return the settings that options mean: -1 is automatic where there is such a thing.

    Raises
    ------
    UsageError
        If there is no radius.
    SettingError
        If a value is out of range, or two disagree.
    """
    if options["radius"] is None:
        raise click.UsageError("--radius is required, as in the original (cryoisac isac estimates it)")
    automatic = {d.name for d in describe(Isac) if d.default is None}
    meant = {n: None if n in automatic and value == AUTOMATIC else value for n, value in options.items()}
    return from_options(Isac, meant | {"method": "isac2"})


def restart_at(given: str) -> int | str | None:
    """Return the main iteration to go back to, ``ALONE`` for the last state, or ``None`` for no restart.

    Raises
    ------
    UsageError
        If it is no number from -1.
    """
    if given == ALONE:
        return ALONE
    try:
        number = int(given)
    except ValueError:
        number = AUTOMATIC - 1
    if number < AUTOMATIC:
        raise click.UsageError(f"--restart {given} is no main iteration; give 0, the number of one, or nothing")
    return None if number == AUTOMATIC else number


def _check_begun(directory: Path) -> None:
    """Raise ``RunError`` unless a run was begun in a directory."""
    from cryoisac.errors import RunError
    from cryoisac.run.directory import RunDirectory

    if RunDirectory(directory).read_record() is None:
        raise RunError(directory, "--restart needs a run that was started; leave it out to start one")
