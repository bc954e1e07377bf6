"""Writes the pages that are made from the code: ``python docs/make_pages.py``. A test compares them with it."""

from collections.abc import Iterator
from pathlib import Path

from cryoisac import conventions
from cryoisac.settings import (
    Averaging,
    Described,
    Explore,
    Isac,
    Multireference,
    Order,
    ReferenceFree,
    Setting,
    Settings,
    Simulation,
    Substack,
    Transform,
    describe,
)

NOT_IN_ORIGINAL = ("method", "max_shift", "starts", "sizes", "search", "parity", "on_bad_image")

SETTINGS = """# Settings

Every option of `cryoisac isac`, `cryoisac mra`, `cryoisac rfa`, `cryoisac substack`, `cryoisac average`,
`cryoisac order`, `cryoisac explore` and `cryoisac simulate`. This page is made from `src/cryoisac/settings`, where each
setting is declared once; do not edit it by hand.

A flag may be written with hyphens or underscores (`--img-per-grp`, `--img_per_grp`), and in lower case
(`--FL`, `--fl`). A *working pixel* is a pixel of the working images, to which the particles are shrunk:
one working pixel is `radius / target_radius` input pixels. A switch that is on by default is turned off by `--no-`:
`--no-mirrors`.

## cryoisac isac

    cryoisac isac PARTICLES OUT [options]

{isac}

An option of one *method* is refused with the other; [how-it-works.md](how-it-works.md) explains both.

These are no part of the settings by which a run is known again, and devices are chosen alike for `mra` and `rfa`:

| flag | meaning |
|---|---|
| `--restart K` | Go back: to the first start (0); with isac2 to the end of main iteration K, 0: the unfinished one. |
| `--threads N` | Threads to use; the result does not depend on it. All cores by default. |
| `--device NAME` | What computes: `cpu` by default, `auto`, `cuda`, `cuda:0,1`; [devices](gpu.md) differ by rounding. |
| `--gpu-memory-use X` | Share of the free memory of GPUs to use, 0.9 by default. |
| `--gpu-info` | Say what the machine has and what the run needs, and stop. |

What became of the original's other options is told in [parity.md](parity.md).

## cryoisac mra

    cryoisac mra PARTICLES REFERENCES OUT [options]

{mra}

## cryoisac rfa

    cryoisac rfa PARTICLES OUT [options]

{rfa}

Both take `--threads N` too; what they do is told in [alignment.md](alignment.md).

## cryoisac substack

    cryoisac substack RUN OUT [options]

{substack}

A class is left out where any of these options leaves it out. Which files are read is said by two more:

| flag | meaning |
|---|---|
| `--averages FILE` | HDF stack of the class averages to take, in any order. All of the run by default. |
| `--stack FILE` | The particles that were classified. Those that the run names by default. |

What is written is told in [files.md](files.md#what-a-substack-writes).

## cryoisac average

    cryoisac average RUN OUT [options]

{average}

`--xr`, `--ts`, `--maxit` and `--fh` need `--local-alignment`; `--B-start` and `--Bfactor` need
`--pw-adjustment bfactor`. Two options are no part of the result:

| flag | meaning |
|---|---|
| `--stack FILE` | The particles that were classified. Those that the run names by default. |
| `--threads N` | Threads to use; the result does not depend on it. All cores by default. |

What is done is told in [averages.md](averages.md). The original's own command line runs too:
[sp_compute_isac_avg.py](companions.md#sp_compute_isac_avgpy).

## cryoisac order

    cryoisac order AVERAGES OUT [options]

{order}

`--no-circular` makes a chain. The original's own command line runs too: `sp_chains.py STACK OUT --align --circular`,
with `--radius`, `--xr` and `--yr`; it writes the file OUT, and `chains_params.txt` where it is called.

## cryoisac explore

    cryoisac explore RUN [OUT] [options]

{explore}

`--rank` goes with `mpca` and `twosdr`, `--neighbours` with `tsne` and `umap`; else they are refused. What is looked at,
and by how many threads, is said by three more:

| flag | meaning |
|---|---|
| `--stack FILE` | The particles that were classified. Those that RUN names by default. |
| `--truth FILE` | What each particle shows: a CSV file with a column `view` or `class`, or one number a line. |
| `--threads N` | Threads to use; the result does not depend on it. All cores by default. |

What the page shows is told in [explore.md](explore.md).

## cryoisac transform

    cryoisac transform STACK TABLE [OUT] [options]

{transform}

`--shift` is the original's spelling of `--shift-only`. What is written besides OUT, and by how many threads:

| flag | meaning |
|---|---|
| `--class-sums FILE` | Write the sum of the moved images of each class, an MRC stack in the order of classes. |
| `--class-averages FILE` | Write the average of the moved images of each class. |
| `--threads N` | Threads to use; the result does not depend on it. All cores by default. |
| `--device NAME` | What computes: `cpu`, `auto`, `cuda`, `cuda:0`; [devices](gpu.md) differ by rounding. |
| `--gpu-memory-use X` | Share of the free memory of a GPU to use, 0.9 by default. |

Which tables are read is told in [files.md](files.md#tables-of-poses).

## cryoisac simulate

    cryoisac simulate OUT_DIR [options]

{simulation}

What is projected comes from elsewhere:

| flag | meaning |
|---|---|
| `--map FILE` | Density to project, MRC. Without it or `--pdb` a ribosome-like molecule is made up. |
| `--map-pixel-size X` | Pixel size of the maps in Å, where their headers are wrong. |
| `--pdb FILE` | Atoms to project, PDB or mmCIF. |

`--map` and `--pdb` may be given several times: the molecules are mixed in equal numbers, maps first, each with views of
its own and the same SNR.
"""

