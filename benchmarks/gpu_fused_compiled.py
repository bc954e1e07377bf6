#!/usr/bin/env python3
"""Compiles the fused kernel for GPUs that need not be there, and estimates from its instructions how fast it can be.

    benchmarks/gpu_fused_compiled.py [--write]

No number here was measured on a device: registers, spilled bytes and instructions are read from the machine code, and
an estimate is the longest of what the parts of an H200 need for these, each alone and without waiting.
"""

import argparse
import collections
import datetime
import json
import re
import subprocess
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from cryoisac.engine.gpu import fused

RESULTS = Path(__file__).parent / "results"
CUOBJDUMP = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
ANGLES, PRECISIONS, CAPABILITIES, RINGS = (64, 128, 256), ("ieee", "tf32x3", "tf32"), (80, 90), (8, 16, 30)
POINTERS = {"few": "*fp32", "many": "*fp32", "starts": "*i32", "waves": "*fp32", "result": "*fp32"}
MULTIPROCESSORS, CLOCK_GHz, SCHEDULERS = 132, 1.8, 4
REGISTERS, MOST_WARPS = 65536, 64  # of a multiprocessor
SHARED_BYTES = {80: 164 << 10, 90: 227 << 10}
COUNTED = ("FFMA", "FADD", "HMMA", "HGMMA", "LDG", "LDS", "LDSM", "STS", "STSM", "BAR", "LDL", "STL")
MEMORY_TBs, CACHE_TBs = 4.3, 5.5  # of an H200, and of its second cache, as was measured on like ones by others
MATRIX_CLOCK = 1024  # products in tf32 a clock that matrix units of a multiprocessor make
PASSES = {"32": 1, "64": 2, "128": 4}  # of a warp's load or store through the first cache, by bits of each thread
LINE = re.compile(r"\s+/\*([0-9a-f]{4,})\*/\s+(?:@!?U?P\d+ )?\s*([A-Z][A-Zx0-9_.]*)([^;]*);")


@dataclass(frozen=True)
class Instruction:
    """An instruction of the machine code: where, which, and where it jumps to, or -1."""

    place: int
    name: str
    target: int


@dataclass(frozen=True)
class Cost:
    """What a warp needs: instructions, passes through the first cache or shared memory, products on matrix units."""

    instructions: float
    passes: float
    products: float

    def plus(self, other: "Cost", times: float) -> "Cost":
        """Return this and the other one so many times."""
        mine, more = asdict(self), asdict(other)
        return Cost(**{name: mine[name] + times * more[name] for name in mine})


def compiled(shape: fused.Shape, precision: str, capability: int) -> Any:
    """Return the kernel, compiled for a device of so many angles that need not be there."""
    words = shape.angles, shape.tile, shape.orders, tuple(range(shape.few)), shape.many
    names = fused._largest.arg_names
    constants = dict(zip(names[-7:], (*words, False, precision), strict=True))
    lanes = constants.pop("LANES")
    signature: dict[str, Any] = {name: POINTERS.get(name, "i32") for name in names}
    signature |= dict.fromkeys(constants, "constexpr") | {"LANES": ("constexpr",) * len(lanes)}
    source = ASTSource(
        fn=fused._largest,
        signature=signature,
        constexprs={(names.index(name),): value for name, value in constants.items()}
        | {(names.index("LANES"), lane): lane for lane in lanes},
        attrs={(names.index(name),): [["tt.divisibility", 16]] for name in POINTERS},
    )
    return triton.compile(source, target=GPUTarget("cuda", capability, 32), options=shape.options)


