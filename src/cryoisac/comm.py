"""The seam through which images can be spread over processes.

A run holds one ``Comm``. Tables over all images are made by ``gather`` from the part that each rank owns; class sums
are made by ``total``. With one rank both return their argument.
"""

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt


class Comm(Protocol):
    """What a run needs from the processes it is spread over."""

    @property
    def rank(self) -> int:
        """Number of this process, from 0."""

    @property
    def size(self) -> int:
        """Number of processes."""

    def share(self, n: int) -> slice:
        """Return the part of ``n`` items that this rank owns."""

    def gather(self, part: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Join the parts of all ranks along the first axis, on every rank."""

    def total(self, part: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Add the arrays of all ranks, on every rank, in rank order."""


class Serial:
    """One process."""

    rank = 0
    size = 1

    def share(self, n: int) -> slice:
        """Return all ``n`` items."""
        return slice(0, n)

    def gather(self, part: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return ``part``."""
        return np.asarray(part)

    def total(self, part: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return ``part``."""
        return np.asarray(part)
