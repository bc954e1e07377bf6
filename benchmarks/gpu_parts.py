"""The parts of ``gpu_check`` and their order; here those that time searches and sums. Each saves what it found.

A *triple* is one image at one shift on one reference, all angles and both mirrors; a *CCF* is half of one, as the
original counts: one image, reference, shift and mirror.
"""

import shutil
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import gpu_answers
import gpu_fused
import gpu_memory
import gpu_whole
import torch
from gpu_questions import LAST_RING, Pixels, RingRows
from gpu_record import Check, Parts, perform
from gpu_timing import compared, host_seconds, rated, seconds, timed

from cryoisac.cli.devices import usual_kinds
from cryoisac.engine.devices import PROCESSOR, choose_devices, gpu_rows
from cryoisac.engine.gpu import memory
from cryoisac.engine.native import default_threads

REFERENCES, RANGES_px = (10, 50, 200), (1, 2, 3, 4, 6)
BATCHES_MB = (1024, 4096, 12288, 24576)
IMAGES = 100_000
CPU_SECONDS = 2.0  # that the compiled engine is given for each question


def check(
    device: str, path: Path, *, ends: float, quick: bool, only: tuple[str, ...], resume: bool = False
) -> dict[str, Any]:
    """Do every part for which there is time, or some, and print the table."""
    run = Check(choose_devices(device), path, ends, quick)
    if resume:
        run.resume()
    else:
        shutil.rmtree(gpu_whole.RUNS, ignore_errors=True)
    perform(run, {name: part for name, part in PARTS.items() if not only or name in only}, device)
    return run.found


@lru_cache(maxsize=1)
def many(n: int, k: int) -> Pixels:
    """Return images and references that several parts share."""
    return Pixels.made(n, k)


def shared(run: Check) -> Pixels:
    """Return as many images and references as any part asks for."""
    return many(run.size(IMAGES, 16), max(REFERENCES) if not run.quick else 10)


