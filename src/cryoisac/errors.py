"""Every exception that this package raises on purpose.

::

    CryoisacError                 one line: where, what, what to do
    ├── FormatError(path)         a file is not what it claims to be
    ├── DataError(where)          an image or a table cannot be used: NaN, constant, non-square, too few
    ├── SettingError(name)        a setting is out of range, or two settings disagree
    ├── RunError(directory)       a run directory does not fit what is asked of it
    ├── DeviceError(device)       a device is missing, or has too little memory
    └── Cancelled                 a caller's callback asked to stop
"""

from pathlib import Path


class CryoisacError(Exception):
    """A mistake in the input, not in the program; printed by the command line as one line."""


class FormatError(CryoisacError):
    """A file is not what it claims to be.

    Parameters
    ----------
    path : Path
        The file.
    problem : str
        What is wrong, and what to do.
    line : int, optional
        Line of a text file, from 1.
    """

    def __init__(self, path: str | Path, problem: str, *, line: int | None = None) -> None:
        where = f"{path}:{line}" if line is not None else f"{path}"
        super().__init__(f"{where}: {problem}")
        self.path, self.line = Path(path), line


class DataError(CryoisacError):
    """Images or tables that cannot be used.

    Parameters
    ----------
    where : str
        The file, and the row where there is one.
    problem : str
        What is wrong, and what to do.
    """

    def __init__(self, where: str | Path, problem: str) -> None:
        super().__init__(f"{where}: {problem}")


class SettingError(CryoisacError):
    """A setting is out of range, or two settings disagree.

    Parameters
    ----------
    name : str
        The setting, as the user spells it.
    problem : str
        What is wrong, and what to do.
    """

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(f"{name}: {problem}")
        self.name = name


class RunError(CryoisacError):
    """A run directory does not fit what is asked of it.

    Parameters
    ----------
    directory : Path
        The run directory.
    problem : str
        What is wrong, and what to do.
    """

    def __init__(self, directory: str | Path, problem: str) -> None:
        super().__init__(f"{directory}: {problem}")


class DeviceError(CryoisacError):
    """A device is missing, or has too little memory.

    Parameters
    ----------
    device : str
        The device, as the user spells it.
    problem : str
        What is wrong, and what to do.
    """

    def __init__(self, device: str, problem: str) -> None:
        super().__init__(f"{device}: {problem}")


class Cancelled(CryoisacError):
    """A caller's callback asked to stop; raised by the callback itself, or for it where it returned ``False``."""

    def __init__(self, problem: str = "stopped by the callback") -> None:
        super().__init__(problem)
