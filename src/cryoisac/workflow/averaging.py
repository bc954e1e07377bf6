"""Full-size class averages from a finished classification to their report: read, average, write, show."""

import hashlib
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from cryoisac import __version__
from cryoisac.engine.native import default_threads
from cryoisac.errors import RunError
from cryoisac.io.registry import read_image_stack, read_particles
from cryoisac.model.poses import Poses
from cryoisac.ops.fourier import filtering_threads
from cryoisac.products import full_size
from cryoisac.products.averages import write_averages, write_chains
from cryoisac.products.class_tables import classified_particles
from cryoisac.products.classification import Classification, read_classification
from cryoisac.products.tables import write_classified
from cryoisac.report.full_size import Shown, write_page
from cryoisac.run.averaging import Averaged, Averages, Members, average_all, forget, reach_px
from cryoisac.run.averaging_checks import checked, checked_radius, corrected_before, measured_power
from cryoisac.run.directory import RunDirectory, check_same, fingerprint
from cryoisac.run.full_size import FullSize
from cryoisac.run.progress import Logged, Progress, Silent
from cryoisac.run.stacks import marks_of
from cryoisac.run.threads import one_thread_a_product
from cryoisac.settings import Averaging
from cryoisac.workflow.isac import Outcome

KIND = "averages"


@dataclass(frozen=True, eq=False, kw_only=True)
class Task:
    """Averages that are under way.

    Parameters
    ----------
    directory : RunDirectory
        Where they go.
    classification : Classification
        What classes they are of.
    plan : Averages
        What they are made of, and how.
    record : dict
        What ``run.json`` says.
    """

    directory: RunDirectory
    classification: Classification
    plan: Averages
    record: dict[str, Any]


