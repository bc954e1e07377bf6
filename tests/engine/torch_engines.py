"""PyTorch's engines for tests, on the processor or the device that CRYOISAC_TEST_DEVICE names.

PyTorch is imported when one is made.
"""

import importlib.metadata
import importlib.util
import os
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from cryoisac.engine.contract import Engine
from cryoisac.engine.likelihood import LikelihoodEngine, RingImages

BUDGET_BYTES = 1 << 28
DEVICE = os.environ.get("CRYOISAC_TEST_DEVICE", "cpu")  # where PyTorch's engines are tested
needs_torch = (
    pytest.mark.torch,
    pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="needs PyTorch: make test-gpu"),
)


def has_triton() -> bool:
    """Return whether Triton is there, where it is interpreted one that does not convert arrays as NumPy 2.4 forbids."""
    if importlib.util.find_spec("triton") is None:
        return False
    version = tuple(map(int, importlib.metadata.version("triton").split(".")[:2]))
    return DEVICE != "cpu" or version >= (3, 7)


needs_triton = (
    *needs_torch,
    pytest.mark.skipif(not has_triton(), reason="needs Triton, 3.7 if it is interpreted: pip install triton"),
)
if DEVICE == "cpu":
    os.environ.setdefault("TRITON_INTERPRET", "1")  # before Triton is imported


def place(budget_bytes: int = BUDGET_BYTES, *, fused: str = "") -> Any:
    """Return the device, with some memory."""
    import torch

    from cryoisac.engine.gpu.memory import Place

    torch.set_num_threads(1)
    return Place(device=torch.device(DEVICE), budget_bytes=budget_bytes, fused=fused)


def torch_engine(images: npt.NDArray[np.float32], mode: str = "exact", *budgets_bytes: int) -> Engine:
    """Return the engine on one device, or on as many as budgets."""
    from cryoisac.engine.gpu.divided import engine_on

    return engine_on([place(b) for b in budgets_bytes or (BUDGET_BYTES,)], images, mode)


def torch_likelihood_engine(images: RingImages, *budgets_bytes: int) -> LikelihoodEngine:
    """Return the likelihood engine on one device, or on as many as budgets."""
    from cryoisac.engine.gpu.divided import likelihood_engine_on

    return likelihood_engine_on([place(b) for b in budgets_bytes or (BUDGET_BYTES,)], images)
