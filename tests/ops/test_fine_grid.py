"""Images on a grid twice as fine."""

import numpy as np
import pytest

from cryoisac.ops.fine_grid import AFTER, BEFORE, fine_grid, window, window_table


@pytest.mark.parametrize("shape", [(16, 16), (15, 18), (20, 13)])
def test_values_through_the_window_are_those_of_the_trigonometric_polynomial(shape):
    """Definition by brute force: a sum of waves at any point, the Nyquist frequency as a cosine."""
    rng = np.random.default_rng(1)
    h, w = shape
    image = rng.uniform(-1, 1, shape).astype(np.float32)
    grid = fine_grid(image[None])[0].astype(np.float64)
    spectrum = np.fft.fft2(image) / (h * w)
    ky, kx = np.fft.fftfreq(h, 1 / h), np.fft.fftfreq(w, 1 / w)
    for x, y in rng.uniform(0, 1, (20, 2)) * (w - 1e-3, h - 1e-3):

        def waves(k, at, n):
            wave = np.exp(2j * np.pi * k * at / n)
            return np.where(2 * np.abs(k) == n, wave.real, wave)

        expected = (waves(ky, y, h) @ spectrum @ waves(kx, x, w)).real
        i, j = int(2 * x), int(2 * y)
        near = np.arange(-BEFORE, AFTER + 1)
        across, along = window(near - (2 * x - i)), window(near - (2 * y - j))
        got = along @ grid[j : j + len(near), i : i + len(near)] @ across
        assert abs(got - expected) < 3e-6  # the window's own error of some 1e-7, and float32 grids


def test_tabulated_weights_are_those_of_the_window():
    """Definition: row s holds the weights for the fraction s / steps."""
    table = window_table(16)
    for s in (0, 5, 16):
        np.testing.assert_allclose(table[s], window(np.arange(-3, 5) - s / 16), atol=1e-7)  # float32


def test_threads_do_not_matter():
    """Invariance."""
    images = np.random.default_rng(2).standard_normal((5, 12, 14)).astype(np.float32)
    assert (fine_grid(images, threads=2) == fine_grid(images)).all()
