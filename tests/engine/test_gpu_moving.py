"""Images moved by PyTorch."""

from typing import ClassVar

import numpy as np
import pytest

import cryoisac
from cryoisac.engine.devices import Devices
from cryoisac.engine.moving import Moving, class_sums, transform
from cryoisac.errors import SettingError
from cryoisac.model.poses import Poses
from tests.engine.torch_engines import DEVICE, needs_torch

UNIT_SCALE = 3e-7  # what the formulas are kept within on images of values up to 1
HERE = Devices(names=(DEVICE,), memory_share=0.5)


def given(n: int, shape: tuple[int, int]) -> tuple[np.ndarray, Poses, np.ndarray]:
    """Return images of unit scale, poses far and near, and scales."""
    rng = np.random.default_rng(5)
    poses = Poses(angle_deg=rng.uniform(-400, 400, n), shift_px=rng.uniform(-9, 9, (n, 2)), mirror=rng.random(n) < 0.5)
    return rng.uniform(-1, 1, (n, *shape)).astype(np.float32), poses, rng.choice([1.0, 1.0, 0.5, 1.6], n)


class TestOnADevice:
    pytestmark: ClassVar = list(needs_torch)

    @pytest.mark.parametrize("outside", ["background", "cyclic", -0.25])
    @pytest.mark.parametrize("method", ["linear", "quadratic", "cubic"])
    @pytest.mark.parametrize("shape", [(14, 14), (13, 13), (9, 16)])
    def test_as_in_compiled_code(self, shape, method, outside):
        """Independent program: the compiled kernels, which follow the definition as closely."""
        images, poses, scale = given(20, shape)
        how = {"method": method, "outside": outside}
        expected = transform(images, poses, scale=scale, moving=Moving(**how))
        got = transform(images, poses, scale=scale, moving=Moving(**how, devices=HERE))
        np.testing.assert_allclose(got, expected, atol=2 * UNIT_SCALE, rtol=0)  # each within that of the definition

    def test_class_sums(self):
        """Definition: sums of the moved images; those in no class are left out, and sums that are there are kept."""
        images, poses, scale = given(200, (15, 12))
        labels = np.arange(200) % 4 - 1
        moving = Moving(devices=HERE)
        moved = transform(images, poses, scale=scale, moving=moving)
        sums = class_sums(images, poses, labels, 4, scale=scale, moving=moving)
        for c in range(3):
            np.testing.assert_allclose(sums[c], moved[labels == c].sum(axis=0, dtype=np.float64), atol=1e-5)  # float32
        assert not sums[3].any()
        twice = sums.copy()
        moving.add(images, poses, labels, twice, scale)
        np.testing.assert_allclose(twice, 2 * sums, rtol=1e-12)

    def test_nothing_to_move(self):
        """Definition."""
        images, poses, _ = given(0, (8, 8))
        assert transform(images, poses, moving=Moving(devices=HERE)).shape == (0, 8, 8)
        assert not class_sums(images, poses, np.zeros(0, dtype=np.int64), 2, moving=Moving(devices=HERE)).any()

    def test_the_call_takes_a_device(self):
        """Independent path: the same as by compiled code."""
        images, poses, _ = given(8, (16, 16))
        name = "torch-cpu" if DEVICE == "cpu" else DEVICE
        expected = cryoisac.transform(images, poses)
        np.testing.assert_allclose(cryoisac.transform(images, poses, device=name), expected, atol=2 * UNIT_SCALE)
        labels = np.zeros(8, dtype=np.int64)
        sums = cryoisac.class_sums(images, poses, labels, device=name)
        np.testing.assert_allclose(sums[0], expected.sum(axis=0, dtype=np.float64), atol=1e-5)


def test_what_is_refused():
    """Definition: exact interpolation, and several devices."""
    with pytest.raises(SettingError, match="fourier"):
        Moving(method="fourier", devices=Devices(names=("cuda:0",)))
    with pytest.raises(SettingError, match="2 devices"):
        Moving(devices=Devices(names=("cuda:0", "cuda:1")))
