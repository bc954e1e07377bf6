"""What a run of the original method takes: memory, disk, and the time of a round."""

from bisect import bisect_right
from collections.abc import Callable

import numpy as np

from cryoisac.cluster.generation import cutoffs, search_of
from cryoisac.engine.contract import Engine, Images
from cryoisac.engine.fast import fast_bytes
from cryoisac.engine.holding import pixel_image_bytes
from cryoisac.engine.ring_sums import ring_bytes
from cryoisac.model.poses import Poses
from cryoisac.ops.filters import tangent_lowpass
from cryoisac.ops.polar import Rings
from cryoisac.run.room import seconds_of
from cryoisac.run.working_stack import Geometry
from cryoisac.settings import Isac

PROBE_IMAGES = 320  # more than a stack that the fast search treats otherwise
PROBE_REFERENCES = 8
AVERAGES_KEPT = 20  # times those of the first generation, in stacks of generations, main iterations and the run


def memory_bytes(n: int, k: int, geometry: Geometry, settings: Isac) -> int:
    """Return the most memory taken at once: images, scores, and rows, averages and references of a stability test."""
    pixels, scores, rows = n * geometry.target_box_px**2 * 4, n * k * (4 + 8), n * settings.stab_ali * 200
    aligned = k * settings.stab_ali
    averages = aligned * geometry.target_box_px**2 * (4 + 8)
    if settings.search == "fast":
        search = search_of(settings)
        rings = Rings.between(search.first_ring, search.last_ring, search.ring_step)
        averages += max(fast_bytes(rings, aligned, search), ring_bytes(geometry.target_box_px, aligned, 1))
    return int(pixels + scores + rows + averages + (1 << 28))


def held_bytes(geometry: Geometry) -> int:
    """Return what an image takes on a device that classes are made on."""
    return pixel_image_bytes(geometry.target_box_px)


def most_classes(n: int, geometry: Geometry, settings: Isac, available_bytes: int) -> int:
    """Return the largest number of classes of ``n`` images, two in each at least, that memory can hold; 0 for none."""
    possible = range(1, n // 2 + 1)
    return bisect_right(possible, available_bytes, key=lambda k: memory_bytes(n, k, geometry, settings))


def disk_bytes(n: int, k: int, geometry: Geometry, settings: Isac) -> int:
    """Return the most disk taken: the shrunk and the working stack, averages of generations, and some for the rest."""
    shrunk = 0 if settings.skip_prealignment else n * geometry.shrunk_box_px**2 * 4
    averages = AVERAGES_KEPT * k * geometry.target_box_px**2 * 4
    return shrunk + n * geometry.target_box_px**2 * 4 + averages + n * 2000 + (1 << 24)


def seconds_a_round(n: int, k: int, box_px: int, settings: Isac, make_engine: Callable[[Images], Engine]) -> float:
    """Return how long a round of the first generation will take, from a short trial of the engine.

    Parameters
    ----------
    n, k : int
        Images and classes.
    box_px : int
        Side of the working images.
    settings : Isac
        The settings, none left automatic.
    make_engine : callable
        ``make_engine(images)``.

    Returns
    -------
    float
        Seconds for the K-means passes and the stability test of one round.
    """
    s = settings
    noise = np.random.default_rng(0).normal(size=(PROBE_IMAGES, box_px, box_px)).astype(np.float32)
    references = tangent_lowpass(noise[:PROBE_REFERENCES], s.FH, s.FF)
    engine, rows, labels = make_engine(noise), np.arange(PROBE_IMAGES), np.arange(PROBE_IMAGES) % PROBE_REFERENCES
    centred, search, poses = np.zeros((PROBE_IMAGES, 2)), search_of(s), Poses.identity(PROBE_IMAGES)

    def match(m: int, few: int) -> float:
        return seconds_of(lambda: engine.match(references[:few], labels[:m] % few, rows[:m], centred[:m], search))

    def score(few: int) -> float:
        return seconds_of(lambda: engine.score(references[:few], rows, centred, search)) / PROBE_IMAGES

    least, some, all_rows = match(1, 1), match(1, PROBE_REFERENCES), match(PROBE_IMAGES, PROBE_REFERENCES)
    a_class = max(some - least, 0.0) / (PROBE_REFERENCES - 1)
    a_row = max(all_rows - some, 0.0) / PROBE_IMAGES
    a_row += seconds_of(lambda: engine.quick_total(labels, rows, poses, PROBE_REFERENCES)) / PROBE_IMAGES
    a_reference = max(score(PROBE_REFERENCES) - score(1), 0.0) / (PROBE_REFERENCES - 1)
    held, eight = make_engine(references), slice(PROBE_REFERENCES)
    in_frame = seconds_of(lambda: held.match(references[:1], labels[eight] * 0, rows[eight], centred[eight], search))
    kmeans = n * (2 * a_row + k * a_reference) + s.maxit * in_frame
    aligning = s.stab_ali * (n * a_row + k * a_class)
    return len(list(cutoffs(s.FL, s.FH))) * kmeans + s.maxit * (least + aligning)
