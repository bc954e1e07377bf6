"""``cryoisac devices``: what this machine computes with, and how much it can hold."""

from collections.abc import Iterator
from pathlib import Path

import click

from cryoisac.engine.devices import MEMORY_SHARE, gpu_rows
from cryoisac.engine.native import INSTRUCTIONS, default_threads, instruction_set, instruction_sets
from cryoisac.run.room import available_memory_bytes, size
from cryoisac.settings import Isac

PIXEL_BYTES = 4


@click.command("devices")
def command() -> None:
    """Show what this machine computes with: the processor, its memory, and every GPU that PyTorch can use.

    The result of a run does not depend on the number of threads. The environment variable CRYOISAC_INSTRUCTIONS
    chooses another instruction set than the best.
    """
    _show([*_rows(), *gpu_rows(Isac().box_px, MEMORY_SHARE)])


def show_needs(particles: Path, settings: Isac, threads: int | None, memory_share: float = MEMORY_SHARE) -> None:
    """Show what this machine computes with, what a run needs, and how many classes fit by the original's method."""
    from cryoisac.workflow.isac import needs

    found = needs(particles, settings, threads=threads)
    s, plan = found.plan.settings, found.plan
    rows = [
        ("particles", f"{plan.images:,}, {plan.geometry.target_box_px} px when they are aligned"),
        ("classes", f"{plan.classes:,} of about {s.img_per_grp} particles, in the first generation"),
        ("needed", f"{size(plan.memory_bytes)} of memory, {size(plan.disk_bytes)} of disk"),
    ]
    if found.most_classes is not None:
        number = f"{found.most_classes:,}" if found.most_classes < plan.images // 2 else "any number of"
        rows.append(("limit", f"{number} classes of these particles fit into the memory that is free"))
    _show([*_rows(), *gpu_rows(plan.geometry.target_box_px, memory_share), *rows])


def show_machine() -> None:
    """Show what this machine computes with."""
    _show([*_rows(), *gpu_rows(Isac().box_px, MEMORY_SHARE)])


def _show(rows: list[tuple[str, str]]) -> None:
    width = max(len(name) for name, _ in rows)
    click.echo("\n".join(f"{name:<{width}}  {value}" for name, value in rows))


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
