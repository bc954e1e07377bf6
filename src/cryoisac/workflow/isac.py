"""ISAC from particles to report: the run, its products, its page."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from cryoisac.cluster.result import Result
from cryoisac.engine.contract import Images
from cryoisac.engine.native import default_threads
from cryoisac.errors import RunError
from cryoisac.io.registry import read_particles
from cryoisac.model.particles import Particles
from cryoisac.ops.fourier import filtering_threads
from cryoisac.products.averages import ordered, write_average_table, write_averages, write_chains
from cryoisac.products.ordering import Ordering, order_averages
from cryoisac.products.tables import total_poses, write_classified, write_ledger, write_original_tables
from cryoisac.report.html import write_report
from cryoisac.run import likelihood, pipeline
from cryoisac.run.call import Call
from cryoisac.run.checks import check_particles
from cryoisac.run.directory import RunDirectory
from cryoisac.run.isac2_needs import most_classes
from cryoisac.run.opening import NO_CALL, Run, begin, finished_before, plan_run, restart_at, say_plan
from cryoisac.run.original_tree import FINISHED, mark
from cryoisac.run.plan import Plan, make_plan
from cryoisac.run.progress import Logged, Progress, Silent
from cryoisac.run.room import available_memory_bytes
from cryoisac.run.threads import one_thread_a_product
from cryoisac.settings import Isac

METHODS: dict[str, Callable[[Run], Result]] = {"likelihood": likelihood.play, "isac2": pipeline.play}


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of a run.

    Parameters
    ----------
    record : dict
        What ``run.json`` says.
    report : Path
        The page to open.
    already : bool
        Whether the run had ended before, so that nothing was done.
    """

    record: dict[str, Any]
    report: Path
    already: bool


