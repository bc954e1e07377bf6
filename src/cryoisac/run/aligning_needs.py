"""What an alignment takes: memory, and the time of an iteration."""

from collections.abc import Callable

import numpy as np

from cryoisac.align.stages import Course
from cryoisac.engine.contract import Engine, Images, Search
from cryoisac.engine.native import NativeEngine
from cryoisac.model.poses import Poses
from cryoisac.ops.filters import tangent_lowpass
from cryoisac.run.room import seconds_of
from cryoisac.settings import Alignment

PROBE_IMAGES = 320  # more than a stack that the fast search treats otherwise
PROBE_REFERENCES = 8
OVERHEAD_BYTES = 1 << 28  # of Python, and of blocks of images under way


def memory_bytes(n: int, k: int, box_px: int, course: Course, settings: Alignment) -> int:
    """Return the most memory taken at once: images, scores, class sums of both halves, and what the engine needs.

    Parameters
    ----------
    n, k : int
        Images and references.
    box_px : int
        Side of the images.
    course : Course
        Stages and rings.
    settings : Alignment
        Say which search is made.

    Returns
    -------
    int
        Bytes.
    """
    pixels, scores, classes = 4 * n * box_px**2, 3 * 4 * n * k, 6 * 2 * 8 * k * box_px**2
    probe = NativeEngine(np.zeros((1, box_px, box_px), dtype=np.float32), mode=settings.search)
    stages = range(len(course.stages))
    engine = max(probe.plan(n, k, course.search(stage, -1, normalise_rings=True)) for stage in stages)
    return int(pixels + scores + classes + engine + OVERHEAD_BYTES)


def seconds_an_iteration(n: int, k: int, box_px: int, search: Search, make_engine: Callable[[Images], Engine]) -> float:
    """Return how long an iteration will take, from a short trial of the engine on noise.

    Parameters
    ----------
    n, k : int
        Images and references.
    box_px : int
        Side of the images.
    search : Search
        Rings and shifts.
    make_engine : callable
        ``make_engine(images)``.
    """
    noise = np.random.default_rng(0).normal(size=(PROBE_IMAGES, box_px, box_px)).astype(np.float32)
    references = tangent_lowpass(noise[:PROBE_REFERENCES], 0.2, 0.2)
    engine, rows, centred = make_engine(noise), np.arange(PROBE_IMAGES), np.zeros((PROBE_IMAGES, 2))
    labels, poses = rows % PROBE_REFERENCES, Poses.identity(PROBE_IMAGES)
    an_image = seconds_of(lambda: engine.match(references, labels, rows, centred, search))
    an_image += seconds_of(lambda: engine.quick_total(labels, rows, poses, PROBE_REFERENCES))
    a_pair = 0.0
    if k > 1:
        a_pair = seconds_of(lambda: engine.score(references, rows, centred, search)) / PROBE_REFERENCES
    return n * (an_image + k * a_pair) / PROBE_IMAGES
