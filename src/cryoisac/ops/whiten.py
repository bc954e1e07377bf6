"""Working images as a likelihood wants them: background of mean 0 and unit variance, white, multiplied by the CTF."""

import numpy as np
import numpy.typing as npt

from cryoisac.model.ctf import CtfParameters
from cryoisac.ops.ctf import ctf_at
from cryoisac.ops.fourier import Images
from cryoisac.ops.hartley import Float32, RingTransform, half_rings, ring_power
from cryoisac.ops.masks import circle, cosine_edge
from cryoisac.ops.polar import Float, Rings
from cryoisac.ops.spectra import rotational_power

EDGE_PX = 3.0  # over which masks fall off, so that they do not ring in Fourier space


def soft_disc(radius_px: float, box_px: int) -> Float:
    """Return a disc that falls from 1 at a radius to 0 at ``EDGE_PX`` beyond it, by a cosine, shape (box, box)."""
    disc: Float = 1.0 - cosine_edge(radius_px, EDGE_PX, box_px)
    return disc


def standard_background(images: Images, radius_px: float) -> Images:
    """Return images less the plane that fits their pixels outside a radius, which then have unit variance.

    Constant images become 0.
    """
    n, side = len(images), images.shape[-1]
    outside = ~circle(radius_px, side).ravel()
    line = np.arange(side) - side // 2
    plane = np.stack((np.ones(side * side), np.tile(line, side), np.repeat(line, side)), axis=-1)
    pixels = images.reshape(n, -1).astype(np.float64)
    pixels -= (pixels[:, outside] @ np.linalg.pinv(plane[outside]).T) @ plane.T
    deviation = np.sqrt((pixels[:, outside] ** 2).mean(axis=1))
    varies = deviation > 1e-6 * np.abs(images).reshape(n, -1).max(axis=1, initial=0.0)
    scale = np.divide(1.0, deviation, out=np.zeros(n), where=varies)
    standard: Images = (pixels * scale[:, None]).astype(np.float32).reshape(images.shape)
    return standard


def background_power(images: Images, radius_px: float) -> Float:
    r"""Return the noise power of each image outside a radius, by rings in Fourier space.

    .. math:: N(k) = \langle |F(M x)|^2 \rangle_k \Big/ \sum M^2

    with M one minus the soft disc of the radius; 1 on every ring for white noise of unit variance.

    Parameters
    ----------
    images : ndarray, shape (n, h, h)
        Images of ``standard_background``.
    radius_px : float
        Radius of what is left out.

    Returns
    -------
    ndarray, shape (n, h // 2 + 1)
        Power of rings 0, 1, ...; the last holds only shares, as in ``rotational_power``.
    """
    side = images.shape[-1]
    outside = 1.0 - soft_disc(radius_px, side)
    power = rotational_power((images * outside).astype(np.float32))
    scaled: Float = power * (side**4 / 4.0 / (outside**2).sum())
    return scaled


class Whitening:
    """How working images become ring images.

    Parameters
    ----------
    rings : Rings
        Rings in Fourier space.
    noise : ndarray, shape (r,)
        Noise power on them, after ``standard_background``.
    box_px : int
        Side of the images.
    radius_px : float
        What lies outside is background.
    mask_radius_px : float
        Radius beyond which images are masked: the particle and its shifts.
    """

    def __init__(self, rings: Rings, noise: Float, *, box_px: int, radius_px: float, mask_radius_px: float) -> None:
        self._rings, self._radius_px, self._box = rings, radius_px, box_px
        self._scale = np.repeat(1.0 / np.sqrt(noise), rings.lengths).astype(np.float32)
        self._mask = soft_disc(mask_radius_px, box_px).astype(np.float32)
        self._transform = RingTransform(rings, box_px, support_px=mask_radius_px + EDGE_PX)

    def __call__(
        self, images: Images, ctf: CtfParameters | None, pixel_size_A: npt.ArrayLike
    ) -> tuple[Float32, Float32]:
        """Return whitened images times their CTF on rings, and the ring averages of their squared CTF.

        Parameters
        ----------
        images : ndarray, shape (n, h, h), float32
            Working images, phases not flipped.
        ctf : CtfParameters or None
            Their CTF; ``None`` for 1.
        pixel_size_A : array_like, shape () or (n,)
            Working pixel size in Å; does not matter without CTF.

        Returns
        -------
        samples : ndarray, shape (n, samples), float32
            C x of ``engine.likelihood.RingImages``.
        ctf2 : ndarray, shape (n, r), float32
            Mean of C² over each ring.
        """
        rings = self._rings
        samples = self._transform(standard_background(images, self._radius_px) * self._mask)
        samples *= self._scale
        if ctf is None:
            return samples, np.ones((len(images), len(rings.radii)), dtype=np.float32)
        here, there = half_rings(rings)
        response = np.empty_like(samples)
        response[:, here] = ctf_at(ctf, rings.points_px[here] / self._box, pixel_size_A)
        response[:, there] = response[:, here]  # a CTF is even
        samples *= response
        return samples, ring_power(response, rings).astype(np.float32)


def mask_share(mask_radius_px: float, box_px: int) -> float:
    """Return the share of the noise power of a box that the mask of a radius lets through."""
    return float((soft_disc(mask_radius_px, box_px) ** 2).mean())
