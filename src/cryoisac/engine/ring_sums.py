"""Sums of classes by ring coefficients in compiled code; ``ring_total`` is their definition."""

import numpy as np
import numpy.typing as npt

from cryoisac.engine import _native
from cryoisac.engine.contract import Images, Indices
from cryoisac.engine.ring_total import furthest_ring, rings_of_box
from cryoisac.errors import DataError
from cryoisac.model.poses import Poses

COEFFICIENT_BYTES = 16
LANE_BYTES = 64


class RingSums:
    """Adds images up by the coefficients of their rings.

    Parameters
    ----------
    box_px : int
        Side of the images.
    instructions : str
        Instruction set.
    threads : int
        Threads.
    """

    def __init__(self, box_px: int, *, instructions: str, threads: int) -> None:
        rings = rings_of_box(box_px)
        search = _native.Search.make(
            rings.points_px,
            np.array(rings.lengths, dtype=np.int32),
            np.stack((rings.sample_weights, rings.reference_weights)),
            rings.radii[-1] + 3,  # what the interpolation reaches further than a search's
            1.0,
            1,
            False,
            False,
            True,
        )
        self._kernels = _native.RingSums(instructions, search, box_px, furthest_ring(box_px), threads)

    def total(self, stack: Images, labels: Indices, images: Indices, poses: Poses, k: int) -> npt.NDArray[np.float64]:
        """Return the sum over each class of its images laid on it, shape (k, h, w); see ``Engine.quick_total``."""
        if not np.isfinite(poses.angle_deg).all():
            raise DataError("poses", "an angle is not a finite number")
        order = np.argsort(labels, kind="stable")
        angle = np.deg2rad(poses.angle_deg)
        sums = np.empty((k, *stack.shape[1:]))
        self._kernels.total(
            stack,
            order,
            np.searchsorted(labels[order], np.arange(k + 1)),
            np.ascontiguousarray(images, dtype=np.int64),
            poses.offset_px(),
            np.stack((np.cos(angle), np.sin(angle)), axis=-1),
            poses.mirror.astype(np.uint8),
            sums,
        )
        return sums


def ring_bytes(box_px: int, classes: int, threads: int) -> int:
    """Return the bytes that coefficients of classes take, and what threads need to turn them into pixels."""
    rings, all_rings = rings_of_box(box_px), furthest_ring(box_px) + 2
    canvas = LANE_BYTES * (2 * rings.longest + all_rings * (2 * rings.longest + 5))
    return classes * COEFFICIENT_BYTES * sum(length // 2 + 1 for length in rings.lengths) + threads * canvas
