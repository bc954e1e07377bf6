"""Memory of a device: how much may be taken, work in batches that fit, and half of a batch where one did not."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch

from cryoisac.errors import DeviceError

LARGEST_BATCH_BYTES = 24 << 30  # of a GPU: enough to keep it busy while the next kernels are launched
HOST_BATCH_BYTES = 1 << 28
LACKS = (  # what PyTorch and libraries say where memory ran out
    "out of memory",
    "not enough memory",
    "can't allocate memory",
    "ALLOC_FAILED",
    "CUFFT_INTERNAL_ERROR",
    "CUBLAS_STATUS_NOT_INITIALIZED",
)
BATCH_SHARE = 0.2  # of a device's budget
RESIDENT_SHARE = 0.6
SMALLEST_BUDGET_BYTES = 1 << 24
HOST_SHARE = 0.25  # of the processor's memory, where it plays the device


class NoRoomError(DeviceError):
    """A device has no room for a single item."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """A device, and the memory that may be taken of it.

    Parameters
    ----------
    device : torch.device
        The device.
    budget_bytes : int
        Bytes that this process may take, whatever its engines hold already; images that stay take ``RESIDENT_SHARE``
        of them at most, in all engines together.
    kept_bytes : int
        Bytes of the budget that this process holds already.
    speed : float
        How fast the device is beside others that share its work, in any unit.
    tf32 : bool
        Whether products may be made in tf32, with eleven bits of each factor.
    fused : str
        How a Triton kernel finds maxima over angles: "ieee", "tf32x3" or "tf32", see ``fused.largest``; without one,
        a transform makes all values.
    failures : list of str
        Why that kernel failed here, if it did.
    """

    device: torch.device
    budget_bytes: int
    kept_bytes: int = 0
    speed: float = 1.0
    tf32: bool = False
    fused: str = ""
    failures: list[str] = field(default_factory=list, init=False, compare=False)

    @property
    def resident_bytes(self) -> int:
        """Bytes that images may take for good, beside those of other engines."""
        return max(0, int(RESIDENT_SHARE * self.budget_bytes) - self.kept_bytes)

    @property
    def batch_bytes(self) -> int:
        """Bytes that one batch may take; engines work one after another, so that they share this room."""
        most = HOST_BATCH_BYTES if self.device.type == "cpu" else LARGEST_BATCH_BYTES
        return min(most, int(BATCH_SHARE * self.budget_bytes), (self.budget_bytes - self.kept_bytes) // 2)


def place_of(device: torch.device, share: float) -> Place:
    """Return a device with a share of the memory that is free on it, or that this process has taken of it.

    Raises
    ------
    DeviceError
        When that is too little to work with.
    """
    place = share_of(device, share)
    left = place.budget_bytes - place.kept_bytes
    if left < SMALLEST_BUDGET_BYTES:
        raise DeviceError(
            str(device),
            f"only {max(0, left) >> 20} MB may be taken; end other programs on it, or raise --gpu-memory-use",
        )
    return place


def share_of(device: torch.device, share: float) -> Place:
    """Return a device with a share of its memory, as ``place_of``, however little that is."""
    kept = kept_bytes(device)
    return Place(device=device, budget_bytes=int(share * (free_bytes(device)[0] + kept)), kept_bytes=kept)


def kept_bytes(device: torch.device) -> int:
    """Return the bytes of a device that tensors of this process take: images of engines, as none is working.

    The processor, where it plays the device, does not count them.
    """
    if device.type == "cpu":
        return 0
    if device.type == "mps":
        return int(torch.mps.current_allocated_memory())
    module: Any = torch.get_device_module(device)
    return int(module.memory_allocated(device))


def free_bytes(device: torch.device) -> tuple[int, int]:
    """Return the bytes that are free on a device, and all that it has."""
    if device.type == "cpu":
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        return int(HOST_SHARE * total), total
    if device.type == "mps":
        total = torch.mps.recommended_max_memory()
        return total - torch.mps.driver_allocated_memory(), total
    module: Any = torch.get_device_module(device)
    free, total = module.mem_get_info(device)
    held = module.memory_reserved(device) - module.memory_allocated(device)
    return int(free + held), int(total)


def in_batches(items: int, item_bytes: int, work: Callable[[slice, slice], None], place: Place) -> None:
    """Do work on items in batches that fit, and with half of them where memory runs out; a single one is tried twice.

    Parameters
    ----------
    items : int
        How many there are.
    item_bytes : int
        What one takes.
    work : callable
        ``work(part, next_part)``; it may be called again for the beginning of a part on which memory ran out.
    place : Place
        Where it is done.

    Raises
    ------
    NoRoomError
        When there is no room for a single item.

    Notes
    -----
    Work may itself be done in batches: where there is no room for one of these, half as many items are tried.
    """
    size = max(1, place.batch_bytes // max(1, item_bytes))
    start, alone = 0, False
    while start < items:
        stop = min(items, start + size)
        try:
            work(slice(start, stop), slice(stop, min(items, stop + size)))
        except (RuntimeError, NoRoomError) as error:
            if isinstance(error, RuntimeError) and not is_lack_of_memory(error):
                raise
            if alone:
                if isinstance(error, NoRoomError):
                    raise
                raise NoRoomError(
                    str(place.device), f"has no room for {item_bytes >> 20} MB; take a larger device, or --device cpu"
                ) from error
            alone, size = stop - start == 1, (stop - start + 1) // 2
        else:
            start, alone = stop, False
            continue
        release(place.device)  # here, where the error is gone, and with it the frames that hold the batch


def is_lack_of_memory(error: RuntimeError) -> bool:
    """Return whether an error says that memory ran out, in PyTorch or in a library that it calls."""
    return isinstance(error, torch.cuda.OutOfMemoryError) or any(words in str(error) for words in LACKS)


def release(device: torch.device) -> None:
    """Give back memory that torch holds without using it, and plans of transforms, which hold some too."""
    if device.type == "cuda":
        torch.backends.cuda.cufft_plan_cache[device.index or 0].clear()
    if device.type != "cpu":
        torch.get_device_module(device).empty_cache()


@contextmanager
def computing(tf32: bool) -> Iterator[None]:
    """Compute without gradients, and with products of matrices in float32, or in tf32 where that is allowed.

    Raises
    ------
    DeviceError
        When memory runs out where no smaller batch can be tried.
    """
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    try:
        with torch.inference_mode():
            yield
    except RuntimeError as error:
        if not is_lack_of_memory(error):
            raise
        raise DeviceError(
            "GPU", f"memory ran out; end other programs on it, or give --device cpu ({str(error).splitlines()[0]})"
        ) from error
    finally:
        torch.set_float32_matmul_precision(before)


def wide(device: torch.device) -> torch.dtype:
    """Return the widest floating type of a device: Apple's have none beyond float32."""
    return torch.float32 if device.type == "mps" else torch.float64
