"""Several molecules, and views of unequal numbers."""

import numpy as np
import pytest

from cryoisac.errors import SettingError
from cryoisac.settings import Simulation
from cryoisac.simulation.density import Density, procedural
from cryoisac.simulation.images import ParticleImages
from cryoisac.simulation.particles import draw, images_of_views


@pytest.fixture(scope="module")
def densities() -> list[Density]:
    small, large = (procedural(box_px=box, pixel_size_A=5.0, seed=box) for box in (24, 40))
    return [small, Density(values=large.values * 1000, pixel_size_A=5.0, name="large")]


def test_known_truth_molecules_are_mixed_in_equal_numbers(densities: list[Density]) -> None:
    """Known truth: equal numbers, views of their own, each molecule's own projection, each with the SNR asked for."""
    settings = Simulation(views=3, per_view=10, box=48, snr=1e10, junk=0.25, seed=2)
    images = ParticleImages(densities, settings, draw(settings, molecules=2))
    truth = images.truth
    np.testing.assert_array_equal(np.unique(truth.molecule, return_counts=True)[1], [20, 30, 30])
    np.testing.assert_array_equal(truth.molecule[truth.is_particle], truth.view[truth.is_particle] // 3)
    assert set(truth.view.tolist()) == set(range(-1, 6))
    axes = np.stack([truth.clean[truth.view == v][0, 2] for v in range(6)])
    assert np.abs((axes[:3] * axes[3:]).sum(axis=1)).max() < 0.999
    pixels = np.concatenate(list(images.blocks()))
    y, x = np.mgrid[:48, :48] - 24
    for m, density in enumerate(densities):
        alone = ParticleImages([density], settings, draw(settings))
        assert alone.radius_px == images.radii_px[m]
        disc = x**2 + y**2 <= images.radii_px[m] ** 2
        shown = pixels[truth.molecule == m][:, disc]
        assert shown.var(axis=1).mean() == pytest.approx(1e10, rel=1e-3)
        far = np.hypot(x, y) > images.radii_px[m] + 6  # shifts of 2 px, and what band limits spread
        assert np.square(pixels[truth.molecule == m][:, far]).mean() < 1e-2 * np.square(shown).mean()
    assert images.radius_px == max(images.radii_px)


def test_invariance_one_molecule_is_the_first_of_several(densities: list[Density]) -> None:
    """Invariance: the first molecule's views do not depend on how many follow."""
    settings = Simulation(views=4, per_view=5, seed=7)
    one, three = draw(settings), draw(settings, molecules=3)
    for view in range(4):
        np.testing.assert_array_equal(one.clean[one.view == view][0], three.clean[three.view == view][0])


def test_known_truth_shares() -> None:
    """Known truth: the views named get their percentages, the others the rest alike, to the image."""
    settings = Simulation(views=20, per_view=250, shares="50,1")
    counts = np.bincount(draw(settings).view)
    np.testing.assert_array_equal(counts[:2], [2500, 50])
    assert counts.sum() == 5000
    assert set(counts[2:].tolist()) == {136, 137}  # 2450 / 18
    np.testing.assert_array_equal(np.bincount(draw(Simulation(views=3, per_view=7)).view), [7, 7, 7])


def test_definition_rounding() -> None:
    """Definition: no count is an image or more off its share, and they sum to the images."""
    rng = np.random.default_rng(0)
    for _ in range(50):
        shares = rng.dirichlet(np.ones(rng.integers(1, 30)))
        n = int(rng.integers(1, 5000))
        counts = images_of_views(shares, n)
        assert counts.sum() == n
        assert np.abs(counts - shares * n).max() < 1


@pytest.mark.parametrize(
    ("shares", "message"),
    [
        ("50,x", "percentages between commas"),
        ("50,1,2,3", "names 4 views of 3"),
        ("99,1,1", "positive percentages"),
        ("100", "positive percentages"),
        ("-5,10", "positive percentages"),
        ("nan", "positive percentages"),
    ],
)
def test_errors_of_shares(shares: str, message: str) -> None:
    """Definition of the errors."""
    with pytest.raises(SettingError, match=message):
        Simulation(views=3, shares=shares)
    with pytest.raises(SettingError, match="need discrete views"):
        Simulation(views=3, shares="50", distribution="uniform")
