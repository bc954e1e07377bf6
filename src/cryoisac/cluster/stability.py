"""Stability: members whose pose comes out the same however often their class is aligned.

All classes are tested at once. A *row* is one member of one class; each row has a pose in each of L repeated
alignments. The frames of the L alignments of a class differ by a rotation, a shift and perhaps a mirror, which are
fitted and taken out before poses are compared.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cryoisac.model.poses import Poses, rotate, wrap

Float = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

CONVERGED_PX = 1e-9
MOST_ITERATIONS = 10_000


@dataclass(frozen=True, eq=False, kw_only=True)
class Stability:
    """The outcome of a stability test of ``n`` rows.

    Parameters
    ----------
    stable : ndarray, shape (n,), bool
        Whether the pixel error is below the threshold.
    pixel_error_px : ndarray, shape (n,)
        Pixel error; infinite where the mirrors of the alignments disagree, or the error was far too large to be used.
    poses : Poses
        Average pose of each row in the frame of the last alignment; of rows that are not mirror-stable, the pose of
        the last alignment.
    """

    stable: Flags
    pixel_error_px: Float
    poses: Poses


@dataclass(frozen=True, eq=False, kw_only=True)
class Frames:
    """Rotation and shift that carry each alignment of each class to the frame of its last alignment.

    Parameters
    ----------
    angle_deg : ndarray, shape (L, k)
        Rotations in degrees.
    shift_px : ndarray, shape (L, k, 2)
        Shifts (x, y) in pixels.
    """

    angle_deg: Float
    shift_px: Float


@dataclass(frozen=True, eq=False, kw_only=True)
class Repeats:
    """The poses of ``n`` rows of ``k`` classes in L repeated alignments.

    Parameters
    ----------
    angle_deg : ndarray, shape (L, n)
        Angles.
    shift_px : ndarray, shape (L, n, 2)
        Shifts (x, y).
    mirror : ndarray, shape (L, n), bool
        Mirror flags.
    labels : ndarray, shape (n,), int64
        The class of each row, 0 to k - 1.
    k : int
        Number of classes.
    """

    angle_deg: Float
    shift_px: Float
    mirror: Flags
    labels: Labels
    k: int

    @staticmethod
    def of(runs: list[Poses], labels: Labels) -> "Repeats":
        """Return the poses of all ``runs`` side by side."""
        return Repeats(
            angle_deg=np.stack([r.angle_deg for r in runs]),
            shift_px=np.stack([r.shift_px for r in runs]),
            mirror=np.stack([r.mirror for r in runs]),
            labels=labels,
            k=int(labels.max(initial=-1)) + 1,
        )

    def take(self, used: Flags) -> "Repeats":
        """Return the rows that ``used`` selects."""
        return Repeats(
            angle_deg=self.angle_deg[:, used],
            shift_px=self.shift_px[:, used],
            mirror=self.mirror[:, used],
            labels=self.labels[used],
            k=self.k,
        )

    @property
    def sign(self) -> Float:
        """-1 where mirrored, else 1, shape (L, n)."""
        return np.where(self.mirror, -1.0, 1.0)

    def class_sum(self, values: Float) -> Float:
        """Return sums over classes: (L, n) to (L, k)."""
        return np.stack([np.bincount(self.labels, weights=row, minlength=self.k) for row in values])

    def class_mean(self, values: Float) -> Float:
        """Return means over classes of points: (L, n, 2) to (L, k, 2)."""
        count = np.maximum(np.bincount(self.labels, minlength=self.k), 1)
        return np.stack([self.class_sum(values[..., i]) for i in (0, 1)], axis=-1) / count[:, None]


def find_stable(runs: list[Poses], labels: Labels, *, radius_px: float, threshold_px: float) -> Stability:
    """Return which members of each class have the same pose in all repeated alignments.

    Parameters
    ----------
    runs : list of Poses
        The poses of the ``n`` rows in each of L >= 2 alignments.
    labels : ndarray, shape (n,), int64
        The class of each row, 0 to k - 1.
    radius_px : float
        Particle radius: the disc over which the pixel error is taken.
    threshold_px : float
        A row is stable when its pixel error is below this.

    Returns
    -------
    Stability
        Flags, errors and average poses of the rows.

    Notes
    -----
    Yang, Fang, Chittuluru, Asturias & Penczek, Structure 2012 (doi:10.1016/j.str.2011.12.007); SPARX
    ``multi_align_stability``. In order: the mirror-stable rows, frames fitted to them, rows beyond three thresholds
    left out, frames fitted again, rows below the threshold kept. A class with one row or none left has no stable row.
    """
    rows = Repeats.of(runs, labels)
    kept = mirror_stable(rows)
    frames = fit_frames(rows.take(kept), radius_px)
    kept &= pixel_errors(rows, frames, radius_px) <= 3 * threshold_px
    kept &= np.bincount(labels[kept], minlength=rows.k)[labels] > 1
    frames = fit_frames(rows.take(kept), radius_px, start=frames)
    error = np.where(kept, pixel_errors(rows, frames, radius_px), np.inf)
    average, last = average_poses(rows, frames), runs[-1]
    poses = Poses(
        angle_deg=np.where(kept, average.angle_deg, last.angle_deg),
        shift_px=np.where(kept[:, None], average.shift_px, last.shift_px),
        mirror=last.mirror,
    )
    return Stability(stable=error < threshold_px, pixel_error_px=error, poses=poses)


def mirror_stable(rows: Repeats) -> Flags:
    """Return the rows of each class whose mirrors follow the most frequent pattern.

    The pattern of a row is (m_1 ⊕ m_L, ..., m_{L-1} ⊕ m_L): an alignment as a whole may come out mirrored, so only
    differences count. Among equally frequent patterns the one with the smaller binary number wins.

    Parameters
    ----------
    rows : Repeats
        The rows.

    Returns
    -------
    ndarray, shape (n,), bool
        Rows kept.
    """
    differs = (rows.mirror[:-1] ^ rows.mirror[-1]).astype(np.int64)
    pattern = (differs * (1 << np.arange(len(differs)))[:, None]).sum(axis=0)
    kinds, kind = np.unique(pattern, return_inverse=True)
    count = np.zeros((rows.k, max(len(kinds), 1)), dtype=np.int64)
    np.add.at(count, (rows.labels, kind), 1)
    chosen: Flags = kind == count.argmax(axis=1)[rows.labels]
    return chosen


def _in_frame(rows: Repeats, frames: Frames) -> tuple[Float, Float]:
    """Return angles (L, n) in degrees and shifts (L, n, 2) of all rows in the common frame of their class."""
    sign = rows.sign
    turn = sign * frames.angle_deg[:, rows.labels]
    u = frames.shift_px[:, rows.labels]
    moved = rotate(turn, rows.shift_px) + np.stack((sign * u[..., 0], u[..., 1]), axis=-1)
    return rows.angle_deg + turn, moved


def pixel_errors(rows: Repeats, frames: Frames, radius_px: float) -> Float:
    r"""Return the pixel error of each row over the repeated alignments.

    .. math:: E^2 = \rho^2 (1 - P / L) + Var_j(v_x) + Var_j(v_y), \quad P = |\sum_j \exp(i\theta_j)|

    with the angles θ_j and shifts v_j of the row in the common frame of its class.

    Parameters
    ----------
    rows : Repeats
        The rows.
    frames : Frames
        The frames of the alignments.
    radius_px : float
        Particle radius ρ in pixels.

    Returns
    -------
    ndarray, shape (n,)
        Pixel error in pixels.

    Notes
    -----
    The mean over a disc of radius ρ of the squared distance between a point under each pose and under the mean pose.
    """
    theta, v = _in_frame(rows, frames)
    resultant = np.abs(np.exp(1j * np.deg2rad(theta)).mean(axis=0))
    squared = radius_px**2 * (1.0 - resultant) + v.var(axis=0).sum(axis=-1)
    error: Float = np.sqrt(np.maximum(squared, 0.0))
    return error


def fit_frames(rows: Repeats, radius_px: float, *, start: Frames | None = None) -> Frames:
    """Return the frames that minimise the mean squared pixel error of the rows ``used``.

    Alternates between the mean pose of each row and, in closed form, the frame of each alignment that brings its
    rows nearest to those means (generalised Procrustes); every class at once.

    Parameters
    ----------
    rows : Repeats
        The rows that count.
    radius_px : float
        Particle radius in pixels.
    start : Frames, optional
        Where to begin; by default all alignments are turned and shifted to agree with the last on average.

    Returns
    -------
    Frames
        Frames in which the last alignment of each class is the identity.
    """
    frames = start or _initial_frames(rows)
    for _ in range(MOST_ITERATIONS):
        new = _nearest_frames(rows, frames, radius_px)
        turned = np.deg2rad(_difference_deg(new.angle_deg, frames.angle_deg)) * radius_px
        moved = max(np.abs(turned).max(initial=0.0), np.abs(new.shift_px - frames.shift_px).max(initial=0.0))
        frames = new
        if moved < CONVERGED_PX:
            break
    return _to_last(rows, frames)


def _difference_deg(a: Float, b: Float) -> Float:
    return wrap(a - b + 180.0) - 180.0


def _nearest_frames(rows: Repeats, frames: Frames, radius_px: float) -> Frames:
    """Return, for each alignment and class, the rotation and shift that bring its rows nearest to their mean poses."""
    theta, v = _in_frame(rows, frames)
    direction, target = np.angle(np.exp(1j * np.deg2rad(theta)).mean(axis=0)), v.mean(axis=0)
    # Unmirrored coordinates: a mirrored row turns and shifts the other way in x.
    sign = rows.sign
    t = np.stack((sign * rows.shift_px[..., 0], rows.shift_px[..., 1]), axis=-1)
    w = np.stack((sign * target[:, 0], np.broadcast_to(target[:, 1], sign.shape)), axis=-1)
    t_mean, w_mean = rows.class_mean(t), rows.class_mean(w)
    tc, wc = t - t_mean[:, rows.labels], w - w_mean[:, rows.labels]
    away = sign * (direction - np.deg2rad(rows.angle_deg))
    # maximise Σ ρ² cos(away - a) + 2 w·R(a)t over a, where w·R(a)t = cos a (t·w) + sin a (t_y w_x - t_x w_y)
    cosine = radius_px**2 * np.cos(away) + 2.0 * (tc * wc).sum(axis=-1)
    sine = radius_px**2 * np.sin(away) + 2.0 * (tc[..., 1] * wc[..., 0] - tc[..., 0] * wc[..., 1])
    a = np.rad2deg(np.arctan2(rows.class_sum(sine), rows.class_sum(cosine)))
    return Frames(angle_deg=a, shift_px=w_mean - rotate(a, t_mean))


def _initial_frames(rows: Repeats) -> Frames:
    """Return frames that make each alignment agree with the last on average, as SPARX starts."""
    sign = rows.sign
    delta = np.deg2rad(sign * (rows.angle_deg[-1] - rows.angle_deg))
    a = np.rad2deg(np.arctan2(rows.class_sum(np.sin(delta)), rows.class_sum(np.cos(delta))))
    difference = rows.shift_px[-1] - rotate(sign * a[:, rows.labels], rows.shift_px)
    difference[..., 0] *= sign
    return Frames(angle_deg=a, shift_px=rows.class_mean(difference))


def _to_last(rows: Repeats, frames: Frames) -> Frames:
    """Return the frames turned and shifted so that the last alignment is the identity."""
    # -1 where an alignment came out mirrored against the last: it turns the other way.
    handed = np.where(rows.class_sum(rows.sign * rows.sign[-1]) < 0, -1.0, 1.0)
    turn = -frames.angle_deg[-1]
    a = frames.angle_deg + handed * turn
    back = -rotate(turn, frames.shift_px[-1])
    u = rotate(handed * turn, frames.shift_px)
    u += np.stack((handed * back[..., 0], np.broadcast_to(back[..., 1], handed.shape)), axis=-1)
    return Frames(angle_deg=_difference_deg(a, np.zeros_like(a)), shift_px=u)


def average_poses(rows: Repeats, frames: Frames) -> Poses:
    """Return the mean pose of each row over the alignments, in the frame of the last."""
    theta, v = _in_frame(rows, frames)
    mean = np.exp(1j * np.deg2rad(theta)).mean(axis=0)
    return Poses(angle_deg=wrap(np.rad2deg(np.angle(mean))), shift_px=v.mean(axis=0), mirror=rows.mirror[-1].copy())
