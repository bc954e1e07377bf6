"""Parameters of the contrast transfer function, one set an image."""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

Float = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False, kw_only=True)
class CtfParameters:
    """CTF parameters of ``n`` images, in the convention of EMAN2 and SPARX; each field has shape (n,).

    Parameters
    ----------
    defocus_um : ndarray
        Mean defocus in micrometres, positive for underfocus.
    astigmatism_um : ndarray
        Difference of the two principal defoci, in micrometres.
    astigmatism_angle_deg : ndarray
        Angle in Δz(θ) = Δz - astigmatism/2 · sin 2(θ + angle), in degrees.
    bfactor_A2 : ndarray
        B of the envelope exp(-B k²/4), in Å².
    amplitude_contrast : ndarray
        Amplitude contrast as a fraction, 0 to 1.
    voltage_kV : ndarray
        Acceleration voltage in kV.
    cs_mm : ndarray
        Spherical aberration in mm.
    phase_shift_deg : ndarray
        Additional phase shift of a phase plate, in degrees.
    """

    defocus_um: Float
    astigmatism_um: Float
    astigmatism_angle_deg: Float
    bfactor_A2: Float
    amplitude_contrast: Float
    voltage_kV: Float
    cs_mm: Float
    phase_shift_deg: Float

    def __len__(self) -> int:
        return len(self.defocus_um)

    def __getitem__(self, index: Any) -> "CtfParameters":
        """Return the parameters that ``index`` (a slice, mask or integer array) selects."""
        return CtfParameters(**{f.name: getattr(self, f.name)[index] for f in fields(self)})

    @staticmethod
    def from_relion(
        defocus_u_A: npt.ArrayLike,
        defocus_v_A: npt.ArrayLike,
        defocus_angle_deg: npt.ArrayLike,
        *,
        voltage_kV: npt.ArrayLike,
        cs_mm: npt.ArrayLike,
        amplitude_contrast: npt.ArrayLike,
        phase_shift_deg: npt.ArrayLike = 0.0,
    ) -> "CtfParameters":
        """Return parameters from RELION's columns; every argument has shape (n,) or is one number for all.

        Δz = (U + V)/2, astigmatism = V - U, angle = 45 - DefocusAngle (mod 180).
        """
        u, v, angle, kV, cs, q, shift = np.broadcast_arrays(
            *(
                np.asarray(a, dtype=np.float64)
                for a in (
                    defocus_u_A,
                    defocus_v_A,
                    defocus_angle_deg,
                    voltage_kV,
                    cs_mm,
                    amplitude_contrast,
                    phase_shift_deg,
                )
            )
        )
        return CtfParameters(
            defocus_um=(u + v) / 2e4,
            astigmatism_um=(v - u) / 1e4,
            astigmatism_angle_deg=np.mod(45.0 - angle, 180.0),
            bfactor_A2=np.zeros(u.shape),
            amplitude_contrast=q.copy(),
            voltage_kV=kV.copy(),
            cs_mm=cs.copy(),
            phase_shift_deg=shift.copy(),
        )

    def whole_contrast(self) -> Float:
        """Return amplitude contrasts that hold the phase shift too, as SPHIRE keeps it in EMAN2's CTF, shape (n,).

        With φ the arcsine of the amplitude contrast plus the phase shift: sin φ up to 90 degrees, -sin φ from there to
        180; NaN beyond, where nothing holds it.
        """
        negative = np.pi * (self.amplitude_contrast < 0)
        phase = np.arcsin(np.clip(self.amplitude_contrast, -1, 1)) + negative + np.deg2rad(self.phase_shift_deg)
        whole = np.where(phase <= np.pi / 2, np.sin(phase), -np.sin(phase))
        return np.where((phase >= 0) & (phase < np.pi), whole, np.nan)

    def to_relion(self) -> tuple[Float, Float, Float]:
        """Return ``rlnDefocusU, rlnDefocusV`` in Å and ``rlnDefocusAngle`` in degrees, each of shape (n,)."""
        mean, half = self.defocus_um * 1e4, self.astigmatism_um * 5e3
        return mean - half, mean + half, np.mod(45.0 - self.astigmatism_angle_deg, 180.0)
