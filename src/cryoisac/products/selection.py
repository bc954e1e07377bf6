"""Which classes go on: chosen by number, size, pixel error or resolution."""

import numpy as np
import numpy.typing as npt

from cryoisac.errors import DataError, SettingError
from cryoisac.products.classification import AVERAGES, Classification
from cryoisac.settings import Substack

Bool = npt.NDArray[np.bool_]


def chosen(found: Classification, settings: Substack) -> Classification:
    """Return a classification with the classes that meet every condition.

    Parameters
    ----------
    found : Classification
        The classes to choose from.
    settings : Substack
        The conditions.

    Returns
    -------
    Classification
        In the same order.

    Raises
    ------
    SettingError
        If a class that is asked for is not there, or what a condition is about is known of no class.
    DataError
        If no class meets them all.

    Notes
    -----
    A class of which pixel error or resolution is not known, where they are of others, does not meet a limit on them.
    """
    keep = found.size >= settings.min_size
    if settings.classes is not None:
        keep &= _named(found, settings.numbers)
    if settings.max_pixel_error is not None:
        if np.isnan(found.pixel_error_px).all():
            raise SettingError("--max-pixel-error", f"{found.directory} tells no pixel errors; leave it out")
        keep &= found.pixel_error_px <= settings.max_pixel_error
    if settings.min_resolution is not None:
        if np.isnan(found.resolution_A).all():
            made = found.kind == AVERAGES
            how = "leave it out" if made else "give the directory of full-size averages made from it"
            raise SettingError("--min-resolution", f"{found.directory} tells no resolutions in Å; {how}")
        keep &= found.resolution_A <= settings.min_resolution
    if not keep.any():
        raise DataError(found.averages, f"none of its {len(keep)} classes meets the conditions; loosen them")
    return found.take(keep)


def _named(found: Classification, numbers: tuple[int, ...]) -> Bool:
    unknown = sorted(set(numbers) - set(found.number.tolist()))
    if unknown:
        listed = ", ".join(str(c) for c in np.sort(found.number)[:10].tolist())
        more = ", ..." if len(found.number) > 10 else ""
        raise SettingError("--classes", f"there is no class {unknown[0]} in {found.averages}, which has {listed}{more}")
    return np.isin(found.number, numbers)