def run_isac(
    particles: Path | Particles,
    directory: Path,
    settings: Isac,
    *,
    threads: int | None = None,
    restart: int | None = None,
    progress: Progress | None = None,
    call: Call = NO_CALL,
) -> Outcome:
    """Classify particles with ISAC, or continue a run that was interrupted.

    Parameters
    ----------
    particles : Path or Particles
        STAR file, MRC stack, HDF stack or ``bdb:directory#name``; or what was read of one, or made of an array.
    directory : Path
        Run directory; made if it is not there.
    settings : Isac
        The settings; a run that exists must have been started with the same.
    threads : int, optional
        Threads; by default all cores that this process may use. The result does not depend on them.
    restart : int, optional
        Go back to the end of this main iteration first; 0 for the beginning of the unfinished one.
    progress : Progress, optional
        Told of everything.
    call : Call, optional
        How the run was called: its command line, and the devices that compute; by default the processor.

    Returns
    -------
    Outcome
        The record and the report.

    Raises
    ------
    CryoisacError
        For anything wrong with the particles, the settings or the directory.
    """
    home = RunDirectory(directory)
    record = finished_before(home, particles, settings)
    if restart is None and record is not None:
        return Outcome(record=record, report=directory / "report.html", already=True)
    if restart is not None and home.read_record() is None:
        raise RunError(directory, f"--restart {restart} needs a run that was started; leave it out to start one")
    with one_thread_a_product():
        threads, progress = threads or default_threads(), progress or Silent()
        run = plan_run(home, particles, settings, threads=threads, progress=progress, call=call)
        return _played(run, restart)


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What a run would take.

    Parameters
    ----------
    plan : Plan
        What it would do.
    most_classes : int, optional
        With the original's method, the most classes of its particles that the free memory holds, where that is known.
    """

    plan: Plan
    most_classes: int | None


def needs(particles: Path, settings: Isac, *, threads: int | None = None) -> Needs:
    """Return what a run would take; read no more than that needs, and write nothing."""
    found = read_particles(particles)
    check_particles(found, settings)
    with one_thread_a_product():
        plan = make_plan(found, np.arange(len(found)), settings, threads=threads or default_threads())
    free = available_memory_bytes()
    known = free is not None and settings.method == "isac2"
    fit = None if free is None or not known else most_classes(plan.images, plan.geometry, plan.settings, free)
    return Needs(plan=plan, most_classes=fit)


def _played(run: Run, restart: int | None) -> Outcome:
    """Play a run to its end, from an earlier state if one is named."""
    home, method = run.directory, run.plan.settings.method
    with home.held(), home.log.open("a") as log, filtering_threads(run.threads):
        if restart is not None:
            restart_at(home, restart, method)
        run = replace(run, progress=Logged(run.progress, log))
        say_plan(run)
        begin(run)
        if method == "isac2":
            run.call.write_down(home.path / "command.txt")
        record = publish(run, METHODS[method](run))
    return Outcome(record=record, report=home.path / "report.html", already=False)


def publish(run: Run, result: Result) -> dict[str, Any]:
    """Write everything that a run leaves for others, its record last, and return the record.

    Each file is whole or absent, and depends on nothing but the result, so an interruption is made good by
    publishing again.
    """
    path, plan, particles = run.directory.path, run.plan, run.particles
    for warning in result.warnings:
        run.progress.note(f"Warning     {warning}")
    run.progress.stage("Writing averages, tables and report")
    pixel_size_A = run.record["derived"]["working_pixel_size_A"]
    ledger = result.ledger.spread(run.usable, len(particles))
    shift_px = np.zeros((len(particles), 2))
    shift_px[run.usable] = result.shift_px
    ratio = plan.geometry.ratio
    sizes, errors_px = result.sizes, result.pixel_errors_px
    ordering = order_classes(run, result.averages)

    write_averages(path / "class_averages", result.averages, ledger, pixel_size_A, np.arange(len(result.averages)))
    write_average_table(path / "class_averages.star", "class_averages.mrcs", sizes, {"cryoisacPixelError": errors_px})
    if ordering is not None:
        turned = ordered(result.averages, ordering)
        write_averages(path / "ordered_class_averages", turned, ledger, pixel_size_A, ordering.order)
        write_chains(path / "chains_params.txt", ordering)
    poses = total_poses(shift_px, ledger.poses, ratio)
    write_classified(path / "classified.star", particles, ledger, poses)
    write_ledger(path / "ledger.csv", particles, ledger)
    write_original_tables(path, ledger, shift_px, ratio, plan.geometry.radius_px)

    chapters = list(result.chapters)
    made_in = np.repeat(np.arange(len(chapters)), [c["accepted_classes"] for c in chapters])
    record = run.record | {
        "status": "finished",
        "generations": chapters,
        "starts": list(result.starts),
        "warnings": [*run.record["warnings"], *result.warnings],
        "changes": list(result.changes),
        "classes": [
            {
                "class": c + 1,
                "members": int(sizes[c]),
                "number": chapters[made_in[c]]["number"],
                "main": chapters[made_in[c]]["main"],
                "generation": chapters[made_in[c]]["generation"],
                "pixel_error_px": round(float(errors_px[c]), 6) if np.isfinite(errors_px[c]) else None,
            }
            for c in range(len(sizes))
        ],
        "counts": {"images": len(particles), "accounted": int(sizes.sum()), "by_reason": ledger.counts()},
        "ordered": [] if ordering is None else (ordering.order + 1).tolist(),
        "stopped_because": result.stopped_because,
    }
    if plan.settings.method == "isac2":
        mark(path / FINISHED)
    write_report(path, record)
    run.directory.write_record(record)
    return record


def order_classes(run: Run, averages: Images) -> Ordering | None:
    """Return the circular order of the averages, or ``None`` where it is skipped or there are none."""
    s = run.plan.settings
    if s.skip_ordering or not len(averages):
        return None
    run.progress.detail("ordering the averages")
    return order_averages(averages, range_px=s.xr + 1, radius_px=s.target_radius, seed=s.rand_seed)
