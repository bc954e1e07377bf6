"""What questions to a torch engine cost: bytes, operations, launches, waits, and the time that ceilings allow.

Ops are counted while they run, on any device, each at the line of the engine that asked for it; views cost nothing.
"""

import math
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

ENGINE = "cryoisac/engine/gpu/"
GATHERS = ("index", "index_select", "gather", "take", "embedding", "grid_sampler_2d", "slice_scatter")
FREE = ("empty", "empty_like", "empty_strided", "new_empty", "resize_", "set_", "_unsafe_view", "lift_fresh")
ASK_HOST = ("_local_scalar_dense", "nonzero", "equal", "is_nonzero", "masked_select", "unique_consecutive", "_unique2")
CROSSES = ("_to_copy", "copy_")  # between host and device: counted where they are asked for
WITHOUT_WAITS = "transfer.py:"  # of the engine: on a GPU nothing waits for its copies
SECTOR_BYTES = 32  # that a GPU reads at least
REAL = 0.5  # of the operations of a transform, where one side is real


@dataclass(frozen=True, kw_only=True)
class Ceilings:
    """What a device does at best.

    Parameters
    ----------
    copy_bytes_s : float
        Bytes read and written in a second.
    flop_s : float
        Operations of products of matrices.
    launch_s : float
        Seconds that the host takes for one kernel.
    wait_s : float
        Seconds that are lost where the host waits for the device and the device then for the host.
    host_bytes_s : float
        Bytes between host and device, from memory that is not pinned.
    """

    copy_bytes_s: float = 4.3e12
    flop_s: float = 60e12
    launch_s: float = 5e-6
    wait_s: float = 2e-5
    host_bytes_s: float = 1e10


H200 = Ceilings()


@dataclass
class Line:
    """What one op, asked for at one line of the engine, took."""

    bytes: float = 0.0
    product_flop: float = 0.0
    transform_flop: float = 0.0
    launches: float = 0.0
    waits: float = 0.0
    host_bytes: float = 0.0

    def add(self, other: "Line", times: float = 1.0) -> None:
        """Add another's numbers."""
        for name in vars(self):
            setattr(self, name, getattr(self, name) + times * getattr(other, name))

    def device_s(self, best: Ceilings) -> float:
        """Return the seconds that a device needs at the least, its memory and its products at the same time."""
        crossing = self.host_bytes / best.host_bytes_s
        return crossing + max(self.bytes / best.copy_bytes_s, (self.product_flop + self.transform_flop) / best.flop_s)


@dataclass
class Counts:
    """What was counted, by where it was asked for and by op."""

    lines: dict[tuple[str, str], Line] = field(default_factory=lambda: defaultdict(Line))

    def total(self) -> Line:
        """Return the sum."""
        whole = Line()
        for line in self.lines.values():
            whole.add(line)
        return whole

    def plus(self, other: "Counts", times: float) -> "Counts":
        """Return these and so many times others."""
        result = Counts()
        for counts, factor in ((self, 1.0), (other, times)):
            for key, line in counts.lines.items():
                result.lines[key].add(line, factor)
        return result

    def device_s(self, best: Ceilings) -> float:
        """Return the seconds that a device needs at the least, op after op."""
        return sum(line.device_s(best) for line in self.lines.values())

    def least_s(self, best: Ceilings) -> float:
        """Return the seconds that the ceilings allow: the device's or the host's, and waits of one for the other."""
        whole = self.total()
        return max(self.device_s(best), whole.launches * best.launch_s) + whole.waits * best.wait_s

    def parts_s(self, best: Ceilings) -> dict[str, float]:
        """Return the seconds of each ceiling, as if it were alone."""
        whole = self.total()
        return {
            "memory": whole.bytes / best.copy_bytes_s,
            "products": (whole.product_flop + whole.transform_flop) / best.flop_s,
            "launches": whole.launches * best.launch_s,
            "waits": whole.waits * best.wait_s,
            "host": whole.host_bytes / best.host_bytes_s,
        }

    def largest(self, best: Ceilings, units: int, count: int) -> list[dict[str, Any]]:
        """Return where most of a device's time goes: place, op, and ns and bytes for one of some units, and waits."""
        rows = sorted(self.lines.items(), key=lambda row: -row[1].device_s(best))[:count]
        return [
            {
                "at": at,
                "op": op,
                "ns": 1e9 * line.device_s(best) / units,
                "bytes": line.bytes / units,
                "waits": line.waits,
            }
            for (at, op), line in rows
        ]


