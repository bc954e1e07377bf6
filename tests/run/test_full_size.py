"""Members at full size: CTF and pose undone, refined, and the same on any number of threads."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import scipy.fft

from cryoisac.cluster import local
from cryoisac.cluster.halves import ClassAverage, class_average
from cryoisac.engine.likelihood_native import NativeLikelihoodEngine
from cryoisac.errors import DataError
from cryoisac.model.ctf import CtfParameters
from cryoisac.model.particles import Particles
from cryoisac.model.poses import Poses, pixel_error
from cryoisac.ops.ctf import ctf_2d, phase_signs
from cryoisac.ops.fourier import apply_response
from cryoisac.ops.masks import circle
from cryoisac.ops.spectra import ring_correlation
from cryoisac.run.full_size import (
    FLIPPED,
    MULTIPLIED,
    FullSize,
    full_rings,
    half_sums,
    noise_power,
    ring_images,
    support_of,
)

BOX, PIXEL_A, RADIUS, WIDTH_PX = 64, 4.0, 24.0, 1.2


class Held:
    """Images in memory."""

    def __init__(self, images: np.ndarray) -> None:
        self.images = images

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.images.shape

    def read(self, index: np.ndarray) -> np.ndarray:
        return self.images[index].copy()


@dataclasses.dataclass
class Case:
    """One class, its true poses and its clean projection."""

    job: FullSize
    poses: Poses
    clean: np.ndarray

    @property
    def rows(self) -> np.ndarray:
        return np.arange(len(self.poses))

    @property
    def half(self) -> np.ndarray:
        return local.halves_of(len(self.rows), 0, 1)

    def average(self, poses: Poses | None = None) -> ClassAverage:
        sums = half_sums(self.job, self.rows, self.poses if poses is None else poses, self.half)
        return class_average(sums, self.job.radius_px)

    def likeness(self, image: np.ndarray) -> float:
        disc = circle(self.job.radius_px, BOX)
        return float(np.corrcoef(image[disc], self.clean[disc])[0, 1])

    def of(self, images: np.ndarray, corrected: int = 0) -> "Case":
        particles = dataclasses.replace(self.job.particles, source=Held(images.astype(np.float32)))
        done = np.full(len(images), corrected)
        return Case(dataclasses.replace(self.job, particles=particles, corrected=done), self.poses, self.clean)


def blobs(points: np.ndarray) -> np.ndarray:
    """Return images (n, BOX, BOX) of Gaussians at points (n, b, 2), each of another height."""
    line = np.arange(BOX) - BOX // 2
    x, y = (np.exp(-0.5 * ((line - points[..., i, None]) / WIDTH_PX) ** 2) for i in (0, 1))
    return np.einsum("b,nby,nbx->nyx", np.linspace(0.4, 1.2, points.shape[1]), y, x)


def case(*, members: int = 80, noise: float = 1.5, astigmatism_um: float = 0.1, ctf: bool = True) -> Case:
    rng = np.random.default_rng(4)
    points = rng.uniform(-RADIUS * 0.6, RADIUS * 0.6, (24, 2))
    poses = Poses(
        angle_deg=rng.uniform(0, 360, members),
        shift_px=rng.uniform(-2, 2, (members, 2)),
        mirror=rng.random(members) < 0.5,
    )
    images = blobs(poses.inverse().apply(np.repeat(points[None], members, axis=0)))
    parameters = CtfParameters.from_relion(
        *(rng.uniform(15000, 20000, members) + sign * astigmatism_um * 5e3 for sign in (-1, 1)),
        np.full(members, 30.0),
        voltage_kV=300.0,
        cs_mm=2.7,
        amplitude_contrast=0.1,
    )
    if ctf:
        images = scipy.fft.irfft2(scipy.fft.rfft2(images) * ctf_2d(parameters, BOX, PIXEL_A), s=(BOX, BOX))
    images += noise * images.std() * 3 * rng.normal(size=images.shape)
    particles = Particles(
        path=Path("simulated"),
        source=Held(images.astype(np.float32)),
        name_of=lambda i: f"{i + 1:06d}@simulated",
        pixel_size_A=np.full(members, PIXEL_A),
        ctf=parameters,
    )
    done = np.zeros(members, dtype=np.int64)
    job = FullSize(particles=particles, radius_px=RADIUS, ctf=ctf, corrected=done, threads=1)
    return Case(job, poses, blobs(points[None])[0])


@pytest.fixture(scope="module")
def plain() -> Case:
    return case()


def test_the_average_is_the_clean_projection(plain: Case) -> None:
    """Known truth: from CTF-modulated, rotated, mirrored, noisy particles."""
    average = plain.average()
    # 120 images of SNR 0.2 have an SNR of 24 all told: a correlation of 0.98, higher since noise is filtered.
    assert plain.likeness(average.image) > 0.97
    # In units of the signal, too: the slope of the clean projection on the average.
    disc = circle(plain.job.radius_px, BOX)
    clean, found = plain.clean[disc], average.image[disc]
    slope = np.polyfit(found - found.mean(), clean - clean.mean(), 1)[0]
    assert slope == pytest.approx(1, abs=0.1)


def test_the_astigmatic_ctf_turns_with_the_particle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Known truth: with strong astigmatism, squared CTFs in the particles' own frames make a worse average."""
    strong = case(astigmatism_um=1.2, noise=0.05)
    right = ring_correlation(strong.average().plain, strong.clean.astype(np.float32)).correlation
    monkeypatch.setattr("cryoisac.run.full_size.turned", lambda parameters, poses: parameters)
    wrong = ring_correlation(strong.average().plain, strong.clean.astype(np.float32)).correlation
    assert (1 - right[5:20]).mean() < 0.5 * (1 - wrong[5:20]).mean()


