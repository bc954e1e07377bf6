"""The tables of a run: RELION's STAR files, the ledger, the originals' text tables."""

import csv
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cryoisac.io.atomic import write_whole
from cryoisac.io.star import write_star
from cryoisac.io.text_tables import write_table
from cryoisac.model.ledger import Ledger
from cryoisac.model.particles import Particles
from cryoisac.model.poses import Poses, to_relion
from cryoisac.model.table import Metadata, Table

Indices = npt.NDArray[np.int64]
ASSUMED_PIXEL_SIZE_A = 1.0
LEDGER_COLUMNS = (
    "index",
    "image",
    "class",
    "reason",
    "generation",
    "pixel_error",
    "score",
    "nearest",
    "rival",
    "membership_stability",
)


def total_poses(initial_shift_px: npt.NDArray[np.float64], working: Poses, ratio: float) -> Poses:
    """Return poses in input pixels: first the pre-alignment shift, then the pose found on the working image.

    Parameters
    ----------
    initial_shift_px : ndarray, shape (n, 2)
        Shifts (x, y) of pre-alignment, in input pixels.
    working : Poses
        Poses in working pixels.
    ratio : float
        Working pixels per input pixel.

    Returns
    -------
    Poses
        Poses of the input images on class averages of the input pixel size.
    """
    n = len(working)
    first = Poses(angle_deg=np.zeros(n), shift_px=initial_shift_px, mirror=np.zeros(n, dtype=bool))
    return first.then(working.scaled(1.0 / ratio))


def write_classified(path: Path, particles: Particles, ledger: Ledger, poses: Poses) -> None:
    """Write the members as a RELION STAR file: their input columns, their class and their pose.

    Parameters
    ----------
    path : Path
        File to write.
    particles : Particles
        The input.
    ledger : Ledger
        One entry an input image.
    poses : Poses
        Pose of each input image on its class average, in input pixels.

    Notes
    -----
    RELION lays a member on its class average by shifting it by its origin, then rotating by psi; where
    ``rlnIsFlip`` is 1, x is reversed afterwards.
    """
    members = np.flatnonzero(ledger.label >= 0)
    write_members(path, particles, members, ledger.label[members] + 1, poses[members])


def write_members(
    path: Path,
    particles: Particles,
    members: Indices,
    number: Indices,
    poses: Poses,
    *,
    further: Mapping[str, npt.NDArray[Any]] | None = None,
) -> None:
    """Write some particles as a RELION STAR file: their input columns, their class and their pose.

    Parameters
    ----------
    path : Path
        File to write.
    particles : Particles
        The input.
    members : ndarray, shape (m,), int64
        Which of them.
    number : ndarray, shape (m,), int64
        Class of each, from 1.
    poses : Poses
        Pose of each on its class average, in input pixels.
    further : mapping of str to ndarray, shape (m,), optional
        Columns to set besides.
    """
    metadata = (particles.metadata or bare_metadata(particles)).take(members)
    psi, origin, flip = to_relion(poses)
    sizes = particles.pixel_size_A
    pixel_size = np.full(len(members), ASSUMED_PIXEL_SIZE_A) if sizes is None else sizes[members]
    columns: dict[str, npt.NDArray[Any]] = {
        "rlnClassNumber": number,
        "rlnAnglePsi": psi,
        "rlnOriginXAngst": origin[:, 0] * pixel_size,
        "rlnOriginYAngst": origin[:, 1] * pixel_size,
        "rlnIsFlip": flip.astype(np.int64),
    }
    if metadata.optics is None or "rlnOriginX" in metadata.particles:
        columns |= {"rlnOriginX": origin[:, 0], "rlnOriginY": origin[:, 1]}
    table = metadata.particles
    for name, cells in (columns | dict(further or {})).items():
        table = table.with_column(name, cells)
    whole = Metadata(table, metadata.optics, metadata.others, metadata.particles_block)
    write_whole(path, lambda temporary: write_star(temporary, whole, image_root=particles.image_root))


