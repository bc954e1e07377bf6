"""The fused kernel where it is wanted, fits and works; a device on which it fails does without."""

import warnings

import torch

from cryoisac.engine.gpu.layout import Folded
from cryoisac.engine.gpu.memory import Place, is_lack_of_memory


def largest(
    place: Place, references: Folded, images: Folded, groups: int, angles: int, longest: int
) -> torch.Tensor | None:
    """Return the largest of correlations over angles, as ``fused.largest``, or nothing where a transform has to do it.

    Parameters
    ----------
    place : Place
        The device, which says whether the kernel is wanted, and remembers where it failed: it is not tried again.
    references, images, groups, angles, longest
        As for ``fused.largest``.

    Warns
    -----
    RuntimeWarning
        When the kernel cannot be compiled or started, once for a place.
    """
    if not place.fused or place.failures:
        return None
    counts = references.up[0].shape[1] // groups, images.up[0].shape[1] // groups
    try:
        from cryoisac.engine.gpu import fused  # needs Triton, and a C compiler to start what that compiles

        if not fused.fits(angles, *counts):
            return None
        return fused.largest(references, images, groups, angles, longest, place.fused)
    except Exception as error:  # whatever the compiler, the loader or the driver says
        if isinstance(error, RuntimeError) and is_lack_of_memory(error):
            raise
        why = (str(error).strip() or type(error).__name__).splitlines()[0]
        place.failures.append(why)
        warnings.warn(
            f"{place.device}: the fused kernel does not work here, transforms are made instead ({why})",
            RuntimeWarning,
            stacklevel=2,
        )
        return None
