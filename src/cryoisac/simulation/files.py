"""A simulation as files: images, the STAR file that a classification reads, and the truth that it must not."""

import csv
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cryoisac import __version__
from cryoisac.io.atomic import write_whole
from cryoisac.io.mrc_write import MrcStackWriter
from cryoisac.io.star import write_star
from cryoisac.model.poses import to_relion
from cryoisac.model.table import Metadata, Table
from cryoisac.settings import Simulation
from cryoisac.simulation.density import Density, procedural
from cryoisac.simulation.filament import filament
from cryoisac.simulation.images import ParticleImages
from cryoisac.simulation.particles import AMPLITUDE_CONTRAST, CS_MM, JUNK_KINDS, VOLTAGE_KV, Truth, draw
from cryoisac.streams import stream

STACK = "particles.mrcs"
SNR_MEANING = (
    "variance of the signal after the CTF inside the particle's disc, mean over images, divided by that of the noise"
)


@dataclass(frozen=True, kw_only=True)
class Simulated:
    """What ``simulate`` made.

    Parameters
    ----------
    particles : Path
        The STAR file.
    truth : Path
        The CSV file that says what each image shows.
    images, junk : int
        Number of images, and how many of them show no single particle.
    density : str
        Where the densities come from.
    radius_px : float
        Radius of the particle, of several molecules the largest, in the images.
    """

    particles: Path
    truth: Path
    images: int
    junk: int
    density: str
    radius_px: float


def simulate(
    out_dir: str | Path,
    settings: Simulation,
    *,
    densities: Sequence[Density] = (),
    on_progress: Callable[[int, int], None] | None = None,
    block_images: int = 128,
) -> Simulated:
    """Simulate particles and write ``particles.mrcs``, ``particles.star``, ``truth.csv`` and ``simulation.json``.

    Parameters
    ----------
    out_dir : str or Path
        Made if it is not there; files of an earlier simulation are replaced.
    settings : Simulation
        Same settings, same bytes.
    densities : sequence of Density
        The molecules, mixed in equal numbers; without any one is made up.
    on_progress : callable, optional
        Called with the images written so far and their number.
    block_images : int
        Images made at once; the bytes do not depend on it.

    Returns
    -------
    Simulated

    Raises
    ------
    SettingError
        If the particle does not fit the box.
    """
    molecules = tuple(densities) or (made_up(settings),)
    truth = draw(settings, molecules=len(molecules))
    images = ParticleImages(molecules, settings, truth)
    folder = Path(out_dir)
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / STACK, lambda path: _write_stack(path, images, block_images, on_progress))
    write_star(folder / "particles.star", star_metadata(truth, settings))
    write_whole(folder / "truth.csv", lambda path: write_truth(path, truth, with_ctf=settings.ctf))
    made = Simulated(
        particles=folder / "particles.star",
        truth=folder / "truth.csv",
        images=len(truth),
        junk=int((~truth.is_particle).sum()),
        density=", ".join(molecule.name for molecule in molecules),
        radius_px=images.radius_px,
    )
    write_whole(folder / "simulation.json", lambda path: _write_json(path, made, settings))
    return made


def made_up(settings: Simulation) -> Density:
    """Return the density that is simulated where none is given."""
    if settings.filament:
        return filament(
            box_px=settings.box,
            pixel_size_A=settings.pixel_size,
            max_shift_px=settings.max_shift,
            seed=settings.seed,
        )
    return procedural(box_px=settings.box, pixel_size_A=settings.pixel_size, seed=settings.seed)


def _write_stack(
    path: Path, images: ParticleImages, block_images: int, on_progress: Callable[[int, int], None] | None
) -> None:
    n, box_px = len(images.truth), images.settings.box
    done = 0
    with MrcStackWriter(path, (n, box_px, box_px), images.settings.pixel_size) as stack:
        for block in images.blocks(block_images):
            stack.write(done, block)
            done += len(block)
            if on_progress:
                on_progress(done, n)


