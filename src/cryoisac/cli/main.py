"""The command ``cryoisac``: finds commands when they are called, and says what went wrong in one line.

A command is a module ``cryoisac.cli.<name>`` with a click command named ``command``. It is imported when it is called,
so that ``cryoisac --help`` need not wait for numerics.
"""

import importlib
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

import click
from click.exceptions import NoArgsIsHelpError

from cryoisac import __version__
from cryoisac.errors import CryoisacError

COMMANDS = {
    "isac": "Sort particle images into stable, homogeneous classes.",
    "mra": "Align particles with references, and sort them by these.",
    "rfa": "Align particles to their own average.",
    "simulate": "Make particle images whose classes and poses are known.",
    "substack": "Take the members of chosen classes, with their poses.",
    "average": "Make averages of classes at the full size of the particles.",
    "order": "Put class averages into an order in which neighbours look alike.",
    "transform": "Move images by the poses of a table, and add up their classes.",
    "score": "Compare a classification with the truth of a simulation.",
    "explore": "Look at the images of a finished classification.",
    "devices": "Show what this machine computes with.",
}
INTERRUPTED = 130


class LazyGroup(click.Group):
    """A group whose commands are listed in ``COMMANDS`` and imported when called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands, in the order in which they are shown."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return a command, or ``None`` where there is none of that name."""
        if cmd_name not in COMMANDS:
            return None
        found = importlib.import_module(f"cryoisac.cli.{cmd_name.replace('-', '_')}").command
        assert isinstance(found, click.Command)
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands and what they do, without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, message="%(prog)s %(version)s")
def group() -> None:
    """Sort cryo-EM particle images into stable, homogeneous classes."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave with 0, or 1 for an error, 2 for a wrong call, 130 when interrupted.

    Parameters
    ----------
    arguments : sequence of str, optional
        Arguments without the program's name; ``sys.argv`` by default.
    """
    leave(arguments)


def leave(
    arguments: Sequence[str] | None = None, command: click.Command = group, program: str = "cryoisac"
) -> NoReturn:
    """Run a command line by itself, and leave with its exit status; see ``run``."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # threads are the engine's; must precede NumPy
    sys.exit(run(arguments, command, program))


def run(arguments: Sequence[str] | None = None, command: click.Command = group, program: str = "cryoisac") -> int:
    """Run the command line and return its exit status; mistakes in the input become one line on stderr."""
    try:
        result = command.main(args=arguments, prog_name=program, standalone_mode=False)
        return result if isinstance(result, int) else 0
    except click.Abort:
        return _say("Interrupted.", INTERRUPTED)
    except NoArgsIsHelpError as error:
        click.echo(error.format_message())
        return error.exit_code
    except click.UsageError as error:
        where = error.ctx.command_path if error.ctx else program
        return _say(f"Error: {error.format_message().rstrip('.')}; see {where} --help.", error.exit_code)
    except click.ClickException as error:
        return _say(f"Error: {error.format_message()}", error.exit_code)
    except CryoisacError as error:
        return _say(f"Error: {error}", 1)
    except OSError as error:
        return _say(f"Error: {_where(error)}{error.strerror or error}", 1)
    except MemoryError as error:
        return _say(f"Error: not enough memory ({error or 'no details'})", 1)


def _where(error: OSError) -> str:
    return f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, str | bytes | os.PathLike) else ""


def _say(line: str, status: int) -> int:
    """Write one line to stderr and return ``status``."""
    click.echo(" ".join(line.split()), err=True)
    return status
