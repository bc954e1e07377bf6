"""Classes aligned again and again: which members keep their pose."""

from dataclasses import dataclass, replace

import numpy as np

from cryoisac.cluster.partition import BLOCK, LikelihoodBench, Partition, aligned, references_of, sums_of
from cryoisac.cluster.wiener import Prior, Sums
from cryoisac.engine.contract import Indices
from cryoisac.engine.likelihood import Float32, used_rings
from cryoisac.model.poses import Poses, pixel_error
from cryoisac.ops.hartley import ring_power
from cryoisac.ops.polar import Float
from cryoisac.streams import stream

AS_GOOD = 2.0  # natural units: a pose that explains an image nearly as well is as good
NEAR = 3.0  # times the pixel error allowed: beyond, poses are others, not the same one found less well
REPEAT_PASSES = 20
CONVERGED_SHARE = 0.5  # of a class's members must agree before a repeated alignment counts


def repeated(bench: LikelihoodBench, partition: Partition, number: int) -> Partition:
    """Return the partition after its classes were aligned anew, from random angles about the centres that stand."""
    draw = stream(bench.settings.rand_seed, "repeated alignment", number)
    n = len(partition.labels)
    turn = Poses(angle_deg=draw.uniform(0, 360, n), shift_px=np.zeros((n, 2)), mirror=draw.random(n) < 0.5)
    poses = Poses.at_offsets(partition.poses.offset_px()).then(turn)
    current = replace(partition, poses=poses)
    for _ in range(REPEAT_PASSES):
        current = aligned(bench, references_of(bench, current), current.labels, bench.coarse)
        bench.tick("repeating alignments")
    return current


@dataclass(frozen=True, eq=False, kw_only=True)
class Repeats:
    """How members fared when their classes were aligned again from random poses.

    Parameters
    ----------
    agreed : ndarray, shape (n,)
        Share of the repeated alignments that gave an image the pose it has; 0 where its class never converged.
    pixel_error_px : ndarray, shape (n,)
        Root-mean-square difference to the poses it has, over the alignments that agreed; infinite where none did.
    """

    agreed: Float
    pixel_error_px: Float


def repeat_alignments(bench: LikelihoodBench, partition: Partition) -> Repeats:
    """Return how poses come out when every class is aligned anew, several times.

    Each new average is laid on the one that stands, and poses are carried over. A member agrees where its pose is the
    one it has, within the pixel error allowed, or explains it as well: averages may have a symmetry. A repeated
    alignment counts for a class if half of the members agree, so that a start that ended in a wrong optimum does not
    condemn a class.
    """
    s, n = bench.settings, len(partition.labels)
    references, rows = references_of(bench, partition), np.arange(n)
    enough = (
        partition.gain
        - own_share(bench, sums_of(bench, partition), bench.prior, partition.labels, partition.labels)
        - AS_GOOD
    )
    agreeing, counted = np.zeros(n), np.zeros(partition.k)
    squares, near = np.zeros(n), np.zeros(n)
    for number in range(s.stab_ali - 1):
        poses = carried_over(bench, repeated(bench, partition, number), references)
        found = bench.engine.refine(references, partition.labels, rows, poses, bench.class_ring)
        error = pixel_error(found.poses, partition.poses, radius_px=bench.radius_px)
        agrees = (error < s.thld_err) | (found.score >= enough)
        members = np.bincount(partition.labels, weights=agrees, minlength=partition.k)
        converged = members >= CONVERGED_SHARE * np.maximum(partition.sizes, 1)
        agrees &= converged[partition.labels]
        counted += converged
        agreeing += agrees
        close = agrees & (error < NEAR * s.thld_err)
        near += close
        squares += np.where(close, error, 0.0) ** 2
    return Repeats(
        agreed=agreeing / np.maximum(counted[partition.labels], 1),
        pixel_error_px=np.sqrt(np.divide(squares, near, out=np.full(n, np.inf), where=near > 0)),
    )


def carried_over(bench: LikelihoodBench, again: Partition, references: Float32) -> Poses:
    """Return the poses of classes that were aligned again, in the frames of the averages that stand."""
    images = bench.engine.images
    new = references_of(bench, again)
    ctf2 = np.ones((again.k, len(images.rings.radii)), dtype=np.float32)
    engine = bench.make_engine(replace(images, samples=new, ctf2=ctf2))
    each = np.arange(again.k)
    found = engine.match(references, each, each, bench.fine)
    frames = engine.refine(references, each, each, found.poses, bench.class_ring).poses
    return again.poses.then(frames[again.labels])


def own_share(bench: LikelihoodBench, sums: Sums, prior: Prior, own: Indices, label: Indices) -> Float:
    r"""Return what each image's gain owes to itself, being part of the average, shape (n,).

    .. math:: \sum_k 2 \pi k\, \overline{(C x)^2} / (D + f / P)

    Parameters
    ----------
    bench : LikelihoodBench
        Holds the images.
    sums : Sums
        Sums of classes.
    prior : Prior
        By which their averages were filtered.
    own : ndarray, shape (n,), int64
        The class that an image was summed into, or -1.
    label : ndarray, shape (n,), int64
        The class whose gain is meant.
    """
    rings = used_rings(bench.engine.images.rings, bench.class_ring)
    r, size = len(rings.radii), sum(rings.lengths)
    denominator = (sums.denominator + prior.share / prior.signal)[:, :r]
    part = np.flatnonzero(own == label)
    share = np.zeros(len(label))
    for rows in np.array_split(part, max(1, len(part) // BLOCK)):
        power = ring_power(bench.engine.images.samples[rows, :size], rings)
        share[rows] = (power / denominator[label[rows]]) @ (2 * np.pi * np.array(rings.radii))
    return share
