"""Averages whose fall-off is undone: filters that bring a power spectrum to a model, and B-factors.

A table holds the factor of rings 0, 1, ... of the Fourier transform, for ``filters.radial_table``. Frequencies are in
1/Å.
"""

import numpy as np
import numpy.typing as npt
import scipy.fft

from cryoisac.errors import DataError
from cryoisac.ops.fourier import Float, Images
from cryoisac.ops.spectra import rotational_average

LEAST_POWER = 1e-12  # of the strongest ring: rings with less are not raised


def model_power(frequency_per_A: npt.ArrayLike) -> Float:
    r"""Return the power spectrum of a membrane protein as SPHIRE models it.

    .. math:: v(x) = \exp\left(-4.5 + \frac{15}{(x / 0.2 + 1)^2}\right) +
        \exp\left(-1 - \tfrac12 \left(\frac{x - 0.2}{0.0625}\right)^2\right)

    Parameters
    ----------
    frequency_per_A : array_like, shape (r,)
        Frequencies in 1/Å.

    Notes
    -----
    Six constants that SPHIRE's authors fitted to one ion channel. SPHIRE asks for it at i / (L px) with L = n // 2 + 1
    rings, twice the frequency that ring i has; what frequencies are meant is the caller's choice here.
    """
    x = np.asarray(frequency_per_A, dtype=np.float64)
    power: Float = np.exp(-4.5 + 15 / (x / 0.2 + 1) ** 2) + np.exp(-1 - 0.5 * ((x - 0.2) / 0.0625) ** 2)
    return power


def to_model(power: npt.ArrayLike, model: npt.ArrayLike) -> Float:
    r"""Return the table that gives an image the power spectrum of a model, :math:`\sqrt{v_i / (P_i \sum v)}`.

    Parameters
    ----------
    power : array_like, shape (r,)
        ``rotational_power`` P of the image.
    model : array_like, shape (r,)
        Power v of the model on the same rings.
    """
    v = np.asarray(model, dtype=np.float64)
    return _ratio(v / v.sum(), power)


def to_measured(power: npt.ArrayLike, model: npt.ArrayLike) -> Float:
    """Return the table that gives an image a measured power spectrum.

    Parameters
    ----------
    power : array_like, shape (r,)
        ``rotational_power`` of the image.
    model : array_like, shape (m,), m >= r
        Power of the model on rings 0, 1, ...; what lies beyond the image's is left out.

    Raises
    ------
    DataError
        When the model has too few rings, or a power that is not positive.

    Notes
    -----
    As SPHIRE: the model is divided by its sum, unless its first value, from 0.1 to 1, says that it is scaled.
    """
    p, v = np.asarray(power, dtype=np.float64), np.asarray(model, dtype=np.float64)
    if len(v) < len(p) or not (np.isfinite(v).all() and np.all(v > 0)):
        raise DataError("power spectrum", f"{len(v)} values: need {len(p)} or more, all above 0")
    v = v[: len(p)]
    return _ratio(v / (1.0 if 0.1 <= v[0] <= 1.0 else v.sum()), p)


def _ratio(wanted: Float, power: npt.ArrayLike) -> Float:
    p = np.asarray(power, dtype=np.float64)
    least = LEAST_POWER * p.max(initial=0.0)
    if not least > 0:
        raise DataError("power spectrum", "is 0 everywhere: a constant image has nothing to raise")
    table: Float = np.sqrt(wanted / np.maximum(p, least))
    return table


def amplitudes(image: Images) -> Float:
    """Return the mean amplitude |F| of an image (n, n) on rings 0, 1, ..., each ring at i / n cycles per pixel."""
    n = image.shape[-1]
    spectrum = np.abs(scipy.fft.fftshift(scipy.fft.fft2(image.astype(np.float64)), axes=(-2, -1)))
    return rotational_average(spectrum)[..., : n // 2 + 1]


def guinier_slope(
    curve: npt.ArrayLike, frequency_per_A: npt.ArrayLike, low_per_A: float, high_per_A: float
) -> tuple[float, tuple[int, int]]:
    """Return the slope b of -ln(curve) over squared frequency, fitted between two frequencies.

    Parameters
    ----------
    curve : array_like, shape (r,)
        Amplitudes; element 0 is not used.
    frequency_per_A : array_like, shape (r,)
        Frequencies in 1/Å.
    low_per_A, high_per_A : float
        The fit begins at the first frequency above ``low_per_A`` and ends before the first above ``high_per_A``, or
        before the last.

    Returns
    -------
    slope : float
        b in Å²: amplitudes fall as exp(-b s²), and B = 4 b.
    fitted : tuple of int
        First index fitted, and the first after it that is not.

    Raises
    ------
    DataError
        When fewer than two points lie in between, or an amplitude there is 0.

    Notes
    -----
    Guinier plot, Rosenthal & Henderson (2003).
    """
    s2 = np.asarray(frequency_per_A, dtype=np.float64) ** 2
    first, last = (
        int(np.argmax(s2 > limit**2)) if s2[-1] > limit**2 else len(s2) - 1 for limit in (low_per_A, high_per_A)
    )
    own = np.asarray(curve, dtype=np.float64)[first:last]
    if len(own) < 2 or not np.all(own > 0):
        raise DataError(
            "B-factor",
            f"needs two rings or more with power between {1 / low_per_A:.3g} and {1 / high_per_A:.3g} Å; "
            "give --Bfactor, or raise --B-start",
        )
    slope = np.polynomial.polynomial.polyfit(s2[first:last], np.log(own), 1)[1]
    return -float(slope), (first, last)


def bfactor_table(bfactor_A2: float, frequency_per_A: npt.ArrayLike) -> Float:
    r"""Return the table :math:`\exp(B s^2 / 4)`, B in Å² and s in 1/Å."""
    s = np.asarray(frequency_per_A, dtype=np.float64)
    table: Float = np.exp(0.25 * bfactor_A2 * s * s)
    return table
