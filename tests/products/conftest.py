"""Pictures that several tests share."""

import numpy as np
import pytest


@pytest.fixture(scope="session")
def asymmetric() -> np.ndarray:
    """Picture of 64 px without any symmetry: a few blobs near the centre."""
    y, x = np.mgrid[-32:32, -32:32].astype(np.float64)
    blobs = [
        (0, 0, 7, 1.0),
        (9, 4, 3, 1.3),
        (-6, 10, 4, 0.9),
        (3, -11, 2.5, 1.1),
        (-12, -5, 2.5, 0.7),
        (13, -3, 2, 0.8),
    ]
    return sum(a * np.exp(-((x - u) ** 2 + (y - v) ** 2) / (2 * s * s)) for u, v, s, a in blobs).astype(np.float32)
