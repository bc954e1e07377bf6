"""What full-size averages need of their particles; refused in a sentence where they lack it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cryoisac.engine.contract import Indices
from cryoisac.errors import DataError, FormatError, SettingError
from cryoisac.io.text_tables import read_table
from cryoisac.model.particles import Particles
from cryoisac.run.full_size import FLIPPED, MULTIPLIED, UNTOUCHED
from cryoisac.settings.averaging import MODELS, Averaging

FLAGS = (("rlnCtfDataArePhaseFlipped", FLIPPED), ("rlnCtfDataAreCtfPremultiplied", MULTIPLIED))
NEEDS_LENGTHS = ("analytical_model", "bfactor")


def checked(particles: Particles, settings: Averaging) -> tuple[Particles, float | None]:
    """Return the particles with the pixel size that counts, and that size; refuse what cannot be averaged.

    Raises
    ------
    DataError
        When the particles are not square, differ in pixel size, or lack CTF parameters.
    SettingError
        When a setting needs a pixel size that nobody gives.
    """
    h, w = particles.box_px
    if h != w:
        raise DataError(particles.path, f"images are {w} x {h} px; particles must be cut out as squares")
    sizes = particles.pixel_size_A
    if settings.pixel_size is not None:
        sizes = np.full(len(particles), settings.pixel_size)
    if sizes is not None and len(sizes) and np.ptp(sizes) > 1e-3 * sizes.min():
        raise DataError(
            particles.path, f"pixel sizes differ ({sizes.min():g} to {sizes.max():g} Å); rescale them to one pixel size"
        )
    size = None if sizes is None or not len(sizes) else float(sizes[0])
    if size is None and (settings.model in NEEDS_LENGTHS or settings.lowpass is not None):
        what = "--lowpass" if settings.lowpass is not None else f"--pw-adjustment {settings.model}"
        raise SettingError("--pixel-size", f"is not in {particles.path.name}, and {what} needs it; give it")
    if not settings.no_ctf:
        if particles.ctf is None:
            missing = ", ".join(particles.ctf_missing) or "CTF parameters"
            raise DataError(particles.path, f"lacks {missing}; add them, or give --no-ctf")
        if size is None:
            raise SettingError("--pixel-size", f"is not in {particles.path.name}, and the CTF needs it; give it")
    return replace(particles, pixel_size_A=sizes), size


def corrected_before(particles: Particles, settings: Averaging) -> Indices:
    """Return what was done to each image for its CTF, as its file says, shape (n,): see ``full_size.FullSize``.

    Raises
    ------
    DataError
        When the file says that something was done, but not what; or when poses cannot be refined after it.
    """
    done = np.full(len(particles), UNTOUCHED, dtype=np.int64)
    if settings.no_ctf:
        return done
    if any((value or 0) > 0 for value in particles.attributes.get("ctf_applied", ())):
        raise DataError(
            particles.path,
            "its images are corrected for the CTF already, ctf_applied says; give those before it, or --no-ctf",
        )
    if particles.metadata is not None:
        for name, state in FLAGS:
            done[_flag(particles, name)] = state
    if settings.local_alignment and (done == MULTIPLIED).any():
        raise DataError(
            particles.path,
            "its images are multiplied by their CTF, which colours their noise: they cannot be aligned; "
            "leave out --local-alignment, or give images before that",
        )
    return done


def _flag(particles: Particles, name: str) -> npt.NDArray[np.bool_]:
    """Return where a flag of the particle or the optics table is set, shape (n,)."""
    metadata = particles.metadata
    if metadata is not None and name in metadata.particles:
        return metadata.particles.floats(name) > 0
    if metadata is not None and metadata.optics is not None and name in metadata.optics:
        optics = metadata.optics
        flagged = optics.floats(name) > 0
        if "rlnOpticsGroup" in metadata.particles and "rlnOpticsGroup" in optics:
            groups = optics.integers("rlnOpticsGroup")[flagged]
            return np.isin(metadata.particles.integers("rlnOpticsGroup"), groups)
        return np.full(len(particles), bool(flagged.any()))
    return np.zeros(len(particles), dtype=bool)


def checked_radius(radius_px: float | None, box_px: int) -> float:
    """Return the particle radius, if it is known and fits the box."""
    most = box_px / 2 - 1
    if radius_px is None:
        raise SettingError("--radius", "is not told by the classification; give it, in px of the particle images")
    if radius_px > most:
        raise SettingError("--radius", f"is {radius_px:g} px; a box of {box_px} px has room for {most:g}")
    return float(radius_px)


def measured_power(settings: Averaging, box_px: int) -> npt.NDArray[np.float64] | None:
    """Return the power spectrum that a file gives, shape (m,), or ``None`` where none is named."""
    if settings.model in MODELS:
        return None
    path = Path(settings.model)
    if not path.is_file():
        raise SettingError("--pw-adjustment", f"is {path}: no file, and none of {', '.join(MODELS)}")
    table = read_table(path)
    if not table.size:
        raise FormatError(path, "holds no numbers; the first column must be a rotational power spectrum")
    power: npt.NDArray[np.float64] = table[:, 0]
    if len(power) < box_px // 2 + 1 or not (np.isfinite(power).all() and (power > 0).all()):
        raise FormatError(
            path, f"must have {box_px // 2 + 1} or more rows for this box, all above 0 in the first column"
        )
    return power
