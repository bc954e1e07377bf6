"""What a run by likelihood takes: memory, disk, time."""

import numpy as np

from cryoisac.cluster.judging import NOISE_IMAGES
from cryoisac.cluster.likelihood import MOST_ROUNDS, MOST_START_PASSES
from cryoisac.cluster.partition import LikelihoodBench
from cryoisac.cluster.wiener import Prior
from cryoisac.comm import Serial
from cryoisac.engine.devices import PROCESSOR, Devices
from cryoisac.engine.holding import ring_image_bytes
from cryoisac.engine.likelihood import RingImages
from cryoisac.engine.likelihood_native import NativeLikelihoodEngine
from cryoisac.model.poses import Poses
from cryoisac.ops.hartley import MATRIX_BYTES
from cryoisac.run.ring_stack import BLOCK_BYTES, ring_geometry
from cryoisac.run.room import seconds_of
from cryoisac.run.working_stack import Geometry
from cryoisac.settings import Isac

PROBE_IMAGES = 256
PROBE_REFERENCES = 8
REPEATS = 5  # of a trial that takes milliseconds
MORE_CLASSES = 2  # times those at first, where classes are halved
SCORE_TABLES = 4  # scores, those of the second best class, pose-free parts, a copy to sort
SUM_COPIES = 5  # sums, averages, halves of classes, unfiltered averages
PARTITION_BYTES = 64  # of an image in a partition: class, pose, gain
POWER_BLOCK = 512  # images whose power is taken at once, at most
BLOCK_COPIES, BAR_COPIES = 12, 16  # of a block of images while it is transformed; and of the bars of filaments
FEWEST_PASSES, LEAST_AFTER = 8, 20  # of a start; passes after the starts
HALVING = 12  # passes that a round of splits and merges takes
FINER = 3.0  # times the work of a pass, where shifts are finer


def memory_bytes(n: int, k: int, geometry: Geometry, settings: Isac, threads: int) -> int:
    """Return the most memory taken at once, in bytes; ring images stay on disk.

    Parameters
    ----------
    n, k : int
        Images, and classes at first.
    geometry : Geometry
        Sizes of the images.
    settings : Isac
        The settings, none left automatic.
    threads : int
        Threads that work.
    """
    bench = trial_bench(geometry, settings, threads, images=1)
    samples, side = sum(bench.engine.images.rings.lengths), bench.engine.images.box_px
    copies = BLOCK_COPIES + (0 if settings.filament_width is None else BAR_COPIES)
    blocks = threads * copies * BLOCK_BYTES * max(1, samples // side**2)
    noise = NOISE_IMAGES * (24 * side**2 + 16 * samples)
    transform = min(4 * side**2 * samples, 2 * threads * MATRIX_BYTES) + max(blocks, noise)
    classes = MORE_CLASSES * k
    engine = NativeLikelihoodEngine(bench.engine.images, threads).plan(n, classes, bench.fine)
    tables = SCORE_TABLES * n * classes * 4 + n * PARTITION_BYTES * (settings.starts + 3)
    sums = SUM_COPIES * classes * samples * 8 + min(n, POWER_BLOCK) * samples * 12
    return int(max(transform, engine + tables + sums)) + (1 << 28)


def held_bytes(geometry: Geometry, settings: Isac) -> int:
    """Return what an image takes on a device that classes are made on."""
    return ring_image_bytes(ring_geometry(geometry, settings.max_shift or 0.0, settings.filament_width).rings)


def disk_bytes(n: int, geometry: Geometry, settings: Isac) -> int:
    """Return the most disk taken, in bytes: the working stack, ring images, and some for the rest."""
    rings = ring_geometry(geometry, settings.max_shift or 0.0).rings
    ring_images = n * (sum(rings.lengths) + len(rings.radii)) * 4
    return ring_images + n * geometry.target_box_px**2 * 4 + n * 2000 + (1 << 24)


def seconds(
    n: int, k: int, geometry: Geometry, settings: Isac, threads: int, devices: Devices = PROCESSOR
) -> tuple[float, float]:
    """Return least and most seconds that a run may take once its images are prepared, from a short trial.

    Parameters
    ----------
    n, k : int
        Images, and classes at first.
    geometry : Geometry
        Sizes of the images.
    settings : Isac
        The settings, none left automatic.
    threads : int
        Threads that work.
    devices : Devices
        What computes.
    """
    bench = trial_bench(geometry, settings, threads, images=PROBE_IMAGES, devices=devices)
    engine, search = bench.engine, bench.coarse
    references = 0.1 * engine.images.samples[:PROBE_REFERENCES]
    rows = np.arange(PROBE_IMAGES)
    labels, poses = rows % PROBE_REFERENCES, Poses.identity(PROBE_IMAGES)

    def score(few: int, m: int) -> float:
        return seconds_of(lambda: engine.score(references[:few], rows[:m], search), REPEATS)

    one, ready, whole = score(1, 1), score(PROBE_REFERENCES, 1), score(PROBE_REFERENCES, PROBE_IMAGES)
    a_reference = max(ready - one, 0.0) / (PROBE_REFERENCES - 1)
    a_pair = max(whole - ready, 0.0) / (PROBE_IMAGES * PROBE_REFERENCES)
    posing = max(seconds_of(lambda: engine.match(references, labels, rows, search), REPEATS) - ready, 0.0)
    adding = seconds_of(lambda: engine.total(labels, rows, poses, PROBE_REFERENCES), REPEATS)
    an_image = (posing + adding) / PROBE_IMAGES
    a_pass = 2 * (one + k * a_reference) + n * (k * a_pair + an_image)
    a_finer = FINER * (one + MORE_CLASSES * k * a_reference + n * an_image)
    least = settings.starts * (FEWEST_PASSES * a_pass + HALVING * a_finer) + LEAST_AFTER * a_finer
    longest = settings.starts * (MOST_START_PASSES * a_pass + HALVING * a_finer)
    return least, longest + (MOST_ROUNDS * HALVING + LEAST_AFTER) * a_finer


def trial_bench(
    geometry: Geometry, settings: Isac, threads: int, *, images: int, devices: Devices = PROCESSOR
) -> LikelihoodBench:
    """Return a bench of images of noise, by whose searches and engine a run is judged before it begins.

    Parameters
    ----------
    geometry, settings, threads
        As for ``seconds``.
    images : int
        Images of noise.
    devices : Devices
        What computes.
    """
    sizes = ring_geometry(geometry, settings.max_shift or 0.0, settings.filament_width)
    r = len(sizes.rings.radii)
    noise = np.random.default_rng(0).normal(size=(images, sum(sizes.rings.lengths))).astype(np.float32)
    held = RingImages(
        rings=sizes.rings, box_px=sizes.box_px, samples=noise, ctf2=np.ones((images, r), dtype=np.float32)
    )
    return LikelihoodBench(
        engine=devices.likelihood_engine(held, threads=threads),
        make_engine=lambda other: devices.likelihood_engine(other, threads=threads),
        settings=settings,
        prior=Prior(signal=np.ones(r), share=1.0),
        noise=np.ones(r),
        radius_px=sizes.radius_px,
        reach_px=sizes.reach_px,
        support=sizes.support,
        comm=Serial(),
        tick=lambda _: None,
    )
