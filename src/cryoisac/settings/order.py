"""Settings of the order of class averages."""

from dataclasses import dataclass
from typing import Annotated

from cryoisac.settings.base import Setting, Settings


@dataclass(frozen=True, kw_only=True)
class Order(Settings):
    """Settings of an order of class averages by likeness."""

    radius: Annotated[
        int | None,
        Setting(
            "Radius of the circle in which averages are compared.", "px", at_least=1, automatic="half the box, less 2"
        ),
    ] = None
    xr: Annotated[
        int,
        Setting(
            "Shifts that are tried when two averages are laid on each other, along x and y.",
            "px",
            at_least=0,
            original="range",
        ),
    ] = 4
    circular: Annotated[
        bool, Setting("Close the order, so that the last average is like the first; else it is a chain with two ends.")
    ] = True
    seed: Annotated[int, Setting("Seed of the search for the order.", at_least=0)] = 0
