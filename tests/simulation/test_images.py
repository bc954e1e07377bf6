"""Simulated images: their poses, CTF and noise are what the truth says."""

import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from cryoisac.errors import SettingError
from cryoisac.model.poses import Poses, to_relion
from cryoisac.settings import Simulation
from cryoisac.simulation.density import Density, procedural
from cryoisac.simulation.images import ParticleImages, colour
from cryoisac.simulation.particles import JUNK_KINDS, draw
from cryoisac.simulation.projection import orientation, to_pixels
from cryoisac.simulation.views import frames, spread_over_half_sphere
from cryoisac.streams import stream

QUIET = {"views": 3, "per_view": 8, "pixel_size": 5.0, "max_shift": 3.0, "snr": 1e10, "seed": 5}


@pytest.fixture(scope="module")
def density() -> Density:
    return procedural(box_px=48, pixel_size_A=5.0, seed=0)


def _make(density: Density, **settings: object) -> tuple[ParticleImages, np.ndarray]:
    chosen = Simulation(**{"box": 64, **QUIET, **settings})  # type: ignore[arg-type]
    images = ParticleImages([density], chosen, draw(chosen))
    return images, np.concatenate(list(images.blocks()))


def _projected(images: ParticleImages, matrices: np.ndarray, offset_px: np.ndarray) -> np.ndarray:
    only = np.zeros(len(matrices), dtype=int)
    return to_pixels(images.projections(only, matrices, offset_px), images.settings.box)


def _aligned(images: np.ndarray, poses: Poses) -> np.ndarray:
    """Real-space rotation by splines, independent of how the images were made: out(x') = image(pose^-1 x')."""
    n = images.shape[-1]
    y, x = np.indices((n, n)) - n // 2
    points = np.broadcast_to(np.stack((x, y), axis=-1), (len(images), n, n, 2))
    source = poses.inverse().apply(points) + n // 2
    return np.stack(
        [
            map_coordinates(i, p.transpose(2, 0, 1)[::-1], order=5, mode="grid-wrap")
            for i, p in zip(images, source, strict=True)
        ]
    )


def _disc(n: int) -> np.ndarray:
    y, x = np.indices((n, n)) - n // 2
    return np.hypot(x, y) < n // 2 - 4


