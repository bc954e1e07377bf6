"""What an alignment leaves for others: averages, tables of poses and classes, the originals' text files."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.fft

from cryoisac.engine.contract import Images
from cryoisac.io.atomic import write_whole
from cryoisac.io.eman_hdf import write_hdf_stack
from cryoisac.io.mrc_write import write_mrc_stack
from cryoisac.io.text_tables import write_table
from cryoisac.model.ledger import MEMBER, Ledger
from cryoisac.model.particles import Particles
from cryoisac.model.poses import Poses
from cryoisac.ops.spectra import RingCorrelation
from cryoisac.ops.warp import rotate_shift
from cryoisac.products.averages import write_average_table, write_averages
from cryoisac.products.tables import write_classified, write_ledger, write_original_tables

Float = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

RESOLVED = 0.5  # correlation of halves that were aligned to one reference, and share its noise
BLOCK = 64


def resolution_frequency(frc: RingCorrelation, *, level: float = RESOLVED) -> Float:
    """Return the frequency, in cycles per pixel, where each ring correlation first falls below a level; 1/2 at most."""
    below = frc.correlation[..., 1:] < level
    first = np.where(below.any(axis=-1), below.argmax(axis=-1) + 1, len(frc.frequency) - 1)
    found: Float = frc.frequency[first]
    return found


def mra_ledger(labels: Indices, poses: Poses, score: npt.NDArray[np.float32], rival: Indices) -> Ledger:
    """Return the ledger of images that all are in a class.

    Parameters
    ----------
    labels : ndarray, shape (n,)
        Class of each image.
    poses : Poses
        Its pose on that class's average.
    score : ndarray, shape (n,)
        Its correlation with its reference.
    rival : ndarray, shape (n,)
        The class that fits it second best.
    """
    n = len(labels)
    return Ledger.empty(n).entered(
        np.arange(n), poses=poses, label=labels, reason=MEMBER, generation=1, score=score, nearest=labels, rival=rival
    )


def write_classes(
    path: Path, particles: Particles, ledger: Ledger, averages: Images, frc: RingCorrelation, radius_px: int
) -> None:
    """Write the classes of a multireference alignment: averages, their table, members, ledger, and text tables.

    Parameters
    ----------
    path : Path
        Directory.
    particles : Particles
        The input.
    ledger : Ledger
        One entry an input image.
    averages : ndarray, shape (k, h, w), float32
        Class averages.
    frc : RingCorrelation
        Agreement of the halves of each.
    radius_px : int
        Particle radius.
    """
    pixel_size_A = _pixel_size_A(particles)
    sizes = np.bincount(ledger.label[ledger.label >= 0], minlength=len(averages))
    write_averages(path / "class_averages", averages, ledger, pixel_size_A, np.arange(len(averages)))
    resolution_A = (pixel_size_A or 1.0) / resolution_frequency(frc)
    write_average_table(
        path / "class_averages.star", "class_averages.mrcs", sizes, {"rlnEstimatedResolution": resolution_A}
    )
    write_classified(path / "classified.star", particles, ledger, ledger.poses)
    write_ledger(path / "ledger.csv", particles, ledger)
    write_original_tables(path, ledger, np.zeros((len(ledger), 2)), 1.0, radius_px)
    placed = np.where(ledger.label >= 0, ledger.label, -1)
    columns = [np.arange(len(ledger)), *_pose_columns(ledger.poses), placed]
    write_whole(path / "mref_parameters.txt", partial(_write_rows, columns))


def write_aligned(path: Path, particles: Particles, ledger: Ledger, average: Images, reference: Images) -> None:
    """Write a reference-free alignment: its average, its last reference, the poses.

    Parameters
    ----------
    path : Path
        Directory.
    particles : Particles
        The input.
    ledger : Ledger
        One entry an input image; those that were aligned are in one class.
    average, reference : ndarray, shape (h, w), float32
        The last average, and the reference made of it.
    """
    pixel_size_A = _pixel_size_A(particles)
    write_whole(path / "average.mrcs", lambda file: write_mrc_stack(file, average[None], pixel_size_A))
    write_whole(path / "aqfinal.hdf", lambda file: write_hdf_stack(file, reference[None], pixel_size_A))
    write_classified(path / "aligned.star", particles, ledger, ledger.poses)
    write_whole(path / "initial2Dparams.txt", partial(_write_rows, _pose_columns(ledger.poses)))


def write_references(path: Path, references: Images, particles: Particles) -> None:
    """Write the last references as an HDF stack."""
    write_whole(path, lambda file: write_hdf_stack(file, references, _pixel_size_A(particles)))


def write_fourier_variance(path: Path, images: Images, poses: Poses, pixel_size_A: float | None) -> None:
    """Write the variance over aligned images of each Fourier coefficient, and its mean over rings.

    Parameters
    ----------
    path : Path
        Directory; ``fourier_variance.hdf`` holds one image of the side of the images, zero frequency at its centre,
        and ``fourier_variance.txt`` two columns, frequency in cycles per pixel and mean variance.
    images : ndarray, shape (n, h, h)
        Images as they were aligned.
    poses : Poses
        Their poses.
    pixel_size_A : float or None
        Pixel size.
    """
    variance, rings = fourier_variance(images, poses)
    centred = scipy.fft.fftshift(variance).astype(np.float32)
    write_whole(path / "fourier_variance.hdf", lambda file: write_hdf_stack(file, centred[None], pixel_size_A))
    frequency = np.arange(len(rings)) / images.shape[-1]
    write_whole(path / "fourier_variance.txt", partial(_write_rows, [frequency, rings]))


def fourier_variance(images: Images, poses: Poses) -> tuple[Float, Float]:
    """Return the sample variance of each Fourier coefficient of aligned images, (h, h), and its mean over rings.

    Parameters
    ----------
    images : ndarray, shape (n, h, h)
        Images.
    poses : Poses
        Their poses.
    """
    n, box, _ = images.shape
    total, squares = np.zeros((box, box), dtype=np.complex128), np.zeros((box, box))
    for first in range(0, n, BLOCK):
        part = slice(first, first + BLOCK)
        spectra = scipy.fft.fft2(rotate_shift(images[part], poses[part]).astype(np.float64))
        total += spectra.sum(axis=0)
        squares += (np.abs(spectra) ** 2).sum(axis=0)
    variance = (squares - np.abs(total) ** 2 / n) / max(n - 1, 1)
    f = np.abs(scipy.fft.fftfreq(box))
    ring = np.rint(np.hypot(f[:, None], f[None, :]) * box).astype(np.int64)
    sums = np.bincount(ring.ravel(), weights=variance.ravel())
    return variance, (sums / np.bincount(ring.ravel()))[: box // 2 + 1]


def frc_columns(frc: RingCorrelation) -> list[list[float]]:
    """Return the ring correlations of classes as ``run.json`` holds them, rounded."""
    return [[round(float(value), 4) for value in curve[1:]] for curve in np.atleast_2d(frc.correlation)]


def _pose_columns(poses: Poses) -> list[npt.NDArray[Any]]:
    return [poses.angle_deg, poses.shift_px[:, 0], poses.shift_px[:, 1], poses.mirror.astype(np.int64)]


def _pixel_size_A(particles: Particles) -> float | None:
    return None if particles.pixel_size_A is None else float(particles.pixel_size_A[0])


def _write_rows(columns: list[npt.NDArray[Any]], path: Path) -> None:
    write_table(path, columns)
