"""Poses of the members of one class made better: each is laid anew on an average that it is no part of.

The members are two halves that know nothing of each other, each of several folds. A member's reference is the average
of the other folds of its own half: so it does not find itself again, and what the averages of the halves have in common
is no noise that one took from the other. The halves are brought together as wholes.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cryoisac.cluster.wiener import LEAST_SIGNAL, Prior, Sums, averages, class_sums
from cryoisac.engine.contract import Indices, Match
from cryoisac.engine.likelihood import Float32, LikelihoodEngine, RingImages, shift_disc, used_rings
from cryoisac.model.poses import Poses, pixel_error
from cryoisac.ops.hartley import moved, ring_power, turned
from cryoisac.ops.polar import Float, Rings
from cryoisac.ops.resolution import first_below
from cryoisac.streams import stream

FOLDS = 8  # of a half; the fewer, the less of the half a reference is made of
AT_REST_PX = 0.05  # mean move of the members in a round that ends the search
LEAST_RINGS = 8
ALIKE, ALIKE_RINGS = 0.4, 16  # mean correlation of halves, on rings up to this, that is no chance
BEYOND = 1.15  # of the resolution: how far poses look beyond it
STEPS_A_WAVE = 4.0  # of the shifts tried: finer detail is left to Newton's method


@dataclass(frozen=True, kw_only=True)
class LocalSearch:
    """How far and how finely poses are looked for.

    Parameters
    ----------
    reach_px : float
        No member moves further than this from where it was found, by its shift, or at its rim by its rotation.
    step_px : float
        Step of the shifts tried, and at the rim of the rotations, before Newton's method.
    rounds : int
        Most rounds.
    radius_px : float
        Particle radius.
    last_ring : int or None
        Rings beyond are not used; ``None`` for as many as the halves agree on.
    """

    reach_px: float
    step_px: float
    rounds: int
    radius_px: float
    last_ring: int | None


def halves_of(members: int, seed: int, number: int) -> npt.NDArray[np.int64]:
    """Return the half, 0 or 1, of each member of a class: random, and as equal as can be."""
    half = np.arange(members) % 2
    return stream(seed, "halves of a class", number).permutation(half)


def align_locally(
    engine: LikelihoodEngine,
    make_engine: Callable[[RingImages], LikelihoodEngine],
    half: npt.NDArray[np.int64],
    search: LocalSearch,
    share: float,
) -> tuple[Poses, int]:
    """Return how each member moves from where it lies, and the rounds it took.

    Parameters
    ----------
    engine : LikelihoodEngine
        Holds the members, laid on their class.
    make_engine : callable
        ``make_engine(images)``: an engine that holds an average as an image.
    half : ndarray, shape (m,), int64
        Half of each member.
    search : LocalSearch
        How far and how finely poses are looked for.
    share : float
        Share of the noise that the images' mask lets through.
    """
    m, rows = len(half), np.arange(len(half))
    poses = Poses.identity(m)
    label = fold_of(half)
    folds = int(label.max()) + 1
    if np.bincount(half, minlength=2).min() < 2:
        return poses, 0
    done, move = 0, np.inf
    while done < search.rounds and move >= AT_REST_PX:
        sums = class_sums(engine, label, rows, poses, folds)
        prior, last = known(sums, engine.images.rings, share, search)
        references = averages(others(sums), prior, engine.images.rings)
        tried = _tried(engine, references, label, search, last)
        found = engine.refine(references, label, rows, tried, last)
        stayed = engine.refine(references, label, rows, poses, last)
        new = _within(_better(found, stayed), poses, search)
        move = float(pixel_error(new, poses, radius_px=search.radius_px).mean())
        poses = _together(engine, make_engine, (half, label), new, share, search)
        done += 1
    return poses, done


def fold_of(half: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return the fold of each member: even ones of half 0, odd ones of half 1."""
    sizes = np.bincount(half, minlength=2)
    folds = max(min(FOLDS, int(sizes.min())), 1)
    place = np.empty(len(half), dtype=np.int64)
    for h in (0, 1):
        own = np.flatnonzero(half == h)
        place[own] = np.arange(len(own)) % folds
    return 2 * place + half


def others(sums: Sums) -> Sums:
    """Return for each fold the sums over the other folds of its half."""

    def rest(values: npt.NDArray[np.floating]) -> Float:
        paired = values.reshape(-1, 2, *values.shape[1:])
        result: Float = (paired.sum(axis=0, keepdims=True) - paired).reshape(values.shape)
        return result

    return Sums(numerator=rest(sums.numerator), denominator=rest(sums.denominator), sizes=sums.sizes)


def known(sums: Sums, rings: Rings, share: float, search: LocalSearch) -> tuple[Prior, int]:
    """Return the power that the averages of the halves share on each ring, and the last ring worth looking at."""
    raw, _ = _half_averages(sums, rings)
    shared, agreement = _agreement(raw[0], raw[1], rings)
    radii = np.array(rings.radii)
    if search.last_ring is not None:
        last = search.last_ring
    else:
        below = first_below(agreement, start=int(np.searchsorted(radii, LEAST_RINGS)))
        last = int(radii[-1]) if below is None else round(BEYOND * radii[below])
    return Prior(signal=np.maximum(shared, LEAST_SIGNAL * share), share=share), int(np.clip(last, radii[0], radii[-1]))


