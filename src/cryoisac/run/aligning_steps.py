"""Alignments played iteration by iteration, from wherever they stand to their end, every state saved."""

import math
from pathlib import Path

import numpy as np

from cryoisac.align import rfa
from cryoisac.align.averages import Halving, Imaging
from cryoisac.align.stages import Pass
from cryoisac.align.updating import Updating
from cryoisac.cluster import mra
from cryoisac.engine.contract import Engine, Images, Indices
from cryoisac.model.particles import Particles
from cryoisac.model.poses import Poses, from_relion
from cryoisac.ops.ctf import apply_ctf
from cryoisac.ops.masks import Mask, normalise_inside
from cryoisac.ops.normalise import subtract_background
from cryoisac.run import checkpoint
from cryoisac.run.aligned_files import write_mra_iteration, write_rfa_iteration
from cryoisac.run.aligning import AlignmentRun
from cryoisac.run.given_files import load_function, read_references
from cryoisac.run.working_stack import blocks, over
from cryoisac.settings import Multireference, ReferenceFree

EDGE_px = 5.0  # around the mask, where halves are compared


def prepared_images(run: AlignmentRun) -> Images:
    """Return the images that can be used, as they are compared, (n, h, w): normalised, and multiplied by their CTF.

    Notes
    -----
    With references: mean 0 and standard deviation 1 under the mask; without: mean 0 outside it.
    """
    images = np.empty((len(run.usable), run.box_px, run.box_px), dtype=np.float32)
    ctf, sizes = run.particles.ctf, run.particles.pixel_size_A

    def work(rows: Indices) -> None:
        numbers = run.usable[rows]
        raw = run.particles.read(numbers)
        clean = normalise_inside(raw, run.mask) if isinstance(run.settings, Multireference) else _plain(raw, run.mask)
        if run.settings.ctf and ctf is not None and sizes is not None:
            clean = apply_ctf(clean, ctf[numbers], sizes[numbers])
        images[rows[0] : rows[-1] + 1] = clean

    run.progress.stage("Preparing the images", len(images), "images")
    for _ in over(blocks(np.arange(len(images)), run.box_px), work, run.threads, run.progress):
        pass
    return images


def _plain(images: Images, mask: Mask) -> Images:
    return images if mask.all() else subtract_background(images, mask)


def halving(run: AlignmentRun) -> Halving:
    """Return how the images of a run are averaged."""
    ctf, sizes = run.particles.ctf, run.particles.pixel_size_A
    imaging = None
    if run.settings.ctf and ctf is not None and sizes is not None:
        imaging = Imaging(ctf=ctf[run.usable], pixel_size_A=sizes[run.usable], snr=run.settings.snr)
    return Halving(number=run.usable, mask=run.mask, imaging=imaging, edge_px=EDGE_px)


def updating(run: AlignmentRun) -> Updating:
    """Return how averages of a run become references."""
    s = run.settings
    return Updating(
        mask=run.mask,
        center_method=s.center_method,
        lowest_cutoff=s.lowest_cutoff,
        function=load_function(s.function),
    )


def play_mra(run: AlignmentRun) -> tuple[mra.State, Engine]:
    """Play a multireference alignment from wherever it stands to its end, and return its last state and the images."""
    s = run.settings
    assert isinstance(s, Multireference)
    images = prepared_images(run)
    plan = mra.Plan(
        course=run.course,
        assignment=mra.EQUAL if s.sizes == "equal" else mra.CLIMBING if s.random_method == "SHC" else mra.FREE,
        fewest=s.min_size or 0,
        halving=halving(run),
        updating=updating(run),
        seed=s.rand_seed,
        equal_first=s.equal_first or 0,
    )
    engine = run.make_engine(images)
    state = checkpoint.load(run.directory.alignment, mra.State)
    if state is None:
        if isinstance(run.references, Path):
            first = read_references(run.references, run.box_px)
        else:
            first = mra.random_references(images, run.k, s.rand_seed)
        poses = None if s.ignore_poses else stored_poses(run.particles)
        state = mra.start(first, Poses.identity(len(images)) if poses is None else poses[run.usable])
    _begin(run, len(state.passes))
    while not mra.finished(state, plan):
        state = mra.step(engine, state, plan)
        write_mra_iteration(run, state)
        _save(run, state)
    return state, engine


def play_rfa(run: AlignmentRun) -> tuple[rfa.State, Engine]:
    """Play a reference-free alignment from wherever it stands to its end, and return its last state and the images."""
    s = run.settings
    assert isinstance(s, ReferenceFree)
    engine = run.make_engine(prepared_images(run))
    plan = rfa.Plan(course=run.course, halving=halving(run), updating=updating(run))
    state = checkpoint.load(run.directory.alignment, rfa.State)
    if state is None:
        state = rfa.start(engine, seed=s.rand_seed if s.randomize else None)
    _begin(run, len(state.passes))
    while not rfa.finished(state, plan):
        state = rfa.step(engine, state, plan)
        write_rfa_iteration(run, state)
        _save(run, state)
    return state, engine


def _begin(run: AlignmentRun, done: int) -> None:
    run.progress.stage("Aligning", run.course.most_iterations, "iterations")
    run.progress.advance(done)


def _save(run: AlignmentRun, state: mra.State | rfa.State) -> None:
    checkpoint.save(run.directory.alignment, state)
    run.progress.advance()
    run.progress.note(said(state.passes[-1]))


def said(result: Pass) -> str:
    """Return one line on what an iteration came to."""
    text = f"Iteration {result.iteration + 1}:"
    if math.isfinite(result.changed):
        what = "changed class or mirror" if len(result.sizes) > 1 else "changed mirror"
        text += f" {result.changed:.1%} {what}; pixel error {result.pixel_error_px:.2f} px;"
    if len(result.sizes) > 1:
        text += f" {min(result.sizes)} to {max(result.sizes)} members;"
    cutoffs = [c for c in result.cutoffs if math.isfinite(c)]
    if cutoffs:
        text += f" cut-off {min(cutoffs):.2f}" + (f" to {max(cutoffs):.2f}" if len(cutoffs) > 1 else "")
    for one in result.reseeded:
        text += f"; class {one.label + 1} had {one.left}, takes {one.taken} of class {one.source + 1}"
    return text.rstrip(";")


def stored_poses(particles: Particles) -> Poses | None:
    """Return the poses that the input says its images have, or ``None`` where it says none."""
    rows = particles.attributes.get("xform.align2d")
    if isinstance(rows, np.ndarray):
        return Poses.from_rows(rows)
    if particles.metadata is None:
        return None
    table, sizes = particles.metadata.particles, particles.pixel_size_A
    if "rlnOriginXAngst" in table and "rlnOriginYAngst" in table and sizes is not None:
        origin = np.stack([table.floats(name) / sizes for name in ("rlnOriginXAngst", "rlnOriginYAngst")], axis=-1)
    elif "rlnOriginX" in table and "rlnOriginY" in table:
        origin = np.stack([table.floats(name) for name in ("rlnOriginX", "rlnOriginY")], axis=-1)
    else:
        return None
    n = len(table)
    return from_relion(np.zeros(n), origin, np.zeros(n, dtype=bool))
