"""Multireference alignment with classes of equal size: score, assign, pose, average."""

import numpy as np
import numpy.typing as npt

from cryoisac.align.reference_free import quick_means
from cryoisac.comm import Comm
from cryoisac.engine.contract import Engine, Images, Indices, Search, largest_offset_px
from cryoisac.model.poses import Poses
from cryoisac.ops import fourier
from cryoisac.ops.filters import tangent_lowpass
from cryoisac.ops.masks import circle, normalise_inside
from cryoisac.ops.polar import Rings, sample

Offsets = npt.NDArray[np.float64]


def search_centres_px(poses: Poses, box_px: int, last_ring: int) -> Offsets:
    """Return the offsets of poses, shape (n, 2); an image whose rings would leave the box starts at its centre again.

    Notes
    -----
    SPARX resets the pose of such an image.
    """
    offset = poses.offset_px()
    lost = np.abs(offset).max(axis=1) > largest_offset_px(box_px, last_ring)
    offset[lost] = 0.0
    return offset


def score_all(
    engine: Engine, references: Images, images: Indices, offsets_px: Offsets, search: Search, comm: Comm
) -> npt.NDArray[np.float32]:
    """Return the score of each image with each reference, shape (n, k); each rank scores its share.

    Parameters
    ----------
    engine : Engine
        Holds the images.
    references : ndarray, shape (k, h, w), float32
        References.
    images : ndarray, shape (n,), int64
        The image of each row.
    offsets_px : ndarray, shape (n, 2)
        Centre (x, y) of each row's search.
    search : Search
        Rings, shifts and angles.
    comm : Comm
        The processes of the run.
    """
    share = comm.share(len(images))
    return comm.gather(engine.score(references, images[share], offsets_px[share], search))


def zero_mean(references: Images, radius_px: int) -> Images:
    """Return references with zero mean inside the particle circle, as the multireference score wants them."""
    mask = circle(radius_px, references.shape[-1])
    return normalise_inside(references, mask, mean_only=True)


def reference_norms(references: Images, search: Search) -> npt.NDArray[np.float64]:
    """Return the score that each reference would have with itself, turned into unit variance: area times sigma.

    A score of ``Engine.score`` with normalised image rings, divided by the norm of its reference, is the area-weighted
    correlation coefficient over the rings, -1 to 1.

    Parameters
    ----------
    references : ndarray, shape (k, h, w), float32
        The references.
    search : Search
        Rings.

    Returns
    -------
    ndarray, shape (k,)
        Norms; 1 for a constant reference, whose scores are 0.
    """
    rings = Rings.between(search.first_ring, search.last_ring, search.ring_step)
    centre = np.full((len(references), 2), references.shape[-1] // 2)
    samples = sample(references, rings, centre)
    area = np.repeat(rings.sample_weights, rings.lengths)
    mean = samples @ area / area.sum()
    sigma = np.sqrt((samples - mean[:, None]) ** 2 @ area / area.sum())
    return np.where(sigma > 0, area.sum() * sigma, 1.0)


def recentred_averages(
    engine: Engine, labels: Indices, images: Indices, poses: Poses, k: int, lowpass: tuple[float, float]
) -> tuple[Images, Poses]:
    """Average each class and move it so that the mean shift of its members is zero.

    Parameters
    ----------
    engine : Engine
        Holds the images.
    labels, images : ndarray, shape (n,), int64
        Class and image of each row.
    poses : Poses
        Poses of the rows.
    k : int
        Number of classes.
    lowpass : tuple of float
        Cut-off (cycles per pixel) and relative fall-off.

    Returns
    -------
    averages : ndarray, shape (k, h, w), float32
        Low-passed averages, moved by minus the mean shift of their members (mirrored ones counted as mirrored).
    poses : Poses
        The poses that fit the moved averages.
    """
    mean = mean_shifts_px(labels, poses, k)
    averages = tangent_lowpass(quick_means(engine, labels, images, poses, k), *lowpass)
    averages = fourier.shift(averages, -mean)
    return averages, followed(poses, -mean[labels])


def mean_shifts_px(labels: Indices, poses: Poses, k: int) -> Offsets:
    """Return the mean shift (x, y) of each class's members as seen on it, shape (k, 2): x reversed where mirrored."""
    sign = np.where(poses.mirror, -1.0, 1.0)
    seen = np.stack((sign * poses.shift_px[:, 0], poses.shift_px[:, 1]), axis=-1)
    count = np.maximum(np.bincount(labels, minlength=k), 1)
    sums = [np.bincount(labels, weights=seen[:, i], minlength=k) for i in (0, 1)]
    mean: Offsets = np.stack(sums, axis=-1) / count[:, None]
    return mean


def followed(poses: Poses, moved_px: Offsets) -> Poses:
    """Return poses on references that were moved by ``moved_px``, shape (n, 2), since the poses were found."""
    sign = np.where(poses.mirror, -1.0, 1.0)
    move = np.stack((sign * moved_px[:, 0], moved_px[:, 1]), axis=-1)
    return Poses(angle_deg=poses.angle_deg, shift_px=poses.shift_px + move, mirror=poses.mirror)
