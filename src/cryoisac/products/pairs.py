"""How every class average lies on every other, and how alike the two then are."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cryoisac.engine.native import NativeEngine
from cryoisac.errors import DataError, SettingError
from cryoisac.model.poses import Poses, wrap
from cryoisac.ops.masks import circle
from cryoisac.ops.polar import Rings, parabola_offset, sample, spectra, weigh

Float = npt.NDArray[np.float64]
Complex = npt.NDArray[np.complex128]
Bool = npt.NDArray[np.bool_]

IMAGES_AT_ONCE = 16  # what is transformed together stays in the processor's cache

# Least squares of a + bx + cy + dx² + exy + fy² through the nine values around a peak, row by row.
_Y, _X = (grid.ravel() for grid in np.mgrid[-1:2, -1:2].astype(np.float64))
_QUADRATIC = np.linalg.pinv(np.stack((np.ones(9), _X, _Y, _X * _X, _X * _Y, _Y * _Y), axis=1))


@dataclass(frozen=True, eq=False, kw_only=True)
class Pairs:
    """Poses and similarities of all ordered pairs of ``k`` averages; [i, j] lays average i on average j.

    Parameters
    ----------
    similarity : ndarray, shape (k, k)
        Correlation coefficient under the mask, symmetric, 1 on the diagonal.
    angle_deg : ndarray, shape (k, k)
        Rotations in degrees.
    shift_px : ndarray, shape (k, k, 2)
        Shifts (x, y) in pixels.
    mirror : ndarray, shape (k, k), bool
        Whether x is reversed last; symmetric.
    """

    similarity: Float
    angle_deg: Float
    shift_px: Float
    mirror: Bool

    def poses(self, sources: npt.ArrayLike, targets: npt.ArrayLike) -> Poses:
        """Return the poses that lay averages ``sources`` on averages ``targets``."""
        at = np.asarray(sources), np.asarray(targets)
        return Poses(angle_deg=self.angle_deg[at], shift_px=self.shift_px[at], mirror=self.mirror[at])


def align_pairs(averages: npt.ArrayLike, *, range_px: float, radius_px: float | None = None) -> Pairs:
    """Align each average to each later one and correlate the two.

    The rotation (and mirror) comes from the self-correlation functions, which no shift changes; it leaves a half turn
    open. Both turns are tried: each is cross-correlated with the target, and the higher peak wins, refined by a
    quadratic.

    Parameters
    ----------
    averages : array_like, shape (k, n, n)
        Class averages, n >= 12.
    range_px : float
        Largest shift of a peak in whole pixels, before it is refined by at most one pixel.
    radius_px : float, optional
        Radius of the mask under which averages are correlated; n // 2 - 2 by default.

    Returns
    -------
    Pairs
        Poses and similarities; a constant average is like no other (0).

    Raises
    ------
    DataError
        When the averages are not square, too small or not finite.
    SettingError
        When the shift range or the radius does not fit the box.

    Notes
    -----
    As SPARX's ``align2d_scf``. A peak is higher than its eight neighbours; where neither turn has one within the range,
    both stay unshifted but for the refinement, and the turn that SPARX tries last is taken, as it does.
    """
    pixels = np.asarray(averages, dtype=np.float32)
    _check(pixels, range_px, radius_px)
    k, n = len(pixels), pixels.shape[-1]
    mask = circle(n // 2 - 2 if radius_px is None else radius_px, n)
    pairs = Pairs(similarity=np.eye(k), angle_deg=np.zeros((k, k)), shift_px=np.zeros((k, k, 2)), mirror=np.eye(k) < 0)
    if k < 2:
        return pairs
    angle, mirror = _rotations(pixels)
    engine = NativeEngine(pixels)
    for target in range(1, k):
        turned = Poses(angle_deg=angle[:target, target], shift_px=np.zeros((target, 2)), mirror=mirror[:target, target])
        poses = _best_turns(engine, pixels[target], turned, int(range_px))
        moved = engine.warp(np.arange(target), poses)
        _enter(pairs, target, poses, _coefficients(moved, pixels[target], mask))
    return pairs


def _check(pixels: npt.NDArray[np.float32], range_px: float, radius_px: float | None) -> None:
    if pixels.ndim != 3 or pixels.shape[1] != pixels.shape[2] or pixels.shape[2] < 12:
        raise DataError("class averages", f"shape {pixels.shape}: need square images of at least 12 px, (k, n, n)")
    bad = np.flatnonzero(~np.isfinite(pixels).all(axis=(1, 2)))
    if len(bad):
        raise DataError(f"class average {bad[0] + 1}", "has pixels that are not finite; leave it out")
    half = pixels.shape[2] // 2
    if not 0 <= range_px < half - 1:
        raise SettingError("range_px", f"is {range_px:g}; must be from 0 to below {half - 1} for this box")
    if radius_px is not None and not 1 <= radius_px <= half:
        raise SettingError("radius_px", f"is {radius_px:g}; must be from 1 to {half} for this box")


def _rotations(pixels: npt.NDArray[np.float32]) -> tuple[Float, Bool]:
    """Return the rotation, up to a half turn, and the mirror that lay each average on each other, shape (k, k) each."""
    coefficients, weighted, samples = _self_correlation_spectra(pixels)
    conjugate = coefficients.conj().transpose(2, 1, 0)  # (order, ring, image)
    k = len(pixels)
    angle, mirror = np.zeros((k, k)), np.zeros((k, k), dtype=bool)
    for start in range(0, k, IMAGES_AT_ONCE):
        targets = slice(start, start + IMAGES_AT_ONCE)
        references = weighted[targets].transpose(2, 0, 1)  # (order, target, ring)
        straight, turn = _peak(references @ conjugate, samples)
        mirrored, turn_of_mirrored = _peak(references.conj() @ conjugate, samples)
        flip = mirrored > straight  # (target, image)
        mirror[:, targets] = flip.T
        angle[:, targets] = np.where(flip, turn_of_mirrored - 180.0, turn).T
    return angle, mirror


def _self_correlation_spectra(pixels: npt.NDArray[np.float32]) -> tuple[Complex, Complex, int]:
    """Return ring spectra of self-correlation functions, plain and weighted, and the samples of half a circle.

    A self-correlation function is even, so only the even orders of a full circle differ from 0: those of half a circle.
    """
    n = pixels.shape[-1]
    radii = tuple(range(1, n // 2 - 1))
    rings = Rings(radii=radii, lengths=tuple(2 << int(np.pi * r + 0.5).bit_length() for r in radii))
    parts = []
    for start in range(0, len(pixels), IMAGES_AT_ONCE):
        part = pixels[start : start + IMAGES_AT_ONCE].astype(np.float64)
        even = np.fft.fftshift(np.fft.ifft2(np.abs(np.fft.fft2(part))).real, axes=(1, 2))
        parts.append(spectra(sample(even, rings, np.full((len(part), 2), n // 2)), rings))
    coefficients = np.concatenate(parts)
    return coefficients[..., ::2], weigh(coefficients, rings)[..., ::2], rings.longest // 2


def _peak(spectrum: Complex, samples: int) -> tuple[Float, Float]:
    """Return the largest value of curves over half a circle, and its angle, from spectra of shape (order, ...)."""
    curves = np.fft.irfft(spectrum, samples, axis=0)
    last = samples - 1 - curves[::-1].argmax(axis=0)
    around = (last + np.arange(-3, 4).reshape(-1, *[1] * last.ndim)) % samples
    offset = parabola_offset(np.moveaxis(np.take_along_axis(curves, around, axis=0), 0, -1))
    return np.take_along_axis(curves, last[None], axis=0)[0], (last + offset) * 180.0 / samples


def _best_turns(engine: NativeEngine, target: npt.NDArray[np.float32], turned: Poses, reach: int) -> Poses:
    """Return the poses of the first averages on a target: as ``turned``, or half a turn further if that is better."""
    n = len(target)
    by = np.arange(-reach - 1, reach + 2)
    windows = np.stack([np.roll(target, (-y, -x), axis=(0, 1)) for y in by for x in by], axis=-1).reshape(n * n, -1)
    peaks, shifts, angles = [], [], []
    for half_turn in (0.0, 180.0):
        poses = Poses(angle_deg=turned.angle_deg + half_turn, shift_px=turned.shift_px, mirror=turned.mirror)
        moved = engine.warp(np.arange(len(poses)), poses).reshape(-1, n * n).astype(np.float64)
        peak, shift = _peak_in_windows((moved @ windows.astype(np.float64)).reshape(-1, len(by), len(by)))
        peaks.append(peak)
        shifts.append(shift)
        angles.append(poses.angle_deg)
    further = peaks[1] >= peaks[0]
    shift = np.where(further[:, None], shifts[1], shifts[0])
    shift[turned.mirror, 0] *= -1  # a pose holds its shift as before the mirror
    return Poses(angle_deg=np.where(further, angles[1], angles[0]), shift_px=shift, mirror=turned.mirror)


def _peak_in_windows(windows: Float) -> tuple[Float, Float]:
    """Return the height of the highest peak of each window, -inf where none is, and its refined shift (x, y).

    A peak is a value inside the window, shape (n, s, s), that is higher than its eight neighbours.
    """
    count, side = windows.shape[:2]
    inner = side - 2
    nine = np.lib.stride_tricks.sliding_window_view(windows, (3, 3), axis=(1, 2)).reshape(count, inner * inner, 9)
    around = np.delete(nine, 4, axis=2).max(axis=2)
    height = np.where(nine[..., 4] > around, nine[..., 4], -np.inf)
    highest = height.max(axis=1)
    best = np.where(np.isfinite(highest), height.argmax(axis=1), inner * inner // 2)
    image = np.arange(count)
    whole = np.stack((best % inner, best // inner), axis=-1) - inner // 2
    return highest, whole + _summit(nine[image, best])


def _summit(nine: Float) -> Float:
    """Return where the quadratic through nine values, shape (n, 9), is level: (x, y) within ±1 of the middle one."""
    _, bx, by, cxx, cxy, cyy = (nine @ _QUADRATIC.T).T
    determinant = 4 * cxx * cyy - cxy**2
    raw = np.stack((cxy * by - 2 * cyy * bx, cxy * bx - 2 * cxx * by), axis=-1)
    summit = np.divide(raw, determinant[:, None], out=np.zeros_like(raw), where=determinant[:, None] != 0)
    within: Float = np.clip(summit, -1.0, 1.0)
    return within


def _coefficients(moved: npt.NDArray[np.float32], target: npt.NDArray[np.float32], mask: Bool) -> Float:
    """Return the correlation coefficient of each moved average with the target under a mask; 0 for a constant one."""
    a, b = moved[:, mask].astype(np.float64), target[mask].astype(np.float64)
    a = a - a.mean(axis=1, keepdims=True)
    b = b - b.mean()
    scale = np.sqrt((a**2).sum(axis=1) * (b**2).sum())
    coefficient: Float = np.divide(a @ b, scale, out=np.zeros(len(a)), where=scale > 0)
    return coefficient


def _enter(pairs: Pairs, target: int, poses: Poses, similarity: Float) -> None:
    """Write the poses of averages 0 ... target - 1 on ``target``, and their inverses."""
    back = poses.inverse()
    earlier = slice(0, target)
    pairs.similarity[earlier, target] = pairs.similarity[target, earlier] = similarity
    pairs.mirror[earlier, target] = pairs.mirror[target, earlier] = poses.mirror
    pairs.angle_deg[earlier, target], pairs.angle_deg[target, earlier] = wrap(poses.angle_deg), back.angle_deg
    pairs.shift_px[earlier, target], pairs.shift_px[target, earlier] = poses.shift_px, back.shift_px
