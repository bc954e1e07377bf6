"""Principal components, multilinear components, and both in turn."""

import numpy as np
import pytest
import scipy.linalg
import sklearn.decomposition

from cryoisac.errors import DataError, SettingError
from cryoisac.ops.masks import circle
from cryoisac.ops.subspace import leading, mpca, pca, two_stage


def noisy(n: int, h: int, w: int, *, seed: int = 0) -> np.ndarray:
    """Images with a mean, and a variance that falls from direction to direction so that eigenvalues differ."""
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(h * w, h * w)) * 0.8 ** np.arange(h * w)
    return (5 + rng.normal(size=(n, h * w)) @ mixing.T).reshape(n, h, w).astype(np.float32)


def low_rank(n: int, h: int, w: int, *, seed: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images A U B' with random U of 3 x 2: all of their variance lies in A and B."""
    rng = np.random.default_rng(seed)
    a, b = (scipy.linalg.orth(rng.normal(size=shape)) for shape in ((h, 3), (w, 2)))
    return np.einsum("hp,npq,wq->nhw", a, rng.normal(size=(n, 3, 2)), b) + rng.normal(size=(h, w)), a, b


@pytest.mark.parametrize("n", [20, 90], ids=["fewer images than pixels", "more images than pixels"])
def test_pca_is_the_svd_of_centred_images(n):
    """Definition by brute force: singular values and right singular vectors of all images as rows."""
    images = noisy(n, 6, 7)
    flat = images.reshape(n, -1).astype(np.float64)
    centred = flat - flat.mean(axis=0)
    u, s, vt = np.linalg.svd(centred, full_matrices=False)
    found = pca(images, 5)
    np.testing.assert_allclose(found.variance, s[:5] ** 2 / (n - 1), rtol=1e-9)
    np.testing.assert_allclose(found.total, (s**2).sum() / (n - 1), rtol=1e-9)
    np.testing.assert_allclose(found.mean.ravel(), flat.mean(axis=0), rtol=1e-9)
    # eigenvectors of well separated eigenvalues; the squared spectrum loses half of the digits
    np.testing.assert_allclose(np.abs(found.basis.reshape(5, -1) @ vt[:5].T), np.eye(5), atol=1e-6)
    np.testing.assert_allclose(np.abs(found.scores), np.abs(u[:, :5] * s[:5]), atol=1e-5 * s[0])


@pytest.mark.parametrize("n", [12, 80])
def test_pca_explains_what_scikit_learn_explains(n):
    """Independent program."""
    images = noisy(n, 6, 7)
    theirs = sklearn.decomposition.PCA(8, svd_solver="full").fit(images.reshape(n, -1).astype(np.float64))
    np.testing.assert_allclose(pca(images, 8).share, theirs.explained_variance_ratio_, rtol=1e-9)


def test_pca_under_a_mask_is_pca_of_its_pixels():
    """Definition: pixels outside are 0 in mean and eigenimages, and change nothing."""
    images, mask = noisy(40, 8, 8), circle(3, 8)
    found = pca(images, 4, mask=mask)
    disturbed = np.where(mask, images, 1e3 * np.arange(40, dtype=np.float32)[:, None, None])
    again = pca(disturbed, 4, mask=mask)
    assert (found.basis[:, ~mask] == 0).all()
    assert (found.mean[~mask] == 0).all()
    np.testing.assert_array_equal(found.scores, again.scores)
    inside = images[:, mask].astype(np.float64)
    np.testing.assert_allclose(found.variance, np.linalg.eigvalsh(np.cov(inside.T))[::-1][:4], rtol=1e-9)


def test_pca_returns_no_directions_that_are_not_there():
    """Known truth recovered: images of rank 3 have three components, constant ones none."""
    rng = np.random.default_rng(3)
    images = (rng.normal(size=(30, 3)) @ rng.normal(size=(3, 25))).reshape(30, 5, 5)
    found = pca(images, 10)
    assert len(found.variance) == 3
    assert found.share.sum() == pytest.approx(1)
    flat = pca(np.ones((5, 3, 3), dtype=np.float32), 2)
    assert flat.basis.shape == (0, 3, 3)
    assert flat.scores.shape == (5, 0)


def test_mpca_is_the_alternation_of_its_definition():
    """Definition by brute force: sums over images one by one, the projectors written out, a general eigen-solver."""
    images = noisy(15, 6, 5)
    x = images.astype(np.float64) - images.astype(np.float64).mean(axis=0)

    def top(matrix: np.ndarray, count: int) -> np.ndarray:
        values, vectors = np.linalg.eig(matrix)
        return np.real(vectors[:, np.argsort(-np.real(values))[:count]])

    found, left = mpca(images, 3, 2), np.eye(6)
    for _ in found.energy:
        right = top(sum(i.T @ left @ left.T @ i for i in x), 2)
        left = top(sum(i @ right @ right.T @ i.T for i in x), 3)
    assert scipy.linalg.subspace_angles(found.left, left).max() < 1e-7
    assert scipy.linalg.subspace_angles(found.right, right).max() < 1e-7
    gains = np.diff(found.energy)
    assert gains[-1] < 1e-7 <= gains[-2]
    explicit = x.reshape(15, -1) @ np.kron(found.left, found.right)
    np.testing.assert_allclose(found.scores.reshape(15, -1), explicit, atol=1e-9)
    np.testing.assert_allclose(found.energy[-1], (explicit**2).sum() / 15, rtol=1e-9)


def test_mpca_never_loses_energy_from_sweep_to_sweep():
    """Invariance: each half of a sweep maximises the same sum."""
    energy = np.array(mpca(noisy(25, 9, 8, seed=4), 3, 3).energy)
    assert len(energy) > 1
    assert (np.diff(energy) > -1e-9 * energy[-1]).all()


def test_mpca_recovers_rows_and_columns():
    """Known truth recovered: images made of three rows and two columns are rebuilt from 3 x 2 scores."""
    images, a, b = low_rank(40, 9, 8)
    found = mpca(images, 3, 2)
    assert scipy.linalg.subspace_angles(found.left, a).max() < 1e-7
    assert scipy.linalg.subspace_angles(found.right, b).max() < 1e-7
    rebuilt = found.mean + found.left @ found.scores @ found.right.T
    np.testing.assert_allclose(rebuilt, images, atol=1e-10)


def test_strongest_directions_of_mpca():
    """Definition: products of a column of A and one of B, sorted by the variance of their scores."""
    images = noisy(30, 6, 5)
    found = mpca(images, 3, 2)
    strongest = found.strongest(4)
    every = np.kron(found.left, found.right)
    x = images.reshape(30, -1).astype(np.float64) - found.mean.ravel()
    variance = np.sort(((x @ every) ** 2).sum(axis=0))[::-1] / 29
    np.testing.assert_allclose(strongest.variance, variance[:4], rtol=1e-9)
    np.testing.assert_allclose(x @ strongest.basis.reshape(4, -1).T, strongest.scores, atol=1e-9)


def test_two_stages_are_an_svd_of_the_first_ones_scores():
    """Definition by brute force: (A x B) G with the product written out, G from an SVD."""
    images = noisy(30, 7, 6)
    first, found = mpca(images, 4, 3), two_stage(images, 4, 3, 5)
    flat = first.scores.reshape(30, -1)
    _, s, vt = np.linalg.svd(flat, full_matrices=False)
    np.testing.assert_allclose(found.variance, s[:5] ** 2 / 29, rtol=1e-9)
    eigenimages = np.kron(first.left, first.right) @ vt[:5].T
    np.testing.assert_allclose(np.abs(found.basis.reshape(5, -1) @ eigenimages), np.eye(5), atol=1e-6)
    x = images.reshape(30, -1).astype(np.float64) - found.mean.ravel()
    np.testing.assert_allclose(found.scores, x @ found.basis.reshape(5, -1).T, atol=1e-9)


def test_two_stages_find_a_low_rank_truth_in_noise():
    """Known truth recovered: two eigenimages of rank one, in noise; better than by PCA of so few images."""
    rng = np.random.default_rng(5)
    _, a, b = low_rank(2, 24, 24)
    truth = np.stack([np.outer(a[:, j], b[:, j]) for j in range(2)]).reshape(2, -1)
    images = rng.normal(size=(60, 2)) * (20, 12) @ truth + rng.normal(size=(60, 576))
    images = images.reshape(60, 24, 24)

    def worst(found) -> float:
        return float(scipy.linalg.subspace_angles(found.basis.reshape(2, -1).T, truth.T).max())

    assert worst(two_stage(images, 3, 3, 2)) < 0.6 * worst(pca(images, 2))
    # the angle of PCA by theory: sin^2 about (d / n + ...) / strength^2 = 576 / 60 / 144, some 15 degrees
    assert np.rad2deg(worst(two_stage(images, 3, 3, 2))) < 10


@pytest.mark.parametrize("block", [1, 7, 29, 1000])
def test_block_size_changes_nothing(block):
    """Invariance: streamed in blocks of any size, or whole; only sums are in another order."""
    images = noisy(29, 6, 5)
    few = images[:12]
    for whole, streamed in (
        (pca(images, 4), pca(images, 4, block=block)),
        (pca(few, 4), pca(few, 4, block=block)),
        (two_stage(images, 4, 3, 4), two_stage(images, 4, 3, 4, block=block)),
    ):
        np.testing.assert_allclose(streamed.scores, whole.scores, atol=1e-7)
        np.testing.assert_allclose(streamed.basis, whole.basis, atol=1e-7)
        np.testing.assert_allclose(streamed.total, whole.total, rtol=1e-10)


def test_images_mapped_from_a_file(tmp_path):
    """Invariance: bit for bit those in memory."""
    images = noisy(29, 6, 5)
    np.save(tmp_path / "images.npy", images)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    np.testing.assert_array_equal(two_stage(mapped, 4, 3, 4).scores, two_stage(images, 4, 3, 4).scores)


@pytest.mark.parametrize("reduce", [lambda x: pca(x, 4), lambda x: two_stage(x, 4, 3, 4), lambda x: mpca(x, 4, 3)])
def test_order_of_images_and_offsets_change_nothing(reduce):
    """Invariance: scores follow their images; what all images share is in the mean alone."""
    images = noisy(29, 6, 5)
    order = np.random.default_rng(0).permutation(29)
    one, other = reduce(images), reduce(images[order] + np.float32(2))
    # float32 images hold 7 digits, eigenvectors lose some; multilinear columns are free in sign
    np.testing.assert_allclose(np.abs(other.scores), np.abs(one.scores[order]), atol=2e-4)
    np.testing.assert_allclose(other.mean, one.mean + 2, atol=1e-5)


def test_signs_are_those_of_the_largest_elements():
    """Definition: of images and of their negatives the eigenimages are the same."""
    images = noisy(29, 6, 5)
    for reduce in (lambda x: pca(x, 4), lambda x: two_stage(x, 4, 3, 4), lambda x: mpca(x, 4, 3).strongest(4)):
        one, other = reduce(images), reduce(-images)
        np.testing.assert_allclose(one.basis, other.basis, atol=1e-7)
        peaks = np.abs(one.basis).reshape(4, -1).argmax(axis=1)
        assert (one.basis.reshape(4, -1)[np.arange(4), peaks] > 0).all()


def test_leading_eigenvectors():
    """Definition: as a full decomposition gives them, and never below 0."""
    x = np.random.default_rng(0).normal(size=(6, 3))
    values, vectors = leading(x @ x.T, 5)
    np.testing.assert_allclose(values, np.linalg.eigvalsh(x @ x.T)[::-1][:5], atol=1e-12)
    assert (values >= 0).all()
    np.testing.assert_allclose(x @ x.T @ vectors, vectors * values, atol=1e-12)


def test_what_cannot_be_is_refused():
    """Definition: one image does not vary; a side cannot give more than it has."""
    images = noisy(5, 6, 5)
    with pytest.raises(DataError, match="two or more"):
        pca(images[:1], 2)
    with pytest.raises(SettingError, match="components: is 0"):
        two_stage(images, 2, 2, 0)
    with pytest.raises(SettingError, match="rank: is 6, above the side of images of 5x6 px"):
        mpca(images, 2, 6)
