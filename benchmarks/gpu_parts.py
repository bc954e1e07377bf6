"""The parts of ``gpu_check``: ceilings, tests, accuracy, searches, sums, whole runs; each saves what it found.

A *triple* is one image at one shift on one reference, all angles and both mirrors; a *CCF* is half of one, as the
original counts: one image, reference, shift and mirror.
"""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import gpu_fused
import numpy as np
import torch
from gpu_questions import LAST_RING, Pixels, RingRows
from gpu_record import ROOT, Check, perform, synchronised

from cryoisac.engine.devices import PROCESSOR, choose_devices, gpu_rows
from cryoisac.engine.gpu import memory
from cryoisac.engine.likelihood_reference import LikelihoodReferenceEngine
from cryoisac.engine.native import default_threads

RUNS = ROOT / "build" / "gpu_check_runs"
TESTS = (
    "tests/engine/test_gpu.py",
    "tests/engine/test_fused.py",
    "tests/engine/test_gpu_memory.py",
    "tests/engine/test_contract.py",
    "tests/engine/test_likelihood.py",
)
REFERENCES, RANGES_px = (10, 50, 200), (1, 2, 3, 4, 6)
BATCHES_MB = (256, 1024, 4096, 16384)
TEST_SECONDS = 240  # that tests may take
CPU_SECONDS = 4.0  # that the compiled engine is given for each question


def check(
    device: str, path: Path, *, minutes: float, quick: bool, only: tuple[str, ...], resume: bool = False
) -> dict[str, Any]:
    """Do every part for which there is time, or some, and print the table."""
    run = Check(choose_devices(device), path, time.monotonic() + 60 * minutes, quick)
    if resume:
        run.resume()
    perform(run, {name: part for name, part in PARTS.items() if not only or name in only}, device)
    return run.found


