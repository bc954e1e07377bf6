"""Any stack of class averages in an order by likeness, as files."""

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cryoisac.errors import DataError, SettingError
from cryoisac.io.atomic import write_whole
from cryoisac.io.eman_hdf import write_hdf_stack
from cryoisac.io.mrc_write import write_mrc_stack
from cryoisac.model.particles import Particles
from cryoisac.products.averages import ordered
from cryoisac.products.ordering import Ordering, order_averages
from cryoisac.run.threads import one_thread_a_product
from cryoisac.settings import Order

KEPT = ("members", "n_objects", "ISAC_class_id")
COLUMNS = ("position", "average", "image", "angle_deg", "mirror", "similarity")


@dataclass(frozen=True, eq=False, kw_only=True)
class Ordered:
    """Averages in their order.

    Parameters
    ----------
    averages : Particles
        As they were read.
    ordering : Ordering
        Their order.
    images : ndarray, shape (k, n, n), float32
        The averages in that order, turned and mirrored to lie on each other.
    circular : bool
        Whether the order closes.
    """

    averages: Particles
    ordering: Ordering
    images: npt.NDArray[np.float32]
    circular: bool


def order_stack(averages: Particles, settings: Order) -> Ordered:
    """Return averages in an order in which neighbours look alike.

    Raises
    ------
    DataError
        If there are fewer than two, they are not square, smaller than 12 px or not finite.
    SettingError
        If the range or the radius does not fit the box.
    """
    _check(averages, settings)
    pixels = averages.read(np.arange(len(averages)))
    bad = np.flatnonzero(~np.isfinite(pixels).all(axis=(1, 2)))
    if len(bad):
        raise DataError(averages.path, f"average {bad[0] + 1} has pixels that are not finite; leave it out")
    with one_thread_a_product():
        ordering = order_averages(
            pixels,
            range_px=settings.xr,
            radius_px=settings.radius,
            seed=settings.seed,
            circular=settings.circular,
        )
    images = ordered(pixels, ordering)
    return Ordered(averages=averages, ordering=ordering, images=images, circular=settings.circular)


def _check(averages: Particles, settings: Order) -> None:
    k, (h, w) = len(averages), averages.box_px
    if k < 2:
        raise DataError(averages.path, f"holds {k} average; an order needs two or more")
    if h != w:
        raise DataError(averages.path, f"averages are {w} x {h} px; they must be squares, to be turned on each other")
    if h < 12:
        raise DataError(averages.path, f"averages are {h} px wide; at least 12 are needed to compare them")
    half = h // 2
    if settings.xr >= half - 1:
        raise SettingError("--xr", f"is {settings.xr}; averages of {h} px leave room for shifts up to {half - 2} px")
    if settings.radius is not None and settings.radius > half:
        raise SettingError(
            "--radius", f"is {settings.radius} px, beyond the edge of averages of {h} px; at most {half}"
        )


def write_stack(path: Path, made: Ordered) -> None:
    """Write the ordered averages: as MRC where the name says so, else as HDF with the headers that are kept."""
    sizes = made.averages.pixel_size_A
    pixel_size_A = None if sizes is None else float(sizes[0])
    if path.suffix in (".mrcs", ".mrc"):
        write_whole(path, lambda temporary: write_mrc_stack(temporary, made.images, pixel_size_A))
        return
    headers = [_header(made.averages, i) for i in made.ordering.order.tolist()]
    write_whole(path, lambda temporary: write_hdf_stack(temporary, made.images, pixel_size_A, headers))


def _header(averages: Particles, i: int) -> dict[str, Any]:
    """Return what is kept of the header of an average."""
    found = {name: averages.attributes[name][i] for name in KEPT if name in averages.attributes}
    return {name: value for name, value in found.items() if value is not None}


def write_order_table(path: Path, made: Ordered) -> None:
    """Write a row for each position: average from 1, its name, how it was turned, its likeness to the one before it.

    The first of a circle is compared with the last, the first of a chain with none.
    """
    o = made.ordering
    before = np.roll(o.order, 1)
    similarity = o.similarity[o.order, before]
    if not made.circular:
        similarity[0] = np.nan

    def write(temporary: Path) -> None:
        with temporary.open("w", newline="") as file:
            rows = csv.writer(file, lineterminator="\n")
            rows.writerow(COLUMNS)
            for position, average in enumerate(o.order.tolist()):
                angle, mirror = o.angle_deg[position], int(o.mirror[position])
                name = made.averages.name_of(average)
                rows.writerow((position + 1, average + 1, name, f"{angle:.4f}", mirror, f"{similarity[position]:.4f}"))

    write_whole(path, write)
