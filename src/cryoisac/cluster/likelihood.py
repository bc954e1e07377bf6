"""Classes by likelihood: several starts, splits and merges until nothing changes, fine poses, a verdict on each image.

A method is three functions: ``start`` makes a state, ``step`` makes the next one, ``finished`` says when to stop. A
step is one pass over all images, or one round of splits and merges; a state holds all that the next step needs.
"""

from dataclasses import dataclass, replace

import numpy as np

from cryoisac.cluster.judging import Verdict, judge
from cryoisac.cluster.partition import (
    LikelihoodBench,
    Partition,
    aligned,
    assigned,
    compact,
    member_references,
    scores_of,
    shared_prior,
    sorted_once,
    sums_of,
)
from cryoisac.cluster.repeats import REPEAT_PASSES
from cryoisac.cluster.splitting import Change, merge, single_images, split
from cryoisac.cluster.wiener import likelihood_of
from cryoisac.model.ledger import MEMBER
from cryoisac.streams import stream

MOST_START_PASSES = 24
AT_REST = 0.01  # of the images: fewer changes of class end a start
ROUND_PASSES = 2
MOST_ROUNDS = 5
FINE_PASSES = 2

STARTS, ROUNDS, FINE, VERDICT, DONE = "starts", "rounds", "fine poses", "verdict", "done"


@dataclass(frozen=True, eq=False, kw_only=True)
class State:
    """A run of the likelihood method after a number of steps.

    Parameters
    ----------
    stage : str
        "starts", "rounds", "fine poses", "verdict" or "done".
    number, passes : int
        The start or round that is running, from 0, and the passes done in it; after the rounds, how many there were.
    partition : Partition or None
        The classes as they stand; ``None`` before the first pass of a start.
    ended : tuple of Partition
        What the starts came to.
    changes : tuple of Change
        Splits and merges since the best start was chosen.
    verdict : Verdict or None
        What became of the images, at the end.
    """

    stage: str
    number: int
    passes: int
    partition: Partition | None
    ended: tuple[Partition, ...]
    changes: tuple[Change, ...]
    verdict: Verdict | None


def start() -> State:
    """Return the state before the first pass."""
    return State(stage=STARTS, number=0, passes=0, partition=None, ended=(), changes=(), verdict=None)


def finished(state: State) -> bool:
    """Return whether the run has stopped."""
    return state.stage == DONE


def describe(state: State) -> str:
    """Return in a few words what the next step belongs to."""
    if state.stage == STARTS:
        return f"Start {state.number + 1}"
    if state.stage == ROUNDS:
        return f"Splitting and merging, round {state.number + 1}"
    return "Refining poses" if state.stage == FINE else "Judging members"


def steps_of(bench: LikelihoodBench, state: State) -> int:
    """Return how often the stage of a state ticks."""
    if state.stage == STARTS:
        return MOST_START_PASSES + 1
    if state.stage == VERDICT:
        return (bench.settings.stab_ali - 1) * REPEAT_PASSES + 2
    return 1 if state.stage == ROUNDS else FINE_PASSES


def news(old: State, new: State) -> list[str]:
    """Return what a step brought, a line each, for who watches."""
    if old.stage == ROUNDS and new.partition is not None:
        changes = new.changes[len(old.changes) :]
        splits = sum(c.kind == "split" for c in changes)
        merges = len(changes) - splits
        return [f"Round {old.number + 1}: {splits} splits, {merges} merges, {new.partition.k} classes"]
    if new.verdict is not None:
        members = new.verdict.reason == MEMBER
        return [f"Members: {int(members.sum())} of {len(members)} particles"]
    return []


def step(bench: LikelihoodBench, state: State) -> State:
    """Return the state after one more pass or round."""
    if state.partition is not None:
        bench = informed(bench, state.partition)
    if state.stage == STARTS:
        return _step_start(bench, state)
    if state.partition is None:
        raise AssertionError("a stage after the starts has a partition")
    if state.stage == ROUNDS:
        return _step_round(bench, state, state.partition)
    if state.stage == FINE:
        return _step_fine(bench, state, state.partition)
    verdict = judge(bench, state.partition, state.ended)
    return replace(state, stage=DONE, verdict=with_final_poses(bench, verdict))


def informed(bench: LikelihoodBench, partition: Partition) -> LikelihoodBench:
    """Return the bench with the power of particles raised to what halves of classes share.

    What the images suggest by themselves is too little where their backgrounds hold neighbours besides noise.
    """
    shared = shared_prior(bench, partition).signal
    return replace(bench, prior=replace(bench.prior, signal=np.maximum(bench.prior.signal, shared)))


