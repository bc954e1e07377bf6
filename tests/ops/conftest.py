"""Fixtures of the tests of numerics."""

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cryoisac.model.ctf import CtfParameters

Case = tuple[dict[str, Any], Any]


def _decoded(value: Any) -> Any:
    if isinstance(value, dict) and "base64" in value:
        return np.frombuffer(base64.b64decode(value["base64"]), dtype=value["dtype"]).reshape(value["shape"])
    return value


@pytest.fixture(scope="session")
def vectors(shared: Path) -> Callable[[str], list[Case]]:
    """Return a function that gives the cases (arguments, expected values) of one function of ``vectors.json``."""
    everything = json.loads((shared / "conformance" / "vectors.json").read_text())
    inputs = {f"${name}": _decoded(value) for name, value in everything["inputs"].items()}

    def cases(function: str) -> list[Case]:
        found = [case for case in everything["cases"] if case["function"] == function]
        assert found, function
        return [
            (
                {k: inputs[v] if isinstance(v, str) and v.startswith("$") else v for k, v in case["args"].items()},
                np.asarray(case["expected"]),
            )
            for case in found
        ]

    return cases


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
