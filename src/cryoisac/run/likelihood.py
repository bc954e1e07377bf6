"""A run by likelihood: working stack, noise, ring images, then the method step by step, every state saved."""

import time
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from cryoisac.cluster import likelihood
from cryoisac.cluster.partition import LikelihoodBench
from cryoisac.cluster.result import Result
from cryoisac.cluster.wiener import estimate_prior
from cryoisac.engine.likelihood import LikelihoodEngine, RingImages
from cryoisac.engine.likelihood_native import NativeLikelihoodEngine
from cryoisac.io.mrc import MrcStack
from cryoisac.model.ledger import JUNK_POWER
from cryoisac.model.poses import Poses
from cryoisac.ops.fourier import pad
from cryoisac.ops.whiten import mask_share
from cryoisac.run import checkpoint
from cryoisac.run.opening import Run
from cryoisac.run.ring_stack import RingGeometry, Survey, open_rings, ring_geometry, survey, write_rings
from cryoisac.run.working_stack import Preparation, write_working


def play(run: Run) -> Result:
    """Play the run to its end from wherever it stands, and return what it came to."""
    directory = run.directory
    sizes = ring_geometry(run.plan.geometry, run.plan.settings.max_shift or 0.0)
    job = Preparation(
        particles=run.particles,
        index=run.usable,
        geometry=run.plan.geometry,
        ctf=run.plan.settings.ctf,
        threads=run.threads,
        progress=run.progress,
    )
    if not directory.working_stack.exists():
        write_working(directory.working_stack, replace(job, ctf=False), np.zeros((len(run.usable), 2)))
    known = _survey(run, sizes, job)
    if not (directory.states / "ctf2.npy").exists():
        write_rings(directory.states, MrcStack(directory.working_stack), sizes, known, job)
    bench = _bench(run, sizes, known.noise)
    state = _play_steps(run, bench)
    run.progress.stage("Averaging the classes")
    return whole_result(likelihood.result(bench, state), known, run.plan.geometry.target_box_px)


def _survey(run: Run, sizes: RingGeometry, job: Preparation) -> Survey:
    path = run.directory.states / "survey.npz"
    known = checkpoint.load(path, Survey)
    if known is None:
        known = survey(MrcStack(run.directory.working_stack), sizes, job)
        checkpoint.save(path, known)
    if known.foreign.any():
        run.progress.note(f"Left out: {int(known.foreign.sum())} images far stronger at low frequency than the others")
    return known


def _bench(run: Run, sizes: RingGeometry, noise: npt.NDArray[np.float64]) -> LikelihoodBench:
    images = open_rings(run.directory.states, sizes)

    def tick(what: str) -> None:
        run.progress.detail(what)
        run.progress.advance()

    return LikelihoodBench(
        engine=make_engine(images, run.threads),
        make_engine=lambda held: make_engine(held, run.threads),
        settings=run.plan.settings,
        prior=estimate_prior(images, mask_share(sizes.mask_radius_px, sizes.box_px)),
        noise=noise,
        radius_px=sizes.radius_px,
        reach_px=sizes.reach_px,
        mask_radius_px=sizes.mask_radius_px,
        comm=run.comm,
        tick=tick,
    )


def make_engine(images: RingImages, threads: int) -> LikelihoodEngine:
    """Return the engine that holds ``images``."""
    return NativeLikelihoodEngine(images, threads)


def _play_steps(run: Run, bench: LikelihoodBench) -> likelihood.State:
    path, progress = run.directory.states / "likelihood.npz", run.progress
    state = checkpoint.load(path, likelihood.State) or likelihood.start()
    stage = ""
    while not likelihood.finished(state):
        name = likelihood.describe(state)
        if name != stage:
            progress.stage(name, likelihood.steps_of(bench, state), "passes")
            stage = name
        begin = time.monotonic()
        new = likelihood.step(bench, state)
        checkpoint.save(path, new)
        for line in likelihood.news(state, new):
            progress.note(f"{line} ({time.monotonic() - begin:.1f} s)")
        state = new
    return state


def whole_result(result: Result, known: Survey, box_px: int) -> Result:
    """Return the result with foreign images entered, and averages padded to the side of the working images."""
    n, kept = len(known.foreign), np.flatnonzero(~known.foreign)
    ledger = result.ledger.spread(kept, n)
    ledger = ledger.entered(np.flatnonzero(known.foreign), poses=Poses.identity(n - len(kept)), reason=JUNK_POWER)
    side = result.averages.shape[-1]
    averages = result.averages if side >= box_px else pad(result.averages, box_px)
    return replace(result, ledger=ledger, averages=averages, shift_px=np.zeros((n, 2)))
