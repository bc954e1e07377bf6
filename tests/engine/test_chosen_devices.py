"""Which devices are chosen, what is said of them, and what is refused."""

import importlib.util
import re
import warnings
from types import MappingProxyType, SimpleNamespace

import numpy as np
import pytest
from torch_engines import needs_torch

from cryoisac.engine import devices
from cryoisac.engine.devices import PROCESSOR, Devices, choose_devices, gpu_rows
from cryoisac.engine.holding import Kind
from cryoisac.engine.native import NativeEngine
from cryoisac.errors import DeviceError, SettingError

PIXELS = Kind(title="images of 76 px", image_bytes=4 * (76**2 + 1), class_size=200)
AUTOMATIC = devices._automatic  # before tests are told to leave GPUs alone


class FakeModule:
    """What PyTorch says of a kind of device, as a test wants it."""

    def __init__(self, count=0, warning="", free=8 << 30, total=10 << 30):
        self.count, self.warning, self.memory = count, warning, (free, total)
        self.allocated, self.properties = 0, [None] * count

    def is_available(self):
        if self.warning:
            warnings.warn(self.warning, UserWarning, stacklevel=1)
        return self.count > 0

    def device_count(self):
        return self.count

    def get_device_name(self, device):
        return f"Fake {device.index}"

    def mem_get_info(self, device):
        return self.memory

    def memory_reserved(self, device):
        return self.allocated + (2 << 20)

    def memory_allocated(self, device):
        return self.allocated

    def get_device_properties(self, device):
        return self.properties[device.index]


@pytest.fixture
def gpus(monkeypatch):
    """Return a function that gives the machine GPUs, for what asks PyTorch about them."""

    def give(broken=MappingProxyType({}), **facts):
        import torch

        from cryoisac.engine.gpu import chosen

        module = FakeModule(**facts)
        monkeypatch.setattr(chosen, "failing", lambda name: broken.get(name, ""))
        monkeypatch.setattr(torch, "get_device_module", lambda device="cuda": module)
        monkeypatch.setattr(devices, "_automatic", AUTOMATIC)
        return module

    return give


