r"""Images on rings in Fourier space, as real numbers: the Hartley transform, cas = cos + sin.

A real image's Hartley transform H = Re X + Im X holds all of its Fourier transform X, because Re X is even and Im X is
odd, and :math:`\sum H_A H_B = \mathrm{Re} \sum X_A^* X_B` over whole rings. So its rings are real rings like those of
an image: they turn with it, correlate like them, and go through the same kernels.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from cryoisac.ops.polar import Float, Rings

MATRIX_BYTES = 1 << 28  # of cosines and sines that are kept; larger ones are made anew for each block of images
WAVE_PIXELS = 64  # whose waves are multiplied at once, so that they stay in a cache
FEWEST_BEYOND = 4  # orders that a ring can hold beyond those that its circumference gives to a full support
Float32 = npt.NDArray[np.float32]


def transform_rings(last: int, *, first: int, box_px: int, support_px: float) -> Rings:
    """Return the rings first ... last of the transform of images that vanish beyond a radius.

    Ring k of an image of side n that vanishes beyond radius s carries the angular orders up to about 2 pi k s / n; it
    gets the smallest power of two of samples that holds these and four more.

    Parameters
    ----------
    last, first : int
        Outermost and innermost ring, in Fourier pixels.
    box_px : int
        Side n of the images.
    support_px : float
        Radius s.
    """
    radii = tuple(range(first, last + 1))
    orders = (int(np.ceil(2 * np.pi * k * support_px / box_px)) + FEWEST_BEYOND for k in radii)
    return Rings(radii=radii, lengths=tuple(1 << int(2 * m - 1).bit_length() for m in orders))


class RingTransform:
    r"""The Hartley transform of images on rings.

    .. math:: H(k, \varphi) = \frac{1}{n} \sum_p x(p)\, \mathrm{cas}(-2 \pi\, \kappa \cdot p / n), \quad
        \kappa = k (\sin \varphi, \cos \varphi), \quad \mathrm{cas} = \cos + \sin

    Parameters
    ----------
    rings : Rings
        Rings, radii in Fourier pixels.
    box_px : int
        Side of the images; their centre pixel n // 2 is the origin.
    support_px : float, optional
        Radius beyond which all images are 0, so that their pixels need not be added up.

    Notes
    -----
    A sum over pixels, no interpolation: one matrix product for many images. The half turn about the centre splits an
    image into an even part, which has the cosines, and an odd one, which has the sines, so that half of the pixels
    give half of the samples.
    """

    def __init__(self, rings: Rings, box_px: int, *, support_px: float = np.inf) -> None:
        self._size, self._box = sum(rings.lengths), box_px
        self._here, self._there = half_rings(rings)
        self._own, self._partner = _half_image(box_px, support_px)
        self._step = max(1, MATRIX_BYTES // (8 * len(self._own)))
        line = np.arange(box_px) - box_px // 2
        phase = (-2 * np.pi / box_px) * (rings.points_px[self._here].T[:, None, :] * line[:, None])  # (2, box, samples)
        self._along_x, self._along_y = np.exp(1j * phase).astype(np.complex64)
        self._along_x /= box_px
        self._kept = [self._matrices(0)] if self._step >= len(self._here) else []

    def __call__(self, images: npt.ArrayLike) -> Float32:
        """Return the samples of images (n, h, h), ring after ring, shape (n, samples), float32.

        White noise of unit variance has unit variance here.
        """
        pixels = np.asarray(images, dtype=np.float32).reshape(-1, self._box * self._box)
        padded = np.concatenate((pixels, np.zeros((len(pixels), 1), dtype=np.float32)), axis=1)
        own, partner = padded[:, self._own], padded[:, self._partner]
        even, odd = own + partner, own - partner
        samples = np.empty((len(pixels), self._size), dtype=np.float32)
        for part, cosines, sines in self._parts():
            real, imaginary = even @ cosines, odd @ sines
            samples[:, self._here[part]] = real + imaginary
            samples[:, self._there[part]] = real - imaginary
        return samples

    def adjoint(self, samples: Float32) -> Float32:
        """Return the images that samples (n, samples) add up to, each a wave, shape (n, h, h), float32."""
        even, odd = np.zeros((2, len(samples), len(self._own)), dtype=np.float32)
        for part, cosines, sines in self._parts():
            here, there = samples[:, self._here[part]], samples[:, self._there[part]]
            even += (here + there) @ cosines.T
            odd += (here - there) @ sines.T
        padded = np.zeros((len(samples), self._box**2 + 1), dtype=np.float32)
        padded[:, self._partner], padded[:, self._own] = even - odd, even + odd
        return padded[:, :-1].reshape(-1, self._box, self._box)

    def _parts(self) -> Iterator[tuple[slice, Float32, Float32]]:
        """Yield parts of the half rings with their matrices: all at once if these take little."""
        for first in range(0, len(self._here), self._step):
            yield slice(first, first + self._step), *(self._kept[0] if self._kept else self._matrices(first))

    def _matrices(self, first: int) -> tuple[Float32, Float32]:
        """Return cosines and sines, pixels by samples, of a part of the samples: products of waves along x and y."""
        x, y = (along[:, first : first + self._step] for along in (self._along_x, self._along_y))
        row, column = np.divmod(self._own, self._box)
        cosines, sines = np.empty((2, len(row), x.shape[1]), dtype=np.float32)
        for some in (slice(i, i + WAVE_PIXELS) for i in range(0, len(row), WAVE_PIXELS)):
            wave = x[column[some]] * y[row[some]]
            cosines[some], sines[some] = wave.real, wave.imag
        return cosines, sines


def _half_image(side: int, support_px: float) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return one half of the pixels within a radius, and those opposite (side² where there is none)."""
    y, x = (a.ravel() for a in np.mgrid[:side, :side] - side // 2)
    low = -(side // 2)
    alone = (-x + side // 2 >= side) | (-y + side // 2 >= side)
    used = np.flatnonzero(((y > 0) | ((y == 0) & (x >= 0)) | alone) & (x**2 + y**2 <= support_px**2))
    partner = np.where(alone, side * side, (-y - low) * side + (-x - low))
    partner[(x == 0) & (y == 0)] = side * side
    return used, partner[used]


def half_rings(rings: Rings) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the samples on the first half turn of every ring, and those opposite."""
    starts = np.concatenate(([0], np.cumsum(rings.lengths)[:-1]))
    here = np.concatenate([start + np.arange(n // 2) for start, n in zip(starts, rings.lengths, strict=True)])
    return here, here + np.concatenate([np.full(n // 2, n // 2) for n in rings.lengths])


def ring_transform(images: npt.ArrayLike, rings: Rings) -> Float32:
    """Return the Hartley transform of images (n, h, h) on rings, shape (n, samples); see ``RingTransform``."""
    return RingTransform(rings, np.shape(images)[-1])(images)


def opposite(samples: npt.NDArray[np.floating], rings: Rings) -> npt.NDArray[np.floating]:
    """Return rings turned by 180 degrees, shape (..., samples)."""
    parts, start = [], 0
    for n in rings.lengths:
        parts.append(np.roll(samples[..., start : start + n], n // 2, axis=-1))
        start += n
    return np.concatenate(parts, axis=-1)


def moved(samples: npt.NDArray[np.floating], shift_px: npt.ArrayLike, rings: Rings, box_px: int) -> Float:
    r"""Return the rings of images moved by a shift.

    .. math:: H'(\kappa) = \cos\alpha\, H(\kappa) - \sin\alpha\, H(-\kappa), \quad \alpha = 2 \pi\, \kappa \cdot d / n

    Parameters
    ----------
    samples : ndarray, shape (..., samples)
        Rings of the Hartley transform.
    shift_px : array_like, shape (..., 2)
        Shifts d = (x, y), which broadcast against the leading axes.
    rings : Rings
        Their rings.
    box_px : int
        Side n of the images.
    """
    alpha = (2 * np.pi / box_px) * (np.asarray(shift_px, dtype=np.float64) @ rings.points_px.T)
    result: Float = np.cos(alpha) * samples - np.sin(alpha) * opposite(samples, rings)
    return result


def turned(samples: npt.NDArray[np.floating], angle_deg: float, rings: Rings) -> Float:
    """Return rings turned by an angle as a pose turns them, H'(k, phi) = H(k, phi - a), shape (n, samples)."""
    result = np.empty(samples.shape)
    start = 0
    for length in rings.lengths:
        part = slice(start, start + length)
        phase = np.exp(-1j * np.deg2rad(angle_deg) * np.arange(length // 2 + 1))
        result[..., part] = np.fft.irfft(np.fft.rfft(samples[..., part], axis=-1) * phase, length, axis=-1)
        start += length
    return result


def ring_power(samples: npt.NDArray[np.floating], rings: Rings) -> Float:
    """Return the mean square of each ring, shape (..., r)."""
    starts = np.concatenate(([0], np.cumsum(rings.lengths)[:-1]))
    power: Float = np.add.reduceat(np.square(samples, dtype=np.float64), starts, axis=-1) / np.array(rings.lengths)
    return power


def to_image(samples: npt.ArrayLike, rings: Rings, box_px: int) -> Float32:
    r"""Return the images whose transform on rings is given, and 0 off them.

    .. math:: x(p) = \frac{1}{n} \sum_k \frac{2 \pi k}{N_k} \sum_\varphi H(k, \varphi)\,
        \mathrm{cas}(-2\pi\kappa\cdot p/n)

    Parameters
    ----------
    samples : array_like, shape (n, samples)
        Rings.
    rings : Rings
        Their rings.
    box_px : int
        Side of the images.

    Returns
    -------
    ndarray, shape (n, box_px, box_px), float32
        The adjoint of ``ring_transform`` under the area of samples: its inverse, but for what the rings miss.
    """
    weight = np.repeat(rings.sample_weights, rings.lengths)
    weighted = (np.asarray(samples, dtype=np.float64) * weight).astype(np.float32)
    return RingTransform(rings, box_px).adjoint(weighted)
