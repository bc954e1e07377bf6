"""The numbers that say how good a classification is, where the truth is known."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cryoisac.scoring.agreement import adjusted_rand_index, normalised_mutual_information
from cryoisac.scoring.alignment import AlignmentErrors, alignment_errors
from cryoisac.scoring.content import (
    effective_number,
    held_views,
    majority_views,
    mostly_junk,
    named_junk,
    precision_recall,
    rare_views,
    share,
    shows_majority,
)
from cryoisac.scoring.files import Classification, KnownTruth
from cryoisac.streams import stream

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]

RANDOM_CLASSES = 5
LEAST_MEMBERS = 2


@dataclass(frozen=True, kw_only=True)
class ClassScore:
    """One class: its number from 1, its size, its majority view, and the errors of those members that show it."""

    number: int
    images: int
    view: int
    purity: float
    mirror_agreement: float | None = None
    pixel_error: float | None = None
    rotation_deg: float | None = None
    shift_px: float | None = None


@dataclass(frozen=True, kw_only=True)
class Score:
    """All numbers of a classification; ``None`` where a number has no meaning.

    Parameters
    ----------
    images, accounted, classes, views : int
        Images; those in a class; classes with members; views in the truth.
    accounted_share, particles_accounted : float or None
        ``accounted / images``; the share of true particles, junk not counted, that are in a class.
    effective_classes : float
        How many equal classes would be as even.
    ari, nmi : float or None
        Adjusted Rand index and normalised mutual information of classes and views, over accounted particles.
    ari_all : float or None
        The index over all particles, each unaccounted one alone in a class of its own.
    purity : float or None
        Share of the accounted images that show the majority view of their class; junk shows none.
    molecules : int
        Molecules in the truth.
    molecule_purity : float or None
        Share of the accounted images that show the majority molecule of their class; junk shows none.
    views_found, views_held : int
        Views that are the majority of some class; those of which that class holds more than half of all particles.
    rare_views, rare_views_held : int
        Views with less than half as many particles as the median view; those of them that are held.
    spread_deg, random_spread_deg : float or None
        Median angle between a member's viewing axis and its class's mean axis; the same for random classes of the
        same sizes. Opposite directions are one axis, as their images are mirror images. Of several molecules in a
        class only the majority counts.
    pixel_error, pixel_error_90 : float or None
        Median and 90th percentile over members that show their class's majority view, in pixels over the particle's
        disc, after removing one rigid motion a class; mirror errors count as infinite.
    below_one_px : float or None
        Share of these members with an error below one pixel.
    rotation_deg, rotation_px, shift_px : float or None
        Median error of the angle, that as distance at the particle's radius, and of the centre.
    mirror_agreement : float or None
        Share of these members whose mirror fits that of most of their class.
    junk : int
        Images that show no single particle.
    junk_precision, junk_recall : float or None
        Of the images in no class those that are junk; of the junk that in no class.
    named_junk : int or None
        Images in no class for a reason that begins with ``junk``; ``None`` without a ledger.
    named_junk_precision, named_junk_recall : float or None
        Of these images those that are junk; of the junk that among these.
    junk_classes : int
        Classes more than half of whose members are junk.
    junk_classes_precision, junk_classes_recall : float or None
        Of the members of such classes those that are junk; of the junk that in such classes.
    per_class : tuple of ClassScore
        Each class.
    """

    images: int
    accounted: int
    classes: int
    views: int
    accounted_share: float
    particles_accounted: float | None
    effective_classes: float
    ari: float | None
    nmi: float | None
    ari_all: float | None
    purity: float | None
    molecules: int
    molecule_purity: float | None
    views_found: int
    views_held: int
    rare_views: int
    rare_views_held: int
    spread_deg: float | None
    random_spread_deg: float | None
    pixel_error: float | None
    pixel_error_90: float | None
    below_one_px: float | None
    rotation_deg: float | None
    rotation_px: float | None
    shift_px: float | None
    mirror_agreement: float | None
    junk: int
    junk_precision: float | None
    junk_recall: float | None
    named_junk: int | None
    named_junk_precision: float | None
    named_junk_recall: float | None
    junk_classes: int
    junk_classes_precision: float | None
    junk_classes_recall: float | None
    per_class: tuple[ClassScore, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return all numbers for JSON."""
        return asdict(self)


def score(found: Classification, truth: KnownTruth, *, radius_px: float | None = None) -> Score:
    """Compare a classification with the truth.

    Parameters
    ----------
    found : Classification
    truth : KnownTruth
        Of the same images, in the same order.
    radius_px : float, optional
        Radius of the particle instead of that in ``truth``; alignment is not scored if neither is known.

    Returns
    -------
    Score
    """
    label, view = found.label, truth.view
    particle = view >= 0
    accounted = label >= 0
    both = accounted & particle
    right = shows_majority(label, view)
    held, rare = held_views(label, view), rare_views(view)
    spread, by_chance = _spread(label, truth, both)
    alone = np.where(accounted, label, label.max(initial=0) + 1 + np.arange(len(label)))
    per_class, numbers = _alignment(found, truth, right, radius_px or truth.radius_px)
    numbers |= _junk(found, ~particle)
    return Score(
        images=len(label),
        accounted=int(accounted.sum()),
        classes=len(per_class),
        views=len(np.unique(view[particle])),
        accounted_share=float(accounted.mean()),
        particles_accounted=share(accounted, particle),
        effective_classes=effective_number(label),
        ari=_known(adjusted_rand_index(label[both], view[both])),
        nmi=_known(normalised_mutual_information(label[both], view[both])),
        ari_all=_known(adjusted_rand_index(alone[particle], view[particle])),
        purity=share(right, accounted),
        molecules=len(np.unique(truth.molecule[particle])),
        molecule_purity=share(shows_majority(label, truth.molecule), accounted),
        views_found=len(np.unique(view[right])),
        views_held=len(held),
        rare_views=len(rare),
        rare_views_held=int(np.isin(rare, held).sum()),
        spread_deg=spread,
        random_spread_deg=by_chance,
        **numbers,
        per_class=per_class,
    )