def first_classes(bench: LikelihoodBench) -> int:
    """Return how many classes a start begins with."""
    n = len(bench.engine.images)
    return max(1, n // (bench.settings.img_per_grp or n))


def _step_start(bench: LikelihoodBench, state: State) -> State:
    """One pass of a start; after the last, one round of splits and merges, and the next start or the best one."""
    search = bench.coarse
    bench.tick(f"start {state.number + 1}, pass {state.passes + 1}")
    if state.partition is None:
        draw = stream(bench.settings.rand_seed, "first images", state.number)
        chosen = np.sort(draw.choice(len(bench.engine.images), size=first_classes(bench), replace=False))
        references = single_images(bench, chosen)
        labels = assigned(scores_of(bench, references, search), "equal")
        return replace(state, partition=aligned(bench, references, labels, search), passes=1)
    if state.passes < MOST_START_PASSES:
        partition = sorted_once(bench, state.partition, search, "equal")
        moved = np.count_nonzero(partition.labels != state.partition.labels)
        rest = moved < AT_REST * len(partition.labels)
        return replace(state, partition=partition, passes=MOST_START_PASSES if rest else state.passes + 1)
    settled, _ = split_and_merge(bench, state.partition, (0, state.number))
    ended = (*state.ended, settled)
    if len(ended) < bench.settings.starts:
        return replace(state, number=state.number + 1, passes=0, partition=None, ended=ended)
    best = int(np.argmax([evidence(bench, p) for p in ended]))
    others = ended[:best] + ended[best + 1 :]
    return replace(state, stage=ROUNDS, number=0, passes=0, partition=ended[best], ended=others)


def evidence(bench: LikelihoodBench, partition: Partition) -> float:
    """Return the evidence of all classes, by which partitions with different numbers of classes compare."""
    sums = sums_of(bench, partition)
    return float(likelihood_of(sums, bench.prior, bench.engine.images.rings)[sums.sizes > 0].sum())


def split_and_merge(
    bench: LikelihoodBench, partition: Partition, position: tuple[int, int]
) -> tuple[Partition, tuple[Change, ...]]:
    """Return the partition after one round: split, sort once, merge, sort again; with equal sizes it only sorts."""
    search = bench.coarse
    if bench.settings.sizes == "equal":
        return sorted_once(bench, partition, search, "equal"), ()
    draw = stream(bench.settings.rand_seed, "halves", *position)
    partition, splits = split(bench, partition, bench.fine, draw)
    if splits:
        partition = sorted_once(bench, partition, search, "free")
    partition, merges = merge(bench, partition, bench.fine)
    for _ in range(ROUND_PASSES):
        partition = sorted_once(bench, partition, search, "free")
    return compact(partition), (*splits, *merges)


def _step_round(bench: LikelihoodBench, state: State, partition: Partition) -> State:
    """One round of splits and merges; the last one changes nothing."""
    bench.tick(f"round {state.number + 1}")
    partition, changes = split_and_merge(bench, partition, (1, state.number))
    done = state.number + 1
    state = replace(state, partition=partition, changes=(*state.changes, *changes), number=done)
    return replace(state, stage=FINE) if not changes or done >= MOST_ROUNDS else state


def _step_fine(bench: LikelihoodBench, state: State, partition: Partition) -> State:
    """One pass with finer shifts on all rings, and Newton steps; classes stay."""
    bench.tick(f"fine poses, pass {state.passes + 1}")
    partition = with_fine_poses(bench, partition)
    done = state.passes + 1
    return replace(state, partition=partition, passes=done, stage=VERDICT if done >= FINE_PASSES else FINE)


def with_fine_poses(bench: LikelihoodBench, partition: Partition) -> Partition:
    """Return the partition with poses sought by all rings and refined, on averages by what half sets share."""
    references = member_references(bench, partition.labels, partition)
    found = aligned(bench, references, partition.labels, bench.fine)
    last = bench.engine.images.rings.radii[-1]
    rows = np.arange(len(found.labels))
    refined = bench.engine.refine(references, found.labels, rows, found.poses, last)
    return replace(found, poses=refined.poses, gain=refined.score)


def with_final_poses(bench: LikelihoodBench, verdict: Verdict) -> Verdict:
    """Return the verdict with all poses made anew on the averages of the members."""
    bench.tick("final poses")
    partition = verdict.partition
    members = np.where(verdict.reason == MEMBER, partition.labels, -1)
    rows = np.arange(len(members))
    for _ in range(FINE_PASSES):
        posed = aligned(bench, member_references(bench, members, partition), partition.labels, bench.fine)
        last = bench.engine.images.rings.radii[-1]
        refined = bench.engine.refine(member_references(bench, members, posed), posed.labels, rows, posed.poses, last)
        partition = replace(posed, poses=refined.poses, gain=refined.score)
    return replace(verdict, partition=partition)
