"""``cryoisac devices``: what this machine computes with, and how much it can hold."""

from collections.abc import Iterator
from pathlib import Path

import click

from cryoisac.engine.devices import MEMORY_SHARE, PROCESSOR, Devices, gpu_rows
from cryoisac.engine.holding import PIXEL_BYTES, Kind, size
from cryoisac.engine.native import INSTRUCTIONS, default_threads, instruction_set, instruction_sets
from cryoisac.run.plan import held_kind
from cryoisac.run.room import available_memory_bytes
from cryoisac.run.working_stack import Geometry
from cryoisac.settings import Isac

CLASS_SIZE = 200  # where no run says another: the original's


@click.command("devices")
def command() -> None:
    """Show what this machine computes with: the processor, its memory, and every GPU that PyTorch can use.

    The result of a run does not depend on the number of threads. The environment variable CRYOISAC_INSTRUCTIONS
    chooses another instruction set than the best.
    """
    show_machine()


def show_needs(
    particles: Path,
    settings: Isac,
    threads: int | None,
    memory_share: float = MEMORY_SHARE,
    devices: Devices = PROCESSOR,
) -> None:
    """Show what this machine computes with, what a run needs, how devices will keep its images, and how many fit.

    Parameters
    ----------
    particles : Path
        Metadata file or stack.
    settings : Isac
        Settings of the run.
    threads : int or None
        Threads; as many as there are, by default.
    memory_share : float
        Share of the memory of GPUs that may be taken, whether the run uses them or not.
    devices : Devices
        What the run uses.
    """
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
    kind = held_kind(plan.geometry, s)
    rows += [("device" if i == 0 else "", line) for i, line in enumerate(devices.plan(plan.images, kind.image_bytes))]
    _show([*_rows(kind.class_size), *gpu_rows([kind], memory_share), *rows])


def show_machine() -> None:
    """Show what this machine computes with."""
    _show([*_rows(), *gpu_rows(usual_kinds(), MEMORY_SHARE)])


def usual_kinds() -> list[Kind]:
    """Return images as both methods hold them by default."""
    found = []
    for method in ("isac2", "likelihood"):
        s = Isac(method=method, img_per_grp=CLASS_SIZE, max_shift=None if method == "isac2" else 0.0)
        radius = s.target_radius
        sizes = Geometry(box_px=s.box_px, radius_px=radius, target_radius_px=radius, target_box_px=s.box_px)
        found.append(held_kind(sizes, s))
    return found


def _show(rows: list[tuple[str, str]]) -> None:
    width = max(len(name) for name, _ in rows)
    click.echo("\n".join(f"{name:<{width}}  {value}" for name, value in rows))


def _rows(class_size: int = CLASS_SIZE) -> Iterator[tuple[str, str]]:
    """Yield what is shown: a name and a value each."""
    yield (
        "instructions",
        f"{instruction_set()} (this processor has {', '.join(instruction_sets())}; see {INSTRUCTIONS})",
    )
    yield "threads", str(default_threads())
    memory, side = available_memory_bytes(), Isac().box_px
    yield "memory", "unknown" if memory is None else f"{size(memory)} free"
    if memory is not None:
        count = images_that_fit(memory, side)
        yield "images", f"{count:,} of {side} px fit into it, {count // class_size:,} classes of {class_size:,}"


def images_that_fit(memory_bytes: int, side_px: int) -> int:
    """Return how many working images of a side in pixels fit into memory, as float32."""
    return memory_bytes // (PIXEL_BYTES * side_px**2)
