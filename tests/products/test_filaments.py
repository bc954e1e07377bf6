"""Runs of segments: by going through them one by one, from tables and from headers."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cryoisac.errors import DataError
from cryoisac.model.particles import Particles
from cryoisac.model.table import Metadata, Table
from cryoisac.products.filaments import read_segments, runs_of

STEP_A = 13.7


class Blank:
    """Images nobody looks at."""

    def __init__(self, n: int) -> None:
        self.shape = (n, 8, 8)

    def read(self, index: Any) -> Any:
        return np.zeros((len(index), 8, 8), dtype=np.float32)


def particles(**further: Any) -> Particles:
    n = further.pop("n")
    return Particles(path=Path("p.star"), source=Blank(n), name_of=lambda i: f"{i + 1:06d}@p.mrcs", **further)


def tubes() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return micrograph, tube and place of 120 segments in five tubes of two micrographs, in any order."""
    rng = np.random.default_rng(8)
    rows = [
        (m, t, s)
        for m, t, length in ((0, 3, 30), (0, 7, 20), (1, 3, 25), (1, 4, 15), (1, 9, 30))
        for s in range(length)
    ]
    return tuple(np.array(rows)[rng.permutation(len(rows))].T)  # type: ignore[return-value]


def of_table() -> Particles:
    micrograph, tube, place = tubes()
    table = Table({})
    for name, cells in (
        ("rlnMicrographName", np.array([f"mics/{m}.mrc" for m in micrograph])),
        ("rlnHelicalTubeID", tube),
        ("rlnHelicalTrackLengthAngst", place * STEP_A),
    ):
        table = table.with_column(name, cells)
    return particles(n=120, metadata=Metadata(table))


def of_headers() -> Particles:
    micrograph, tube, place = tubes()
    names = [f"{m}_{t}" for m, t in zip(micrograph, tube, strict=True)]
    return particles(n=120, attributes={"filament": names, "segment_id": place})


def by_hand(members: np.ndarray, fewest: int) -> list[list[int]]:
    """Return runs as lists of images, by walking along each tube."""
    micrograph, tube, place = tubes()
    runs: list[list[int]] = []
    for key in sorted({(m, t) for m, t in zip(micrograph, tube, strict=True)}):
        run: list[int] = []
        for s in range(31):
            here = [i for i in members if (micrograph[i], tube[i], place[i]) == (*key, s)]
            if here:
                run += here
            elif run:
                runs.append(run)
                run = []
    return [run for run in runs if len(run) >= fewest]


@pytest.mark.parametrize("made", [of_table, of_headers])
@pytest.mark.parametrize("fewest", [1, 3, 6])
def test_runs_are_those_found_by_walking(made: Any, fewest: int) -> None:
    """Definition by brute force, four fifths of the segments asked for."""
    members = np.flatnonzero(np.random.default_rng(1).random(120) < 0.8)
    segments = read_segments(made())
    runs = runs_of(segments, members, fewest)
    expected = by_hand(members, fewest)
    found = [sorted(np.flatnonzero(runs.run == r), key=lambda j: runs.place[j]) for r in range(runs.count)]
    assert sorted(runs.images[f].tolist() for f in found) == sorted(expected)
    assert all(runs.place[f].tolist() == list(range(len(f))) for f in found)
    assert np.array_equal(runs.images, np.sort(runs.images))
    assert runs.before == 5
    assert 1 < len(expected) < len(by_hand(members, 1)) or fewest == 1


def test_columns_of_runs_number_tubes_and_tracks_anew() -> None:
    """Definition: each run is a tube of its micrograph, from 1; its track begins at 0."""
    members = np.flatnonzero(np.random.default_rng(1).random(120) < 0.8)
    micrograph, tube, place = tubes()
    runs = runs_of(read_segments(of_table()), members, 3)
    new, track_A = runs.columns["rlnHelicalTubeID"], runs.columns["rlnHelicalTrackLengthAngst"]
    mine = micrograph[runs.images]
    for m in (0, 1):
        of_run = {int(r): set(new[runs.run == r].tolist()) for r in np.unique(runs.run[mine == m])}
        assert sorted(next(iter(ids)) for ids in of_run.values()) == list(range(1, len(of_run) + 1))
        assert all(len(ids) == 1 for ids in of_run.values())
    for r in range(runs.count):
        steps = track_A[runs.run == r] / STEP_A
        own = place[runs.images][runs.run == r]
        assert np.allclose(steps, own - own.min(), atol=1e-6)
        assert len(set(zip(mine[runs.run == r], tube[runs.images][runs.run == r], strict=True))) == 1
    assert runs_of(read_segments(of_headers()), members, 3).columns == {}


def test_attributes_of_runs_name_filaments_anew() -> None:
    """Definition: as many names as runs, segments counted from 0."""
    runs = runs_of(read_segments(of_headers()), np.arange(120), 1)
    assert len(set(runs.attributes["filament"].tolist())) == runs.count == 5
    assert runs.attributes["segment_id"] is runs.place


def test_no_run_is_long_enough() -> None:
    """Definition."""
    assert runs_of(read_segments(of_table()), np.arange(120), 31).count == 0


def test_what_tells_of_no_filaments_is_refused() -> None:
    """Definition: the columns or attributes that are missing are named."""
    with pytest.raises(DataError, match="rlnHelicalTubeID, rlnHelicalTrackLengthAngst"):
        read_segments(particles(n=2, metadata=Metadata(Table({}).with_column("rlnMicrographName", ["a", "b"]))))
    with pytest.raises(DataError, match="filament and segment_id"):
        read_segments(particles(n=2))
    with pytest.raises(DataError, match="image 1 has no"):
        read_segments(particles(n=2, attributes={"filament": ["a", None], "segment_id": [0, 1]}))
