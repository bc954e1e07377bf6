"""The cases in which classes are judged: what is simulated, and the options a user would give for it."""

from dataclasses import dataclass, field
from pathlib import Path

RIBOSOME, GROEL, SPIKE = ("--map", "70S.mrc"), ("--pdb", "1MNF.pdb.gz"), ("--pdb", "spike.pdb.gz")
MAP_SIZE = ("--map-pixel-size", "5")
LIKE_DATA = ("--box", "90", "--pixel-size", "5", "--max-shift", "3", "--ctf")


@dataclass(frozen=True, kw_only=True)
class Case:
    """What is simulated for one case, or which real particles are read, and how classes are made of it.

    Parameters
    ----------
    title : str
        Heading and first words of its section.
    simulate : tuple of str
        Options of ``cryoisac simulate`` but for the seed; empty for real particles.
    isac : tuple of str
        Options of ``cryoisac isac``, the same for all methods.
    columns : tuple of str
        What its table shows besides what all tables show; names in ``quality_tables.COLUMNS``.
    densities : tuple of str
        Options that name files in the folder of maps.
    particles : str
        Real particles in the folder of data, for cases without truth.
    radius_px : float, optional
        Radius of the disc in which halves of classes of real particles are compared.
    """

    title: str
    simulate: tuple[str, ...] = ()
    isac: tuple[str, ...]
    columns: tuple[str, ...]
    densities: tuple[str, ...] = field(default=(*RIBOSOME, *MAP_SIZE))
    particles: str = ""
    radius_px: float | None = None

    def simulation(self, maps: Path) -> list[str]:
        """Return the options of ``cryoisac simulate`` with the files of ``maps``."""
        pairs = zip(self.densities[::2], self.densities[1::2], strict=True)
        words = [(flag, str(maps / value) if flag in ("--map", "--pdb") else value) for flag, value in pairs]
        return [*self.simulate, *(word for pair in words for word in pair)]


VIEWS = ("views", "ari", "ari_all", "purity", "pixel", "mirror")
JUNK = ("purity", "spread", "mirror", "unaccounted_junk", "named_junk", "junk_classes")


def _views(views: int, each: int, snr: str) -> Case:
    return Case(
        title=f"70S, {views} views × {each}, SNR {snr}",
        simulate=("--views", str(views), "--per-view", str(each), "--snr", snr, *LIKE_DATA),
        isac=("--ctf", "--img-per-grp", str(each)),
        columns=VIEWS,
    )


def _uniform(views: int, each: int, members: int) -> Case:
    return Case(
        title=f"70S from anywhere, SNR 0.05, {round(views * each / 0.9):,} images of which 10 % junk",
        simulate=(
            *("--distribution", "uniform", "--views", str(views), "--per-view", str(each), "--snr", "0.05"),
            *("--junk", "0.1", *LIKE_DATA),
        ),
        isac=("--ctf", "--img-per-grp", str(members)),
        columns=JUNK,
    )


def _filament(snr: str) -> Case:
    return Case(
        title=f"Filament, 12 azimuths × 80, SNR {snr}",
        simulate=("--filament", "--views", "12", "--per-view", "80", "--snr", snr, *LIKE_DATA),
        isac=("--ctf", "--img-per-grp", "80", "--radius", "30"),
        columns=VIEWS,
        densities=(),
    )


CASES: dict[str, Case] = {
    "easy": Case(
        title="70S, 10 views × 60, 64 px, SNR 0.3, no CTF",
        simulate=("--views", "10", "--per-view", "60", "--box", "64", "--snr", "0.3", "--max-shift", "2"),
        isac=("--img-per-grp", "60"),
        columns=VIEWS,
    ),
    "views25": _views(25, 80, "0.1"),
    "views50": _views(50, 100, "0.1"),
    "views25-noisy": _views(25, 80, "0.05"),
    "views50-noisy": _views(50, 100, "0.05"),
    "uniform": _uniform(100, 90, 200),
    "uniform-small": _uniform(50, 45, 100),
    "preferred": Case(
        title="70S, 20 views of which one has half of 4,000 images and one 1 %, SNR 0.1",
        simulate=("--views", "20", "--per-view", "200", "--shares", "50,1", "--snr", "0.1", *LIKE_DATA),
        isac=("--ctf", "--img-per-grp", "50"),
        columns=("views", "rare", "ari", "purity", "pixel", "mirror"),
    ),
    "mixture": Case(
        title="70S, GroEL and spike mixed, 10 views × 70 of each, 4 Å, SNR 0.1",
        simulate=(
            *("--views", "10", "--per-view", "70", "--snr", "0.1"),
            *("--box", "90", "--pixel-size", "4", "--max-shift", "3", "--ctf"),
        ),
        isac=("--ctf", "--img-per-grp", "70"),
        columns=("molecules", "views", "purity", "pixel"),
        densities=(*RIBOSOME, *GROEL, *SPIKE, *MAP_SIZE),
    ),
    "filament": _filament("0.1"),
    "filament-noisy": _filament("0.05"),
    "filament-faint": _filament("0.02"),
    "plate": Case(
        title="Phase plate: made-up molecule, 20 views × 40, 64 px, coloured noise, SNR 0.3",
        simulate=(
            *("--views", "20", "--per-view", "40", "--box", "64", "--snr", "0.3", "--max-shift", "2"),
            *("--ctf", "--phase-shift", "90", "--defocus-min", "0.5", "--defocus-max", "1", "--noise", "coloured"),
        ),
        isac=("--img-per-grp", "60"),
        columns=VIEWS,
        densities=(),
    ),
    "apoferritin": Case(
        title="Real particles: apoferritin, 1,383 images of 112 px",
        isac=("--ctf", "--img-per-grp", "100", "--minimum-grp-size", "30", "--radius", "42"),
        columns=("resolution", "resolution_40"),
        particles="apoferritin/particles.star",
        radius_px=42,
    ),
}
