"""What can be refused before a pixel is read."""

from pathlib import Path

import numpy as np

from cryoisac.errors import DataError, SettingError
from cryoisac.model.ctf import CtfParameters
from cryoisac.model.particles import Particles
from cryoisac.run.filaments import EMAN_ATTRIBUTE, RELION_COLUMN, segment_angles_deg
from cryoisac.settings import Isac

CORRECTED = ("rlnCtfDataAreCtfPremultiplied", "rlnCtfDataArePhaseFlipped")


def check_particles(particles: Particles, settings: Isac) -> None:
    """Raise ``DataError`` or ``SettingError`` for particles that cannot be classified with these settings.

    Notes
    -----
    All that can be told without reading pixels: square images, one pixel size, CTF columns, enough images, and a
    search that has a step.
    """
    _check_search(settings)
    check_images(particles, ctf=settings.ctf)
    if particles.ctf is not None and settings.vpp and flips_phases(particles, settings):
        _check_ctf(particles.path, particles.ctf, "--vpp")
    if settings.filament_width is not None and segment_angles_deg(particles) is None:
        raise DataError(
            particles.path,
            f"--filament-width needs the angle of each filament: {RELION_COLUMN} of a RELION table, or "
            f"{EMAN_ATTRIBUTE} of an EMAN2 stack; add it, or leave out --filament-width",
        )
    if settings.img_per_grp is not None:
        check_enough(particles.path, len(particles), settings.img_per_grp)


def check_images(particles: Particles, *, ctf: bool) -> None:
    """Raise ``DataError`` unless images are square and of one pixel size, and their CTF is known where it is needed."""
    h, w = particles.box_px
    if h != w:
        raise DataError(particles.path, f"images are {w} x {h} px; particles must be cut out as squares")
    if len(particles) == 0:
        raise DataError(particles.path, "has no particles")
    if ctf and particles.ctf is None:
        missing = ", ".join(particles.ctf_missing) or "CTF parameters"
        raise DataError(particles.path, f"--ctf needs {missing}; add them, or run without --ctf")
    if ctf and corrected_by(particles):
        raise DataError(
            particles.path,
            f"its images are corrected for the CTF already, {corrected_by(particles)} says; run without --ctf",
        )
    if ctf and particles.ctf is not None:
        _check_ctf(particles.path, particles.ctf, "--ctf")
    sizes = particles.pixel_size_A
    if ctf and sizes is None:
        raise DataError(particles.path, "--ctf needs the pixel size; add rlnImagePixelSize, or run without --ctf")
    if sizes is not None and np.ptp(sizes) > 1e-3 * sizes.min():
        raise DataError(
            particles.path,
            f"pixel sizes differ ({sizes.min():g} to {sizes.max():g} Å); rescale the particles to one pixel size",
        )


def _check_search(settings: Isac) -> None:
    for name, range_px in (("--xr", settings.xr), ("--yr", settings.y_range_px)):
        if 0 < range_px < settings.ts:
            raise SettingError(
                "--ts",
                f"is {settings.ts:g}, a step beyond {name} {range_px:g}: no shift would be tried; "
                f"give at most {range_px:g}, or {name} 0 to try none",
            )


def _check_ctf(path: Path, ctf: CtfParameters, flag: str) -> None:
    """Raise ``DataError`` for numbers that no microscope has, as they come of a wrong unit."""
    for values, name, unit, low, high in (
        (ctf.voltage_kV, "a voltage", "kV", 10.0, 3000.0),
        (ctf.defocus_um, "a defocus", "µm", -100.0, 100.0),
        (ctf.cs_mm, "a spherical aberration", "mm", -100.0, 100.0),
        (ctf.amplitude_contrast, "an amplitude contrast", "", -1.0, 1.0),
    ):
        odd = np.flatnonzero((values < low) | (values > high))
        if len(odd):
            raise DataError(
                path,
                f"particle {odd[0] + 1} has {name} of {f'{values[odd[0]]:g} {unit}'.strip()}; it must lie between "
                f"{low:g} and {high:g}: correct it, or run without {flag}",
            )


def flips_phases(particles: Particles, settings: Isac) -> bool:
    """Return whether a CTF counts: by ``ctf``, or by ``vpp`` where particles have one that was not corrected yet."""
    can = particles.ctf is not None and particles.pixel_size_A is not None and not settings.rules.whiten_only
    return settings.ctf or (settings.vpp and can and not corrected_by(particles))


def corrected_by(particles: Particles) -> str:
    """Return the name of what says that images are corrected for the CTF already, or nothing."""
    said = {"ctf_applied": [value or 0 for value in particles.attributes.get("ctf_applied", ())]}
    if particles.metadata is not None:
        tables = [t for t in (particles.metadata.optics, particles.metadata.particles) if t is not None]
        said |= {name: t.floats(name).tolist() for t in tables for name in CORRECTED if name in t}
    return next((name for name, flags in said.items() if any(flag > 0 for flag in flags)), "")


def check_enough(path: Path, n: int, img_per_grp: int) -> None:
    """Raise ``DataError`` unless ``n`` images make two classes."""
    if n < 2 * img_per_grp:
        fewer = f", or --img-per-grp {n // 2} or less" if n >= 4 else ""
        raise DataError(
            path,
            f"{n} particles make fewer than two classes of --img-per-grp {img_per_grp}; give more particles{fewer}",
        )
