"""Several devices as one engine: each holds its own stretch of the images and answers for rows of these."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

from cryoisac.engine.contract import (
    Engine,
    Images,
    Indices,
    Match,
    Offsets,
    Search,
    check_images,
    check_labels,
    check_rows,
    check_stack,
)
from cryoisac.engine.gpu.engine import TorchEngine
from cryoisac.engine.gpu.likelihood import TorchLikelihoodEngine
from cryoisac.engine.gpu.memory import Place, computing
from cryoisac.engine.holding import pixel_image_bytes, ring_image_bytes, shared_out
from cryoisac.engine.likelihood import Float32, LikelihoodEngine, PoseSearch, RingImages
from cryoisac.model.poses import Poses
from cryoisac.ops.polar import Float

Held = TypeVar("Held", TorchEngine, TorchLikelihoodEngine)


class _Team(Generic[Held]):
    """Engines on several devices, and which images each of them holds; see ``holding.shares``."""

    def __init__(self, held: list[int], places: list[Place], make: Callable[[slice, Place], Held]) -> None:
        self.bounds = np.cumsum([0, *held])
        parts = [slice(int(a), int(b)) for a, b in zip(self.bounds[:-1], self.bounds[1:], strict=True)]
        self._tf32 = places[0].tf32
        with computing(self._tf32), ThreadPoolExecutor(len(places)) as pool:
            self.engines: list[Held] = list(pool.map(make, parts, places))

    def ask(self, images: Indices, work: Callable[[Held, Indices, Indices], None]) -> None:
        """Call ``work(engine, rows, images)`` of every device that has rows, all at the same time."""
        owner = np.searchsorted(self.bounds[1:-1], images, side="right")
        with computing(self._tf32), ThreadPoolExecutor(len(self.engines)) as pool:
            asked = []
            for number, engine in enumerate(self.engines):
                rows = np.flatnonzero(owner == number)
                if len(rows):
                    asked.append(pool.submit(work, engine, rows, images[rows] - self.bounds[number]))
            for answer in asked:
                answer.result()


class DividedEngine:
    """``TorchEngine`` on several devices.

    Parameters
    ----------
    images : ndarray, shape (n, h, h), float32
        The working stack.
    places : list of Place
        Devices; images are shared out by how fast each is, and by the memory that may be taken of it.
    mode : str
        "exact" or "fast".

    Notes
    -----
    A row is answered by the device that holds its image. Answers are those of one device, to float32 rounding.
    """

    def __init__(self, images: Images, places: list[Place], *, mode: str = "exact") -> None:
        stack = check_stack(images)
        self._shape, n = (stack.shape[0], stack.shape[1], stack.shape[2]), len(stack)
        held = shared_out(n, pixel_image_bytes(self._shape[1]), places)
        self._team = _Team(held, places, lambda part, place: TorchEngine(stack[part], place, mode=mode, stack=n))

    @property
    def shape(self) -> tuple[int, int, int]:
        """Images, rows and columns of the stack."""
        return self._shape

    def plan(self, rows: int, references: int, search: Search) -> int:
        """Return the most memory, in bytes, that a question takes on one of the devices, and on the host."""
        return max(engine.plan(rows, references, search) for engine in self._team.engines)

    def score(self, references: Images, images: Indices, offsets_px: Offsets, search: Search) -> Images:
        """Return the best correlation of each row with each reference, shape (m, k); see ``Engine``."""
        check_rows(self.shape, images, offsets_px)
        scores = np.empty((len(images), len(references)), dtype=np.float32)

        def work(engine: TorchEngine, rows: Indices, own: Indices) -> None:
            scores[rows] = engine.score(references, own, offsets_px[rows], search)

        self._team.ask(images, work)
        return scores

    def match(self, references: Images, labels: Indices, images: Indices, offsets_px: Offsets, search: Search) -> Match:
        """Return the best pose of each row on the reference that its label names; see ``Engine``."""
        check_rows(self.shape, images, offsets_px)
        check_labels(labels, len(images), len(references))
        found = _Found(len(images))

        def work(engine: TorchEngine, rows: Indices, own: Indices) -> None:
            found.put(rows, engine.match(references, labels[rows], own, offsets_px[rows], search))

        self._team.ask(images, work)
        return found.match()

    def total(self, labels: Indices, images: Indices, poses: Poses, k: int) -> Float:
        """Return the sum over each class of its images laid on it, shape (k, h, w); see ``Engine``."""
        return self._added(labels, images, poses, k, TorchEngine.total)

    def quick_total(self, labels: Indices, images: Indices, poses: Poses, k: int) -> Float:
        """Return class sums for use inside a loop, (k, h, w); see ``Engine``."""
        return self._added(labels, images, poses, k, TorchEngine.quick_total)

    def _added(self, labels: Indices, images: Indices, poses: Poses, k: int, total: Callable[..., Float]) -> Float:
        check_rows(self.shape, images, poses.shift_px)
        check_labels(labels, len(images), k, least=-1)
        sums = _Sums()

        def work(engine: TorchEngine, rows: Indices, own: Indices) -> None:
            sums.put(rows, total(engine, labels[rows], own, poses[rows], k))

        self._team.ask(images, work)
        return sums.total((k, *self.shape[1:]))


class DividedLikelihoodEngine:
    """``TorchLikelihoodEngine`` on several devices; see ``DividedEngine``.

    Parameters
    ----------
    images : RingImages
        The images.
    places : list of Place
        Devices.
    """

    def __init__(self, images: RingImages, places: list[Place]) -> None:
        self._images = images

        def make(part: slice, place: Place) -> TorchLikelihoodEngine:
            own = RingImages(
                rings=images.rings, box_px=images.box_px, samples=images.samples[part], ctf2=images.ctf2[part]
            )
            return TorchLikelihoodEngine(own, place, stack=len(images))

        held = shared_out(len(images), ring_image_bytes(images.rings), places)
        self._team = _Team(held, places, make)

    @property
    def images(self) -> RingImages:
        """The images it holds."""
        return self._images

    def score(self, references: Float32, images: Indices, search: PoseSearch) -> Float32:
        """Return the gain of each row with each reference at its best pose, shape (m, k); see ``LikelihoodEngine``."""
        check_images(images, len(self._images))
        scores = np.empty((len(images), len(references)), dtype=np.float32)

        def work(engine: TorchLikelihoodEngine, rows: Indices, own: Indices) -> None:
            scores[rows] = engine.score(references, own, search)

        self._team.ask(images, work)
        return scores

    def match(self, references: Float32, labels: Indices, images: Indices, search: PoseSearch) -> Match:
        """Return the best pose of each row on the reference that its label names; see ``LikelihoodEngine``."""
        check_images(images, len(self._images))
        check_labels(labels, len(images), len(references))
        found = _Found(len(images))

        def work(engine: TorchLikelihoodEngine, rows: Indices, own: Indices) -> None:
            found.put(rows, engine.match(references, labels[rows], own, search))

        self._team.ask(images, work)
        return found.match()

    def refine(self, references: Float32, labels: Indices, images: Indices, poses: Poses, last_ring: int) -> Match:
        """Return the poses at the nearest maximum of the gain; see ``LikelihoodEngine``."""
        check_images(images, len(self._images))
        check_labels(labels, len(images), len(references))
        found = _Found(len(images))

        def work(engine: TorchLikelihoodEngine, rows: Indices, own: Indices) -> None:
            found.put(rows, engine.refine(references, labels[rows], own, poses[rows], last_ring))

        self._team.ask(images, work)
        return found.match()

    def total(self, labels: Indices, images: Indices, poses: Poses, k: int) -> Float:
        """Return the sum over each class of its posed rings, shape (k, samples); see ``LikelihoodEngine``."""
        check_images(images, len(self._images))
        check_labels(labels, len(images), k, least=-1)
        sums = _Sums()

        def work(engine: TorchLikelihoodEngine, rows: Indices, own: Indices) -> None:
            sums.put(rows, engine.total(labels[rows], own, poses[rows], k))

        self._team.ask(images, work)
        return sums.total((k, self._images.samples.shape[1]))


class _Found:
    """Poses that several engines find."""

    def __init__(self, rows: int) -> None:
        self._poses, self._score = np.empty((rows, 4)), np.empty(rows, dtype=np.float32)

    def put(self, rows: Indices, found: Match) -> None:
        self._poses[rows], self._score[rows] = found.poses.rows(), found.score

    def match(self) -> Match:
        return Match(poses=Poses.from_rows(self._poses), score=self._score)


class _Sums:
    """Sums that several engines make, added up in the order of their rows whoever is done first."""

    def __init__(self) -> None:
        self._parts: dict[int, npt.NDArray[np.float64]] = {}

    def put(self, rows: Indices, sums: Float) -> None:
        self._parts[int(rows[0])] = sums

    def total(self, shape: tuple[int, ...]) -> Float:
        whole = np.zeros(shape)
        for first in sorted(self._parts):
            whole += self._parts[first]
        return whole


def engine_on(places: list[Place], images: Images, mode: str) -> Engine:
    """Return the engine that holds images on one device or several."""
    if len(places) == 1:
        return TorchEngine(images, places[0], mode=mode)
    return DividedEngine(images, places, mode=mode)


def likelihood_engine_on(places: list[Place], images: RingImages) -> LikelihoodEngine:
    """Return the likelihood engine that holds images on one device or several."""
    if len(places) == 1:
        return TorchLikelihoodEngine(images, places[0])
    return DividedLikelihoodEngine(images, places)
