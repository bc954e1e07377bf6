"""Every engine that runs here: both definitions, the native one in each mode on each instruction set, PyTorch's."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from torch_engines import needs_torch, torch_engine

from cryoisac.engine import fast as fast_search
from cryoisac.engine.contract import Engine
from cryoisac.engine.fast_reference import FastReferenceEngine
from cryoisac.engine.native import NativeEngine, instruction_sets
from cryoisac.engine.reference import ReferenceEngine

COMPRESSED, PLAIN = "fast", "fast, few images"
MODES = ("exact", COMPRESSED, PLAIN)


@dataclass(frozen=True)
class Make:
    """Makes one kind of engine of a stack.

    Parameters
    ----------
    instructions : str
        An instruction set, "definition", or "torch": PyTorch's engine on the processor.
    mode : str
        "exact", or fast with references that are compressed, or not as those of few images.
    """

    instructions: str
    mode: str

    def __call__(self, images: npt.NDArray[np.float32], threads: int = 1) -> Engine:
        if self.instructions == "definition":
            return (FastReferenceEngine if self.fast else ReferenceEngine)(images)
        if self.instructions == "torch":
            return torch_engine(images, "fast" if self.fast else "exact")
        return NativeEngine(images, threads, instructions=self.instructions, mode="fast" if self.fast else "exact")

    @property
    def native(self) -> bool:
        """Whether kernels answer."""
        return self.instructions not in ("definition", "torch")

    @property
    def fast(self) -> bool:
        """Whether references are shifted, so that the grid of shifts turns with the angle."""
        return self.mode != "exact"

    @property
    def compressed(self) -> bool:
        """Whether answers depend on what other references are asked for."""
        return self.native and self.mode == COMPRESSED

    def definition(self, images: npt.NDArray[np.float32]) -> Engine:
        """Return what the engine is defined by."""
        return Make("definition", self.mode)(images)


def chosen(request: Any, monkeypatch: Any) -> Make:
    """Return the engine of a parameter, with stacks of tests counted as large ones where references are compressed."""
    make: Make = request.param
    if make.mode == COMPRESSED:
        monkeypatch.setattr(fast_search, "FEW_IMAGES", 0)
    return make


def named(*makes: Make) -> dict[str, Any]:
    params = [pytest.param(m, marks=needs_torch if m.instructions == "torch" else ()) for m in makes]
    return {"params": params, "ids": [f"{m.instructions} {m.mode}" for m in makes]}


NATIVE = [Make(name, mode) for name in instruction_sets() for mode in MODES]
DEFINITIONS = [Make("definition", "exact"), Make("definition", "fast")]
TORCH = [Make("torch", "exact"), Make("torch", "fast")]


@pytest.fixture(**named(*DEFINITIONS, *NATIVE, *TORCH))
def make(request: Any, monkeypatch: Any) -> Make:
    """Return a function that makes any engine."""
    return chosen(request, monkeypatch)


@pytest.fixture(**named(*(m for m in (*DEFINITIONS, *NATIVE, *TORCH) if not m.fast)))
def exact(request: Any, monkeypatch: Any) -> Make:
    """Return a function that makes an engine on the original's grid of shifts."""
    return chosen(request, monkeypatch)


@pytest.fixture(**named(*(m for m in NATIVE if not m.fast)))
def native(request: Any, monkeypatch: Any) -> Make:
    """Return a function that makes an exact native engine."""
    return chosen(request, monkeypatch)


@pytest.fixture(**named(*(m for m in NATIVE if m.fast)))
def fast(request: Any, monkeypatch: Any) -> Make:
    """Return a function that makes a fast native engine."""
    return chosen(request, monkeypatch)
