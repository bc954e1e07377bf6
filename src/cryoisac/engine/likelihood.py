r"""What a likelihood engine is: it holds images on rings in Fourier space and compares them with references there.

An image is x = C T(pose) R + noise: a reference R, posed, under the image's CTF C, with noise that is white after
whitening. Over "no particle at all" its log-likelihood gains

.. math:: L = \sum w \left( R \cdot T^{-1}(C x) - \tfrac12 C^2 R^2 \right),

a sum over samples of rings, each with its area w. The first term is a rotational correlation, that of real rings (the
Hartley transform); of the second only ring averages of C² count, so that it does not depend on the pose.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from cryoisac.engine.contract import Indices, Match
from cryoisac.errors import DataError, SettingError
from cryoisac.model.poses import Poses
from cryoisac.ops.hartley import ring_power
from cryoisac.ops.polar import Float, Rings

Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False, kw_only=True)
class RingImages:
    """Whitened images on rings of their Hartley transform, multiplied by their CTF.

    Parameters
    ----------
    rings : Rings
        Rings; radii in Fourier pixels.
    box_px : int
        Side of the images.
    samples : ndarray, shape (n, samples), float32
        C x, ring after ring, as ``ops.hartley.ring_transform`` lays them out; noise has variance C².
    ctf2 : ndarray, shape (n, r), float32
        Mean of C² over each ring.
    """

    rings: Rings
    box_px: int
    samples: Float32
    ctf2: Float32

    def __post_init__(self) -> None:
        n, size = len(self.samples), sum(self.rings.lengths)
        if self.samples.shape != (n, size) or self.ctf2.shape != (n, len(self.rings.radii)):
            raise DataError(
                "ring images",
                f"shapes {self.samples.shape} and {self.ctf2.shape}: need (n, {size}) and (n, {len(self.rings.radii)})",
            )

    def __len__(self) -> int:
        return len(self.samples)


@dataclass(frozen=True, eq=False, kw_only=True)
class PoseSearch:
    """Where poses are looked for: every shift of a list, every angle.

    Parameters
    ----------
    last_ring : int
        Rings beyond this radius, in Fourier pixels, are not used.
    shifts_px : ndarray, shape (s, 2)
        Shifts d = M^m t (x, y) of the images in the frame of the references.
    mirror : bool
        Whether mirrored poses are tried.
    """

    last_ring: int
    shifts_px: Float
    mirror: bool = True


class LikelihoodEngine(Protocol):
    """Four questions about rows; a row is one image, and one image may stand in many rows.

    References have the shape (k, samples), float32: whitened like the images, without CTF, on the same rings. The
    answers do not depend on how rows are batched or on the number of threads.
    """

    @property
    def images(self) -> RingImages:
        """The images it holds."""

    def score(self, references: Float32, images: Indices, search: PoseSearch) -> Float32:
        """Return the log-likelihood gain of each row with each reference at its best pose.

        Parameters
        ----------
        references : ndarray, shape (k, samples), float32
            The references.
        images : ndarray, shape (m,), int64
            The image of each row.
        search : PoseSearch
            Rings, shifts, mirrors.

        Returns
        -------
        ndarray, shape (m, k), float32
            Gains in natural units, sampled in angle and shift.
        """

    def match(self, references: Float32, labels: Indices, images: Indices, search: PoseSearch) -> Match:
        """Return the best pose, and its gain, of each row on the reference that its label names.

        Parameters
        ----------
        references, images, search
            As for ``score``.
        labels : ndarray, shape (m,), int64
            The reference of each row, 0 to k - 1.

        Returns
        -------
        Match
            Poses (angles between samples, shifts of the list) and gains.
        """

    def refine(self, references: Float32, labels: Indices, images: Indices, poses: Poses, last_ring: int) -> Match:
        """Return the poses at the nearest maximum of the gain, continuous in angle and shift.

        Parameters
        ----------
        references, labels, images
            As for ``match``.
        poses : Poses
            Where each row starts; mirrors are kept.
        last_ring : int
            Rings beyond are not used.

        Returns
        -------
        Match
            Poses after a few Newton steps, never worse than those given, and their gains.
        """

    def total(self, labels: Indices, images: Indices, poses: Poses, k: int) -> Float:
        """Return the sum over each class of the rings C x of its images, each laid on the class by its pose.

        Parameters
        ----------
        labels : ndarray, shape (m,), int64
            Class of each row, 0 to k - 1; rows with -1 are left out.
        images : ndarray, shape (m,), int64
            The image of each row.
        poses : Poses
            Pose of each row.
        k : int
            Number of classes.

        Returns
        -------
        ndarray, shape (k, samples), float64
            Sums, by exact rotation of each ring and exact shift.
        """


def shift_disc(radius_px: float, step_px: float) -> Float:
    """Return the shifts of a square grid with a step that lie within a radius, row by row, shape (s, 2)."""
    if not (step_px > 0 and radius_px >= 0):
        raise SettingError("shifts", f"radius {radius_px} and step {step_px} px: must be positive")
    reach = int(radius_px / step_px + 1e-9)
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1] * step_px
    inside = np.hypot(x, y) <= radius_px + 1e-9
    return np.stack((x[inside], y[inside]), axis=-1)


def used_rings(rings: Rings, last_ring: int) -> Rings:
    """Return the rings up to a radius.

    Raises
    ------
    SettingError
        When no ring is left.
    """
    count = sum(r <= last_ring for r in rings.radii)
    if not count:
        raise SettingError("last_ring", f"{last_ring}: the first ring is {rings.radii[0]}")
    return Rings(radii=rings.radii[:count], lengths=rings.lengths[:count])


def gain_norms(references: Float32, ctf2: Float32, rings: Rings) -> Float32:
    r"""Return the part of the gain that does not depend on the pose, half the power of C R.

    .. math:: \tfrac12 \sum_k 2 \pi k\, \overline{C^2}(k)\, \overline{R^2}(k)

    Parameters
    ----------
    references : ndarray, shape (k, samples)
        References; samples beyond ``rings`` do not count.
    ctf2 : ndarray, shape (m, r)
        Mean squared CTF of each row's rings.
    rings : Rings
        The rings that are used.

    Returns
    -------
    ndarray, shape (m, k), float32
    """
    norms: Float32 = ctf2[:, : len(rings.radii)] @ norm_powers(references, rings).T.astype(np.float32)
    return norms


def norm_powers(references: Float32, rings: Rings) -> Float:
    """Return what each ring takes off the gain where the squared CTF is 1, shape (k, r); see ``gain_norms``."""
    power: Float = ring_power(references[:, : sum(rings.lengths)], rings) * (np.pi * np.array(rings.radii))
    return power


def check_references(images: RingImages, references: Float32, search: PoseSearch) -> None:
    """Raise DataError or SettingError unless references lie on the images' rings and the search is possible."""
    if references.ndim != 2 or references.shape[1] != images.samples.shape[1]:
        raise DataError(
            "references", f"shape {references.shape}: images have {images.samples.shape[1]} samples, so must references"
        )
    used_rings(images.rings, search.last_ring)
    shifts = np.asarray(search.shifts_px)
    if shifts.ndim != 2 or shifts.shape[1] != 2 or not len(shifts) or not np.isfinite(shifts).all():
        raise SettingError("shifts_px", f"shape {shifts.shape}: need finite shifts (x, y)")
