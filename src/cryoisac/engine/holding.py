"""How many images each device of several holds, and what they take of its memory; nothing here needs PyTorch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from cryoisac.ops.polar import Rings

PIXEL_BYTES, COEFFICIENT_BYTES = 4, 8


class Room(Protocol):
    """A device, as far as holding images goes; see ``gpu.memory.Place``."""

    @property
    def budget_bytes(self) -> int:
        """Bytes that this process may take."""

    @property
    def resident_bytes(self) -> int:
        """Bytes that images may take for good."""

    @property
    def batch_bytes(self) -> int:
        """Bytes of a batch."""

    @property
    def speed(self) -> float:
        """How fast it is beside the others."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """Images as a method holds them.

    Parameters
    ----------
    title : str
        What they are called, in the plural.
    image_bytes : int
        What one takes on a device.
    class_size : int
        Images that a class aims at.
    """

    title: str
    image_bytes: int
    class_size: int

    def fitting(self, memory_bytes: int) -> str:
        """Return how many of them fit into memory, and how many classes that is."""
        count = memory_bytes // self.image_bytes
        return f"{count:,} {self.title}, {count // self.class_size:,} classes of {self.class_size:,}"


def pixel_image_bytes(side_px: int) -> int:
    """Return what an image takes on a device that is asked by ``Engine``: its pixels, and their mean."""
    return PIXEL_BYTES * (side_px**2 + 1)


def ring_image_bytes(rings: Rings) -> int:
    """Return what an image takes on a device that is asked by ``LikelihoodEngine``: the coefficients of its rings."""
    return COEFFICIENT_BYTES * sum(length // 2 + 1 for length in rings.lengths)


def shares(count: int, speeds: Sequence[float], rooms: Sequence[int]) -> list[int]:
    """Return how many images each device holds: as many as it is fast, but none more than it has room for.

    Parameters
    ----------
    count : int
        Images.
    speeds : sequence of float
        How fast devices are, in any unit, more than 0.
    rooms : sequence of int
        Images that may stay on each.

    Returns
    -------
    list of int
        Images of each device, ``count`` together.

    Notes
    -----
    What one has no room for is shared out to the others in the same way. Where all together have too little room, some
    images must be brought block by block anyway, and speed alone decides.
    """
    speed, room = np.asarray(speeds, dtype=np.float64), np.asarray(rooms, dtype=np.int64)
    if room.sum() < count:
        room = np.full(len(speed), count)
    full = np.zeros(len(speed), dtype=np.bool_)
    wanted = count * speed / speed.sum()
    while (over := ~full & (wanted > room)).any() and not (full | over).all():
        full |= over
        wanted = np.where(full, room, (count - room[full].sum()) * speed / speed[~full].sum())
    held = np.minimum(np.floor(wanted).astype(np.int64), room)
    order = np.argsort(held - wanted, kind="stable")  # who lost most by rounding comes first
    while (left := count - int(held.sum())) > 0:
        held[[i for i in order if held[i] < room[i]][:left]] += 1
    return [int(n) for n in held]


def shared_out(count: int, image_bytes: int, places: Sequence[Room]) -> list[int]:
    """Return how many images each device holds, by its speed and its memory; see ``shares``."""
    return shares(count, [p.speed for p in places], [p.resident_bytes // image_bytes for p in places])


def plan_lines(count: int, image_bytes: int, places: Sequence[Room], names: Sequence[str]) -> list[str]:
    """Return how each device will keep its images, and how large its batches are, a line each.

    Parameters
    ----------
    count : int
        Images.
    image_bytes : int
        What one takes there.
    places : sequence of Room
        Devices.
    names : sequence of str
        What they are called.
    """
    lines = []
    for held, place, name in zip(shared_out(count, image_bytes, places), places, names, strict=True):
        taken, room = held * image_bytes, place.resident_bytes
        how = f"{held:,} images stay on it, {size(taken)}"
        if taken > room:
            how = f"{held:,} images, {size(taken)}, are brought block by block, as {size(room)} may stay"
        lines.append(f"{name}: {how}; batches of {size(place.batch_bytes)}, {size(place.budget_bytes)} in all")
    return lines


def size(count: float) -> str:
    """Return a number of bytes as a person would say it."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"
