"""A GPU that is none: PyTorch works out shapes, types, strides and devices of tensors there, without any values.

Whatever mixes tensors of several devices, or would read values of a GPU as if it were the host, fails. PyTorch for the
processor cannot index tensors of a GPU, nor write to them; that is done here by operations that it has.
"""

import contextlib

import numpy as np
import pytest
import torch
import torch._dynamo.device_interface  # wants real events when it is first imported
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.overrides import TorchFunctionMode

NUMPY, FROM_NUMPY, EMPTY = torch.Tensor.numpy, torch.from_numpy, torch.empty


class Stream:
    """A stream of a device that has nothing to wait for."""

    def __init__(self, device):
        self.device = torch.device(device)

    def wait_stream(self, other):
        assert self.device == other.device


class Event:
    """Something that has happened."""

    def record(self, stream):
        assert isinstance(stream, Stream)

    def synchronize(self):
        pass


class Current:
    """The device of a tensor, made the one that kernels are started on."""

    devices = [torch.device("cuda:0")]  # noqa: RUF012 (there is one such stack)

    def __init__(self, tensor):
        self._device = tensor.device

    def __enter__(self):
        self.devices.append(self._device)

    def __exit__(self, *_):
        self.devices.pop()


class Kernel:
    """A kernel of Triton's, which reads and writes contiguous tensors of the device it is started on."""

    def __init__(self):
        self.started = 0

    def __getitem__(self, grid):
        assert 0 < grid[0] < 2**31
        return self._start

    def _start(self, *given, **_):
        tensors = [own for own in given if isinstance(own, torch.Tensor)]
        assert {own.device for own in tensors} == {Current.devices[-1]}
        assert all(own.is_contiguous() and own.storage_offset() == 0 for own in tensors)
        self.started += 1


def used(tensor, stream):
    """Check that a stream may use a tensor."""
    assert tensor.device == stream.device


def pinned(tensor):
    """Return a tensor that lies on the host."""
    assert tensor.device.type == "cpu"
    return tensor


class Indexing(TorchFunctionMode):
    """Does what asks a GPU of PyTorch itself, below where tensors may be fake."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func is torch.Tensor.__getitem__:
            return picked(*args)
        if func is torch.Tensor.__setitem__:
            x, index, value = args
            return written(picked(x, index), value)
        if func is torch.Tensor.contiguous:
            return torch.clone(args[0], memory_format=torch.contiguous_format)
        if func is torch.nn.functional.grid_sample:
            images, points = args[:2]
            assert (images.device, images.dtype) == (points.device, points.dtype)
            return torch.empty(*images.shape[:2], *points.shape[1:3], dtype=images.dtype, device=images.device)
        return func(*args, **kwargs)


def picked(x, index):
    """Return x[index]."""
    index = index if isinstance(index, tuple) else (index,)
    dots = [i for i, one in enumerate(index) if one is Ellipsis]
    for at in dots:
        rest = x.dim() - sum(i is not None for i in index) + 1
        index = index[:at] + (slice(None),) * rest + index[at + 1 :]
    dim = 0
    for one in index:
        if one is None:
            x = torch.unsqueeze(x, dim)
        elif isinstance(one, slice):
            first, last, step = one.indices(x.shape[dim])
            x = torch.ops.aten.slice(x, dim, first, max(first, last), step)
        elif isinstance(one, torch.Tensor):
            x = torch.ops.aten.index(x, [None] * dim + [one])
        else:
            x = torch.select(x, dim, int(one))
            continue
        dim += one.dim() if isinstance(one, torch.Tensor) else 1
    return x


def written(x, value):
    """Check that a value may be written to a part of a tensor."""
    if isinstance(value, torch.Tensor):
        assert value.device == x.device
        assert torch.broadcast_shapes(value.shape, x.shape) == x.shape


def from_numpy(array):
    """Return a tensor on the host, of which PyTorch remembers no values that it would compute with."""
    own = FROM_NUMPY(array)
    return EMPTY(own.shape, dtype=own.dtype)


def to_numpy(tensor):
    """Return zeros, if the tensor is on the host."""
    if not isinstance(tensor, FakeTensor):
        return NUMPY(tensor)
    assert tensor.device.type == "cpu"
    return np.zeros(tuple(tensor.shape), dtype=str(tensor.dtype).removeprefix("torch."))


def empty(*sizes, pin_memory=False, **words):
    """Return a tensor; one that is pinned must be on the host."""
    assert not pin_memory or torch.device(words.get("device", "cpu")).type == "cpu"
    return EMPTY(*sizes, **words)


@contextlib.contextmanager
def fake_cuda(monkeypatch):
    """Take tensors on cuda devices for what they would be there."""
    if torch.cuda.is_available():
        pytest.skip("there is a GPU to try, which PyTorch would ask")
    if tuple(map(int, torch.__version__.split(".")[:2])) < (2, 11):
        pytest.skip("PyTorch before 2.11 asks the driver even for tensors that are fake")
    with monkeypatch.context() as patch:
        patch.setattr(torch.cuda, "Stream", Stream)
        patch.setattr(torch.cuda, "Event", Event)
        patch.setattr(torch.Tensor, "pin_memory", pinned)
        patch.setattr(torch.cuda, "stream", lambda stream: contextlib.nullcontext())
        patch.setattr(torch.cuda, "current_stream", Stream)
        patch.setattr(torch.cuda, "device_of", Current)
        patch.setattr(torch.Tensor, "record_stream", used)
        patch.setattr(torch.Tensor, "numpy", to_numpy)
        patch.setattr(torch, "from_numpy", from_numpy)
        patch.setattr(torch, "empty", empty)
        with FakeTensorMode(allow_non_fake_inputs=True), Indexing():
            yield
