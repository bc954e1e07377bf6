"""How a run was called: what is written down of it, and the devices that it was asked to use."""

from dataclasses import dataclass
from pathlib import Path

from cryoisac.engine.devices import PROCESSOR, Devices
from cryoisac.errors import SettingError


@dataclass(frozen=True, kw_only=True)
class Call:
    """What the caller says besides the settings; the result depends on it only by the rounding of devices.

    Parameters
    ----------
    command : str
        The command line, or nothing where there was none.
    devices : Devices
        What computes.
    without : str
        Why the GPUs that were asked for are not used, if so.
    """

    command: str = ""
    devices: Devices = PROCESSOR
    without: str = ""

    def warnings(self, threads: int | None = None) -> tuple[str, ...]:
        """Return what cannot be done as asked; with the number of threads that do it otherwise, where it is told."""
        if not self.without:
            return ()
        by = f" with {threads} thread{'s' * (threads > 1)}" if threads else ""
        return (f"No GPU is used: {self.without}. All is computed on the processor{by}.",)

    def write_down(self, path: Path) -> None:
        """Append the command line to a file."""
        if self.command:
            with path.open("a", encoding="utf-8") as file:
                file.write(f"{self.command}\n")


def gpu_numbers(text: str) -> tuple[int, ...]:
    """Return the numbers in a list such as ``0,1``; nothing where it is empty.

    Raises
    ------
    SettingError
        If they are no list of different numbers from 0.
    """
    words = [word.strip() for word in text.split(",")] if text.strip() else []
    if not all(word.isdecimal() for word in words) or len({int(word) for word in words}) < len(words):
        raise SettingError("--gpu_devices", f"is '{text}'; give the numbers of GPUs between commas, as 0,1")
    return tuple(int(word) for word in words)


def memory_share(share: float) -> float:
    """Return a share of memory after checking it.

    Raises
    ------
    SettingError
        Unless it is more than 0 and at most 1.
    """
    if not 0 < share <= 1:
        raise SettingError("--gpu_memory_use", f"is {share:g}; give a share of the memory, more than 0 and at most 1")
    return share
