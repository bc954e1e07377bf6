"""Pixels of simulated particles: projections, CTF, noise and junk, a block at a time."""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import scipy.fft

from cryoisac.errors import DataError, SettingError
from cryoisac.ops.ctf import ctf_2d
from cryoisac.ops.masks import circle
from cryoisac.settings import Simulation
from cryoisac.simulation.density import Density
from cryoisac.simulation.junk import Clutter, draw_pairs
from cryoisac.simulation.particles import Truth
from cryoisac.simulation.projection import Projector, to_pixels
from cryoisac.streams import stream

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]
Images = npt.NDArray[np.float32]
Spectra = npt.NDArray[np.complex64]

MEASURED_IMAGES, MEASURED_BLOCK = 512, 64
COLOUR_CUTOFF, COLOUR_GAIN = 0.03, 15.0


class ParticleImages:
    r"""Images of densities whose truth is known.

    .. math:: X_i = s_m \, c_i \, \mathrm{CTF}_i P_i + N_i, \qquad
        \mathrm{SNR} = \frac{\langle \operatorname{var}(s_m \, \mathrm{CTF}_i P_i) \rangle_i}{\operatorname{var} N}

    The variance of the signal is that inside the particle's disc at the centre of the box, after the CTF, averaged over
    images (512 at most, evenly taken) at contrast 1; the noise has variance 1. A particle in a larger box is no harder
    to see. Each molecule m has the same SNR, whatever the units of its density.

    Parameters
    ----------
    densities : sequence of Density
        The molecules.
    settings : Simulation
    truth : Truth
        As drawn by ``particles.draw``, for as many molecules.

    Raises
    ------
    SettingError
        If a particle does not fit the box.

    Notes
    -----
    Images are periodic under the CTF, so that multiplying the transform of the clean projection by the CTF is exact.
    """

    def __init__(self, densities: Sequence[Density], settings: Simulation, truth: Truth) -> None:
        self.settings, self.truth = settings, truth
        self.radii_px = tuple(density.radius_A / settings.pixel_size for density in densities)
        if max(self.radii_px) > settings.box / 2:
            raise SettingError(
                "--box",
                f"{settings.box} px of {settings.pixel_size:g} Å cannot hold a particle of radius "
                f"{max(density.radius_A for density in densities):.0f} Å; raise --box or --pixel-size",
            )
        self._projectors = [Projector(d, box_px=settings.box, pixel_size_A=settings.pixel_size) for d in densities]
        self._pairs = draw_pairs(settings, truth, radius_px=self.radius_px)
        self._clutter = Clutter(settings, truth)
        self.scale = np.ones(len(densities))
        self.scale = np.array([self._scale(molecule) for molecule in range(len(densities))])

    @property
    def radius_px(self) -> float:
        """Radius of the largest molecule."""
        return max(self.radii_px)

    def projections(self, molecule: Int, matrices: Float, offset_px: Float) -> Spectra:
        """Return the transforms, shape (m, h, h // 2 + 1), of scaled projections, before contrast and CTF.

        Parameters
        ----------
        molecule : ndarray, shape (m,)
            Which molecule each shows.
        matrices : ndarray, shape (m, 3, 3)
            Orientations.
        offset_px : ndarray, shape (m, 2)
            Where (x, y) the molecule's centre lies, relative to the centre pixel.
        """
        spectra = np.zeros((len(molecule), self.settings.box, self.settings.box // 2 + 1), dtype=np.complex64)
        for m, projector in enumerate(self._projectors):
            shown = molecule == m
            if shown.any():
                spectra[shown] = projector.spectra(matrices[shown], offset_px[shown]) * np.float32(self.scale[m])
        return spectra

    def clean(self, index: Int) -> Images:
        """Return the projections, shape (m, h, h), that the poses of images ``index`` lead to, scaled as the signal."""
        still = np.zeros((len(index), 2))
        return to_pixels(
            self.projections(self.truth.molecule[index], self.truth.clean[index], still), self.settings.box
        )

    def blocks(self, block_images: int = 128) -> Iterator[Images]:
        """Yield all images in order, ``block_images`` at a time; the numbers do not depend on it.

        Parameters
        ----------
        block_images : int
            Most images made at once.

        Yields
        ------
        ndarray, shape (m, h, h), float32
        """
        noise = stream(self.settings.seed, "noise")  # one stream read in order: blocks cannot matter
        for first in range(0, len(self.truth), block_images):
            index = np.arange(first, min(first + block_images, len(self.truth)))
            images = to_pixels(self._signal(index), self.settings.box)
            self._clutter.add(images, first)
            images += self._noise(noise, len(index))
            yield images

    def ctf(self, index: Int) -> Float:
        """Return the CTF of images ``index`` over their ``rfft2``, shape (m, h, h // 2 + 1)."""
        return ctf_2d(self.truth.ctf[index], self.settings.box, self.settings.pixel_size)

    def _signal(self, index: Int) -> Spectra:
        """Return the transforms, shape (m, h, h // 2 + 1), of what ``index`` shows after contrast and CTF."""
        truth = self.truth
        spectra = self.projections(truth.molecule[index], truth.image_axes(index), truth.poses[index].offset_px())
        pair = np.isin(self._pairs.image, index)
        for one in (0, 1):
            spectra[np.searchsorted(index, self._pairs.image[pair])] += self.projections(
                self._pairs.molecule[pair, one], self._pairs.axes[pair, one], self._pairs.offset_px[pair, one]
            )
        spectra *= truth.contrast[index, None, None].astype(np.float32)
        return spectra * self.ctf(index).astype(np.float32) if self.settings.ctf else spectra

    def _scale(self, molecule: int) -> float:
        """Factor that gives the signal of a molecule the wanted variance, for noise of variance 1."""
        particles = np.flatnonzero(self.truth.molecule == molecule)
        picked = particles[np.unique(np.linspace(0, len(particles) - 1, MEASURED_IMAGES).astype(int))]
        blocks = np.array_split(picked, -(-len(picked) // MEASURED_BLOCK))
        variance = sum(self._variances(block, self.radii_px[molecule]).sum() for block in blocks) / len(picked)
        if not variance > 0:
            raise DataError("density", "its projections are constant; give another map")
        return float(np.sqrt(self.settings.snr / variance))

    def _variances(self, index: Int, radius_px: float) -> Float:
        contrast = self.truth.contrast[index, None, None].astype(np.float32)
        images = to_pixels(self._signal(index) / contrast, self.settings.box)
        inside = images[:, circle(radius_px, self.settings.box)]
        variances: Float = inside.var(axis=1, dtype=np.float64)
        return variances

    def _noise(self, rng: np.random.Generator, m: int) -> Images:
        """Noise of variance 1, shape (m, h, h): white, or stronger below a thirtieth of a cycle per pixel."""
        n = self.settings.box
        noise = rng.standard_normal((m, n, n), dtype=np.float32)
        if self.settings.noise == "white":
            return noise
        spectrum = scipy.fft.rfft2(noise) * colour(n)[:, : n // 2 + 1]
        coloured: Images = scipy.fft.irfft2(spectrum, s=(n, n)).astype(np.float32, copy=False)
        return coloured


def colour(box_px: int) -> Images:
    r"""Return the amplitude of coloured noise over ``fft2``, shape (box_px, box_px), with mean square 1.

    .. math:: |A(f)|^2 \propto 1 + 15 / (1 + (f / 0.03)^2)

    Counting statistics are white; what lies in and on the ice is not, and falls off with frequency.
    """
    f = np.fft.fftfreq(box_px)
    power = 1 + COLOUR_GAIN / (1 + (f[:, None] ** 2 + f**2) / COLOUR_CUTOFF**2)
    amplitude: Images = np.sqrt(power / power.mean()).astype(np.float32)
    return amplitude