CONVENTIONS = """# Conventions

How images, poses and files are to be read. This page is made from `src/cryoisac/conventions.py`; do not edit it by
hand.

| | |
|---|---|
{rows}

What this means for RELION is spelled out in [files.md](files.md#the-pose-in-relions-columns).
"""


def pages() -> dict[str, str]:
    """Return the text of each page that is made, by its name."""
    isac = "\n".join(_table(Isac, original=True))
    mra, rfa = ("\n".join(_table(kind, original=False)) for kind in (Multireference, ReferenceFree))
    substack = "\n".join(_table(Substack, original=False))
    average = "\n".join(_table(Averaging, original=False))
    order = "\n".join(_table(Order, original=False))
    explore = "\n".join(_table(Explore, original=False))
    transform = "\n".join(_table(Transform, original=False))
    simulation = "\n".join(_table(Simulation, original=False))
    return {
        "settings.md": SETTINGS.format(
            isac=isac,
            mra=mra,
            rfa=rfa,
            substack=substack,
            average=average,
            order=order,
            explore=explore,
            transform=transform,
            simulation=simulation,
        ),
        "conventions.md": CONVENTIONS.format(rows="\n".join(_sentences(conventions.__doc__ or ""))),
    }


def _table(settings: type[Settings], *, original: bool) -> Iterator[str]:
    heads = ["flag", "meaning", "unit", "default", "range", *(["method", "in the original"] if original else [])]
    yield _row(heads)
    yield "|" + "---|" * len(heads)
    for d in describe(settings):
        cells = [f"`{d.flag}`", d.setting.meaning, d.setting.unit, _default(d), _range(d.setting)]
        yield _row(cells + ([d.method, _original(d)] if original else []))


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _default(d: Described) -> str:
    if d.default is None:
        return d.setting.automatic
    if d.type is bool:
        return "on" if d.default else "off"
    return f"{d.default:g}" if d.type in (int, float) else f"{d.default}"


def _range(s: Setting) -> str:
    if s.choices:
        return ", ".join(f"`{choice}`" for choice in s.choices)
    low, high = s.at_least, s.at_most
    if low is not None and high is not None:
        return f"{low:g} to {high:.10g}"
    return "" if low is None else f"{low:g} or more"


def _original(d: Described) -> str:
    return "" if d.name in NOT_IN_ORIGINAL else f"`--{d.setting.original or d.name}`"


def _sentences(page: str) -> Iterator[str]:
    """Yield a row for each line of ``word   sentence``, after the page's heading."""
    for line in page.strip().splitlines()[2:]:
        word, sentence = line.split("  ", 1)
        yield _row([f"**{word}**", sentence.strip()])


if __name__ == "__main__":
    for name, text in pages().items():
        (Path(__file__).parent / name).write_text(text, encoding="utf-8")
