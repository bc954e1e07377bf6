"""Alignments from particles to report: the run, its products, its page."""

import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from cryoisac.align.averages import class_averages
from cryoisac.align.stages import Pass
from cryoisac.engine.native import default_threads
from cryoisac.model.particles import Particles
from cryoisac.ops.fourier import filtering_threads
from cryoisac.ops.spectra import RingCorrelation, ring_counts
from cryoisac.products.aligned import (
    frc_columns,
    mra_ledger,
    resolution_frequency,
    write_aligned,
    write_classes,
    write_fourier_variance,
    write_references,
)
from cryoisac.report.alignment import write_alignment_report
from cryoisac.run import checkpoint
from cryoisac.run.aligning import AlignmentRun, plan_alignment, say_alignment
from cryoisac.run.aligning_steps import halving, play_mra, play_rfa, prepared_images
from cryoisac.run.call import Call
from cryoisac.run.directory import RunDirectory
from cryoisac.run.opening import NO_CALL, finished_before
from cryoisac.run.progress import Logged, Progress, Silent
from cryoisac.run.threads import one_thread_a_product
from cryoisac.settings import Multireference, ReferenceFree
from cryoisac.workflow.isac import Outcome


def run_alignment(
    particles: Path | Particles,
    directory: Path,
    settings: Multireference | ReferenceFree,
    *,
    references: Path | int | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
    call: Call = NO_CALL,
) -> Outcome:
    """Align particles with references or without, or continue an alignment that was interrupted.

    Parameters
    ----------
    particles : Path or Particles
        STAR file, MRC stack or HDF stack; or what was read of one, or made of an array.
    directory : Path
        Run directory; made if it is not there.
    settings : Multireference or ReferenceFree
        The settings; an alignment that exists must have been started with the same.
    references : Path or int, optional
        For ``Multireference``: a stack of first references, or how many to draw from the particles.
    threads : int, optional
        Threads; by default all cores that this process may use. The result does not depend on them.
    progress : Progress, optional
        Told of everything.
    call : Call, optional
        How it was called, and the devices that compute; by default the processor.

    Returns
    -------
    Outcome
        The record and the report.

    Raises
    ------
    CryoisacError
        For anything wrong with the particles, the references, the settings or the directory.
    """
    home = RunDirectory(directory)
    record = finished_before(home, particles, settings)
    with one_thread_a_product():
        run = plan_alignment(
            home,
            particles,
            references,
            settings,
            threads=threads or default_threads(),
            progress=progress or Silent(),
            devices=call.devices,
        )
        if record is not None:
            return Outcome(record=record, report=directory / "report.html", already=True)
        with home.held(), home.log.open("a") as log, filtering_threads(run.threads):
            warnings = [*run.record["warnings"], *call.warnings()]
            run = replace(run, progress=Logged(run.progress, log), record=run.record | {"warnings": warnings})
            say_alignment(run)
            checkpoint.save(home.scan, run.scan)
            home.write_record(run.record)
            record = _published_mra(run) if isinstance(settings, Multireference) else _published_rfa(run)
            write_alignment_report(directory, record)
            home.write_record(record)
    return Outcome(record=record, report=directory / "report.html", already=False)


def tell_alignment(
    particles: Path,
    directory: Path,
    settings: Multireference | ReferenceFree,
    *,
    references: Path | int | None,
    threads: int | None,
    progress: Progress,
    call: Call = NO_CALL,
) -> None:
    """Tell what an alignment would do and what it needs, and do nothing.

    Parameters
    ----------
    particles, directory, settings, references, threads, progress, call
        As for ``run_alignment``.
    """
    home = RunDirectory(directory)
    with one_thread_a_product():
        run = plan_alignment(
            home,
            particles,
            references,
            settings,
            threads=threads or default_threads(),
            progress=progress,
            devices=call.devices,
        )
        say_alignment(run)


