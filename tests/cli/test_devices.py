"""``cryoisac devices``: what it says is what the engine does."""

import os

import numpy as np
import pytest

from cryoisac.cli import devices
from cryoisac.cli import main as cli
from cryoisac.engine.native import INSTRUCTIONS, instruction_sets
from cryoisac.settings import Isac


def shown(capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    """Return the rows of the table by name, checking that they are aligned."""
    assert cli.run(["devices"]) == 0
    rows = capsys.readouterr().out.splitlines()
    names = [row.split()[0] for row in rows]
    column = max(map(len, names)) + 2
    assert all(row[:column].strip() == name and row[column] != " " for row, name in zip(rows, names, strict=True))
    return {name: row[column:] for row, name in zip(rows, names, strict=True)}


@pytest.mark.parametrize("chosen", instruction_sets())
def test_definition_instructions(
    chosen: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Definition: the set in use is the one that the variable names, and all that run here are listed."""
    monkeypatch.setenv(INSTRUCTIONS, chosen)
    text = shown(capsys)["instructions"]
    assert text.startswith(f"{chosen} ")
    assert all(name in text for name in instruction_sets())


def test_definition_best_instructions_by_default(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Definition: without the variable the best set is used."""
    monkeypatch.delenv(INSTRUCTIONS, raising=False)
    assert shown(capsys)["instructions"].startswith(f"{instruction_sets()[0]} ")


def test_unknown_instructions_are_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Definition: one line that says which sets there are."""
    monkeypatch.setenv(INSTRUCTIONS, "mmx")
    assert cli.run(["devices"]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert "'mmx' does not run here" in said.err
    assert instruction_sets()[0] in said.err


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="the system has no processor affinity")
def test_definition_threads_are_those_of_the_affinity(capsys: pytest.CaptureFixture[str]) -> None:
    """Definition: a process that may use one processor is told one thread."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        assert shown(capsys)["threads"] == "1"
    finally:
        os.sched_setaffinity(0, allowed)
    assert shown(capsys)["threads"] == str(len(allowed))


def test_definition_images_that_fit(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Definition: so many arrays of the default working size take up the memory, and one more does not fit."""
    side, memory = Isac(method="isac2").box_px, 10_000_000
    count = devices.images_that_fit(memory, side)
    assert np.empty((count, side, side), np.float32).nbytes <= memory
    assert np.empty((count + 1, side, side), np.float32).nbytes > memory
    monkeypatch.setattr(devices, "available_memory_bytes", lambda: memory)
    rows = shown(capsys)
    assert rows["memory"] == "10 MB free"
    assert rows["images"] == f"{count:,} of {side} px fit into it, {count // 200:,} classes of 200"


def test_memory_that_is_not_known_is_said_to_be(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Definition: where the system does not say, nothing is made up."""
    monkeypatch.setattr(devices, "available_memory_bytes", lambda: None)
    rows = shown(capsys)
    assert rows["memory"] == "unknown"
    assert "images" not in rows
