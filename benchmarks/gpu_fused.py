"""The Triton kernel beside PyTorch's transform and maximum: alone, and in whole questions; a part of ``gpu_check``."""

import importlib.util
import os
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from gpu_questions import Pixels, RADIUS_px, RingRows

from cryoisac.model.poses import pixel_error

if TYPE_CHECKING:
    from gpu_record import Check

PRECISIONS = ("ieee", "tf32x3", "tf32")
ANGLES = (64, 128, 256)
SPECTRUM_BYTES = 1 << 31
Timer = Callable[["Check", Callable[[], Any]], float]


def compare(run: "Check", seconds: Timer) -> None:
    """Time the kernel and the transform, and tell by how much they differ, in parts of the largest value."""
    if importlib.util.find_spec("triton") is None:
        run.say("fused    not tried: Triton is not installed")
    elif run.device.type == "cpu" and os.environ.get("TRITON_INTERPRET") != "1":
        run.say("fused    not tried: needs a GPU, or TRITON_INTERPRET=1")
    else:
        found = run.found.setdefault("fused", {})
        _alone(run, seconds, found)
        _questions(run, seconds, found)


def _alone(run: "Check", seconds: Timer, found: dict[str, Any]) -> None:
    from cryoisac.engine.gpu.fused import largest

    for angles in ANGLES[: 1 if run.quick else None]:
        pairs = run.size(SPECTRUM_BYTES // (8 * angles), 20)
        spectrum = torch.randn(angles, pairs, 2, device=run.device)
        beside = partial(_transformed, spectrum)
        truth = beside()
        plain = 1e9 * seconds(run, beside) / pairs
        for precision in PRECISIONS:
            with run.step(f"fused, {angles} angles, {precision}"):
                mine = partial(largest, spectrum, precision)
                apart = float((mine() - truth).abs().max() / truth.abs().max())
                taken = 1e9 * seconds(run, mine) / pairs
                found[f"{angles} angles, {precision}"] = {"ns_a_pair": taken, "plain_ns": plain, "apart": apart}
                run.say(
                    f"fused    {angles:3} angles {precision:7} {taken:7.3f} ns a pair; transform {plain:.3f} ns,"
                    f" {plain / taken:.2f} times; apart {apart:.1g}"
                )


def _transformed(spectrum: torch.Tensor) -> torch.Tensor:
    curves = torch.view_as_real(torch.fft.ifft(torch.view_as_complex(spectrum), dim=0, norm="forward"))
    return curves.amax(dim=0, keepdim=True)


def _questions(run: "Check", seconds: Timer, found: dict[str, Any]) -> None:
    pixels = Pixels.made(run.size(10_000, 2), run.size(50, 2))
    rings = RingRows.made(run.size(20_000, 2), run.size(50, 2))
    cases = [(f"pixels, {mode}", pixels, partial(pixels.engine, run.devices, mode=mode)) for mode in ("exact", "fast")]
    cases.append(("rings", rings, partial(rings.engine, run.devices)))
    for name, question, make in cases:
        reach = 1 if run.quick else 3
        options = (50, reach) if isinstance(question, Pixels) else (18, 18)
        plain = _answered(run, seconds, question, make(), options)
        for precision in PRECISIONS[: 1 if run.quick else None]:
            with run.step(f"fused, {name}, {precision}"):
                mine = _answered(run, seconds, question, make(fused=precision), options)
                row = {
                    "score_s": mine["score_s"],
                    "match_s": mine["match_s"],
                    "plain_score_s": plain["score_s"],
                    "plain_match_s": plain["match_s"],
                    "scores apart": float(
                        np.abs(mine["scores"] - plain["scores"]).max() / np.abs(plain["scores"]).max()
                    ),
                    "other poses": float(
                        (pixel_error(mine["poses"], plain["poses"], radius_px=RADIUS_px) > 0.01).mean()
                    ),
                }
                found[f"{name}, {precision}"] = row
                run.say(
                    f"fused    {name:13} {precision:7} score {row['plain_score_s'] / row['score_s']:.2f}, match "
                    f"{row['plain_match_s'] / row['match_s']:.2f} times as fast; scores apart "
                    f"{row['scores apart']:.1g}, other poses {row['other poses']:.1g}"
                )


def _answered(run: "Check", seconds: Timer, question: Any, engine: Any, options: tuple[int, int]) -> dict[str, Any]:
    score = partial(question.score, engine, options[0], question.rows)
    match = partial(question.match, engine, options[1], question.rows)
    times = {"score_s": seconds(run, score), "match_s": seconds(run, match)}
    return times | {"scores": score(), "poses": match().poses}
