"""The plan of a run: automatic settings made definite, the impossible refused, what is odd said."""

from dataclasses import dataclass, replace

import numpy as np

from cryoisac.align import prealignment
from cryoisac.engine.contract import Indices
from cryoisac.engine.holding import Kind
from cryoisac.errors import DataError, SettingError
from cryoisac.io import eman_bdb, eman_hdf
from cryoisac.model.particles import Particles
from cryoisac.ops.outliers import FAR, deviations
from cryoisac.ops.radius import radius_of, strengths, sums_of
from cryoisac.ops.whiten import EDGE_PX
from cryoisac.run import isac2_needs, likelihood_needs
from cryoisac.run.checks import check_enough
from cryoisac.run.filaments import working_half_width_px
from cryoisac.run.ring_stack import filled_box_px, last_ring, shift_room_px
from cryoisac.run.working_stack import Geometry, blocks, over
from cryoisac.settings import Isac

RADIUS_SAMPLE = 2000
FEWEST_PER_CLASS = 50
MOST_CLASSES = 200
MINIMUM_SHARE = 0.6
FEWEST_MEMBERS = 10
MAX_SHIFT_SHARE, LEAST_SHIFT_SHARE = 0.17, 0.08
FEW_RINGS = 4
UNKNOWN_TO_RELION = (*eman_bdb.SUFFIXES, *eman_hdf.SUFFIXES)
BAR_MARGIN_PX = 3.0  # of background on either side of a filament, in working pixels


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
        radius = estimated_radius(particles, usable, threads)
        automatic["radius"] = f"estimated from {min(n, RADIUS_SAMPLE)} images"
    geometry = Geometry(
        box_px=box, radius_px=radius, target_radius_px=settings.target_radius, target_box_px=settings.box_px
    )
    _check_radius(geometry, settings)
    max_shift = settings.max_shift
    if max_shift is None and settings.method == "likelihood":
        max_shift, automatic["max_shift"] = _largest_shift(geometry)
    definite = replace(settings, radius=radius, img_per_grp=given, minimum_grp_size=smallest, max_shift=max_shift)
    _check_filaments(geometry, definite)
    needs = _needs(n, n // given, geometry, definite, threads)
    return Plan(
        settings=definite,
        automatic=automatic,
        geometry=geometry,
        images=n,
        classes=n // given,
        memory_bytes=needs[0],
        disk_bytes=needs[1],
        warnings=_warnings(geometry, particles, definite),
    )


def held_kind(geometry: Geometry, settings: Isac) -> Kind:
    """Return images as the method of some settings holds them on a device; of settings whose class size is known."""
    if settings.method == "isac2":
        title, size = f"images of {geometry.target_box_px} px", isac2_needs.held_bytes(geometry)
    else:
        title, size = f"ring images of {geometry.target_box_px} px", likelihood_needs.held_bytes(geometry, settings)
    return Kind(title=title, image_bytes=size, class_size=settings.img_per_grp or FEWEST_PER_CLASS)


def _needs(n: int, k: int, geometry: Geometry, settings: Isac, threads: int) -> tuple[int, int]:
    """Return the most memory and disk taken at once, in bytes."""
    if settings.method == "isac2":
        return isac2_needs.memory_bytes(n, k, geometry, settings), isac2_needs.disk_bytes(n, k, geometry, settings)
    memory = likelihood_needs.memory_bytes(n, k, geometry, settings, threads)
    return memory, likelihood_needs.disk_bytes(n, geometry, settings)


def _smallest(method: str, img_per_grp: int) -> tuple[int, str]:
    """Return the fewest members of a class, and how that number was found."""
    if method == "isac2":
        return max(1, int(MINIMUM_SHARE * img_per_grp)), f"{MINIMUM_SHARE:g} of img_per_grp"
    return min(max(FEWEST_MEMBERS, img_per_grp // 10), img_per_grp), f"0.1 of img_per_grp, at least {FEWEST_MEMBERS}"


def _largest_shift(geometry: Geometry) -> tuple[float, str]:
    """Return the largest shift that is tried, in input pixels, and how it was found."""
    wanted, room = MAX_SHIFT_SHARE * geometry.radius_px, shift_room_px(geometry) / geometry.ratio
    if wanted <= room:
        return round(wanted, 1), f"{MAX_SHIFT_SHARE:g} of the radius"
    return int(10 * room) / 10, "what the images have room for"


def estimated_radius(particles: Particles, usable: Indices, threads: int) -> int:
    """Return the particle radius, in pixels, as a sample of the usable images suggests it; at least 1."""
    box = particles.box_px[0]
    sample = usable[:: max(1, len(usable) // RADIUS_SAMPLE)][:RADIUS_SAMPLE]
    strength = [part for _, part in over(blocks(sample, box), lambda rows: strengths(particles.read(rows)), threads)]
    usual = sample[deviations(np.concatenate(strength)) <= FAR]
    sums = np.zeros((2, box, box))
    for _, part in over(blocks(usual, box), lambda rows: sums_of(particles.read(rows)), threads):
        sums += part
    return max(1, round(radius_of(sums, len(usual))))


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
    if settings.method == "likelihood" and last_ring(geometry) < FEW_RINGS:
        raise SettingError(
            "--radius",
            f"{geometry.radius_px} px leaves too little detail: images are told apart on {FEW_RINGS} rings in Fourier "
            f"space at least, and these have {max(last_ring(geometry), 0)}; give the particle's true radius",
        )


def _check_filaments(geometry: Geometry, settings: Isac) -> None:
    """Raise ``SettingError`` for a bar that is no bar, or beside which there is no background."""
    width, margin_px = settings.filament_width, BAR_MARGIN_PX
    if width is None:
        return
    if settings.method == "likelihood":
        margin_px += EDGE_PX + min((settings.max_shift or 0.0) * geometry.ratio, shift_room_px(geometry))
    most = int((filled_box_px(geometry) - 2 * margin_px) / geometry.ratio)
    if width > most:
        fits = f"at most {most}" if most > 0 else "they need a larger box"
        raise SettingError(
            "--filament-width", f"{width:g} px leaves no background in images of {geometry.box_px} px; {fits}"
        )
    if working_half_width_px(width, geometry.ratio) < 1:
        raise SettingError(
            "--filament-width", f"{width:g} px is less than 2 px in working images; raise it, or --target-radius"
        )


def _warnings(geometry: Geometry, particles: Particles, settings: Isac) -> tuple[str, ...]:
    of_method = _isac2_warnings if settings.method == "isac2" else _likelihood_warnings
    found = of_method(geometry, settings)
    if geometry.ratio > 1:
        found.append(
            f"Images are enlarged {geometry.ratio:.2f} times to bring the particle radius of {geometry.radius_px} px "
            f"to {geometry.target_radius_px} px: no detail is gained by it."
        )
    if particles.name_of(0).lower().endswith(UNKNOWN_TO_RELION):
        found.append(
            "RELION cannot read these images: classified.star names them in a file of EMAN2. For RELION, convert that "
            "file to particles.mrcs by e2proc2d.py, and put this name into the table in its place."
        )
    if particles.pixel_size_A is None:
        found.append("The pixel size is not known and taken as 1 Å: lengths in classified.star are in pixels.")
    else:
        nyquist = 2 * float(particles.pixel_size_A[0]) / geometry.ratio
        if nyquist > 20:
            found.append(f"The working images end at {nyquist:.0f} Å; a larger --target-radius keeps finer detail.")
    return tuple(found)


def _isac2_warnings(geometry: Geometry, settings: Isac) -> list[str]:
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
    return found


def _likelihood_warnings(geometry: Geometry, settings: Isac) -> list[str]:
    wanted, room = settings.max_shift or 0.0, shift_room_px(geometry) / geometry.ratio
    more = "particles cut out with a larger box give" if _box_limits(geometry) else "a larger --target-nx gives"
    if wanted > room:
        return [
            f"--max-shift {wanted:g} reaches beyond the working images: only shifts within {room:.2g} px are tried; "
            f"{more} more room."
        ]
    if room < LEAST_SHIFT_SHARE * geometry.radius_px:
        return [
            f"A particle that lies more than {room:.2g} px from the centre of its image does not fit the working "
            f"images; {more} more room."
        ]
    return []


def _box_limits(geometry: Geometry) -> bool:
    """Return whether it is the input images that leave no more room, not the working images cut from them."""
    return geometry.shrunk_box_px <= geometry.target_box_px


def prealignment_plan(plan: Plan) -> prealignment.Plan:
    """Return what pre-alignment will do."""
    s = plan.settings
    return prealignment.Plan(
        stages=prealignment.stages(plan.geometry.shrunk_box_px, s.target_radius),
        radius_px=s.target_radius,
        center_method=s.center_method,
        kick_deg=s.dst,
        rules=s.rules,
    )
