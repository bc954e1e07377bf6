"""What coarser products would change on GPUs: their numbers are rounded on the way, on the processor.

``tf32`` and ``float16`` round the factors of all products, float16 after each image and reference was scaled to at
most 1; ``float16 all`` rounds the products too, which the inverse transform would then read.

    python benchmarks/bench_precision.py [--seeds 0 1] [--snr 0.1] [--images 400] [--output FILE]
"""

import argparse
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bench_accuracy import FALLOFF, RADIUS, VIEWS, Known, RANGE_px

from cryoisac.engine.contract import Search
from cryoisac.engine.gpu import product, search
from cryoisac.engine.gpu.engine import TorchEngine
from cryoisac.engine.gpu.memory import Place
from cryoisac.model.poses import pixel_error
from cryoisac.ops.filters import tangent_lowpass

Rounding = Callable[[torch.Tensor], torch.Tensor]
CUTOFFS = (0.2, 0.45)
HEADER = "mode   FL/FH  products     scores apart   other reference   other pose   right reference   pixel error"


def tf32(x: torch.Tensor) -> torch.Tensor:
    """Return numbers rounded to eleven bits."""
    bits = x.contiguous().view(torch.int32)
    return ((bits + 0x0FFF + ((bits >> 13) & 1)) & ~0x1FFF).view(torch.float32)


def float16(x: torch.Tensor) -> torch.Tensor:
    """Return numbers rounded to float16, of each row of an order after it was scaled to at most 1."""
    scale = x.abs().amax(dim=(0, -1), keepdim=True).clamp(min=1e-30)
    return (x / scale).half().float() * scale


KINDS: dict[str, tuple[Rounding | None, Rounding | None]] = {
    "float32": (None, None),
    "tf32": (tf32, None),
    "float16": (float16, None),
    "float16 all": (float16, float16),
}


@contextmanager
def coarser(factors: Rounding | None, products: Rounding | None) -> Iterator[None]:
    """Round the factors of products, and the products."""
    exact = product._multiply

    def rounded(y: torch.Tensor, x: torch.Tensor, out: torch.Tensor) -> None:
        exact(factors(y) if factors else y, factors(x) if factors else x, out)
        if products:
            out.copy_(products(out))

    product._multiply = rounded
    try:
        yield
    finally:
        product._multiply = exact


def answers(known: Known, mode: str, cutoff: float) -> dict[str, Any]:
    """Return scores with all references, and the poses on the true ones."""
    engine = TorchEngine(known.images, Place(device=torch.device("cpu"), budget_bytes=1 << 31), mode=mode)
    references = tangent_lowpass(known.averages, cutoff, FALLOFF).astype(np.float32)
    rows, still = np.arange(len(known.images)), np.zeros((len(known.images), 2))
    question = Search(last_ring=RADIUS, x_range_px=RANGE_px, y_range_px=RANGE_px, normalise_rings=True)
    scores = engine.score(references, rows, still, question)
    plain = replace(question, normalise_rings=False)
    return {"scores": scores, "poses": engine.match(references, known.view, rows, still, plain).poses}


def compare(known: Known, mode: str, cutoff: float) -> Iterator[tuple[str, dict[str, float]]]:
    """Yield what each kind of products changes."""
    truth: dict[str, Any] = {}
    for name, rounding in KINDS.items():
        with coarser(*rounding):
            own = answers(known, mode, cutoff)
        truth = truth or own
        best, right = own["scores"].argmax(axis=1), truth["scores"].argmax(axis=1)
        spread = truth["scores"].std(axis=1).mean()
        yield (
            name,
            {
                "scores apart": float(np.abs(own["scores"] - truth["scores"]).max() / spread),
                "other reference": float((best != right).mean()),
                "other pose": float((pixel_error(own["poses"], truth["poses"], radius_px=RADIUS) > 0.5).mean()),
                "right reference": float((best == known.view).mean()),
                "pixel error": float(np.median(pixel_error(own["poses"], known.poses, radius_px=RADIUS))),
            },
        )


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1])
    parser.add_argument("--snr", type=float, default=0.1)
    parser.add_argument("--images", type=int, default=400)
    parser.add_argument("--output", type=Path, help="where to write all numbers, as JSON")
    given = parser.parse_args()
    search.FEWEST_PAIRS = 0  # compressed, as with many images
    rows = []
    print(f"{given.images} images, {VIEWS} references, SNR {given.snr:g}, seeds {given.seeds}\n{HEADER}")
    for mode in ("exact", "fast"):
        for cutoff in CUTOFFS:
            found: dict[str, list[dict[str, float]]] = {name: [] for name in KINDS}
            for seed in given.seeds:
                for name, row in compare(Known(seed, given.images, given.snr), mode, cutoff):
                    found[name].append(row)
            for name, each in found.items():
                mean = {key: float(np.mean([row[key] for row in each])) for key in each[0]}
                rows.append({"mode": mode, "cutoff": cutoff, "products": name, **mean})
                cells = f"{mean['scores apart']:12.4f} {mean['other reference']:17.2%} {mean['other pose']:12.2%}"
                end = f"{mean['right reference']:17.1%} {mean['pixel error']:10.3f} px"
                print(f"{mode:6} {cutoff:5.2f}  {name:11} {cells} {end}", flush=True)
    if given.output:
        given.output.write_text(json.dumps({"seeds": given.seeds, "snr": given.snr, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
