"""Classes filled up with random members: a rule of the original."""

from dataclasses import replace

import numpy as np

from cryoisac.cluster.stability import Labels, Stability
from cryoisac.model.poses import Poses

FILLED_ERROR_PX = 100.0


def fill_up(found: Stability, labels: Labels, fewest: int, draw: np.random.Generator) -> Stability:
    """Return a stability test in which every class that has images enough has at least ``fewest`` stable members.

    Parameters
    ----------
    found : Stability
        What the test said of ``n`` rows.
    labels : ndarray, shape (n,), int64
        The class of each row, 0 to k - 1.
    fewest : int
        Fewest members; 0 leaves everything as it is.
    draw : numpy.random.Generator
        Where the members that are added come from.

    Returns
    -------
    Stability
        With the random rows counted as stable, in the identity pose, their pixel error 100 px.

    Notes
    -----
    SPHIRE's ISAC, with 5. It goes on for ever where a class has fewer images than that; here the class takes them all.
    """
    if not fewest:
        return found
    order = np.lexsort((draw.random(len(labels)), ~found.stable, labels))  # by class: its stable rows, then the others
    sorted_labels = labels[order]
    place = np.arange(len(order)) - np.searchsorted(sorted_labels, sorted_labels)
    added = np.zeros(len(labels), dtype=bool)
    added[order] = place < fewest
    added &= ~found.stable
    return replace(
        found,
        stable=found.stable | added,
        pixel_error_px=np.where(added, FILLED_ERROR_PX, found.pixel_error_px),
        poses=found.poses.replaced(np.flatnonzero(added), Poses.identity(int(added.sum()))),
    )
