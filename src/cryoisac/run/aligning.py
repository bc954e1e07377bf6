"""Multireference and reference-free alignments before they begin: planned, refused where they cannot be, announced."""

import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from cryoisac import __version__
from cryoisac.align.stages import Course, Stage
from cryoisac.engine.contract import Engine, Images, Indices
from cryoisac.engine.devices import PROCESSOR, Devices
from cryoisac.engine.holding import pixel_image_bytes, size
from cryoisac.errors import DataError, RunError, SettingError
from cryoisac.io.registry import read_particles
from cryoisac.model.particles import Particles
from cryoisac.ops.masks import Mask
from cryoisac.run.aligning_needs import memory_bytes, seconds_an_iteration
from cryoisac.run.checks import check_images
from cryoisac.run.directory import RunDirectory, fingerprint
from cryoisac.run.given_files import function_file, load_function, read_mask, read_references
from cryoisac.run.opening import Scan, device_line, on_devices, scanned
from cryoisac.run.plan import estimated_radius
from cryoisac.run.progress import Progress
from cryoisac.run.room import check_room, span
from cryoisac.settings import Alignment, Multireference, ReferenceFree

FEWEST_SHARE, FEWEST = 5, 4  # a class needs a fifth of the mean size, at least the four members of the original
EQUAL_FIRST = 5  # iterations with equal sizes, from references that are single images
GIVEN = ("references", "mask", "function")


@dataclass(frozen=True, eq=False, kw_only=True)
class AlignmentRun:
    """An alignment that is under way.

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
    settings : Multireference or ReferenceFree
        Nothing left automatic that has a number.
    references : Path, int or None
        File of the first references, their number where they are drawn from the images, or none.
    k : int
        References.
    mask : ndarray, shape (h, w), bool
        The particle.
    record : dict
        What ``run.json`` says.
    threads : int
        Threads to use.
    progress : Progress
        Told of everything.
    devices : Devices
        What computes.
    """

    directory: RunDirectory
    particles: Particles
    scan: Scan
    usable: Indices
    settings: Multireference | ReferenceFree
    references: Path | int | None
    k: int
    mask: Mask
    record: dict[str, Any]
    threads: int
    progress: Progress
    devices: Devices = PROCESSOR

    @property
    def box_px(self) -> int:
        """Side of the images."""
        return self.particles.box_px[0]

    @property
    def course(self) -> Course:
        """Stages, rings and when to stop."""
        s = self.settings
        assert s.radius is not None
        return Course(
            stages=tuple(Stage(x_range_px=x, y_range_px=y, step_px=step) for x, y, step in s.ranges()),
            iterations=s.iterations,
            first_ring=s.ir,
            last_ring=s.radius,
            ring_step=s.rs,
            mirror=not s.no_mirror,
            kick_deg=s.dst,
            still_share=s.stop_share,
            still_px=s.stop_error,
        )

    def make_engine(self, images: Images) -> Engine:
        """Return the engine that holds ``images``."""
        return self.devices.engine(images, threads=self.threads, mode=self.settings.search)


def plan_alignment(
    directory: RunDirectory,
    path: Path | Particles,
    references: Path | int | None,
    settings: Multireference | ReferenceFree,
    *,
    threads: int,
    progress: Progress,
    devices: Devices = PROCESSOR,
) -> AlignmentRun:
    """Read the particles, scan and plan; refuse what cannot be done, and write nothing.

    Parameters
    ----------
    directory : RunDirectory
        Where the run lies, or will.
    path : Path or Particles
        The particles.
    references : Path, int or None
        First references of a multireference alignment.
    settings : Multireference or ReferenceFree
        As the user gave them.
    threads : int
        Threads to use.
    progress : Progress
        Told of everything.
    devices : Devices
        What computes.

    Returns
    -------
    AlignmentRun
        Ready to be played.
    """
    particles = read_particles(path)
    check_images(particles, ctf=settings.ctf)
    box = particles.box_px[0]
    if settings.radius is not None:
        check_radius(box, settings.radius, settings)
    k = len(read_references(references, box)) if isinstance(references, Path) else references or 1
    before = directory.read_record()
    scan = scanned(directory, particles, settings.on_bad_image, threads=threads, progress=progress)
    usable = np.setdiff1d(np.arange(len(particles)), scan.bad)
    check_numbers(particles, len(usable), k)
    radius = settings.radius or min(estimated_radius(particles, usable, threads), largest_radius(box, settings))
    check_radius(box, radius, settings)
    mask = read_mask(settings.mask, radius, box)
    definite, automatic = _made_definite(settings, radius, len(usable), k, drawn=isinstance(references, int))
    load_function(settings.function)
    run = AlignmentRun(
        directory=directory,
        particles=particles,
        scan=scan,
        usable=usable,
        settings=definite,
        references=references,
        k=k,
        mask=mask,
        record={},
        threads=threads,
        progress=progress,
        devices=devices,
    )
    if before is None:
        check_room(needed_bytes(run), len(usable) * 500, directory.path, advice="use fewer or smaller images")
    record = _record(run, settings, automatic, before)
    run = replace(run, record=record | on_devices(devices, before, record["warnings"]))
    _check_same_files(run, before)
    return run


