"""Compiled kernels; ``cryoisac.engine.native`` checks what it hands to them."""

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]

def instruction_sets() -> list[str]: ...

class Search:
    @staticmethod
    def make(
        points: Float64,
        lengths: Int32,
        weights: Float64,
        last_radius: int,
        step: float,
        stride: int,
        refine: bool,
        normalise: bool,
        mirror: bool,
    ) -> Search: ...

class RingSums:
    def __init__(self, instructions: str, search: Search, box: int, furthest: int, threads: int) -> None: ...
    def total(
        self,
        stack: Float32,
        order: Int64,
        bounds: Int64,
        images: Int64,
        offsets: Float64,
        turns: Float64,
        mirror: npt.NDArray[np.uint8],
        out: Float64,
    ) -> None: ...

class Engine:
    def __init__(self, instructions: str) -> None: ...
    def score(
        self,
        search: Search,
        stack: Float32,
        means: Float32,
        references: Float32,
        images: Int64,
        offsets: Float64,
        reach: Int32,
        scores: Float32,
        threads: int,
    ) -> None: ...
    def match(
        self,
        search: Search,
        stack: Float32,
        means: Float32,
        references: Float32,
        labels: Int64,
        order: Int64,
        images: Int64,
        offsets: Float64,
        reach: Int32,
        score: Float32,
        position: Float64,
        trial: Int32,
        mirror: npt.NDArray[np.uint8],
        threads: int,
    ) -> None: ...
    def total(
        self,
        stack: Float32,
        order: Int64,
        bounds: Int64,
        images: Int64,
        placements: Float64,
        sums: Float64,
        threads: int,
    ) -> None: ...
    def warp(self, stack: Float32, images: Int64, placements: Float64, out: Float32, threads: int) -> None: ...

class Basis:
    def __init__(
        self, order: Int32, start: Int32, first: Int32, functions: Float32, longest: int, angles: int, stride: int
    ) -> None: ...

class FastSearch:
    def __init__(self, instructions: str, search: Search, box: int, nx: int, ny: int, threads: int) -> None: ...
    def moments(self, references: Float32, sums: Float64) -> None: ...
    def panel_size(self, basis: Basis, references: int) -> int: ...
    def prepare(self, basis: Basis, references: Float32, panel: Float32) -> None: ...
    def score(
        self,
        basis: Basis,
        panel: Float32,
        stack: Float32,
        means: Float32,
        images: Int64,
        offsets: Float64,
        room: Float32,
        scores: Float32,
    ) -> None: ...
    def match(
        self,
        basis: Basis,
        panel: Float32,
        stack: Float32,
        means: Float32,
        labels: Int64,
        order: Int64,
        images: Int64,
        offsets: Float64,
        room: Float32,
        score: Float32,
        position: Float64,
        shift: Int32,
        mirror: npt.NDArray[np.uint8],
    ) -> None: ...

class Shifts:
    def __init__(self, shifts: Float64) -> None: ...

class StoredSearch:
    def __init__(self, instructions: str, search: Search, box: int, threads: int) -> None: ...
    def moments(self, references: Float32, shifts: Shifts, sums: Float64) -> None: ...
    def prepare(self, basis: Basis, references: Float32, shifts: Shifts, panel: Float32) -> None: ...
    def score(
        self,
        basis: Basis,
        shifts: Shifts,
        panel: Float32,
        powers: Float32,
        samples: Float32,
        squares: Float32,
        images: Int64,
        scores: Float32,
    ) -> None: ...
    def match(
        self,
        basis: Basis,
        shifts: Shifts,
        panel: Float32,
        powers: Float32,
        samples: Float32,
        squares: Float32,
        labels: Int64,
        order: Int64,
        images: Int64,
        score: Float32,
        position: Float64,
        shift: Int32,
        mirror: npt.NDArray[np.uint8],
    ) -> None: ...
    def refine(
        self,
        references: Float32,
        powers: Float32,
        samples: Float32,
        squares: Float32,
        labels: Int64,
        order: Int64,
        images: Int64,
        poses: Float64,
        score: Float32,
    ) -> None: ...
    def total(
        self, samples: Float32, order: Int64, bounds: Int64, images: Int64, poses: Float64, sums: Float64
    ) -> None: ...

TAPS: int
WINDOW_STEPS: int

class Mover:
    def __init__(
        self,
        instructions: str,
        rows: int,
        columns: int,
        between: int,
        beyond: int,
        fill: float,
        window: Float32,
        threads: int,
    ) -> None: ...
    def move(self, images: Float32, fine: Float32, placements: Float64, out: Float32) -> None: ...
    def add(
        self, images: Float32, fine: Float32, placements: Float64, order: Int64, bounds: Int64, sums: Float64
    ) -> None: ...
