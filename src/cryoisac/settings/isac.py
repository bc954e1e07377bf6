"""Settings of ISAC; their names are those of the original program, so that its users find them."""

from dataclasses import dataclass
from typing import Annotated

from cryoisac.errors import SettingError
from cryoisac.rules import NAMED, Rules
from cryoisac.settings.base import Setting, Settings, default_of

LIKELIHOOD_ONLY = ("max_shift", "starts", "sizes")
ISAC2_ONLY = (
    *("xr", "yr", "ts", "ir", "rs", "maxit", "dst", "FL", "FH", "FF", "init_iter", "iter_reali", "center_method"),
    *("main_iter_limit", "delta_good", "search", "parity", "skip_prealignment", "vpp", "filament_mask_ignore"),
)


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

    @classmethod
    def method_of(cls, name: str) -> str:
        """Return the method that a setting belongs to, or nothing where it belongs to both."""
        return "likelihood" if name in LIKELIHOOD_ONLY else "isac2" if name in ISAC2_ONLY else ""

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
