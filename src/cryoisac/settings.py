"""Every setting of every command, once: unit, range, default and meaning. Flags and pages are read from here.

The names of ISAC's settings are those of the original program, so that its users find them.
"""

from collections.abc import Iterator
from dataclasses import MISSING, Field, dataclass, fields
from typing import Annotated, Any, ClassVar, get_args, get_origin, get_type_hints

from cryoisac.errors import SettingError
from cryoisac.rules import NAMED, Rules


@dataclass(frozen=True)
class Setting:
    """What is known of one setting besides its name, type and default.

    Parameters
    ----------
    meaning : str
        One sentence.
    unit : str
        Unit, or empty.
    at_least, at_most : float, optional
        Inclusive limits.
    choices : tuple of str
        The only values allowed, if any.
    automatic : str
        What a default of ``None`` becomes.
    original : str
        The original program's spelling, where it is not the field's name.
    """

    meaning: str
    unit: str = ""
    at_least: float | None = None
    at_most: float | None = None
    choices: tuple[str, ...] = ()
    automatic: str = ""
    original: str = ""


@dataclass(frozen=True, kw_only=True)
class Described:
    """One setting as commands and pages show it."""

    name: str
    type: type
    default: Any
    setting: Setting
    method: str = ""  # the one it belongs to, where it does not belong to all

    @property
    def flag(self) -> str:
        """The option on the command line."""
        return "--" + self.name.replace("_", "-")


def describe(settings: "type[Settings]") -> Iterator[Described]:
    """Yield the settings of a class in their order."""
    hints = get_type_hints(settings, include_extras=True)
    for f in fields(settings):
        kind, setting = get_args(hints[f.name])[:2]
        method = "" if settings is not Isac else method_of(f.name)
        yield Described(name=f.name, type=_plain(kind), default=_default(f), setting=setting, method=method)


def _plain(kind: Any) -> type:
    """Return ``T`` of ``T | None``."""
    chosen = [k for k in get_args(kind) if k is not type(None)] if get_origin(kind) is not None else [kind]
    plain: type = chosen[0]
    return plain


def default_of(settings: "type[Settings]", name: str) -> Any:
    """Return the default of one setting of a class."""
    return next(_default(f) for f in fields(settings) if f.name == name)