def _published_mra(run: AlignmentRun) -> dict[str, Any]:
    """Play a multireference alignment, write what it leaves for others, and return its record."""
    state, engine = play_mra(run)
    path, particles = run.directory.path, run.particles
    run.progress.stage("Writing averages, tables and report")
    averages = class_averages(engine, state.labels, state.poses, run.k, halving(run), careful=True)
    known = mra_ledger(state.labels, state.poses, state.score, state.rival)
    ledger = known.spread(run.usable, len(particles))
    write_classes(path, particles, ledger, averages.images, averages.frc, run.course.last_ring)
    write_references(path / "multi_ref.hdf", state.references, particles)
    found = resolution_frequency(averages.frc).tolist()
    last, curves = state.passes[-1], frc_columns(averages.frc)
    classes = [
        {
            "class": c + 1,
            "members": int(averages.sizes[c]),
            "cutoff": _finite(last.cutoffs[c]),
            "frc_half": found[c],
            "frc": curves[c],
        }
        for c in range(run.k)
    ]
    counts = {"images": len(particles), "accounted": len(run.usable), "by_reason": ledger.counts()}
    over = len(state.passes) < run.course.most_iterations
    return _finished(run, state.passes, converged=over) | {"classes": classes, "counts": counts}


def _published_rfa(run: AlignmentRun) -> dict[str, Any]:
    """Play a reference-free alignment, write what it leaves for others, and return its record."""
    state, _ = play_rfa(run)
    path, particles, n = run.directory.path, run.particles, len(run.usable)
    run.progress.stage("Writing averages, tables and report")
    no_rival = np.full(n, -1, dtype=np.int64)
    known = mra_ledger(np.zeros(n, dtype=np.int64), state.poses, np.zeros(n, dtype=np.float32), no_rival)
    ledger = known.spread(run.usable, len(particles))
    write_aligned(path, particles, ledger, state.averages[-1], state.references[-1])
    if isinstance(run.settings, ReferenceFree) and run.settings.fourier_variance:
        write_fourier_variance(path, prepared_images(run), state.poses, run.record["input"]["pixel_size_A"])
    box = run.box_px
    frc = RingCorrelation(
        frequency=np.arange(box // 2 + 1) / box, correlation=state.correlation[None], count=ring_counts(box)
    )
    one = {
        "class": 1,
        "members": n,
        "cutoff": _finite(state.passes[-1].cutoffs[0]),
        "frc_half": float(resolution_frequency(frc)[0]),
        "frc": frc_columns(frc)[0],
    }
    counts = {"images": len(particles), "accounted": n, "by_reason": ledger.counts()}
    over = len(state.passes) < run.course.most_iterations
    return _finished(run, state.passes, converged=over) | {"classes": [one], "counts": counts}


def _finished(run: AlignmentRun, passes: tuple[Pass, ...], *, converged: bool) -> dict[str, Any]:
    why = (
        f"Poses and classes came to rest after {len(passes)} iterations."
        if converged
        else f"All {len(passes)} iterations were played."
    )
    return run.record | {
        "status": "finished",
        "iterations": [_iteration(result) for result in passes],
        "stopped_because": why,
    }


def _iteration(result: Pass) -> dict[str, Any]:
    """Return an iteration as ``run.json`` tells it: counted from 1, null for what is not known."""
    return {
        "iteration": result.iteration + 1,
        "stage": result.stage + 1,
        "changed": _finite(result.changed),
        "pixel_error_px": _finite(result.pixel_error_px),
        "criterion": result.criterion,
        "sizes": list(result.sizes),
        "cutoffs": [_finite(value) for value in result.cutoffs],
        "falloffs": [_finite(value) for value in result.falloffs],
        "reseeded": [asdict(one) | {"label": one.label + 1, "source": one.source + 1} for one in result.reseeded],
    }


def _finite(value: float) -> float | None:
    return round(value, 6) if math.isfinite(value) else None
