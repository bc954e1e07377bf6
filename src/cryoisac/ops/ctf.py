"""The contrast transfer function, and images corrected for its sign or multiplied by it.

Frequencies here are in 1/Å: cycles per pixel over the pixel size.
"""

from dataclasses import replace
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import scipy.fft

from cryoisac.errors import DataError
from cryoisac.model.ctf import CtfParameters
from cryoisac.model.poses import Poses
from cryoisac.ops.fourier import Float, Images, apply_response, edge_mean, frequencies


def wavelength_A(voltage_kV: npt.ArrayLike) -> Float:
    r"""Return the electron wavelength in Å, :math:`\lambda = 12.398 / \sqrt{V (1022 + V)}` with V in kV."""
    kV = np.asarray(voltage_kV, dtype=np.float64)
    if not np.all(kV > 0):
        raise DataError("CTF", f"voltage {kV.min():g} kV must be above 0; correct the particles' metadata")
    wavelength: Float = 12.398 / np.sqrt(kV * (1022 + kV))
    return wavelength


def ctf_1d(parameters: CtfParameters, frequency_per_A: npt.ArrayLike) -> Float:
    r"""Return the CTF over absolute frequencies, astigmatism left out.

    .. math:: \mathrm{CTF}(k) = \sin(\pi (10^4 \Delta z \lambda k^2 - \tfrac12 10^7 C_s \lambda^3 k^4) + \phi)
        \exp(-B k^2 / 4)

    Parameters
    ----------
    parameters : CtfParameters
        Parameters of n images.
    frequency_per_A : array_like, shape (r,) or (n, r)
        Frequencies in 1/Å.

    Returns
    -------
    ndarray, shape (n, r)
        Values from -1 to 1; positive at low frequency for underfocus.

    Raises
    ------
    DataError
        When a voltage is not positive.

    Notes
    -----
    Δz in µm, Cs in mm, λ in Å, B in Å²; φ is the arcsine of the amplitude contrast, plus the phase plate's shift. As
    SPARX's ``ctf_1d``; a negative amplitude contrast adds π to φ, as there.
    """
    k2 = np.asarray(frequency_per_A, dtype=np.float64) ** 2
    defocus, _, spherical, constant = (c[:, None] for c in _phase_coefficients(parameters))
    ctf: Float = np.sin(defocus * k2 - spherical * k2 * k2 + constant) * _envelope(parameters, k2)
    return ctf


