"""Fixtures that several layers share."""

import base64
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cryoisac.engine.devices import Devices

Case = tuple[dict[str, Any], Any]


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of conformance numbers and real data, named by CRYOISAC_SHARED."""
    folder = os.environ.get("CRYOISAC_SHARED")
    if not folder:
        pytest.skip("CRYOISAC_SHARED is not set: no conformance data")
    return Path(folder)


@pytest.fixture(scope="session")
def golden(shared: Path) -> Any:
    """Return a function that loads ``golden_<name>.npz``."""

    def load(name: str) -> Any:
        return np.load(shared / "conformance" / f"golden_{name}.npz")

    return load


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


@pytest.fixture(autouse=True)
def no_gpu_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave GPUs alone unless a test names them: whole runs are compared bit by bit with those of the processor."""
    monkeypatch.setattr("cryoisac.engine.devices._automatic", lambda share: Devices(reason="tests name their devices"))