def test_the_ctf_helps(plain: Case) -> None:
    """Known truth: a plain mean, of images whose CTFs differ, is less like the clean projection."""
    mean = dataclasses.replace(plain, job=dataclasses.replace(plain.job, ctf=False)).average()
    assert plain.likeness(plain.average().image) > plain.likeness(mean.image) + 0.05


def test_the_plain_mean_is_a_mean() -> None:
    """Definition: without CTF, the average of noiseless equal images is the image, not their sum."""
    made = case(ctf=False, noise=0.0)
    found = made.average()
    disc = circle(made.job.radius_px - 1, BOX)
    slope = np.polyfit(made.clean[disc], found.plain[disc], 1)[0]
    assert slope == pytest.approx(1, abs=0.03)  # the guard takes off 1 %


@pytest.mark.parametrize("state", [FLIPPED, MULTIPLIED])
def test_corrected_images_give_the_same_average(plain: Case, state: int) -> None:
    """Known truth: flipped or multiplied beforehand, images come to the same as those left alone."""
    particles = plain.job.particles
    images = particles.read(plain.rows)
    images -= images[:, ~circle(plain.job.radius_px, BOX)].mean(axis=1)[:, None, None]
    assert particles.ctf is not None
    if state == FLIPPED:
        done = apply_response(images, phase_signs(particles.ctf, BOX, PIXEL_A))
    else:
        done = scipy.fft.irfft2(scipy.fft.rfft2(images) * ctf_2d(particles.ctf, BOX, PIXEL_A), s=(BOX, BOX))
    there, here = plain.of(done, state).average(), plain.average()
    # Backgrounds are subtracted before and after the correction, which makes a constant of difference.
    assert np.corrcoef(there.image.ravel(), here.image.ravel())[0, 1] > 0.999


def test_any_number_of_threads(plain: Case) -> None:
    """Invariance: bit for bit."""
    poses, half = plain.poses, plain.half
    one, three = (
        half_sums(dataclasses.replace(plain.job, threads=threads), plain.rows, poses, half) for threads in (1, 3)
    )
    assert np.array_equal(one.signal, three.signal)
    assert np.array_equal(one.weight, three.weight)


def test_a_bad_image_is_named(plain: Case) -> None:
    """Definition: an image that is not finite cannot be averaged."""
    images = plain.job.particles.read(plain.rows)
    images[7, 3, 3] = np.nan
    with pytest.raises(DataError, match="image 8 "):
        plain.of(images).average()


def refined(c: Case, start: Poses, folder: Path, **options: object) -> Poses:
    reach = 3.0
    support = support_of(c.job, reach)
    geometry = full_rings(support, BOX), support
    images = ring_images(folder / "rings.npy", c.job, c.rows, start, noise_power(c.job, c.rows), geometry)
    search = local.LocalSearch(
        **{  # type: ignore[arg-type]
            "reach_px": reach,
            "step_px": 1.0,
            "rounds": 3,
            "radius_px": c.job.radius_px,
            "last_ring": None,
            **options,
        }
    )

    def engine(held: object) -> NativeLikelihoodEngine:
        return NativeLikelihoodEngine(held, 1)  # type: ignore[arg-type]

    moves, _ = local.align_locally(engine(images), engine, c.half, search, support.share)
    return start.then(moves)


