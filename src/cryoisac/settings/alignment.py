"""Settings of multireference and of reference-free alignment, declared once as those of ``cryoisac.settings``."""

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar

from cryoisac.errors import SettingError
from cryoisac.settings.base import Setting, Settings, describe

LIST = "one number, or one for each stage: '4 2 1 1'"
USER_FUNCTION = "ref_ali2d"


@dataclass(frozen=True, kw_only=True)
class Alignment(Settings):
    """What both alignments have in common; lengths are in pixels of the input images."""

    radius: Annotated[
        int | None,
        Setting(
            "Outermost ring on which images are compared, and radius of the mask.",
            "px",
            at_least=2,
            automatic="estimated from the data, with room for the shifts",
            original="ou",
        ),
    ] = None
    ir: Annotated[int, Setting("Innermost ring.", "px", at_least=1)] = 1
    rs: Annotated[int, Setting("Step between rings.", "px", at_least=1)] = 1
    xr: Annotated[
        str | None, Setting(f"Largest shift along x in px from where a particle was: {LIST}.", automatic="3")
    ] = None
    yr: Annotated[str | None, Setting(f"Largest shift along y in px: {LIST}; -1 as xr.", automatic="xr")] = None
    ts: Annotated[str | None, Setting(f"Step of the shifts in px: {LIST}.", automatic="1")] = None
    center_method: Annotated[
        int,
        Setting(
            "How averages are centred: -1 by the mean shift, 0 not, 1 to 7 by the original's methods.",
            at_least=-1,
            at_most=7,
            original="center",
        ),
    ] = -1
    maxit: Annotated[int, Setting("Most iterations of a stage; 0 for 10.", at_least=0, at_most=1000)] = 0
    dst: Annotated[
        float,
        Setting(
            "Step of the discrete angles tried at every fourth iteration but the last ten; 0 for none.",
            "deg",
            at_least=0,
            at_most=180,
        ),
    ] = 0.0
    no_mirror: Annotated[bool, Setting("Try no mirrored poses.", original="nomirror")] = False
    ctf: Annotated[bool, Setting("Multiply images by their CTF, and average by Wiener's filter.", original="CTF")] = (
        False
    )
    snr: Annotated[
        float, Setting("Signal-to-noise ratio of an image, for Wiener's filter of --ctf.", at_least=1e-6, at_most=1e6)
    ] = 1.0
    function: Annotated[
        str | None,
        Setting(
            "What makes a reference of an average: ref_ali2d, or [directory,module,function] of your own.",
            automatic=USER_FUNCTION,
        ),
    ] = None
    lowest_cutoff: Annotated[
        float,
        Setting("Least cut-off of the low-pass filter of references.", "cycles/px", at_least=1e-3, at_most=0.4),
    ] = 0.12
    mask: Annotated[
        str | None, Setting("Image file whose pixels above 0.5 are the particle.", automatic="the disc of the radius")
    ] = None
    stop_share: Annotated[
        float,
        Setting(
            "A stage ends when fewer than this share of the images change class or mirror, and stop_error holds.",
            at_least=0,
            at_most=1,
        ),
    ] = 0.01
    stop_error: Annotated[
        float,
        Setting(
            "A stage ends when the mean pixel error of images from one iteration to the next is at most this, and "
            "stop_share holds.",
            "px",
            at_least=0,
            at_most=100,
        ),
    ] = 0.1
    rand_seed: Annotated[int, Setting("Seed of all random numbers.", at_least=0, at_most=2**32 - 1)] = 1000
    search: Annotated[
        str,
        Setting(
            "How poses are looked for: exact, on the original's grid of shifts; or fast, on one that turns with the "
            "angle, with compressed references; exact where xr and yr differ.",
            choices=("exact", "fast"),
        ),
    ] = "fast"
    on_bad_image: Annotated[
        str,
        Setting("What to do with an image that has NaN or constant pixels.", choices=("stop", "skip")),
    ] = "stop"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.ranges()
        if self.snr != 1.0 and not self.ctf:
            raise SettingError("--snr", "is for Wiener's filter of --ctf; add --ctf, or leave it out")
        if self.radius is not None and self.ir > self.radius:
            raise SettingError("--ir", f"is {self.ir}, beyond --radius {self.radius}")

    @property
    def iterations(self) -> int:
        """Most iterations of a stage."""
        return self.maxit or 10

    def ranges(self) -> tuple[tuple[float, float, float], ...]:
        """Return largest shift along x and y, and step, of each stage.

        Raises
        ------
        SettingError
            If a list holds no numbers, numbers below 0, or too few; or if a step allows no shift.
        """
        automatic = {d.name: d.setting.automatic for d in describe(type(self))}
        x = _numbers("--xr", self.xr if self.xr is not None else automatic["xr"])
        y = _numbers("--yr", self.yr) if self.yr is not None and self.yr.strip() != "-1" else x
        if self.ts is not None or (self.xr is None and self.yr is None):
            steps = _numbers("--ts", self.ts if self.ts is not None else automatic["ts"].split(";")[0])
        else:
            steps = (1.0,)
        longest = max(len(x), len(y), len(steps))
        for flag, list_ in (("--xr", x), ("--yr", y), ("--ts", steps)):
            if len(list_) not in (1, longest):
                raise SettingError(flag, f"has {len(list_)} numbers where another list has {longest}; give one, or all")
        stages = tuple(zip(*(part * (longest if len(part) == 1 else 1) for part in (x, y, steps)), strict=True))
        for along_x, along_y, step in stages:
            _check_step(along_x, along_y, step)
        return stages


