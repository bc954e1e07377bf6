"""What a user hands to an alignment besides particles: references, a mask, a function that makes references."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cryoisac.align.updating import Update
from cryoisac.engine.contract import Images
from cryoisac.errors import DataError, SettingError
from cryoisac.io.registry import read_particles
from cryoisac.ops.center import Reference
from cryoisac.ops.masks import Mask, circle
from cryoisac.ops.spectra import RingCorrelation
from cryoisac.settings.alignment import USER_FUNCTION

UserFunction = Callable[..., Any]
MASK_LEVEL = 0.5


def read_references(path: Path, box_px: int) -> Images:
    """Return the references in a file, shape (k, box_px, box_px), float32.

    Raises
    ------
    FormatError
        If the file is no stack that is read.
    DataError
        If they have another size than the particles, or one is constant or not finite.
    """
    stack = read_particles(path)
    h, w = stack.box_px
    if (h, w) != (box_px, box_px):
        raise DataError(path, f"holds references of {w} x {h} px for particles of {box_px} px; bring them to one size")
    references = stack.read(np.arange(len(stack)))
    with np.errstate(invalid="ignore"):
        spread = np.ptp(references.reshape(len(references), -1), axis=1)
    bad = np.flatnonzero(~(np.isfinite(spread) & (spread > 0)))
    if len(bad):
        raise DataError(path, f"reference {bad[0] + 1} has constant or non-finite pixels; leave it out")
    return references


def read_mask(path: str | None, radius_px: int, box_px: int) -> Mask:
    """Return the pixels of the particle: those above 0.5 in a file, or a disc where there is none.

    Raises
    ------
    DataError
        If the file holds more than one image, one of another size, or one that is all or nothing.
    """
    if path is None:
        return circle(radius_px, box_px)
    stack = read_particles(Path(path))
    if len(stack) != 1 or stack.box_px != (box_px, box_px):
        h, w = stack.box_px
        raise DataError(path, f"holds {len(stack)} image(s) of {w} x {h} px; a mask is one image of {box_px} px")
    mask: Mask = stack.read(np.zeros(1, dtype=np.int64))[0] > MASK_LEVEL
    if not 1 < mask.sum() < mask.size:
        raise DataError(path, f"has {mask.sum()} of {mask.size} pixels above {MASK_LEVEL}; it must mark the particle")
    return mask


def function_file(name: str | None) -> Path | None:
    """Return the file of a user's function ``[directory,module,function]``, or ``None`` for the default.

    Raises
    ------
    SettingError
        If it is no such list, or the file is not there.
    """
    if name is None or name == USER_FUNCTION:
        return None
    words = [word.strip().strip("'\"") for word in name.strip("[] ").split(",")]
    if not name.startswith("[") or len(words) != 3 or not all(words):
        raise SettingError(
            "--function",
            f"is {name!r}, which is not known; give {USER_FUNCTION}, or [directory,module,function] of your own",
        )
    path = Path(words[0]) / f"{words[1].removesuffix('.py')}.py"
    if not path.is_file():
        raise SettingError("--function", f"names {path}, which is not there; give [directory,module,function]")
    return path


def load_function(name: str | None) -> Update | None:
    """Return the function that a user wrote to make references of averages, checked at every call.

    Parameters
    ----------
    name : str or None
        ``[directory,module,function]``, or ``None`` for the default.

    Returns
    -------
    callable or None
        ``None`` for the default.

    Raises
    ------
    SettingError
        If it cannot be loaded, fails, or returns something else than an image and a shift.

    Notes
    -----
    The function is called as ``function(average, frequency, frc, mask, center)`` with arrays of shape (h, w), (r,),
    (r,), (h, w) and the number of the centring method, and returns ``(reference, (x, y))``: an image of shape (h, w),
    and the shift in pixels that was found and undone, as ``cryoisac.ops.center.centre`` does.
    """
    path = function_file(name)
    if path is None or name is None:
        return None
    wanted = name.strip("[] ").split(",")[2].strip().strip("'\"")
    try:
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        function: UserFunction = getattr(module, wanted)
    except Exception as error:  # anything may go wrong in a user's module
        raise SettingError("--function", f"{path} gives no {wanted}: {_one_line(error)}") from error

    def update(average: Images, frc: RingCorrelation, mask: Mask, method: int) -> Reference:
        try:
            copies = (average.copy(), frc.frequency.copy(), frc.correlation.copy(), mask.copy())
            image, centre_px = function(*copies, method)
            checked = _checked(image, average.shape)
            x, y = (float(value) for value in centre_px)
        except SettingError:
            raise
        except Exception as error:  # anything may go wrong in a user's function
            raise SettingError("--function", f"{wanted} of {path} failed: {_one_line(error)}") from error
        return Reference(image=checked, centre_px=(x, y), cutoff=float("nan"), falloff=float("nan"))

    return update


def _checked(image: Any, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    made = np.asarray(image, dtype=np.float32)
    if made.shape != shape or not np.isfinite(made).all() or np.ptp(made) == 0:
        raise SettingError(
            "--function", f"returned an image of shape {made.shape}, or a constant one; it must be like the average"
        )
    return made


def _one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())
