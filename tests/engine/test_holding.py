"""How images are shared out over devices, what they take there, and what is said of it before a run."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_likelihood_native import asked
from torch_engines import needs_torch, torch_engine, torch_likelihood_engine

from cryoisac.engine.holding import Kind, pixel_image_bytes, plan_lines, ring_image_bytes, shares

NEEDS = list(needs_torch)


@pytest.mark.parametrize(
    ("count", "speeds", "rooms", "expected"),
    [
        (100, (1, 1), (1000, 1000), [50, 50]),  # alike
        (100, (3, 1), (1000, 1000), [75, 25]),  # as they are fast
        (100, (3, 1), (40, 1000), [40, 60]),  # the fast one has room for few
        (100, (3, 1), (1000, 10), [90, 10]),  # the slow one
        (120, (4, 2, 2), (30, 50, 1000), [30, 45, 45]),  # what one has no room for goes to the others as they are fast
        (120, (4, 2, 1), (30, 50, 1000), [30, 50, 40]),  # and again
        (100, (3, 1), (60, 40), [60, 40]),  # all is full
        (100, (3, 1), (20, 40), [75, 25]),  # not all can stay: speed alone
        (100, (3, 1), (80, 10), [75, 25]),  # nor here, though the fast one keeps all of its own
        (10, (1, 1, 1), (99, 99, 99), [4, 3, 3]),  # a remainder
        (2, (1, 1, 1), (99, 99, 99), [1, 1, 0]),
        (0, (3, 1), (5, 5), [0, 0]),
        (7, (2.5,), (3,), [7]),
    ],
)
def test_shares_of_some_cases(count, speeds, rooms, expected):
    """Known truth: by speed, within what each has room for."""
    assert shares(count, speeds, rooms) == expected


@given(
    count=st.integers(0, 10**7),
    devices=st.lists(st.tuples(st.floats(1e-3, 1e13), st.integers(0, 10**7)), min_size=1, max_size=8),
)
def test_definition_of_shares(count, devices):
    """Definition: all images; each device the same time's work, or all it has room for, where all images can stay."""
    speeds, rooms = np.array([d[0] for d in devices]), np.array([d[1] for d in devices])
    held = np.array(shares(count, list(speeds), list(rooms)))
    most = rooms if rooms.sum() >= count else np.full(len(rooms), count)
    assert held.sum() == count
    assert ((held >= 0) & (held <= most)).all()
    least, longest = 0.0, 1.0 + count / speeds.min()
    for _ in range(200):  # the time by bisection
        middle = (least + longest) / 2
        least, longest = (middle, longest) if np.minimum(middle * speeds, most).sum() < count else (least, middle)
    assert np.abs(held - np.minimum(longest * speeds, most)).max() <= len(devices)  # whole images


class FakeRoom:
    """A device of so many bytes."""

    def __init__(self, resident_bytes, speed=1.0):
        self.resident_bytes, self.speed = resident_bytes, speed
        self.budget_bytes, self.batch_bytes = 10**9 + resident_bytes, 10**8


def test_what_is_said_of_a_plan():
    """Known truth: images that stay and images that do not, of each device."""
    assert plan_lines(1000, 10**6, [FakeRoom(10**9, 3.0), FakeRoom(10**9)], ("cuda:0", "cuda:1")) == [
        "cuda:0: 750 images stay on it, 750 MB; batches of 100 MB, 2 GB in all",
        "cuda:1: 250 images stay on it, 250 MB; batches of 100 MB, 2 GB in all",
    ]
    (line,) = plan_lines(5000, 10**6, [FakeRoom(10**9)], ("cuda:0",))
    assert line.split("; ") == [
        "cuda:0: 5,000 images, 5 GB, are brought block by block, as 1 GB may stay",
        "batches of 100 MB, 2 GB in all",
    ]


def test_classes_that_fit():
    """Known truth: whole images and whole classes."""
    kind = Kind(title="images of 2 px", image_bytes=20, class_size=3)
    assert kind.fitting(219) == "10 images of 2 px, 3 classes of 3"


class TestBytes:
    """What images are said to take is what they take."""

    pytestmark = NEEDS

    def test_of_images(self):
        """Definition: the tensor that is kept, by image."""
        held = torch_engine(np.zeros((5, 32, 32), np.float32))._store._held
        assert held.element_size() * held[0].numel() == pixel_image_bytes(32)

    def test_of_ring_images(self):
        """Definition: as above."""
        images = asked("even box")[1]
        held = torch_likelihood_engine(images)._store._held
        assert held.element_size() * held[0].numel() == ring_image_bytes(images.rings)