class _Ops(TorchDispatchMode):
    """Counts each op that computes."""

    def __init__(self, counts: Counts) -> None:
        super().__init__()
        self._counts = counts

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func._can_decompose():  # an op made of others, which arrive here one by one
            with self:
                result = func.decompose(*args, **kwargs)
            if result is not NotImplemented:
                return result
        result = func(*args, **kwargs)
        name = func._schema.name.split("::")[-1]
        crosses = name in CROSSES and len({t.device.type for t in _tensors((args, result))}) > 1
        if not _is_view(func) and name not in FREE and not crosses:
            self._counts.lines[_where(), name].add(_cost(func, name, args, kwargs, result))
        return result


class _Calls(TorchFunctionMode):
    """Counts what goes from the host to the device and back: on the processor both are the same, and no op runs."""

    def __init__(self, counts: Counts) -> None:
        super().__init__()
        self._counts = counts

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        name = getattr(func, "__name__", "")
        if name in ("cpu", "to"):
            self._crossed(args[0], result, kwargs, named=name == "cpu" or _names_device(args[1:], kwargs))
        elif name == "copy_":
            self._crossed(args[1], result, kwargs, named=args[1].device.type != result.device.type)
        return result

    def _crossed(self, before: torch.Tensor, after: torch.Tensor, kwargs: Any, *, named: bool) -> None:
        if named and "cpu" in (before.device.type, after.device.type):
            where = _where()
            waits = 0.0 if kwargs.get("non_blocking") or where.startswith(WITHOUT_WAITS) else 1.0
            self._counts.lines[where, "host"].add(Line(launches=1, waits=waits, host_bytes=_bytes(before)))


@contextmanager
def counted() -> Iterator[Counts]:
    """Count what torch is asked for meanwhile, in this thread."""
    counts = Counts()
    with _Calls(counts), _Ops(counts):
        yield counts


def _is_view(func: Any) -> bool:
    """Return whether an op gives another shape to the same memory."""
    infos = [argument.alias_info for argument in func._schema.arguments]
    shared = [info for info in infos if info is not None]
    return bool(shared) and not any(info.is_write for info in shared)


def _cost(func: Any, name: str, args: Any, kwargs: Any, result: Any) -> Line:
    outputs = _tensors(result)
    written = {id(t) for t in outputs}
    kept = [a for a in func._schema.arguments if a.alias_info is not None and a.alias_info.is_write]
    only_written = {a.name for a in kept if a.is_out} | ({"self"} if name in ("copy_", "fill_", "zero_") else set())
    named = {a.name: v for a, v in zip(func._schema.arguments, args, strict=False)} | kwargs
    inputs = [t for key, value in named.items() if key not in only_written for t in _tensors(value)]
    if name in GATHERS:
        inputs = [*outputs, *inputs[1:]]
    read = sum(_bytes(t) for t in inputs)
    return Line(
        bytes=read + sum(_bytes(t) for t in outputs if id(t) in written),
        product_flop=_product_flop(name, inputs),
        transform_flop=_transform_flop(name, inputs, outputs, named),
        launches=1,
        waits=float(name in ASK_HOST),
    )


def _product_flop(name: str, inputs: list[torch.Tensor]) -> float:
    if name in ("mm", "bmm", "mv", "dot", "addmm", "baddbmm"):
        a, b = inputs[-2:]
        columns = b.shape[-1] if b.dim() == a.dim() > 1 else 1
        return 2.0 * a.numel() * columns
    return 0.0


def _transform_flop(name: str, inputs: list[torch.Tensor], outputs: list[torch.Tensor], named: Any) -> float:
    if not name.startswith("_fft"):
        return 0.0
    whole = outputs[0] if name == "_fft_c2r" else inputs[0]
    length = math.prod(whole.shape[d] for d in named["dim"])
    return (1.0 if name == "_fft_c2c" else REAL) * 5 * whole.numel() * math.log2(max(length, 2))


def _bytes(tensor: torch.Tensor) -> int:
    """Return the bytes moved for a tensor: repeated dimensions once, all of a sector where values lie apart."""
    pairs = [(n, stride) for n, stride in zip(tensor.shape, tensor.stride(), strict=True) if stride or n == 0]
    apart = min((stride for n, stride in pairs if n > 1), default=1)
    size = tensor.element_size()
    return math.prod(n for n, _ in pairs) * min(apart * size, max(SECTOR_BYTES, size))


def _tensors(value: Any) -> list[torch.Tensor]:
    return [leaf for leaf in tree_flatten(value)[0] if isinstance(leaf, torch.Tensor)]


def _names_device(args: Any, kwargs: Any) -> bool:
    named = [*args[:1], kwargs.get("device")]
    return any(isinstance(a, (torch.device, str)) for a in named)


def _where() -> str:
    """Return file and line of the engine that asks, or of whoever asks first."""
    frame: Any = sys._getframe(1)
    while frame is not None:
        path = frame.f_code.co_filename
        if ENGINE in path:
            return f"{path.rsplit('/', 1)[-1]}:{frame.f_lineno}"
        frame = frame.f_back
    return "elsewhere"