def seconds(run: Check, work: Callable[[], Any], repeats: int = 3) -> float:
    """Return the median time of some repeats, after one that does not count."""
    work()
    times = []
    for _ in range(1 if run.quick else repeats):
        synchronised(run)
        start = time.perf_counter()
        work()
        synchronised(run)
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def machine(run: Check) -> None:
    """Measure what computes, and its ceilings: copies of memory, products of matrices in float32 and tf32."""
    rows: list[str] = []
    with run.step("facts"):
        rows += [f"{name} {value}" for name, value in gpu_rows(76, run.devices.memory_share)]
    n, side = run.size(1 << 30, 1 << 20), run.size(8192, 256)
    source, target = torch.rand(n // 4, device=run.device), torch.empty(n // 4, device=run.device)
    copied = 2 * n / seconds(run, lambda: target.copy_(source), 9) / 1e9
    a, b = (torch.randn(side, side, device=run.device) for _ in range(2))
    rates = {}
    for tf32 in (False, True):
        with memory.computing(tf32):
            rates["tf32" if tf32 else "float32"] = 2 * side**3 / seconds(run, lambda: a @ b, 5) / 1e12
    run.found["machine"] = {
        "device": run.devices.title,
        "rows": rows,
        "torch": torch.__version__,
        "threads": default_threads(),
        "copy_GB_s": copied,
        "matrix_TFLOP_s": rates,
    }
    run.say(f"device   {run.devices.title}; PyTorch {torch.__version__}; {default_threads()} threads beside it")
    run.say(
        f"ceilings copy {copied:.0f} GB/s; products {rates['float32']:.3g} TFLOP/s float32, {rates['tf32']:.3g} tf32"
    )


def tests(run: Check) -> None:
    """Run the engines' tests on this device."""
    chosen = TESTS[:1] if run.quick else TESTS
    words = ["-q", "-m", "torch and not long", "-p", "no:cacheprovider", "-o", "filterwarnings=default"]
    words += ["--tb", "short", "-o", "faulthandler_timeout=120", *chosen]
    words += ["-k", "groups"] if run.quick else []
    log = RUNS.with_name("gpu_check_tests.txt")
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as file:
        try:
            status: int | str = subprocess.run(
                [sys.executable, "-m", "pytest", *words],
                cwd=ROOT,
                env=os.environ | {"CRYOISAC_TEST_DEVICE": str(run.device)},
                stdout=file,
                stderr=subprocess.STDOUT,
                check=False,
                timeout=min(max(run.left(), 30), TEST_SECONDS),
            ).returncode
        except subprocess.TimeoutExpired:
            status = "not over in time"
    said = log.read_text(encoding="utf-8", errors="replace").splitlines()
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
                row = run.found.setdefault("accuracy", {})[title] = question.differences(mine, other)
                run.say(f"accuracy {title:14} " + ", ".join(f"{key} {value:.2g}" for key, value in row.items()))
    with run.step("repeated"):
        repeated(run, pixels, ring_rows)


def repeated(run: Check, pixels: Pixels, ring_rows: RingRows) -> None:
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


def searches(run: Check) -> None:
    """Time multireference passes: 90 px, rings to 36 px, shifts within 3 px, both modes, beside the compiled engine."""
    question = Pixels.made(run.size(100_000, 8), run.size(max(REFERENCES), 10))
    for mode in ("exact", "fast"):
        mine, other = question.engine(run.devices, mode=mode), question.engine(PROCESSOR, mode=mode)
        for k in REFERENCES[: 1 if run.quick else None]:
            n = question.rows if k < 200 or mode == "fast" else question.rows // 4
            if run.left() < 60 and not run.quick:
                return
            with run.step(f"score {mode}, {k} references"):
                taken = seconds(run, partial(question.score, mine, k, n), 1)
                few = run.size(max(64, int(CPU_SECONDS * 1e6 / (k * 49 * 0.3) * default_threads() / 2)), 8)
                few = min(few, n)
                beside = seconds(run, partial(question.score, other, k, few), 1)
                _compare(run, f"score {mode}, {k} references", n * k * 49, taken, few * k * 49, beside)


def _compare(run: Check, name: str, triples: int, taken: float, few: int, beside: float) -> None:
    row = {
        "triples": triples,
        "seconds": taken,
        "ns_a_triple": 1e9 * taken / triples,
        "CCF_s": 2 * triples / taken,
        "cpu_ns_a_triple": 1e9 * beside / few,
        "times_the_cpu": (beside / few) / (taken / triples),
    }
    run.found.setdefault("searches", {})[name] = row
    run.say(
        f"{name:34} {row['ns_a_triple']:8.2f} ns a triple {row['CCF_s']:9.3g} CCF/s; "
        f"{row['times_the_cpu']:6.1f} times {default_threads()} threads ({row['cpu_ns_a_triple']:.0f} ns)"
    )


def reference_free(run: Check) -> None:
    """Time poses on one's own reference, and sums: a reference-free pass, at growing shifts."""
    question = Pixels.made(run.size(50_000, 40), 50)
    for mode in ("exact", "fast"):
        mine, other = question.engine(run.devices, mode=mode), question.engine(PROCESSOR, mode=mode)
        for reach in RANGES_px[: 1 if run.quick else None]:
            n, shifts = question.rows, (2 * reach + 1) ** 2
            if run.left() < 60 and not run.quick:
                return
            with run.step(f"match {mode}, within {reach} px"):
                taken = seconds(run, partial(question.match, mine, reach, n), 1)
                few = run.size(min(n, int(CPU_SECONDS * 1e6 / shifts)), 16)
                beside = seconds(run, partial(question.match, other, reach, few), 1)
                _compare(run, f"match {mode}, within {reach} px", n * shifts, taken, few * shifts, beside)
    taken = seconds(run, partial(question.total, mine, question.rows), 1)
    few = run.size(5000, 16)
    beside = seconds(run, partial(question.total, other, few), 1)
    _rates(run, "total", question.rows / taken, few / beside)


def streaming(run: Check) -> None:
    """Time passes with images brought from the host block by block; compare answers with those of images that stay."""
    question = Pixels.made(run.size(50_000, 24), 50)
    asked = {
        "score": partial(question.score, k=50, n=question.rows),
        "match": partial(question.match, reach=3, n=question.rows),
        "total": partial(question.total, n=question.rows),
    }
    before = memory.RESIDENT_SHARE
    engines = {}
    try:
        for share in (before, 0.0):
            memory.RESIDENT_SHARE = share
            engines[share] = question.engine(run.devices)
    finally:
        memory.RESIDENT_SHARE = before
    for name, ask in asked.items():
        with run.step(f"streaming {name}"):
            times = [seconds(run, partial(ask, engine), 1) for engine in engines.values()]
            a, b = (ask(engine) for engine in engines.values())
            alike = bool((a.score == b.score).all() if name == "match" else (a == b).all())
            run.found.setdefault("streaming", {})[name] = {"seconds": times, "same": alike}
            said = "the same answers" if alike else "OTHER ANSWERS"
            run.say(f"streamed {name:8} {times[1]:.2f} s; {times[0]:.2f} s where images stay; {said}")


def _rates(run: Check, name: str, rate: float, beside: float) -> None:
    run.found.setdefault("rates", {})[name] = {"rows_s": rate, "cpu_rows_s": beside}
    run.say(f"{name:34} {rate:12,.0f} rows/s; {rate / beside:6.1f} times {default_threads()} threads")


def rings(run: Check) -> None:
    """Time the likelihood engine: gains, poses, refined poses, sums."""
    question = RingRows.made(run.size(50_000, 20), run.size(50, 5))
    mine, other = question.engine(run.devices), question.engine(PROCESSOR)
    n, few = question.rows, run.size(2000, 8)
    sizes = ((mine, n), (other, few))
    for last in (18, 37)[: 1 if run.quick else None]:
        triples = question.shifts * question.references
        with run.step(f"gains, rings to {last}"):
            taken, beside = (seconds(run, partial(question.score, e, last, m), 1) for e, m in sizes)
            _compare(run, f"gains, rings to {last}", n * triples, taken, few * triples, beside)
        for name in ("match", "refine", "total"):
            ask = getattr(question, name)
            with run.step(f"{name}, rings to {last}"):
                taken, beside = (seconds(run, partial(ask, e, last, m), 1) for e, m in sizes)
                _rates(run, f"{name}, rings to {last}", n / taken, few / beside)


def batches(run: Check) -> None:
    """Time a pass in batches of some sizes, with and without tf32."""
    question = Pixels.made(run.size(20_000, 40), 50)
    before = memory.LARGEST_BATCH_BYTES
    try:
        for size in BATCHES_MB[: 1 if run.quick else None]:
            memory.LARGEST_BATCH_BYTES = size << 20
            for tf32 in (False, True):
                name, n = f"{size} MB{', tf32' if tf32 else ''}", question.rows
                with run.step(f"batch {name}"):
                    engine = question.engine(run.devices, tf32=tf32)
                    row = run.found.setdefault("batches", {})[name] = {
                        "score_s": seconds(run, partial(question.score, engine, 50, n), 1),
                        "match_s": seconds(run, partial(question.match, engine, 3, n), 1),
                    }
                    run.say(f"batch    {name:14} score {row['score_s']:.3f} s, match {row['match_s']:.3f} s")
    finally:
        memory.LARGEST_BATCH_BYTES = before


def kernels(run: Check) -> None:
    """Tell which kernels take the time of a pass."""
    question = Pixels.made(run.size(10_000, 24), 50)
    engine, n = question.engine(run.devices), question.rows
    kinds = [torch.profiler.ProfilerActivity.CPU]
    kinds += [torch.profiler.ProfilerActivity.CUDA] if run.device.type == "cuda" else []
    for name, work in (
        ("score", partial(question.score, engine, 50, n)),
        ("match", partial(question.match, engine, 3, n)),
    ):
        work()
        with torch.profiler.profile(activities=kinds) as profile:
            work()
        key = "self_device_time_total" if run.device.type == "cuda" else "self_cpu_time_total"
        events = sorted(profile.key_averages(), key=lambda e: -getattr(e, key, 0))[:10]
        run.found.setdefault("kernels", {})[name] = {e.key[:80]: [getattr(e, key, 0), e.count] for e in events}
        whole = sum(getattr(e, key, 0) for e in profile.key_averages()) or 1
        top = "; ".join(f"{e.key[:28]} {100 * getattr(e, key, 0) / whole:.0f} %" for e in events[:5])
        run.say(f"kernels  {name}: {top}")


def whole_runs(run: Check) -> None:
    """Time whole runs of both methods on the device and on the processor."""
    shutil.rmtree(RUNS, ignore_errors=True)
    for size in (2000, 10_000) if not run.quick else (60,):
        for method in ("likelihood", "isac2"):
            for name in ("cpu", run.devices.names[0] if run.device.type != "cpu" else "torch-cpu"):
                if run.left() < 20:
                    return
                with run.step(f"run {method}, {size} images, {name}"):
                    taken = _whole_run(run, size, method, name)
                    run.found.setdefault("runs", {})[f"{method}, {size} images, {name}"] = taken
                    run.say(f"run      {method:10} {size:6} images on {name:9} {taken}")


def _whole_run(run: Check, size: int, method: str, device: str) -> str:
    """Return how long a run took, and what it said last."""
    cli, particles = [sys.executable, "-m", "cryoisac"], RUNS / f"particles{size}"
    views = max(3, size // 100)
    if not particles.exists():
        words = ["--views", views, "--per-view", size // views, "--box", 40 if run.quick else 90, "--pixel-size", 5]
        subprocess.run([*cli, "simulate", particles, *map(str, words), "--snr", "0.5"], check=True, capture_output=True)
    out = RUNS / f"{method}{size}{device.replace(':', '')}"
    words = ["--method", method, "--device", device, "--img-per-grp", size // views]
    words += ["--target-radius", 10, "--target-nx", 28] if run.quick else []
    start = time.monotonic()
    try:
        done = subprocess.run(
            [*cli, "isac", str(particles / "particles.star"), str(out), *map(str, words)],
            capture_output=True,
            text=True,
            check=False,
            timeout=max(run.left(), 10),
        )
    except subprocess.TimeoutExpired:
        return f"not over after {time.monotonic() - start:.0f} s"
    said = [line for line in done.stdout.splitlines() if "accounted" in line] or [done.stderr[-200:]]
    return f"{time.monotonic() - start:.1f} s: {said[-1].strip()}"


PARTS: dict[str, Callable[[Check], None]] = {
    "machine": machine,
    "tests": tests,
    "accuracy": accuracy,
    "searches": searches,
    "reference_free": reference_free,
    "rings": rings,
    "streaming": streaming,
    "batches": batches,
    "kernels": kernels,
    "fused": partial(gpu_fused.compare, seconds=seconds),
    "runs": whole_runs,
}
