"""The exploration of a finished classification: lay, reduce, embed, measure."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cryoisac.engine.contract import Images
from cryoisac.explore.embedding import check_installed, embed
from cryoisac.explore.images import Laid, Lay, geometry_of, lay
from cryoisac.explore.separation import Purity, alike_by_chance, neighbours_alike, purity
from cryoisac.explore.source import Input
from cryoisac.ops.masks import Mask
from cryoisac.ops.subspace import Subspace, mpca, pca, two_stage
from cryoisac.run.progress import Progress, Silent
from cryoisac.run.threads import one_thread_a_product
from cryoisac.settings import Explore
from cryoisac.streams import stream

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]
FIRST = 20  # images shown whole


@dataclass(frozen=True, eq=False, kw_only=True)
class Seen:
    """What images vary in, and where they lie in the plane.

    Parameters
    ----------
    space : Subspace
        What all ``n`` members vary in.
    points : ndarray, shape (m, 2)
        Those that were embedded.
    alike_scores, alike_points : float
        Mean share of the ten nearest neighbours that are of the same class, by scores and in the plane.
    """

    space: Subspace
    points: Float
    alike_scores: float
    alike_points: float


@dataclass(frozen=True, eq=False, kw_only=True)
class Study:
    """All that an exploration found.

    Parameters
    ----------
    input : Input
        What was explored.
    settings : Explore
        How.
    laid : Laid
        The images.
    points : ndarray, shape (m,), int64
        Which of the members became points, ascending.
    before, after : Seen
        The images as given, and as laid on their class averages.
    by_chance : float
        The share of neighbours that would be of the same class were there no order in the points.
    purity : Purity or None
        Agreement of classes and truth.
    """

    input: Input
    settings: Explore
    laid: Laid
    points: Int
    before: Seen
    after: Seen
    by_chance: float
    purity: Purity | None


def explore(
    given: Input, settings: Explore, folder: Path, *, threads: int = 1, progress: Progress | None = None
) -> Study:
    """Explore the images of a finished classification.

    Parameters
    ----------
    given : Input
        The classification and its particles.
    settings : Explore
        How.
    folder : Path
        A directory with room for two copies of the shrunk images while this lasts.
    threads : int
        Threads that work; the result does not depend on them.
    progress : Progress, optional
        Told of everything.

    Returns
    -------
    Study

    Raises
    ------
    CryoisacError
        For anything wrong with the images or the settings.
    """
    told_of = progress or Silent()
    check_installed(settings.embedding)
    points = sampled(given.label, settings.sample, settings.seed)
    job = Lay(
        particles=given.particles,
        index=given.index,
        label=given.label,
        poses=given.poses,
        geometry=geometry_of(given.particles, given.radius_px, settings.target_radius),
        ctf=given.ctf,
        points=points,
        first=min(FIRST, len(given.index)),
    )
    with one_thread_a_product():
        laid = lay(job, folder, threads=threads, progress=told_of)
        told_of.stage("Reducing and embedding them")

        def see(images: Images) -> Seen:
            return _seen(reduced(images, laid.mask, settings), points, given.label[points], settings)

        at_once = 2 if threads > 1 and settings.embedding != "umap" else 1  # UMAP's compiled loops bear no other thread
        with ThreadPoolExecutor(at_once) as pool:
            before, after = pool.map(see, (laid.before, laid.after))
    return Study(
        input=given,
        settings=settings,
        laid=laid,
        points=points,
        before=before,
        after=after,
        by_chance=alike_by_chance(given.label[points]),
        purity=None if given.truth is None else purity(given.label, given.truth[given.index]),
    )


def _seen(space: Subspace, points: Int, label: Int, settings: Explore) -> Seen:
    scores = space.scores[points]
    plane = embed(scores, settings.embedding, neighbours=settings.neighbours, seed=settings.seed)
    return Seen(
        space=space,
        points=plane,
        alike_scores=neighbours_alike(scores, label),
        alike_points=neighbours_alike(plane, label),
    )


def reduced(images: Images, mask: Mask, settings: Explore) -> Subspace:
    """Return what images vary in, by the reduction that the settings name."""
    count, rank = settings.n_components, settings.rank
    if settings.reduction == "pca":
        return pca(images, count, mask=mask)
    if settings.reduction == "mpca":
        return mpca(images, rank, rank).strongest(count)
    return two_stage(images, rank, rank, count)


def sampled(label: Int, most: int, seed: int) -> Int:
    """Return at most so many images, drawn from all classes in proportion, one of each class first, ascending.

    Parameters
    ----------
    label : ndarray, shape (n,)
        Classes from 0.
    most : int
        Images to draw.
    seed : int
        Of the stream that they are drawn by.
    """
    n = len(label)
    if n <= most:
        return np.arange(n)
    drawn = stream(seed, "explored images").permutation(n)
    drawn = drawn[np.argsort(label[drawn], kind="stable")]  # class after class, shuffled within each
    sizes = np.bincount(label)
    rank = np.arange(n) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    key = np.where(rank == 0, 0.0, (rank + 0.5) / np.repeat(sizes, sizes))
    return np.sort(drawn[np.argsort(key, kind="stable")[:most]])
