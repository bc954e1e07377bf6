"""Command-line options made of the settings in ``cryoisac.settings``: declared there once, spelled here."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import click

from cryoisac.settings import Described, Setting, Settings, describe

Chosen = TypeVar("Chosen", bound=Settings)
Command = TypeVar("Command", bound=Callable[..., Any])

METAVARS = {int: "N", float: "X", str: "TEXT"}


class SettingOption(click.Option):
    """An option whose help shows one spelling, though it may have several."""

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """Return the spelling and what it means."""
        if self.hidden:
            return None
        shown = " / ".join((self.opts[0], *self.secondary_opts[:1]))
        return (shown if self.is_flag else f"{shown} {self.metavar}"), self.help or ""


def settings_options(settings: type[Settings]) -> Callable[[Command], Command]:
    """Return a decorator that gives a click command one option for each setting, in their order.

    An option is spelled as its setting with hyphens; underscores, the original program's spelling, and lower case are
    accepted too: ``--img-per-grp`` or ``--img_per_grp``, ``--ctf`` or ``--CTF``, ``--FL`` or ``--fl``. A switch that
    is on by default is turned off by ``--no-...``. Ranges are checked when the settings are made.

    Parameters
    ----------
    settings : type of Settings
        The class whose settings become options.

    Returns
    -------
    callable
        The decorator; the command receives each setting under its name, for ``from_options``.
    """

    def decorate(command: Command) -> Command:
        for described in reversed(list(describe(settings))):
            command = option_of(described, _spellings(described))(command)
        return command

    return decorate


threads_option = click.option(
    "--threads",
    cls=SettingOption,
    type=click.IntRange(min=1),
    metavar="N",
    default=None,
    help="Number of threads; the result does not depend on it.  [1 or more; default: all cores]",
)


def device_options(command: Command) -> Command:
    """Give a click command the options ``device`` and ``gpu_memory_use``, for ``engine.devices.choose_devices``."""
    share = ("--gpu-memory-use", "--gpu_memory_use")
    command = click.option(*share, cls=SettingOption, type=float, metavar="X", default=0.9, help=SHARE)(command)
    return click.option("--device", cls=SettingOption, metavar="NAME", default="cpu", help=DEVICE)(command)


DEVICE = (
    "What computes: cpu, cuda for all GPUs, or some as cuda:0,1; auto takes the first GPU where PyTorch has one, else "
    "the processor.  [default: cpu]"
)
SHARE = "Share of the free memory of the GPUs to use.  [more than 0, at most 1; default: 0.9]"


def from_options(settings: type[Chosen], options: Mapping[str, Any]) -> Chosen:
    """Return settings from the options of a command; others among ``options`` are left alone.

    Raises
    ------
    SettingError
        If a value is out of range, or two disagree.
    """
    return settings(**{d.name: options[d.name] for d in describe(settings) if d.name in options})


def option_of(d: Described, spellings: Sequence[str]) -> Callable[[Command], Command]:
    """Return a decorator that gives a click command the option of one setting, under some spellings."""
    off = [f"--no-{s[2:]}" if d.type is bool and d.default else "" for s in spellings]
    names = [f"{yes}/{no}" if no else yes for yes, no in zip(spellings, off, strict=True)]
    kind: dict[str, Any] = {"is_flag": True} if d.type is bool else {"type": _kind(d), "metavar": _metavar(d)}
    return click.option(*names, d.name, cls=SettingOption, default=d.default, help=_help(d), **kind)


def _spellings(d: Described) -> list[str]:
    """Return all spellings of a flag, the one to show first."""
    every = [d.flag, f"--{d.name}"]
    if d.setting.original:
        every.append(f"--{d.setting.original}")
    return list(dict.fromkeys(every + [s.lower() for s in every]))


def _kind(d: Described) -> Any:
    return click.Choice(d.setting.choices) if d.setting.choices else d.type


def _metavar(d: Described) -> str:
    return "NAME" if d.setting.choices else METAVARS[d.type]


def _help(d: Described) -> str:
    """Return the meaning, then unit, range, default and method in brackets."""
    only = f"with --method {d.method}" if d.method else ""
    facts = "; ".join(fact for fact in (_domain(d.setting), _default(d), only) if fact)
    return f"{d.setting.meaning}  [{facts}]" if facts else d.setting.meaning


def _domain(setting: Setting) -> str:
    low, high, unit = setting.at_least, setting.at_most, setting.unit
    if setting.choices:
        return ", ".join(setting.choices[:-1]) + f" or {setting.choices[-1]}"
    if low is not None and high is not None:
        limits = f"{low:g} to {high:g}"
    elif low is not None:
        limits = f"{low:g} or more"
    else:
        limits = f"up to {high:g}" if high is not None else ""
    return f"{limits} {unit}".strip()


def _default(d: Described) -> str:
    if d.type is bool:
        return "on by default" if d.default else ""
    if d.default is None:
        return f"default: {d.setting.automatic}" if d.setting.automatic else ""
    return f"default: {d.default:g}" if isinstance(d.default, int | float) else f"default: {d.default}"
