"""The benchmark of a million images on a small card, with few of them."""

import importlib.util
import json
import sys
import time
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))


@pytest.mark.torch
@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="needs PyTorch: make test-gpu")
def test_many_images_on_a_small_card(tmp_path: Path) -> None:
    """Independent program: the compiled engine, on the images that the stack repeats."""
    import gpu_memory
    import gpu_record

    from cryoisac.engine.devices import choose_devices

    run = gpu_record.Check(choose_devices("torch-cpu"), tmp_path / "a.json", time.monotonic() + 60, True)
    gpu_memory.compare(run)
    found = json.loads((tmp_path / "a.json").read_text())["million"]
    assert found["fits"]
    assert found["images"] * 76**2 * 4 == found["stack_bytes"]
    assert found["apart"]["scores"] < 0.02  # the compiled engine leaves out some of the references' energy
    assert found["apart"]["other poses"] <= 0.01
    assert found["apart"]["sums"] < 1e-6