def _default(f: Field[Any]) -> Any:
    return None if f.default is MISSING else f.default


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Base of all settings: checks each value against its ``Setting`` when made; whole numbers become floats."""

    command: ClassVar[str] = "isac"  # whose settings they are

    def __post_init__(self) -> None:
        for d in describe(type(self)):
            value = getattr(self, d.name)
            check(d, value)
            if d.type is float and isinstance(value, int):
                object.__setattr__(self, d.name, float(value))


def check(d: Described, value: Any) -> None:
    """Raise ``SettingError`` unless ``value`` is allowed for ``d``."""
    s = d.setting
    if value is None:
        return
    if s.choices and value not in s.choices:
        raise SettingError(d.flag, f"is {value}; choose one of {', '.join(s.choices)}")
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        unit = f" {s.unit}" if s.unit else ""
        if value != value:
            raise SettingError(d.flag, "is not a number")
        if s.at_least is not None and value < s.at_least:
            raise SettingError(d.flag, f"is {value:g}; must be at least {s.at_least:g}{unit}")
        if s.at_most is not None and value > s.at_most:
            raise SettingError(d.flag, f"is {value:g}; must be at most {s.at_most:g}{unit}")


LIKELIHOOD_ONLY = ("max_shift", "starts", "sizes")
ISAC2_ONLY = (
    *("xr", "yr", "ts", "ir", "rs", "maxit", "dst", "FL", "FH", "FF", "init_iter", "iter_reali", "center_method"),
    *("main_iter_limit", "delta_good", "search", "parity", "skip_prealignment", "vpp", "filament_mask_ignore"),
)


def method_of(name: str) -> str:
    """Return the method that a setting of ``Isac`` belongs to, or nothing where it belongs to both."""
    return "likelihood" if name in LIKELIHOOD_ONLY else "isac2" if name in ISAC2_ONLY else ""


@dataclass(frozen=True, kw_only=True)
class Isac(Settings):
    """Settings of a classification; two runs with the same settings and input give the same result, bit for bit."""

    method: Annotated[
        str,
        Setting(
            "How classes are made: by likelihood, their number found; or as the original ISAC makes them.",
            choices=("likelihood", "isac2"),
        ),
    ] = "likelihood"
    radius: Annotated[
        int | None,
        Setting("Particle radius in the input images.", "px", at_least=1, automatic="estimated from the data"),
    ] = None
    img_per_grp: Annotated[
        int | None,
        Setting(
            "Number of images a class aims at; the number of classes at first is images / img_per_grp.",
            "images",
            at_least=2,
            automatic="max(50, images / 200)",
        ),
    ] = None
    minimum_grp_size: Annotated[
        int | None,
        Setting(
            "A class is accepted when it has at least this many stable members.",
            "images",
            at_least=1,
            automatic="0.1 of img_per_grp, at least 10; with isac2, 0.6 of it",
        ),
    ] = None
    ctf: Annotated[
        bool, Setting("Account for the CTF: by its model, or with isac2 by phase flipping.", original="CTF")
    ] = False
    vpp: Annotated[
        bool, Setting("Whiten images of a phase plate; flip phases too where particles have a CTF.", original="VPP")
    ] = False
    filament_width: Annotated[
        float | None,
        Setting("Width of filaments; masks become bars along them.", "px", at_least=1, automatic="no filaments"),
    ] = None
    filament_mask_ignore: Annotated[
        bool, Setting("Measure segments of filaments under their bar, but do not mask them by it.")
    ] = False
    max_shift: Annotated[
        float | None,
        Setting(
            "Largest shift of a particle from the centre of its image.",
            "px",
            at_least=0,
            automatic="0.17 radius, or what images have room for",
        ),
    ] = None
    starts: Annotated[
        int,
        Setting(
            "Random starts of the likelihood method; the best goes on, all tell how stable members are.", at_least=1
        ),
    ] = 3
    sizes: Annotated[
        str,
        Setting(
            "Whether the likelihood method's classes may have any size or must be of equal size.",
            choices=("free", "equal"),
        ),
    ] = "free"
    xr: Annotated[float, Setting("Shift search range along x.", "working px", at_least=0, at_most=64)] = 1
    yr: Annotated[
        float | None,
        Setting("Shift search range along y.", "working px", at_least=0, at_most=64, automatic="xr"),
    ] = None
    ts: Annotated[float, Setting("Shift search step.", "working px", at_least=0.1, at_most=64)] = 1.0
    ir: Annotated[int, Setting("Innermost ring of the alignment.", "working px", at_least=1)] = 1
    rs: Annotated[int, Setting("Step between rings.", "working px", at_least=1)] = 1
    target_radius: Annotated[int, Setting("Particle radius in the working images.", "working px", at_least=4)] = 29
    target_nx: Annotated[
        int, Setting("Side of the working images (xr - 1 is added).", "working px", at_least=12, at_most=1024)
    ] = 76
    thld_err: Annotated[
        float, Setting("Pixel error below which a member is stable.", "working px", at_least=1e-6, at_most=100)
    ] = 0.7
    maxit: Annotated[int, Setting("Iterations of each within-class alignment.", at_least=2, at_most=1000)] = 30
    dst: Annotated[
        float,
        Setting(
            "Step of the discrete angles tried at every fourth iteration; 0 for none.", "deg", at_least=0, at_most=360
        ),
    ] = 90.0
    FL: Annotated[float, Setting("First cut-off of the low-pass filter.", "cycles/px", at_least=1e-3, at_most=0.5)] = (
        0.2
    )
    FH: Annotated[float, Setting("Last cut-off of the low-pass filter.", "cycles/px", at_least=1e-3, at_most=0.5)] = (
        0.45
    )
    FF: Annotated[
        float, Setting("Fall-off of the low-pass filter, relative to its cut-off.", at_least=1e-3, at_most=0.5)
    ] = 0.2
    init_iter: Annotated[int, Setting("Most rounds of K-means and stability in a generation.", at_least=1)] = 7
    iter_reali: Annotated[int, Setting("Test stability at every n-th round, and at the last.", at_least=1)] = 1
    stab_ali: Annotated[int, Setting("Repeated alignments of each class in a stability test.", at_least=2)] = 5
    center_method: Annotated[
        int,
        Setting(
            "How pre-alignment centres its average: -1 by the mean shift, 0 not, 1 to 7 by the original's methods.",
            at_least=-1,
            at_most=7,
        ),
    ] = -1
    main_iter_limit: Annotated[
        int | None, Setting("Stop after this many main iterations.", at_least=1, automatic="no limit")
    ] = None
    delta_good: Annotated[
        int,
        Setting(
            "Stop when the first generation of a main iteration accepts no more classes than this.",
            "classes",
            at_least=0,
        ),
    ] = 0
    rand_seed: Annotated[int, Setting("Seed of all random numbers.", at_least=0, at_most=2**32 - 1)] = 0
    search: Annotated[
        str,
        Setting(
            "How poses are looked for: exact, on the original's grid of shifts; or fast, on one that turns with the "
            "angle, with compressed references.",
            choices=("exact", "fast"),
        ),
    ] = "exact"
    parity: Annotated[
        str,
        Setting(
            "Whether the original's quirks that change numbers are kept, so that results compare: none, or sphire for "
            "those of its CPU program.",
            choices=tuple(NAMED),
        ),
    ] = "none"
    skip_prealignment: Annotated[bool, Setting("Take the images as centred.")] = False
    skip_ordering: Annotated[bool, Setting("Do not order the class averages by similarity.")] = False
    on_bad_image: Annotated[
        str,
        Setting("What to do with an image that has NaN or constant pixels.", choices=("stop", "skip")),
    ] = "stop"

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in LIKELIHOOD_ONLY if self.method == "isac2" else ISAC2_ONLY:
            if getattr(self, name) != default_of(type(self), name):
                flag, other = "--" + name.replace("_", "-"), "likelihood" if name in LIKELIHOOD_ONLY else "isac2"
                raise SettingError(flag, f"belongs to --method {other}; leave it out, or add --method {other}")
        if self.search != "exact" and self.rules != NAMED["none"]:
            raise SettingError("--search", f"is {self.search}, which no original does; with --parity leave it out")
        if self.ctf and self.vpp:
            raise SettingError("--vpp", "flips phases itself; leave out one of --CTF and --VPP")
        if self.filament_mask_ignore and self.filament_width is None:
            raise SettingError("--filament-mask-ignore", "needs --filament-width, without which there is no such mask")
        if self.FH < self.FL:
            raise SettingError("--FH", f"is {self.FH:g}, below --FL {self.FL:g}; raise --FH or lower --FL")
        if self.ir > self.target_radius:
            raise SettingError("--ir", f"is {self.ir}, beyond --target-radius {self.target_radius}")
        if 2 * self.target_radius + 4 > self.box_px:
            raise SettingError(
                "--target-radius",
                f"{self.target_radius} px does not fit working images of {self.box_px} px; "
                f"lower it to {(self.box_px - 4) // 2} or raise --target-nx",
            )
        if self.img_per_grp and self.minimum_grp_size and self.minimum_grp_size > self.img_per_grp:
            raise SettingError(
                "--minimum-grp-size", f"is {self.minimum_grp_size}, more than --img-per-grp {self.img_per_grp}"
            )

    @property
    def rules(self) -> Rules:
        """The quirks of the original that are kept."""
        return NAMED[self.parity]

    @property
    def box_px(self) -> int:
        """Side of the working images, in working pixels."""
        return self.target_nx + max(int(self.xr) - 1, -1 if self.rules.small_box_without_range else 0)

    @property
    def y_range_px(self) -> float:
        """Shift search range along y, in working pixels."""
        return self.xr if self.yr is None else self.yr


@dataclass(frozen=True, kw_only=True)
class Simulation(Settings):
    """Settings of simulated particles."""

    views: Annotated[int, Setting("Number of discrete views.", at_least=1)] = 25
    per_view: Annotated[int, Setting("Images of each view.", "images", at_least=1)] = 80
    distribution: Annotated[
        str,
        Setting(
            "How views are drawn: discrete (equal numbers), uniform over the sphere, or preferred.",
            choices=("discrete", "uniform", "preferred"),
        ),
    ] = "discrete"
    shares: Annotated[
        str | None,
        Setting(
            "Percentages of the first discrete views, such as 50,1; the other views share the rest.",
            automatic="equal numbers",
        ),
    ] = None
    filament: Annotated[
        bool,
        Setting("Simulate segments of a filament; views are azimuths about its axis."),
    ] = False
    psi_prior_error: Annotated[
        float,
        Setting(
            "Standard deviation of the error of a filament's in-plane angle in the table.",
            "deg",
            at_least=0,
            at_most=90,
        ),
    ] = 5.0
    box: Annotated[int, Setting("Side of the images.", "px", at_least=16, at_most=4096)] = 90
    pixel_size: Annotated[float, Setting("Pixel size of the images.", "Å", at_least=0.1, at_most=50)] = 5.0
    snr: Annotated[
        float,
        Setting(
            "Variance of the signal after the CTF, inside the particle's disc, over that of the noise.", at_least=1e-4
        ),
    ] = 0.1
    max_shift: Annotated[float, Setting("Shifts are uniform in ± this along each axis.", "px", at_least=0)] = 2.0
    mirrors: Annotated[bool, Setting("Mirror half of the images.")] = True
    ctf: Annotated[bool, Setting("Apply a CTF, one defocus a micrograph.")] = False
    per_micrograph: Annotated[int, Setting("Images of each micrograph.", "images", at_least=1)] = 50
    defocus_min: Annotated[float, Setting("Least defocus.", "µm", at_least=0)] = 1.0
    defocus_max: Annotated[float, Setting("Greatest defocus.", "µm", at_least=0)] = 2.5
    astigmatism: Annotated[float, Setting("Greatest astigmatism.", "µm", at_least=0)] = 0.05
    phase_shift: Annotated[
        float, Setting("Phase shift of a phase plate, part of the CTF.", "deg", at_least=0, at_most=180)
    ] = 0.0
    noise: Annotated[
        str, Setting("Spectrum of the noise: white, or coloured as in micrographs.", choices=("white", "coloured"))
    ] = "white"
    contrast_variation: Annotated[
        float, Setting("Standard deviation of the relative contrast of an image.", at_least=0, at_most=1)
    ] = 0.0
    junk: Annotated[
        float,
        Setting("Share of junk among all images: pure noise, ice, edges, overlapping pairs.", at_least=0, at_most=0.9),
    ] = 0.0
    seed: Annotated[int, Setting("Seed of all random numbers.", at_least=0)] = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.defocus_max < self.defocus_min:
            raise SettingError(
                "--defocus-max", f"is {self.defocus_max:g} µm, below --defocus-min {self.defocus_min:g} µm"
            )
        if self.phase_shift and not self.ctf:
            raise SettingError("--phase-shift", f"is {self.phase_shift:g}°, part of the CTF; add --ctf")
        if 2 * self.max_shift >= self.box:
            raise SettingError("--max-shift", f"is {self.max_shift:g} px, beyond the edge of {self.box} px images")
        if self.distribution != "discrete" and (self.shares or self.filament):
            raise SettingError("--distribution", f"is {self.distribution}; --shares and --filament need discrete views")
        self._check_shares()

    @property
    def view_shares(self) -> tuple[float, ...]:
        """Share of each discrete view among the particles, summing to 1."""
        given = tuple(float(word) / 100 for word in self.shares.split(",")) if self.shares else ()
        others = self.views - len(given)
        return given + others * ((1 - sum(given)) / max(others, 1),)

    def _check_shares(self) -> None:
        try:
            shares = self.view_shares
        except ValueError:
            raise SettingError("--shares", f"is {self.shares}; give percentages between commas, as 50,1") from None
        if len(shares) > self.views:
            raise SettingError(
                "--shares", f"names {len(shares)} views of {self.views}; leave some out or raise --views"
            )
        if not min(shares) > 0 or abs(sum(shares) - 1) > 1e-6:
            raise SettingError(
                "--shares",
                f"is {self.shares}; give positive percentages that leave some for the views not named, or sum to 100",
            )


@dataclass(frozen=True, kw_only=True)
class Substack(Settings):
    """Settings of the choice of classes whose members go on."""

    classes: Annotated[
        str | None,
        Setting("Classes to take, such as 1,3-7.", automatic="all"),
    ] = None
    min_size: Annotated[int, Setting("Leave out classes with fewer members.", "images", at_least=1)] = 1
    max_pixel_error: Annotated[
        float | None,
        Setting("Leave out classes with a larger pixel error.", "working px", at_least=0, automatic="no limit"),
    ] = None
    min_resolution: Annotated[
        float | None,
        Setting("Leave out classes whose averages do not reach this resolution.", "Å", at_least=0, automatic="none"),
    ] = None
    min_segments: Annotated[
        int,
        Setting(
            "Of filaments, leave out runs of fewer consecutive segments, and number those left anew; 0 for particles "
            "that are no segments.",
            "segments",
            at_least=0,
            original="min_nr_segments",
        ),
    ] = 0
    basename: Annotated[
        str | None,
        Setting("How names of files begin.", automatic="substack", original="substack_basename"),
    ] = None
    hdf: Annotated[
        bool,
        Setting("Write the images too, as an HDF stack with classes and poses in its headers."),
    ] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.basename is not None and (not self.basename.strip() or "/" in self.basename):
            raise SettingError("--basename", f"is '{self.basename}'; give a name for files, without a directory")
        if self.classes is not None and not self.numbers:
            raise SettingError("--classes", "names none; give numbers and ranges, as 1,3-7")

    @property
    def numbers(self) -> tuple[int, ...]:
        """Classes that ``classes`` names, from 1, ascending; none where it is left to all."""
        found: set[int] = set()
        for word in (self.classes or "").replace(" ", "").split(",") if self.classes else ():
            first, dash, last = word.partition("-")
            if not first.isdecimal() or (dash and not last.isdecimal()) or not 1 <= int(first) <= int(last or first):
                raise SettingError("--classes", f"has '{word}'; give numbers and ranges from 1, as 1,3-7")
            found.update(range(int(first), int(last or first) + 1))
        return tuple(sorted(found))


@dataclass(frozen=True, kw_only=True)
class Order(Settings):
    """Settings of an order of class averages by likeness."""

    radius: Annotated[
        int | None,
        Setting(
            "Radius of the circle in which averages are compared.", "px", at_least=1, automatic="half the box, less 2"
        ),
    ] = None
    xr: Annotated[
        int,
        Setting(
            "Shifts that are tried when two averages are laid on each other, along x and y.",
            "px",
            at_least=0,
            original="range",
        ),
    ] = 4
    circular: Annotated[
        bool, Setting("Close the order, so that the last average is like the first; else it is a chain with two ends.")
    ] = True
    seed: Annotated[int, Setting("Seed of the search for the order.", at_least=0)] = 0
