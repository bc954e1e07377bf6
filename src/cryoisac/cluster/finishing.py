"""The end of a run by likelihood: final poses, averages as images, and what becomes of every image."""

from dataclasses import asdict, replace

import numpy as np

from cryoisac.cluster.likelihood import MOST_ROUNDS, State
from cryoisac.cluster.partition import LikelihoodBench, Partition, shared_prior
from cryoisac.cluster.result import Result
from cryoisac.cluster.wiener import averages, class_sums
from cryoisac.engine.contract import Images, Indices
from cryoisac.model.ledger import MEMBER, UNSTABLE, Ledger
from cryoisac.model.poses import Poses
from cryoisac.ops.hartley import to_image


def result(bench: LikelihoodBench, state: State) -> Result:
    """Return what a finished run came to; classes in order of size, the largest first."""
    verdict = state.verdict
    if verdict is None:
        raise AssertionError("a finished run has a verdict")
    partition, member = verdict.partition, verdict.reason == MEMBER
    sizes = np.bincount(partition.labels[member], minlength=partition.k)
    order = np.argsort(-sizes, kind="stable")[: np.count_nonzero(sizes)]
    place = np.full(partition.k + 1, -1)
    place[order] = np.arange(len(order))
    label = np.where(member, place[partition.labels], -1)
    n = len(label)
    ledger = Ledger.empty(n).entered(
        np.arange(n),
        label=label,
        reason=verdict.reason,
        generation=1,
        pixel_error_px=verdict.pixel_error_px,
        score=partition.gain,
        poses=partition.poses,
        nearest=place[partition.labels],
        rival=place[verdict.rival],
        fellowship=verdict.fellowship,
    )
    chapter = {
        "number": 1,
        "main": 1,
        "generation": 1,
        "images": n,
        "classes": partition.k,
        "rounds": state.number,
        "stable": int((verdict.reason != UNSTABLE).sum()),
        "accepted_classes": len(order),
        "accounted": int(member.sum()),
    }
    found = Result(
        ledger=ledger,
        averages=class_averages(bench, label, partition.poses, len(order)),
        shift_px=np.zeros((n, 2)),
        chapters=(chapter,),
        changes=tuple(asdict(c) for c in state.changes),
        stopped_because=why_stopped(bench, state),
    )
    return replace(found, warnings=doubts(found))


def doubts(found: Result) -> tuple[str, ...]:
    """Return a warning where classes did not come out alike when they were aligned again."""
    count = int((~np.isfinite(found.pixel_errors_px)).sum())
    if not count:
        return ()
    return (
        f"{count} of {len(found.sizes)} classes did not come out the same in any repeated alignment (pixel error "
        "unknown): what their averages show may be noise; larger classes, by a larger --img-per-grp, may help.",
    )


def why_stopped(bench: LikelihoodBench, state: State) -> str:
    """Return why the number of classes is what it is."""
    if bench.settings.sizes == "equal":
        return "Classes of equal size were asked for: none was split or merged."
    if state.number >= MOST_ROUNDS:
        return f"After {MOST_ROUNDS} rounds of splits and merges the number of classes was taken as it stood."
    return "No class falls apart any more, and no two are one view."


def class_averages(bench: LikelihoodBench, label: Indices, poses: Poses, k: int) -> Images:
    """Return the Wiener averages of classes as images, shape (k, h, w), in units of the background's deviation."""
    rings = bench.engine.images.rings
    rows = np.arange(len(label))
    prior = shared_prior(bench, Partition(labels=label, poses=poses, gain=np.zeros(len(label), np.float32), k=k))
    samples = averages(class_sums(bench.engine, label, rows, poses, k), prior, rings)
    samples *= np.repeat(np.sqrt(bench.noise), rings.lengths).astype(np.float32)
    return to_image(samples, rings, bench.engine.images.box_px)
