"""Header attributes of EMAN2: what they look like in HDF5, and what they mean."""

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cryoisac.model.poses import wrap

Float = npt.NDArray[np.float64]

PREFIX = "EMAN."
TRUE = ord("T")
MATRIX_TYPE = np.dtype([(f"{row}{column}", "<f4") for row in range(3) for column in range(4)])
LARGEST_PLAIN_BYTES = 60_000  # of 64 KiB that an attribute may take in the oldest HDF5 format, heading included


@dataclass(frozen=True)
class EmanCtf:
    """A CTF as EMAN2 stores it.

    Parameters
    ----------
    defocus_um, astigmatism_um, angle_deg, bfactor_A2 : float
        As in ``CtfParameters``.
    amplitude_contrast_percent : float
        Amplitude contrast in percent.
    voltage_kV, cs_mm, pixel_size_A : float
        Microscope and pixel size.
    """

    defocus_um: float
    astigmatism_um: float
    angle_deg: float
    bfactor_A2: float
    amplitude_contrast_percent: float
    voltage_kV: float
    cs_mm: float
    pixel_size_A: float

    @staticmethod
    def parse(text: str) -> "EmanCtf":
        """Return the CTF of EMAN2's string, ``E...``, or of EMAN1's, ``O...``; ``ValueError`` if it is neither."""
        values = [float(word) for word in text[1:].replace(",", " ").split()]
        if text.startswith("E") and len(values) >= 8:
            return EmanCtf(*values[:8])
        if text.startswith("O") and len(values) >= 11:
            defocus, b, _, contrast = values[:4]
            return EmanCtf(-defocus, 0.0, 0.0, 4 * b, 100 * contrast, *values[8:11])
        raise ValueError(f"'{text}' is no CTF of EMAN2")

    def text(self) -> str:
        """Return EMAN2's string, without background and signal tables."""
        return "E" + " ".join(f"{value:.10g}" for value in astuple(self)) + " 0 0 0"


@dataclass(frozen=True, eq=False)
class EmanTransform:
    """A ``Transform`` of EMAN2.

    Parameters
    ----------
    matrix : ndarray, shape (3, 4), float64
        Rotation and scale, and a column of shifts.
    """

    matrix: Float

    @staticmethod
    def from_row(row: npt.ArrayLike) -> "EmanTransform":
        """Return the transform of a 2-D pose ``angle_deg, x, y, mirror``."""
        angle_deg, x, y, mirror = np.asarray(row, dtype=np.float64)
        c, s = np.cos(np.deg2rad(angle_deg)), np.sin(np.deg2rad(angle_deg))
        matrix = np.array([[c, s, 0, x], [-s, c, 0, y], [0, 0, 1, 0]], dtype=np.float64)
        if mirror == 1:
            matrix[0] *= -1
        return EmanTransform(matrix)

    @staticmethod
    def from_projection(row: npt.ArrayLike) -> "EmanTransform":
        """Return the transform of a projection ``phi, theta, psi, s2x, s2y``, whose shift is stored with minus signs.

        SPIDER's angles are EMAN2's ZXZ angles with az = phi + 90, alt = theta, phi = psi - 90.
        """
        phi, theta, psi, x, y = np.asarray(row, dtype=np.float64)
        cosines, sines = np.cos(angles := np.deg2rad([phi + 90, theta, psi - 90])), np.sin(angles)
        (ca, cl, cp), (sa, sl, sp) = cosines, sines
        matrix = np.array(
            [
                [cp * ca - cl * sa * sp, cp * sa + cl * ca * sp, sl * sp, -x],
                [-sp * ca - cl * sa * cp, -sp * sa + cl * ca * cp, sl * cp, -y],
                [sl * sa, -sl * ca, cl, 0],
            ]
        )
        return EmanTransform(matrix)


def pose_rows(transforms: Sequence[EmanTransform]) -> Float:
    """Return 2-D poses as rows ``angle_deg, x, y, mirror``, shape (n, 4).

    Raises
    ------
    ValueError
        If a transform enlarges, or tilts out of the plane.
    """
    rows, scale = scaled_pose_rows(transforms)
    if (np.abs(scale**2 - 1) > 1e-3).any():  # stored as float32
        raise ValueError("is no rotation and shift in the plane")
    return rows