def _correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Correlation of images inside a disc that no turned corner reaches."""
    disc = _disc(a.shape[-1])
    a, b = (v[:, disc] - v[:, disc].mean(axis=1, keepdims=True) for v in (a, b))
    return (a * b).sum(axis=1) / np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))


@pytest.mark.parametrize("box", [64, 65])
def test_known_truth_poses_carry_images_to_their_view(density: Density, box: int) -> None:
    """Known truth: without noise each image, laid on its view by its true pose, is the clean projection."""
    images, pixels = _make(density, box=box)
    truth = images.truth
    assert set(truth.poses.mirror.tolist()) == {True, False}
    clean = images.clean(np.arange(len(truth)))
    aligned = _aligned(pixels, truth.poses)
    assert _correlation(aligned, clean).min() > 0.9999  # fifth-order splines of images that fall off by half Nyquist
    assert _correlation(pixels, clean).max() < 0.9  # so the poses do matter
    wrong = (
        Poses(angle_deg=-truth.poses.angle_deg, shift_px=truth.poses.shift_px, mirror=truth.poses.mirror),
        Poses(angle_deg=truth.poses.angle_deg, shift_px=-truth.poses.shift_px, mirror=truth.poses.mirror),
        Poses(angle_deg=truth.poses.angle_deg, shift_px=truth.poses.shift_px, mirror=~truth.poses.mirror),
    )
    for poses in wrong:
        assert np.median(_correlation(_aligned(pixels, poses), clean)) < 0.95


def test_known_truth_averages_approach_the_clean_projection(density: Density) -> None:
    """Known truth: the average over true poses gets closer to the view as noise or images allow, as theory says."""
    images, pixels = _make(density, views=2, per_view=200, snr=0.3)
    truth = images.truth
    aligned = _aligned(pixels, truth.poses)
    for view in (0, 1):
        members = np.flatnonzero(truth.view == view)
        average = aligned[members].mean(axis=0)[None]
        clean = images.clean(members[:1])
        # noise 1 / 200: correlation sqrt(s / (s + 1 / 200)) for signal of variance s in the disc; splines smooth noise
        signal = clean[0][_disc(clean.shape[-1])].var()
        expected = np.sqrt(signal / (signal + 1 / 200))
        assert _correlation(average, clean).item() == pytest.approx(expected, abs=0.005)


def test_known_truth_ctf_correction_recovers_the_projection(density: Density) -> None:
    """Known truth: sum CTF X / sum CTF² over aligned images is the clean projection."""
    images, pixels = _make(density, views=1, per_view=60, ctf=True, per_micrograph=1, astigmatism=0.0)
    truth = images.truth
    ctf = images.ctf(np.arange(len(truth)))
    assert ctf[:, 0, 1].min() > 0  # white particles stay white
    box = pixels.shape[1:]
    weighted = np.fft.irfft2(np.fft.rfft2(pixels) * ctf, s=box)
    total = np.fft.rfft2(_aligned(weighted, truth.poses).sum(axis=0))
    recovered = np.fft.irfft2(total / (ctf**2).sum(axis=0), s=box)[None]
    clean = images.clean(np.arange(1))
    assert _correlation(pixels, clean).max() < 0.95
    # what the CTF spreads beyond the box comes back on its other side, where turned corners lose it
    assert _correlation(recovered, clean).item() > 0.99


def test_definition_ctf_of_each_image(density: Density) -> None:
    """Definition: the transform with CTF is that without times sin(chi), RELION's astigmatic defocus in its angle."""
    settings = {"astigmatism": 0.5, "per_micrograph": 4}
    for box in (64, 65):
        with_ctf, pixels = _make(density, box=box, ctf=True, **settings)
        without, bare = _make(density, box=box, ctf=False, **settings)
        u, v, angle = (a[:, None, None] for a in with_ctf.truth.ctf.to_relion())
        kx, ky = np.meshgrid(np.fft.rfftfreq(box) / 5.0, np.fft.fftfreq(box) / 5.0)
        defocus = (u + v) / 2 + (u - v) / 2 * np.cos(2 * (np.arctan2(ky, kx) - np.deg2rad(angle)))
        wavelength, k2 = 0.0196875, kx**2 + ky**2  # Å at 300 kV
        chi = np.pi * wavelength * defocus * k2 - np.pi / 2 * 2.7e7 * wavelength**3 * k2**2
        expected = np.fft.rfft2(bare) * np.sin(chi + np.arcsin(0.1)) * with_ctf.scale / without.scale
        # the wavelength is given to 6 digits; noise of variance 1 beside a signal of 1e10
        np.testing.assert_allclose(np.fft.rfft2(pixels), expected, atol=1e-3 * np.abs(expected).max())
        assert np.ptp(u - v) > 100


def test_definition_relion_columns_describe_the_images(density: Density) -> None:
    """Definition: projecting with the image's own Euler angles, moved by minus the origin, is the image, unflipped."""
    images, pixels = _make(density)
    truth = images.truth
    rot, tilt, psi = truth.euler_deg()
    pose_psi, origin, flip = to_relion(truth.poses)
    again = _projected(images, orientation(rot, tilt, psi), -origin)
    # float32 spline coefficients, and noise of variance 1 beside a signal of 1e10
    np.testing.assert_allclose(again, pixels, atol=1e-4 * pixels.max())
    straight = ~flip
    assert np.abs((psi - pose_psi)[straight] - 360 * np.round((psi - pose_psi)[straight] / 360)).max() < 1e-6
    assert np.abs(truth.poses.offset_px()).max() <= 3.0


