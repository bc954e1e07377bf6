"""``cryoisac devices``: what this machine computes with, and how much it can hold."""

from collections.abc import Iterator

import click

from cryoisac.engine.native import INSTRUCTIONS, default_threads, instruction_set, instruction_sets
from cryoisac.run.room import available_memory_bytes, size
from cryoisac.settings import Isac

PIXEL_BYTES = 4


@click.command("devices")
def command() -> None:
    """Show what this machine computes with.

    The result of a run does not depend on the number of threads. The environment variable CRYOISAC_INSTRUCTIONS
    chooses another instruction set than the best.
    """
    rows = list(_rows())
    width = max(len(name) for name, _ in rows)
    click.echo("\n".join(f"{name:<{width}}  {value}" for name, value in rows))
    click.echo("GPUs are not supported yet.")


def _rows() -> Iterator[tuple[str, str]]:
    """Yield what is shown: a name and a value each."""
    yield (
        "instructions",
        f"{instruction_set()} (this processor has {', '.join(instruction_sets())}; see {INSTRUCTIONS})",
    )
    yield "threads", str(default_threads())
    memory, side = available_memory_bytes(), Isac().box_px
    yield "memory", "unknown" if memory is None else f"{size(memory)} free"
    if memory is not None:
        yield "images", f"{images_that_fit(memory, side):,} of {side} px fit into it"


def images_that_fit(memory_bytes: int, side_px: int) -> int:
    """Return how many working images of a side in pixels fit into memory, as float32."""
    return memory_bytes // (PIXEL_BYTES * side_px**2)
