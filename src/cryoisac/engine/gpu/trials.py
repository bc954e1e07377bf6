"""Trials of pixel images: rows resampled on rings at their shifts, or once where references are shifted."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from cryoisac.engine import shifted
from cryoisac.engine.contract import Images, Indices, Offsets, Search, room_px, trial_counts
from cryoisac.engine.gpu.layout import Folded, Layout
from cryoisac.engine.gpu.memory import wide
from cryoisac.engine.gpu.moments import order_energies, order_moments, over_references
from cryoisac.engine.gpu.sampling import Sampler
from cryoisac.engine.gpu.store import Store
from cryoisac.engine.gpu.transfer import sent
from cryoisac.engine.radial import RadialBasis, coarse_angles, radial_basis
from cryoisac.engine.reference import angle_stride
from cryoisac.ops.polar import Float, Rings

SAMPLE_BYTES = 40  # of a sample on a ring: its point, values, normalised values, and what the transform takes


@dataclass(frozen=True, eq=False)
class PixelRows:
    """The rows of a question: images of a store, part of a stack of so many, and the offset of each row."""

    store: Store
    stack: int
    box_px: int
    images: Indices
    offsets_px: Offsets


class PixelTrials:
    """What exact and fast searches share.

    Parameters
    ----------
    rows : PixelRows
        The rows.
    references : ndarray, shape (k, h, h), float32
        The references.
    search : Search
        Rings, shifts and angles.
    device : torch.device
        Where they are compared.
    """

    def __init__(self, rows: PixelRows, references: Images, search: Search, device: torch.device) -> None:
        rings = Rings.between(search.first_ring, search.last_ring, search.ring_step)
        self.layout = Layout(rings, device)
        self.angles, self.stride, self.mirror = rings.longest, angle_stride(search, rings.longest), search.mirror
        self.stack, self.row_shifts, self.reference_shifts = rows.stack, 1, 1
        self.row_bytes = SAMPLE_BYTES * self.layout.samples + 8 * rows.box_px**2
        self.shifts_px: Offsets = np.zeros((1, 2))
        self._rows, self._references, self._search, self._device = rows, references, search, device
        self._sample = Sampler(self.layout, rows.box_px, device)

    def _reference_spectra(self, which: Indices, shifts_px: Offsets) -> list[torch.Tensor]:
        own = with_means(sent(self._references[which], self._device))
        still = np.zeros((len(which), 2))
        return self.layout.weighted(self._spectra(own, still, shifts_px, normalise=False))

    def _image_spectra(self, rows: Indices, following: Indices, shifts_px: Offsets) -> list[torch.Tensor]:
        source, normalise = self._rows, self._search.normalise_rings
        own = source.store.take(source.images[rows])
        spectra = self._spectra(own, source.offsets_px[rows], shifts_px, normalise=normalise)
        source.store.expect(source.images[following])
        return spectra

    def _spectra(
        self, pixels: torch.Tensor, offsets_px: Offsets, shifts_px: Offsets, *, normalise: bool
    ) -> list[torch.Tensor]:
        side = self._rows.box_px
        images = pixels[:, :-1].view(-1, side, side), pixels[:, -1]
        return self._sample(images, side // 2 + offsets_px, shifts_px, normalise=normalise)


class ExactTrials(PixelTrials):
    """Every row at each of its trial shifts, references where they are."""

    def __init__(self, rows: PixelRows, references: Images, search: Search, device: torch.device) -> None:
        super().__init__(rows, references, search, device)
        self._counts = trial_counts(rows.offsets_px, rows.box_px, search)
        left, right, down, up = self._counts.max(axis=0, initial=0)
        y, x = np.mgrid[-down : up + 1, -left : right + 1]
        self._steps = np.stack((x.ravel(), y.ravel()), axis=-1)
        self.shifts_px = (self._steps * search.step_px).astype(np.float64)
        self.row_shifts = len(self._steps)

    def basis(self) -> None:
        """All coefficients count."""

    def references(self, which: Indices) -> Folded:
        """Return references at their shifts; see ``Trials``."""
        return self.layout.references(self._reference_spectra(which, np.zeros((1, 2))))

    def images(self, rows: Indices, following: Indices, *, both: bool) -> Folded:
        """Return rows at their shifts; see ``Trials``."""
        return self.layout.images(self._image_spectra(rows, following, self.shifts_px), both=both)

    def close(self, curves: torch.Tensor, rows: Indices) -> None:
        """Set correlations to minus infinity where a row may not go; see ``Trials``."""
        x, y = self._steps.T
        left, right, down, up = self._counts[rows].transpose(2, 0, 1)[..., None]
        open_to = (-left <= x) & (x <= right) & (-down <= y) & (y <= up)  # g, m, u
        if not open_to.all():
            shut = sent(~open_to, self._device)
            curves.masked_fill_(shut[None, :, None, None, :, :, None], -torch.inf)

    def closes_whole_shifts(self, rows: Indices) -> bool:
        """Return whether rows may go to each shift at all angles or at none."""
        return True

    def open_curves(self, curves: torch.Tensor, rows: Indices, shifts: torch.Tensor) -> torch.Tensor:
        """Return correlations, each at one shift, closed in the same way; see ``Trials``."""
        return curves  # the best shift is open at all angles


class FastTrials(PixelTrials):
    """Every row once, references at each trial shift; what a row has room for depends on the angle."""

    def __init__(self, rows: PixelRows, references: Images, search: Search, device: torch.device) -> None:
        super().__init__(rows, references, search, device)
        self.shifts_px = (shifted.trial_grid(search) * search.step_px).astype(np.float64)
        self.reference_shifts = len(self.shifts_px)
        self._room = room_px(rows.offsets_px, rows.box_px, search.last_ring)
        furthest = np.linalg.norm(self.shifts_px, axis=1).max()
        self._ample = (self._room >= furthest).all(axis=1)
        if search.angle_step_deg == 0:
            self.angles = coarse_angles(self._moments(order_energies), self.layout.longest)

    def basis(self) -> RadialBasis:
        """Return a short basis for the references."""
        return radial_basis(self._moments(order_moments), self.layout.rings)

    def references(self, which: Indices) -> Folded:
        """Return references at their shifts; see ``Trials``."""
        return self.layout.references(self._reference_spectra(which, self.shifts_px))

    def images(self, rows: Indices, following: Indices, *, both: bool) -> Folded:
        """Return rows at their shifts; see ``Trials``."""
        return self.layout.images(self._image_spectra(rows, following, np.zeros((1, 2))), both=both)

    def close(self, curves: torch.Tensor, rows: Indices) -> None:
        """Set correlations to minus infinity where a row may not go; see ``Trials``."""
        far = np.flatnonzero(np.linalg.norm(self.shifts_px, axis=1) > self._room[rows].min(initial=np.inf))
        if len(far):  # those nearer are open to all rows
            at = sent(far, self._device)
            moves = self._moves(len(curves))[:, at][:, None, None, :, None, None]  # a, g, c, s, m, u, mirror, (x, y)
            room = self._own_room(rows)[None, :, None, None, :, None, None]
            curves[:, :, :, at] = curves[:, :, :, at].masked_fill(_shut(moves, room), -torch.inf)

    def closes_whole_shifts(self, rows: Indices) -> bool:
        """Return whether rows may go to each shift at all angles or at none."""
        return bool(self._ample[rows].all())

    def open_curves(self, curves: torch.Tensor, rows: Indices, shifts: torch.Tensor) -> torch.Tensor:
        """Return correlations, each at one shift, closed in the same way; see ``Trials``."""
        if self.closes_whole_shifts(rows):
            return curves
        moves = self._moves(len(curves))[:, shifts]  # a, m, mirror, (x, y)
        return curves.masked_fill(_shut(moves, self._own_room(rows)[None, :, None]), -torch.inf)

    def _own_room(self, rows: Indices) -> torch.Tensor:
        return sent(self._room[rows].astype(np.float32), self._device)

    def _moves(self, angles: int) -> torch.Tensor:
        """Return how a centre moves at each angle and shift of the references, straight and mirrored, (a, s, 2, 2)."""
        angle = np.arange(angles)[:, None] * 360.0 / angles
        moves = [shifted.moves_px(angle, self.shifts_px, mirror) for mirror in (False, True)]
        return sent(np.stack(moves, axis=2).astype(np.float32), self._device)

    def _moments(self, made: Callable[..., Float]) -> Float:
        """Return the sum of energies or moments over references, at no shift and the outermost ones."""
        shifts: Offsets = shifted.outer_grid(self._search) * np.float64(self._search.step_px)
        return over_references(
            len(self._references),
            len(shifts) * self.layout.samples,
            lambda which: made(self.layout, self._reference_spectra(which, shifts), keep_mean=True),
        )


def _shut(moves: torch.Tensor, room: torch.Tensor) -> torch.Tensor:
    """Return which moves (..., 2) do not keep within a row's room (..., 4); see ``shifted.allowed``."""
    x, y = moves[..., 0], moves[..., 1]
    left, right, down, up = (side + shifted.NEAR_px for side in room.unbind(dim=-1))
    return (x < -left) | (x > right) | (y < -down) | (y > up)


def with_means(images: torch.Tensor) -> torch.Tensor:
    """Return the pixels of images (n, h, h) and, last, the mean of each, (n, h h + 1)."""
    pixels = images.flatten(1)
    mean = pixels.mean(dim=1, keepdim=True, dtype=wide(images.device))
    return torch.cat((pixels, mean.float()), dim=1)
