"""``sp_compute_isac_avg.py``: full-size averages by the options of SPHIRE's program, for scripts that call it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from cryoisac.cli import main as cli
from cryoisac.cli.sphire import DropIn
from cryoisac.errors import SettingError
from cryoisac.settings import Averaging

PROGRAM = "sp_compute_isac_avg.py"
ABSENT = -1.0  # what the original's options say for "not given"
ALL = 1000000


def main(arguments: Sequence[str] | None = None) -> None:
    """Run ``sp_compute_isac_avg.py`` and leave with its exit status."""
    cli.leave(arguments, command, PROGRAM)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run ``sp_compute_isac_avg.py`` and return its exit status; mistakes in the input become one line on stderr."""
    return cli.run(arguments, command, PROGRAM)


def _output(isac_dir: Path, given: str) -> Path:
    """Return the output directory: ``sharpen_<isac_dir>`` by default, ``sharpen`` inside where both are the same."""
    if not given:
        return Path(f"sharpen_{isac_dir.resolve().name}")
    same = Path(given).resolve() == isac_dir.resolve()
    return isac_dir / "sharpen" if same else Path(given)


def _settings(options: dict[str, Any]) -> Averaging:
    """Return the settings that options of the original mean."""
    given = {name: value for name, value in options.items() if value != ABSENT}
    if given.get("navg", 0) >= ALL:
        del given["navg"]
    names = {"noctf": "no_ctf", "b_start": "B_start", "bfactor": "Bfactor"}
    return Averaging(**{names.get(name, name): value for name, value in given.items()})


@click.command(PROGRAM, cls=DropIn)
@click.option("--stack", default="", metavar="FILE", help="Particle stack that was given to ISAC; needed.")
@click.option("--isac_dir", default="", metavar="DIR", help="ISAC output directory; needed.")
@click.option("--output_dir", default="", metavar="DIR", help="Output directory.  [default: sharpen_<isac_dir>]")
@click.option(
    "--pw_adjustment",
    default="analytical_model",
    metavar="MODEL",
    help="analytical_model, bfactor, no_adjustment, or a text file with a power spectrum.  [default: analytical_model]",
)
@click.option("--pixel_size", type=float, default=ABSENT, metavar="X", help="Pixel size in Å; -1: the stack's.")
@click.option("--radius", type=float, default=ABSENT, metavar="N", help="Particle radius in px; -1: the ISAC run's.")
@click.option(
    "--fl",
    type=float,
    default=ABSENT,
    metavar="X",
    help="Low-pass cut-off up to 0.5; -1: none, with bfactor FH1; 0: FH1; 1: FH2.  [default: -1]",
)
@click.option("--local_alignment", is_flag=True, help="Refine the pose of each member in its class first.")
@click.option("--xr", type=float, default=ABSENT, metavar="N", help="Range of local alignment in px; -1: a working px.")
@click.option("--navg", type=int, default=ALL, metavar="N", help="Only the first N averages.")
@click.option("--noctf", is_flag=True, help="Leave the CTF alone, as for stained particles.")
@click.option("--B_start", "b_start", type=float, default=45.0, metavar="X", help="Low end of the B-factor's fit in Å.")
@click.option("--Bfactor", "bfactor", type=float, default=ABSENT, metavar="X", help="B-factor in Å²; -1: fitted.")
@click.option("--fh", type=float, default=ABSENT, metavar="X", help="Highest frequency of local alignment, cycles/px.")
@click.option("--ts", type=float, default=1.0, metavar="X", help="First step of local alignment's shifts in px.")
@click.option("--maxit", type=int, default=5, metavar="N", help="Most rounds of local alignment.")
@click.option("--threads", type=click.IntRange(min=1), metavar="N", help="Number of threads.  [default: all cores]")
def command(stack: str, isac_dir: str, output_dir: str, threads: int | None, **options: Any) -> None:
    """Make averages of the classes of an ISAC run at the full size of its particles.

    As SPHIRE's program of this name does, whose command lines run as they stand. This is cryoisac, on all cores of
    this machine; see also cryoisac average --help.
    """
    for name, value in (("--stack", stack), ("--isac_dir", isac_dir)):
        if not value:
            raise SettingError(name, "is needed; give it")
    settings = _settings(options)
    from cryoisac.cli.average import average

    average(Path(isac_dir), _output(Path(isac_dir), output_dir), settings, stack=Path(stack), threads=threads)
