"""A table of text columns, as STAR files hold them: what is not understood is carried through untouched."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, eq=False)
class Table:
    """Named columns of equal length, each a bytes array (dtype ``S``) that holds the text of the file.

    Parameters
    ----------
    columns : dict of str to ndarray, shape (n,), dtype S
        The columns in their order; RELION's names without the leading underscore.
    is_loop : bool
        Whether the block is written as a ``loop_`` (else as name-value pairs, for one row).
    """

    columns: dict[str, npt.NDArray[np.bytes_]]
    is_loop: bool = True

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()))) if self.columns else 0

    def __contains__(self, name: str) -> bool:
        return name in self.columns

    def floats(self, name: str) -> npt.NDArray[np.float64]:
        """Return a column as numbers; ``ValueError`` if a cell is no number."""
        return self.columns[name].astype(np.float64)

    def integers(self, name: str) -> npt.NDArray[np.int64]:
        """Return a column as integers; ``ValueError`` if a cell is no integer."""
        return self.columns[name].astype(np.int64)

    def texts(self, name: str) -> list[str]:
        """Return a column as a list of str."""
        return [cell.decode() for cell in self.columns[name].tolist()]

    def take(self, index: Any) -> "Table":
        """Return the rows that ``index`` (a slice, mask or integer array) selects."""
        return Table({name: column[index] for name, column in self.columns.items()}, self.is_loop)

    def with_column(self, name: str, cells: npt.ArrayLike, *, decimals: int = 6) -> "Table":
        """Return the table with a column set: text as it is, integers as integers, floats with ``decimals``."""
        values = np.asarray(cells)
        if values.dtype.kind == "f":
            text = np.char.encode(np.char.mod(f"%.{decimals}f", values), "ascii")
        elif values.dtype.kind in "iub":
            text = values.astype(np.int64).astype("S20")
        elif values.dtype.kind == "U":
            text = np.char.encode(values, "utf-8")
        else:
            text = values
        return Table({**self.columns, name: text}, self.is_loop)


@dataclass(frozen=True, eq=False)
class Metadata:
    """The blocks of a STAR file: the particles, the optics groups where there are any, and whatever else there is.

    Parameters
    ----------
    particles : Table
        One row an image.
    optics : Table or None
        RELION 3.1+ optics groups; ``None`` for RELION 3.0 files.
    others : dict of str to Table
        Further blocks by name (without ``data_``), carried through.
    particles_block : str
        Name of the particle block (without ``data_``): ``"particles"``, ``"images"`` or ``""``.
    """

    particles: Table
    optics: Table | None = None
    others: dict[str, Table] = field(default_factory=dict)
    particles_block: str = "particles"

    def take(self, index: Any) -> "Metadata":
        """Return the same blocks with the particles that ``index`` selects."""
        return Metadata(self.particles.take(index), self.optics, self.others, self.particles_block)
