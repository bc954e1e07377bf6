"""How a run tells what it is doing; what is shown, and where, is decided by who holds the other end."""

from datetime import datetime
from typing import Protocol, TextIO


class Progress(Protocol):
    """Told of stages, of work done in them, and of results worth a line."""

    def stage(self, name: str, total: int | None = None, unit: str = "") -> None:
        """Begin a stage of ``total`` units of work; ``None`` where the end is not known."""

    def advance(self, amount: int = 1) -> None:
        """Count work done in the present stage."""

    def detail(self, text: str) -> None:
        """Say what is being done within the present stage."""

    def note(self, text: str) -> None:
        """Say something that stays: a result, a warning."""


class Silent:
    """Says nothing."""

    def stage(self, name: str, total: int | None = None, unit: str = "") -> None:
        """Do nothing."""

    def advance(self, amount: int = 1) -> None:
        """Do nothing."""

    def detail(self, text: str) -> None:
        """Do nothing."""

    def note(self, text: str) -> None:
        """Do nothing."""


class Logged:
    """Passes everything on, and writes stages and notes into a log with their times.

    Parameters
    ----------
    progress : Progress
        Told of everything.
    log : text file
        Where the lines go.
    """

    def __init__(self, progress: Progress, log: TextIO) -> None:
        self._progress, self._log = progress, log

    def _write(self, text: str) -> None:
        self._log.write(f"{datetime.now():%Y-%m-%d %H:%M:%S}  {text}\n")
        self._log.flush()

    def stage(self, name: str, total: int | None = None, unit: str = "") -> None:
        """Log the stage and pass it on."""
        self._write(name)
        self._progress.stage(name, total, unit)

    def advance(self, amount: int = 1) -> None:
        """Pass it on."""
        self._progress.advance(amount)

    def detail(self, text: str) -> None:
        """Pass it on."""
        self._progress.detail(text)

    def note(self, text: str) -> None:
        """Log the note and pass it on."""
        self._write(text)
        self._progress.note(text)