def disassembled(kernel: Any) -> tuple[list[Instruction], dict[str, int]]:
    """Return the instructions of a compiled kernel, its registers, and the bytes that a thread spills."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(kernel.asm["cubin"])
        file.flush()
        usage, text = (
            subprocess.run([CUOBJDUMP, option, file.name], capture_output=True, text=True, check=True).stdout
            for option in ("-res-usage", "-sass")
        )
    found = re.search(r"REG:(\d+) STACK:(\d+)", usage)
    assert found is not None
    lines = [line for line in map(LINE.match, text.splitlines()) if line]
    code = [Instruction(int(m[1], 16), m[2], _target(m[2], m[3])) for m in lines]
    return code, {"registers": int(found[1]), "spilled_bytes": int(found[2])}


def _target(name: str, words: str) -> int:
    to = re.search(r"0x([0-9a-f]+)", words)
    return int(to[1], 16) if to and name.startswith("BRA") else -1


def _loops(code: list[Instruction]) -> list[tuple[int, int]]:
    """Return the first and last places of loops, the outer ones before those they hold."""
    back = ((i.target, i.place) for i in code if 0 <= i.target < i.place)
    return sorted(back, key=lambda loop: (loop[0], -loop[1]))


def _cost(code: list[Instruction], inside: tuple[int, int], without: list[tuple[int, int]]) -> tuple[Cost, int]:
    """Return the cost of a stretch of code without some loops, and how many sums of products it holds."""
    own = [
        i
        for i in code
        if inside[0] <= i.place <= inside[1] and not any(first <= i.place <= last for first, last in without)
    ]
    names = collections.Counter(i.name for i in own)
    passes = sum(count * _passes(name) for name, count in names.items())
    widths = sum(count * int(name.split("x")[1]) for name, count in names.items() if name.startswith("HGMMA"))
    passes += widths * 8 / 32 / 4  # rows of eight numbers that the four warps of a group read together
    return Cost(len(own), passes, 64 * 8 / 4 * widths), sum(c for name, c in names.items() if name.startswith("FFMA"))


def _passes(name: str) -> int:
    kind = name.split(".")[0]
    if kind in ("LDSM", "STSM"):
        return 4
    if kind not in ("LDG", "LDS", "STS", "LDL", "STL"):
        return 0
    bits = re.search(r"\.(64|128)\b", name)
    return PASSES[bits[1] if bits else "32"]


def counted(code: list[Instruction], shape: fused.Shape, precision: str) -> tuple[Cost, Cost, Cost]:
    """Return what a warp needs for a ring of a chunk, for two chunks besides, of even and odd orders, and once."""
    loops = _loops(code)
    outer = next(a for a in loops if sum(a[0] <= b[0] and b[1] <= a[1] for b in loops) >= 3)
    inner = [b for b in loops if b != outer and outer[0] <= b[0] and b[1] <= outer[1]]
    values = shape.orders * 2 * shape.few * shape.many // (32 * shape.warps)
    cost, sums = max((_cost(code, loop, []) for loop in inner), key=lambda found: found[1])
    ring = Cost(0, 0, 0).plus(cost, 2 * values / sums)
    rest, sums = _cost(code, outer, inner)
    own = values + 4 * values * shape.tile * (precision == "ieee")
    once, _ = _cost([i for i in code if i.name != "NOP"], (0, code[-1].place), [outer])
    return ring, rest.plus(ring, -(sums - own) / (2 * values)), once  # less what unrolled loops leave over


def estimated(shape: fused.Shape, costs: tuple[Cost, Cost, Cost], rings: int) -> dict[str, float]:
    """Return how many ns a pair takes of each part of a device at best."""
    ring, rest, once = costs
    stretches = -(-shape.angles // (4 * shape.orders))
    whole = once.plus(rest, stretches).plus(ring, 2 * rings * stretches)
    pairs = shape.few * shape.many
    clocks = shape.warps / pairs / (MULTIPROCESSORS * CLOCK_GHz)
    read = 8 * rings * shape.orders * 2 * stretches * (shape.few + shape.many) / pairs
    return {
        "issue": whole.instructions / SCHEDULERS * clocks,
        "first cache": whole.passes * clocks,
        "matrices": whole.products / MATRIX_CLOCK * clocks,
        "second cache": read / CACHE_TBs / 1000,
    }


def row(angles: int, precision: str, capability: int) -> dict[str, Any]:
    """Return what is known of the kernel for some angles, and estimates for capability 9.0."""
    shape = fused.shape_of(angles, precision)
    kernel = compiled(shape, precision, capability)
    code, used = disassembled(kernel)
    names = collections.Counter(i.name.split(".")[0] for i in code)
    shared = kernel.metadata.shared
    room = min(REGISTERS // (32 * shape.warps * used["registers"]), SHARED_BYTES[capability] // (shared + 1024))
    found = {
        "capability": capability,
        "angles": angles,
        "precision": precision,
        "tile": f"{shape.few} x {shape.many}",
        "warps": shape.warps,
        **used,
        "shared_bytes": shared,
        "warps_a_multiprocessor": shape.warps * min(MOST_WARPS // shape.warps, room),
        "instructions": {name: names[name] for name in COUNTED if names[name]},
    }
    if capability == 90:
        costs = counted(code, shape, precision)
        a_pair = [asdict(c) for c in costs]
        names_of = ("a_warp_for_a_ring_of_a_chunk", "a_warp_for_two_chunks_besides", "a_warp_once")
        found.update(zip(names_of, a_pair, strict=True))
        found["ns_a_pair"] = {str(r): estimated(shape, costs, r) for r in RINGS}
    return found


def table(rows: list[dict[str, Any]]) -> list[str]:
    """Return lines that show it."""
    lines = ["sm  angles precision  tile    warps  registers  spilled  shared  warps held"]
    for r in rows:
        lines.append(
            f"{r['capability']}  {r['angles']:6} {r['precision']:9} {r['tile']:8} {r['warps']:4} {r['registers']:10}"
            f" {r['spilled_bytes']:8} {r['shared_bytes']:7} {r['warps_a_multiprocessor']:11}"
        )
    lines += [
        "",
        "Estimated ns a pair on an H200, and what it is bound by; PyTorch: the bytes of its spectra alone",
        "",
    ]
    lines.append("angles precision " + "".join(f"{r:4} rings           " for r in RINGS) + "PyTorch")
    for r in rows:
        if "ns_a_pair" in r:
            bounds = [max(parts.items(), key=lambda part: part[1]) for parts in r["ns_a_pair"].values()]
            shown = "".join(f"{ns:6.2f} {name:14}" for name, ns in bounds)
            lines.append(f"{r['angles']:6} {r['precision']:9} {shown}{plain_ns(r['angles']):5.2f}")
    return lines


def plain_ns(angles: int) -> float:
    """Return how long a device takes for what PyTorch writes and reads of a pair's spectrum and correlations."""
    return 32 * angles / MEMORY_TBs / 1000


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write the numbers to benchmarks/results")
    given = parser.parse_args()
    rows = [row(a, p, c) for c in CAPABILITIES for p in PRECISIONS for a in ANGLES]
    print("\n".join(table(rows)))
    if given.write:
        path = RESULTS / f"gpu_fused_compiled_{datetime.date.today()}.json"
        head = {"triton": triton.__version__, "estimates": "none of these was measured", "rows": rows}
        path.write_text(json.dumps(head, indent=1) + "\n")


if __name__ == "__main__":
    main()
