"""The bytes that tensors take on a device, and the most of them at once."""

import weakref
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Counted(TorchDispatchMode):
    """Counts the bytes of tensors that are made on a device while it is entered, and the most there were at once.

    What operations take inside of themselves, such as the plan of a transform, is not seen.

    Parameters
    ----------
    device : torch.device
        The device.
    """

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self._device = device
        self.bytes = self.most = 0
        self._known: dict[int, Any] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor) and tensor.device == self._device:
                self._count(tensor.untyped_storage())
        return result

    def _count(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key in self._known:
            return
        self.bytes += size
        self.most = max(self.most, self.bytes)

        def gone() -> None:
            self.bytes -= size
            del self._known[key]

        self._known[key] = weakref.finalize(storage, gone)


class Peak:
    """The most memory that tensors take on a device while it is entered."""

    def __init__(self, device: torch.device) -> None:
        self._device, self._counted, self.most = device, Counted(device), 0

    def __enter__(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
        else:
            self._counted.most = self._counted.bytes
            self._counted.__enter__()

    def __exit__(self, *error: object) -> None:
        if self._device.type == "cuda":
            self.most = torch.cuda.max_memory_reserved(self._device)
        else:
            self._counted.__exit__(*error)
            self.most = self._counted.most
