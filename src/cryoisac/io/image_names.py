"""Image names of RELION, ``000001@stack.mrcs``: which image of which file."""

from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import numpy as np
import numpy.typing as npt

from cryoisac.errors import FormatError
from cryoisac.io.stacks import Places
from cryoisac.io.star_text import Bytes, gather, octets

AT = ord("@")
LONGEST_NUMBER = 15


def split_names(listing: Path, names: Bytes) -> tuple[npt.NDArray[np.int64], Bytes]:
    """Split image names at the ``@``.

    Parameters
    ----------
    listing : Path
        The file they come from, for messages.
    names : ndarray, shape (n,), dtype S
        Image names.

    Returns
    -------
    position : ndarray, shape (n,), int64
        Number before the ``@`` less one; -1 where there is no ``@``.
    files : ndarray, shape (n,), dtype S
        What follows.

    Raises
    ------
    FormatError
        Naming the row, if what stands before the ``@`` is no number from 1, or no file follows.
    """
    cells = octets(names)
    n, width = cells.shape
    length = np.char.str_len(names)
    found = cells == AT
    has = found.any(axis=1)
    at = np.where(has, found.argmax(axis=1), 0)
    number = np.zeros(n, dtype=np.int64)
    good = (at <= LONGEST_NUMBER) & (length > at + has) & ((at > 0) | ~has)
    for j in range(min(int(at.max(initial=0)), LONGEST_NUMBER)):
        here = j < at
        good &= ~here | ((cells[:, j] >= ord("0")) & (cells[:, j] <= ord("9")))
        number = np.where(here, 10 * number + cells[:, j] - ord("0"), number)
    good &= ~has | (number > 0)
    if not good.all():
        row = int(np.flatnonzero(~good)[0])
        text = bytes(names[row]).decode(errors="replace")
        raise FormatError(listing, f"row {row + 1}: image name '{text}' is not of the form 000001@stack.mrcs")
    skip = at + has
    return number - 1, gather(cells.reshape(-1), np.arange(n) * width + skip, length - skip)


def locate(listing: Path, names: Bytes, root: Path | None = None) -> Places:
    """Find the files of image names.

    Parameters
    ----------
    listing : Path
        The STAR file that the names come from.
    names : ndarray, shape (n,), dtype S
        Image names.
    root : Path, optional
        Directory to look in first; what is there is not looked for elsewhere.

    Raises
    ------
    FormatError
        Naming the row and the paths tried, if a file is missing; or the row and both files, if the current directory
        holds another file of that name than the directory of the STAR file and those above it.

    Notes
    -----
    RELION takes names relative to the directory that it is started in, its project's; there the two are the same.
    """
    position, files = split_names(listing, names)
    heads = np.flatnonzero(np.concatenate(([True], files[1:] != files[:-1])))  # first row of each run of one file
    unique, first, of_run = np.unique(files[heads], return_index=True, return_inverse=True)
    lengths = np.diff(np.append(heads, len(files)))
    stacks = tuple(
        _find(listing, cell.decode(errors="replace"), int(heads[i]), root)
        for cell, i in zip(unique.tolist(), first.tolist(), strict=True)
    )
    return Places(listing=listing, stacks=stacks, stack=np.repeat(of_run.astype(np.int64), lengths), position=position)


def root_of(places: Places, names: Bytes) -> Path | None:
    """Return the absolute directory that the first name was found relative to, or ``None`` if that is absolute."""
    name = Path(bytes(names[0]).decode(errors="replace").rpartition("@")[2])
    if name.is_absolute():
        return None
    found: Path = places.stacks[int(places.stack[0])].absolute().parents[len(name.parts) - 1]
    return found


def _find(listing: Path, name: str, row: int, root: Path | None) -> Path:
    """Return the file of this name under ``root``, else the one in the current directory or beside the listing."""
    if root is not None and (root / name).is_file():
        return root / name
    here, above = Path(name), [folder / name for folder in listing.absolute().parents]
    beside = next((path for path in above if path.is_file()), None)
    if not here.is_file():
        return beside or _missing(listing, name, row, [*([root / name] if root is not None else []), here, *above])
    if beside is not None and not here.samefile(beside):
        raise FormatError(
            listing,
            f"row {row + 1}: {name} is one file in the current directory ({here.absolute()}) and another beside "
            f"the table ({beside}); start from another directory, or write the names with their directories",
        )
    return here


def _missing(listing: Path, name: str, row: int, tried: Sequence[Path]) -> NoReturn:
    """Raise ``FormatError`` for a file that is nowhere."""
    tried = list(dict.fromkeys(tried))
    shown = ", ".join(map(str, tried[:3])) + (f" and {len(tried) - 3} directories above" if len(tried) > 3 else "")
    raise FormatError(
        listing,
        f"row {row + 1}: there is no file {name}; looked for {shown}; "
        "put it there, or start from the directory that names are relative to",
    )
