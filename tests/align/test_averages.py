"""Averages of classes and of their halves."""

import numpy as np
import pytest

from cryoisac.align.averages import Halving, Imaging, class_averages, softened, squared_ctf_sums
from cryoisac.engine.reference import ReferenceEngine
from cryoisac.model.ctf import CtfParameters
from cryoisac.model.poses import Poses
from cryoisac.ops.ctf import ctf_2d, turned
from cryoisac.ops.fourier import apply_response
from cryoisac.ops.masks import circle
from cryoisac.ops.spectra import ring_correlation
from cryoisac.ops.warp import rotate_shift


def some_poses(rng: np.random.Generator, n: int) -> Poses:
    return Poses(angle_deg=rng.uniform(0, 360, n), shift_px=rng.normal(0, 1, (n, 2)), mirror=rng.random(n) < 0.5)


def some_ctf(rng: np.random.Generator, n: int) -> CtfParameters:
    return CtfParameters(
        defocus_um=rng.uniform(1, 2, n),
        astigmatism_um=rng.uniform(0.2, 0.5, n),
        astigmatism_angle_deg=rng.uniform(0, 180, n),
        bfactor_A2=np.zeros(n),
        amplitude_contrast=np.full(n, 0.1),
        voltage_kV=np.full(n, 300.0),
        cs_mm=np.full(n, 2.7),
        phase_shift_deg=np.zeros(n),
    )


def test_averages_and_halves_by_definition() -> None:
    """Definition by brute force: means of resampled images, halves by the number in the input, not by place."""
    rng = np.random.default_rng(0)
    n, k, box = 23, 3, 20
    images = rng.normal(size=(n, box, box)).astype(np.float32)
    number, labels, poses = np.sort(rng.choice(60, n, replace=False)), rng.integers(0, k, n), some_poses(rng, n)
    mask = circle(7, box)
    found = class_averages(ReferenceEngine(images), labels, poses, k, Halving(number=number, mask=mask))
    moved = rotate_shift(images, poses)
    for c in range(k):
        mine = labels == c
        np.testing.assert_allclose(found.images[c], moved[mine].mean(axis=0), atol=1e-6)  # float32
        even, odd = (moved[mine & (number % 2 == p)].mean(axis=0) for p in (0, 1))
        expected = ring_correlation(even, odd, mask=mask).correlation
        np.testing.assert_allclose(found.frc.correlation[c][1:], expected[1:], atol=1e-5)  # float32 halves
        assert found.sizes[c] == mine.sum()


def test_a_soft_edge_tells_halves_apart_that_a_hard_one_makes_alike() -> None:
    """Known truth: halves of bright ground and noise of their own agree at low frequencies only."""
    rng = np.random.default_rng(6)
    y, x = np.mgrid[:64, :64] - 32
    ground = 20 * np.exp(-(x**2 + y**2) / 800)
    images = (ground + rng.normal(0, 1, (40, 64, 64))).astype(np.float32)
    one, mask = np.zeros(40, dtype=np.int64), circle(20, 64)
    curves = {}
    for edge in (0.0, 5.0):
        how = Halving(number=np.arange(40), mask=mask, edge_px=edge)
        curves[edge] = class_averages(ReferenceEngine(images), one, Poses.identity(40), 1, how).frc.correlation[0]
    assert np.median(curves[0.0][16:]) > 0.5
    assert np.median(np.abs(curves[5.0][16:])) < 0.3
    assert curves[5.0][1:4].min() > 0.95


def test_a_softened_mask_by_definition() -> None:
    """Definition: 1 inside, half a cosine over the width, then 0."""
    weight = softened(circle(8, 40), 4.0)
    assert (weight[circle(8, 40)] == 1).all()
    assert weight[20, 20 + 8 + 2] == pytest.approx(0.5)
    assert not weight[:, 20 + 8 + 4 :].any()


def test_an_empty_class_has_a_zero_average() -> None:
    """Definition."""
    images = np.random.default_rng(1).normal(size=(4, 16, 16)).astype(np.float32)
    how = Halving(number=np.arange(4), mask=circle(6, 16))
    found = class_averages(ReferenceEngine(images), np.array([0, 0, 2, 2]), Poses.identity(4), 3, how)
    assert not found.images[1].any()
    assert found.sizes.tolist() == [2, 0, 2]


def test_squared_ctfs_are_summed_by_class() -> None:
    """Definition by brute force, over blocks that end inside a class."""
    rng = np.random.default_rng(3)
    n, box = 60, 160
    ctf, poses, labels = some_ctf(rng, n), some_poses(rng, n), rng.integers(0, 4, n)
    imaging = Imaging(ctf=ctf, pixel_size_A=np.full(n, 3.0), snr=1.0)
    found = squared_ctf_sums(imaging, labels, poses, 5, box)
    every = ctf_2d(turned(ctf, poses), box, 3.0) ** 2
    for c in range(5):
        np.testing.assert_allclose(found[c], every[labels == c].sum(axis=0), atol=1e-12 * n)


@pytest.mark.parametrize("snr", [0.1, 10.0])
def test_wieners_filter_by_definition(snr: float) -> None:
    """Definition: sum of C x over sum of C² + 1/SNR, for images that are not moved."""
    rng = np.random.default_rng(4)
    n, box = 8, 24
    images, ctf = rng.normal(size=(n, box, box)).astype(np.float32), some_ctf(rng, n)
    c = ctf_2d(ctf, box, 5.0)
    multiplied = apply_response(images, c).astype(np.float32)
    imaging = Imaging(ctf=ctf, pixel_size_A=np.full(n, 5.0), snr=snr)
    how = Halving(number=np.arange(n), mask=circle(9, box), imaging=imaging)
    one = np.zeros(n, dtype=np.int64)
    found = class_averages(ReferenceEngine(multiplied), one, Poses.identity(n), 1, how).images[0]
    spectrum = np.fft.rfft2(multiplied).sum(axis=0) / ((c**2).sum(axis=0) + 1 / snr)
    expected = np.fft.irfft2(spectrum, s=(box, box))
    np.testing.assert_allclose(found, expected, atol=1e-5)  # float32 sums


def test_wieners_filter_brings_the_object_back() -> None:
    """Known truth: turned, mirrored images of a smooth object with astigmatic CTFs average to it, not to its CTF."""
    rng = np.random.default_rng(5)
    n, box = 80, 48
    y, x = np.mgrid[:box, :box] - box // 2
    thing = np.exp(-((x - 4) ** 2 + (y + 3) ** 2) / 12) + np.exp(-((x + 5) ** 2 + (y - 2) ** 2) / 20)
    ctf, poses = some_ctf(rng, n), some_poses(rng, n)
    seen = rotate_shift(np.tile(thing.astype(np.float32), (n, 1, 1)), poses.inverse())
    response = ctf_2d(ctf, box, 6.0) ** 2
    engine = ReferenceEngine(apply_response(seen, response).astype(np.float32))
    how = Halving(
        number=np.arange(n), mask=circle(20, box), imaging=Imaging(ctf=ctf, pixel_size_A=np.full(n, 6.0), snr=1e3)
    )
    one = np.zeros(n, dtype=np.int64)
    found = class_averages(engine, one, poses, 1, how).images[0]
    plain = class_averages(engine, one, poses, 1, Halving(number=np.arange(n), mask=how.mask)).images[0]
    inside = how.mask

    def likeness(image: np.ndarray) -> float:
        return float(np.corrcoef(image[inside], thing[inside])[0, 1])

    assert likeness(found) > 0.98  # resampled twice
    assert likeness(plain) < likeness(found) - 0.05
