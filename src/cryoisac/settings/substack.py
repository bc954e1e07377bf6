"""Settings of substacks."""

from dataclasses import dataclass
from typing import Annotated

from cryoisac.errors import SettingError
from cryoisac.settings.base import Setting, Settings


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
