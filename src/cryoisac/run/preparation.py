"""What the images of a run are prepared by: its settings, and what is measured on all images first."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from cryoisac.ops.spectra import amplitude_profile, whitening_table
from cryoisac.run import checkpoint
from cryoisac.run.checks import flips_phases
from cryoisac.run.directory import RunDirectory
from cryoisac.run.filaments import filaments_of
from cryoisac.run.opening import Run
from cryoisac.run.working_stack import Preparation, blocks, over


@dataclass(frozen=True, eq=False)
class Whitening:
    """How images of a phase plate are whitened.

    Parameters
    ----------
    table : ndarray, shape (box_px // 2 + 1,)
        Factor of rings 0, 1, ... in Fourier space.
    """

    table: npt.NDArray[np.float64]


def preparation(run: Run) -> Preparation:
    """Return what the images of a run are prepared by; with ``vpp`` their spectrum is measured once, and saved."""
    s = run.plan.settings
    job = Preparation(
        particles=run.particles,
        index=run.usable,
        geometry=run.plan.geometry,
        ctf=flips_phases(run.particles, s),
        rules=s.rules,
        threads=run.threads,
        progress=run.progress,
        filaments=filaments_of(run.particles, s),
    )
    return replace(job, whitening=_whitening(run.directory, job).table) if s.vpp else job


def whitening_of(directory: RunDirectory) -> Whitening | None:
    """Return by what the images of a run were whitened, or ``None`` where they were not."""
    return checkpoint.load(directory.whitening, Whitening)


def _whitening(directory: RunDirectory, job: Preparation) -> Whitening:
    known = whitening_of(directory)
    if known is None:
        known = Whitening(whitening_table(summed_amplitude(job), len(job.index)))
        checkpoint.save(directory.whitening, known)
    return known


def summed_amplitude(job: Preparation) -> npt.NDArray[np.float64]:
    """Return the square roots of the rotational power of all images, summed block by block in their order.

    Parameters
    ----------
    job : Preparation
        The images.

    Returns
    -------
    ndarray, shape (box_px // 2 + 1,)
        As ``ops.spectra.amplitude_profile``; the number of threads does not change it.
    """
    box = job.geometry.box_px
    job.progress.stage("Measuring the spectrum", len(job.index), "images")
    total = np.zeros(box // 2 + 1)
    parts = over(
        blocks(job.index, box), lambda rows: amplitude_profile(job.particles.read(rows)), job.threads, job.progress
    )
    for _, part in parts:
        total += part
    return total
