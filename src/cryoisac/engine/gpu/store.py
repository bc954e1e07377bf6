"""Images on a device: all of them where they fit, else block by block from the host while the block before is used."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from cryoisac.engine.contract import Indices
from cryoisac.engine.gpu.memory import NoRoomError, Place, computing, in_batches, is_lack_of_memory, release
from cryoisac.engine.gpu.transfer import sent

Prepare = Callable[[torch.Tensor], torch.Tensor]
LOADING_COPIES = 4  # of an item while it is prepared


class Store:
    """Items of an array, prepared for a device; brought at once where they stay, so that their memory is seen as taken.

    Parameters
    ----------
    array : ndarray, shape (n, ...), float32
        The items; may be mapped from a file.
    place : Place
        The device.
    prepare : callable
        From a tensor (m, ...) of items to what is used of them, item by item; once for items that stay.
    item_bytes : int
        Bytes of a prepared item.
    """

    def __init__(self, array: npt.NDArray[np.float32], place: Place, prepare: Prepare, item_bytes: int) -> None:
        self._array, self._place, self._prepare = array, place, prepare
        self.resident = len(array) * item_bytes <= place.resident_bytes
        cuda = place.device.type == "cuda"
        self._side: Any = torch.cuda.Stream(place.device) if cuda else None
        self._expected: tuple[Indices, torch.Tensor] | None = None
        self._held: torch.Tensor | None = None
        self._item_bytes = item_bytes
        if self.resident:
            with computing(place.tf32):
                self._hold()

    def take(self, images: Indices) -> torch.Tensor:
        """Return prepared items, in this order."""
        if self._held is not None:
            return self._held[sent(images, self._place.device)]
        expected, self._expected = self._expected, None
        if expected is not None and np.array_equal(expected[0], images):
            return self._prepare(self._arrived(expected[1]))
        del expected  # so that its memory is free
        return self._prepare(self._arrived(self._sent(images)))

    def expect(self, images: Indices) -> None:
        """Begin to bring items that will be taken next, where items do not stay."""
        if not self.resident and len(images):
            self._expected = images, self._sent(images)

    def _hold(self) -> None:
        """Bring all items to stay; where there is no room for them after all, none."""
        try:
            self._held = self._loaded()
        except (RuntimeError, NoRoomError) as error:
            if isinstance(error, RuntimeError) and not is_lack_of_memory(error):
                raise
            self.resident = False
        if self._held is None:
            release(self._place.device)

    def _loaded(self) -> torch.Tensor:
        one = self._prepare(torch.zeros(1, *self._array.shape[1:], device=self._place.device))
        held = torch.empty(len(self._array), *one.shape[1:], dtype=one.dtype, device=self._place.device)

        def load(part: slice, following: slice) -> None:
            items = _tensor(self._array[part])
            held[part] = self._prepare(items.to(self._place.device))

        in_batches(len(self._array), LOADING_COPIES * self._item_bytes, load, self._place)
        return held

    def _sent(self, images: Indices) -> torch.Tensor:
        if self._side is None:
            return _tensor(self._array[images]).to(self._place.device)
        with torch.cuda.stream(self._side):
            pinned = torch.empty(len(images), *self._array.shape[1:], pin_memory=True)
            np.take(self._array, images, axis=0, out=pinned.numpy(), mode="clip")  # checked; others go by a buffer
            return pinned.to(self._place.device, non_blocking=True)

    def _arrived(self, items: torch.Tensor) -> torch.Tensor:
        """Return items once their copy, on a stream of its own, is complete."""
        if self._side is not None:
            now = torch.cuda.current_stream(self._place.device)
            now.wait_stream(self._side)
            items.record_stream(now)
        return items


def _tensor(items: npt.NDArray[np.float32]) -> torch.Tensor:
    """Return items as a tensor; a copy where they lie in a file that is mapped."""
    return torch.from_numpy(np.require(items, np.float32, ("C", "W")))
