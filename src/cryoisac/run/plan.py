"""The plan of a run: automatic settings made definite, the impossible refused, time and memory estimated."""

import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from cryoisac.align import prealignment
from cryoisac.cluster.generation import cutoffs, search_of
from cryoisac.engine.contract import Engine, Images, Indices
from cryoisac.engine.fast import fast_bytes
from cryoisac.engine.ring_sums import ring_bytes
from cryoisac.errors import DataError, SettingError
from cryoisac.model.particles import Particles
from cryoisac.model.poses import Poses
from cryoisac.ops.filters import tangent_lowpass
from cryoisac.ops.polar import Rings
from cryoisac.ops.radius import radius_of, sums_of
from cryoisac.run.checks import check_enough
from cryoisac.run.working_stack import Geometry, blocks, over
from cryoisac.settings import Isac

RADIUS_SAMPLE = 2000
PROBE_IMAGES = 320  # more than a stack that the fast search treats otherwise
PROBE_REFERENCES = 8
FEWEST_PER_CLASS = 50
MOST_CLASSES = 200
MINIMUM_SHARE = 0.6
FEWEST_MEMBERS = 10
MAX_SHIFT_SHARE = 0.17
FEW_RINGS = 4


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a run will do.

    Parameters
    ----------
    settings : Isac
        The settings, with nothing left automatic but ``main_iter_limit`` and ``yr``.
    automatic : dict of str to str
        How each automatic setting was found.
    geometry : Geometry
        Sizes of the images.
    images, classes : int
        Images that can be used, and classes of the first generation.
    memory_bytes, disk_bytes : int
        Most memory and disk taken at once.
    warnings : tuple of str
        What the user should know.
    """

    settings: Isac
    automatic: dict[str, str]
    geometry: Geometry
    images: int
    classes: int
    memory_bytes: int
    disk_bytes: int
    warnings: tuple[str, ...]


def make_plan(particles: Particles, usable: Indices, settings: Isac, *, threads: int = 1) -> Plan:
    """Return the plan of a run, or refuse it.

    Parameters
    ----------
    particles : Particles
        The input, already checked by ``check_particles``.
    usable : ndarray, shape (n,), int64
        Images that can be used.
    settings : Isac
        As the user gave them.
    threads : int
        Threads that look at images.

    Returns
    -------
    Plan
        With every automatic setting made definite.
    """
    n, box = len(usable), particles.box_px[0]
    if not n:
        raise DataError(
            particles.path, f"none of the {len(particles)} images can be used; all are constant or not finite"
        )
    automatic = {}
    given = settings.img_per_grp
    if given is None:
        given = max(FEWEST_PER_CLASS, n // MOST_CLASSES)
        automatic["img_per_grp"] = f"max({FEWEST_PER_CLASS}, {n} images / {MOST_CLASSES})"
    check_enough(particles.path, n, given)
    smallest = settings.minimum_grp_size
    if smallest is None:
        smallest, automatic["minimum_grp_size"] = _smallest(settings.method, given)
    radius = settings.radius
    if radius is None:
        radius = _estimated_radius(particles, usable, threads)
        automatic["radius"] = f"estimated from {min(n, RADIUS_SAMPLE)} images"
    max_shift = settings.max_shift
    if max_shift is None and settings.method == "likelihood":
        max_shift = round(MAX_SHIFT_SHARE * radius, 1)
        automatic["max_shift"] = f"{MAX_SHIFT_SHARE:g} of the radius"
    definite = replace(settings, radius=radius, img_per_grp=given, minimum_grp_size=smallest, max_shift=max_shift)
    geometry = Geometry(
        box_px=box, radius_px=radius, target_radius_px=settings.target_radius, target_box_px=settings.box_px
    )
    _check_radius(geometry, settings)
    return Plan(
        settings=definite,
        automatic=automatic,
        geometry=geometry,
        images=n,
        classes=n // given,
        memory_bytes=_memory_bytes(n, n // given, geometry, definite),
        disk_bytes=_disk_bytes(n, geometry, definite),
        warnings=_warnings(geometry, particles, definite),
    )


def _smallest(method: str, img_per_grp: int) -> tuple[int, str]:
    """Return the fewest members of a class, and how that number was found."""
    if method == "isac2":
        return max(1, int(MINIMUM_SHARE * img_per_grp)), f"{MINIMUM_SHARE:g} of img_per_grp"
    return min(max(FEWEST_MEMBERS, img_per_grp // 10), img_per_grp), f"0.1 of img_per_grp, at least {FEWEST_MEMBERS}"


def _estimated_radius(particles: Particles, usable: Indices, threads: int) -> int:
    box = particles.box_px[0]
    sample = usable[:: max(1, len(usable) // RADIUS_SAMPLE)][:RADIUS_SAMPLE]
    sums = np.zeros((2, box, box))
    for _, part in over(blocks(sample, box), lambda rows: sums_of(particles.read(rows)), threads):
        sums += part
    return max(1, round(radius_of(sums, len(sample))))


def _check_radius(geometry: Geometry, settings: Isac) -> None:
    most = geometry.box_px // 2 - 2
    if geometry.radius_px > most:
        raise SettingError(
            "--radius", f"{geometry.radius_px} px is too large for images of {geometry.box_px} px; at most {most}"
        )
    if geometry.shrunk_box_px < 2 * (geometry.target_radius_px + 1):
        raise SettingError(
            "--radius",
            f"{geometry.radius_px} px leaves no room to align in images of {geometry.box_px} px; "
            "give a smaller radius, or particles cut out with a larger box",
        )


def _memory_bytes(n: int, k: int, geometry: Geometry, settings: Isac) -> int:
    """Return the most memory taken at once: images, scores, and rows, averages and references of a stability test."""
    pixels, scores, rows = n * geometry.target_box_px**2 * 4, n * k * (4 + 8), n * settings.stab_ali * 200
    aligned = k * settings.stab_ali
    averages = aligned * geometry.target_box_px**2 * (4 + 8)
    if settings.search == "fast":
        search = search_of(settings)
        rings = Rings.between(search.first_ring, search.last_ring, search.ring_step)
        averages += max(fast_bytes(rings, aligned, search), ring_bytes(geometry.target_box_px, aligned, 1))
    return int(pixels + scores + rows + averages + (1 << 28))


def _disk_bytes(n: int, geometry: Geometry, settings: Isac) -> int:
    """Return the most disk taken: the shrunk and the working stack, and some for the rest."""
    shrunk = 0 if settings.skip_prealignment else n * geometry.shrunk_box_px**2 * 4
    return shrunk + n * geometry.target_box_px**2 * 4 + n * 2000 + (1 << 24)


def _warnings(geometry: Geometry, particles: Particles, settings: Isac) -> tuple[str, ...]:
    found = []
    room = geometry.target_box_px // 2 - geometry.target_radius_px - 1
    for name, range_px in (("--xr", settings.xr), ("--yr", settings.y_range_px)):
        if range_px > room:
            found.append(
                f"{name} {range_px:g} reaches beyond the working images: only shifts within {room} px are tried; "
                "a larger --target-nx gives more room."
            )
    rings = len(range(settings.ir, settings.target_radius + 1, settings.rs))
    if rings < FEW_RINGS:
        found.append(f"Images are compared on {rings} ring{'s' * (rings > 1)} only; lower --ir or --rs.")
    if geometry.ratio > 1:
        found.append(
            f"Images are enlarged {geometry.ratio:.2f} times to bring the particle radius of {geometry.radius_px} px "
            f"to {geometry.target_radius_px} px: no detail is gained by it."
        )
    if particles.pixel_size_A is None:
        found.append("The pixel size is not known and taken as 1 Å: lengths in classified.star are in pixels.")
    else:
        nyquist = 2 * float(particles.pixel_size_A[0]) / geometry.ratio
        if nyquist > 20:
            found.append(f"The working images end at {nyquist:.0f} Å; a larger --target-radius keeps finer detail.")
    return tuple(found)


def check_room(plan: Plan, directory: Path) -> None:
    """Raise ``SettingError`` where memory or disk cannot hold the run."""
    memory = available_memory_bytes()
    if memory is not None and plan.memory_bytes > memory:
        raise SettingError(
            "memory",
            f"the run needs {size(plan.memory_bytes)}, and {size(memory)} are free; use fewer particles, "
            "or a smaller --target-radius and --target-nx",
        )
    home = next(p for p in (directory, *directory.resolve().parents) if p.exists())
    free = shutil.disk_usage(home).free
    if plan.disk_bytes > free:
        raise SettingError(
            "disk",
            f"the run needs {size(plan.disk_bytes)} in {home}, and {size(free)} are free; make room, "
            "or choose a directory on another disk",
        )


def available_memory_bytes() -> int | None:
    """Return the memory that can be taken, or ``None`` where the system does not say."""
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        for line in meminfo.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        return None


def size(count: float) -> str:
    """Return a number of bytes as a person would say it."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


