"""Fixtures of the tests of numerics."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from cryoisac.model.ctf import CtfParameters


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20240607)


@pytest.fixture(scope="session")
def parameters() -> Callable[[Any], tuple[CtfParameters, Any]]:
    """Return a function: rows of EMAN2 (defocus, dfdiff, dfang, B, percent, kV, Cs, Å) to parameters, pixel sizes."""

    def from_rows(rows: Any) -> tuple[CtfParameters, Any]:
        defocus, difference, angle, b, percent, kV, cs, apix = np.atleast_2d(rows).astype(np.float64).T
        made = CtfParameters(
            defocus_um=defocus,
            astigmatism_um=difference,
            astigmatism_angle_deg=angle,
            bfactor_A2=b,
            amplitude_contrast=percent / 100,
            voltage_kV=kV,
            cs_mm=cs,
            phase_shift_deg=np.zeros_like(defocus),
        )
        return made, apix

    return from_rows
