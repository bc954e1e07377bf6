"""Settings of simulated particles."""

from dataclasses import dataclass
from typing import Annotated

from cryoisac.errors import SettingError
from cryoisac.settings.base import Setting, Settings


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
