"""The Triton kernel beside PyTorch's transform and maximum: alone, and in whole questions; a part of ``gpu_check``."""

import importlib.metadata
import importlib.util
import itertools
import os
import warnings
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from gpu_questions import Pixels, RADIUS_px, RingRows

from cryoisac.engine.gpu.layout import Block, Folded
from cryoisac.engine.gpu.product import correlate
from cryoisac.model.poses import pixel_error

if TYPE_CHECKING:
    from gpu_record import Check

PRECISIONS = ("ieee", "tf32x3", "tf32")
ANGLES, RINGS, REFERENCES = (64, 128, 256), (8, 30), 64
SPECTRUM_BYTES = 1 << 31
OTHER_SHAPES: tuple[dict[str, int], ...] = (
    {"few": 4, "many": 16, "orders": 16, "warps": 8, "registers": 255},
    {"few": 4, "many": 16, "orders": 16, "warps": 4, "registers": 255},
    {"few": 4, "many": 16, "orders": 32, "warps": 8, "registers": 255},
    {"few": 4, "many": 32, "orders": 16, "warps": 8, "registers": 255},
    {"few": 8, "many": 16, "orders": 16, "warps": 8, "registers": 255},
)
Timer = Callable[["Check", Callable[[], Any]], float]


def _version(package: str) -> tuple[int, ...]:
    return tuple(map(int, importlib.metadata.version(package).split(".")[:2]))


def compare(run: "Check", seconds: Timer) -> None:
    """Time the kernel and the transform, and tell by how much they differ, in parts of the largest value."""
    if importlib.util.find_spec("triton") is None:
        run.say("fused    not tried: Triton is not installed")
    elif run.device.type == "cpu" and os.environ.get("TRITON_INTERPRET") != "1":
        run.say("fused    not tried: needs a GPU, or TRITON_INTERPRET=1")
    elif run.device.type == "cpu" and _version("triton") < (3, 7):
        run.say("fused    not tried: the interpreter of Triton before 3.7 converts arrays as NumPy forbids")
    else:
        found = run.found.setdefault("fused", {})
        _alone(run, seconds, found)
        _questions(run, seconds, found)


def _alone(run: "Check", seconds: Timer, found: dict[str, Any]) -> None:
    """Time maxima of random coefficients: products over rings, transform and maximum, beside the one kernel."""
    for angles, rings in itertools.product(ANGLES, RINGS):
        if not run.quick or (angles, rings) == (ANGLES[0], RINGS[0]):
            _beside(run, seconds, found, angles, rings)


def _beside(run: "Check", seconds: Timer, found: dict[str, Any], angles: int, rings: int) -> None:
    from cryoisac.engine.gpu.fused import largest, shape_of

    references = run.size(REFERENCES, 5)
    images = run.size(SPECTRUM_BYTES // (8 * angles * references), 5)
    asked = _coefficients(run, angles, rings, (references, images))
    name = f"{angles} angles, {rings} rings"
    with run.step(f"transform, {name}"):
        plain = partial(_transformed, *asked, angles)
        truth, plain_ns = plain(), 1e9 * seconds(run, plain) / (references * images)
        shapes = [(p, p, shape_of(angles, p)) for p in PRECISIONS]
        if angles == ANGLES[1] and rings == RINGS[0]:
            shapes += [("tf32x3", _titled(other), shapes[1][2]._replace(**other)) for other in OTHER_SHAPES]
        for precision, title, shape in shapes:
            with run.step(f"fused, {name}, {title}"):
                mine = partial(largest, *asked, 1, angles, 2 * angles, precision, shape)
                apart = float((mine() - truth).abs().max() / truth.abs().max())
                taken = 1e9 * seconds(run, mine) / (references * images)
                found[f"{name}, {title}"] = {"ns_a_pair": taken, "plain_ns": plain_ns, "apart": apart}
                run.say(
                    f"fused    {name}, {title:29} {taken:7.3f} ns a pair; transform {plain_ns:.3f} ns,"
                    f" {plain_ns / taken:.2f} times; apart {apart:.1g}"
                )


def _titled(shape: dict[str, int]) -> str:
    return "{few} x {many}, {orders} orders, {warps} warps".format(**shape)


def _coefficients(run: "Check", angles: int, rings: int, counts: tuple[int, int]) -> tuple[Folded, Folded]:
    """Return random references and images of as many orders as so many angles show."""
    orders, blocks = angles // 2, [Block(0, angles // 2, 0)]
    references, images = counts
    up = torch.randn(orders, references, rings, device=run.device)
    down = torch.randn(orders - 1, references, rings, device=run.device)
    own = torch.randn(orders, images, 2, rings, device=run.device)
    return Folded(blocks, [up], [down]), Folded(blocks, [own], [own[1:].flip(0, 2)])


def _transformed(references: Folded, images: Folded, angles: int) -> torch.Tensor:
    longer: Any = SimpleNamespace(longest=2 * angles)
    return correlate(longer, references, images, 1, angles).amax(dim=0, keepdim=True)


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
            with run.step(f"fused, {name}, {precision}"), warnings.catch_warnings():
                warnings.simplefilter("error", RuntimeWarning)  # which an engine gives that does without the kernel
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