def perturbed(c: Case, seed: int = 1, px: float = 1.0) -> Poses:
    """The true poses, each off by about 1 px, or more, and 2 degrees in the frame of the class."""
    rng, m = np.random.default_rng(seed), len(c.rows)
    off = Poses(angle_deg=rng.normal(0, 2, m), shift_px=rng.normal(0, px, (m, 2)), mirror=np.zeros(m, dtype=bool))
    return c.poses.then(off)


def errors_px(c: Case, poses: Poses) -> np.ndarray:
    """Pixel errors against the truth, the class's own frame left out."""
    off = c.poses.inverse().then(poses)
    angle = np.mod(off.angle_deg + 180, 360) - 180
    middle = Poses(
        angle_deg=np.full(len(off), np.median(angle)),
        shift_px=np.tile(np.median(off.shift_px, axis=0), (len(off), 1)),
        mirror=off.mirror,
    )
    return pixel_error(off, middle, radius_px=c.job.radius_px)


def test_poses_that_are_off_come_back(plain: Case, tmp_path: Path) -> None:
    """Known truth: 1 px and 2 degrees off, mirrored or not; the resolution comes back too."""
    start = perturbed(plain)
    found = refined(plain, start, tmp_path)
    before, after = (np.median(errors_px(plain, p)) for p in (start, found))
    assert before > 1.0
    # Of what one image of this SNR tells: a third of a pixel of shift, and as much at the rim by rotation.
    assert after < 0.6
    curves = [plain.average(p).correlation[6:20].mean() for p in (start, found, plain.poses)]
    assert curves[1] > (curves[0] + curves[2]) / 2


def test_halves_stay_together(plain: Case, tmp_path: Path) -> None:
    """Known truth: where poses are so far off that the halves' averages drift apart, they are brought together."""
    start = perturbed(plain, seed=2, px=2.5)
    off = plain.poses.inverse().then(refined(plain, start, tmp_path, reach_px=7.0))
    a, b = (np.median(off.shift_px[plain.half == h], axis=0) for h in (0, 1))
    assert np.hypot(*(a - b)) < 0.2  # of a pixel; each is a median of 40 that scatter by a quarter


@pytest.mark.parametrize("option", [{"rounds": 2}, {"last_ring": 6}, {"reach_px": 0.5}])
def test_each_choice_of_the_search_counts(plain: Case, tmp_path: Path, option: dict[str, object]) -> None:
    """Invariance that must not be: rounds, last ring and reach each change what is found."""
    start = perturbed(plain)
    usual, other = (refined(plain, start, tmp_path, **{"rounds": 1, **own}) for own in ({}, option))
    assert np.abs(usual.rows() - other.rows()).max() > 1e-3
    if "reach_px" in option:
        off = start.inverse().then(other)
        turn = np.abs(np.mod(off.angle_deg + 180, 360) - 180)
        assert np.hypot(*off.shift_px.T).max() < 1.0  # each half moves by up to 0.5, and the second as a whole
        assert np.deg2rad(turn).max() * plain.job.radius_px < 1.0


def test_a_finer_first_step_finds_more(plain: Case, tmp_path: Path) -> None:
    """Known truth: members some 2 px off are found by steps of a pixel; Newton's method alone loses a few."""
    start = perturbed(plain, px=2.0)
    wide = {"reach_px": 7.0, "rounds": 3}
    fine, coarse = (errors_px(plain, refined(plain, start, tmp_path, step_px=step, **wide)) for step in (1.0, 9.0))
    assert fine.mean() < 0.8 * coarse.mean()
    assert fine.max() < 1 < coarse.max()


def test_noise_gains_nothing(plain: Case, tmp_path: Path) -> None:
    """Known truth: halves of pure noise do not correlate any better for having been refined."""
    gains = []
    for seed in range(3):
        noise = np.random.default_rng(seed).normal(size=(len(plain.rows), BOX, BOX))
        c = plain.of(noise)
        start = perturbed(plain, seed)
        curves = [c.average(p).correlation[4:] for p in (start, refined(c, start, tmp_path, rounds=3))]
        gains.append(np.mean(curves[1]) - np.mean(curves[0]))
    # A mean over 28 rings of about 100 independent coefficients each is known to 0.03, the mean of three to 0.02.
    assert abs(np.mean(gains)) < 0.04


def test_folds_know_their_half() -> None:
    """Definition: a member's reference is made of its own half, without its own fold."""
    half = local.halves_of(51, 3, 2)
    fold = local.fold_of(half)
    assert sorted(np.bincount(half).tolist()) == [25, 26]
    assert np.array_equal(fold % 2, half)
    assert np.bincount(fold).min() >= 3
    assert not np.array_equal(half, local.halves_of(51, 3, 4))
    assert np.array_equal(half, local.halves_of(51, 3, 2))
