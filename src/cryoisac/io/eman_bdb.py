"""EMAN2 databases, ``bdb:directory#name``: particle images as EMAN2 kept them before it went over to HDF."""

from pathlib import Path

from cryoisac.io.bdb_address import SCHEME, SUFFIX, Address
from cryoisac.io.bdb_pages import is_berkeley
from cryoisac.io.bdb_stack import BdbStack
from cryoisac.io.eman_particles import eman_particles
from cryoisac.model.particles import Particles

SUFFIXES: tuple[str, ...] = (SUFFIX,)


def is_address(path: str | Path) -> bool:
    """Return whether a path is the address of a database, ``bdb:...``, and no file."""
    return str(path).startswith(SCHEME)


def locate(path: str | Path) -> tuple[Path, str]:
    """Return the file of a database, given by its address or by itself, and which of its images are meant.

    Raises
    ------
    FormatError
        If an address names none, or there is none, saying what there is.
    """
    if not is_address(path):
        return Path(path), ""
    address = Address.parse(str(path))
    return address.found(), address.chosen


def sniff(head: bytes) -> bool:
    """Return whether ``head`` begins a database."""
    return is_berkeley(head)


def open_stack(path: str | Path) -> BdbStack:
    """Return the images of a database, given by its address or its file."""
    return BdbStack(*locate(path))


def read(path: Path) -> Particles:
    """Return the images of a database with their headers, as ``eman_particles`` does.

    Raises
    ------
    FormatError
        If there is no such database, it is damaged, or pixels are missing.

    Notes
    -----
    An image is named by its place in an MRC stack where it lies in one, so that RELION can read it, else by its place
    in the database: ``000001@directory/EMAN2DB/name.bdb``, which this package reads again and RELION cannot.
    """
    stack = open_stack(path)

    def name_of(i: int) -> str:
        place = stack.places[i]
        if place.image >= 0:
            return f"{place.image + 1:06d}@{place.file}"
        return f"{int(stack.index[i]) + 1:06d}@{stack.path}"

    return eman_particles(Path(path), stack, name_of=name_of, stacks=(*stack.files, *stack.databases))
