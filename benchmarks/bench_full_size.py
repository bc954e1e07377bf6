"""Particles a second of full-size averaging, beside a plain loop over particles in NumPy, in one process.

    python benchmarks/bench_full_size.py [--boxes 64 128 256] [--members 200] [--rounds 3]

The loop does the same sum with what is at hand: a Fourier transform, the CTF, back, cubic interpolation, one particle
after the other. Both take turns; what counts is processor time, of one thread, the best of some rounds. `error` is the
relative difference of the noiseless average from the truth, up to 0.4 cycles per pixel.
"""

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import scipy.fft

from cryoisac.model.ctf import CtfParameters
from cryoisac.model.particles import Particles
from cryoisac.model.poses import Poses
from cryoisac.ops.ctf import ctf_2d, turned
from cryoisac.ops.fourier import absolute_frequency
from cryoisac.ops.masks import circle
from cryoisac.ops.warp import rotate_shift
from cryoisac.run.full_size import FullSize, half_sums

PIXEL_A, WIDTH_PX = 2.0, 1.0


class Held:
    """Images in memory."""

    def __init__(self, images: Any) -> None:
        self.images = images

    @property
    def shape(self) -> Any:
        """Number, rows, columns."""
        return self.images.shape

    def read(self, index: Any) -> Any:
        """Return the images ``index``."""
        return self.images[index]


def blobs(points: Any, box: int) -> Any:
    """Return images of Gaussians at points (n, b, 2)."""
    line = np.arange(box) - box // 2
    x, y = (np.exp(-0.5 * ((line - points[..., i, None]) / WIDTH_PX) ** 2) for i in (0, 1))
    return np.einsum("nby,nbx->nyx", y, x)


def particles(box: int, members: int) -> tuple[FullSize, Poses, Any]:
    """Return particles of one view without noise, their poses, and the view."""
    rng = np.random.default_rng(0)
    points = rng.uniform(-box / 5, box / 5, (30, 2))
    turns = rng.uniform(0, 360, members)
    poses = Poses(angle_deg=turns, shift_px=rng.uniform(-3, 3, (members, 2)), mirror=rng.random(members) < 0.5)
    defocus = rng.uniform(10000, 20000, members)
    ctf = CtfParameters.from_relion(
        defocus, defocus + 300, np.full(members, 20.0), voltage_kV=300.0, cs_mm=2.7, amplitude_contrast=0.1
    )
    clean = blobs(poses.inverse().apply(np.repeat(points[None], members, axis=0)), box)
    seen = scipy.fft.irfft2(scipy.fft.rfft2(clean) * ctf_2d(ctf, box, PIXEL_A), s=(box, box)).astype(np.float32)
    held = Particles(
        path=Path("simulated"), source=Held(seen), name_of=str, pixel_size_A=np.full(members, PIXEL_A), ctf=ctf
    )
    done = np.zeros(members, dtype=np.int64)
    return (
        FullSize(particles=held, radius_px=box / 3, ctf=True, corrected=done, threads=1),
        poses,
        blobs(points[None], box)[0],
    )


def loop(job: FullSize, poses: Poses) -> tuple[Any, Any]:
    """Return the sums of a plain loop over the particles."""
    box, disc, ctf = job.box_px, circle(job.radius_px, job.box_px), job.particles.ctf
    assert ctf is not None
    signal, weight = np.zeros((box, box)), np.zeros((box, box // 2 + 1))
    for i in range(len(poses)):
        image = job.particles.read(np.array([i]))[0].astype(np.float64)
        image -= image[~disc].mean()
        one = ctf[i : i + 1]
        image = np.fft.irfft2(np.fft.rfft2(image) * ctf_2d(one, box, PIXEL_A)[0], s=(box, box))
        signal += rotate_shift(image[None], poses[i : i + 1], method="cubic")[0]
        weight += ctf_2d(turned(one, poses[i : i + 1]), box, PIXEL_A)[0] ** 2
    return signal, weight


def error(signal: Any, weight: Any, truth: Any) -> float:
    """Return the relative difference of an average from the truth, up to 0.4 cycles per pixel."""
    low = absolute_frequency(truth.shape) < 0.4
    found = scipy.fft.rfft2(signal) / np.maximum(weight, 1e-9)
    true = scipy.fft.rfft2(truth)
    known = low & (weight > 0.05 * weight.mean())
    known[0, 0] = False  # backgrounds were taken off
    return float(np.linalg.norm((found - true)[known]) / np.linalg.norm(true[known]))


def timed(work: Any) -> tuple[float, Any]:
    """Return the processor time that work takes, and its result."""
    begin = time.process_time()
    result = work()
    return time.process_time() - begin, result


def main() -> None:
    """Print a row for each box."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--boxes", type=int, nargs="+", default=[64, 128, 256])
    parser.add_argument("--members", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    print("| box | particles/s of one core | of the loop | ratio | error | of the loop |")
    print("|---|---|---|---|---|---|")
    for box in given.boxes:
        job, poses, truth = particles(box, given.members)
        half, rows = np.arange(given.members) % 2, np.arange(given.members)
        slow, fast = [], []
        for _ in range(given.rounds):
            spent, (signal, weight) = timed(lambda job=job, poses=poses: loop(job, poses))
            slow.append(spent)
            spent, sums = timed(lambda job=job, poses=poses, rows=rows, half=half: half_sums(job, rows, poses, half))
            fast.append(spent)
        own = error(sums.signal.sum(axis=0), sums.weight.sum(axis=0), truth)
        plain = error(signal, weight, truth)
        a, b = given.members / min(fast), given.members / min(slow)
        print(f"| {box} px | {a:,.0f} | {b:,.0f} | {a / b:.1f} | {own:.1%} | {plain:.1%} |", flush=True)


if __name__ == "__main__":
    main()
