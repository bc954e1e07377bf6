"""The files that an alignment leaves at each iteration, named and written as the original programs do."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cryoisac.align import rfa
from cryoisac.cluster import mra
from cryoisac.engine.contract import Images
from cryoisac.io.atomic import write_whole
from cryoisac.io.eman_hdf import write_hdf_stack
from cryoisac.ops.spectra import ring_counts
from cryoisac.run.aligning import AlignmentRun

Float = npt.NDArray[np.float64]


def write_mra_iteration(run: AlignmentRun, state: mra.State) -> None:
    """Write ``aqm<iteration>.hdf``, references with their members, and ``drm<iteration><class>.txt``, their FRCs."""
    number = len(state.passes) - 1
    attributes: list[dict[str, Any]] = []
    for label in range(run.k):
        members = run.usable[np.flatnonzero(state.labels == label)].astype(np.int32)
        attributes.append({"ave_n": len(members)} | ({"members": members} if len(members) else {}))
    write_stack(run.directory.path / f"aqm{number:03d}.hdf", state.references, run, attributes)
    for label in range(run.k):
        write_frc(run.directory.path / f"drm{number:03d}{label:04d}.txt", state.correlation[label], run.box_px)


def write_rfa_iteration(run: AlignmentRun, state: rfa.State) -> None:
    """Write ``aqc.hdf`` and ``aqf.hdf``, averages and references so far, and the FRC, ``resolution<iteration>``."""
    write_stack(run.directory.path / "aqc.hdf", state.averages, run)
    write_stack(run.directory.path / "aqf.hdf", state.references, run)
    write_frc(run.directory.path / f"resolution{len(state.passes):03d}", state.correlation, run.box_px)


def write_stack(path: Path, images: Images, run: AlignmentRun, attributes: list[dict[str, Any]] | None = None) -> None:
    """Write an HDF stack with the pixel size of the input."""
    sizes = run.particles.pixel_size_A
    pixel_size_A = None if sizes is None else float(sizes[0])
    write_whole(path, lambda temporary: write_hdf_stack(temporary, images, pixel_size_A, attributes or ()))


def write_frc(path: Path, correlation: Float, box_px: int) -> None:
    """Write a Fourier ring correlation: frequency in cycles per pixel, value, coefficients, each ``"  %12f"``."""
    rows = np.column_stack((np.arange(len(correlation)) / box_px, correlation, ring_counts(box_px)))
    write_whole(path, partial(np.savetxt, X=rows, fmt="  %12f", delimiter=""))
