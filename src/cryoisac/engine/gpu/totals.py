"""Sums of the images of classes on a device, laid on each other pixel by pixel or by coefficients of rings."""

from collections.abc import Callable
from functools import cached_property

import numpy as np
import torch

from cryoisac.engine.contract import Indices
from cryoisac.engine.gpu.memory import Place
from cryoisac.engine.gpu.moving import warped
from cryoisac.engine.gpu.ring_sums import RingSums, ring_placements
from cryoisac.engine.gpu.store import Store
from cryoisac.engine.gpu.sums import class_sums
from cryoisac.engine.gpu.transfer import sent
from cryoisac.errors import DataError
from cryoisac.model.poses import Poses
from cryoisac.ops.polar import Float

LAID_BYTES = 160  # of a pixel of a row that is laid on its class: points, neighbours, their indices


class ImageSums:
    """Adds up images of a store.

    Parameters
    ----------
    store : Store
        The images, pixel after pixel, and one value more of each.
    box_px : int
        Their side.
    place : Place
        The device.
    """

    def __init__(self, store: Store, box_px: int, place: Place) -> None:
        self._store, self._box, self._place = store, box_px, place

    def resampled(self, labels: Indices, images: Indices, poses: Poses, k: int) -> Float:
        """Return the sum over each class of its images laid on it, shape (k, h, h); see ``Engine.total``."""
        placements, side = _placements(poses, self._box), self._box

        def moved(own: torch.Tensor, rows: Indices) -> torch.Tensor:
            return warped(own, sent(placements[rows], self._place.device)).flatten(1)

        sums = self._added(labels, images, (k, side * side), moved, LAID_BYTES * side * side)
        return sums.reshape(k, side, side)

    def by_rings(self, labels: Indices, images: Indices, poses: Poses, k: int) -> Float:
        """Return the same by the coefficients of rings; see ``ring_total``."""
        placements, rings = ring_placements(poses, self._box), self._rings

        def turned(own: torch.Tensor, rows: Indices) -> torch.Tensor:
            return rings.turned(own, placements[rows])

        return rings.pixels(self._added(labels, images, (k, rings.size), turned, rings.row_bytes))

    @cached_property
    def _rings(self) -> RingSums:
        return RingSums(self._box, self._place)

    def _added(
        self,
        labels: Indices,
        images: Indices,
        shape: tuple[int, int],
        laid: Callable[[torch.Tensor, Indices], torch.Tensor],
        row_bytes: int,
    ) -> Float:
        """Return the sums over classes, of a shape, of what ``laid(images, rows)`` makes of images (n, h, h)."""

        def values(rows: Indices, following: Indices) -> torch.Tensor:
            result = laid(self._store.take(images[rows])[:, :-1].view(-1, self._box, self._box), rows)
            self._store.expect(images[following])
            return result

        return class_sums(labels, *shape, values, self._place, row_bytes)


def _placements(poses: Poses, side_px: int) -> Float:
    """Return cos, sin, x, y and mirror of each pose, shape (m, 5); the box repeats, as in the original."""
    if not np.isfinite(poses.rows()).all():
        raise DataError("poses", "an angle or shift is not a finite number")
    angle = np.deg2rad(poses.angle_deg)
    shift = np.fmod(poses.shift_px, side_px)
    return np.column_stack((np.cos(angle), np.sin(angle), shift, poses.mirror))
