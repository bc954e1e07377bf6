"""One generation: rounds of equal-size K-means and a stability test, until the stable members settle."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from cryoisac.align.multireference import recentred_averages, reference_norms, score_all, search_centres_px, zero_mean
from cryoisac.align.reference_free import Refinement, Tick, align_reference_free, class_means, randomised
from cryoisac.cluster.assign import equal_size
from cryoisac.cluster.filling import fill_up
from cryoisac.cluster.stability import find_stable
from cryoisac.comm import Comm
from cryoisac.engine.contract import Engine, Images, Indices, Offsets, Search
from cryoisac.model.poses import Poses
from cryoisac.ops.filters import tangent_lowpass
from cryoisac.settings import Isac
from cryoisac.streams import stream

CUTOFF_STEP = 0.05
SETTLED_AGREEMENT = 0.5
SETTLED_CHANGE = 0.05
STILL_PX = 0.05
SPHIRE_SEED = 9023


def search_of(settings: Isac) -> Search:
    """Return the shift grid and rings that settings name."""
    return Search(
        first_ring=settings.ir,
        last_ring=settings.target_radius,
        ring_step=settings.rs,
        x_range_px=settings.xr,
        y_range_px=settings.y_range_px,
        step_px=settings.ts,
    )


@dataclass(frozen=True, eq=False, kw_only=True)
class Bench:
    """What a generation works with.

    Parameters
    ----------
    engine : Engine
        Holds the working stack.
    make_engine : callable
        ``make_engine(images)`` holds other images: the class averages, when they are aligned to each other.
    settings : Isac
        The settings, with ``img_per_grp`` and ``minimum_grp_size`` known.
    comm : Comm
        The processes of the run.
    tick : callable
        Told at each pass in a few words what is being done.
    """

    engine: Engine
    make_engine: Callable[[Images], Engine]
    settings: Isac
    comm: Comm
    tick: Tick

    @property
    def search(self) -> Search:
        """The shift grid and rings of the settings."""
        return search_of(self.settings)

    @property
    def refinement(self) -> Refinement:
        """How classes are aligned to their own averages."""
        s = self.settings
        return Refinement(
            search=self.search,
            iterations=s.maxit,
            last_cutoff=s.FH,
            falloff=s.FF,
            kick_deg=s.dst,
            still_px=0.0 if s.rules.play_all_iterations else STILL_PX,
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class Generation:
    """A generation after a number of rounds; ``n`` images, ``k`` classes.

    Parameters
    ----------
    main, number : int
        Main iteration and generation, from 1.
    round : int
        Rounds done.
    images : ndarray, shape (n,), int64
        The images, as indices into the working stack.
    references : ndarray, shape (k, h, w), float32
        References of the next round; after the last, the class averages.
    labels : ndarray, shape (n,), int64
        The class of each image; -1 before the first round.
    poses : Poses
        Poses of the images on their class averages.
    score : ndarray, shape (n,), float32
        Correlation coefficient of each image with the reference of its class.
    stable : ndarray, shape (n,), bool
        Whether the last stability test found the image stable.
    pixel_error_px : ndarray, shape (n,)
        Pixel error in the last stability test; infinite where there is none.
    agreement : float
        Agreement of the stable members with those of the round before, 0 to 1.
    settled : bool
        Whether no further round is due.
    """

    main: int
    number: int
    round: int
    images: Indices
    references: Images
    labels: Indices
    poses: Poses
    score: npt.NDArray[np.float32]
    stable: npt.NDArray[np.bool_]
    pixel_error_px: npt.NDArray[np.float64]
    agreement: float
    settled: bool


def start_generation(bench: Bench, images: Indices, *, main: int, number: int) -> Generation:
    """Return a generation whose references are randomly drawn single images."""
    n = len(images)
    chosen = first_references(bench.settings, n, main, number)
    k = len(chosen)
    return Generation(
        main=main,
        number=number,
        round=0,
        images=images,
        references=class_means(bench.engine, np.arange(k), images[chosen], Poses.identity(k), k),
        labels=np.full(n, -1, dtype=np.int64),
        poses=Poses.identity(n),
        score=np.zeros(n, dtype=np.float32),
        stable=np.zeros(n, dtype=bool),
        pixel_error_px=np.full(n, np.inf),
        agreement=0.0,
        settled=False,
    )


def first_references(settings: Isac, n: int, main: int, number: int) -> Indices:
    """Return which of ``n`` images are the first references of a generation, drawn at random."""
    k = n // (settings.img_per_grp or n)
    if settings.rules.fixed_first_references:
        order = list(range(n))
        random.Random(SPHIRE_SEED).shuffle(order)
        return np.array(order[:k])
    draw = stream(settings.rand_seed, "initial references", main, number)
    return np.sort(draw.choice(n, size=k, replace=False))


def cutoffs(first: float, last: float) -> Iterator[float]:
    """Yield the low-pass cut-offs of one round of K-means: first, first + 0.05, ... while below last.

    Notes
    -----
    In binary floating point, as the original: 0.2 to 0.45 gives six passes, the last at 0.44999999999999996.
    """
    cutoff = first
    while True:
        yield cutoff
        cutoff += CUTOFF_STEP
        if cutoff >= last:
            return


def passes(settings: Isac) -> int:
    """Return how often a round ticks: once a K-means pass and once an alignment of the stability test."""
    chains = settings.stab_ali if settings.rules.chain_repeats else 1
    return len(list(cutoffs(settings.FL, settings.FH))) + chains * (settings.maxit - 1)


def play_round(bench: Bench, generation: Generation) -> Generation:
    """Return the generation after one more round: K-means with a rising low-pass, then a stability test."""
    clustered = cluster(bench, generation)
    s = bench.settings
    done = clustered.round + 1
    if (done - 1) % s.iter_reali and done < s.init_iter:
        return replace(refine_once(bench, clustered), round=done)
    tested = prove_members(bench, clustered)
    agreement = agreement_of(tested, generation)
    change = agreement - generation.agreement
    calm = 0 < change < SETTLED_CHANGE if s.rules.settle_on_rise else abs(change) < SETTLED_CHANGE
    settled = agreement > SETTLED_AGREEMENT and calm
    return replace(tested, round=done, agreement=agreement, settled=settled or done >= s.init_iter)


def cluster(bench: Bench, generation: Generation) -> Generation:
    """Return the generation after equal-size K-means, one pass for each low-pass cut-off."""
    g, s = generation, bench.settings
    engine, search = bench.engine, replace(bench.search, normalise_rings=True)
    box, k = engine.shape[1], len(g.references)
    references, poses, labels, score = g.references, g.poses, g.labels, g.score
    for i, cutoff in enumerate(cutoffs(s.FL, s.FH)):
        bench.tick(f"K-means at {cutoff:.2f} cycles/px")
        used = zero_mean(references, s.target_radius)
        centres = search_centres_px(poses, box, search.last_ring)
        labels = equal_size(score_all(engine, used, g.images, centres, search, bench.comm))
        match = engine.match(used, labels, g.images, centres, search)
        averages, poses = recentred_averages(engine, labels, g.images, match.poses, k, (cutoff, s.FF))
        draw = stream(s.rand_seed, "common frame", g.main, g.number, g.round, i)
        references, moves = common_frame(bench, averages, draw)
        poses = poses.then(moves[labels])
        score = (match.score / reference_norms(used, search)[labels]).astype(np.float32)
    return replace(g, references=references, labels=labels, poses=poses, score=score)


def common_frame(bench: Bench, averages: Images, draw: np.random.Generator) -> tuple[Images, Poses]:
    """Return the averages turned and shifted to agree with each other, and the poses that did it.

    Notes
    -----
    The original's "experimental centring": the averages are aligned as if they were the images of one class.
    """
    k = len(averages)
    engine = bench.make_engine(averages)
    one, each = np.zeros(k, dtype=np.int64), np.arange(k)
    poses = align_reference_free(engine, one, each, randomised(np.zeros((k, 2)), draw), 1, bench.refinement)
    return class_means(engine, each, each, poses, k), poses


def refine_once(bench: Bench, generation: Generation) -> Generation:
    """Return the generation with every class aligned to its own average once, without a stability test."""
    g = generation
    draw = stream(bench.settings.rand_seed, "refinement", g.main, g.number, g.round)
    k = len(g.references)
    start = randomised(g.poses.offset_px(), draw)
    poses = align_reference_free(bench.engine, g.labels, g.images, start, k, bench.refinement, bench.tick)
    return replace(g, references=_published(bench, g.labels, g.images, poses, k), poses=poses)


def repeat_alignments(bench: Bench, generation: Generation, draw: np.random.Generator) -> list[Poses]:
    """Return the poses of the images when every class is aligned several times from random starts.

    All repeats are one batch; by the original's rule they are batches of one, each starting where the last one ended.
    """
    s, offset_px = bench.settings, generation.poses.offset_px()
    runs: list[Poses] = []
    while len(runs) < s.stab_ali:
        runs += _aligned_at_once(bench, generation, offset_px, 1 if s.rules.chain_repeats else s.stab_ali, draw)
        offset_px = runs[-1].offset_px()
    return runs


def _aligned_at_once(
    bench: Bench, generation: Generation, offset_px: Offsets, repeats: int, draw: np.random.Generator
) -> list[Poses]:
    """Return the poses of ``repeats`` alignments of every class in one batch.

    Row j·n + i is image i in alignment j, and its class stands beside the same class in the other alignments, so that
    images which are read once may serve them all.
    """
    g = generation
    n, k = len(g.images), len(g.references)
    start = randomised(np.tile(offset_px, (repeats, 1)), draw)
    labels = np.tile(g.labels * repeats, repeats) + np.repeat(np.arange(repeats), n)
    poses = align_reference_free(
        bench.engine, labels, np.tile(g.images, repeats), start, repeats * k, bench.refinement, bench.tick
    )
    return [poses[j * n : (j + 1) * n] for j in range(repeats)]


def prove_members(bench: Bench, generation: Generation) -> Generation:
    """Return the generation with its members tested: those that come out the same in repeated alignments."""
    g, s, k = generation, bench.settings, len(generation.references)
    draw = stream(s.rand_seed, "stability", g.main, g.number, g.round)
    runs = repeat_alignments(bench, g, draw)
    found = find_stable(runs, g.labels, radius_px=s.target_radius, threshold_px=s.thld_err)
    if s.rules.unstable_keep_last:
        out = np.flatnonzero(~found.stable)
        found = replace(found, poses=found.poses.replaced(out, runs[-1][out]))
    found = fill_up(found, g.labels, s.rules.fewest_members, draw)
    hollow = (np.bincount(g.labels[found.stable], minlength=k) == 0)[g.labels]
    shown = found.poses.replaced(np.flatnonzero(hollow), runs[-1][hollow])
    averages = _published(bench, np.where(found.stable | hollow, g.labels, -1), g.images, shown, k)
    return replace(
        g,
        references=averages,
        poses=found.poses,
        stable=found.stable,
        pixel_error_px=found.pixel_error_px,
    )


def _published(bench: Bench, labels: Indices, images: Indices, poses: Poses, k: int) -> Images:
    """Return class averages as they leave a round: resampled with care, low-passed."""
    return tangent_lowpass(class_means(bench.engine, labels, images, poses, k), bench.settings.FH, bench.settings.FF)


def agreement_of(new: Generation, old: Generation) -> float:
    """Return Σ|S ∩ P| / Σ|S ∪ P| over the stable members S now and P before of each class."""
    both = (new.stable & old.stable & (new.labels == old.labels)).sum()
    either = new.stable.sum() + old.stable.sum() - both
    return float(both / either) if either else 0.0
