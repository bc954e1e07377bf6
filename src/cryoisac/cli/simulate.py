"""``cryoisac simulate``: particle images whose classes and poses are known."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from cryoisac.cli.options import from_options, settings_options
from cryoisac.errors import SettingError
from cryoisac.settings import Simulation
from cryoisac.simulation import density
from cryoisac.simulation.files import Simulated, simulate


@click.command("simulate")
@click.argument("out_dir", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--map",
    "map_files",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="FILE",
    help="Density to project, MRC; give several for a mixture.",
)
@click.option(
    "--map-pixel-size",
    type=click.FloatRange(min=0, min_open=True),
    metavar="X",
    help="Pixel size of the maps in Å, where their headers are wrong.",
)
@click.option(
    "--pdb",
    "pdb_files",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="FILE",
    help="Atoms to project, PDB or mmCIF; give several for a mixture.",
)
@settings_options(Simulation)
def command(
    out_dir: Path,
    map_files: tuple[Path, ...],
    map_pixel_size: float | None,
    pdb_files: tuple[Path, ...],
    **options: Any,
) -> None:
    """Make particle images whose classes and poses are known.

    Writes particles.mrcs and particles.star, truth.csv and simulation.json into OUT_DIR. Without --map or --pdb a
    ribosome-like molecule is made up. Several of them, maps first, are mixed in equal numbers, each with views of its
    own and the same SNR. Same seed, same images.
    """
    settings = from_options(Simulation, options)
    molecules = _densities(map_files, map_pixel_size, pdb_files, settings)
    with _progress() as on_progress:
        made = simulate(out_dir, settings, densities=molecules, on_progress=on_progress)
    click.echo(_summary(made, settings))


def _densities(
    map_files: tuple[Path, ...], map_pixel_size: float | None, pdb_files: tuple[Path, ...], settings: Simulation
) -> list[density.Density]:
    if settings.filament and (map_files or pdb_files):
        raise SettingError("--filament", "is made up; leave out --map and --pdb")
    if map_pixel_size and not map_files:
        raise SettingError("--map-pixel-size", "has no meaning without --map")
    for file in (*map_files, *pdb_files):
        file.open("rb").close()
    maps = [density.from_map(file, pixel_size_A=map_pixel_size) for file in map_files]
    return maps + [density.from_structure(file, pixel_size_A=settings.pixel_size) for file in pdb_files]


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[int, int], None] | None]:
    """Give a function that moves a bar on a terminal, or ``None`` elsewhere."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console  # only a terminal needs it
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("Simulating", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _summary(made: Simulated, settings: Simulation) -> str:
    radius_px = round(made.radius_px)
    junk = f" ({made.junk} of them junk)" if made.junk else ""
    return (
        f"Simulated {made.images} images{junk} of {settings.box} px at {settings.pixel_size:g} Å: "
        f"{settings.views} views, SNR {settings.snr:g}, {made.density}.\n"
        f"Particle radius: {radius_px} px ({made.radius_px * settings.pixel_size:.0f} Å).\n"
        f"Particles: {made.particles}\n"
        f"Truth:     {made.truth}"
    )
