"""Devices that PyTorch can use: whether they are there, what they are called, what may be taken of them."""

import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from cryoisac.engine.gpu.memory import Place, place_of
from cryoisac.errors import DeviceError, SettingError

WITHOUT_NUMBERS = ("mps",)
BANDWIDTH = ("memory_clock_rate", "memory_bus_width")  # kHz and bits, as PyTorch names them
SPEEDS = (BANDWIDTH, ("multi_processor_count", "clock_rate"))


def missing(kind: str) -> str:
    """Return why no device of a kind can be used, or nothing where one can."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        module: Any = torch.get_device_module(kind)
        there = module.is_available() and module.device_count() > 0
    if there:
        return ""
    old = [str(w.message) for w in said if "driver" in str(w.message) and "too old" in str(w.message)]
    if old:
        return "the driver of the GPU is too old for this PyTorch; update it, or install a PyTorch for an older CUDA"
    if kind == "cuda" and torch.version.cuda is None and torch.version.hip is None:
        return f"PyTorch {torch.__version__} is built for the processor only; pytorch.org says how to install another"
    return "no GPU is found that PyTorch can use"


def named(kind: str, numbers: tuple[int, ...]) -> tuple[str, ...]:
    """Return the names of devices of a kind: those with some numbers, or all.

    Raises
    ------
    SettingError
        When PyTorch knows no such kind, or a number is given twice.
    DeviceError
        When there is no such device.
    """
    known = kind != "cpu"
    try:
        torch.get_device_module(torch.device(kind).type)
    except RuntimeError:
        known = False
    if not known or len(set(numbers)) < len(numbers) or (numbers and kind in WITHOUT_NUMBERS):
        raise SettingError("--device", f"is '{_spelled(kind, numbers)}'; give auto, cpu, cuda, or as cuda:0,1")
    why = missing(kind)
    if why:
        raise DeviceError(_spelled(kind, numbers), f"{why}; or give --device cpu")
    if kind in WITHOUT_NUMBERS:
        return (kind,)
    module: Any = torch.get_device_module(kind)
    count = int(module.device_count())
    for number in numbers:
        if number >= count:
            raise DeviceError(f"{kind}:{number}", f"is not there; this machine has {_listed(kind, count)}")
    return tuple(f"{kind}:{number}" for number in numbers or range(count))


def failing(name: str) -> str:
    """Return why a device that is there does not compute, or nothing where it does."""
    try:
        torch.ones(1, device=name).add(1).item()
    except RuntimeError as error:
        if "no kernel image" in str(error):
            return "PyTorch holds no kernels for this GPU; pytorch.org says how to install one that does"
        return f"it does not compute: {str(error).splitlines()[0]}"
    return ""


def titles(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return what devices are called by their makers, or nothing where PyTorch does not say."""
    return tuple(_title(torch.device(name)) for name in names)


def places(names: tuple[str, ...], memory_share: float, threads: int | None = None) -> list[Place]:
    """Return devices with a share of the memory that is free on each, and how fast they are beside each other.

    Parameters
    ----------
    names : tuple of str
        The devices.
    memory_share : float
        Share of their free memory that may be taken.
    threads : int, optional
        Threads of the processor, where it plays the device.
    """
    if "cpu" in names and threads is not None:
        torch.set_num_threads(threads)
    devices = [torch.device(name) for name in names]
    fast = speeds([_properties(device) for device in devices]) if len(devices) > 1 else [1.0]
    return [replace(place_of(d, memory_share), speed=speed) for d, speed in zip(devices, fast, strict=True)]


def speeds(properties: Sequence[Any]) -> list[float]:
    """Return how fast devices are beside each other, from what PyTorch says of them; all alike where it does not.

    It is the bandwidth of their memory, as that is what searches wait for: its clock and the width of its bus; else
    the number of multiprocessors and their clock. It is not measured, so that a run can be repeated.
    """
    for factors in SPEEDS:
        found = [known_product(own, factors) for own in properties]
        if min(found) > 0:
            return found
    return [1.0] * len(properties)


def known_product(properties: Any, factors: tuple[str, ...]) -> float:
    """Return the product of some properties of a device, 0 where PyTorch does not know one of them."""
    return float(np.prod([getattr(properties, name, 0) for name in factors]))


def _properties(device: torch.device) -> Any:
    module: Any = torch.get_device_module(device)
    return module.get_device_properties(device) if hasattr(module, "get_device_properties") else None


def _title(device: torch.device) -> str:
    module: Any = torch.get_device_module(device)
    return str(module.get_device_name(device)) if hasattr(module, "get_device_name") else ""


def _spelled(kind: str, numbers: tuple[int, ...]) -> str:
    return f"{kind}:{','.join(map(str, numbers))}" if numbers else kind


def _listed(kind: str, count: int) -> str:
    return f"{kind}:0 alone" if count == 1 else f"{kind}:0 to {kind}:{count - 1}"