def scaled_pose_rows(transforms: Sequence[EmanTransform]) -> tuple[Float, Float]:
    """Return 2-D poses as rows ``angle_deg, x, y, mirror``, shape (n, 4), and their scales, shape (n,).

    A determinant of rows and columns 0 and 1 below zero means a mirror, which negates all of row 0; then
    angle = atan2(M01, M00), and the scale is the square root of the determinant's size.
    """
    matrix = np.array([t.matrix for t in transforms]).reshape(-1, 3, 4)
    determinant = np.linalg.det(matrix[:, :2, :2])
    sign = np.where(determinant < 0, -1.0, 1.0)
    angle = wrap(np.rad2deg(np.arctan2(sign * matrix[:, 0, 1], sign * matrix[:, 0, 0])))
    rows = np.column_stack((angle, sign * matrix[:, 0, 3], matrix[:, 1, 3], determinant < 0))
    return rows, np.sqrt(np.abs(determinant))


def decode(name: str, stored: npt.NDArray[Any]) -> Any:
    """Return the value of an HDF5 attribute.

    Parameters
    ----------
    name : str
        The attribute's name without ``EMAN.``.
    stored : ndarray
        What the attribute holds.

    Returns
    -------
    bool, int, float, str, EmanCtf, EmanTransform or ndarray
        Lists are arrays. A list of one element cannot be told from a number and is a number, save ``members``.
    """
    if stored.dtype.names is not None:
        numbers = [float(stored.reshape(-1)[0][field]) for field in stored.dtype.names]
        return EmanTransform(np.array(numbers).reshape(3, 4)) if len(numbers) == 12 else numbers
    if stored.dtype.kind in "SO":
        return _decode_text(stored.reshape(-1)[0])
    if stored.dtype.kind == "b":
        return bool(stored.reshape(-1)[0])
    if stored.dtype.kind in "iu" and stored.dtype.itemsize == 1:
        return int(stored.reshape(-1)[0]) == TRUE
    if name == "members":
        return stored.reshape(-1).astype(np.int64)
    return stored.reshape(-1)[0].item() if stored.size == 1 else stored


def _decode_text(stored: bytes | str) -> str | EmanCtf:
    return text_or_ctf(stored if isinstance(stored, str) else stored.split(b"\0")[0].decode("utf-8", errors="replace"))


def text_or_ctf(text: str) -> str | EmanCtf:
    """Return what text in a header means: a CTF where it looks like one, under any name."""
    return EmanCtf.parse(text) if _like_ctf(text) else text


def _like_ctf(text: str) -> bool:
    return len(text) > 1 and text[0] in "EO" and (text[1].isdigit() or text[1] == "-")


def encode(name: str, value: Any) -> npt.NDArray[Any]:
    """Return what an HDF5 attribute holds for a value, so that EMAN2 reads it.

    Whole numbers and truth values become int32, numbers float64, lists int32 or float32, text a fixed string with a
    closing NUL, transforms twelve float32.

    Raises
    ------
    ValueError
        If EMAN2 could not read the value back.
    """
    if isinstance(value, EmanTransform):
        packed = np.zeros(1, MATRIX_TYPE)
        packed.view(np.float32)[:] = value.matrix.reshape(-1)
        return packed
    if isinstance(value, EmanCtf):
        return _encode_text(value.text())
    if isinstance(value, str):
        if _like_ctf(value):
            raise ValueError(f"{name} is '{value}', which EMAN2 takes for a CTF")
        return _encode_text(value)
    numbers = np.asarray(value)
    if numbers.dtype.kind not in "biuf" or numbers.ndim > 1 or not numbers.size:
        raise ValueError(f"{name} of type {type(value).__name__} cannot be stored for EMAN2")
    if numbers.dtype.kind == "f":
        return numbers.astype(np.float32) if numbers.ndim else numbers.astype(np.float64).reshape(1)
    if int(numbers.min()) < -(2**31) or int(numbers.max()) >= 2**31:
        raise ValueError(f"{name} has a whole number beyond 32 bits")
    return numbers.astype(np.int32).reshape(-1)


def _encode_text(text: str) -> npt.NDArray[Any]:
    stored = text.encode()
    if b"\0" in stored:
        raise ValueError("text with a NUL cannot be stored for EMAN2")
    return np.array(stored, dtype=f"S{len(stored) + 1}")


def needs_new_format(attributes: Sequence[Mapping[str, npt.NDArray[Any]]]) -> bool:
    """Return whether an encoded attribute is too large for the oldest HDF5 format."""
    return any(value.nbytes > LARGEST_PLAIN_BYTES for header in attributes for value in header.values())