def test_without_pytorch(monkeypatch):
    """Known truth: auto takes the processor and says why; what is named is refused with what to install."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    found = choose_devices("auto")
    assert (found.names, "not installed" in found.reason) == ((), True)
    for name in ("cuda", "cuda:0,1", "mps", "torch-cpu"):
        with pytest.raises(DeviceError, match=r"needs PyTorch, which is not installed: pip install 'cryoisac\[gpu\]'"):
            choose_devices(name)
    assert gpu_rows([PIXELS], 0.9) == [
        ("GPUs", "none: PyTorch, which they need, is not installed (pip install 'cryoisac[gpu]')")
    ]


@pytest.mark.parametrize("text", ["gpu 0", "cuda:", "cuda:x", "cuda:0,", "CUDA", "cuda:-1", ""])
def test_what_is_no_device_is_refused(text):
    with pytest.raises(SettingError, match="--device: is"):
        choose_devices(text)


@pytest.mark.parametrize("share", [0.0, -1.0, 1.1, float("nan")])
def test_shares_of_memory_are_checked(share):
    with pytest.raises(SettingError, match="--gpu-memory-use"):
        choose_devices("cpu", share)


def test_the_processor_answers_by_compiled_kernels():
    assert choose_devices("cpu") is PROCESSOR
    assert isinstance(PROCESSOR.engine(np.zeros((1, 8, 8), np.float32), threads=1, mode="exact"), NativeEngine)
    assert PROCESSOR.title == "processor"
    assert Devices(names=("cuda:0", "cuda:2"), titles=("A", "B")).title == "cuda:0 (A), cuda:2 (B)"


@needs_torch[0]
@needs_torch[1]
class TestWithPyTorch:
    """What needs PyTorch to be asked."""

    def test_gpus_are_chosen_by_name(self, gpus):
        """Known truth: all, some, and by auto the first; in the order in which they are named."""
        gpus(count=3)
        assert choose_devices("cuda").names == ("cuda:0", "cuda:1", "cuda:2")
        found = choose_devices("cuda:2,0", 0.5)
        assert (found.names, found.titles, found.memory_share) == (("cuda:2", "cuda:0"), ("Fake 2", "Fake 0"), 0.5)
        found = choose_devices("auto")
        assert (found.names, found.reason) == (("cuda:0",), "the first GPU")

    @pytest.mark.parametrize(
        ("facts", "name", "error", "said"),
        [
            ({"count": 2}, "cuda:2", DeviceError, "cuda:2: is not there; this machine has cuda:0 to cuda:1"),
            ({"count": 1}, "cuda:0,1", DeviceError, "cuda:0 alone"),
            ({"count": 1}, "cuda:0,0", SettingError, "--device"),
            ({"count": 1}, "cpu:0", SettingError, "--device"),
            ({"count": 0}, "xpu", DeviceError, "no GPU is found that PyTorch can use; or give --device cpu"),
            ({"warning": "The NVIDIA driver on your system is too old"}, "cuda", DeviceError, "driver .* is too old"),
        ],
    )
    def test_what_cannot_be_used_is_refused(self, gpus, facts, name, error, said):
        gpus(**facts)
        with pytest.raises(error, match=said):
            choose_devices(name)

    def test_auto_says_why_it_takes_the_processor(self, gpus):
        gpus(warning="The NVIDIA driver on your system is too old (found version 9000)")
        found = choose_devices("auto")
        assert found.names == ()
        assert "too old" in found.reason

    def test_a_gpu_that_does_not_compute_is_not_used(self, gpus, monkeypatch):
        """Known truth: auto takes the processor and says why; one that is named is refused."""
        import torch

        from cryoisac.engine.gpu import chosen

        failing = chosen.failing
        gpus(count=2, broken={"cuda:0": "it is broken"})
        assert choose_devices("cuda:1").names == ("cuda:1",)
        assert choose_devices("auto").reason == "cuda:0: it is broken"
        with pytest.raises(DeviceError, match="cuda:0: it is broken; or give --device cpu"):
            choose_devices("cuda")
        assert failing("cpu") == ""
        for said, why in (("CUDA error: no kernel image is available", "holds no kernels"), ("busy\nall", "busy$")):
            monkeypatch.setattr(torch, "ones", lambda *_, said=said, **__: (_ for _ in ()).throw(RuntimeError(said)))
            assert re.search(why, failing("cuda:0"))

    def test_memory_is_a_share_of_what_is_free(self, gpus):
        """Definition: of free memory, and of what PyTorch holds without using it."""
        import torch

        from cryoisac.engine.gpu.memory import place_of

        module = gpus(count=1)
        place = place_of(torch.device("cuda:0"), 0.5)
        assert place.budget_bytes == ((8 << 30) + (2 << 20)) // 2
        assert place.resident_bytes + 2 * place.batch_bytes <= place.budget_bytes
        module.memory = (1 << 20, 10 << 30)
        with pytest.raises(DeviceError, match="only 2 MB may be taken"):
            place_of(torch.device("cuda:0"), 0.9)

    def test_engines_share_a_device(self, gpus):
        """Definition: whatever engines keep already, together they may take a share of what was free before all."""
        import torch

        from cryoisac.engine.gpu.memory import place_of

        module, whole = gpus(count=1), 10 << 30
        rest = []
        for kept in (0, 1 << 30, 5 << 30, 7 << 30):
            module.allocated, module.memory = kept, (whole - kept - (2 << 20), whole)
            place = place_of(torch.device("cuda:0"), 0.9)
            assert place.budget_bytes == int(0.9 * whole)
            assert kept + place.resident_bytes <= max(kept, int(0.6 * place.budget_bytes))
            assert kept + place.resident_bytes + 2 * place.batch_bytes <= place.budget_bytes
            rest.append(place.resident_bytes)
        assert rest == sorted(rest, reverse=True)
        assert (rest[1], rest[-1]) == (rest[0] - (1 << 30), 0)
        module.allocated, module.memory = 9 << 30, (1 << 29, whole)
        with pytest.raises(DeviceError, match="only 0 MB may be taken"):
            place_of(torch.device("cuda:0"), 0.9)

    def test_how_fast_devices_are(self, gpus):
        """Known truth: the bandwidth of memory, else multiprocessors and their clock, else all alike."""
        from cryoisac.engine.gpu.chosen import places, speeds

        a = SimpleNamespace(memory_clock_rate=3_201_000, memory_bus_width=6016, multi_processor_count=132, clock_rate=2)
        b = SimpleNamespace(memory_clock_rate=7_501_000, memory_bus_width=192, multi_processor_count=28, clock_rate=3)
        assert speeds([a, b]) == [3_201_000.0 * 6016, 7_501_000.0 * 192]
        b.memory_bus_width = 0  # not known
        assert speeds([a, b]) == [264.0, 84.0]
        del b.clock_rate
        assert speeds([a, b]) == [1.0, 1.0]
        assert speeds([None]) == [1.0]
        module = gpus(count=2)
        module.properties = [a, a]
        assert [p.speed for p in places(("cuda:0", "cuda:1"), 0.9)] == speeds([a, a])
        module.properties = [None, None]
        assert [p.speed for p in places(("cuda:0", "cuda:1"), 0.9)] == [1.0, 1.0]

    def test_a_plan_is_told(self, gpus):
        """Known truth: how each GPU will keep images; nothing for the processor; a full one is refused."""
        module = gpus(count=2)
        found = Devices(names=("cuda:0", "cuda:1")).plan(1000, 10**6)
        assert [line.split(";")[0] for line in found] == [f"cuda:{i}: 500 images stay on it, 500 MB" for i in range(2)]
        assert PROCESSOR.plan(1000, 10**6) == []
        module.memory = (1 << 20, 10 << 30)
        with pytest.raises(DeviceError, match="cuda:0: only 2 MB may be taken; end other programs"):
            Devices(names=("cuda:0",)).plan(1000, 10**6)

    def test_facts_of_a_gpu(self):
        """Known truth: name, capability, memory, limits; what PyTorch does not say is left out."""
        import torch

        from cryoisac.engine.gpu.facts import device_lines
        from cryoisac.engine.gpu.memory import Place

        properties = SimpleNamespace(
            name="NVIDIA H200",
            major=9,
            minor=0,
            multi_processor_count=132,
            warp_size=32,
            shared_memory_per_block=49152,
            L2_cache_size=62914560,
        )
        place = Place(device=torch.device("cuda:0"), budget_bytes=126 * 10**9, kept_bytes=10**9)
        lines = list(device_lines(properties, (140 * 10**9, 151 * 10**9), place, [PIXELS]))
        assert lines == [
            "NVIDIA H200, compute capability 9.0",
            "memory of 151 GB, 140 GB free",
            "132 multiprocessors, warps of 32, shared memory of 49.2 kB a block, a cache of 62.9 MB",
            f"{(int(0.6 * 126e9) - 10**9) // 23108:,} images of 76 px, 16,141 classes of 200, stay on it; "
            "of more, blocks are brought as they are needed",
        ]
        properties.memory_clock_rate, properties.memory_bus_width = 3_201_000, 6016
        lines = list(device_lines(properties, (140 * 10**9, 151 * 10**9), place, []))
        assert lines[1] == "memory of 151 GB, 140 GB free, 4,814 GB/s"
        assert len(lines) == 3

    def test_facts_of_a_machine(self, gpus, monkeypatch):
        """Known truth: a row for PyTorch, and some for each GPU; or why there is none."""
        import torch

        gpus(count=2)
        monkeypatch.setattr(
            torch.cuda,
            "get_device_properties",
            lambda device: SimpleNamespace(name=f"G{device.index}", major=8, minor=6),
        )
        rows = gpu_rows([PIXELS], 0.9)
        assert [name for name, _ in rows if name] == ["GPUs", "cuda:0", "cuda:1"]
        assert ("cuda:1", "G1, compute capability 8.6") in rows
        gpus(count=0)
        ((name, why),) = gpu_rows([PIXELS], 0.9)
        assert (name, why.startswith("none: ")) == ("GPUs", True)
