r"""Class averages on rings in Fourier space: sums of CTF-multiplied images, and the Wiener averages made of them.

With images x = C T R + noise, all whitened, a class has the sums :math:`N = \sum T^{-1} C x` and
:math:`D = \sum \overline{C^2}`, and its average is :math:`R = N / (D + f / P)`: P is the power of a particle on a ring,
f the share of the noise that the mask lets through.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from cryoisac.engine.contract import Indices
from cryoisac.engine.likelihood import Float32, LikelihoodEngine, RingImages
from cryoisac.model.poses import Poses
from cryoisac.ops.hartley import ring_power
from cryoisac.ops.outliers import deviations
from cryoisac.ops.polar import Float, Rings

BLOCK = 256  # images whose power is taken at once
UNUSUAL = 4.0  # standard deviations
LEAST_SIGNAL = 1e-3  # of the noise in one image: power that counts as none


@dataclass(frozen=True, eq=False, kw_only=True)
class Prior:
    """What is known of particles before they are sorted.

    Parameters
    ----------
    signal : ndarray, shape (r,)
        Power P of a particle on each ring, where the noise of one image has f.
    share : float
        Share f of the noise that the mask lets through.
    """

    signal: Float
    share: float


@dataclass(frozen=True, eq=False, kw_only=True)
class Sums:
    """Sums over classes, from which averages follow; sums of disjoint classes in one frame add up.

    Parameters
    ----------
    numerator : ndarray, shape (k, samples), float64
        N of each class.
    denominator : ndarray, shape (k, r), float64
        D of each class.
    sizes : ndarray, shape (k,), int64
        Members.
    """

    numerator: Float
    denominator: Float
    sizes: Indices


def estimate_prior(images: RingImages, share: float) -> Prior:
    r"""Return the prior that the images themselves suggest.

    Of what a ring of C x holds on average, :math:`C^4 P + C^2 f`, the noise is taken off; images of unusual power
    are left out.

    Parameters
    ----------
    images : RingImages
        The images; poses do not matter.
    share : float
        Share f of the noise that their mask lets through.
    """
    blocks = range(0, len(images), BLOCK)
    power = np.concatenate([ring_power(images.samples[i : i + BLOCK], images.rings) for i in blocks])
    usual = np.abs(deviations(power @ np.array(images.rings.radii))) <= UNUSUAL
    ctf2, ctf4 = (images.ctf2[usual].astype(np.float64) ** p for p in (1, 2))
    signal = (power[usual].sum(axis=0) - share * ctf2.sum(axis=0)) / np.maximum(ctf4.sum(axis=0), 1e-9)
    return Prior(signal=np.maximum(signal, LEAST_SIGNAL * share), share=share)


def class_sums(engine: LikelihoodEngine, labels: Indices, images: Indices, poses: Poses, k: int) -> Sums:
    """Return the sums of classes.

    Parameters
    ----------
    engine : LikelihoodEngine
        Holds the images.
    labels : ndarray, shape (m,), int64
        Class of each row; rows with -1 are left out.
    images : ndarray, shape (m,), int64
        Image of each row.
    poses : Poses
        Pose of each row on its class.
    k : int
        Number of classes.
    """
    member, ctf2 = np.flatnonzero(labels >= 0), engine.images.ctf2
    own = labels[member], images[member]
    memberships = csr_array((np.ones(len(member)), own), shape=(k, len(ctf2)))
    return Sums(
        numerator=engine.total(labels, images, poses, k),
        denominator=memberships @ ctf2,
        sizes=np.bincount(own[0], minlength=k),
    )


def averages(sums: Sums, prior: Prior, rings: Rings) -> Float32:
    """Return the Wiener averages of classes, shape (k, samples); zeros for a class without members."""
    least = prior.share / prior.signal
    weight = 1.0 / (sums.denominator + least)
    result: Float32 = (sums.numerator * np.repeat(weight, rings.lengths, axis=1)).astype(np.float32)
    return result


def likelihood_of(sums: Sums, prior: Prior, rings: Rings) -> npt.NDArray[np.float64]:
    r"""Return the logarithm of the evidence for each class being one view, poses given.

    .. math:: \tfrac12 \sum_k 2 \pi k \left( \frac{\overline{N^2}}{D + f/P} - f \log(1 + P D / f) \right)
    """
    area = np.pi * np.array(rings.radii)
    fit = ring_power(sums.numerator, rings) / (sums.denominator + prior.share / prior.signal)
    price = prior.share * np.log1p(prior.signal * sums.denominator / prior.share)
    evidence: npt.NDArray[np.float64] = (fit - price) @ area
    return evidence
