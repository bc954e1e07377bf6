"""Averages made ready to be looked at: what is sharpened, cut off and told."""

import numpy as np
import pytest
import scipy.fft

from cryoisac.cluster.adjusting import Adjusted, adjusted
from cryoisac.cluster.halves import ClassAverage, HalfSums, class_average
from cryoisac.ops.fourier import absolute_frequency
from cryoisac.ops.masks import circle
from cryoisac.ops.sharpen import model_power
from cryoisac.ops.spectra import rotational_power
from cryoisac.settings import Averaging

BOX, RADIUS, PIXEL_A = 96, 34.0, 1.5
FREQUENCY = absolute_frequency((BOX, BOX))


def average(bfactor_A2: float, noise: float) -> ClassAverage:
    """The average of 200 images whose signal falls off by a B-factor, with white noise."""
    rng = np.random.default_rng(0)
    fall = np.exp(-0.25 * bfactor_A2 * (FREQUENCY / PIXEL_A) ** 2)
    grain = scipy.fft.irfft2(scipy.fft.rfft2(rng.normal(size=(BOX, BOX)) * circle(RADIUS - 4, BOX)) * fall)
    signal = np.stack([100 * (grain + noise * rng.normal(size=(BOX, BOX)) / 10) for _ in (0, 1)])
    weight = np.full((2, BOX, BOX // 2 + 1), 100.0)
    return class_average(HalfSums(signal=signal, weight=weight, sizes=np.array([100, 100])), RADIUS)


@pytest.fixture(scope="module")
def fallen() -> ClassAverage:
    return average(300.0, 0.2)


def made(source: ClassAverage, **options: object) -> Adjusted:
    chosen = {"pw_adjustment": "no_adjustment", **options}
    return adjusted(source, Averaging(**chosen), RADIUS, PIXEL_A, None)  # type: ignore[arg-type]


def power(image: np.ndarray) -> np.ndarray:
    return rotational_power(image[None].astype(np.float32))[0]


def test_a_fitted_bfactor_is_that_of_the_signal(fallen: ClassAverage) -> None:
    """Known truth: fitted up to where the halves agree, where there is little noise."""
    found = made(fallen, pw_adjustment="bfactor", B_start=20.0)
    assert found.cutoff is not None
    assert found.bfactor_A2 == pytest.approx(300, rel=0.2)  # noise lifts the last rings by up to a tenth


@pytest.mark.parametrize("bfactor", [300.0, 1500.0])
def test_sharpening_does_not_raise_noise(fallen: ClassAverage, bfactor: float) -> None:
    """Known truth: beyond the resolution there is only noise, which no B-factor brings back; nor an edge of a mask."""
    found = made(fallen, pw_adjustment="bfactor", Bfactor=bfactor)
    assert found.cutoff is not None
    spectrum = np.abs(scipy.fft.rfft2(found.image * circle(RADIUS - 2, BOX))) ** 2
    beyond = found.cutoff + 6 / BOX < FREQUENCY
    assert spectrum[beyond].sum() < 0.05 * spectrum.sum()
    assert np.isfinite(found.image).all()


def test_beyond_the_particle_is_background(fallen: ClassAverage) -> None:
    """Definition: constant from the edge of the mask on."""
    for model in ("analytical_model", "bfactor", "no_adjustment"):
        outside = made(fallen, pw_adjustment=model).image[~circle(RADIUS + 5, BOX)]
        assert np.ptp(outside) < 1e-5 * np.ptp(made(fallen, pw_adjustment=model).image)


@pytest.mark.parametrize(
    ("option", "cutoff"), [({"fl": 0.1}, 0.1), ({"lowpass": 15.0}, 0.1), ({"fl": 0.5}, 0.45), ({"lowpass": 2.0}, 0.45)]
)
def test_low_pass_filters_cut_where_they_say(option: dict[str, float], cutoff: float) -> None:
    """Definition: 1.5 Å pixels to 15 Å are 0.1 cycles per pixel; nothing beyond 0.45."""
    sharp = average(0.0, 0.01)  # white, and known everywhere
    share = np.sqrt(power(made(sharp, **option).image) / power(made(sharp).image))
    rings = np.arange(BOX // 2 + 1) / BOX
    assert share[(rings > 0.05) & (rings < cutoff - 0.03)] == pytest.approx(1, abs=0.05)
    assert (share[(rings > cutoff + 0.02) & (rings < 0.49)] < 0.1).all()


def test_frequencies_of_the_original_choose_the_cut_off(fallen: ClassAverage) -> None:
    """Definition: 0 is FH1, 1 is FH2, which is FH1 too without local alignment."""
    one, two = made(fallen, fl=0.0), made(fallen, fl=1.0)
    assert one.fh1 == one.fh2
    assert np.array_equal(one.image, two.image)
    assert np.array_equal(one.image, made(fallen, fl=min(one.fh1, 0.45)).image)
    local = made(fallen, fl=1.0, local_alignment=True)
    assert 0 < local.fh2 < local.fh1
    assert np.array_equal(local.image, made(fallen, fl=local.fh2).image)


def test_the_model_sets_the_spectrum() -> None:
    """Known truth: where there is hardly any noise, the fall-off is gone and the spectrum is the model's."""
    found = power(made(average(300.0, 0.01), pw_adjustment="analytical_model").image)
    rings = np.arange(4, 20)
    ratio = found[rings] / model_power(rings / BOX / PIXEL_A)
    # Rings share a tenth of their power with their neighbours by the mask, whose edge lies elsewhere than before.
    assert ratio / np.median(ratio) == pytest.approx(1, abs=0.3)


def test_nothing_to_adjust() -> None:
    """Definition: an average of nothing is nothing, and has no resolution."""
    empty = HalfSums(signal=np.zeros((2, BOX, BOX)), weight=np.ones((2, BOX, BOX // 2 + 1)), sizes=np.array([4, 4]))
    for model in ("analytical_model", "bfactor"):
        found = made(class_average(empty, RADIUS), pw_adjustment=model)
        assert not found.image.any()
        assert found.cutoff is None
        assert found.fh1 == 0.15
