"""Multireference alignment: every image finds its reference and its pose on it; classes make the next references."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cryoisac.align.averages import Halving, class_averages
from cryoisac.align.multireference import reference_norms, search_centres_px
from cryoisac.align.stages import Course, Pass, Reseeded, as_numbers, moved, settled
from cryoisac.align.updating import Updating, updated
from cryoisac.cluster.assign import equal_size
from cryoisac.engine.contract import Engine, Images, Indices, Search
from cryoisac.model.poses import Poses
from cryoisac.streams import stream

Scores = npt.NDArray[np.float32]

FREE, EQUAL, CLIMBING = "free", "equal", "climbing"


@dataclass(frozen=True, eq=False, kw_only=True)
class Plan:
    """What a multireference alignment does.

    Parameters
    ----------
    course : Course
        Stages, rings and when to stop.
    assignment : str
        ``"free"``: each image joins the reference it fits best. ``"equal"``: classes of equal size, best fits first.
        ``"climbing"``: it joins any that it fits better than its own, drawn at random.
    fewest : int
        A class with fewer members is dissolved and filled from the largest; 0 for never.
    halving : Halving
        How classes are averaged.
    updating : Updating
        How averages become references.
    seed : int
        Of what is drawn at random.
    equal_first : int
        Iterations at first that make classes of equal size in any case: from references that are single images, some
        would grow at the cost of others before any is good.
    """

    course: Course
    assignment: str
    fewest: int
    halving: Halving
    updating: Updating
    seed: int
    equal_first: int = 0


@dataclass(frozen=True, eq=False, kw_only=True)
class State:
    """A multireference alignment after some iterations, of n images and k references.

    Parameters
    ----------
    stage, in_stage : int
        The stage under way, and iterations done in it; the alignment is over after the last stage.
    references : ndarray, shape (k, h, w), float32
        References of the next iteration.
    labels : ndarray, shape (n,), int64
        Class of each image.
    poses : Poses
        Its pose on the reference of its class.
    score : ndarray, shape (n,), float32
        Its correlation coefficient with the reference that it was assigned to, -1 to 1.
    rival : ndarray, shape (n,), int64
        The reference that fits second best.
    correlation : ndarray, shape (k, r)
        Fourier ring correlation of the halves of each class.
    passes : tuple of Pass
        What each iteration came to.
    """

    stage: int
    in_stage: int
    references: Images
    labels: Indices
    poses: Poses
    score: Scores
    rival: Indices
    correlation: npt.NDArray[np.float64]
    passes: tuple[Pass, ...]


def start(references: Images, poses: Poses) -> State:
    """Return the state before the first iteration.

    Parameters
    ----------
    references : ndarray, shape (k, h, w), float32
        The first references.
    poses : Poses
        Poses of the n images, whose offsets are where the first search is centred.
    """
    n, k, box = len(poses), len(references), references.shape[-1]
    return State(
        stage=0,
        in_stage=0,
        references=references,
        labels=np.zeros(n, dtype=np.int64),
        poses=poses,
        score=np.zeros(n, dtype=np.float32),
        rival=np.full(n, -1, dtype=np.int64),
        correlation=np.zeros((k, box // 2 + 1)),
        passes=(),
    )


def finished(state: State, plan: Plan) -> bool:
    """Return whether the last stage is over."""
    return state.stage >= len(plan.course.stages)


def step(engine: Engine, state: State, plan: Plan) -> State:
    """Return the state after one more iteration: score, assign, pose, refill, average, make references."""
    course, done, k = plan.course, len(state.passes), len(state.references)
    search = course.search(state.stage, done, normalise_rings=True)
    rows = np.arange(len(state.labels))
    centres = search_centres_px(state.poses, engine.shape[1], course.last_ring)

    scores = coefficients(engine, state.references, centres, search)
    labels = assigned(scores, state, plan)
    labels, lost = dissolved(scores, labels, plan.fewest)
    fit, rival = best_and_rival(scores, labels)
    poses = engine.match(state.references, labels, rows, centres, search).poses
    changed, error_px = moved((state.labels, state.poses), (labels, poses), course.last_ring)
    labels, reseeded = refilled(labels, fit, lost)

    averages = class_averages(engine, labels, poses, k, plan.halving)
    new = updated(averages, labels, poses, plan.updating)
    may_rest = done >= max(1, plan.equal_first) and not reseeded
    is_over = may_rest and settled(course, done, changed, error_px)
    is_over = is_over or state.in_stage + 1 >= course.iterations
    result = Pass(
        iteration=done,
        stage=state.stage,
        changed=changed if done else float("nan"),
        pixel_error_px=error_px if done else float("nan"),
        sizes=tuple(averages.sizes.tolist()),
        cutoffs=as_numbers(new.cutoffs),
        falloffs=as_numbers(new.falloffs),
        criterion=float(fit.mean()),
        reseeded=reseeded,
    )
    return State(
        stage=state.stage + is_over,
        in_stage=0 if is_over else state.in_stage + 1,
        references=new.references,
        labels=labels,
        poses=new.poses,
        score=fit,
        rival=rival,
        correlation=averages.frc.correlation,
        passes=(*state.passes, result),
    )


def coefficients(engine: Engine, references: Images, centres_px: npt.NDArray[np.float64], search: Search) -> Scores:
    """Return the correlation coefficient of each image with each reference at the best pose, shape (n, k).

    Neither the contrast of an image nor that of a reference counts, so that no reference attracts by its amplitude.
    """
    rows = np.arange(len(centres_px))
    scores = engine.score(references, rows, centres_px, search)
    scores /= reference_norms(references, search).astype(np.float32)
    return scores


def assigned(scores: Scores, state: State, plan: Plan) -> Indices:
    """Return the class that each image joins, by its scores, shape (n, k)."""
    if plan.assignment == EQUAL or len(state.passes) < plan.equal_first:
        return equal_size(scores)
    best: Indices = scores.argmax(axis=1)
    if plan.assignment == FREE or not state.passes:
        return best
    own = scores[np.arange(len(scores)), state.labels]
    lots = stream(plan.seed, "stochastic hill climbing", len(state.passes)).random(scores.shape, dtype=np.float32)
    drawn: Indices = np.where(scores > own[:, None], lots, -1.0).argmax(axis=1)
    return np.where(own >= scores.max(axis=1), state.labels, drawn)


def dissolved(scores: Scores, labels: Indices, fewest: int) -> tuple[Indices, tuple[tuple[int, int], ...]]:
    """Dissolve classes with fewer than ``fewest`` members: these join the best of the other classes.

    Parameters
    ----------
    scores : ndarray, shape (n, k)
        Score of each image with each class.
    labels : ndarray, shape (n,)
        Classes.
    fewest : int
        Members that a class must have.

    Returns
    -------
    labels : ndarray, shape (n,)
        Classes now.
    lost : tuple of (int, int)
        Each class that is empty now, and how many members it had.
    """
    sizes = np.bincount(labels, minlength=scores.shape[1])
    small = sizes < fewest
    small[sizes.argmax()] = False
    leaving = np.flatnonzero(small[labels])
    labels = labels.copy()
    labels[leaving] = np.where(small, -np.inf, scores[leaving]).argmax(axis=1)
    return labels, tuple((int(c), int(sizes[c])) for c in np.flatnonzero(small))


def refilled(labels: Indices, fit: Scores, lost: tuple[tuple[int, int], ...]) -> tuple[Indices, tuple[Reseeded, ...]]:
    """Fill empty classes: each takes the worse-fitting half of the class that is largest then, with their poses.

    Parameters
    ----------
    labels : ndarray, shape (n,)
        Classes.
    fit : ndarray, shape (n,)
        How well each image fits its class.
    lost : tuple of (int, int)
        Empty classes, and how many members they had.

    Returns
    -------
    labels : ndarray, shape (n,)
        Classes now.
    reseeded : tuple of Reseeded
        What was done.
    """
    labels, said = labels.copy(), []
    for label, left in lost:
        source = int(np.bincount(labels).argmax())
        members = np.flatnonzero(labels == source)
        worse = members[np.argsort(fit[members], kind="stable")[: len(members) // 2]]
        labels[worse] = label
        said.append(Reseeded(label=label, left=left, source=source, taken=len(worse)))
    return labels, tuple(said)


def best_and_rival(scores: Scores, labels: Indices) -> tuple[Scores, Indices]:
    """Return each image's score with its class, and the class that it fits best besides; -1 where there is none."""
    rows = np.arange(len(scores))
    fit = scores[rows, labels]
    if scores.shape[1] == 1:
        return fit, np.full(len(scores), -1, dtype=np.int64)
    others = scores.copy()
    others[rows, labels] = -np.inf
    rival: Indices = others.argmax(axis=1)
    return fit, rival


def random_references(images: Images, k: int, seed: int) -> Images:
    """Return ``k`` of the images, drawn at random, shape (k, h, w), in the order in which they were drawn."""
    chosen = stream(seed, "references").choice(len(images), k, replace=False)
    return images[chosen]
