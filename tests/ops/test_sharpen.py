"""Spectra brought to models, and B-factors."""

import base64
import json
from pathlib import Path

import numpy as np
import pytest

from cryoisac.errors import DataError
from cryoisac.ops.filters import radial_table
from cryoisac.ops.sharpen import amplitudes, bfactor_table, guinier_slope, model_power, to_measured, to_model
from cryoisac.ops.spectra import rotational_power


def vectors(shared: Path) -> dict:
    return json.loads((shared / "conformance" / "vectors.json").read_text())


def array(packed: dict) -> np.ndarray:
    values = np.frombuffer(base64.b64decode(packed["base64"]), dtype=packed["dtype"])
    return values.reshape(packed["shape"]).astype(np.float64)


def shared_between_rings(volume: np.ndarray) -> np.ndarray:
    """Return the rotational power of a volume as SPARX takes it: half the transform, split between two shells."""
    n = volume.shape[0]
    power = np.abs(np.fft.rfftn(volume)) ** 2
    z, y, x = np.meshgrid(np.fft.fftfreq(n) * n, np.fft.fftfreq(n) * n, np.arange(n // 2 + 1), indexing="ij")
    skipped = (x == 0) & (y <= 0)  # for every kz
    r = np.sqrt(x**2 + y**2 + z**2)
    used = ~skipped & (r < n // 2)
    inner = r[used].astype(int)
    part = r[used] - inner
    total, count = np.zeros(n // 2 + 1), np.zeros(n // 2 + 1)
    for ring, weight in ((inner, 1 - part), (inner + 1, part)):
        np.add.at(total, ring, weight * power[used])
        np.add.at(count, ring, weight)
    total = total / np.maximum(count, 1)
    total[0] = power[0, 0, 0]
    return total * 4 / volume.size**2


def test_the_model_as_the_original_applies_it(shared: Path) -> None:
    """Independent program: SPHIRE's published volume, with its own frequency axis i / L, from the same model."""
    known = vectors(shared)
    case = known["adjust_pw_to_model_3d"]
    volume, expected = array(known["inputs"]["vol10"]), array(case["expected"])
    power = shared_between_rings(volume)
    table = to_model(power, model_power(np.arange(len(power)) / len(power) / case["pixel_size"]))
    z, y, x = np.meshgrid(*[np.fft.fftfreq(10) * 10] * 2, np.arange(6), indexing="ij")
    r = np.sqrt(x**2 + y**2 + z**2)
    factor = np.interp(r, np.arange(len(table) + 1), [*table, 0.0])  # falls to 0 one ring beyond the table
    adjusted = np.fft.irfftn(np.fft.rfftn(volume) * factor, s=volume.shape, axes=(0, 1, 2))
    assert np.abs(adjusted - expected).max() < 1e-6  # float32 in the original: 1.6e-7 where it was checked before


def test_the_slope_of_the_original(shared: Path) -> None:
    """Independent program: SPHIRE's published fit."""
    case = vectors(shared)["compute_bfactor"]
    curve = np.array(case["pws"], dtype=float)
    per_A = np.arange(len(curve)) / (2 * len(curve)) / case["pixel_size"]
    slope, fitted = guinier_slope(curve, per_A, case["freq_min"], case["freq_max"])
    assert slope == pytest.approx(case["expected_B"], rel=1e-9)
    assert fitted == tuple(case["expected_range"])


@pytest.mark.parametrize("bfactor", [80.0, 300.0])
def test_a_known_bfactor_comes_back(bfactor: float) -> None:
    """Known truth: white noise that fell off by a B-factor in Å² gets it back, whatever the pixel size."""
    rng = np.random.default_rng(0)
    box, px = 128, 1.7
    per_A = np.arange(box // 2 + 1) / box / px
    noise = rng.normal(size=(64, box, box)).astype(np.float32)
    fallen = radial_table(noise, 1 / bfactor_table(bfactor, per_A))
    curve = np.mean([amplitudes(image) for image in fallen], axis=0)
    slope, _ = guinier_slope(curve, per_A, 1 / 30, 1 / 4)
    # Amplitudes of 64 images on rings of 60 and more coefficients are known to 1 %, over a range of B s² / 4 > 1.
    assert 4 * slope == pytest.approx(bfactor, abs=8)


def test_nothing_to_fit() -> None:
    """Definition: fewer than two rings, or one without power, are refused."""
    per_A = np.arange(65) / 128
    for curve, low, high in ((np.ones(65), 0.3, 0.3), (np.zeros(65), 0.1, 0.3)):
        with pytest.raises(DataError, match="two rings"):
            guinier_slope(curve, per_A, low, high)


def test_power_becomes_that_of_the_model() -> None:
    """Definition: after the table, the spectrum is the model's over its sum; rings share with their neighbours."""
    rng = np.random.default_rng(1)
    images = rng.normal(size=(1, 64, 64)).astype(np.float32)
    model = np.exp(-np.arange(33) / 20)
    table = to_model(rotational_power(images)[0], model)
    after = rotational_power(radial_table(images, table))[0]
    assert after[2:-1] == pytest.approx((model / model.sum())[2:-1], rel=0.15)


def test_measured_power_is_scaled_as_the_original_scales_it() -> None:
    """Definition: divided by its sum unless its first value lies in 0.1 ... 1."""
    power = np.ones(5)
    for first, scale in ((0.05, None), (0.1, 1.0), (1.0, 1.0), (2.0, None)):
        model = np.array([first, 0.5, 0.4, 0.3, 0.2, 0.1])
        total = model[:5].sum() if scale is None else scale
        assert to_measured(power, model) == pytest.approx(np.sqrt(model[:5] / total))


@pytest.mark.parametrize("model", [np.ones(4), np.array([1, 1, 0, 1, 1.0]), np.array([1, 1, np.nan, 1, 1])])
def test_a_measured_power_that_is_none(model: np.ndarray) -> None:
    """Definition: too few rings, or one that is not above 0."""
    with pytest.raises(DataError, match="all above 0"):
        to_measured(np.ones(5), model)


def test_empty_rings_are_not_raised_without_end() -> None:
    """Definition: a ring without power gets a finite factor, an image without any is refused."""
    assert np.isfinite(to_model(np.array([1.0, 0.0, 1.0]), np.ones(3))).all()
    with pytest.raises(DataError, match="constant"):
        to_model(np.zeros(3), np.ones(3))
