"""Particles that the tests of the Python interface share."""

import pytest

import cryoisac


@pytest.fixture(scope="session")
def simulated():
    """Three views of thirty images each, easily told apart."""
    return cryoisac.simulate(views=3, per_view=30, box=40, pixel_size=10.0, snr=1.0, seed=5)
