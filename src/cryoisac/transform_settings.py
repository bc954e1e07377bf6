"""Settings of images moved by their poses."""

from dataclasses import dataclass
from typing import Annotated, Literal

from cryoisac.errors import SettingError
from cryoisac.settings import Setting, Settings

Method = Literal["linear", "quadratic", "cubic", "fourier"]
Outside = Literal["background", "cyclic"] | float
