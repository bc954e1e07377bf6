"""What is no particle: ice, edges of carbon, and where overlapping neighbours lie."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cryoisac.model.poses import Poses, rotate
from cryoisac.settings import Simulation
from cryoisac.simulation.particles import JUNK_KINDS, Truth, posed
from cryoisac.streams import stream

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]
Images = npt.NDArray[np.float32]

BLOBS = 3
ICE, EDGE, PAIR = (JUNK_KINDS.index(kind) for kind in ("ice", "edge", "pair"))


@dataclass(frozen=True, eq=False, kw_only=True)
class Pairs:
    """Two overlapping particles in each of ``p`` images.

    Parameters
    ----------
    image : ndarray, shape (p,)
        Index of the image.
    molecule : ndarray, shape (p, 2)
        Molecule of each of the two.
    axes : ndarray, shape (p, 2, 3, 3)
        Orientation of each of the two.
    offset_px : ndarray, shape (p, 2, 2)
        Where (x, y) each lies.
    """

    image: Int
    molecule: Int
    axes: Float
    offset_px: Float


def draw_pairs(settings: Simulation, truth: Truth, *, radius_px: float) -> Pairs:
    """Draw the overlapping neighbours of a simulation, 0.9 to 1.5 radii apart about the centre of their image."""
    image = np.flatnonzero(truth.junk == PAIR)
    rng, p = stream(settings.seed, "pairs"), len(image)
    shown = rng.choice(np.flatnonzero(truth.is_particle), 2 * p)
    poses = Poses(
        angle_deg=rng.uniform(0, 360, 2 * p),
        shift_px=np.zeros((2 * p, 2)),
        mirror=(rng.random(2 * p) < 0.5) & settings.mirrors,
    )
    half_px = radius_px * rng.uniform(0.45, 0.75, p)
    arm = rotate(rng.uniform(0, 360, p), np.stack((half_px, np.zeros(p)), axis=1))
    return Pairs(
        image=image,
        molecule=truth.molecule[shown].reshape(p, 2),
        axes=posed(truth.clean[shown], poses).reshape(p, 2, 3, 3),
        offset_px=np.stack((arm, -arm), axis=1),
    )


class Clutter:
    """Ice and edges, drawn once for all images and made for a block at a time, in units of the noise.

    Parameters
    ----------
    settings : Simulation
    truth : Truth
        Tells which images are ice or edges.
    """

    def __init__(self, settings: Simulation, truth: Truth) -> None:
        self._box_px = settings.box
        self._ice = np.flatnonzero(truth.junk == ICE)
        self._edge = np.flatnonzero(truth.junk == EDGE)
        rng, n = stream(settings.seed, "ice"), len(self._ice)
        self._blob_centre = rng.uniform(-0.4, 0.4, (n, BLOBS, 2))
        self._blob_width = rng.uniform(0.05, 0.15, (n, BLOBS))
        self._blob_height = rng.uniform(2, 6, (n, BLOBS))
        self._lattice = rotate(rng.uniform(0, 360, n), np.stack((rng.uniform(6, 16, n), np.zeros(n)), axis=1))
        rng, n = stream(settings.seed, "edges"), len(self._edge)
        self._edge_normal = rotate(rng.uniform(0, 360, n), np.tile((1.0, 0.0), (n, 1)))
        self._edge_distance = rng.uniform(-0.3, 0.3, n)
        self._edge_height = rng.uniform(2, 5, n)

    def add(self, images: Images, first: int) -> None:
        """Add to ``images``, shape (m, h, h), the ice and edges of images ``first`` to ``first + m``."""
        axis = (np.arange(self._box_px) - self._box_px // 2) / self._box_px
        for index, draw in ((self._ice, self._crystals), (self._edge, self._carbon)):
            low, high = np.searchsorted(index, (first, first + len(images)))
            if high > low:
                images[index[low:high] - first] += draw(slice(low, high), axis)

    def _crystals(self, part: slice, axis: Float) -> Images:
        """Return blobs with the fringes of a lattice, shape (m, h, h)."""
        x, y = (axis - self._blob_centre[part, :, i, None] for i in (0, 1))
        width = 2 * self._blob_width[part, :, None] ** 2
        along_x = self._blob_height[part, :, None] * np.exp(-(x**2) / width)
        blobs = np.einsum("nby,nbx->nyx", np.exp(-(y**2) / width), along_x)
        waves = self._lattice[part]
        phase = 2 * np.pi * (waves[:, 0, None, None] * axis + waves[:, 1, None, None] * axis[:, None])
        crystals: Images = (blobs * (1 + 0.5 * np.cos(phase))).astype(np.float32)
        return crystals

    def _carbon(self, part: slice, axis: Float) -> Images:
        """Return brighter half planes with soft edges, shape (m, h, h)."""
        normal = self._edge_normal[part]
        distance = normal[:, 0, None, None] * axis + normal[:, 1, None, None] * axis[:, None]
        soft = (1 + np.tanh((distance - self._edge_distance[part, None, None]) / 0.03)) / 2
        return (self._edge_height[part, None, None] * soft).astype(np.float32)
