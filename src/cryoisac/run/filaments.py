"""Segments of filaments: which way each lies, and the bars that show it."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cryoisac.engine.contract import Indices
from cryoisac.errors import DataError
from cryoisac.model.particles import Particles
from cryoisac.model.poses import rotate
from cryoisac.ops.masks import Mask, filament_rectangle
from cryoisac.settings import Isac

Float = npt.NDArray[np.float64]
RELION_COLUMN, EMAN_ATTRIBUTE = "rlnAnglePsiPrior", "segment_angle"


@dataclass(frozen=True, eq=False, kw_only=True)
class Filaments:
    """What is known of filaments.

    Parameters
    ----------
    width_px : float
        Their width in the input images.
    angle_deg : ndarray, shape (n,)
        Angle of the filament in each input image, positive from x towards -y; half a turn does not matter.
    masked : bool
        Whether working images are 0 beyond the bars, or only measured by them.
    """

    width_px: float
    angle_deg: Float
    masked: bool = True

    def bars(self, rows: Indices, box_px: int) -> Mask:
        """Return the bars of input images ``rows``, shape (m, box_px, box_px)."""
        return filament_rectangle(box_px, int(self.width_px) // 2, self.angle_deg[rows])

    def working_bars(self, rows: Indices, box_px: int, ratio: float) -> Mask:
        """Return the bars of images ``rows`` shrunk by ``ratio``, shape (m, box_px, box_px)."""
        return filament_rectangle(box_px, working_half_width_px(self.width_px, ratio), self.angle_deg[rows])


def working_half_width_px(width_px: float, ratio: float) -> int:
    """Return half the width of the bar in working images, in working pixels."""
    return int(width_px * ratio + 0.5) // 2


def across(shift_px: Float, angle_deg: Float) -> Float:
    """Return shifts (x, y), shape (n, 2), less what of them is along filaments at ``angle_deg``, shape (n,)."""
    turned = rotate(-angle_deg, shift_px)  # the filament along x
    return rotate(angle_deg, turned * (0.0, 1.0))


def segment_angles_deg(particles: Particles) -> Float | None:
    """Return the angle of the filament in each image, as ``Filaments`` wants it, or ``None`` where it is not told.

    It is ``rlnAnglePsiPrior`` of a RELION table, the psi that lays the filament along x, or ``segment_angle`` of
    EMAN2's headers.

    Raises
    ------
    DataError
        If an image has no such angle though others do.
    """
    if particles.metadata is not None and RELION_COLUMN in particles.metadata.particles:
        name, cells = RELION_COLUMN, particles.metadata.particles.columns[RELION_COLUMN].tolist()
    elif EMAN_ATTRIBUTE in particles.attributes:
        name, cells = EMAN_ATTRIBUTE, list(particles.attributes[EMAN_ATTRIBUTE])
    else:
        return None
    angle = np.array([_number(cell) for cell in cells])
    bad = np.flatnonzero(~np.isfinite(angle))
    if len(bad):
        raise DataError(
            f"{particles.path}: image {bad[0] + 1} ({particles.name_of(int(bad[0]))})",
            f"has no number for {name}, by which --filament-width lays its bar; trace its filament, or remove it",
        )
    return angle


def filaments_of(particles: Particles, settings: Isac) -> Filaments | None:
    """Return the filaments that particles are segments of, by their angles and ``filament_width``, or ``None``."""
    width = settings.filament_width
    angle_deg = None if width is None else segment_angles_deg(particles)
    if width is None or angle_deg is None:
        return None
    return Filaments(width_px=width, angle_deg=angle_deg, masked=not settings.filament_mask_ignore)


def _number(cell: object) -> float:
    try:
        return float(cell)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return np.nan