def _junk(found: Classification, junk: npt.NDArray[np.bool_]) -> dict[str, Any]:
    """All numbers about junk; no precisions where there is none."""
    named, together = named_junk(found.reason, len(junk)), mostly_junk(found.label, junk)
    numbers: dict[str, Any] = {
        "junk": int(junk.sum()),
        "named_junk": None if found.reason is None else int(named.sum()),
        "junk_classes": len(np.unique(found.label[together])),
    }
    for name, called in (("junk", found.label < 0), ("named_junk", named), ("junk_classes", together)):
        both = precision_recall(called, junk) if junk.any() else (None, None)
        numbers[f"{name}_precision"], numbers[f"{name}_recall"] = both
    return numbers


def _spread(label: Int, truth: KnownTruth, both: npt.NDArray[np.bool_]) -> tuple[float | None, float | None]:
    """Median angle of members to their class's axis, and that of random classes of the same sizes, in degrees."""
    counted = shows_majority(np.where(both, label, -1), truth.molecule)
    if not counted.any():
        return None, None
    direction, classes = truth.direction[counted], label[counted]
    rng = stream(0, "random classes")
    chance = [np.median(axis_angles_deg(direction, rng.permutation(classes))) for _ in range(RANDOM_CLASSES)]
    return float(np.median(axis_angles_deg(direction, classes))), float(np.mean(chance))


def axis_angles_deg(direction: Float, label: Int) -> Float:
    """Return the angle, shape (n,), between each axis ±d and the mean axis of its class.

    The mean axis is the first eigenvector of the sum of d dᵀ over the class.
    """
    _, index = np.unique(label, return_inverse=True)
    tensor = np.zeros((index.max() + 1, 3, 3))
    np.add.at(tensor, index, direction[:, :, None] * direction[:, None, :])
    axis = np.linalg.eigh(tensor)[1][:, :, -1]
    angles: Float = np.rad2deg(np.arccos(np.abs((axis[index] * direction).sum(axis=1)).clip(max=1.0)))
    return angles


def _alignment(
    found: Classification, truth: KnownTruth, right: npt.NDArray[np.bool_], radius_px: float | None
) -> tuple[tuple[ClassScore, ...], dict[str, Any]]:
    """Scores of each class, and the numbers of all members together."""
    majority = majority_views(found.label, truth.view)
    order = np.argsort(found.label, kind="stable")
    edges = np.searchsorted(found.label[order], np.arange(len(majority) + 1))
    classes, errors = [], []
    for k in np.flatnonzero(np.diff(edges)):
        members = order[edges[k] : edges[k + 1]]
        shown = members[right[members]]
        numbers: dict[str, float | None] = {}
        if found.poses is not None and radius_px and len(shown) >= LEAST_MEMBERS:
            errors.append(alignment_errors(found.poses[shown], truth.poses[shown], radius_px=radius_px))
            numbers = _class_numbers(errors[-1])
        classes.append(
            ClassScore(
                number=int(k) + 1,
                images=len(members),
                view=int(majority[k]),
                purity=len(shown) / len(members),
                **numbers,
            )
        )
    return tuple(classes), _all_numbers(errors, radius_px)


def _class_numbers(e: AlignmentErrors) -> dict[str, float | None]:
    return {
        "mirror_agreement": float(e.mirror_right.mean()),
        "pixel_error": _known(float(np.median(e.pixel_error))),
        "rotation_deg": float(np.nanmedian(e.rotation_deg)),
        "shift_px": float(np.nanmedian(e.shift_px)),
    }


def _all_numbers(errors: list[AlignmentErrors], radius_px: float | None) -> dict[str, float | None]:
    names = ("pixel_error", "pixel_error_90", "below_one_px", "rotation_deg", "rotation_px", "shift_px")
    if not errors or not radius_px:
        return dict.fromkeys((*names, "mirror_agreement"))
    pixel = np.concatenate([e.pixel_error for e in errors])
    rotation_deg = float(np.nanmedian(np.concatenate([e.rotation_deg for e in errors])))
    return {
        "pixel_error": _known(float(np.median(pixel))),
        "pixel_error_90": _known(float(np.quantile(pixel, 0.9, method="higher"))),
        "below_one_px": float((pixel < 1).mean()),
        "rotation_deg": rotation_deg,
        "rotation_px": 2 * radius_px * float(np.sin(np.deg2rad(rotation_deg) / 2)),
        "shift_px": float(np.nanmedian(np.concatenate([e.shift_px for e in errors]))),
        "mirror_agreement": float(np.concatenate([e.mirror_right for e in errors]).mean()),
    }


def _known(value: float) -> float | None:
    return value if np.isfinite(value) else None
