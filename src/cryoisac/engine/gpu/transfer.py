"""Copies between host and device for which neither waits."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from cryoisac.engine.gpu.memory import wide


def sent(array: npt.NDArray[Any], device: torch.device) -> torch.Tensor:
    """Return an array on a device, which goes on meanwhile; float64 as the widest type that the device has."""
    own = torch.from_numpy(np.require(array, requirements=("C", "W")))
    own = own.to(wide(device)) if own.dtype == torch.float64 else own
    return own.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else own.to(device)


class Answers:
    """What comes back from a device: each part is used when the next one is under way."""

    def __init__(self) -> None:
        self._coming: list[tuple[torch.Tensor, Any, Callable[[npt.NDArray[Any]], None]]] = []

    def put(self, values: torch.Tensor, use: Callable[[npt.NDArray[Any]], None]) -> None:
        """Begin to copy values to the host, where ``use(values)`` is called later, and use what came before."""
        event = None
        if values.device.type == "cuda":
            host = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
            host.copy_(values, non_blocking=True)
            event = torch.cuda.Event()
            event.record(torch.cuda.current_stream(values.device))
        else:
            host = values.cpu()
        self.settle()
        self._coming.append((host, event, use))

    def settle(self) -> None:
        """Use all that is still on its way."""
        while self._coming:
            host, event, use = self._coming.pop()
            if event is not None:
                event.synchronize()
            use(host.numpy())
