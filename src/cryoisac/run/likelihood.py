"""A run by likelihood: working stack, noise, ring images, then the method step by step, every state saved."""

import time
from dataclasses import asdict, dataclass, replace

import numpy as np
import numpy.typing as npt

from cryoisac.cluster import finishing, likelihood
from cryoisac.cluster.partition import LikelihoodBench, Partition
from cryoisac.cluster.result import Result
from cryoisac.cluster.wiener import estimate_prior
from cryoisac.engine.likelihood import LikelihoodEngine, RingImages
from cryoisac.model.ledger import JUNK_POWER
from cryoisac.model.poses import Poses
from cryoisac.ops.fourier import pad
from cryoisac.run import checkpoint
from cryoisac.run.opening import Run
from cryoisac.run.preparation import preparation
from cryoisac.run.ring_stack import (
    RingGeometry,
    Survey,
    open_rings,
    remove_rings,
    ring_geometry,
    rings_are_there,
    survey,
    write_rings,
)
from cryoisac.run.stacks import open_own
from cryoisac.run.working_stack import Preparation, write_working


@dataclass(frozen=True)
class Outcome:
    """What a start came to.

    Parameters
    ----------
    classes : int
        Its classes.
    evidence : float
        The logarithm of their evidence, by which starts compare.
    """

    classes: int
    evidence: float


@dataclass(frozen=True)
class Outcomes:
    """What the starts came to.

    Parameters
    ----------
    starts : tuple of Outcome
        One for each start that has ended.
    """

    starts: tuple[Outcome, ...]


def play(run: Run) -> Result:
    """Play the run to its end from wherever it stands, and return what it came to."""
    result = checkpoint.load(run.directory.result, Result)
    if result is None:
        result = _classify(run)
        checkpoint.save(run.directory.result, result)
    remove_rings(run.directory.states)
    return result


def _classify(run: Run) -> Result:
    directory = run.directory
    s = run.plan.settings
    sizes, job = ring_geometry(run.plan.geometry, s.max_shift or 0.0, s.filament_width), preparation(run)
    if not directory.working_stack.exists():
        whole = replace(job, ctf=False, filaments=None)
        write_working(directory.working_stack, whole, np.zeros((len(run.usable), 2)))
    known = _survey(run, sizes, job)
    if not rings_are_there(directory.states):
        write_rings(directory.states, open_own(directory.working_stack), sizes, known, job)
    bench = _bench(run, sizes, known.noise)
    state = _play_steps(run, bench)
    run.progress.stage("Averaging the classes")
    result = whole_result(finishing.result(bench, state), known, run.plan.geometry.target_box_px)
    return replace(result, starts=_starts(run))


def _survey(run: Run, sizes: RingGeometry, job: Preparation) -> Survey:
    path = run.directory.survey
    known = checkpoint.load(path, Survey)
    if known is None:
        known = survey(open_own(run.directory.working_stack), sizes, job)
        checkpoint.save(path, known)
    foreign = int(known.foreign.sum())
    if foreign:
        run.progress.note(f"Left out: {foreign} images that are far stronger at low frequency than the others")
    return known


def _bench(run: Run, sizes: RingGeometry, noise: npt.NDArray[np.float64]) -> LikelihoodBench:
    images = open_rings(run.directory.states, sizes)

    def tick(what: str) -> None:
        run.progress.detail(what)
        run.progress.advance()

    return LikelihoodBench(
        engine=make_engine(images, run),
        make_engine=lambda held: make_engine(held, run),
        settings=run.plan.settings,
        prior=estimate_prior(images, sizes.support.share),
        noise=noise,
        radius_px=sizes.radius_px,
        reach_px=sizes.reach_px,
        support=sizes.support,
        comm=run.comm,
        tick=tick,
    )


def make_engine(images: RingImages, run: Run) -> LikelihoodEngine:
    """Return the engine that holds ``images``."""
    return run.call.devices.likelihood_engine(images, threads=run.threads)


def _play_steps(run: Run, bench: LikelihoodBench) -> likelihood.State:
    path, progress = run.directory.likelihood, run.progress
    state = checkpoint.load(path, likelihood.State) or likelihood.start()
    stage, begin = "", time.monotonic()
    while not likelihood.finished(state):
        name = likelihood.describe(state)
        if name != stage:
            progress.stage(name, likelihood.steps_of(bench, state), "passes")
            progress.advance(state.passes)
            stage, begin = name, time.monotonic()
        new = likelihood.step(bench, state)
        ended = ended_start(state, new)
        said = likelihood.news(state, new) if ended is None else _note_start(run, bench, state.number, ended)
        checkpoint.save(path, new)
        for line in said:
            progress.note(f"{line} ({time.monotonic() - begin:.1f} s)")
        state = new
    return state


def ended_start(old: likelihood.State, new: likelihood.State) -> Partition | None:
    """Return the classes of the start that a step has ended, or ``None`` where it ended none."""
    if old.stage != likelihood.STARTS or (new.stage == likelihood.STARTS and new.number == old.number):
        return None
    now = (*new.ended, *([] if new.partition is None else [new.partition]))
    return next(p for p in now if not any(p is known for known in old.ended))


def _note_start(run: Run, bench: LikelihoodBench, number: int, ended: Partition) -> list[str]:
    """Save what start ``number`` came to, before the state that follows it, and return what to say of it."""
    known = checkpoint.load(run.directory.starts, Outcomes) or Outcomes(())
    outcome = Outcome(classes=ended.k, evidence=likelihood.evidence(bench, ended))
    starts = (*known.starts[:number], outcome)
    checkpoint.save(run.directory.starts, Outcomes(starts))
    best = max(range(len(starts)), key=lambda i: starts[i].evidence) + 1
    last = f"; start {best} explains the particles best" if len(starts) == run.plan.settings.starts > 1 else ""
    return [f"Start {number + 1}: {outcome.classes} classes{last}"]


def _starts(run: Run) -> tuple[dict[str, float], ...]:
    known = checkpoint.load(run.directory.starts, Outcomes) or Outcomes(())
    return tuple({"start": number + 1, **asdict(outcome)} for number, outcome in enumerate(known.starts))


def whole_result(result: Result, known: Survey, box_px: int) -> Result:
    """Return the result with foreign images entered, and averages padded to the side of the working images."""
    n, kept = len(known.foreign), np.flatnonzero(~known.foreign)
    ledger = result.ledger.spread(kept, n)
    ledger = ledger.entered(np.flatnonzero(known.foreign), poses=Poses.identity(n - len(kept)), reason=JUNK_POWER)
    side = result.averages.shape[-1]
    averages = result.averages if side >= box_px else pad(result.averages, box_px)
    return replace(result, ledger=ledger, averages=averages, shift_px=np.zeros((n, 2)))