def _agreement(a: Float, b: Float, rings: Rings) -> tuple[Float, Float]:
    """Return the power that two averages (samples,) share on each ring, and their correlation there."""
    shared = (ring_power(a + b, rings) - ring_power(a - b, rings)) / 4
    each = np.sqrt(ring_power(a, rings) * ring_power(b, rings))
    return shared, np.divide(shared, each, out=np.zeros_like(shared), where=each > 0)


def _half_averages(sums: Sums, rings: Rings) -> tuple[Float, Float]:
    """Return the averages of the two halves without a filter, shape (2, samples), and their D, shape (2, r)."""
    numerator = sums.numerator.reshape(-1, 2, sums.numerator.shape[1]).sum(axis=0)
    denominator = np.maximum(sums.denominator.reshape(-1, 2, sums.denominator.shape[1]).sum(axis=0), 1e-6)
    return numerator / np.repeat(denominator, rings.lengths, axis=1), denominator


def _tried(engine: LikelihoodEngine, references: Float32, label: Indices, search: LocalSearch, last: int) -> Poses:
    """Return the best of a grid of small moves for each member, by the rings that its step can tell apart."""
    images = engine.images
    rings = used_rings(
        images.rings, max(min(last, round(images.box_px / (STEPS_A_WAVE * search.step_px))), images.rings.radii[0])
    )
    size, m = sum(rings.lengths), len(images)
    weight = np.repeat(rings.sample_weights, rings.lengths)
    shifts = shift_disc(search.reach_px, search.step_px)
    reach = int(search.reach_px / search.step_px + 1e-9)
    angles = np.rad2deg(np.arange(-reach, reach + 1) * search.step_px / search.radius_px)
    best, angle, shift = np.full(m, -np.inf), np.zeros(m), np.zeros((m, 2))
    for fold in np.unique(label):
        rows = np.flatnonzero(label == fold)
        own = images.samples[rows, :size]
        placed = moved(weight * references[fold, :size], -shifts, rings, images.box_px).astype(np.float32).T
        for a in angles.tolist():
            score = turned(own, a, rings).astype(np.float32) @ placed  # (members of the fold, shifts)
            at = score.argmax(axis=1)
            top = score[np.arange(len(rows)), at]
            better = top > best[rows]
            best[rows[better]], angle[rows[better]], shift[rows[better]] = top[better], a, shifts[at[better]]
    return Poses(angle_deg=angle, shift_px=shift, mirror=np.zeros(m, dtype=bool))


def _better(a: Match, b: Match) -> Poses:
    rows = np.flatnonzero(b.score >= a.score)
    return a.poses.replaced(rows, b.poses[rows])


def _within(new: Poses, old: Poses, search: LocalSearch) -> Poses:
    """Return new poses, and old ones for members that would move too far."""
    turn = np.deg2rad(np.abs(np.mod(new.angle_deg + 180.0, 360.0) - 180.0))
    away = np.maximum(np.hypot(*new.shift_px.T), turn * search.radius_px)
    rows = np.flatnonzero(away > search.reach_px)
    return new.replaced(rows, old[rows])


def _together(
    engine: LikelihoodEngine,
    make_engine: Callable[[RingImages], LikelihoodEngine],
    parts: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]],
    poses: Poses,
    share: float,
    search: LocalSearch,
) -> Poses:
    """Return poses with the members of the second half moved, as one, onto the average of the first.

    Halves that are not alike then stay where they are: they would be laid on each other's noise.
    """
    half, label = parts
    rings, folds = engine.images.rings, int(label.max()) + 1
    sums = class_sums(engine, label, np.arange(len(label)), poses, folds)
    prior, last = known(sums, rings, share, search)
    raw, denominator = _half_averages(sums, rings)
    weight = np.repeat(denominator / (denominator + share / prior.signal), rings.lengths, axis=1)
    laid = (raw * weight).astype(np.float32)
    ones = np.ones((1, len(rings.radii)), dtype=np.float32)
    held = make_engine(RingImages(rings=rings, box_px=engine.images.box_px, samples=laid[1:].copy(), ctf2=ones))
    first = np.zeros(1, dtype=np.int64)
    tried = _tried(held, laid[:1], first, search, last)
    starts = (tried, Poses.identity(1))
    common = _better(*(held.refine(laid[:1], first, first, start, last) for start in starts))
    if not _alike(raw, common, engine.images):
        return poses
    rows = np.flatnonzero(half == 1)
    return poses.replaced(rows, poses[rows].then(common[np.zeros(len(rows), dtype=np.int64)]))


def _alike(raw: Float, common: Poses, images: RingImages) -> bool:
    """Return whether two averages (2, samples) have the same coarse features once the second is moved."""
    rings = used_rings(images.rings, max(ALIKE_RINGS, images.rings.radii[0]))
    size = sum(rings.lengths)
    second = moved(turned(raw[1:, :size], float(common.angle_deg[0]), rings), common.shift_px, rings, images.box_px)
    correlation = _agreement(raw[0, :size], second[0], rings)[1]
    return bool(np.average(correlation, weights=rings.radii) >= ALIKE)