def star_metadata(truth: Truth, settings: Simulation) -> Metadata:
    """Return the blocks of ``particles.star`` (RELION 3.1): what a microscope session would know, and no truth."""
    particles = (
        Table({})
        .with_column("rlnImageName", image_names(len(truth)))
        .with_column("rlnMicrographName", np.char.mod("micrographs/%05d.mrc", truth.micrograph + 1))
        .with_column("rlnCoordinateX", truth.coordinate_px[:, 0])
        .with_column("rlnCoordinateY", truth.coordinate_px[:, 1])
    )
    if settings.ctf:
        for name, values in zip(("U", "V", "Angle"), truth.ctf.to_relion(), strict=True):
            particles = particles.with_column(f"rlnDefocus{name}", values)
        if settings.phase_shift:
            particles = particles.with_column("rlnPhaseShift", truth.ctf.phase_shift_deg)
    if settings.filament:
        for name, values in filament_priors(truth, settings).items():
            particles = particles.with_column(name, values)
    optics: dict[str, str | float] = {
        "rlnOpticsGroupName": "opticsGroup1",
        "rlnOpticsGroup": 1,
        "rlnMicrographOriginalPixelSize": settings.pixel_size,
        "rlnVoltage": VOLTAGE_KV,
        "rlnSphericalAberration": CS_MM,
        "rlnAmplitudeContrast": AMPLITUDE_CONTRAST,
        "rlnImagePixelSize": settings.pixel_size,
        "rlnImageSize": settings.box,
        "rlnImageDimensionality": 2,
    }
    groups = Table({})
    for name, value in optics.items():
        groups = groups.with_column(name, np.array([value]))
    return Metadata(particles.with_column("rlnOpticsGroup", np.ones(len(truth), dtype=np.int64)), groups)


def filament_priors(truth: Truth, settings: Simulation) -> dict[str, npt.NDArray[np.float64]]:
    """Return what tracing filaments tells of each segment: RELION's columns, each of shape (n,).

    ``rlnAnglePsiPrior`` is the psi that lays the filament along x, in [-90, 90), with an error; which way the filament
    points is not known. A segment of junk is traced at random.
    """
    rng, n = stream(settings.seed, "psi priors"), len(truth)
    psi, _, _ = to_relion(truth.poses)
    traced = psi + settings.psi_prior_error * rng.standard_normal(n)
    prior = np.where(truth.is_particle, traced, rng.uniform(0, 180, n))
    return {
        "rlnAngleTiltPrior": np.full(n, 90.0),
        "rlnAnglePsiPrior": (prior + 90) % 180 - 90,
        "rlnAnglePsiFlipRatio": np.full(n, 0.5),
    }


def image_names(n: int) -> npt.NDArray[np.str_]:
    """Return RELION's names of the images of the stack, shape (n,)."""
    return np.char.mod(f"%06d@{STACK}", np.arange(1, n + 1))


def write_truth(path: Path, truth: Truth, *, with_ctf: bool) -> None:
    """Write ``truth.csv``, one row an image.

    Columns: ``index`` from 0; ``image``, its name; ``view`` and ``molecule`` from 0, -1 for junk; ``junk``, its kind
    or ``none``; the pose (``angle_deg, shift_x_px, shift_y_px, mirror``) that carries the image to the clean projection
    of its view; RELION's Euler angles of the image itself; defocus; contrast. What an image does not have is ``nan``,
    and its mirror -1.
    """
    rot, tilt, psi = truth.euler_deg()
    nan = np.full(len(truth), np.nan)
    defocus = truth.ctf.to_relion() if with_ctf else (nan, nan, nan)
    poses = {
        "angle_deg": truth.poses.angle_deg,
        "shift_x_px": truth.poses.shift_px[:, 0],
        "shift_y_px": truth.poses.shift_px[:, 1],
        "rot_deg": rot,
        "tilt_deg": tilt,
        "psi_deg": psi,
    }
    number = {name: np.char.mod("%.6f", np.where(truth.is_particle, values, np.nan)) for name, values in poses.items()}
    columns = {
        "index": np.arange(len(truth)),
        "image": image_names(len(truth)),
        "view": truth.view,
        "molecule": truth.molecule,
        "junk": np.array(JUNK_KINDS)[truth.junk],
        **{name: number[name] for name in ("angle_deg", "shift_x_px", "shift_y_px")},
        "mirror": np.where(truth.is_particle, truth.poses.mirror, -1),
        **{name: number[name] for name in ("rot_deg", "tilt_deg", "psi_deg")},
        **{
            name: np.char.mod("%.3f", values)
            for name, values in zip(("defocus_u_A", "defocus_v_A", "defocus_angle_deg"), defocus, strict=True)
        },
        "contrast": np.char.mod("%.6f", truth.contrast),
    }
    with path.open("w", newline="", encoding="ascii") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(zip(*(column.tolist() for column in columns.values()), strict=True))


def _write_json(path: Path, made: Simulated, settings: Simulation) -> None:
    content = {
        "program": f"cryoisac {__version__}",
        "density": made.density,
        "images": made.images,
        "junk": made.junk,
        "radius_px": round(made.radius_px, 3),
        "snr_is": SNR_MEANING,
        "settings": asdict(settings),
    }
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
