"""Particles on rings in Fourier space, made in memory: views as sums of Gaussians, a bench to sort them on."""

from dataclasses import dataclass

import numpy as np
import pytest

from cryoisac.cluster.partition import LikelihoodBench, Partition
from cryoisac.cluster.wiener import estimate_prior
from cryoisac.comm import Serial
from cryoisac.engine.likelihood import RingImages
from cryoisac.engine.likelihood_native import NativeLikelihoodEngine
from cryoisac.model.poses import Poses
from cryoisac.ops.hartley import ring_transform, transform_rings
from cryoisac.ops.whiten import EDGE_PX, Support, soft_disc
from cryoisac.settings import Isac

BOX, RADIUS, REACH = 34, 11.0, 1.5
MASK = RADIUS + REACH
SUPPORT = Support(box_px=BOX, radius_px=RADIUS, mask_radius_px=MASK)
BLOBS, WIDTH_PX = 14, 1.6


def blobs(rng):
    """Return centres (x, y) and weights of the Gaussians of one view; the weights sum to 0."""
    radius, angle = (RADIUS - 3) * np.sqrt(rng.random(BLOBS)), rng.uniform(0, 2 * np.pi, BLOBS)
    weights = rng.standard_normal(BLOBS)
    return radius[:, None] * np.stack((np.cos(angle), np.sin(angle)), axis=-1), weights - weights.mean()


def drawn(view, poses):
    """Return the images (n, BOX, BOX), one for each pose, that lie on a view under it."""
    centres, weights = view
    points = poses.inverse().apply(np.broadcast_to(centres, (len(poses), *centres.shape)))
    line = np.arange(BOX) - BOX // 2
    x, y = (np.exp(-0.5 * ((line - points[..., i, None]) / WIDTH_PX) ** 2) for i in (0, 1))
    return np.einsum("b,nby,nbx->nyx", weights, y, x)


def random_poses(rng, n, away_px=0.0):
    """Return poses with shifts in the disc of the search, or with shifts of a given length."""
    length, way = away_px or REACH * np.sqrt(rng.random(n)), rng.uniform(0, 2 * np.pi, n)
    shift = np.stack((length * np.cos(way), length * np.sin(way)), axis=-1)
    return Poses(angle_deg=rng.uniform(0, 360, n), shift_px=shift, mirror=rng.random(n) < 0.5)


@dataclass(frozen=True, eq=False, kw_only=True)
class World:
    """Images whose classes and poses are known, and a bench that holds them."""

    bench: LikelihoodBench
    label: np.ndarray
    poses: Poses
    pixels: np.ndarray  # before noise, CTF and mask
    references: np.ndarray  # (views, samples): what class averages estimate

    def truth(self, **changes):
        """Return the true partition, or one with other labels and poses; gains are not known."""
        labels = np.asarray(changes.get("labels", self.label))
        poses = changes.get("poses", self.poses)
        gain = np.zeros(len(labels), dtype=np.float32)
        return Partition(labels=labels, poses=poses, gain=gain, k=changes.get("k", int(labels.max()) + 1))


def bench_of(images, settings):
    return LikelihoodBench(
        engine=NativeLikelihoodEngine(images, 1),
        make_engine=lambda held: NativeLikelihoodEngine(held, 1),
        settings=settings,
        prior=estimate_prior(images, SUPPORT.share),
        noise=np.ones(len(images.rings.radii)),
        radius_px=RADIUS,
        reach_px=REACH,
        support=SUPPORT,
        comm=Serial(),
        tick=lambda what: None,
    )


def ring_images(pixels, rng, *, ctf=False, noise=1.0):
    """Return masked images with white noise on rings, whole or under a CTF that differs from image to image."""
    rings = transform_rings(BOX // 2 - 1, first=2, box_px=BOX, support_px=MASK + EDGE_PX)
    mask, n = soft_disc(MASK, BOX), len(pixels)
    k = np.array(rings.radii)
    c = np.sin(0.4 + rng.uniform(0.004, 0.012, (n, 1)) * k**2) if ctf else np.ones((n, len(k)))
    wide = np.repeat(c, rings.lengths, axis=1)
    signal = ring_transform(pixels * mask, rings)
    white = ring_transform(noise * rng.standard_normal(pixels.shape) * mask, rings)
    samples = (wide * (wide * signal + white)).astype(np.float32)
    return RingImages(rings=rings, box_px=BOX, samples=samples, ctf2=(c**2).astype(np.float32))


@pytest.fixture(scope="session")
def make_world():
    """Return a function: seed, images of each view, strength of the signal in unit noise, ... to a world."""

    def make(seed, numbers, *, strength=0.7, ctf=False, junk=0, pairs=0, twofold=False, **settings):
        rng = np.random.default_rng(seed)
        views = [blobs(rng) for _ in numbers]
        if twofold:
            views = [(np.concatenate((at, -at)), np.tile(weight, 2)) for at, weight in views]
        label = np.repeat(np.arange(len(numbers)), numbers)
        poses = random_poses(rng, len(label))
        pixels = np.concatenate([drawn(v, poses[label == c]) for c, v in enumerate(views)])
        scale = strength / np.sqrt((pixels**2).mean() * BOX**2 / (np.pi * RADIUS**2)) if strength else 0.0
        pixels = np.concatenate((scale * pixels, np.zeros((junk, BOX, BOX))))
        if pairs:
            away = random_poses(rng, pairs, 0.8 * RADIUS)
            second = [drawn(views[c], away[[i]])[0] for i, c in enumerate(rng.integers(0, len(numbers), pairs))]
            pixels = np.concatenate((pixels, pixels[rng.integers(0, len(label), pairs)] + scale * np.array(second)))
        extra = junk + pairs
        label = np.concatenate((label, rng.integers(0, len(numbers), extra)))
        poses = Poses.concatenate([poses, random_poses(rng, extra)])
        given = {"img_per_grp": 20, "minimum_grp_size": 5, "starts": 2, "stab_ali": 4, "rand_seed": seed}
        bench = bench_of(ring_images(pixels, rng, ctf=ctf), Isac(**(given | settings)))
        still = scale * np.concatenate([drawn(v, Poses.identity(1)) for v in views])
        references = ring_transform(still * soft_disc(MASK, BOX), bench.engine.images.rings)
        return World(bench=bench, label=label, poses=poses, pixels=pixels, references=references)

    return make


@pytest.fixture(scope="session")
def clear(make_world):
    """Return three views of 40 images each, told apart with ease."""
    return make_world(1, (40, 40, 40))
