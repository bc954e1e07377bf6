"""Working images as a likelihood wants them: background of mean 0 and unit variance, white, multiplied by the CTF."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cryoisac.model.ctf import CtfParameters
from cryoisac.ops.ctf import ctf_at
from cryoisac.ops.fourier import Images
from cryoisac.ops.hartley import Float32, RingTransform, half_rings, ring_power
from cryoisac.ops.masks import Mask, circle, cosine_edge, cosine_rise
from cryoisac.ops.polar import Float, Rings
from cryoisac.ops.ring_sampling import SampledRings
from cryoisac.ops.spectra import rotational_power

EDGE_PX = 3.0  # over which masks fall off, so that they do not ring in Fourier space


def soft_disc(radius_px: float, box_px: int) -> Float:
    """Return a disc that falls from 1 at a radius to 0 at ``EDGE_PX`` beyond it, by a cosine, shape (box, box)."""
    disc: Float = 1.0 - cosine_edge(radius_px, EDGE_PX, box_px)
    return disc


def from_axis_px(angle_deg: npt.ArrayLike, box_px: int) -> Float:
    """Return how far each pixel lies from an axis through the centre pixel.

    Parameters
    ----------
    angle_deg : array_like, shape (...)
        Angles of axes, positive from x towards -y.
    box_px : int
        Side of the images.

    Returns
    -------
    ndarray, shape (..., box_px, box_px)
        Distances in pixels.
    """
    angle = np.deg2rad(np.asarray(angle_deg, dtype=np.float64))[..., None, None]
    line = np.arange(box_px) - box_px // 2
    return np.abs(np.sin(angle) * line + np.cos(angle) * line[:, None])


def soft_bar(half_width_px: float, box_px: int, angle_deg: npt.ArrayLike) -> Float:
    """Return bars that are 1 up to half a width and fall to 0 over ``EDGE_PX`` beyond, shape (..., box_px, box_px)."""
    bar: Float = 1.0 - cosine_rise(from_axis_px(angle_deg, box_px), half_width_px, EDGE_PX)
    return bar


@dataclass(frozen=True, kw_only=True)
class Support:
    """Which part of a working image shows the particle, and which is background.

    Parameters
    ----------
    box_px : int
        Side of the images.
    radius_px : float
        What lies further from the centre is background; where there is no bar.
    mask_radius_px : float
        Radius beyond which images are masked: the particle and its shifts.
    bar_px : float, optional
        Of filaments, the distance from their axis beyond which images are masked as well; what lies beyond the edge of
        that bar is background, wherever it is.
    """

    box_px: int
    radius_px: float
    mask_radius_px: float
    bar_px: float | None = None

    def background(self, angle_deg: npt.ArrayLike) -> Mask:
        """Return which pixels are background, shape (h, h); with bars (n, h, h), for filaments at ``angle_deg``."""
        if self.bar_px is None:
            return ~circle(self.radius_px, self.box_px)
        outside: Mask = from_axis_px(angle_deg, self.box_px) > self.bar_px + EDGE_PX
        return outside

    def soft_background(self, angle_deg: npt.ArrayLike) -> Float:
        """Return one minus the soft disc of the radius, shape (h, h); with bars one minus them, (n, h, h)."""
        if self.bar_px is None:
            return 1.0 - soft_disc(self.radius_px, self.box_px)
        return 1.0 - soft_bar(self.bar_px, self.box_px, angle_deg)

    def mask(self, angle_deg: npt.ArrayLike) -> Float32:
        """Return what images are multiplied by, shape (h, h); with bars (n, h, h), for filaments at ``angle_deg``."""
        mask = soft_disc(self.mask_radius_px, self.box_px)
        if self.bar_px is not None:
            mask = mask * soft_bar(self.bar_px, self.box_px, angle_deg)
        return mask.astype(np.float32)

    @property
    def share(self) -> float:
        """Share of the noise power of a box that the mask lets through."""
        return float((self.mask(0.0).astype(np.float64) ** 2).mean())


def standard_background(images: Images, outside: Mask) -> Images:
    """Return images less the plane that fits their background, which then has unit variance.

    Constant images become 0.

    Parameters
    ----------
    images : ndarray, shape (n, h, h)
        Images.
    outside : ndarray, shape (h, h) or (n, h, h), bool
        Pixels of background.
    """
    n, side = len(images), images.shape[-1]
    weight = outside.reshape(-1, side * side).astype(np.float64)
    line = np.arange(side) - side // 2
    plane = np.stack((np.ones(side * side), np.tile(line, side), np.repeat(line, side)), axis=-1)
    pixels = images.reshape(n, -1).astype(np.float64)
    normal = (weight @ (plane[:, :, None] * plane[:, None, :]).reshape(-1, 9)).reshape(-1, 3, 3)
    fit = np.linalg.solve(normal, ((pixels * weight) @ plane)[..., None])[..., 0]
    pixels -= fit @ plane.T
    deviation = np.sqrt((pixels**2 * weight).sum(axis=1) / weight.sum(axis=1))
    varies = deviation > 1e-6 * np.abs(images).reshape(n, -1).max(axis=1, initial=0.0)
    scale = np.divide(1.0, deviation, out=np.zeros(n), where=varies)
    standard: Images = (pixels * scale[:, None]).astype(np.float32).reshape(images.shape)
    return standard


def background_power(images: Images, outside: Float) -> Float:
    r"""Return the noise power of the background of each image, by rings in Fourier space.

    .. math:: N(k) = \langle |F(M x)|^2 \rangle_k \Big/ \sum M^2

    1 on every ring for white noise of unit variance.

    Parameters
    ----------
    images : ndarray, shape (n, h, h)
        Images of ``standard_background``.
    outside : ndarray, shape (h, h) or (n, h, h)
        M, 1 in the background, with a soft edge.

    Returns
    -------
    ndarray, shape (n, h // 2 + 1)
        Power of rings 0, 1, ...; the last holds only shares, as in ``rotational_power``.
    """
    side = images.shape[-1]
    power = rotational_power((images * outside).astype(np.float32))
    scaled: Float = power * (side**4 / 4.0 / (outside**2).sum(axis=(-2, -1)))[..., None]
    return scaled


class Whitening:
    """How working images become ring images.

    Parameters
    ----------
    rings : Rings
        Rings in Fourier space.
    noise : ndarray, shape (r,)
        Noise power on them, after ``standard_background``.
    support : Support
        Where background is, and what is masked.
    sampled : bool
        Whether rings are read from a fast Fourier transform, as is quicker in boxes much larger than working images, or
        summed over pixels.
    """

    def __init__(self, rings: Rings, noise: Float, support: Support, *, sampled: bool = False) -> None:
        self._rings, self._support = rings, support
        self._scale = np.repeat(1.0 / np.sqrt(noise), rings.lengths).astype(np.float32)
        self._transform: Callable[[Images], Float32]
        if sampled:
            self._transform = SampledRings(rings, support.box_px)
        else:
            self._transform = RingTransform(rings, support.box_px, support_px=support.mask_radius_px + EDGE_PX)

    def __call__(
        self,
        images: Images,
        ctf: CtfParameters | None,
        pixel_size_A: npt.ArrayLike,
        filament_deg: npt.ArrayLike = 0.0,
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
        filament_deg : array_like, shape () or (n,)
            Angles of filaments; do not matter without a bar.

        Returns
        -------
        samples : ndarray, shape (n, samples), float32
            C x of ``engine.likelihood.RingImages``.
        ctf2 : ndarray, shape (n, r), float32
            Mean of C² over each ring.
        """
        support = self._support
        standard = standard_background(images, support.background(filament_deg))
        return self.transformed(standard * support.mask(filament_deg), ctf, pixel_size_A)

    def transformed(
        self, images: Images, ctf: CtfParameters | None, pixel_size_A: npt.ArrayLike
    ) -> tuple[Float32, Float32]:
        """Return what a call does, of images that have been through ``standard_background`` and the mask already."""
        rings = self._rings
        samples = self._transform(images)
        samples *= self._scale
        if ctf is None:
            return samples, np.ones((len(images), len(rings.radii)), dtype=np.float32)
        here, there = half_rings(rings)
        response = np.empty_like(samples)
        response[:, here] = ctf_at(ctf, rings.points_px[here] / self._support.box_px, pixel_size_A)
        response[:, there] = response[:, here]  # a CTF is even
        samples *= response
        return samples, ring_power(response, rings).astype(np.float32)
