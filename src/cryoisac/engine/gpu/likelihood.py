"""The likelihood engine on a device: ring coefficients stay there, references are moved by phases."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from cryoisac.engine.contract import Indices, Match, check_images, check_labels
from cryoisac.engine.gpu.layout import COMPLEX_BYTES, Folded, Layout
from cryoisac.engine.gpu.memory import Place, computing, in_batches
from cryoisac.engine.gpu.moments import order_energies, order_moments, over_references
from cryoisac.engine.gpu.search import Searcher
from cryoisac.engine.gpu.store import Store
from cryoisac.engine.gpu.sums import class_sums
from cryoisac.engine.gpu.transfer import Answers, sent
from cryoisac.engine.gpu.turning import Turner
from cryoisac.engine.likelihood import Float32, PoseSearch, RingImages, check_references, norm_powers, used_rings
from cryoisac.engine.likelihood_native import ENERGY_LOSS, outermost
from cryoisac.engine.likelihood_reference import NEWTON_STEPS, frame_shift_px
from cryoisac.engine.radial import RadialBasis, coarse_angles, radial_basis
from cryoisac.errors import DataError
from cryoisac.model.poses import Poses, wrap
from cryoisac.ops.polar import Float, Rings, parabola_offset

ROW_BYTES = 160  # of a row on the host
LAID_BYTES = 120  # of a sample of a row that is laid on its class
HILL_BYTES = 200  # of a sample of a row whose pose is refined


class TorchLikelihoodEngine:
    """Likelihood gains, poses and class sums of stored rings on a device that PyTorch drives.

    Parameters
    ----------
    images : RingImages
        The images; samples may be mapped from a file.
    place : Place
        The device, and what may be taken of its memory; images that do not fit stay on the host.
    stack : int, optional
        Images of the whole stack, where these are a part of it.

    Notes
    -----
    Answers are those of ``LikelihoodReferenceEngine`` to float32 rounding, but for searches: these may choose between
    shifts whose peaks are nearly equal, and gains with many references lack ``ENERGY_LOSS`` of the references' energy.
    Batches move answers by that rounding; class sums not at all.
    """

    def __init__(self, images: RingImages, place: Place, *, stack: int | None = None) -> None:
        _check_rings(images.rings)
        self._images, self._place, self._stack = images, place, stack or len(images)
        self._layout = Layout(images.rings, place.device)
        self._ctf2 = torch.from_numpy(np.array(images.ctf2, dtype=np.float32)).to(place.device)
        self._store = Store(images.samples, place, self._layout.spectra, COMPLEX_BYTES * self._layout.coefficients)

    @property
    def images(self) -> RingImages:
        """The images it holds."""
        return self._images

    def plan(self, rows: int, references: int, search: PoseSearch) -> int:
        """Return the most memory, in bytes, that a question takes besides the images, on device and host."""
        samples = sum(self._images.rings.lengths)
        return self._place.budget_bytes + 24 * references * samples + rows * (ROW_BYTES + 4 * references)

    def score(self, references: Float32, images: Indices, search: PoseSearch) -> Float32:
        """Return the gain of each row with each reference at its best pose, shape (m, k); see ``LikelihoodEngine``."""
        with computing(self._place.tf32):
            trials = self._trials(references, images, search)
            scores = Searcher(trials, self._place).scores(len(images), len(references))
        powers = sent(trials.powers.T.astype(np.float32), self._place.device)

        def subtract(part: slice, following: slice) -> None:
            scores[part] -= (self._own_ctf2(images[part], len(powers)) @ powers).cpu().numpy()

        with computing(tf32=False):  # norms are as large as gains
            in_batches(len(images), 8 * (len(references) + len(powers)), subtract, self._place)
        return scores

    def match(self, references: Float32, labels: Indices, images: Indices, search: PoseSearch) -> Match:
        """Return the best pose of each row on the reference that its label names; see ``LikelihoodEngine``."""
        check_labels(labels, len(images), len(references))
        with computing(self._place.tf32):
            trials = self._trials(references, images, search)
            found = Searcher(trials, self._place).found(np.asarray(labels, dtype=np.int64), len(references))
        angle = np.nan_to_num(found.index + parabola_offset(found.around)) * 360.0 / trials.layout.longest
        shift = np.asarray(search.shifts_px, dtype=np.float64)[found.shift]
        shift[:, 0] *= np.where(found.mirror, -1.0, 1.0)
        norms = self._norms(trials.powers, labels, images)
        return Match(
            poses=Poses(angle_deg=wrap(angle), shift_px=shift, mirror=found.mirror),
            score=(found.score - norms).astype(np.float32),
        )

    def refine(self, references: Float32, labels: Indices, images: Indices, poses: Poses, last_ring: int) -> Match:
        """Return the poses at the nearest maximum of the gain; see ``LikelihoodEngine``."""
        check_references(self._images, references, PoseSearch(last_ring=last_ring, shifts_px=np.zeros((1, 2))))
        check_images(images, len(self._images))
        check_labels(labels, len(images), len(references))
        layout, placed = self._layout_to(last_ring), _placed(poses, len(images))
        powers, device = _powers(references, layout.rings), self._place.device
        turner, value = Turner(layout, self._images.box_px, device), np.empty(len(images))
        order = np.argsort(labels, kind="stable")

        def climb(part: slice, following: slice) -> None:
            rows = order[part]
            which, own = np.unique(labels[rows], return_inverse=True)
            weighted = sent(references[which, : layout.samples].astype(np.float32), device)
            weighted = (weighted * layout.area)[sent(own, device)]
            spectra = self._store.take(images[rows])
            start = sent(placed[rows], device)
            found, top = turner.climbed(spectra, weighted, start, NEWTON_STEPS)
            self._store.expect(images[order[following]])

            def put(answer: Float) -> None:
                placed[rows], value[rows] = answer[:, :-1], answer[:, -1]

            answers.put(torch.cat((found, top[:, None]), dim=1), put)

        answers = Answers()
        with computing(self._place.tf32):
            in_batches(len(images), HILL_BYTES * layout.samples, climb, self._place)
            answers.settle()
        sign = np.where(poses.mirror, -1.0, 1.0)
        moved = Poses(
            angle_deg=wrap(np.rad2deg(sign * placed[:, 0])),
            shift_px=np.stack((sign * placed[:, 1], placed[:, 2]), axis=-1),
            mirror=poses.mirror,
        )
        return Match(poses=moved, score=(value - self._norms(powers, labels, images)).astype(np.float32))

    def total(self, labels: Indices, images: Indices, poses: Poses, k: int) -> Float:
        """Return the sum over each class of its posed rings, shape (k, samples); see ``LikelihoodEngine``."""
        check_images(images, len(self._images))
        check_labels(labels, len(images), k, least=-1)
        placed, layout, device = _placed(poses, len(images)), self._layout, self._place.device
        turner = Turner(layout, self._images.box_px, device)

        def moved(rows: Indices, following: Indices) -> torch.Tensor:
            laid = turner.laid(self._store.take(images[rows]), sent(placed[rows], device))
            self._store.expect(images[following])
            return laid

        with computing(self._place.tf32):
            return class_sums(labels, k, layout.samples, moved, self._place, LAID_BYTES * layout.samples)

    def _trials(self, references: Float32, images: Indices, search: PoseSearch) -> "_Trials":
        check_references(self._images, references, search)
        check_images(images, len(self._images))
        layout = self._layout_to(search.last_ring)
        rows = _Rows(self._store, self._stack, self._images.box_px, np.asarray(images))
        return _Trials(rows, references, search, layout)

    def _layout_to(self, last_ring: int) -> Layout:
        return Layout(used_rings(self._images.rings, last_ring), self._place.device)

    def _own_ctf2(self, images: Indices, rings: int) -> torch.Tensor:
        return self._ctf2[torch.from_numpy(images).to(self._place.device), :rings]

    def _norms(self, powers: Float, labels: Indices, images: Indices) -> Float:
        """Return what each row's reference takes off its gain, shape (m,)."""
        norms: Float = np.einsum("mr,mr->m", self._images.ctf2[images, : powers.shape[1]], powers[labels])
        return norms