def ctf_2d(parameters: CtfParameters, box_px: int, pixel_size_A: npt.ArrayLike) -> Float:
    r"""Return the CTF over the real Fourier transform of square images, astigmatism included.

    The defocus in direction θ is :math:`\Delta z(\theta) = \Delta z - \tfrac12 A \sin 2(\theta + \theta_0)`.

    Parameters
    ----------
    parameters : CtfParameters
        Parameters of n images.
    box_px : int
        Side of the images.
    pixel_size_A : array_like, shape () or (n,)
        Pixel size in Å.

    Returns
    -------
    ndarray, shape (n, box_px, box_px // 2 + 1)
        Values from -1 to 1.

    Raises
    ------
    DataError
        When a voltage or a pixel size is not positive.

    Notes
    -----
    As SPARX: θ is the angle of (k_x, k_y), positive from x towards +y.
    """
    return _ctf(parameters, pixel_size_A, _polynomials(box_px)).reshape(-1, box_px, box_px // 2 + 1)


def ctf_at(parameters: CtfParameters, points: npt.ArrayLike, pixel_size_A: npt.ArrayLike) -> Float:
    """Return the CTF at points of the Fourier plane, astigmatism included, as ``ctf_2d`` does on its grid.

    Parameters
    ----------
    parameters : CtfParameters
        Parameters of n images.
    points : array_like, shape (s, 2)
        Frequencies (x, y) in cycles per pixel.
    pixel_size_A : array_like, shape () or (n,)
        Pixel size in Å.

    Returns
    -------
    ndarray, shape (n, s)
        Values from -1 to 1.

    Raises
    ------
    DataError
        When a voltage or a pixel size is not positive.
    """
    x, y = np.moveaxis(np.asarray(points, dtype=np.float64), -1, 0)
    return _ctf(parameters, pixel_size_A, _monomials(y, x))


def phase_flip(images: Images, parameters: CtfParameters, pixel_size_A: npt.ArrayLike) -> Images:
    """Reverse the sign of the Fourier coefficients of images where their CTF is negative.

    Parameters
    ----------
    images : ndarray, shape (n, h, h)
        Images.
    parameters : CtfParameters
        Their parameters; the B-factor does not matter.
    pixel_size_A : array_like, shape () or (n,)
        Pixel size in Å.

    Returns
    -------
    ndarray, shape (n, h, h)
        Corrected images.

    Raises
    ------
    DataError
        When the images are not square or do not match the parameters.

    Notes
    -----
    Each image is padded to twice its side with the mean of its edge, as in SPARX's ``filt_ctf``. Needs about
    thirty bytes a padded pixel: hand over blocks of images.
    """
    _check(images, parameters)
    return _padded(images, phase_signs(parameters, 2 * images.shape[-1], pixel_size_A))


def phase_signs(parameters: CtfParameters, box_px: int, pixel_size_A: npt.ArrayLike) -> Images:
    """Return -1 where ``ctf_2d`` is negative, else 1, shape (n, box_px, box_px // 2 + 1), float32."""
    turns = _phase(parameters, pixel_size_A, _polynomials(box_px)).reshape(-1, box_px, box_px // 2 + 1)
    turns *= 1 / (2 * np.pi)
    turns -= np.rint(turns)  # within half a turn of 0: sin(2 pi turns) has the sign of turns, and need not be computed
    return np.where(turns < 0, np.float32(-1), np.float32(1))


def apply_ctf(images: Images, parameters: CtfParameters, pixel_size_A: npt.ArrayLike, *, padded: bool = True) -> Images:
    """Multiply images by their CTF.

    Parameters
    ----------
    images : ndarray, shape (n, h, h)
        Images.
    parameters : CtfParameters
        Their parameters.
    pixel_size_A : array_like, shape () or (n,)
        Pixel size in Å.
    padded : bool
        Pad to twice the side with the mean of the edge, or take the images as periodic.

    Returns
    -------
    ndarray, shape (n, h, h)
        Images as the microscope shows them.

    Raises
    ------
    DataError
        When the images are not square or do not match the parameters.
    """
    _check(images, parameters)
    n = images.shape[-1]
    if not padded:
        return apply_response(images, ctf_2d(parameters, n, pixel_size_A))
    return _padded(images, ctf_2d(parameters, 2 * n, pixel_size_A))


def turned(parameters: CtfParameters, poses: Poses) -> CtfParameters:
    """Return the CTF of images once they lie on their references: its astigmatism turns, and mirrors, with the image.

    Parameters
    ----------
    parameters : CtfParameters
        Parameters of n images as they were taken.
    poses : Poses
        Their poses.

    Returns
    -------
    CtfParameters
        The same but for ``astigmatism_angle_deg``.

    Raises
    ------
    DataError
        When there is not one pose for each set of parameters.

    Notes
    -----
    A pose (a, m) shows direction θ of the image's transform at θ - a, mirrored at 180° - θ + a; so the angle θ0 of the
    defocus Δz - A/2 sin 2(θ + θ0) becomes θ0 + a, or 90° - θ0 - a.
    """
    if len(parameters) != len(poses):
        raise DataError("CTF", f"{len(parameters)} sets of parameters for {len(poses)} poses; give each its own")
    angle = parameters.astigmatism_angle_deg + poses.angle_deg
    return replace(parameters, astigmatism_angle_deg=np.mod(np.where(poses.mirror, 90.0 - angle, angle), 180.0))


@lru_cache(maxsize=2)
def _polynomials(box_px: int) -> Float:
    """Return ``_monomials`` over the real Fourier transform, shape (4, s)."""
    polynomials = _monomials(*frequencies((box_px, box_px)))
    polynomials.flags.writeable = False
    return polynomials


def _monomials(y: Float, x: Float) -> Float:
    """Return k², k² sin 2θ, k² cos 2θ and k⁴, shape (4, s), of frequencies in cycles per pixel."""
    k2 = y * y + x * x
    return np.stack((k2, 2 * x * y, x * x - y * y, k2 * k2)).reshape(4, -1)


def _ctf(parameters: CtfParameters, pixel_size_A: npt.ArrayLike, polynomials: Float) -> Float:
    """Return the CTF (n, s) where k², k² sin 2θ, k² cos 2θ and k⁴ have given values, s of each."""
    phase = _phase(parameters, pixel_size_A, polynomials)
    ctf: Float = np.sin(phase, out=phase)
    if np.any(parameters.bfactor_A2):
        scale = _inverse_squared(pixel_size_A, len(parameters))
        ctf *= _envelope(parameters, scale[:, None] * polynomials[:1])
    return ctf


def _phase(parameters: CtfParameters, pixel_size_A: npt.ArrayLike, polynomials: Float) -> Float:
    """Return the phase of the CTF (n, s), its argument of the sine, as ``_ctf`` is asked for it."""
    scale = _inverse_squared(pixel_size_A, len(parameters))  # (n,), 1/Å²
    defocus, astigmatism, spherical, constant = _phase_coefficients(parameters)
    turn = np.deg2rad(2 * parameters.astigmatism_angle_deg)
    rows = (defocus, -astigmatism * np.cos(turn), -astigmatism * np.sin(turn), -spherical * scale)
    phase: Float = (np.stack(rows, axis=1) * scale[:, None]) @ polynomials
    phase += constant[:, None]
    return phase


def _phase_coefficients(parameters: CtfParameters) -> tuple[Float, Float, Float, Float]:
    """Return the factors of k², k² sin 2(θ + θ0) and k⁴, and the constant, in the phase; each of shape (n,)."""
    wavelength = wavelength_A(parameters.voltage_kV)
    contrast = parameters.amplitude_contrast
    constant = np.arcsin(np.clip(contrast, -1, 1)) + np.pi * (contrast < 0) + np.deg2rad(parameters.phase_shift_deg)
    return (
        np.pi * 1e4 * wavelength * parameters.defocus_um,
        np.pi * 5e3 * wavelength * parameters.astigmatism_um,
        np.pi * 5e6 * wavelength**3 * parameters.cs_mm,
        constant,
    )


def _envelope(parameters: CtfParameters, k2: Float) -> Float:
    """Return exp(-B k²/4), shape (n, r), for squared frequencies in 1/Å² of shape (r,) or (n, r)."""
    envelope: Float = np.exp(-0.25 * parameters.bfactor_A2[:, None] * k2)
    return envelope


def _inverse_squared(pixel_size_A: npt.ArrayLike, n: int) -> Float:
    size = np.asarray(pixel_size_A, dtype=np.float64)
    if not np.all(size > 0):
        raise DataError("CTF", f"pixel size {size.min():g} Å must be above 0; correct the particles' metadata")
    return np.broadcast_to(size**-2.0, (n,))


def _padded(images: Images, response: Float | Images) -> Images:
    """Filter images in boxes of twice their side, shape (n, 2h, h + 1) of ``response``, filled with their edge's mean.

    Rows that are empty before, or cut off after, are not transformed.
    """
    n = images.shape[-1]
    background = edge_mean(images).astype(images.dtype)[:, None, None]
    spectrum = scipy.fft.rfft(images - background, n=2 * n)
    spectrum = scipy.fft.fft(spectrum, n=2 * n, axis=-2)
    spectrum *= response.astype(images.dtype, copy=False)
    spectrum = scipy.fft.ifft(spectrum, axis=-2, overwrite_x=True)[:, :n]
    filtered: Images = scipy.fft.irfft(spectrum, n=2 * n)[..., :n] + background * response[:, :1, :1]
    return filtered.astype(images.dtype, copy=False)


def _check(images: Images, parameters: CtfParameters) -> None:
    if images.ndim != 3 or images.shape[1] != images.shape[2]:
        raise DataError("CTF", f"images of shape {images.shape} are not a stack of squares; hand over (n, h, h)")
    if len(images) != len(parameters):
        raise DataError("CTF", f"{len(images)} images have {len(parameters)} sets of parameters; give each its own")
