"""Copies that nobody waits for, and shifts that are read in place."""

import numpy as np
import pytest
from torch_engines import DEVICE, needs_torch

from cryoisac.ops import polar
from cryoisac.ops.polar import Rings

pytestmark = list(needs_torch)


def test_answers_are_used_when_the_next_one_is_under_way():
    """Known truth: each is used once, in order, and the last one when all is settled."""
    import torch

    from cryoisac.engine.gpu.transfer import Answers, sent

    used, answers, device = [], Answers(), torch.device(DEVICE)
    for number in range(3):
        answers.put(sent(np.full(2, number), device), lambda values: used.append(int(values[0])))
        assert used == list(range(number))
    answers.settle()
    answers.settle()
    assert used == [0, 1, 2]


def test_what_cannot_be_written_to_is_sent_too():
    """Known truth: arrays that are read-only, or strided, arrive."""
    import torch

    from cryoisac.engine.gpu.transfer import sent

    own = np.arange(12.0).reshape(3, 4)
    own.flags.writeable = False
    for array in (own, own[:, ::2], own.T):
        assert (sent(array, torch.device(DEVICE)).cpu().numpy() == array).all()


@pytest.mark.parametrize(
    "shifts",
    [
        np.stack(np.meshgrid([-2, -1, 0, 1, 2], [-1, 0, 1], indexing="xy"), axis=-1).reshape(-1, 2),
        np.stack(np.meshgrid([-3, 0, 3], [-2, 0, 2], indexing="xy"), axis=-1).reshape(-1, 2),
        np.array([[0, 0], [2, 0], [3, 0], [3, 1], [1, 1], [1, 1]]),  # in no order
        np.array([[4, -4], [-4, 4]]),
        np.array([[0.5, 0], [1, 0]]),
    ],
)
def test_moved_images_are_sampled_as_moved_centres(shifts):
    """Definition: ``polar.sample`` around every centre, in the box and beyond, where the edge goes on."""
    import torch

    from cryoisac.engine.gpu.layout import Layout
    from cryoisac.engine.gpu.sampling import Sampler

    rng = np.random.default_rng(6)
    rings, box, device = Rings.between(1, 9), 25, torch.device(DEVICE)
    layout = Layout(rings, device)
    images = rng.standard_normal((4, box, box)).astype(np.float32)
    centres = box // 2 + np.array([[0, 0], [1.25, -2.5], [3, 3], [-2.9, 6.5]])
    pixels = tuple(torch.from_numpy(x).to(device) for x in (images, images.mean(axis=(1, 2))))
    parts = Sampler(layout, box, device)(pixels, centres, shifts.astype(np.float64), normalise=False)
    for s, shift in enumerate(shifts):
        expected = polar.spectra(polar.sample(images.astype(np.float64), rings, centres + shift), rings)
        for part, stretch in zip(parts, layout.stretches, strict=True):
            own = part.cpu().numpy().reshape(4, len(shifts), stretch.rings, -1)[:, s]
            first = next(r for r, n in enumerate(rings.lengths) if n == stretch.length)
            wanted = expected[:, first : first + stretch.rings, : own.shape[-1]]
            np.testing.assert_allclose(own, wanted, atol=2e-5 * np.abs(wanted).max())  # float32 places
