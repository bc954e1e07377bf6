"""Densities to project: a map, the atoms of a structure, or a macromolecule made up from a seed."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter

from cryoisac.errors import DataError, FormatError
from cryoisac.io.mrc import MrcStack
from cryoisac.streams import stream

Float = npt.NDArray[np.float64]
LEAST_SIGMA_PX = 0.6
PROCEDURAL_RADIUS = 0.42
SOLVENT_SHARE = 0.9
SOLVENT_BLUR = 0.2
STEP = 0.1
LEAST_SIDE = 8


@dataclass(frozen=True, eq=False, kw_only=True)
class Density:
    """A cubic density about its centre voxel d // 2; particles are white, density is positive.

    Parameters
    ----------
    values : ndarray, shape (d, d, d), float32
        Indexed ``[z, y, x]``.
    pixel_size_A : float
        Side of a voxel.
    name : str
        Where it comes from.
    shown_A : float, optional
        Radius to believe: that of the disc that counts as the particle, where the density goes on beyond it.
    """

    values: npt.NDArray[np.float32]
    pixel_size_A: float
    name: str
    shown_A: float | None = None

    @property
    def radius_A(self) -> float:
        """Radius of the sphere about the centre that holds 99.5 % of the squared density, unless it is given."""
        if self.shown_A is not None:
            return self.shown_A
        d = self.values.shape[0]
        axis = (np.arange(d) - d // 2.0) ** 2
        distance = np.sqrt(axis[:, None, None] + axis[:, None] + axis).ravel()
        shells = np.bincount(np.rint(distance * 4).astype(int), weights=np.square(self.values, dtype=float).ravel())
        part = np.cumsum(shells) / shells.sum()
        return float(np.interp(0.995, part, np.arange(len(part)) / 4)) * self.pixel_size_A


def from_map(path: str | Path, *, pixel_size_A: float | None = None) -> Density:
    """Read a density from an MRC file.

    Parameters
    ----------
    path : str or Path
        A map, plain or compressed; padded with zeros to a cube.
    pixel_size_A : float, optional
        Pixel size to believe instead of the header's.

    Returns
    -------
    Density

    Raises
    ------
    FormatError
        If the file is no volume, or says no pixel size and none is given.
    """
    file = MrcStack(Path(path))
    values = file.read(np.arange(len(file)))
    if min(values.shape) < LEAST_SIDE:
        raise FormatError(path, f"has shape {values.shape}; a map has {LEAST_SIDE} voxels or more along each axis")
    if not np.isfinite(values).all() or values.std() == 0:
        raise DataError(path, "has constant or non-finite voxels; nothing can be projected")
    size_A = pixel_size_A or file.pixel_size_A
    if size_A is None:
        raise FormatError(path, "does not say its pixel size; give it with --map-pixel-size")
    return Density(values=_cube(values), pixel_size_A=size_A, name=Path(path).name)


def from_structure(path: str | Path, *, pixel_size_A: float) -> Density:
    r"""Return the density of a PDB or mmCIF file, plain or gzipped: a Gaussian an atom, weighted by its electrons.

    .. math:: \rho(r) = \sum_a Z_a \, e^{-|r - r_a|^2 / 2 \sigma^2}

    Parameters
    ----------
    path : str or Path
        Coordinates; water and hydrogens are left out, the middle of their bounding box becomes the centre.
    pixel_size_A : float
        Side of a voxel; sigma is 0.6 voxels, at least 1 Å.

    Returns
    -------
    Density

    Raises
    ------
    FormatError
        If the file holds no atoms.
    """
    position_A, weight = _atoms(Path(path))
    centred = position_A - (position_A.min(axis=0) + position_A.max(axis=0)) / 2
    sigma_px = max(LEAST_SIGMA_PX, 1.0 / pixel_size_A)
    values = blobs(centred / pixel_size_A, weight, np.full(len(weight), sigma_px))
    return Density(values=values, pixel_size_A=pixel_size_A, name=Path(path).name)


def procedural(*, box_px: int, pixel_size_A: float, seed: int) -> Density:
    """Make up a macromolecule: two unequal subunits of folded chains and two stalks, without any symmetry.

    Parameters
    ----------
    box_px : int
        Side of the images it is meant for; its radius becomes 0.42 of it.
    pixel_size_A : float
        Side of a voxel.
    seed : int
        Same seed, same molecule.

    Returns
    -------
    Density
    """
    position, weight, sigma = _chains(stream(seed, "molecule"))
    target_px = PROCEDURAL_RADIUS * box_px
    scale = target_px
    for _ in range(2):
        density = Density(
            values=_against_solvent(position * scale, weight, sigma * scale),
            pixel_size_A=pixel_size_A,
            name=f"procedural, seed {seed}",
        )
        scale *= target_px * pixel_size_A / density.radius_A
    return density


def blobs(position_px: Float, weight: Float, sigma_px: Float) -> npt.NDArray[np.float32]:
    """Return a cube that holds a sum of Gaussians.

    Parameters
    ----------
    position_px : ndarray, shape (a, 3)
        Centres (x, y, z) in voxels relative to the centre voxel.
    weight, sigma_px : ndarray, shape (a,)
        Integral and width of each.

    Returns
    -------
    ndarray, shape (d, d, d), float32
        d is even and leaves room for four widths.
    """
    reach = int(np.ceil(4 * sigma_px.max()))
    d = 2 * (int(np.ceil(np.abs(position_px).max())) + reach + 1)
    nearest = np.rint(position_px).astype(int)
    steps = np.arange(-reach, reach + 1)
    distance = steps[:, None, None] + (nearest - position_px)
    profile = np.exp(-(distance**2) / (2 * sigma_px[:, None] ** 2)) / (sigma_px[:, None] * np.sqrt(2 * np.pi))
    along_x, along_y, along_z = np.moveaxis(profile, -1, 0)
    x, y, z = (nearest + d // 2).T
    cube = np.zeros(d**3)
    for i, dz in enumerate(steps):
        for j, dy in enumerate(steps):
            flat = ((z + dz) * d + y + dy) * d + x + steps[:, None]
            amount = weight * along_z[i] * along_y[j] * along_x
            cube += np.bincount(flat.ravel(), weights=amount.ravel(), minlength=d**3)
    return cube.reshape(d, d, d).astype(np.float32)


def _cube(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Pad with zeros to a cube, keeping the centre voxel."""
    side = max(values.shape)
    before = [side // 2 - n // 2 for n in values.shape]
    return np.pad(values, [(low, side - n - low) for low, n in zip(before, values.shape, strict=True)])


def _atoms(path: Path) -> tuple[Float, Float]:
    """Positions in Å, shape (a, 3), and electron numbers of the heavy atoms of the first model."""
    import gemmi  # slow to import, and only this needs it

    try:
        structure = gemmi.read_structure(str(path))
    except (RuntimeError, ValueError) as problem:
        raise FormatError(path, f"is no PDB or mmCIF file ({' '.join(str(problem).split())})") from problem
    found = [
        (*atom.pos.tolist(), atom.element.atomic_number * atom.occ)
        for model in list(structure)[:1]
        for chain in model
        for residue in chain
        if not residue.is_water()
        for atom in residue
        if not atom.is_hydrogen()
    ]
    if not found:
        raise FormatError(path, "holds no atoms; give a PDB or mmCIF file with coordinates")
    table = np.array(found, dtype=np.float64)
    return table[:, :3], table[:, 3]


def _against_solvent(position_px: Float, weight: Float, sigma_px: Float) -> npt.NDArray[np.float32]:
    """Blobs less most of what a wide blur leaves of them, as solvent takes the lowest frequencies of a particle."""
    blur_px = SOLVENT_BLUR * np.abs(position_px).max()
    bare = np.pad(blobs(position_px, weight, np.maximum(sigma_px, LEAST_SIGMA_PX)), int(2 * blur_px) + 1)
    contrast: npt.NDArray[np.float32] = bare - SOLVENT_SHARE * gaussian_filter(bare, blur_px, truncate=3.0)
    return contrast


def _chains(rng: np.random.Generator) -> tuple[Float, Float, Float]:
    """Positions, shape (a, 3), weights and widths of blobs along folded chains; the molecule has a radius near 1."""
    parts = [
        folded_chain(rng, 360, centre=(0.0, -0.22, 0.0), axes=(0.72, 0.52, 0.66)),
        folded_chain(rng, 150, centre=(0.12, 0.52, 0.05), axes=(0.58, 0.26, 0.36)),
        folded_chain(rng, 50, centre=(-0.5, 0.6, 0.3), axes=(0.22, 0.28, 0.20)),
        folded_chain(rng, 24, centre=(0.82, 0.05, -0.2), axes=(0.22, 0.08, 0.10)),
        folded_chain(rng, 24, centre=(-0.72, 0.05, -0.42), axes=(0.12, 0.10, 0.26)),
    ]
    position = np.concatenate(parts)
    n = len(position)
    turn, _ = np.linalg.qr(rng.standard_normal((3, 3)))
    centred = (position - position.mean(axis=0)) @ turn
    return centred, rng.uniform(0.4, 1.6, n), rng.uniform(0.045, 0.07, n)


def folded_chain(
    rng: np.random.Generator, steps: int, *, centre: tuple[float, float, float], axes: tuple[float, float, float]
) -> Float:
    """Return positions, shape (steps, 3), of a persistent random walk that turns where it would leave an ellipsoid."""
    semi = np.array(axes)
    positions = np.empty((steps, 3))
    here, heading = np.zeros(3), np.zeros(3)
    for i in range(steps):
        heading = _unit(0.9 * heading + 0.5 * rng.standard_normal(3))
        while np.square((here + STEP * heading) / semi).sum() > 1:
            heading = _unit(rng.standard_normal(3))
        here = positions[i] = here + STEP * heading
    walked: Float = positions + np.array(centre)
    return walked


def _unit(vector: Float) -> Float:
    unit: Float = vector / np.linalg.norm(vector)
    return unit
