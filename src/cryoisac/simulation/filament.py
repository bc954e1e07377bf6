"""A helical filament: subunits on a screw about an axis, seen from the side."""

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter

from cryoisac.errors import SettingError
from cryoisac.simulation.density import SOLVENT_SHARE, Density, blobs, folded_chain
from cryoisac.streams import stream

Float = npt.NDArray[np.float64]

RISE, TWIST_DEG = 0.13, 100.0
SUBUNIT_PLACE, SUBUNIT_AXES, SUBUNIT_STEPS, SUBUNIT_SCALE = 0.08, (1.0, 0.7, 0.9), 240, 0.09
SIGMA, BLUR = 0.012, 0.07
SHOWN, FADE = 0.33, 0.05


def filament(*, box_px: int, pixel_size_A: float, max_shift_px: float, seed: int) -> Density:
    """Make up a filament along z that runs through the image: a polar helix of subunits without symmetry of their own.

    Subunits lie 0.13 of the box apart along the axis and 100 degrees about it. The filament fades out just inside the
    edge of the box, so that no shift brings an end to the opposite edge; the disc that counts as the particle has a
    radius of 0.33 of the box, inside which there is no end unless it is shifted.

    Parameters
    ----------
    box_px : int
        Side of the images it is meant for.
    pixel_size_A : float
        Side of a voxel.
    max_shift_px : float
        Shift for which room is left at the ends.
    seed : int
        Same seed, same filament.

    Returns
    -------
    Density

    Raises
    ------
    SettingError
        If shifts would bring the ends into the disc.
    """
    half_px = box_px * (0.5 - BLUR) - max_shift_px
    if half_px < SHOWN * box_px:
        most_px = box_px * (0.5 - BLUR - SHOWN)
        raise SettingError(
            "--max-shift", f"is {max_shift_px:g} px; a filament in {box_px} px allows {most_px:.1f} px; raise --box"
        )
    chain = folded_chain(stream(seed, "subunit"), SUBUNIT_STEPS, centre=(0.0, 0.0, 0.0), axes=SUBUNIT_AXES)
    subunit = chain * SUBUNIT_SCALE + (SUBUNIT_PLACE, 0.0, 0.0)
    several = int(np.ceil(half_px / (RISE * box_px))) + 1
    position_px = np.concatenate([screwed(subunit, step) for step in range(-several, several + 1)]) * box_px
    fade_px = FADE * box_px
    inside = np.clip((half_px - np.abs(position_px[:, 2])) / fade_px, 0.0, 1.0)
    kept = inside > 0
    weight = np.sin(np.pi / 2 * inside[kept]) ** 2
    blur_px = BLUR * box_px
    bare = np.pad(blobs(position_px[kept], weight, np.full(len(weight), max(SIGMA * box_px, 0.6))), int(2 * blur_px))
    return Density(
        values=bare - SOLVENT_SHARE * gaussian_filter(bare, blur_px, truncate=3.0),
        pixel_size_A=pixel_size_A,
        name=f"filament, seed {seed}",
        shown_A=SHOWN * box_px * pixel_size_A,
    )


def screwed(position: Float, step: int) -> Float:
    """Return positions (x, y, z), shape (a, 3), in units of the box, carried ``step`` subunits along the helix."""
    angle = np.deg2rad(step * TWIST_DEG)
    c, s = np.cos(angle), np.sin(angle)
    turned: Float = position @ np.array([[c, s, 0.0], [-s, c, 0.0], [0.0, 0.0, 1.0]]) + (0.0, 0.0, step * RISE)
    return turned


def azimuth_frames(n: int, rng: np.random.Generator) -> Float:
    """Return the orientations, shape (n, 3, 3), of ``n`` views from the side, evenly spread over half a turn.

    The filament lies along x of the image; from behind, over the other half turn, it shows mirror images.
    """
    azimuth = np.pi * np.arange(n) / n + rng.uniform(0, 2 * np.pi)
    zero, one = np.zeros(n), np.ones(n)
    along = np.stack((zero, zero, one), axis=1)
    view = np.stack((np.cos(azimuth), np.sin(azimuth), zero), axis=1)
    return np.stack((along, np.cross(view, along), view), axis=1)
