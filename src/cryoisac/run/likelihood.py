"""A run by likelihood: working stack, noise, ring images, then the method step by step, every state saved."""

import time
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from cryoisac.cluster import likelihood
from cryoisac.cluster.partition import LikelihoodBench
from cryoisac.cluster.result import Result
from cryoisac.cluster.wiener import estimate_prior
from cryoisac.engine.likelihood import LikelihoodEngine, RingImages
from cryoisac.engine.likelihood_native import NativeLikelihoodEngine
from cryoisac.io.mrc import MrcStack
from cryoisac.ops.fourier import pad
from cryoisac.ops.whiten import mask_share
from cryoisac.run import checkpoint
from cryoisac.run.opening import Run
from cryoisac.run.ring_stack import RingGeometry, measure_noise, open_rings, ring_geometry, write_rings
from cryoisac.run.working_stack import Preparation, write_working


@dataclass(frozen=True, eq=False)
class Noise:
    """Noise power on rings.

    Parameters
    ----------
    power : ndarray, shape (r,)
        Of the working images, their background's variance being 1.
    """

    power: npt.NDArray[np.float64]


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
    noise = _noise(run, sizes, job)
    if not (directory.states / "ctf2.npy").exists():
        write_rings(directory.states, MrcStack(directory.working_stack), sizes, noise, job)
    bench = _bench(run, sizes, noise)
    state = _play_steps(run, bench)
    run.progress.stage("Averaging the classes")
    result = likelihood.result(bench, state)
    return result_in_box(result, run.plan.geometry.target_box_px)


def _noise(run: Run, sizes: RingGeometry, job: Preparation) -> npt.NDArray[np.float64]:
    path = run.directory.states / "noise.npz"
    known = checkpoint.load(path, Noise)
    if known is None:
        known = Noise(measure_noise(MrcStack(run.directory.working_stack), sizes, job))
        checkpoint.save(path, known)
    return known.power


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


def result_in_box(result: Result, box_px: int) -> Result:
    """Return the result with its averages padded to the side of the working images."""
    side = result.averages.shape[-1]
    return result if side >= box_px else replace(result, averages=pad(result.averages, box_px))
