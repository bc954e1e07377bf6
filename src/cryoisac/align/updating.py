"""How averages become the references of the next iteration: masked, low-passed where halves agree, centred."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cryoisac.align.averages import Averages
from cryoisac.align.multireference import followed, mean_shifts_px
from cryoisac.engine.contract import Images, Indices
from cryoisac.model.poses import Poses
from cryoisac.ops import fourier
from cryoisac.ops.center import Reference, prepare_reference
from cryoisac.ops.masks import Mask
from cryoisac.ops.spectra import RingCorrelation

Float = npt.NDArray[np.float64]
Update = Callable[[Images, RingCorrelation, Mask, int], Reference]

MEAN_SHIFT = -1


@dataclass(frozen=True, eq=False, kw_only=True)
class Updating:
    """How references are made.

    Parameters
    ----------
    mask : ndarray, shape (h, w), bool
        Shape of the particle.
    center_method : int
        -1 by the mean shift of the members, 0 not, 1 to 7 as ``ops.center``.
    lowest_cutoff : float
        Least cut-off of the low-pass filter, in cycles per pixel.
    function : callable, optional
        ``function(average, frc, mask, method)`` takes the place of ``ops.center.prepare_reference``.
    """

    mask: Mask
    center_method: int
    lowest_cutoff: float
    function: Update | None = None

    def one(self, average: Images, frc: RingCorrelation, method: int) -> Reference:
        """Return the reference made of one average."""
        if self.function is not None:
            return self.function(average, frc, self.mask, method)
        return prepare_reference(average, self.mask, frc, method, lowest_cutoff=self.lowest_cutoff)


@dataclass(frozen=True, eq=False, kw_only=True)
class Updated:
    """References, and what was done to make them.

    Parameters
    ----------
    references : ndarray, shape (k, h, w), float32
        The references.
    poses : Poses
        Poses of the n members on them.
    cutoffs, falloffs : ndarray, shape (k,)
        Low-pass filter of each, in cycles per pixel and relative; NaN where a function does not tell.
    """

    references: Images
    poses: Poses
    cutoffs: Float
    falloffs: Float


def updated(averages: Averages, labels: Indices, poses: Poses, how: Updating, *, center: bool = True) -> Updated:
    """Return the references made of averages, and the members' poses on them.

    Parameters
    ----------
    averages : Averages
        Averages of k classes.
    labels : ndarray, shape (n,), int64
        Class of each image.
    poses : Poses
        Poses on the averages.
    how : Updating
        Mask, filter and centring.
    center : bool
        Whether to centre by the image, where that is the method; by the mean shift they always are.
    """
    k = len(averages.images)
    by_mean = how.center_method == MEAN_SHIFT
    method = how.center_method if center and not by_mean else 0
    frc = averages.frc
    curves = [RingCorrelation(frequency=frc.frequency, correlation=c, count=frc.count) for c in frc.correlation]
    made = [how.one(image, curve, method) for image, curve in zip(averages.images, curves, strict=True)]
    references = np.stack([reference.image for reference in made]).astype(np.float32)
    centres = np.array([reference.centre_px for reference in made], dtype=np.float64).reshape(k, 2)
    if by_mean:
        centres = mean_shifts_px(labels, poses, k)
        references = fourier.shift(references, -centres)
    return Updated(
        references=references,
        poses=followed(poses, -centres[labels]),
        cutoffs=np.array([reference.cutoff for reference in made]),
        falloffs=np.array([reference.falloff for reference in made]),
    )
