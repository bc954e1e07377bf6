"""What is drawn for each simulated image before any pixel is made: the truth."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cryoisac.model.ctf import CtfParameters
from cryoisac.model.poses import Poses, rotate
from cryoisac.settings import Simulation
from cryoisac.simulation import views as sphere
from cryoisac.simulation.filament import azimuth_frames
from cryoisac.simulation.projection import euler_angles
from cryoisac.streams import stream

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]

VOLTAGE_KV, CS_MM, AMPLITUDE_CONTRAST = 300.0, 2.7, 0.1
JUNK_KINDS = ("none", "noise", "ice", "edge", "pair")
MICROGRAPH_PX = 4096
LEAST_CONTRAST = 0.1


@dataclass(frozen=True, eq=False, kw_only=True)
class Truth:
    """What is known of ``n`` simulated images, in the order of the file.

    Parameters
    ----------
    view : ndarray, shape (n,)
        View from 0, those of the next molecule after those of one; -1 for junk. Where directions are not discrete, the
        nearest view.
    molecule : ndarray, shape (n,)
        Molecule from 0; -1 for junk.
    junk : ndarray, shape (n,)
        Index in ``JUNK_KINDS``; 0 for a particle.
    poses : Poses
        Carries each image to the clean projection of its view; the identity for junk.
    clean : ndarray, shape (n, 3, 3)
        Orientation of the clean projection that the pose leads to; with discrete views the view's.
    micrograph : ndarray, shape (n,)
        Micrograph from 0.
    coordinate_px : ndarray, shape (n, 2)
        Place (x, y) on the micrograph.
    ctf : CtfParameters
        CTF of each image, whether applied or not.
    contrast : ndarray, shape (n,)
        Factor on the signal.
    """

    view: Int
    molecule: Int
    junk: Int
    poses: Poses
    clean: Float
    micrograph: Int
    coordinate_px: Float
    ctf: CtfParameters
    contrast: Float

    def __len__(self) -> int:
        return len(self.view)

    @property
    def is_particle(self) -> npt.NDArray[np.bool_]:
        """Whether each image shows one particle, shape (n,)."""
        particle: npt.NDArray[np.bool_] = self.junk == 0
        return particle

    def image_axes(self, index: Any = slice(None)) -> Float:
        """Return the orientations, shape (m, 3, 3), of images ``index``: R(-a) M^m A, from behind if mirrored."""
        return posed(self.clean[index], self.poses[index])

    def euler_deg(self) -> tuple[Float, Float, Float]:
        """Return RELION's ``rot, tilt, psi`` of each image, in degrees, with which no flip is needed."""
        return euler_angles(self.image_axes())


def posed(clean: Float, poses: Poses) -> Float:
    """Return orientations, shape (n, 3, 3), of images that ``poses`` carry to projections in orientations ``clean``.

    A mirror image is the view from behind: A becomes diag(-1, 1, -1) A, then the image turns by R(-a).
    """
    sign = np.where(poses.mirror, -1.0, 1.0)
    flipped = clean * np.stack((sign, np.ones_like(sign), sign), axis=-1)[:, :, None]
    turned: Float = flipped.copy()
    for axis in range(3):
        turned[:, :2, axis] = rotate(-poses.angle_deg, flipped[:, :2, axis])
    return turned


