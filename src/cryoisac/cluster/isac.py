"""ISAC: generations on what is left, until nothing new is found.

A method is three functions: ``start`` makes a state, ``step`` makes the next one, ``finished`` says when to stop. A
step is one round of one generation; a state holds all that the next step needs.
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from cryoisac.cluster.generation import Bench, Generation, play_round, start_generation
from cryoisac.engine.contract import Images, Indices
from cryoisac.model.ledger import SMALL_CLASS, UNSTABLE, Ledger


@dataclass(frozen=True, kw_only=True)
class Chapter:
    """What one generation came to.

    Parameters
    ----------
    number : int
        Generation, counted over the whole run from 1.
    main, generation : int
        Main iteration, and generation within it, from 1.
    images, classes, rounds : int
        Images that entered, classes made of them, rounds played.
    stable, accepted_classes, accounted : int
        Stable images, classes accepted, and their members.
    """

    number: int
    main: int
    generation: int
    images: int
    classes: int
    rounds: int
    stable: int
    accepted_classes: int
    accounted: int


@dataclass(frozen=True, eq=False, kw_only=True)
class State:
    """A run after a number of steps.

    Parameters
    ----------
    ledger : Ledger
        What became of each image so far.
    averages : ndarray, shape (c, h, w), float32
        Averages of the accepted classes, in order of discovery.
    chapters : tuple of Chapter
        The generations that ended.
    main, generation : int
        Main iteration and generation that is running or comes next, from 1.
    todo : ndarray, shape (m,), int64
        Images of the running generation.
    running : Generation or None
        The generation that is running.
    stopped_because : str
        Why the run stopped; empty while it goes on.
    """

    ledger: Ledger
    averages: Images
    chapters: tuple[Chapter, ...]
    main: int
    generation: int
    todo: Indices
    running: Generation | None
    stopped_because: str


def start(bench: Bench) -> State:
    """Return the state before the first generation: every image is still to be placed."""
    n, h, w = bench.engine.shape
    return State(
        ledger=Ledger.empty(n),
        averages=np.zeros((0, h, w), dtype=np.float32),
        chapters=(),
        main=1,
        generation=1,
        todo=np.arange(n),
        running=None,
        stopped_because="",
    )


def finished(state: State) -> bool:
    """Return whether the run has stopped."""
    return bool(state.stopped_because)


def step(bench: Bench, state: State) -> State:
    """Return the state after one more round; at the end of a generation its good classes are accepted."""
    return entered(bench, state, play(bench, state))


def play(bench: Bench, state: State) -> Generation:
    """Return the running generation, or a new one, after one more round."""
    running = state.running or start_generation(bench, state.todo, main=state.main, number=state.generation)
    return play_round(bench, running)


def entered(bench: Bench, state: State, generation: Generation) -> State:
    """Return the state with a generation that was played on; if it has ended, its good classes are accepted."""
    state = replace(state, running=generation)
    return accept(bench, state, generation) if generation.settled else state


def accept(bench: Bench, state: State, generation: Generation) -> State:
    """Return the state with the classes of an ended generation accepted or refused, and the next one chosen."""
    g, s = generation, bench.settings
    k = len(g.references)
    size = np.bincount(g.labels[g.stable], minlength=k)
    good = size >= (s.minimum_grp_size or 1) + s.rules.more_than_minimum
    member = g.stable & good[g.labels]
    number = len(state.chapters) + 1
    new_class = np.cumsum(good) - 1 + len(state.averages)
    reason = np.where(member, "", np.where(g.stable, SMALL_CLASS, UNSTABLE))
    ledger = state.ledger.entered(
        g.images,
        label=np.where(member, new_class[g.labels], -1),
        reason=reason,
        generation=number,
        pixel_error_px=g.pixel_error_px,
        score=g.score,
        poses=g.poses,
    )
    chapter = Chapter(
        number=number,
        main=g.main,
        generation=g.number,
        images=len(g.images),
        classes=k,
        rounds=g.round,
        stable=int(g.stable.sum()),
        accepted_classes=int(good.sum()),
        accounted=int(member.sum()),
    )
    state = replace(
        state,
        ledger=ledger,
        averages=np.concatenate((state.averages, g.references[good])),
        chapters=(*state.chapters, chapter),
        running=None,
    )
    return choose_next(bench, state, stable_but_small=g.images[g.stable & ~member])


def choose_next(bench: Bench, state: State, *, stable_but_small: Indices) -> State:
    """Return the state with the images of the next generation, or with the reason why there is none.

    Stable members of classes that were too small make the next generation. When they are too few for two classes, or
    the first generation of a main iteration found no more than ``delta_good`` classes, the main iteration ends; the
    next takes all that is left. By the rules of the original none follows one that left no stable member over.
    """
    s, chapter = bench.settings, state.chapters[-1]
    two_classes = 2 * (s.img_per_grp or 1)
    fruitless = chapter.generation == 1 and chapter.accepted_classes <= s.delta_good
    if int(s.rules.leftover_factor * len(stable_but_small)) >= two_classes and not fruitless:
        return replace(state, generation=chapter.generation + 1, todo=stable_but_small)
    left = state.ledger.left()
    reason = ""
    if not len(left):
        reason = "Every particle is accounted for."
    elif s.rules.end_without_leftovers and not len(stable_but_small):
        reason = f"Main iteration {chapter.main} left no stable particle in a class that was too small."
    elif len(left) < two_classes:
        reason = f"{len(left)} particles are left, too few for two classes of {s.img_per_grp}."
    elif fruitless:
        found = f"{chapter.accepted_classes} further classes" if chapter.accepted_classes else "no further class"
        limit = f", no more than --delta-good {s.delta_good}" if s.delta_good else ""
        reason = f"Main iteration {chapter.main} found {found} among {chapter.images} particles{limit}."
    elif s.main_iter_limit is not None and chapter.main >= s.main_iter_limit:
        reason = f"The limit of main iterations, {s.main_iter_limit}, was reached."
    return replace(state, main=chapter.main + 1, generation=1, todo=left, stopped_because=reason)


def class_sizes(state: State) -> npt.NDArray[np.int64]:
    """Return the number of members of each accepted class, shape (c,)."""
    label = state.ledger.label
    return np.bincount(label[label >= 0], minlength=len(state.averages))


def class_pixel_errors_px(state: State) -> npt.NDArray[np.float64]:
    """Return the root-mean-square pixel error of each accepted class's members, shape (c,)."""
    ledger, c = state.ledger, len(state.averages)
    placed = ledger.label >= 0
    squares = np.bincount(ledger.label[placed], weights=ledger.pixel_error_px[placed] ** 2, minlength=c)
    error: npt.NDArray[np.float64] = np.sqrt(squares / np.maximum(class_sizes(state), 1))
    return error
