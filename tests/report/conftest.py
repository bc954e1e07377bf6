"""A finished run, made up."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
import pytest

from cryoisac.products.tables import LEDGER_COLUMNS
from cryoisac.settings import Isac

SIZES = (30, 12, 45)
REASONS = {"unstable": 7, "small_class": 3, "untried": 2, "bad_image": 1}


def record_of(sizes: tuple[int, ...]) -> dict[str, Any]:
    """What ``run.json`` says."""
    accounted, left = sum(sizes), sum(REASONS.values())
    settings = Isac(method="isac2", radius=27, img_per_grp=30, minimum_grp_size=10, thld_err=1.4)
    generation = {"number": 1, "main": 1, "generation": 1, "images": accounted + left, "classes": 4, "rounds": 5}
    return {
        "program": "cryoisac",
        "version": "9.8.7",
        "device": "cuda:0 (Some GPU)",
        "status": "finished",
        "input": {
            "path": "/somewhere/private/particles.star",
            "images": accounted + left,
            "box_px": 64,
            "pixel_size_A": 5.0,
            "sha256": "0123456789abcdef" * 4,
        },
        "settings": {name: getattr(settings, name) for name in settings.__dataclass_fields__},
        "automatic": {"radius": "estimated from 100 images"},
        "derived": {"shrink_ratio": 1.25, "working_box_px": 76, "working_pixel_size_A": 4.0},
        "generations": [generation | {"stable": accounted + 3, "accepted_classes": len(sizes), "accounted": accounted}],
        "classes": [
            {"class": c + 1, "members": n, "number": 1, "main": 1, "generation": 1, "pixel_error_px": 0.5 - 0.1 * c}
            for c, n in enumerate(sizes)
        ],
        "counts": {"images": accounted + left, "accounted": accounted, "by_reason": REASONS},
        "ordered": [2, 3, 1][: len(sizes)] if sizes else [],
        "stopped_because": "Main iteration 1 found no further class among 13 images.",
        "warnings": ["Two optics groups have the same name."],
    }


def write_ledger(path: Path, sizes: tuple[int, ...], others: tuple[int, str] = (-1, "nan")) -> None:
    """The ledger: members first, then the others; errors of members are 0.25, scores count up.

    ``others`` are rival and membership stability, of all particles.
    """
    reasons = [r for r, n in REASONS.items() for _ in range(n)]
    labels = [c + 1 for c, n in enumerate(sizes) for _ in range(n)] + [-1] * len(reasons)
    words = [""] * sum(sizes) + reasons
    error = {"": 0.25, "unstable": 2.0, "small_class": 0.5}
    with path.open("w", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(LEDGER_COLUMNS)
        for i, (label, word) in enumerate(zip(labels, words, strict=True)):
            rows.writerow(
                (
                    i,
                    f'{i + 1:06d}@a "b", c.mrcs',
                    label,
                    word,
                    1,
                    f"{error.get(word, np.inf):.6f}",
                    f"{i:.6f}",
                    label,
                    *others,
                )
            )


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that makes a run directory."""

    def make(name: str = "run", sizes: tuple[int, ...] = SIZES, **changes: Any) -> Path:
        path = tmp_path / name
        path.mkdir()
        rng = np.random.default_rng(0)
        if sizes:
            averages = rng.standard_normal((len(sizes), 20, 20)).astype(np.float32)
            mrcfile.write(path / "class_averages.mrcs", averages)
            mrcfile.write(path / "ordered_class_averages.mrcs", averages[[1, 2, 0]][:, ::-1])
        write_ledger(path / "ledger.csv", sizes)
        (path / "run.json").write_text(json.dumps(record_of(sizes) | changes))
        return path

    return make


def by_likelihood(record: dict[str, Any], changes: int = 3) -> dict[str, Any]:
    """What ``run.json`` says of a run by likelihood: three starts, the second the best; splits and a merge."""
    settings = Isac(radius=27, img_per_grp=30, minimum_grp_size=10, max_shift=4.5)
    change = {"first": 40, "second": 25, "gain": 1234.0, "expected": 500.0}
    kinds = ["merge", *["split"] * (changes - 1)] if changes else []
    return record | {
        "settings": {name: getattr(settings, name) for name in settings.__dataclass_fields__},
        "starts": [
            {"start": 1, "classes": 3, "evidence": 41000.0},
            {"start": 2, "classes": 4, "evidence": 42345.0},
            {"start": 3, "classes": 5, "evidence": 40000.0},
        ],
        "changes": [{"kind": kind} | change for kind in kinds],
        "stopped_because": "Nothing changes any more.",
    }


@pytest.fixture
def make_likelihood_run(make_run: Callable[..., Path]) -> Callable[..., Path]:
    """Return a function that makes the directory of a run by likelihood."""

    def make(changes: int = 3, **kinds: Any) -> Path:
        path = make_run(**kinds)
        record = by_likelihood(json.loads((path / "run.json").read_text()), changes)
        (path / "run.json").write_text(json.dumps(record))
        write_ledger(path / "ledger.csv", kinds.get("sizes", SIZES), (2, "0.8750"))
        return path

    return make