@dataclass(frozen=True, kw_only=True)
class Multireference(Alignment):
    """Settings of a multireference alignment."""

    command: ClassVar[str] = "mra"

    sizes: Annotated[
        str,
        Setting("Whether classes may have any size or must be of equal size.", choices=("free", "equal")),
    ] = "free"
    equal_first: Annotated[
        int | None,
        Setting(
            "Iterations at first in which free classes are of equal size.",
            at_least=0,
            automatic="half of maxit, at most 5, where references are drawn; else 0",
        ),
    ] = None
    min_size: Annotated[
        int | None,
        Setting(
            "A class with fewer members is dissolved and filled from the largest; 0 for never.",
            "images",
            at_least=0,
            automatic="a fifth of images / references, at least 4",
        ),
    ] = None
    random_method: Annotated[
        str,
        Setting(
            "How an image finds its class: the best (none), or any better one by stochastic hill climbing (SHC).",
            choices=("none", "SHC"),
        ),
    ] = "none"
    ignore_poses: Annotated[
        bool, Setting("Look for every particle around the centre of its image, wherever its file says it lies.")
    ] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.random_method == "SHC" and self.sizes == "equal":
            raise SettingError("--random-method", "SHC lets images choose; it cannot be had with --sizes equal")
        if self.equal_first and (self.sizes == "equal" or self.random_method == "SHC"):
            raise SettingError("--equal-first", "is for classes whose sizes are free, without SHC; leave it out")
        if self.sizes == "equal" and self.min_size:
            raise SettingError("--min-size", "is for --sizes free; classes of equal size never are too small")


@dataclass(frozen=True, kw_only=True)
class ReferenceFree(Alignment):
    """Settings of a reference-free alignment."""

    command: ClassVar[str] = "rfa"

    xr: Annotated[
        str | None, Setting(f"Largest shift along x in px from where a particle was: {LIST}.", automatic="4 2 1 1")
    ] = None
    ts: Annotated[str | None, Setting(f"Step of the shifts in px: {LIST}.", automatic="2 1 0.5 0.25; 1 with --xr")] = (
        None
    )
    randomize: Annotated[bool, Setting("Turn the images at random before the first average.")] = False
    fourier_variance: Annotated[
        bool,
        Setting("Write the variance of the aligned images at each spatial frequency.", original="Fourvar"),
    ] = False


def _numbers(flag: str, text: str) -> tuple[float, ...]:
    """Return the numbers of a list; ``SettingError`` for anything else."""
    try:
        numbers = tuple(float(word) for word in text.replace(",", " ").split())
    except ValueError:
        raise SettingError(flag, f"is {text!r}; give {LIST}") from None
    if not numbers or not all(math.isfinite(number) and 0 <= number <= 256 for number in numbers):
        raise SettingError(flag, f"is {text!r}; give numbers from 0 to 256 px, {LIST}")
    return numbers


def _check_step(x_range_px: float, y_range_px: float, step_px: float) -> None:
    if step_px < 0.1:
        raise SettingError("--ts", f"is {step_px:g}; a step must be at least 0.1 px")
    for flag, range_px in (("--xr", x_range_px), ("--yr", y_range_px)):
        if 0 < range_px < step_px:
            raise SettingError(
                "--ts",
                f"is {step_px:g}, a step beyond {flag} {range_px:g}: no shift would be tried; "
                f"give at most {range_px:g}, or {flag} 0 to try none",
            )
