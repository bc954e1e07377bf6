"""A run before it begins: read the particles, plan, refuse what cannot be, say what will be done."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cryoisac import __version__
from cryoisac.comm import Comm, Serial
from cryoisac.engine.contract import Engine, Images, Indices
from cryoisac.engine.devices import Devices
from cryoisac.engine.holding import size
from cryoisac.errors import DataError, RunError
from cryoisac.io.registry import read_particles
from cryoisac.model.particles import Particles
from cryoisac.run import checkpoint, original_tree
from cryoisac.run.call import Call
from cryoisac.run.checks import check_particles, corrected_by, flips_phases
from cryoisac.run.directory import RunDirectory, check_same, fingerprint
from cryoisac.run.isac2_needs import seconds_a_round
from cryoisac.run.likelihood_needs import seconds
from cryoisac.run.plan import Plan, held_kind, make_plan
from cryoisac.run.progress import Progress
from cryoisac.run.ring_stack import remove_rings
from cryoisac.run.room import check_room, span
from cryoisac.run.stacks import Marks, check_unchanged, marks_of
from cryoisac.run.working_stack import unusable
from cryoisac.settings import Isac, Settings

NO_CALL = Call()


@dataclass(frozen=True, eq=False)
class Scan:
    """Which images can be used.

    Parameters
    ----------
    bad : ndarray, shape (b,), int64
        Images with constant or non-finite pixels.
    marks : ndarray, shape (s, 16), uint8
        What tells whether an image file has changed.
    """

    bad: Indices
    marks: Marks


@dataclass(frozen=True, eq=False, kw_only=True)
class Run:
    """A run that is under way.

    Parameters
    ----------
    directory : RunDirectory
        Where it lies.
    particles : Particles
        The input.
    scan : Scan
        Which images cannot be used.
    usable : ndarray, shape (n,), int64
        Images that take part.
    plan : Plan
        What is done.
    record : dict
        What ``run.json`` says.
    threads : int
        Threads to use.
    progress : Progress
        Told of everything.
    comm : Comm
        The processes of the run.
    call : Call
        How it was called, and the devices it was asked to use.
    """

    directory: RunDirectory
    particles: Particles
    scan: Scan
    usable: Indices
    plan: Plan
    record: dict[str, Any]
    threads: int
    progress: Progress
    comm: Comm
    call: Call = NO_CALL

    def make_engine(self, images: Images) -> Engine:
        """Return the engine that holds ``images``."""
        return self.call.devices.engine(images, threads=self.threads, mode=self.plan.settings.search)


def finished_before(directory: RunDirectory, path: Path | Particles, settings: Settings) -> dict[str, Any] | None:
    """Return the record of a run that ended already, after checking that it is the run that is asked for."""
    record = directory.read_record()
    if record is None:
        directory.check_free()
        return None
    check_same(directory, record, settings, fingerprint(path))
    return record if record["status"] == "finished" else None


def plan_run(
    directory: RunDirectory,
    path: Path | Particles,
    settings: Isac,
    *,
    threads: int,
    progress: Progress,
    call: Call = NO_CALL,
) -> Run:
    """Read the particles, scan and plan; refuse what cannot be done, and write nothing.

    Parameters
    ----------
    directory : RunDirectory
        Where the run lies, or will.
    path : Path or Particles
        The particles.
    settings : Isac
        As the user gave them.
    threads : int
        Threads to use.
    progress : Progress
        Told of everything.
    call : Call
        How the run was called.

    Returns
    -------
    Run
        Ready to be played.
    """
    particles = read_particles(path)
    check_particles(particles, settings)
    before = directory.read_record()
    scan = scanned(directory, particles, settings.on_bad_image, threads=threads, progress=progress)
    usable = np.setdiff1d(np.arange(len(particles)), scan.bad)
    plan = make_plan(particles, usable, settings, threads=threads)
    if before is None:
        check_room(plan.memory_bytes, plan.disk_bytes, directory.path)
    record = _record(particles, before, settings, plan, len(scan.bad))
    return Run(
        directory=directory,
        particles=particles,
        scan=scan,
        usable=usable,
        plan=plan,
        record=record | on_devices(call.devices, before, [*record["warnings"], *call.warnings()]),
        threads=threads,
        progress=progress,
        comm=Serial(),
        call=call,
    )


def scanned(
    directory: RunDirectory, particles: Particles, on_bad_image: str, *, threads: int, progress: Progress
) -> Scan:
    """Return which images can be used: as found before, where the run had begun, or by looking at all of them.

    Parameters
    ----------
    directory : RunDirectory
        Where the run lies, or will.
    particles : Particles
        The input.
    on_bad_image : str
        ``"stop"`` or ``"skip"``.
    threads : int
        Threads that look.
    progress : Progress
        Told of each block.

    Raises
    ------
    DataError
        If an image cannot be used, and that is to stop the run.
    RunError
        If the image files have changed since the run began.
    """
    marks = marks_of(particles.stacks)
    scan = None if directory.read_record() is None else checkpoint.load(directory.scan, Scan)
    if scan is None:
        scan = Scan(bad=unusable(particles, threads, progress), marks=marks)
    check_unchanged(directory.path, particles.stacks, scan.marks, marks)
    if len(scan.bad) and on_bad_image == "stop":
        raise DataError(
            f"{particles.path}: image {scan.bad[0] + 1} ({particles.name_of(int(scan.bad[0]))})",
            f"has constant or non-finite pixels, as {len(scan.bad)} of {len(particles)} images do; "
            "remove them, or give --on-bad-image skip",
        )
    return scan


def begin(run: Run) -> None:
    """Write what the run is: its settings, and which images it uses."""
    checkpoint.save(run.directory.scan, run.scan)
    run.directory.write_record(run.record)


def say_plan(run: Run) -> None:
    """Tell what will be done: particles, classes, sizes, memory, disk and time."""
    plan, note = run.plan, run.progress.note
    s, g = plan.settings, plan.geometry
    note(f"Particles   {plan.images} of {len(run.particles)}, {g.box_px} px")
    found = f" ({plan.automatic['radius']})" if "radius" in plan.automatic else ""
    note(f"Radius      {s.radius} px{found}, {g.target_radius_px} px in working images of {g.target_box_px} px")
    if s.vpp:
        note(f"Whitening   {_whitening(run)}")
    if s.filament_width is not None:
        note(f"Filaments   {s.filament_width:g} px wide")
    if s.method == "likelihood":
        note(f"Shifts      up to {s.max_shift:g} px from the centres of the images")
    note(f"Classes     {_classes(plan)}")
    note(device_line(run.call.devices))
    for line in run.call.devices.plan(plan.images, held_kind(g, s).image_bytes):
        note(f"            {line}")
    note(f"Memory      {size(plan.memory_bytes)}; disk {size(plan.disk_bytes)}; {run.threads} threads")
    note(f"Time        {_time(run)}")
    for warning in (*plan.warnings, *run.call.warnings(run.threads)):
        note(f"Warning     {warning}")


def _whitening(run: Run) -> str:
    """Return whether phases are flipped where images are whitened, and if not, why."""
    particles, settings = run.particles, run.plan.settings
    if flips_phases(particles, settings):
        return "and phases flipped by the CTF of the particles"
    if settings.rules.whiten_only:
        why = "as by the original"
    elif particles.ctf is None:
        why = "as the particles have no CTF"
    else:
        name = corrected_by(particles)
        why = f"as they were before, {name} says" if name else "as the pixel size is not known"
    return f"only: phases are not flipped, {why}"


def _classes(plan: Plan) -> str:
    """Return how many classes there will be, as far as can be told."""
    s, k = plan.settings, plan.classes
    if s.method == "isac2":
        return f"{k} of about {s.img_per_grp} particles at first; each needs {s.minimum_grp_size} stable members"
    found = "splits and merges find their number" if s.sizes == "free" else "all of equal size"
    return f"about {k} at first, of {s.img_per_grp} particles each; {found}; each needs {s.minimum_grp_size} members"


def _time(run: Run) -> str:
    """Return how long the run will take, as far as can be told."""
    plan, s = run.plan, run.plan.settings
    if s.method == "isac2":
        least = seconds_a_round(plan.images, plan.classes, plan.geometry.target_box_px, s, run.make_engine)
        return f"about {span(2 * least)} to {span(s.init_iter * least)} for the first generation"
    least, most = seconds(plan.images, plan.classes, plan.geometry, s, run.threads, run.call.devices)
    return f"about {span(least)} to {span(most)}"


def on_devices(devices: Devices, before: dict[str, Any] | None, warnings: list[str]) -> dict[str, Any]:
    """Return what ``run.json`` says of the devices, with a warning where a run is continued on others."""
    begun_on, now = (before or {}).get("device", devices.title), devices.title
    if begun_on != now:
        warnings = [*warnings, f"Begun on {begun_on}, continued on {now}: their rounding differs in the last digits."]
    return {"device": now, "warnings": warnings}


def device_line(devices: Devices) -> str:
    """Return what to say of the devices before a run begins."""
    return f"Device      {devices.title}{f': {devices.reason}' if devices.reason else ''}"


def _record(
    particles: Particles, before: dict[str, Any] | None, settings: Isac, plan: Plan, bad: int
) -> dict[str, Any]:
    """Return what ``run.json`` says; of a run that continues, what it said ``before`` of the particle file."""
    path = particles.path
    pixel_size = None if particles.pixel_size_A is None else float(particles.pixel_size_A[0])
    return {
        "program": "cryoisac",
        "version": __version__,
        "status": "running",
        "input": {
            "path": str(path),
            "images": len(particles),
            "bad_images": bad,
            "box_px": particles.box_px[0],
            "pixel_size_A": pixel_size,
            "sha256": fingerprint(particles) if before is None else before["input"]["sha256"],
        },
        "given": asdict(settings),
        "settings": asdict(plan.settings),
        "automatic": plan.automatic,
        "derived": {
            "shrink_ratio": plan.geometry.ratio,
            "working_box_px": plan.geometry.target_box_px,
            "working_pixel_size_A": None if pixel_size is None else pixel_size / plan.geometry.ratio,
        },
        "warnings": list(plan.warnings),
    }


def restart_at(directory: RunDirectory, main: int, method: str) -> None:
    """Go back to the end of main iteration ``main``, or with 0 to the beginning of the one that was running.

    A run by likelihood has no main iterations: with 0 it goes back to its first start.

    Raises
    ------
    RunError
        If that main iteration has not ended.
    """
    if method == "likelihood":
        if main > 0:
            raise RunError(
                directory.path,
                f"--restart {main}: a run by likelihood has no main iterations; --restart 0 goes back to its beginning",
            )
        remove_rings(directory.states)
        for path in (directory.result, directory.likelihood, directory.starts):
            path.unlink(missing_ok=True)
        return
    ends = sorted(directory.states.glob("main*.npz"))
    if main > 0:
        if not directory.main_end(main).exists():
            raise RunError(
                directory.path,
                f"--restart {main}: main iteration {main} has not ended; {len(ends)} have, give one of them, or 0",
            )
        for later in ends[main:]:
            later.unlink()
    original_tree.forget(directory.path, main or len(ends))
    directory.isac.unlink(missing_ok=True)
