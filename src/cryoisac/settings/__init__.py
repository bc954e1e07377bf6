"""Every setting of every command, once: unit, range, default and meaning. Flags and pages are read from here."""

from cryoisac.settings.alignment import Alignment, Multireference, ReferenceFree
from cryoisac.settings.averaging import Averaging
from cryoisac.settings.base import Described, Setting, Settings, check, default_of, describe
from cryoisac.settings.explore import Explore
from cryoisac.settings.isac import Isac
from cryoisac.settings.order import Order
from cryoisac.settings.simulation import Simulation
from cryoisac.settings.substack import Substack
from cryoisac.settings.transform import Transform

__all__ = [
    "Alignment",
    "Averaging",
    "Described",
    "Explore",
    "Isac",
    "Multireference",
    "Order",
    "ReferenceFree",
    "Setting",
    "Settings",
    "Simulation",
    "Substack",
    "Transform",
    "check",
    "default_of",
    "describe",
]
