"""Progress and cancellation by a caller's callback."""

from collections.abc import Callable, Iterable
from difflib import get_close_matches
from typing import Any, TypeVar

from cryoisac.engine.devices import MEMORY_SHARE, USUAL, choose_devices
from cryoisac.errors import Cancelled, SettingError
from cryoisac.run.call import Call
from cryoisac.settings import Settings, describe

Callback = Callable[[str, int, int | None], object]
Chosen = TypeVar("Chosen", bound=Settings)


class Told:
    """Passes progress on to ``callback(stage, done, total)``, and stops where that returns ``False``.

    Parameters
    ----------
    callback : callable
        Told of each stage as it begins, and of work done in it; ``total`` is ``None`` where the end is not known, and
        an estimate where a stage may take longer.

    Raises
    ------
    Cancelled
        From any method, where the callback returns ``False``.
    """

    def __init__(self, callback: Callback) -> None:
        self._callback = callback
        self._stage, self._done = "", 0
        self._total: int | None = None

    def _tell(self) -> None:
        done = self._done if self._total is None else min(self._done, self._total)
        if self._callback(self._stage, done, self._total) is False:
            raise Cancelled

    def stage(self, name: str, total: int | None = None, unit: str = "") -> None:
        """Tell of a stage that begins."""
        self._stage, self._done, self._total = name, 0, total
        self._tell()

    def advance(self, amount: int = 1) -> None:
        """Tell of work done."""
        self._done += amount
        self._tell()

    def detail(self, text: str) -> None:
        """Give an opportunity to stop."""
        self._tell()

    def note(self, text: str) -> None:
        """Say nothing."""


def progress_of(callback: Callback | None) -> Told | None:
    """Return what passes progress on to a callback, or ``None`` where there is none."""
    return None if callback is None else Told(callback)


def called(given: dict[str, Any]) -> tuple[dict[str, Any], Call]:
    """Return settings without those that say what computes, ``device`` and ``gpu_memory_use``, and what these say.

    Raises
    ------
    SettingError
        If a device is none, or a share of memory is none.
    DeviceError
        If a device cannot be used.
    """
    rest = {name: value for name, value in given.items() if name not in ("device", "gpu_memory_use")}
    devices = choose_devices(str(given.get("device", USUAL)), float(given.get("gpu_memory_use", MEMORY_SHARE)))
    return rest, Call(devices=devices)


def chosen(kind: type[Chosen], given: dict[str, Any]) -> Chosen:
    """Return settings of a kind; numbers and lists where the command line wants words become words.

    Raises
    ------
    SettingError
        If there is no setting of a name, or a value is out of range.
    """
    known = {d.name: d for d in describe(kind)}
    for name in given:
        if name not in known:
            close = get_close_matches(name, known, 1)
            raise SettingError(name, f"is no setting; did you mean {close[0]}?" if close else "is no setting")
    return kind(**{name: _spelled(known[name].type, value) for name, value in given.items()})


def _spelled(kind: type, value: Any) -> Any:
    """Return a value as its setting is spelled."""
    if kind is str and isinstance(value, Iterable) and not isinstance(value, str):
        return " ".join(f"{number:g}" for number in value)
    if kind is str and isinstance(value, int | float) and not isinstance(value, bool):
        return f"{value:g}"
    return value.item() if hasattr(value, "item") else value
