"""Every engine that runs here, each instruction set of the native one by itself."""

from collections.abc import Callable
from typing import Any

import pytest

from cryoisac.engine.contract import Engine
from cryoisac.engine.native import NativeEngine, instruction_sets
from cryoisac.engine.reference import ReferenceEngine

Make = Callable[..., Engine]


@pytest.fixture(params=["reference", *instruction_sets()])
def make(request: Any) -> Make:
    """Return a function that makes an engine of a stack (and of a number of threads, which the definition ignores)."""
    if request.param == "reference":
        return lambda images, threads=1: ReferenceEngine(images)
    return lambda images, threads=1: NativeEngine(images, threads, instructions=request.param)


@pytest.fixture(params=instruction_sets())
def native(request: Any) -> Make:
    """Return a function that makes a native engine."""
    return lambda images, threads=1: NativeEngine(images, threads, instructions=request.param)
