"""The memory an engine says it needs, against what it takes."""

import subprocess
import sys
from pathlib import Path

import pytest

MEASURE = """
import re
from pathlib import Path
import numpy as np
from cryoisac.engine.contract import Search
from cryoisac.engine.{module} import {engine} as Engine
from cryoisac.model.poses import Poses
def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text()).group(1)) * 1024
rng = np.random.default_rng(0)
stack = rng.normal(size=(8, 76, 76)).astype(np.float32)
rows, k = {rows}, {k}
references = np.repeat(stack, k // 8, axis=0)
images, labels = np.arange(rows) % 8, np.arange(rows) % k
offsets, search = np.zeros((rows, 2)), Search(last_ring=29, x_range_px=0, y_range_px=0)
engine = Engine(stack{options})
engine.match(references[:1], labels[:8] * 0, images[:8], offsets[:8], search)
before = peak()
engine.{question}
print(peak() - before, engine.plan(rows, k, search))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
@pytest.mark.parametrize(
    ("module", "engine", "options", "rows", "k", "question"),
    [
        ("native", "NativeEngine", "", 40_000, 400, "score(references, images, offsets, search)"),
        ("native", "NativeEngine", "", 200_000, 400, "match(references, labels, images, offsets, search)"),
        ("native", "NativeEngine", "", 40_000, 400, "total(labels, images, Poses.identity(rows), k)"),
        ("native", "NativeEngine", ", mode='fast'", 40_000, 400, "score(references, images, offsets, search)"),
        ("native", "NativeEngine", ", mode='fast'", 200_000, 400, "match(references, labels, images, offsets, search)"),
        ("reference", "ReferenceEngine", "", 200, 400, "score(references, images, offsets, search)"),
    ],
)
def test_no_more_is_taken_than_was_planned(
    module: str, engine: str, options: str, rows: int, k: int, question: str
) -> None:
    """Definition: the rise of the process's peak memory during one question, in a process of its own."""
    program = MEASURE.format(module=module, engine=engine, options=options, rows=rows, k=k, question=question)
    said = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
    taken, planned = map(int, said.split())
    assert taken <= planned
    assert planned < 20 * taken + 2**26  # a plan that claims too much refuses what could be done
