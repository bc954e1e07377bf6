"""Points in the plane that keep near what is near among many numbers."""

import importlib
from typing import Any

import numpy as np
import numpy.typing as npt

from cryoisac.errors import SettingError

Float = npt.NDArray[np.float64]
PACKAGES = {"tsne": ("sklearn.manifold", "scikit-learn", "explore"), "umap": ("umap", "umap-learn", "umap")}


def check_installed(how: str) -> None:
    """Raise ``SettingError``, with how to install it, unless what an embedding needs is there."""
    if how in PACKAGES:
        _imported(how)


def _imported(how: str) -> Any:
    module, package, extra = PACKAGES[how]
    try:
        return importlib.import_module(module)
    except ImportError:
        raise SettingError(
            "--embedding",
            f"{how} needs {package}, which is not installed: pip install 'cryoisac[{extra}]', or use --embedding none",
        ) from None


def embed(scores: Float, how: str, *, neighbours: int = 30, seed: int = 0) -> Float:
    """Return points in the plane.

    Parameters
    ----------
    scores : ndarray, shape (m, r)
        Numbers of each image.
    how : {"tsne", "umap", "none"}
        By t-SNE, by UMAP, or as the first two numbers.
    neighbours : int
        Perplexity of t-SNE or ``n_neighbors`` of UMAP; less where there are too few images for it.
    seed : int
        Seed of all random numbers.

    Returns
    -------
    ndarray, shape (m, 2)
        Points; the same for any number of threads.

    Raises
    ------
    SettingError
        When a package that is needed is not installed.

    Notes
    -----
    t-SNE: van der Maaten & Hinton, J. Mach. Learn. Res. 9 (2008) 2579, from principal components; UMAP: McInnes, Healy
    & Melville, arXiv:1802.03426. Distances between groups mean little in either.
    """
    if how == "none" or len(scores) < 5:
        return np.pad(scores[:, :2], ((0, 0), (0, max(0, 2 - scores.shape[1]))))
    from threadpoolctl import threadpool_limits  # sets an environment variable when it is imported

    made = _imported(how)
    with threadpool_limits(1):  # sums over threads would end in another digit, and points elsewhere
        if how == "umap":
            fewer = min(neighbours, len(scores) - 1)
            model = made.UMAP(n_components=2, n_neighbors=fewer, random_state=seed, n_jobs=1)
        else:
            perplexity = min(float(neighbours), (len(scores) - 1) / 3)
            model = made.TSNE(2, perplexity=perplexity, init="pca", random_state=seed, n_jobs=1)
        found: Float = np.asarray(model.fit_transform(scores), dtype=np.float64)
    return found
