"""The settings of full-size averages, declared as in ``settings``."""

from dataclasses import dataclass
from typing import Annotated

from cryoisac.errors import SettingError
from cryoisac.settings.base import Setting, Settings, default_of

LOCAL_ONLY = ("xr", "ts", "maxit", "fh")
MODELS = ("analytical_model", "bfactor", "no_adjustment")


@dataclass(frozen=True, kw_only=True)
class Averaging(Settings):
    """Settings of full-size class averages; their names are those of SPHIRE's ``sp_compute_isac_avg``."""

    pw_adjustment: Annotated[
        str | None,
        Setting(
            "How power spectra are adjusted: analytical_model, bfactor, no_adjustment, or the name of a text file "
            "whose first column is a rotational power spectrum.",
            automatic="analytical_model",
        ),
    ] = None
    pixel_size: Annotated[
        float | None,
        Setting("Pixel size of the particles.", "Å", at_least=0.01, at_most=100, automatic="from the particle file"),
    ] = None
    radius: Annotated[
        float | None,
        Setting("Particle radius in the particle images.", "px", at_least=1, automatic="that of the classification"),
    ] = None
    fl: Annotated[
        float | None,
        Setting(
            "Cut-off of a low-pass filter, up to 0.5; 0 for the FH1 of each class, 1 for its FH2.",
            "cycles/px",
            at_least=0,
            at_most=1,
            automatic="none, with bfactor FH1",
        ),
    ] = None
    lowpass: Annotated[
        float | None, Setting("Cut-off of a low-pass filter, as a length.", "Å", at_least=0.1, automatic="none")
    ] = None
    local_alignment: Annotated[bool, Setting("Refine the pose of each member in its class first.")] = False
    xr: Annotated[
        float | None,
        Setting(
            "How far a member may move in local alignment, at least a working pixel.",
            "px",
            at_least=0,
            at_most=64,
            automatic="a working pixel, rounded up",
        ),
    ] = None
    ts: Annotated[float, Setting("First step of the shifts of local alignment.", "px", at_least=0.1, at_most=64)] = 1.0
    maxit: Annotated[int, Setting("Most rounds of local alignment.", at_least=1, at_most=1000)] = 5
    fh: Annotated[
        float | None,
        Setting(
            "Highest frequency used in local alignment.",
            "cycles/px",
            at_least=0.01,
            at_most=0.5,
            automatic="as far as halves of the class agree",
        ),
    ] = None
    navg: Annotated[int | None, Setting("Only the first so many averages.", at_least=1, automatic="all")] = None
    no_ctf: Annotated[bool, Setting("Leave the CTF alone, as for stained particles.", original="noctf")] = False
    B_start: Annotated[
        float, Setting("Low-resolution end of the fit of a B-factor.", "Å", at_least=1, at_most=10000)
    ] = 45.0
    Bfactor: Annotated[
        float | None,
        Setting("B-factor to sharpen by.", "Å²", at_least=0.1, at_most=100000, automatic="fitted to each average"),
    ] = None
    rand_seed: Annotated[int, Setting("Seed of the halves of classes.", at_least=0, at_most=2**32 - 1)] = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in LOCAL_ONLY if not self.local_alignment else ():
            if getattr(self, name) != default_of(type(self), name):
                raise SettingError(f"--{name}", "belongs to --local-alignment; leave it out, or add --local-alignment")
        for name in ("B_start", "Bfactor") if self.model != "bfactor" else ():
            if getattr(self, name) != default_of(type(self), name):
                flag = "--" + name.replace("_", "-")
                raise SettingError(flag, f"belongs to --pw-adjustment bfactor, not {self.model}; leave it out")
        if self.fl is not None and 0.5 < self.fl < 1:
            raise SettingError("--fl", f"is {self.fl:g}; give a cut-off up to 0.5, 0 for FH1, or 1 for FH2")
        if self.fl is not None and self.lowpass is not None:
            raise SettingError("--lowpass", "and --fl both name a cut-off; give one of them")

    @property
    def model(self) -> str:
        """One of ``MODELS``, or the name of a file."""
        return self.pw_adjustment or MODELS[0]
