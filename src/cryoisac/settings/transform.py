"""Settings of images moved by their poses."""

from dataclasses import dataclass
from typing import Annotated, Literal

from cryoisac.errors import SettingError
from cryoisac.settings.base import Setting, Settings

Method = Literal["linear", "quadratic", "cubic", "fourier"]
Outside = Literal["background", "cyclic"] | float

METHODS: tuple[Method, ...] = ("linear", "quadratic", "cubic", "fourier")
RULES: tuple[Literal["background", "cyclic"], ...] = ("background", "cyclic")


@dataclass(frozen=True, kw_only=True)
class Transform(Settings):
    """Settings of images moved by the poses of a table."""

    method: Annotated[
        str,
        Setting(
            "Interpolation: bilinear, six-point quadratic (as the original), sixteen-point cubic, or the image's "
            "trigonometric polynomial, which is exact.",
            choices=METHODS,
        ),
    ] = "quadratic"
    outside: Annotated[
        str,
        Setting(
            "What a point outside its image takes: background for the image's pixel at the output position (as the "
            "original), cyclic for the image repeated, or a number."
        ),
    ] = "background"
    shift_only: Annotated[
        bool,
        Setting("Bring each particle to the centre of its image; turn and mirror nothing.", original="shift"),
    ] = False
    ignore_mirror: Annotated[bool, Setting("Turn and shift each image; mirror nothing.")] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.rule, float) and not abs(self.rule) < float("inf"):
            raise SettingError("--outside", f"is {self.outside}; choose background, cyclic or a number")
        if self.shift_only and self.ignore_mirror:
            raise SettingError("--ignore-mirror", "is part of --shift-only; leave one out")

    @property
    def rule(self) -> Outside:
        """The rule for points outside, or the value that they take."""
        for known in RULES:
            if self.outside == known:
                return known
        try:
            return float(self.outside)
        except ValueError:
            raise SettingError("--outside", f"is {self.outside}; choose background, cyclic or a number") from None