def bare_metadata(particles: Particles) -> Metadata:
    """Return STAR blocks for particles that came without: image names and one optics group."""
    n, box = len(particles), particles.box_px[0]
    sizes = particles.pixel_size_A
    pixel_size = ASSUMED_PIXEL_SIZE_A if sizes is None or not n else float(sizes[0])
    names = np.array([particles.name_of(i) for i in range(n)], dtype=np.str_)
    images = Table({}).with_column("rlnImageName", names).with_column("rlnOpticsGroup", np.ones(n, dtype=np.int64))
    optics = Table({})
    for name, cell in {
        "rlnOpticsGroup": np.array([1]),
        "rlnOpticsGroupName": np.array(["opticsGroup1"]),
        "rlnImagePixelSize": np.array([pixel_size]),
        "rlnImageSize": np.array([box]),
        "rlnImageDimensionality": np.array([2]),
    }.items():
        optics = optics.with_column(name, cell)
    if particles.ctf is not None and n:
        u, v, angle = particles.ctf.to_relion()
        for name, cells in (("rlnDefocusU", u), ("rlnDefocusV", v), ("rlnDefocusAngle", angle)):
            images = images.with_column(name, cells)
        for name, values in (
            ("rlnVoltage", particles.ctf.voltage_kV),
            ("rlnSphericalAberration", particles.ctf.cs_mm),
            ("rlnAmplitudeContrast", particles.ctf.amplitude_contrast),
        ):
            optics = optics.with_column(name, values[:1])
    return Metadata(images, optics)


def write_ledger(path: Path, particles: Particles, ledger: Ledger) -> None:
    """Write what became of every input image, one row each: class from 1, or -1 and the reason.

    Parameters
    ----------
    path : Path
        CSV file with columns index, image, class, reason, generation, pixel_error (working px), score, nearest and
        rival (classes from 1, or -1) and membership_stability (0 to 1, or nan).
    particles : Particles
        The input.
    ledger : Ledger
        One entry an input image.
    """
    ledger.counts()
    number = np.where(ledger.label >= 0, ledger.label + 1, -1).tolist()

    def write(temporary: Path) -> None:
        with temporary.open("w", newline="") as file:
            rows = csv.writer(file, lineterminator="\n")
            rows.writerow(LEDGER_COLUMNS)
            rows.writerows(
                (
                    i,
                    particles.name_of(i),
                    number[i],
                    reason,
                    generation,
                    f"{error:.6f}",
                    f"{score:.6f}",
                    nearest,
                    rival,
                    f"{stay:.4f}",
                )
                for i, (reason, generation, error, score, nearest, rival, stay) in enumerate(
                    zip(
                        ledger.reason.tolist(),
                        ledger.generation.tolist(),
                        ledger.pixel_error_px.tolist(),
                        ledger.score.tolist(),
                        np.where(ledger.nearest >= 0, ledger.nearest + 1, -1).tolist(),
                        np.where(ledger.rival >= 0, ledger.rival + 1, -1).tolist(),
                        ledger.fellowship.tolist(),
                        strict=True,
                    )
                )
            )

    write_whole(path, write)


def _write_rows(columns: list[npt.NDArray[Any]], path: Path) -> None:
    write_table(path, columns)


def write_original_tables(
    directory: Path, ledger: Ledger, initial_shift_px: npt.NDArray[np.float64], ratio: float, radius_px: int
) -> None:
    """Write the originals' text tables, which their next programs read.

    Parameters
    ----------
    directory : Path
        The run directory.
    ledger : Ledger
        One entry an input image.
    initial_shift_px : ndarray, shape (n, 2)
        Shifts of pre-alignment, in input pixels.
    ratio : float
        Working pixels per input pixel.
    radius_px : int
        Particle radius in input pixels.
    """
    n, placed = len(ledger), ledger.label >= 0
    poses, zero = ledger.poses, np.zeros(n)
    found = [poses.angle_deg, poses.shift_px[:, 0], poses.shift_px[:, 1], poses.mirror.astype(np.int64)]
    rows = [np.where(placed, column, nothing) for column, nothing in zip(found, (0.0, 0.0, 0.0, -1), strict=True)]
    initial = [zero, initial_shift_px[:, 0], initial_shift_px[:, 1], zero.astype(np.int64)]
    (directory / "2dalignment").mkdir(exist_ok=True)
    for name, columns in (
        ("all_parameters.txt", rows),
        ("processed_images.txt", [np.flatnonzero(placed)]),
        ("not_processed_images.txt", [np.flatnonzero(~placed)]),
        ("2dalignment/initial2Dparams.txt", initial),
    ):
        write_whole(directory / name, partial(_write_rows, columns))
    text = (
        "\nThe images were resampled for the classification: class averages and all_parameters.txt are in\n"
        "working pixels. One input pixel is this many working pixels (next line but one), and the particle\n"
        "radius in input pixels is the line after it; pixel size of the averages = input / ratio.\n"
        f"--------\n{ratio:.5f}\n{radius_px:.5f}\n--------\n"
    )
    write_whole(directory / "README_shrink_ratio.txt", lambda temporary: temporary.write_text(text))