@dataclass(frozen=True, eq=False)
class _Rows:
    """The rows of a question."""

    store: Store
    stack: int
    box_px: int
    images: Indices


class _Trials:
    """Every row once, references at each shift, open at all angles."""

    def __init__(self, rows: _Rows, references: Float32, search: PoseSearch, layout: Layout) -> None:
        self.layout, self.mirror, self.stride = layout, search.mirror, 1
        self.stack, self.row_shifts = rows.stack, 1
        self.powers = _powers(references, layout.rings)
        self._rows, self._references = rows, references
        self._shifts_px = np.asarray(search.shifts_px, dtype=np.float64)
        self.reference_shifts, self.row_bytes = len(self._shifts_px), 4 * COMPLEX_BYTES * layout.coefficients
        self._device = layout.area.device
        self._turner = Turner(layout, rows.box_px, self._device)
        self.angles = coarse_angles(self._moments(order_energies), layout.longest)

    def basis(self) -> RadialBasis:
        moments = self._moments(order_moments)
        return radial_basis(moments, self.layout.rings, energy_loss=ENERGY_LOSS, keep_mean=False)

    def references(self, which: Indices) -> Folded:
        return self.layout.references(self._moved(which, self._shifts_px))

    def images(self, rows: Indices, following: Indices, *, both: bool) -> Folded:
        source = self._rows
        spectra = source.store.take(source.images[rows])
        folded = self.layout.images(self.layout.split(spectra), both=both)
        source.store.expect(source.images[following])
        return folded

    def close(self, curves: torch.Tensor, rows: Indices) -> None:
        """All is open."""

    def closes_whole_shifts(self, rows: Indices) -> bool:
        return True

    def open_curves(self, curves: torch.Tensor, rows: Indices, shifts: torch.Tensor) -> torch.Tensor:
        return curves

    def _moved(self, which: Indices, shifts_px: Float) -> list[torch.Tensor]:
        """Return weighted coefficients of references that are moved against shifts of the images."""
        samples = sent(self._references[which, : self.layout.samples].astype(np.float32), self._device)
        shifts = sent(-shifts_px.astype(np.float32), self._device)
        moved = self._turner.moved(samples, shifts).flatten(0, 1)
        return self.layout.weighted(self.layout.parts(self.layout.stretched(moved)))

    def _moments(self, made: Callable[..., Float]) -> Float:
        """Return the sum of energies or moments over references, at no shift and the outermost ones."""
        shifts = outermost(self._shifts_px)
        return over_references(
            len(self._references),
            len(shifts) * self.layout.samples,
            lambda which: made(self.layout, self._moved(which, shifts), keep_mean=False),
        )


def _powers(references: Float32, rings: Rings) -> Float:
    powers = norm_powers(references, rings)
    if not np.isfinite(powers).all():
        raise DataError("references", "a sample is not a finite number")
    return powers


def _placed(poses: Poses, rows: int) -> Float:
    """Return b in radians, dx, dy in the frame of the reference and mirror of each pose, shape (m, 4)."""
    placed = poses.rows()
    if placed.shape != (rows, 4) or not np.isfinite(placed).all():
        raise DataError("poses", f"{len(placed)} poses for {rows} rows: need one each, of finite numbers")
    placed[:, 0] = np.deg2rad(placed[:, 0]) * np.where(poses.mirror, -1.0, 1.0)
    placed[:, 1:3] = frame_shift_px(poses)
    return placed


def _check_rings(rings: Rings) -> None:
    if list(rings.lengths) != sorted(rings.lengths) or any(n % 2 for n in rings.lengths):
        raise DataError("rings", f"lengths {rings.lengths}: need even ones that do not fall")
