"""Sums over classes that do not depend on batches: rows sorted by class, a few added up at a time, then in float64."""

from collections.abc import Callable

import numpy as np
import torch

from cryoisac.engine.contract import Indices
from cryoisac.engine.gpu.memory import Place, in_batches
from cryoisac.engine.gpu.transfer import sent
from cryoisac.ops.polar import Float

TOGETHER = 64  # rows of a class that are added up in float32


def class_sums(
    labels: Indices, k: int, size: int, moved: Callable[[Indices, Indices], torch.Tensor], place: Place, row_bytes: int
) -> Float:
    """Return the sum of the rows of each class.

    Parameters
    ----------
    labels : ndarray, shape (m,), int64
        Class of each row; rows with -1 are left out.
    k : int
        Classes.
    size : int
        Values of a row.
    moved : callable
        ``moved(rows, next_rows)``: what is added up of some rows, (n, size), and rows that will be asked for next.
    place : Place
        The device.
    row_bytes : int
        What a row takes while it is made.

    Returns
    -------
    ndarray, shape (k, size), float64
        Sums.
    """
    sums = np.zeros((k, size))
    order = np.argsort(labels, kind="stable")
    order = order[np.searchsorted(labels[order], 0) :]
    starts, classes = pieces(labels[order])

    def add(part: slice, following: slice) -> None:
        bounds = starts[part.start : part.stop + 1]
        coming = order[starts[following.start] : starts[following.stop]]
        values = moved(filled(order[bounds[0] : bounds[-1]]), filled(coming))[: bounds[-1] - bounds[0]]
        lengths = sent(np.diff(bounds), place.device)
        added = torch.segment_reduce(values, "sum", lengths=lengths, axis=0, unsafe=True)  # lengths that fit, unread
        for own, piece in zip(classes[part], added.cpu().numpy(), strict=True):
            sums[own] += piece

    in_batches(len(classes), TOGETHER * row_bytes, add, place)
    return sums


def filled(rows: Indices) -> Indices:
    """Return rows, the last one repeated, in a number that divides: few sizes, as cuFFT plans anew for each."""
    return np.concatenate((rows, np.repeat(rows[-1:], -len(rows) % TOGETHER)))


def pieces(labels: Indices) -> tuple[Indices, Indices]:
    """Return where pieces of sorted rows begin, and the end, and the class of each: one class, few rows in a piece."""
    classes, first, counts = np.unique(labels, return_index=True, return_counts=True)
    many = -(-counts // TOGETHER)
    number = np.arange(many.sum()) - np.repeat(np.cumsum(many) - many, many)
    starts = np.repeat(first, many) + number * TOGETHER
    return np.append(starts, len(labels)).astype(np.int64), np.repeat(classes, many)
