"""What a run says: a live line with time left on a terminal, plain timestamped lines elsewhere."""

import sys
import time
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from types import TracebackType
from typing import TYPE_CHECKING, TextIO

from rich.console import Console
from rich.progress import BarColumn, ProgressColumn, Task, TaskID, TextColumn
from rich.progress import Progress as Bars
from rich.table import Column
from rich.text import Text

if TYPE_CHECKING:
    from cryoisac.workflow.isac import Outcome

QUIET_SECONDS = 30.0


class Done(ProgressColumn):
    """How much of the stage is done, and how long the rest will take; nothing where the end is not known."""

    def __init__(self) -> None:
        super().__init__(Column(no_wrap=True))

    def render(self, task: Task) -> Text:
        """Return ``3/35 passes, 0:00:12 left``."""
        if not task.total:
            return Text("")
        left = "" if task.time_remaining is None else f", {timedelta(seconds=int(task.time_remaining))} left"
        return Text(f"{task.completed:.0f}/{task.total:.0f} {task.fields['unit']}{left}")


class Terminal:
    """Shows the present stage as one live line, and notes above it. A context manager."""

    def __init__(self, console: Console) -> None:
        self._bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(bar_width=10),
            Done(),
            console=console,
            transient=True,
        )
        self._task: TaskID | None = None

    def __enter__(self) -> "Terminal":
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def stage(self, name: str, total: int | None = None, unit: str = "") -> None:
        """Replace the live line."""
        if self._task is not None:
            self._bars.remove_task(self._task)
        self._task = self._bars.add_task(name, total=total, unit=unit)

    def advance(self, amount: int = 1) -> None:
        """Move the bar."""
        if self._task is not None:
            self._bars.advance(self._task, amount)

    def detail(self, text: str) -> None:
        """Do nothing: the bar says enough."""

    def note(self, text: str) -> None:
        """Print a line above the bar."""
        self._bars.console.print(text, highlight=False, markup=False, soft_wrap=True)


class Plain:
    """Writes timestamped lines: stages, notes, and now and then how far a long stage has come. A context manager."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._name, self._total, self._unit, self._done = "", 0, "", 0
        self._begun = self._said = time.monotonic()

    def __enter__(self) -> "Plain":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._out.flush()

    def stage(self, name: str, total: int | None = None, unit: str = "") -> None:
        """Write the name of the stage."""
        self._name, self._total, self._unit, self._done = name, total or 0, unit, 0
        self._begun = self._said = time.monotonic()
        self.note(name)

    def advance(self, amount: int = 1) -> None:
        """Count, and write a line where none was written for a while."""
        self._done += amount
        now = time.monotonic()
        if self._total and now - self._said > QUIET_SECONDS:
            self._said = now
            left = (now - self._begun) / self._done * (self._total - self._done)
            self.note(f"{self._name}: {self._done} of {self._total} {self._unit}, about {left:.0f} s left")

    def detail(self, text: str) -> None:
        """Do nothing."""

    def note(self, text: str) -> None:
        """Write a line."""
        self._out.write(f"{datetime.now():%H:%M:%S}  {text}\n")
        self._out.flush()


def show(
    play: Callable[["Terminal | Plain"], "Outcome"], summary: Callable[["Outcome"], Iterable[str]], *, what: str
) -> None:
    """Show on the terminal what is played, what came of it, and where its report is.

    Parameters
    ----------
    play : callable
        Given what it tells its progress; returns what came of it.
    summary : callable
        What to say of that, a line each.
    what : str
        What it is, as in "the same command continues this run".
    """
    with shown_on(sys.stdout) as progress:
        try:
            outcome = play(progress)
        except KeyboardInterrupt:
            progress.note(f"Stopped; the same command continues {what}.")
            raise
        for line in summary(outcome):
            progress.note(line)
        progress.note(f"Report: {outcome.report}")


def shown_on(out: TextIO) -> Terminal | Plain:
    """Return what suits ``out``: a live line for a terminal, plain lines for a file or a pipe."""
    return Terminal(Console(file=out)) if out.isatty() else Plain(out)
