"""Whether a device answers rightly: the engines' tests, and answers beside other engines; parts of ``gpu_check``."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import gpu_whole
from gpu_questions import LAST_RING, Pixels, RingRows
from gpu_record import ROOT, Check

from cryoisac.engine.devices import PROCESSOR
from cryoisac.engine.gpu import memory
from cryoisac.engine.likelihood_reference import LikelihoodReferenceEngine

TESTS = ("test_gpu", "test_gpu_*", "test_fused", "test_contract", "test_likelihood")
LOG = ROOT / "build" / "gpu_check_tests.txt"


def tests(run: Check) -> None:
    """Run the engines' tests on this device, while the processor makes the particles of whole runs."""
    gpu_whole.begin(run)
    folder = ROOT / "tests" / "engine"
    found = [str(path) for name in TESTS[: 1 if run.quick else None] for path in sorted(folder.glob(f"{name}.py"))]
    words = ["-q", "-m", "torch and not long", "-p", "no:cacheprovider", "-o", "filterwarnings=default"]
    words += ["--tb", "short", "-o", "faulthandler_timeout=120", *found]
    words += ["-k", "groups"] if run.quick else []
    LOG.parent.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    with LOG.open("w") as file:
        try:
            status: int | str = subprocess.run(
                [sys.executable, "-m", "pytest", *words],
                cwd=ROOT,
                env=os.environ | {"CRYOISAC_TEST_DEVICE": str(run.device)},
                stdout=file,
                stderr=subprocess.STDOUT,
                check=False,
                timeout=max(run.left(), 30),
            ).returncode
        except subprocess.TimeoutExpired:
            status = f"not over after {time.monotonic() - start:.0f} s"
    said = LOG.read_text(encoding="utf-8", errors="replace").splitlines()
    tail = [line for line in said if re.match(r"FAILED|ERROR|E  |\d+ (passed|failed)", line)]
    run.found["tests"] = {"status": status, "tail": tail[-60:], "said": said[-150:] if status else []}
    short = [line for line in tail if not line.startswith("E ")]
    run.say(f"tests    {'; '.join(short[-6:]) or '; '.join(said[-3:])}" + ("" if status in (0, 1) else f" ({status})"))


def accuracy(run: Check) -> None:
    """Compare answers with those of the compiled engine and of the definition, with and without tf32."""
    pixels, ring_rows = Pixels.made(run.size(2000, 6), run.size(20, 2)), RingRows.made(run.size(100, 4), run.size(6, 2))
    others = (pixels, pixels.engine(PROCESSOR)), (ring_rows, LikelihoodReferenceEngine(ring_rows.images))
    for name, (question, other) in zip(("pixels", "rings"), others, strict=True):
        for tf32 in (False, True):
            title = f"{name}, {'tf32' if tf32 else 'float32'}"
            with run.step(f"accuracy {title}"):
                mine: Any = question.engine(run.devices, tf32=tf32)
                _noted(run, title, question.differences(mine, other))
    with run.step("accuracy pixels, fast"):
        engines = (pixels.engine(devices, mode="fast") for devices in (run.devices, PROCESSOR))
        _noted(run, "pixels, fast", pixels.differences(*engines))
    with run.step("repeated"):
        _repeated(run, pixels, ring_rows)


def _noted(run: Check, title: str, row: dict[str, float]) -> None:
    run.found.setdefault("accuracy", {})[title] = row
    run.say(f"accuracy {title:14} " + ", ".join(f"{key} {value:.2g}" for key, value in row.items()))


def _repeated(run: Check, pixels: Pixels, ring_rows: RingRows) -> None:
    """Tell whether the same question gets the same answer, bit for bit, and sums the same one in other batches."""
    n, m = pixels.rows, ring_rows.rows
    asked: dict[str, Callable[[], Any]] = {
        "scores": lambda: pixels.score(pixels.engine(run.devices), len(pixels.references), n),
        "poses": lambda: pixels.match(pixels.engine(run.devices), 3, n).poses.rows(),
        "sums": lambda: pixels.total(pixels.engine(run.devices), n),
        "gains": lambda: ring_rows.score(ring_rows.engine(run.devices), LAST_RING, m),
        "ring sums": lambda: ring_rows.total(ring_rows.engine(run.devices), LAST_RING, m),
    }
    same = {name: bool((ask() == ask()).all()) for name, ask in asked.items()}
    before, memory.LARGEST_BATCH_BYTES = memory.LARGEST_BATCH_BYTES, 64 << 20
    try:
        small = {name: asked[name]() for name in ("sums", "ring sums")}
    finally:
        memory.LARGEST_BATCH_BYTES = before
    same |= {f"{name}, small batches": bool((small[name] == asked[name]()).all()) for name in small}
    run.found["repeated"] = same
    other = [name for name, alike in same.items() if not alike]
    run.say(f"repeated {'all the same, bit for bit' if not other else 'NOT THE SAME: ' + ', '.join(other)}")