def seconds_a_round(plan: Plan, make_engine: Callable[[Images], Engine]) -> float:
    """Return how long a round of the first generation will take, from a short trial of the engine.

    Parameters
    ----------
    plan : Plan
        The plan.
    make_engine : callable
        ``make_engine(images)``.

    Returns
    -------
    float
        Seconds for the K-means passes and the stability test of one round.
    """
    s, box = plan.settings, plan.geometry.target_box_px
    noise = np.random.default_rng(0).normal(size=(PROBE_IMAGES, box, box)).astype(np.float32)
    references = tangent_lowpass(noise[:PROBE_REFERENCES], s.FH, s.FF)
    engine, rows, labels = make_engine(noise), np.arange(PROBE_IMAGES), np.arange(PROBE_IMAGES) % PROBE_REFERENCES
    centred, search, poses = np.zeros((PROBE_IMAGES, 2)), search_of(s), Poses.identity(PROBE_IMAGES)

    def match(m: int, k: int) -> float:
        return _seconds(lambda: engine.match(references[:k], labels[:m] % k, rows[:m], centred[:m], search))

    def score(k: int) -> float:
        return _seconds(lambda: engine.score(references[:k], rows, centred, search)) / PROBE_IMAGES

    least, some, all_rows = match(1, 1), match(1, PROBE_REFERENCES), match(PROBE_IMAGES, PROBE_REFERENCES)
    a_class = max(some - least, 0.0) / (PROBE_REFERENCES - 1)
    a_row = max(all_rows - some, 0.0) / PROBE_IMAGES
    a_row += _seconds(lambda: engine.quick_total(labels, rows, poses, PROBE_REFERENCES)) / PROBE_IMAGES
    a_reference = max(score(PROBE_REFERENCES) - score(1), 0.0) / (PROBE_REFERENCES - 1)
    few, eight = make_engine(references), slice(PROBE_REFERENCES)
    in_frame = _seconds(lambda: few.match(references[:1], labels[eight] * 0, rows[eight], centred[eight], search))
    kmeans = plan.images * (2 * a_row + plan.classes * a_reference) + s.maxit * in_frame
    aligning = s.stab_ali * (plan.images * a_row + plan.classes * a_class)
    return len(list(cutoffs(s.FL, s.FH))) * kmeans + s.maxit * (least + aligning)


def _seconds(work: Callable[[], object]) -> float:
    work()
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def prealignment_plan(plan: Plan) -> prealignment.Plan:
    """Return what pre-alignment will do."""
    s = plan.settings
    return prealignment.Plan(
        stages=prealignment.stages(plan.geometry.shrunk_box_px, s.target_radius),
        radius_px=s.target_radius,
        center_method=s.center_method,
        kick_deg=s.dst,
    )
