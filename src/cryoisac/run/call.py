"""How a run was called: what is written down of it, and the devices that it was asked to use."""

from dataclasses import dataclass
from pathlib import Path

from cryoisac.errors import SettingError


@dataclass(frozen=True, kw_only=True)
class Call:
    """What the caller says besides the settings; the result does not depend on it.

    Parameters
    ----------
    command : str
        The command line, or nothing where there was none.
    gpus : tuple of int
        Numbers of the GPUs to use; empty for none.
    gpu_memory_share : float
        Share of their memory that may be taken.
    """

    command: str = ""
    gpus: tuple[int, ...] = ()
    gpu_memory_share: float = 0.9

    def warnings(self) -> tuple[str, ...]:
        """Return what cannot be done as asked."""
        if not self.gpus:
            return ()
        asked = ", ".join(str(number) for number in self.gpus)
        return (f"No GPU engine is installed: GPU {asked} is not used, the run takes the processor.",)

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