@pytest.mark.parametrize("noise", ["white", "coloured"])
@pytest.mark.parametrize("ctf", [False, True])
def test_definition_snr(density: Density, noise: str, ctf: bool) -> None:
    """Definition: variance of the signal after the CTF in the particle's disc, over that of the noise, which is 1."""
    loud, with_noise = _make(density, snr=0.2, noise=noise, ctf=ctf, per_view=40)
    quiet, without = _make(density, snr=1e10, noise=noise, ctf=ctf, per_view=40)
    signal = without * np.float32(loud.scale / quiet.scale)
    rest = with_noise - signal
    y, x = np.mgrid[:64, :64] - 32
    disc = x**2 + y**2 <= loud.radius_px**2
    assert signal[:, disc].var(axis=1).mean() == pytest.approx(0.2, rel=1e-3)
    assert rest.var() == pytest.approx(1.0, rel=0.02 if noise == "white" else 0.1)  # 5e5 pixels; fewer if correlated
    assert abs(np.corrcoef(rest[:, ::2, ::2].ravel(), signal[:, ::2, ::2].ravel())[0, 1]) < 0.02
    assert np.square(colour(64), dtype=float).mean() == pytest.approx(1.0, rel=1e-5)


@pytest.mark.parametrize("settings", [{"ctf": True, "junk": 0.4, "noise": "coloured"}, {"distribution": "preferred"}])
def test_invariance_block_size(density: Density, settings: dict[str, object]) -> None:
    """Invariance: the numbers do not depend on how many images are made at once."""
    images, pixels = _make(density, snr=0.3, **settings)
    for block in (1, 7):
        np.testing.assert_allclose(np.concatenate(list(images.blocks(block))), pixels, atol=1e-5)


def test_known_truth_junk_and_contrast(density: Density) -> None:
    """Known truth: junk makes up its share, every kind looks different from noise but noise itself."""
    images, pixels = _make(density, views=4, per_view=50, junk=0.5, snr=0.3, contrast_variation=0.2)
    truth = images.truth
    assert len(truth) == 400
    assert (truth.view == -1).sum() == 200
    np.testing.assert_array_equal(np.bincount(truth.view[truth.is_particle]), [50] * 4)
    assert 0.1 < truth.contrast[truth.is_particle].std() < 0.3
    variance = {kind: pixels[truth.junk == i].var(axis=(1, 2)).mean() for i, kind in enumerate(JUNK_KINDS)}
    assert variance["noise"] == pytest.approx(1.0, abs=0.02)
    y, x = np.mgrid[:64, :64] - 32
    share = (x**2 + y**2 <= images.radius_px**2).mean()  # of the box, that the disc of the SNR covers
    assert variance["none"] == pytest.approx(1 + 0.3 * share, abs=0.03)
    assert variance["pair"] > variance["none"] + 0.02
    assert min(variance["ice"], variance["edge"]) > 1.3


@pytest.mark.parametrize("distribution", ["uniform", "preferred"])
def test_known_truth_continuous_directions(density: Density, distribution: str) -> None:
    """Known truth: images lie on the projection of their own direction, which tends to that of the nearest view."""
    images, pixels = _make(density, views=60, per_view=1, distribution=distribution)
    aligned = _aligned(pixels, images.truth.poses)
    truth = images.truth
    assert _correlation(aligned, images.clean(np.arange(60))).min() > 0.9999
    axes = spread_over_half_sphere(60, stream(QUIET["seed"], "views"))
    views = _projected(images, frames(axes), np.zeros((len(axes), 2)))[truth.view]
    angle = np.rad2deg(np.arccos((truth.clean[:, 2] * axes[truth.view]).sum(axis=1).clip(-1, 1)))
    assert angle.max() < 20  # views are 17 degrees apart
    assert _correlation(aligned, views)[angle < 5].min() > 0.9


def test_particle_must_fit_its_box(density: Density) -> None:
    """Definition of the error."""
    with pytest.raises(SettingError, match="cannot hold a particle"):
        _make(density, box=32)