def draw(settings: Simulation, *, molecules: int = 1) -> Truth:
    """Draw everything about the images of a simulation, in shuffled order.

    Junk comes on top of ``views * per_view`` particles of each molecule, so that it makes up the share ``junk`` of all.

    Parameters
    ----------
    settings : Simulation
    molecules : int
        Number of molecules, each with views of its own.

    Returns
    -------
    Truth
    """
    each = settings.views * settings.per_view
    particles = molecules * each
    n_junk = round(particles * settings.junk / (1 - settings.junk))
    n = particles + n_junk
    drawn = [_views(settings, each, molecule) for molecule in range(molecules)]
    view = np.concatenate([number + molecule * settings.views for molecule, (number, _) in enumerate(drawn)])
    clean = np.concatenate([axes for _, axes in drawn])
    order = stream(settings.seed, "order of images").permutation(n)
    source = np.argsort(order)
    is_junk = source >= particles
    kept = np.where(is_junk, 0, source)
    kinds = stream(settings.seed, "junk kinds").integers(1, len(JUNK_KINDS), n)
    micrograph = np.arange(n) // settings.per_micrograph
    return Truth(
        view=np.where(is_junk, -1, view[kept]),
        molecule=np.where(is_junk, -1, view[kept] // settings.views),
        junk=np.where(is_junk, kinds, 0),
        poses=_poses(settings, is_junk),
        clean=clean[kept],
        micrograph=micrograph,
        coordinate_px=np.round(stream(settings.seed, "coordinates").uniform(0, MICROGRAPH_PX, (n, 2))),
        ctf=_ctf(settings, micrograph),
        contrast=_contrast(settings, is_junk),
    )


def images_of_views(shares: npt.ArrayLike, n: int) -> Int:
    """Return how many of ``n`` images each view gets: its share, and one more for the largest remainders.

    Parameters
    ----------
    shares : array_like, shape (v,)
        Shares of the views, summing to 1.
    n : int
        Number of images.

    Returns
    -------
    ndarray, shape (v,)
        Whole numbers that sum to ``n``.
    """
    wanted = np.asarray(shares, dtype=np.float64) * n
    count = np.floor(wanted + 1e-9).astype(np.int64)
    rest = np.argsort(count - wanted, kind="stable")[: n - count.sum()]
    count[rest] += 1
    return count


def _views(settings: Simulation, n: int, molecule: int) -> tuple[Int, Float]:
    """View, shape (n,), and orientation of the clean projection, shape (n, 3, 3), of each particle of a molecule."""
    place = (molecule,) if molecule else ()
    rng = stream(settings.seed, "views", *place)
    if settings.distribution == "discrete":
        view = np.repeat(np.arange(settings.views), images_of_views(settings.view_shares, n))
        if settings.filament:
            return view, azimuth_frames(settings.views, rng)[view]
        return view, sphere.frames(sphere.spread_over_half_sphere(settings.views, rng))[view]
    axes = sphere.spread_over_half_sphere(settings.views, rng)
    frames = sphere.frames(axes)
    drawn = sphere.draw_directions(n, settings.distribution, axes, stream(settings.seed, "directions", *place))
    view, directions = sphere.nearest_view(drawn, axes)
    return view, sphere.carried(frames[view], directions)


def _poses(settings: Simulation, is_junk: npt.NDArray[np.bool_]) -> Poses:
    """Draw poses by the place of the particle in its image: t = -R(a) o; of a filament along and across it."""
    rng, n = stream(settings.seed, "poses"), len(is_junk)
    angle = np.where(is_junk, 0.0, rng.uniform(0, 360, n))
    offset = np.where(is_junk[:, None], 0.0, rng.uniform(-settings.max_shift, settings.max_shift, (n, 2)))
    mirror = (rng.random(n) < 0.5) & settings.mirrors & ~is_junk
    return Poses(angle_deg=angle, shift_px=-offset if settings.filament else -rotate(angle, offset), mirror=mirror)


def _ctf(settings: Simulation, micrograph: Int) -> CtfParameters:
    rng, m = stream(settings.seed, "defocus"), int(micrograph.max(initial=0)) + 1
    mean_A = rng.uniform(settings.defocus_min, settings.defocus_max, m) * 1e4
    half_A = rng.uniform(0, settings.astigmatism, m) * 5e3
    angle = rng.uniform(0, 180, m)
    return CtfParameters.from_relion(
        (mean_A + half_A)[micrograph],
        (mean_A - half_A)[micrograph],
        angle[micrograph],
        voltage_kV=VOLTAGE_KV,
        cs_mm=CS_MM,
        amplitude_contrast=AMPLITUDE_CONTRAST,
        phase_shift_deg=settings.phase_shift,
    )


def _contrast(settings: Simulation, is_junk: npt.NDArray[np.bool_]) -> Float:
    drawn = 1 + settings.contrast_variation * stream(settings.seed, "contrast").standard_normal(len(is_junk))
    contrast: Float = np.where(is_junk, 1.0, np.maximum(drawn, LEAST_CONTRAST))
    return contrast