def run_average(
    run_dir: Path,
    directory: Path,
    settings: Averaging,
    *,
    stack: Path | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Outcome:
    """Make full-size averages of the classes of a finished classification, or continue where it was interrupted.

    Parameters
    ----------
    run_dir : Path
        Directory of a run of this program, of SPHIRE's ISAC, or of averages made before.
    directory : Path
        Where the averages go; made if it is not there.
    settings : Averaging
        The settings; averages that were begun must have been begun with the same.
    stack : Path, optional
        The particles that were classified; those that the run names by default.
    threads : int, optional
        Threads; by default all cores that this process may use. The result does not depend on them.
    progress : Progress, optional
        Told of everything.

    Returns
    -------
    Outcome
        The record and the report.

    Raises
    ------
    CryoisacError
        For anything wrong with the classification, the particles, the settings or the directory.
    """
    home = RunDirectory(directory)
    if directory.resolve() == run_dir.resolve():
        raise RunError(directory, "holds the classification itself; give the averages another directory")
    with one_thread_a_product():
        task = plan_averages(run_dir, home, settings, stack, threads or default_threads())
        if _ended(task):
            return Outcome(record=home.read_record() or {}, report=directory / "report.html", already=True)
        with home.held(), home.log.open("a") as log, filtering_threads(task.plan.job.threads):
            home.write_record(task.record)
            told = Logged(progress or Silent(), log)
            _say(task, told)
            record = publish(task, list(average_all(task.plan, told)), told)
            forget(task.plan)
    return Outcome(record=record, report=directory / "report.html", already=False)


def plan_averages(run_dir: Path, home: RunDirectory, settings: Averaging, stack: Path | None, threads: int) -> Task:
    """Read what is needed and refuse what cannot be done; nothing is written.

    Parameters
    ----------
    run_dir : Path
        The classification.
    home : RunDirectory
        Where the averages go.
    settings : Averaging
        As the user gave them.
    stack : Path or None
        The particles; ``None`` for those that the classification names.
    threads : int
        Threads to use.
    """
    whole = read_classification(run_dir)
    path = stack or classified_particles(run_dir)
    particles = read_particles(path)
    whole.check_images(len(particles))
    particles, pixel_size_A = checked(particles, settings)
    chosen = whole if settings.navg is None else whole.take(np.arange(min(settings.navg, len(whole.number))))
    radius_px = checked_radius(settings.radius or whole.radius_px, particles.box_px[0])
    job = FullSize(
        particles=particles,
        radius_px=radius_px,
        ctf=not settings.no_ctf,
        corrected=corrected_before(particles, settings),
        threads=threads,
    )
    used, automatic = _used(settings, whole, (radius_px, pixel_size_A))
    plan = Averages(
        job=job,
        classes=_members(chosen),
        settings=used,
        pixel_size_A=pixel_size_A,
        reach_px=reach_px(settings.xr, whole.ratio),
        measured=measured_power(settings, particles.box_px[0]),
        folder=home.states,
    )
    record = _record(path, chosen, plan, (settings, automatic))
    return Task(directory=home, classification=chosen, plan=plan, record=record)


def _members(chosen: Classification) -> tuple[Members, ...]:
    every = zip(chosen.number.tolist(), chosen.members, strict=True)
    return tuple(Members(number=number, images=own, poses=chosen.poses[own]) for number, own in every)


def _used(
    settings: Averaging, whole: Classification, found: tuple[float, float | None]
) -> tuple[Averaging, dict[str, str]]:
    """Return the settings with values for those that were automatic, and where these come from."""
    radius_px, pixel_size_A = found
    automatic = {}
    values: dict[str, Any] = {"pw_adjustment": settings.model}
    if settings.pw_adjustment is None:
        automatic["pw_adjustment"] = "as in the original"
    if settings.radius is None:
        values["radius"], automatic["radius"] = radius_px, "that of the classification"
    if settings.pixel_size is None and pixel_size_A is not None:
        values["pixel_size"], automatic["pixel_size"] = round(pixel_size_A, 6), "from the particle file"
    if settings.local_alignment and settings.xr is None:
        values["xr"], automatic["xr"] = min(reach_px(None, whole.ratio), 64.0), "a working pixel, rounded up"
    return replace(settings, **values), automatic


def _record(
    path: Path, chosen: Classification, plan: Averages, given: tuple[Averaging, dict[str, str]]
) -> dict[str, Any]:
    """Return what ``run.json`` says before anything is averaged."""
    settings, automatic = given
    particles = plan.job.particles
    digest = hashlib.sha256(marks_of(particles.stacks).tobytes())
    for members in plan.classes:
        digest.update(np.ascontiguousarray(members.images).tobytes())
        digest.update(members.poses.rows().tobytes())
    return {
        "program": "cryoisac",
        "version": __version__,
        "kind": KIND,
        "status": "running",
        "input": {
            "path": str(path),
            "images": len(particles),
            "box_px": plan.job.box_px,
            "pixel_size_A": plan.pixel_size_A,
            "sha256": fingerprint(path),
        },
        "classification": {
            "path": str(chosen.directory),
            "kind": chosen.kind,
            "sha256": digest.hexdigest(),
            "ratio": chosen.ratio,
        },
        "given": asdict(settings),
        "settings": asdict(plan.settings),
        "automatic": automatic,
        "derived": {"shrink_ratio": 1.0, "working_box_px": plan.job.box_px, "working_pixel_size_A": plan.pixel_size_A},
        "warnings": [],
    }


def _ended(task: Task) -> bool:
    """Return whether these averages are there already; refuse a directory that holds anything else."""
    home = task.directory
    before = home.read_record()
    if before is None:
        home.check_free()
        return False
    if before.get("kind") != KIND:
        raise RunError(home.path, "holds a classification; choose another directory for its averages")
    check_same(home, before, _given(task), task.record["input"]["sha256"])
    if before.get("classification", {}).get("sha256") != task.record["classification"]["sha256"]:
        raise RunError(home.path, "holds averages of other classes or images; choose another directory")
    return bool(before["status"] == "finished")


def _given(task: Task) -> Averaging:
    return Averaging(**task.record["given"])


def _say(task: Task, progress: Progress) -> None:
    """Tell what will be averaged."""
    plan = task.plan
    count = sum(len(c.images) for c in plan.classes)
    progress.note(f"Averages    {len(plan.classes)} classes, {count} particles of {plan.job.box_px} px")
    ctf = "corrected" if plan.job.ctf else "left alone"
    progress.note(f"CTF         {ctf}; power spectra: {plan.settings.model}")
    if plan.settings.local_alignment:
        progress.note(f"Alignment   within {plan.reach_px:g} px of the poses of the classification")


def publish(task: Task, results: list[Averaged], progress: Progress) -> dict[str, Any]:
    """Write all files of averages that were made, their record last, and return the record."""
    progress.stage("Writing averages, tables and report")
    path, plan, chosen = task.directory.path, task.plan, task.classification
    particles, size = plan.job.particles, plan.pixel_size_A
    images = np.stack([r.image for r in results])
    poses = [Poses.from_rows(r.poses) for r in results]
    ledger = full_size.member_ledger(len(particles), chosen.number.tolist(), chosen.members, Poses.concatenate(poses))
    order, laid = full_size.order_full_size(images, plan.job.radius_px, plan.settings.rand_seed)
    write_averages(path / "class_averages", images, ledger, size, chosen.number - 1)
    write_averages(path / "ordered_class_averages", laid, ledger, size, chosen.number[order.order] - 1)
    write_chains(path / "chains_params.txt", order)
    resolution_A = np.array([_length(r.cutoff, size) or np.inf for r in results])
    full_size.write_star_of(
        path / "class_averages.star", "class_averages.mrcs", chosen.number, chosen.size, resolution_A
    )
    write_classified(path / "classified.star", particles, ledger, ledger.poses)
    _write_tables(task, results, poses)
    classes = [_class_record(r, len(m), size) for r, m in zip(results, chosen.members, strict=True)]
    record = task.record | {
        "status": "finished",
        "classes": classes,
        "counts": {"images": len(particles), "accounted": int(chosen.size.sum())},
        "ordered": chosen.number[order.order].tolist(),
    }
    shown = Shown(
        record=record,
        averages=images,
        working=read_image_stack(chosen.averages).read(np.arange(len(chosen.number))),  # those chosen stand first
        curves=np.stack([r.correlation for r in results]),
        files=tuple(sorted(p.name for p in path.iterdir())),
    )
    write_page(path / "report.html", shown)
    task.directory.write_record(record)
    return record


def _write_tables(task: Task, results: list[Averaged], poses: list[Poses]) -> None:
    path, plan, chosen = task.directory.path, task.plan, task.classification
    numbers, size = chosen.number.tolist(), plan.pixel_size_A
    full_size.write_composed(path, chosen.members, [c.poses for c in plan.classes])
    if plan.settings.local_alignment:
        full_size.write_refined(path, chosen.members, poses)
    full_size.write_frequencies(path / "FH_list.txt", [r.fh1 for r in results], [r.fh2 for r in results])
    curves = np.stack([r.correlation for r in results])
    full_size.write_curves(path / "frc.csv", numbers, curves, plan.job.box_px, size)
    head = ["class", "members", "resolution_A", "cycles_per_px", "FH1", "FH2", "B_A2"]
    rows = []
    for r, members in zip(results, chosen.members, strict=True):
        length = _length(r.cutoff, size)
        cells = (None if length is None else f"{length:.3f}", r.cutoff and f"{r.cutoff:.5f}")
        b = None if r.bfactor_A2 is None else f"{r.bfactor_A2:.1f}"
        rows.append(
            [r.number, len(members), *("none" if c is None else c for c in cells), f"{r.fh1:.5f}", f"{r.fh2:.5f}", b]
        )
    full_size.write_rows(path / "resolution.csv", head, rows)


def _class_record(r: Averaged, members: int, pixel_size_A: float | None) -> dict[str, Any]:
    length = _length(r.cutoff, pixel_size_A)
    return {
        "class": r.number,
        "members": members,
        "resolution_A": None if length is None else round(length, 3),
        "cycles_per_px": None if r.cutoff is None else round(r.cutoff, 6),
        "FH1": round(r.fh1, 6),
        "FH2": round(r.fh2, 6),
        "B_A2": None if r.bfactor_A2 is None else round(r.bfactor_A2, 2),
        "rounds": r.rounds,
        "frc": [None if np.isnan(v) else round(v, 4) for v in r.correlation.tolist()],
    }


def _length(cutoff: float | None, pixel_size_A: float | None) -> float | None:
    return None if cutoff is None or pixel_size_A is None else pixel_size_A / cutoff
