"""Fixtures that several layers share."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest


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
