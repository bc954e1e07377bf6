"""RELION particle tables, 3.0 to 5: what their columns mean; ``star_text`` and ``star_write`` know their syntax."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from cryoisac.errors import FormatError
from cryoisac.io.image_names import locate, root_of
from cryoisac.io.stacks import ManyStacks
from cryoisac.io.star_text import read_tables
from cryoisac.io.star_write import write_tables
from cryoisac.model.ctf import CtfParameters
from cryoisac.model.particles import Particles
from cryoisac.model.poses import Poses, from_relion
from cryoisac.model.table import Metadata, Table

Float = npt.NDArray[np.float64]

SUFFIXES: tuple[str, ...] = (".star",)
CTF_COLUMNS = (
    "rlnDefocusU",
    "rlnDefocusV",
    "rlnDefocusAngle",
    "rlnVoltage",
    "rlnSphericalAberration",
    "rlnAmplitudeContrast",
)
REFERENCE = "rlnReferenceImage"
RELION_3_1 = 30001
ORIGINS_A = ("rlnOriginXAngst", "rlnOriginYAngst")
ORIGINS_PX = ("rlnOriginX", "rlnOriginY")
ROOT_COMMENT = "cryoisac: images are relative to "
NOT_PARTICLES = {
    "optimiser_general": "RELION's optimiser file; give the run_itNNN_data.star beside it",
    "model_general": "RELION's model file; give the run_itNNN_data.star beside it",
    "sampling_general": "RELION's sampling file; give the run_itNNN_data.star beside it",
    "pipeline_general": "RELION's pipeline file; give a job's particles.star",
    "job": "the settings of a RELION job; give the job's particles.star",
    "micrographs": "a table of micrographs; extract particles and give particles.star",
    "movies": "a table of movies; extract particles and give particles.star",
    "fsc": "RELION's post-processing file; give a particles.star",
}


def sniff(head: bytes) -> bool:
    """Return whether the first line of text that is no comment begins a ``data_`` block."""
    lines = (line.strip() for line in head.splitlines())
    first = next((line for line in lines if line and not line.startswith(b"#")), b"")
    return first.startswith(b"data_") and b"\0" not in head


def read_star(path: Path) -> Metadata:
    """Return the blocks of a particle table.

    Raises
    ------
    FormatError
        If the text is no STAR file, or no block names particle images.
    """
    tables = read_tables(path)
    block = _particle_block(path, tables)
    particles = tables.pop(block)
    optics = tables.pop("optics", None)
    return Metadata(particles=particles, optics=optics, others=tables, particles_block=block)


def write_star(path: Path, metadata: Metadata, *, image_root: Path | None = None) -> None:
    """Write a particle table that RELION reads, every cell with its own text.

    Parameters
    ----------
    path : Path
        The file to write.
    metadata : Metadata
        The blocks.
    image_root : Path, optional
        Directory that image names are relative to, put down in a comment so that the table is read from anywhere.
    """
    optics = {} if metadata.optics is None else {"optics": metadata.optics}
    write_tables(
        path,
        {**optics, metadata.particles_block: metadata.particles, **metadata.others},
        comments=() if image_root is None else (f"{ROOT_COMMENT}{image_root}",),
        version=RELION_3_1 if optics else None,
    )


def read(path: Path) -> Particles:
    """Return the particles that a table names.

    Raises
    ------
    FormatError
        If the text is no particle table, a number is none, or an image file is missing.

    Notes
    -----
    Image names are relative to the current directory, as in RELION; where a file is not there, to the directory of
    the table and each directory above it. Two different files of one name are refused. A directory that a comment at
    the top of the table names comes before all.
    """
    return _particles(path, read_star(path))


def read_averages(path: Path) -> Particles:
    """Return the class averages that a table names, in its column rlnReferenceImage, or the images of a particle table.

    Raises
    ------
    FormatError
        As ``read``.
    """
    tables = read_tables(path)
    named = [name for name, table in tables.items() if REFERENCE in table]
    if len(named) != 1:
        return read(path)
    table = tables[named[0]]
    images = Table({**table.columns, "rlnImageName": table.columns[REFERENCE]}, table.is_loop)
    return _particles(path, Metadata(particles=images, particles_block=named[0]))


def _particles(path: Path, metadata: Metadata) -> Particles:
    names = metadata.particles.columns["rlnImageName"]
    if not len(names):
        raise FormatError(path, "names no particles")
    fields = _Fields(path, metadata)
    missing = tuple(name for name in CTF_COLUMNS if name not in fields)
    places = locate(path, names, _image_root(path))
    return Particles(
        path=path,
        source=ManyStacks(places),
        stacks=places.stacks,
        image_root=root_of(places, names),
        name_of=lambda i: bytes(names[i]).decode(errors="replace"),
        pixel_size_A=_pixel_size_A(fields),
        ctf=None if missing else _ctf(fields),
        metadata=metadata,
        ctf_missing=missing,
    )


def poses_of(path: Path, metadata: Metadata) -> Poses:
    """Return the pose that a table gives each particle, in pixels.

    Parameters
    ----------
    path : Path
        The table, for messages.
    metadata : Metadata
        Its blocks. Origins are in Å (RELION 3.1 and later) or pixels (3.0); without ``rlnIsFlip`` nothing is mirrored.

    Returns
    -------
    Poses
        One for each row.

    Raises
    ------
    FormatError
        If a column is missing or holds no number, or origins are in Å and no pixel size is given.
    """
    fields = _Fields(path, metadata)
    x, y = ORIGINS_A if ORIGINS_A[0] in fields else ORIGINS_PX
    missing = [name for name in ("rlnAnglePsi", x, y) if name not in fields]
    if missing:
        raise FormatError(path, f"gives no poses: it has no {', '.join(missing)}")
    origin = np.column_stack((fields[x], fields[y]))
    if x == ORIGINS_A[0]:
        sizes = _pixel_size_A(fields)
        if sizes is None:
            raise FormatError(path, "has origins in Å and no rlnImagePixelSize, without which they have no pixels")
        origin /= sizes[:, None]
    return from_relion(fields["rlnAnglePsi"], origin, fields.or_zero("rlnIsFlip") == 1)


class _Fields:
    """Numbers of each particle by column name, from its optics group or from its own row."""

    def __init__(self, path: Path, metadata: Metadata) -> None:
        self.path, self.particles, self.optics = path, metadata.particles, metadata.optics
        self.group = None if self.optics is None else self._groups(self.optics)

    def __contains__(self, name: str) -> bool:
        return name in self.particles or (self.optics is not None and name in self.optics)

    def __getitem__(self, name: str) -> Float:
        """Return a column, shape (n,), that exists."""
        if self.group is not None and self.optics is not None and name in self.optics:
            return self._numbers(self.optics, name, "optics")[self.group]
        return self._numbers(self.particles, name, "particles")

    def or_zero(self, name: str) -> Float:
        """Return a column, or zeros where there is none."""
        if name not in self:
            return np.zeros(len(self.particles))
        return self[name]

    def positive(self, name: str) -> Float:
        """Return a column of numbers above zero."""
        values = self[name]
        bad = np.flatnonzero(values <= 0)
        if bad.size:
            raise FormatError(
                self.path, f"particle {bad[0] + 1} has {name} {values[bad[0]]:g}, not above 0; correct the table"
            )
        return values

    def _groups(self, optics: Table) -> npt.NDArray[np.int64]:
        """Return the row of the optics table that each particle belongs to, shape (n,)."""
        if "rlnOpticsGroup" not in self.particles and len(optics) == 1:
            return np.zeros(len(self.particles), dtype=np.int64)
        for table, block in ((optics, "optics"), (self.particles, "particles")):
            if "rlnOpticsGroup" not in table:
                raise FormatError(self.path, f"has no rlnOpticsGroup in its {block} table")
        known = self._numbers(optics, "rlnOpticsGroup", "optics")
        own = self._numbers(self.particles, "rlnOpticsGroup", "particles")
        order = np.argsort(known, kind="stable")
        if not len(known) or (np.diff(known[order]) == 0).any():
            raise FormatError(self.path, "lists an optics group twice, or none")
        row: npt.NDArray[np.int64] = order[np.searchsorted(known[order], own).clip(max=len(known) - 1)]
        lost = np.flatnonzero(known[row] != own)
        if lost.size:
            raise FormatError(self.path, f"row {lost[0] + 1}: optics group {own[lost[0]]:g} is not in the optics table")
        return row

    def _numbers(self, table: Table, name: str, block: str) -> Float:
        try:
            values = table.floats(name)
        except ValueError:
            values = np.array([_number(cell) for cell in table.columns[name].tolist()])
        bad = np.flatnonzero(~np.isfinite(values))
        if bad.size:
            text = bytes(table.columns[name][bad[0]]).decode(errors="replace")
            raise FormatError(self.path, f"row {bad[0] + 1} of the {block} table: {name} is '{text}', not a number")
        return values


def _number(cell: bytes) -> float:
    try:
        return float(cell)
    except ValueError:
        return np.nan


def _particle_block(path: Path, tables: dict[str, Table]) -> str:
    """Return the name of the block that names particle images."""
    named = [name for name, table in tables.items() if "rlnImageName" in table]
    for name in ("particles", "images", ""):
        if name in named:
            return name
    if len(named) == 1:
        return named[0]
    if named:
        raise FormatError(path, f"has images in {len(named)} blocks ({', '.join(named)}); leave one")
    for name, what in NOT_PARTICLES.items():
        if name in tables:
            raise FormatError(path, f"is {what}")
    blocks = ", ".join(f"data_{name}" for name in tables) or "none"
    raise FormatError(path, f"names no particle images: no block has a column rlnImageName (blocks: {blocks})")


def _image_root(path: Path) -> Path | None:
    """Return the directory that a comment at the top of the table names; a relative one starts at the table's own."""
    with path.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if not line.startswith("#"):
                return None
            if line[1:].strip().startswith(ROOT_COMMENT):
                return path.parent / line[1:].strip().removeprefix(ROOT_COMMENT)
    return None


def _pixel_size_A(fields: _Fields) -> Float | None:
    """Return the pixel size of each image in Å; RELION 3.0 gives 1e4 times detector pixel in µm / magnification."""
    for name in ("rlnImagePixelSize", "rlnPixelSize"):
        if name in fields:
            return fields.positive(name)
    if "rlnDetectorPixelSize" in fields and "rlnMagnification" in fields:
        return 1e4 * fields.positive("rlnDetectorPixelSize") / fields.positive("rlnMagnification")
    return None


def _ctf(fields: _Fields) -> CtfParameters:
    u, v, angle, voltage_kV, cs_mm, contrast = (fields[name] for name in CTF_COLUMNS)
    return CtfParameters.from_relion(
        u,
        v,
        angle,
        voltage_kV=voltage_kV,
        cs_mm=cs_mm,
        amplitude_contrast=contrast,
        phase_shift_deg=fields.or_zero("rlnPhaseShift"),
    )
