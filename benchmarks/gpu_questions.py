"""Questions to the engines, of images of noise and low-passed views of a molecule: what ``gpu_check`` asks."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from cryoisac.engine.contract import Engine, Search
from cryoisac.engine.devices import Devices
from cryoisac.engine.likelihood import LikelihoodEngine, PoseSearch, RingImages, shift_disc
from cryoisac.engine.native import default_threads
from cryoisac.model.poses import Poses, pixel_error
from cryoisac.ops.filters import tangent_lowpass
from cryoisac.ops.hartley import transform_rings
from cryoisac.simulation.density import procedural
from cryoisac.simulation.projection import Projector, orientation

BOX_px, RADIUS_px = 90, 36
PIXEL_SIZE_A, CUTOFF, FALLOFF = 4.0, 0.2, 0.2
RING_BOX_px, LAST_RING, SUPPORT_px = 76, 37, 34.0
BLOCK = 1000  # images of noise that are made at once
SEARCH = Search(last_ring=RADIUS_px, x_range_px=3, y_range_px=3, normalise_rings=True)


def _places(devices: Devices, tf32: bool, fused: str) -> Any:
    from cryoisac.engine.gpu import chosen

    found = chosen.places(devices.names, devices.memory_share, default_threads())
    return [replace(place, tf32=tf32, fused=fused) for place in found]


def random_poses(rng: np.random.Generator, m: int) -> Poses:
    """Return any poses."""
    return Poses(angle_deg=rng.uniform(0, 360, m), shift_px=rng.uniform(-2, 2, (m, 2)), mirror=rng.random(m) < 0.5)


@dataclass(frozen=True, eq=False)
class Pixels:
    """Images of noise, and low-passed views of a molecule."""

    images: npt.NDArray[np.float32]
    references: npt.NDArray[np.float32]

    @staticmethod
    def made(n: int, k: int) -> "Pixels":
        """Return so many, and so many references."""
        rng, images = np.random.default_rng(0), np.empty((n, BOX_px, BOX_px), dtype=np.float32)

        def fill(first: int) -> None:
            own = np.random.default_rng((0, first))
            own.standard_normal(dtype=np.float32, out=images[first : first + BLOCK])

        with ThreadPoolExecutor(default_threads()) as pool:
            list(pool.map(fill, range(0, n, BLOCK)))
        density = procedural(box_px=BOX_px, pixel_size_A=PIXEL_SIZE_A, seed=0)
        tilt = np.degrees(np.arccos(rng.uniform(0, 1, k)))
        axes = orientation(rng.uniform(0, 360, k), tilt, rng.uniform(0, 360, k))
        views = Projector(density, box_px=BOX_px, pixel_size_A=PIXEL_SIZE_A).project(axes)
        return Pixels(images, tangent_lowpass(views, CUTOFF, FALLOFF).astype(np.float32))

    def some(self, n: int, k: int) -> "Pixels":
        """Return the first of them, and the first references."""
        return Pixels(self.images[:n], self.references[:k])

    @property
    def rows(self) -> int:
        """Images."""
        return len(self.images)

    @cached_property
    def poses(self) -> Poses:
        """A pose of each."""
        return random_poses(np.random.default_rng(1), self.rows)

    def engine(self, devices: Devices, *, mode: str = "exact", tf32: bool = False, fused: str = "") -> Engine:
        """Return an engine that holds them, on a device or, without any, the compiled one."""
        if not devices.names:
            return devices.engine(self.images, threads=default_threads(), mode=mode)
        from cryoisac.engine.gpu.divided import engine_on

        return engine_on(_places(devices, tf32, fused), self.images, mode)

    def score(self, engine: Engine, k: int, n: int) -> npt.NDArray[np.float32]:
        """Ask for scores with references."""
        return engine.score(self.references[:k], np.arange(n), np.zeros((n, 2)), SEARCH)

    def match(self, engine: Engine, reach: int, n: int) -> Any:
        """Ask for poses on own references."""
        search = replace(SEARCH, x_range_px=reach, y_range_px=reach, normalise_rings=False)
        return engine.match(self.references, self.labels(n), np.arange(n), np.zeros((n, 2)), search)

    def total(self, engine: Engine, n: int) -> npt.NDArray[np.float64]:
        """Ask for sums over classes."""
        return engine.total(self.labels(n), np.arange(n), self.poses[:n], len(self.references))

    def labels(self, n: int) -> npt.NDArray[np.int64]:
        """Return the reference of each row, all in turn."""
        return np.arange(n) % len(self.references)

    def differences(self, mine: Engine, other: Engine) -> dict[str, float]:
        """Return by how much answers differ, in parts of the largest."""
        n, k = self.rows, len(self.references)
        a, b = (self.score(e, k, n) for e in (mine, other))
        c, d = (self.match(e, 3, n) for e in (mine, other))
        s, t = (self.total(e, n) for e in (mine, other))
        apart_px = pixel_error(c.poses, d.poses, radius_px=RADIUS_px)
        return {
            "scores": float(np.abs(a - b).max() / np.abs(b).max()),
            "poses 0.01 px apart": float((apart_px > 0.01).mean()),
            "0.5 px": float((apart_px > 0.5).mean()),
            "sums": float(np.abs(s - t).max() / np.abs(t).max()),
        }


@dataclass(frozen=True, eq=False)
class RingRows:
    """Rings of noise, and references of it."""

    images: RingImages
    samples: npt.NDArray[np.float32]

    @staticmethod
    def made(n: int, k: int) -> "RingRows":
        """Return so many, and so many references."""
        rng = np.random.default_rng(0)
        rings = transform_rings(LAST_RING, first=2, box_px=RING_BOX_px, support_px=SUPPORT_px)
        samples = rng.standard_normal((n + k, sum(rings.lengths)), dtype=np.float32)
        ctf2 = np.ones((n, len(rings.radii)), dtype=np.float32)
        fall = np.repeat(0.1 * np.exp(-np.array(rings.radii) / 8), rings.lengths).astype(np.float32)
        held = RingImages(rings=rings, box_px=RING_BOX_px, samples=samples[:n], ctf2=ctf2)
        return RingRows(held, samples[n:] * fall)

    @property
    def rows(self) -> int:
        """Images."""
        return len(self.images)

    @property
    def references(self) -> int:
        """References."""
        return len(self.samples)

    @property
    def shifts(self) -> int:
        """Shifts of a search."""
        return len(self._search(LAST_RING).shifts_px)

    @cached_property
    def poses(self) -> Poses:
        """A pose of each."""
        return random_poses(np.random.default_rng(1), self.rows)

    def engine(self, devices: Devices, *, tf32: bool = False, fused: str = "") -> LikelihoodEngine:
        """Return an engine that holds them, on a device or, without any, the compiled one."""
        if not devices.names:
            return devices.likelihood_engine(self.images, threads=default_threads())
        from cryoisac.engine.gpu.divided import likelihood_engine_on

        return likelihood_engine_on(_places(devices, tf32, fused), self.images)

    def score(self, engine: LikelihoodEngine, last: int, n: int) -> npt.NDArray[np.float32]:
        """Ask for scores with references."""
        return engine.score(self.samples, np.arange(n), self._search(last))

    def match(self, engine: LikelihoodEngine, last: int, n: int) -> Any:
        """Ask for poses on own references."""
        return engine.match(self.samples, self.labels(n), np.arange(n), self._search(last))

    def refine(self, engine: LikelihoodEngine, last: int, n: int) -> Any:
        """Ask for poses between samples."""
        return engine.refine(self.samples, self.labels(n), np.arange(n), self.poses[:n], last)

    def total(self, engine: LikelihoodEngine, last: int, n: int) -> npt.NDArray[np.float64]:
        """Ask for sums over classes."""
        return engine.total(self.labels(n), np.arange(n), self.poses[:n], self.references)

    def labels(self, n: int) -> npt.NDArray[np.int64]:
        """Return the reference of each row, all in turn."""
        return np.arange(n) % self.references

    def differences(self, mine: LikelihoodEngine, other: LikelihoodEngine) -> dict[str, float]:
        """Return by how much answers differ, in parts of the spread of gains, or of the largest sum."""
        n, last = self.rows, LAST_RING
        a, b = (self.score(e, last, n) for e in (mine, other))
        c, d = (self.refine(e, last, n) for e in (mine, other))
        s, t = (self.total(e, last, n) for e in (mine, other))
        return {
            "gains": float(np.sqrt(np.mean((a - b) ** 2)) / np.std(b)),
            "refined": float(np.abs(c.score - d.score).max() / np.abs(d.score).max()),
            "sums": float(np.abs(s - t).max() / np.abs(t).max()),
        }

    @staticmethod
    def _search(last: int) -> PoseSearch:
        return PoseSearch(last_ring=last, shifts_px=shift_disc(4.5, 1.5))
