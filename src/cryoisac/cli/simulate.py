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
from cryoisac.simulate import density
from cryoisac.simulate.files import Simulated, simulate


@click.command("simulate")
@click.argument("out_dir", type=click.Path(file_okay=False, path_type=Path))
@click.option("--map", "map_file", type=click.Path(path_type=Path), metavar="FILE", help="Density to project, MRC.")
@click.option(
    "--map-pixel-size",
    type=click.FloatRange(min=0, min_open=True),
    metavar="X",
    help="Pixel size of the map in Å, where its header is wrong.",
)
@click.option(
    "--pdb", "pdb_file", type=click.Path(path_type=Path), metavar="FILE", help="Atoms to project, PDB or mmCIF."
)
@settings_options(Simulation)
def command(
    out_dir: Path, map_file: Path | None, map_pixel_size: float | None, pdb_file: Path | None, **options: Any
) -> None:
    """Make particle images whose classes and poses are known.

    Writes particles.mrcs and particles.star, truth.csv and simulation.json into OUT_DIR. Without --map or --pdb a
    ribosome-like molecule is made up. Same seed, same images.
    """
    settings = from_options(Simulation, options)
    particle = _density(map_file, map_pixel_size, pdb_file, settings)
    with _progress() as on_progress:
        made = simulate(out_dir, settings, density=particle, on_progress=on_progress)
    click.echo(_summary(made, settings))


def _density(
    map_file: Path | None, map_pixel_size: float | None, pdb_file: Path | None, settings: Simulation
) -> density.Density | None:
    if map_file and pdb_file:
        raise SettingError("--map", "cannot be given together with --pdb; leave one of them out")
    if map_pixel_size and not map_file:
        raise SettingError("--map-pixel-size", "has no meaning without --map")
    for file in (map_file, pdb_file):
        if file:
            file.open("rb").close()
    if map_file:
        return density.from_map(map_file, pixel_size_A=map_pixel_size)
    return density.from_structure(pdb_file, pixel_size_A=settings.pixel_size) if pdb_file else None


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
