"""Which devices answer: the processor by compiled kernels, or GPUs by PyTorch, which is imported for nothing else."""

import importlib.util
import re
from collections.abc import Sequence
from dataclasses import dataclass

from cryoisac.engine.contract import Engine, Images
from cryoisac.engine.holding import Kind, plan_lines
from cryoisac.engine.likelihood import LikelihoodEngine, RingImages
from cryoisac.engine.likelihood_native import NativeLikelihoodEngine
from cryoisac.engine.native import NativeEngine
from cryoisac.errors import DeviceError, SettingError

AUTO, PROCESSOR_NAME, TRIAL = "auto", "cpu", "torch-cpu"
USUAL = PROCESSOR_NAME  # as long as the engine for GPUs was never measured on one
MEMORY_SHARE = 0.9
SPELLING = re.compile(r"(?P<kind>[a-z]+)(?::(?P<numbers>\d+(?:,\d+)*))?")
INSTALL = "pip install 'cryoisac[gpu]'"


@dataclass(frozen=True, kw_only=True)
class Devices:
    """The devices of a run.

    Parameters
    ----------
    names : tuple of str
        As PyTorch spells them, such as ``cuda:0``; empty for the processor and its compiled kernels.
    titles : tuple of str
        What they are, such as the names of their makers.
    memory_share : float
        Share of their free memory that may be taken.
    reason : str
        Why they were chosen, where the user left the choice.
    """

    names: tuple[str, ...] = ()
    titles: tuple[str, ...] = ()
    memory_share: float = MEMORY_SHARE
    reason: str = ""

    @property
    def title(self) -> str:
        """What they are, in a line."""
        if not self.names:
            return "processor"
        pairs = zip(self.names, self.titles or ("",) * len(self.names), strict=True)
        return ", ".join(f"{name} ({title})" if title else name for name, title in pairs)

    def engine(self, images: Images, *, threads: int, mode: str) -> Engine:
        """Return the engine that holds images on these devices."""
        if not self.names:
            return NativeEngine(images, threads=threads, mode=mode)
        from cryoisac.engine.gpu import chosen, divided

        return divided.engine_on(chosen.places(self.names, self.memory_share, threads), images, mode)

    def likelihood_engine(self, images: RingImages, *, threads: int) -> LikelihoodEngine:
        """Return the likelihood engine that holds images on these devices."""
        if not self.names:
            return NativeLikelihoodEngine(images, threads)
        from cryoisac.engine.gpu import chosen, divided

        return divided.likelihood_engine_on(chosen.places(self.names, self.memory_share, threads), images)

    def plan(self, images: int, image_bytes: int) -> list[str]:
        """Return how each GPU will keep images that take so many bytes there, a line each; none for the processor.

        Raises
        ------
        DeviceError
            When one has too little memory to work with.
        """
        if not self.names:
            return []
        from cryoisac.engine.gpu import chosen

        return plan_lines(images, image_bytes, chosen.places(self.names, self.memory_share), self.names)


PROCESSOR = Devices()


def choose_devices(text: str = USUAL, memory_share: float = MEMORY_SHARE) -> Devices:
    """Return the devices that a user asks for.

    Parameters
    ----------
    text : str
        ``cpu``; ``cuda`` for all GPUs, ``cuda:0,1`` for some, and so on for whatever PyTorch drives; ``auto`` for the
        first GPU where there is one that PyTorch can use, else the processor; ``torch-cpu``, for tests: the engine for
        GPUs on the processor.
    memory_share : float
        Share of their free memory that may be taken.

    Raises
    ------
    SettingError
        When the text means no device, or the share is none.
    DeviceError
        When a device is named that cannot be used.
    """
    if not 0 < memory_share <= 1:
        raise SettingError(
            "--gpu-memory-use", f"is {memory_share:g}; give a share of the memory, more than 0 and at most 1"
        )
    if text == PROCESSOR_NAME:
        return PROCESSOR
    installed = importlib.util.find_spec("torch") is not None
    if text == AUTO:
        return _automatic(memory_share) if installed else Devices(reason="PyTorch, which GPUs need, is not installed")
    found = SPELLING.fullmatch(text)
    if text != TRIAL and found is None:
        raise SettingError("--device", f"is '{text}'; give auto, cpu, cuda, or the numbers of GPUs as cuda:0,1")
    if not installed:
        raise DeviceError(text, f"needs PyTorch, which is not installed: {INSTALL}; or give --device cpu")
    from cryoisac.engine.gpu import chosen

    if text == TRIAL or found is None:
        return Devices(names=("cpu",), titles=("PyTorch on the processor",), memory_share=memory_share)
    numbers = tuple(int(word) for word in (found["numbers"] or "").split(",") if word)
    names = chosen.named(found["kind"], numbers)
    for name in names:
        if why := chosen.failing(name):
            raise DeviceError(name, f"{why}; or give --device cpu")
    return Devices(names=names, titles=chosen.titles(names), memory_share=memory_share)


def numbered_devices(numbers: tuple[int, ...], memory_share: float = MEMORY_SHARE) -> tuple[Devices, str]:
    """Return the GPUs of some numbers as the originals' programs take them, and why it is none, if so.

    Parameters
    ----------
    numbers : tuple of int
        Their numbers; without any it is the usual device.
    memory_share : float
        Share of their free memory that may be taken.

    Returns
    -------
    devices : Devices
        On a machine without GPUs the processor, so that command lines for another machine run on it.
    without : str
        Why those that were asked for are not used, or nothing.

    Raises
    ------
    DeviceError
        If the machine has GPUs, but not these.
    """
    if not numbers:
        return choose_devices(USUAL, memory_share), ""
    found = choose_devices(AUTO, memory_share)
    if not found.names:
        return PROCESSOR, found.reason
    return choose_devices(f"cuda:{','.join(map(str, numbers))}", memory_share), ""


def gpu_rows(kinds: Sequence[Kind], memory_share: float) -> list[tuple[str, str]]:
    """Return what is known of every GPU, as rows of names and values, or why none can be used.

    Parameters
    ----------
    kinds : sequence of Kind
        Images, of which it is told how many stay on a GPU.
    memory_share : float
        Share of its free memory that may be taken.
    """
    if importlib.util.find_spec("torch") is None:
        return [("GPUs", f"none: PyTorch, which they need, is not installed ({INSTALL})")]
    from cryoisac.engine.gpu import facts

    return facts.gpu_rows(kinds, memory_share)


def _automatic(memory_share: float) -> Devices:
    from cryoisac.engine.gpu import chosen

    missing = chosen.missing("cuda")
    if missing:
        return Devices(reason=missing)
    names = chosen.named("cuda", (0,))
    if why := chosen.failing(names[0]):
        return Devices(reason=f"{names[0]}: {why}")
    return Devices(names=names, titles=chosen.titles(names), memory_share=memory_share, reason="the first GPU")
