"""Simulated particles in memory, and classifications compared with their truth."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from cryoisac.api.arrays import PoseRows, as_labels, as_poses
from cryoisac.api.told import Callback, chosen, progress_of
from cryoisac.errors import SettingError
from cryoisac.model.ctf import CtfParameters
from cryoisac.model.poses import Poses
from cryoisac.scoring.files import Classification, KnownTruth
from cryoisac.scoring.scores import Score
from cryoisac.scoring.scores import score as scored
from cryoisac.settings import Simulation
from cryoisac.simulation.files import made_up
from cryoisac.simulation.images import ParticleImages
from cryoisac.simulation.particles import draw

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]
Images = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False, kw_only=True)
class Simulated:
    """Simulated images, and what each of the ``n`` shows.

    Parameters
    ----------
    images : ndarray, shape (n, h, h), float32
        The images.
    labels : ndarray, shape (n,), int64
        View that each shows, from 0; -1 for junk.
    poses : Poses
        Carries each image to the clean projection of its view; the identity for junk.
    directions : ndarray, shape (n, 3)
        Viewing directions; NaN for junk.
    projections : ndarray, shape (k, h, h), float32
        The clean projection of each view, as strong as in the images. Where directions are not discrete, that of one
        image of the view.
    ctf : CtfParameters or None
        CTF of each image, where one was applied.
    pixel_size_A, radius_px : float
        Pixel size, and radius of the particle in pixels.
    """

    images: Images
    labels: Int
    poses: Poses
    directions: Float
    projections: Images
    ctf: CtfParameters | None
    pixel_size_A: float
    radius_px: float


def simulate(*, callback: Callback | None = None, **settings: Any) -> Simulated:
    """Simulate particle images of a made-up molecule.

    Parameters
    ----------
    callback : callable, optional
        ``callback(stage, done, total)`` is told of progress; where it returns ``False``, ``Cancelled`` is raised.
    **settings
        The settings of ``cryoisac simulate`` by their names with underscores, such as ``views=10, per_view=50``.

    Returns
    -------
    Simulated
        The images of the files that ``cryoisac simulate`` writes, and their truth.

    Raises
    ------
    SettingError
        If there is no such setting, or a value is out of range.
    """
    options = chosen(Simulation, settings)
    truth, told = draw(options), progress_of(callback)
    made = ParticleImages((made_up(options),), options, truth)
    images = np.empty((len(truth), options.box, options.box), dtype=np.float32)
    if told is not None:
        told.stage("Simulating", len(truth), "images")
    done = 0
    for block in made.blocks():
        images[done : done + len(block)] = block
        done += len(block)
        if told is not None:
            told.advance(len(block))
    shown, first = np.unique(truth.view[truth.is_particle], return_index=True)
    rot, tilt, _ = (np.deg2rad(angle) for angle in truth.euler_deg())
    directions = np.stack((np.sin(tilt) * np.cos(rot), np.sin(tilt) * np.sin(rot), np.cos(tilt)), axis=1)
    projections = np.zeros((int(shown.max(initial=-1)) + 1, options.box, options.box), dtype=np.float32)
    projections[shown] = made.clean(np.flatnonzero(truth.is_particle)[first])
    return Simulated(
        images=images,
        labels=truth.view,
        poses=truth.poses,
        directions=np.where(truth.is_particle[:, None], directions, np.nan),
        projections=projections,
        ctf=truth.ctf if options.ctf else None,
        pixel_size_A=options.pixel_size,
        radius_px=made.radius_px,
    )


def score(
    labels: npt.ArrayLike,
    truth: Simulated | npt.ArrayLike,
    *,
    poses: PoseRows | None = None,
    radius_px: float | None = None,
) -> Score:
    """Compare a classification with the truth.

    Parameters
    ----------
    labels : array_like, shape (n,)
        Class of each image from 0; -1 for an image in no class.
    truth : Simulated or array_like, shape (n,)
        What ``simulate`` gave, or the true class of each image; -1 for junk.
    poses : Poses or array_like, shape (n, 4), optional
        Pose of each image on its class; scored against those of ``Simulated``.
    radius_px : float, optional
        Radius over which pixel errors are taken; by default that of ``Simulated``.

    Returns
    -------
    Score
        Adjusted Rand index, purity, pixel errors and more; ``None`` where a number has no meaning.

    Raises
    ------
    DataError
        When the numbers of images differ.
    """
    n = len(truth.labels) if isinstance(truth, Simulated) else np.size(truth)
    found = as_labels(labels, n)
    if isinstance(truth, Simulated):
        placed = None if poses is None else as_poses(poses, n)[0]
        return scored(Classification(label=found, poses=placed), _known(truth), radius_px=radius_px)
    if poses is not None:
        raise SettingError("poses", "cannot be scored against classes alone; give what simulate gave")
    alone = scored(Classification(label=found, poses=None), _known(_bare(as_labels(truth, n, "truth"))))
    return replace(alone, spread_deg=None, random_spread_deg=None)


def _bare(labels: Int) -> Simulated:
    """Return a truth of which only the classes are known."""
    n, none = len(labels), np.zeros((0, 1, 1), dtype=np.float32)
    return Simulated(
        images=none,
        labels=labels,
        poses=Poses.identity(n),
        directions=np.tile([0.0, 0.0, 1.0], (n, 1)),
        projections=none,
        ctf=None,
        pixel_size_A=1.0,
        radius_px=0.0,
    )


def _known(truth: Simulated) -> KnownTruth:
    """Return what is known as the score wants it."""
    return KnownTruth(
        image=np.arange(len(truth.labels)).astype(np.str_),
        view=truth.labels,
        molecule=np.minimum(truth.labels, 0),
        poses=truth.poses,
        direction=truth.directions,
        radius_px=truth.radius_px or None,
    )
