"""The one loop: pre-align, make the working stack, then ISAC step by step, every state saved."""

import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from cryoisac.align import prealignment
from cryoisac.cluster import isac
from cryoisac.cluster.generation import Bench, passes
from cryoisac.cluster.result import Result
from cryoisac.engine.contract import Images
from cryoisac.run import checkpoint
from cryoisac.run.directory import RunDirectory
from cryoisac.run.filaments import across, filaments_of
from cryoisac.run.opening import Run
from cryoisac.run.original_tree import OriginalTree, mark
from cryoisac.run.plan import prealignment_plan
from cryoisac.run.preparation import preparation
from cryoisac.run.progress import Progress
from cryoisac.run.stacks import open_own
from cryoisac.run.working_stack import working_pixels, write_shrunk, write_working


def play(run: Run) -> Result:
    """Play the run to its end from wherever it stands, and return what it came to."""
    state = play_stages(run)
    return Result(
        ledger=state.ledger,
        averages=state.averages,
        shift_px=prealignment_shifts_px(run),
        chapters=tuple(asdict(c) for c in state.chapters),
        changes=(),
        stopped_because=state.stopped_because,
    )


def play_stages(run: Run) -> isac.State:
    """Play pre-alignment, the working stack and ISAC, and return ISAC's last state."""
    tree = original_tree(run)
    if not run.plan.settings.skip_prealignment:
        prealigned = play_prealignment(run)
        if not tree.working_stack_made.exists():
            tree.write_prealignment(prealigned)
    if not run.directory.working_stack.exists():
        job = preparation(run)
        none = np.zeros(run.plan.geometry.box_px // 2 + 1)
        tree.write_spectrum(none if job.whitening is None else job.whitening)
        write_working(run.directory.working_stack, job, prealignment_shifts_px(run))
    if not tree.working_stack_made.exists():
        mark(tree.working_stack_made)
    run.directory.shrunk_stack.unlink(missing_ok=True)
    return play_isac(run, tree)


def original_tree(run: Run) -> OriginalTree:
    """Return the files of the original that this run writes on its way."""
    pixel_size_A = run.record["derived"]["working_pixel_size_A"]
    return OriginalTree(path=run.directory.path, usable=run.usable, pixel_size_A=pixel_size_A)


def play_prealignment(run: Run) -> prealignment.State:
    """Pre-align the images, one pass over all of them a step, saving each state, and return the last."""
    directory, todo = run.directory, prealignment_plan(run.plan)
    state = checkpoint.load(directory.prealignment, prealignment.State)
    if state is not None and prealignment.finished(state, todo):
        return state
    if not directory.shrunk_stack.exists():
        write_shrunk(directory.shrunk_stack, preparation(run))
    engine = run.make_engine(_mapped(directory.shrunk_stack))
    state = state or prealignment.start(engine)
    run.progress.stage("Pre-aligning", todo.iterations, "passes")
    run.progress.advance(state.iteration)
    while not prealignment.finished(state, todo):
        state = prealignment.step(engine, state, todo, run.comm)
        checkpoint.save(directory.prealignment, state)
        run.progress.advance()
    return state


def prealignment_shifts_px(run: Run) -> np.ndarray[Any, Any]:
    """Return the shifts (x, y) in input pixels that centre the usable images, shape (n, 2); 0 if none were sought.

    Segments of filaments are moved across the filament only.
    """
    state = checkpoint.load(run.directory.prealignment, prealignment.State)
    if state is None:
        return np.zeros((len(run.usable), 2))
    shift: np.ndarray[Any, Any] = -state.poses.offset_px() / run.plan.geometry.ratio
    filaments = filaments_of(run.particles, run.plan.settings)
    if filaments is None or run.plan.settings.rules.shift_along_filaments:
        return shift
    return across(shift, filaments.angle_deg[run.usable])


def play_isac(run: Run, tree: OriginalTree) -> isac.State:
    """Play ISAC to its end, one round a step, saving each state."""
    directory, s = run.directory, run.plan.settings
    bench = Bench(
        engine=run.make_engine(working_pixels(open_own(directory.working_stack), s.target_radius, threads=run.threads)),
        make_engine=run.make_engine,
        settings=s,
        comm=run.comm,
        tick=_ticker(run.progress),
    )
    state = checkpoint.load(directory.isac, isac.State)
    if state is None:
        state = _last_main_end(directory) or isac.start(bench)
        checkpoint.save(directory.isac, state)
    while not isac.finished(state):
        running = state.running
        label = f"Generation {state.main}.{state.generation}, round {1 + (running.round if running else 0)}"
        run.progress.stage(f"{label}: {len(state.todo)} particles", passes(s), "passes")
        begin = time.monotonic()
        if state.generation == 1 and state.running is None:
            tree.write_main_begins(state.main, state.todo)
        generation = isac.play(bench, state)
        new = isac.entered(bench, state, generation)
        if generation.settled:
            tree.write_generation(generation, new)
        if new.main != state.main:
            tree.write_main_ended(state.main, new, len(run.particles))
            checkpoint.save(directory.main_end(state.main), new)
        checkpoint.save(directory.isac, new)
        _say_round(run.progress, new, time.monotonic() - begin)
        state = new
    return state


def _ticker(progress: Progress) -> Callable[[str], None]:
    def tick(what: str) -> None:
        progress.detail(what)
        progress.advance()

    return tick


def _say_round(progress: Progress, state: isac.State, seconds: float) -> None:
    if state.running is not None:
        g = state.running
        agreement = f", {g.agreement:.0%} as in the round before" if g.round > 1 else ""
        progress.note(
            f"Round {g.round}: {int(g.stable.sum())} of {len(g.images)} particles stable{agreement} ({seconds:.1f} s)"
        )
        return
    c = state.chapters[-1]
    placed = int((state.ledger.label >= 0).sum())
    progress.note(
        f"Generation {c.main}.{c.generation}: {c.accepted_classes} of {c.classes} classes accepted, "
        f"{c.accounted} particles; {placed} of {len(state.ledger)} accounted for"
    )


def _last_main_end(directory: RunDirectory) -> isac.State | None:
    ends = sorted(directory.states.glob("main*.npz"))
    return checkpoint.load(ends[-1], isac.State) if ends else None


def _mapped(path: Path) -> Images:
    """Return the pixels of a stack that this run wrote, read from the file as they are needed."""
    header = open_own(path).header
    return np.memmap(path, header.pixel_type, "r", header.first_byte, header.shape)