def _made_definite(
    settings: Multireference | ReferenceFree, radius_px: int, n: int, k: int, *, drawn: bool
) -> tuple[Multireference | ReferenceFree, dict[str, str]]:
    """Return settings with numbers for what was automatic, and how these were found."""
    automatic = {}
    if settings.search == "fast" and any(x != y for x, y, _ in settings.ranges()):
        settings = replace(settings, search="exact")  # the grid of the fast search turns with the angle
        automatic["search"] = "ranges along x and y differ"
    if settings.radius is None:
        automatic["radius"] = f"estimated from the images, with room for shifts of {largest_shift(settings):g} px"
    if isinstance(settings, Multireference) and settings.equal_first is None:
        alone = settings.sizes == "free" and settings.random_method == "none" and drawn
        settings = replace(settings, equal_first=min(EQUAL_FIRST, settings.iterations // 2) if alone else 0)
        automatic["equal_first"] = "references are single images" if alone else "not needed"
    if isinstance(settings, Multireference) and settings.sizes == "free" and settings.min_size is None:
        automatic["min_size"] = f"{n} images / {k} references / {FEWEST_SHARE}, at least {FEWEST}"
        return replace(settings, radius=radius_px, min_size=max(FEWEST, n // (FEWEST_SHARE * k))), automatic
    return replace(settings, radius=radius_px), automatic


def largest_shift(settings: Alignment) -> float:
    """Return the largest shift of any stage, in pixels."""
    return max(max(x, y) for x, y, _ in settings.ranges())


def largest_radius(box_px: int, settings: Alignment) -> int:
    """Return the largest radius of the outermost ring that leaves room for the shifts."""
    return min(box_px // 2 - 2, (box_px - 1) // 2 - math.ceil(largest_shift(settings)))


def check_radius(box_px: int, radius_px: int, settings: Alignment) -> None:
    """Raise ``SettingError`` unless the rings, and reference-free also their shifts, fit the images."""
    most = box_px // 2 - 2
    if settings.radius is None and radius_px < settings.ir:
        raise SettingError(
            "--xr", f"shifts of {largest_shift(settings):g} px leave no room for a particle in images of {box_px} px"
        )
    if not settings.ir <= radius_px <= most:
        raise SettingError(
            "--radius", f"{radius_px} px does not fit images of {box_px} px; give from {settings.ir} to {most}"
        )
    room = (box_px - 1) // 2 - radius_px
    if isinstance(settings, ReferenceFree) and largest_shift(settings) > room:
        raise SettingError(
            "--xr",
            f"shifts of {largest_shift(settings):g} px take rings of {radius_px} px out of images of {box_px} px; "
            f"give at most {room}, or a smaller --radius",
        )


def check_numbers(particles: Particles, n: int, k: int) -> None:
    """Raise ``DataError`` unless there are two images for each reference."""
    if n < 2 * k:
        raise DataError(
            particles.path, f"{n} images that can be used are too few for {k} references; two each at least"
        )


def _check_same_files(run: AlignmentRun, before: dict[str, Any] | None) -> None:
    """Raise ``RunError`` unless the references, the mask and the function are those that a run began with."""
    if before is None:
        return
    then, now = before["input"].get("given_files", {}), run.record["input"]["given_files"]
    differing = [name for name in GIVEN if then.get(name) != now.get(name)]
    if differing:
        raise RunError(
            run.directory.path,
            f"holds a run with other {' and '.join(differing)}; give the same, or choose another directory",
        )


def needed_bytes(run: AlignmentRun) -> int:
    """Return the most memory that is taken at once."""
    return memory_bytes(len(run.usable), run.k, run.box_px, run.course, run.settings)


def _record(
    run: AlignmentRun,
    settings: Multireference | ReferenceFree,
    automatic: dict[str, str],
    before: dict[str, Any] | None,
) -> dict[str, Any]:
    particles = run.particles
    pixel_size = None if particles.pixel_size_A is None else float(particles.pixel_size_A[0])
    file = function_file(settings.function)
    files = {
        "references": fingerprint(run.references) if isinstance(run.references, Path) else run.references,
        "mask": None if settings.mask is None else fingerprint(Path(settings.mask)),
        "function": None if file is None else fingerprint(file),
    }
    return {
        "program": "cryoisac",
        "command": settings.command,
        "version": __version__,
        "status": "running",
        "input": {
            "path": str(particles.path),
            "references": None if run.references is None else str(run.references),
            "images": len(particles),
            "bad_images": len(run.scan.bad),
            "box_px": run.box_px,
            "pixel_size_A": pixel_size,
            "sha256": fingerprint(particles) if before is None else before["input"]["sha256"],
            "given_files": files,
        },
        "given": asdict(settings),
        "settings": asdict(run.settings),
        "automatic": automatic,
        "warnings": _warnings(run),
    }


def _warnings(run: AlignmentRun) -> list[str]:
    s, found = run.settings, []
    assert s.radius is not None
    room = run.box_px // 2 - s.radius - 1
    if largest_shift(s) > room:
        found.append(
            f"Shifts of {largest_shift(s):g} px reach beyond the images: with --radius {s.radius} only those "
            f"within {room} px are tried."
        )
    if run.particles.pixel_size_A is None:
        found.append("The pixel size is not known and taken as 1 Å: lengths in classified.star are in pixels.")
    return found


def say_alignment(run: AlignmentRun) -> None:
    """Tell what will be done: particles, references, stages, memory and time."""
    s, note, course = run.settings, run.progress.note, run.course
    note(f"Particles   {len(run.usable)} of {len(run.particles)}, {run.box_px} px; rings of {s.ir} to {s.radius} px")
    if isinstance(s, Multireference):
        drawn = f"from {run.references}" if isinstance(run.references, Path) else "images drawn at random"
        small = f"; a class with fewer than {s.min_size} is filled anew" if s.sizes == "free" and s.min_size else ""
        first = f" after {s.equal_first} iterations of equal size" if s.equal_first else ""
        note(f"References  {run.k}, {drawn}; classes of {'any' if s.sizes == 'free' else 'equal'} size{first}{small}")
    for number, stage in enumerate(course.stages, 1):
        note(
            f"Stage {number}     shifts up to {stage.x_range_px:g}, {stage.y_range_px:g} px in steps of "
            f"{stage.step_px:g} px; at most {course.iterations} iterations"
        )
    note(device_line(run.devices))
    for line in run.devices.plan(len(run.usable), pixel_image_bytes(run.box_px)):
        note(f"            {line}")
    note(f"Memory      {size(needed_bytes(run))}; {run.threads} threads")
    note(f"Time        {_time(run)}")
    for warning in run.record["warnings"]:
        note(f"Warning     {warning}")


def _time(run: AlignmentRun) -> str:
    """Return how long the run will take: two iterations of each stage at least, all of them at most."""
    searches = [run.course.search(i, -1, normalise_rings=True) for i in range(len(run.course.stages))]
    each = [seconds_an_iteration(len(run.usable), run.k, run.box_px, s, run.make_engine) for s in searches]
    least, most = span(2 * sum(each)), span(run.course.iterations * sum(each))
    return f"about {least} to {most}" if least != most else f"about {most}"
