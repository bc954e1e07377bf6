"""How well the members of a class are laid on each other, whatever the frame of the class."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cryoisac.model.poses import Poses, pixel_error, rotate, wrap

Float = npt.NDArray[np.float64]

CANDIDATES = 200
NEAR_DEG = 20.0


@dataclass(frozen=True, eq=False, kw_only=True)
class AlignmentErrors:
    """Errors of ``m`` members against the truth, after one rigid motion common to all.

    Parameters
    ----------
    pixel_error : ndarray, shape (m,)
        Root-mean-square distance over the particle's disc, in pixels; infinite where the mirror is wrong.
    rotation_deg : ndarray, shape (m,)
        Error of the angle, 0 to 180; NaN where the mirror is wrong.
    shift_px : ndarray, shape (m,)
        Distance by which the particle's centre is missed, in pixels; NaN where the mirror is wrong.
    """

    pixel_error: Float
    rotation_deg: Float
    shift_px: Float

    @property
    def mirror_right(self) -> npt.NDArray[np.bool_]:
        """Whether each member is mirrored as most are, shape (m,)."""
        return np.isfinite(self.pixel_error)


def alignment_errors(found: Poses, true: Poses, *, radius_px: float) -> AlignmentErrors:
    """Compare poses of the members of one class that show the same view.

    Parameters
    ----------
    found : Poses
        Carries each image to its class.
    true : Poses
        Carries each image to its view.
    radius_px : float
        Radius of the particle, in pixels.

    Returns
    -------
    AlignmentErrors

    Notes
    -----
    The motion from class to view is fitted robustly: its mirror by majority; its angle as the mean of those within 20
    degrees of the most central one; its centre as the median of where the members' true centres lie in the class.
    """
    apart = found.inverse().then(true)  # class to view, as each member has it
    mirror = np.full(len(found), 2 * int(apart.mirror.sum()) > len(found))
    right = apart.mirror == mirror
    angle = np.full(len(found), _central_angle(apart.angle_deg[right]))
    centre = np.median(found[right].apply(true[right].offset_px()), axis=0)
    motion = Poses(angle_deg=angle, shift_px=-rotate(angle, centre), mirror=mirror)
    left = found.then(motion).inverse().then(true)  # view to view: the identity where there is no error
    still = Poses.identity(len(found))
    turn = wrap(left.angle_deg)
    return AlignmentErrors(
        pixel_error=pixel_error(left, still, radius_px=radius_px),
        rotation_deg=np.where(right, np.minimum(turn, 360 - turn), np.nan),
        shift_px=np.where(right, np.linalg.norm(left.shift_px, axis=1), np.nan),
    )


def _central_angle(angle_deg: Float) -> float:
    """Mean of the angles near the one that has the least median distance to all, in degrees."""
    picked = angle_deg[np.linspace(0, len(angle_deg) - 1, min(CANDIDATES, len(angle_deg))).astype(int)]
    distance = np.abs(_signed(angle_deg[:, None] - picked))
    best = picked[np.median(distance, axis=0).argmin()]
    off = _signed(angle_deg - best)
    return float(best + off[np.abs(off) <= NEAR_DEG].mean())


def _signed(angle_deg: Float) -> Float:
    signed: Float = wrap(angle_deg + 180.0) - 180.0
    return signed
