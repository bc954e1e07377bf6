"""What a method of making classes comes to, whichever it was."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cryoisac.engine.contract import Images
from cryoisac.model.ledger import Ledger


@dataclass(frozen=True, eq=False, kw_only=True)
class Result:
    """Classes of ``n`` images.

    Parameters
    ----------
    ledger : Ledger
        What became of each image.
    averages : ndarray, shape (c, h, w), float32
        Class averages.
    shift_px : ndarray, shape (n, 2)
        Shifts (x, y), in input pixels, that centred the images before poses were found.
    chapters : tuple of dict
        Generations: what entered and what came of it.
    changes : tuple of dict
        Splits and merges, with their gains.
    stopped_because : str
        Why the run stopped.
    starts : tuple of dict
        Random starts, with their classes and the evidence for them.
    warnings : tuple of str
        What the user should know of the classes.
    """

    ledger: Ledger
    averages: Images
    shift_px: npt.NDArray[np.float64]
    chapters: tuple[dict[str, Any], ...]
    changes: tuple[dict[str, Any], ...]
    stopped_because: str
    starts: tuple[dict[str, Any], ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def sizes(self) -> npt.NDArray[np.int64]:
        """Members of each class, shape (c,)."""
        label = self.ledger.label
        return np.bincount(label[label >= 0], minlength=len(self.averages))

    @property
    def pixel_errors_px(self) -> npt.NDArray[np.float64]:
        """Root-mean-square pixel error of each class's members, shape (c,), over those whose error is known.

        Infinite where none is, as in the ledger.
        """
        ledger, c = self.ledger, len(self.averages)
        known = (ledger.label >= 0) & np.isfinite(ledger.pixel_error_px)
        squares = np.bincount(ledger.label[known], weights=ledger.pixel_error_px[known] ** 2, minlength=c)
        count = np.bincount(ledger.label[known], minlength=c)
        error: npt.NDArray[np.float64] = np.sqrt(np.divide(squares, count, out=np.full(c, np.inf), where=count > 0))
        return error
