"""Fixtures of the tests of numerics."""

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

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
