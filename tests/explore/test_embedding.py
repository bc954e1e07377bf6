"""Points in the plane."""

import sys
import types

import numpy as np
import pytest
from sklearn.manifold import trustworthiness

from cryoisac.errors import SettingError
from cryoisac.explore import embedding
from cryoisac.explore.embedding import check_installed, embed


@pytest.fixture
def clouds() -> tuple[np.ndarray, np.ndarray]:
    """Three clouds of twenty in six dimensions, and which each point is of."""
    rng = np.random.default_rng(0)
    label = np.repeat(np.arange(3), 20)
    return rng.normal(size=(60, 6)) + 12 * rng.normal(size=(3, 6))[label], label


def test_neighbours_stay_neighbours(clouds):
    """Independent program: scikit-learn's measure of how true the plane is to the neighbourhoods."""
    scores, _ = clouds
    found = embed(scores, "tsne")
    assert found.shape == (60, 2)
    assert trustworthiness(scores, found, n_neighbors=10) > 0.9  # a random plane has about 0.5


def test_same_seed_same_points(clouds):
    """Invariance, bit for bit; another seed or number of neighbours gives others."""
    scores, _ = clouds
    one = embed(scores, "tsne", seed=3)
    np.testing.assert_array_equal(embed(scores, "tsne", seed=3), one)
    assert not np.array_equal(embed(scores, "tsne", seed=3, neighbours=5), one)


def test_none_is_the_first_two_numbers():
    """Definition; a second number that is not there is 0."""
    scores = np.arange(12.0).reshape(4, 3)
    np.testing.assert_array_equal(embed(scores, "none"), scores[:, :2])
    np.testing.assert_array_equal(embed(scores[:, :1], "none"), np.column_stack((scores[:, 0], np.zeros(4))))


@pytest.mark.parametrize("n", [2, 4, 6, 9])
def test_few_images(n):
    """Definition: any number of images has points, though a perplexity of 30 needs 91."""
    assert np.isfinite(embed(np.random.default_rng(0).normal(size=(n, 3)), "tsne")).all()


def test_umap_is_called_with_seed_and_neighbours(monkeypatch):
    """Definition, by a stand-in for the package, which is large: what it is asked for, and what it returns."""
    asked = {}

    class Stand:
        def __init__(self, **given):
            asked.update(given)

        def fit_transform(self, scores):
            return scores[:, 1:3].astype(np.float32)

    monkeypatch.setitem(sys.modules, "umap", types.SimpleNamespace(UMAP=Stand))
    scores = np.random.default_rng(0).normal(size=(20, 4))
    found = embed(scores, "umap", neighbours=30, seed=7)
    assert asked == {"n_components": 2, "n_neighbors": 19, "random_state": 7, "n_jobs": 1}
    np.testing.assert_allclose(found, scores[:, 1:3], rtol=1e-6)


@pytest.mark.parametrize(
    ("how", "package", "extra"), [("tsne", "scikit-learn", "explore"), ("umap", "umap-learn", "umap")]
)
def test_missing_packages_are_named(monkeypatch, how, package, extra):
    """Definition: one sentence that says what to install, or how to do without."""
    monkeypatch.setitem(sys.modules, embedding.PACKAGES[how][0], None)
    with pytest.raises(SettingError) as caught:
        check_installed(how)
    assert str(caught.value) == (
        f"--embedding: {how} needs {package}, which is not installed: pip install 'cryoisac[{extra}]', "
        "or use --embedding none"
    )
    check_installed("none")
