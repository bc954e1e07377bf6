"""cryoisac: sort cryo-EM particle images into stable, homogeneous classes.

What is listed in ``__all__`` is imported when it is first asked for, so that ``import cryoisac`` is quick.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cryoisac.api.aligned import Alignment, align_multireference, align_reference_free
    from cryoisac.api.classes import Classes, isac
    from cryoisac.api.estimator import ISAC
    from cryoisac.api.files import write_particles
    from cryoisac.api.moving import class_averages, class_sums, frc, pixel_error, transform
    from cryoisac.api.simulated import Simulated, score, simulate
    from cryoisac.errors import Cancelled, CryoisacError
    from cryoisac.io.registry import read_particles
    from cryoisac.model.ctf import CtfParameters
    from cryoisac.model.particles import Particles
    from cryoisac.model.poses import Poses

__all__ = [  # noqa: RUF022
    "Alignment",
    "Cancelled",
    "Classes",
    "CryoisacError",
    "CtfParameters",
    "ISAC",
    "Particles",
    "Poses",
    "Simulated",
    "__version__",
    "align_multireference",
    "align_reference_free",
    "class_averages",
    "class_sums",
    "frc",
    "isac",
    "pixel_error",
    "read_particles",
    "score",
    "simulate",
    "transform",
    "write_particles",
]

__version__ = "0.1.0"

_PLACES = {
    "cryoisac.api.aligned": ("Alignment", "align_multireference", "align_reference_free"),
    "cryoisac.api.classes": ("Classes", "isac"),
    "cryoisac.api.estimator": ("ISAC",),
    "cryoisac.api.files": ("write_particles",),
    "cryoisac.api.moving": ("class_averages", "class_sums", "frc", "pixel_error", "transform"),
    "cryoisac.api.simulated": ("Simulated", "score", "simulate"),
    "cryoisac.errors": ("Cancelled", "CryoisacError"),
    "cryoisac.io.registry": ("read_particles",),
    "cryoisac.model.ctf": ("CtfParameters",),
    "cryoisac.model.particles": ("Particles",),
    "cryoisac.model.poses": ("Poses",),
}


def __getattr__(name: str) -> Any:
    for module, names in _PLACES.items():
        if name in names:
            return getattr(importlib.import_module(module), name)
    raise AttributeError(f"module 'cryoisac' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