def machine(run: Check) -> None:
    """Measure what computes, and its ceilings: copies of memory, products of matrices in float32 and tf32."""
    rows: list[str] = []
    with run.step("facts"):
        rows += [f"{name} {value}" for name, value in gpu_rows(usual_kinds(), run.devices.memory_share)]
    n, side = run.size(1 << 30, 1 << 20), run.size(8192, 256)
    source, target = torch.rand(n // 4, device=run.device), torch.empty(n // 4, device=run.device)
    copied = 2 * n / seconds(run, lambda: target.copy_(source), 9) / 1e9
    a, b = (torch.randn(side, side, device=run.device) for _ in range(2))
    rates = {}
    for tf32 in (False, True):
        with memory.computing(tf32):
            rates["tf32" if tf32 else "float32"] = 2 * side**3 / seconds(run, lambda: a @ b, 5) / 1e12
    host = host_seconds(run)
    run.found["machine"] = {
        "device": run.devices.title,
        "rows": rows,
        "torch": torch.__version__,
        "threads": default_threads(),
        "copy_GB_s": copied,
        "matrix_TFLOP_s": rates,
        **host,
    }
    run.say(f"device   {run.devices.title}; PyTorch {torch.__version__}; {default_threads()} threads beside it")
    run.say(
        f"ceilings copy {copied:.0f} GB/s; products {rates['float32']:.3g} TFLOP/s float32, {rates['tf32']:.3g} tf32;"
        f" a launch {1e6 * host['launch_s']:.1f} us, a wait {1e6 * host['wait_s']:.0f} us"
    )


def headline(run: Check) -> None:
    """Time what is wanted most: 100,000 images, 200 references, shifts within 3 px, FL 0.2, in fast mode."""
    _scores(run, "fast", REFERENCES[-1:] if not run.quick else (10,))


def searches(run: Check) -> None:
    """Time multireference passes: 90 px, rings to 36 px, shifts within 3 px, both modes, beside the compiled engine."""
    for mode in ("exact", "fast"):
        _scores(run, mode, REFERENCES[: -1 if mode == "fast" else None] if not run.quick else (10,))


def _scores(run: Check, mode: str, references: tuple[int, ...]) -> None:
    question = shared(run)
    mine, other, n = question.engine(run.devices, mode=mode), question.engine(PROCESSOR, mode=mode), question.rows
    for k in references:
        name = f"score {mode}, {k} references"
        if run.time_for(name, 15):
            with run.step(name):
                few = int(CPU_SECONDS * 1e6 / (k * 49 * 0.3) * default_threads() / 2)
                few = min(n, run.size(max(64, few), 8))
                taken = timed(run, partial(question.score, mine, k), n)
                beside = seconds(run, partial(question.score, other, k, few))
                compared(run, name, n * k * 49, taken, few * k * 49, beside)


def reference_free(run: Check) -> None:
    """Time poses on one's own reference, and sums: a reference-free pass, at growing shifts."""
    question = shared(run).some(run.size(50_000, 40), run.size(50, 10))
    n = question.rows
    for mode in ("fast", "exact"):
        mine, other = question.engine(run.devices, mode=mode), question.engine(PROCESSOR, mode=mode)
        for reach in RANGES_px[: 1 if run.quick else None]:
            name, shifts = f"match {mode}, within {reach} px", (2 * reach + 1) ** 2
            if run.time_for(name, 8):
                with run.step(name):
                    few = run.size(min(n, int(CPU_SECONDS * 1e6 / shifts)), 16)
                    taken = timed(run, partial(question.match, mine, reach), n)
                    beside = seconds(run, partial(question.match, other, reach, few))
                    compared(run, name, n * shifts, taken, few * shifts, beside)
    few = run.size(5000, 16)
    taken = timed(run, partial(question.total, mine), n)
    beside = seconds(run, partial(question.total, other, few))
    rated(run, "total", n, taken, few, beside)


def streaming(run: Check) -> None:
    """Time passes with images brought from the host block by block; compare answers with those of images that stay."""
    question = shared(run).some(run.size(50_000, 24), run.size(50, 10))
    asked = {
        "score": partial(question.score, k=len(question.references), n=question.rows),
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
            times = [seconds(run, partial(ask, engine)) for engine in engines.values()]
            a, b = (ask(engine) for engine in engines.values())
            alike = bool((a.score == b.score).all() if name == "match" else (a == b).all())
            run.found.setdefault("streaming", {})[name] = {"seconds": times, "same": alike}
            said = "the same answers" if alike else "OTHER ANSWERS"
            run.say(f"streamed {name:8} {times[1]:.2f} s; {times[0]:.2f} s where images stay; {said}")


def rings(run: Check) -> None:
    """Time the likelihood engine: gains, poses, refined poses, sums."""
    question = RingRows.made(run.size(50_000, 8), run.size(50, 4))
    mine, other = question.engine(run.devices), question.engine(PROCESSOR)
    n, few = question.rows, run.size(2000, 8)
    for last in (LAST_RING, 18)[: 1 if run.quick else None]:
        triples = question.shifts * question.references
        for name in ("score", "match", "refine", "total"):
            ask, title = getattr(question, name), f"{name}, rings to {last}"
            if run.time_for(title, 5):
                with run.step(title):
                    taken = timed(run, partial(ask, mine, last), n)
                    beside = seconds(run, partial(ask, other, last, few))
                    if name == "score":
                        compared(run, title, n * triples, taken, few * triples, beside)
                    else:
                        rated(run, title, n, taken, few, beside)


def batches(run: Check) -> None:
    """Time a pass in batches of some sizes, with and without tf32."""
    question = shared(run).some(run.size(20_000, 40), run.size(50, 10))
    before = memory.LARGEST_BATCH_BYTES
    try:
        for size in BATCHES_MB[: 1 if run.quick else None]:
            memory.LARGEST_BATCH_BYTES = size << 20
            for tf32 in (False, True):
                name, n = f"{size} MB{', tf32' if tf32 else ''}", question.rows
                with run.step(f"batch {name}"):
                    engine = question.engine(run.devices, tf32=tf32)
                    row = run.found.setdefault("batches", {})[name] = {
                        "score_s": seconds(run, partial(question.score, engine, 50, n)),
                        "match_s": seconds(run, partial(question.match, engine, 3, n)),
                    }
                    run.say(f"batch    {name:14} score {row['score_s']:.3f} s, match {row['match_s']:.3f} s")
    finally:
        memory.LARGEST_BATCH_BYTES = before


def kernels(run: Check) -> None:
    """Tell which kernels take the time of a pass."""
    question = shared(run).some(run.size(20_000, 24), run.size(200, 10))
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


def fused(run: Check) -> None:
    """Time the fused kernel beside the transform."""
    gpu_fused.compare(run, lambda run, work: seconds(run, work, 3))


PARTS: Parts = {  # the most wanted first; seconds that each may take
    "machine": (30, machine),
    "tests": (130, gpu_answers.tests),
    "accuracy": (45, gpu_answers.accuracy),
    "headline": (45, headline),
    "whole": (150, gpu_whole.whole),
    "searches": (70, searches),
    "reference_free": (60, reference_free),
    "rings": (35, rings),
    "isac2": (90, gpu_whole.isac2),
    "beside": (60, gpu_whole.beside),
    "kernels": (20, kernels),
    "fused": (60, fused),
    "streaming": (25, streaming),
    "batches": (25, batches),
    "million": (60, gpu_memory.compare),
}
