"""The ledger: what became of each image. Every image stands in it once, in a class or with a reason."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cryoisac.model.poses import Poses

MEMBER = ""
UNTRIED = "untried"
UNSTABLE = "unstable"
SMALL_CLASS = "small_class"
AMBIGUOUS = "ambiguous"
JUNK_NOISE = "junk_noise"
JUNK_POWER = "junk_power"
JUNK_PAIR = "junk_pair"
BAD_IMAGE = "bad_image"

REASONS = {
    UNTRIED: "never reached a stability test",
    UNSTABLE: "its pose differed between repeated alignments of its class",
    SMALL_CLASS: "stable, but in a class with too few stable members",
    AMBIGUOUS: "two classes explain it equally well",
    JUNK_NOISE: "no class explains it better than it explains noise",
    JUNK_POWER: "its low frequencies are far stronger than those of the others, as of ice, carbon or an edge",
    JUNK_PAIR: "it holds much more than its class explains, as of two particles",
    BAD_IMAGE: "its pixels are constant or not finite",
}

COLUMNS = ("label", "reason", "generation", "pixel_error_px", "score", "nearest", "rival", "fellowship")


@dataclass(frozen=True, eq=False, kw_only=True)
class Ledger:
    """What became of ``n`` images.

    Parameters
    ----------
    label : ndarray, shape (n,), int64
        Class from 0, or -1.
    reason : ndarray, shape (n,), str
        Empty for members, else one of ``REASONS``.
    generation : ndarray, shape (n,), int64
        The generation (counted over the run, from 1) that last tried the image; 0 for none.
    pixel_error_px : ndarray, shape (n,)
        Pixel error in its last stability test, in working pixels; infinite where it had none.
    score : ndarray, shape (n,), float32
        Correlation with the reference of its class in the last K-means pass; or, of the likelihood method, the gain in
        log-likelihood over no particle at all.
    poses : Poses
        Pose in working pixels; that of its class average for members.
    nearest, rival : ndarray, shape (n,), int64
        The classes that explain the image best and second best, members or not; -1 where that is not known.
    fellowship : ndarray, shape (n,)
        Membership stability: share of the fellows in its class that stay with it when classes are made anew; NaN where
        that is not known.
    """

    label: npt.NDArray[np.int64]
    reason: npt.NDArray[np.str_]
    generation: npt.NDArray[np.int64]
    pixel_error_px: npt.NDArray[np.float64]
    score: npt.NDArray[np.float32]
    poses: Poses
    nearest: npt.NDArray[np.int64]
    rival: npt.NDArray[np.int64]
    fellowship: npt.NDArray[np.float64]

    @staticmethod
    def empty(n: int) -> "Ledger":
        """Return the ledger of ``n`` images that were not tried yet."""
        return Ledger(
            label=np.full(n, -1, dtype=np.int64),
            reason=np.full(n, UNTRIED, dtype="U16"),
            generation=np.zeros(n, dtype=np.int64),
            pixel_error_px=np.full(n, np.inf),
            score=np.zeros(n, dtype=np.float32),
            poses=Poses.identity(n),
            nearest=np.full(n, -1, dtype=np.int64),
            rival=np.full(n, -1, dtype=np.int64),
            fellowship=np.full(n, np.nan),
        )

    def __len__(self) -> int:
        return len(self.label)

    def entered(self, images: npt.NDArray[np.int64], *, poses: Poses, **columns: Any) -> "Ledger":
        """Return the ledger with new entries for ``images``; columns not named stay as they are."""
        changed: dict[str, Any] = {}
        for name in COLUMNS:
            column = getattr(self, name).copy()
            if name in columns:
                column[images] = columns[name]
            changed[name] = column
        rows = self.poses.rows()
        rows[images] = poses.rows()
        return Ledger(**changed, poses=Poses.from_rows(rows))

    def left(self) -> npt.NDArray[np.int64]:
        """Return the images that are in no class, in order."""
        return np.flatnonzero(self.label < 0)

    def spread(self, index: npt.NDArray[np.int64], n: int) -> "Ledger":
        """Return the ledger of ``n`` images of which this one knows ``index``; the others are bad images."""
        whole = Ledger.empty(n)
        whole.reason[:] = BAD_IMAGE
        return whole.entered(
            index,
            poses=self.poses,
            **{name: getattr(self, name) for name in COLUMNS},
        )

    def counts(self) -> dict[str, int]:
        """Return how many images are out for each reason; with the members they sum to ``n``."""
        counts = {reason: int((self.reason == reason).sum()) for reason in REASONS}
        members = int((self.label >= 0).sum())
        if members != int((self.reason == MEMBER).sum()) or members + sum(counts.values()) != len(self):
            raise AssertionError("the ledger does not account for every image")
        return counts
