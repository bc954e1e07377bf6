"""The run directory: where everything lies, who may write in it, and what it says of itself."""

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cryoisac import __version__
from cryoisac.errors import RunError
from cryoisac.io.atomic import write_whole
from cryoisac.io.registry import listing_of
from cryoisac.model.particles import ArrayImages, Particles
from cryoisac.settings import Settings, describe

HASHED_BYTES = 1 << 25
PARTIAL = ".*.partial"


@dataclass(frozen=True)
class RunDirectory:
    """Paths of a run.

    Parameters
    ----------
    path : Path
        The directory.
    """

    path: Path

    @property
    def record(self) -> Path:
        """``run.json``: what the run is, and what came of it."""
        return self.path / "run.json"

    @property
    def states(self) -> Path:
        """Checkpoints."""
        return self.path / "state"

    @property
    def scan(self) -> Path:
        """Which images can be used."""
        return self.states / "scan.npz"

    @property
    def whitening(self) -> Path:
        """Table by which images of a phase plate are whitened."""
        return self.states / "whitening.npz"

    @property
    def prealignment(self) -> Path:
        """Checkpoint of pre-alignment."""
        return self.states / "prealignment.npz"

    @property
    def shrunk_stack(self) -> Path:
        """Images that pre-alignment works on; removed when the working stack is there."""
        return self.states / "shrunk.mrcs"

    @property
    def working_stack(self) -> Path:
        """The working stack."""
        return self.path / "working_stack.mrcs"

    @property
    def isac(self) -> Path:
        """Checkpoint of ISAC."""
        return self.states / "isac.npz"

    @property
    def survey(self) -> Path:
        """Noise power and foreign images, of the likelihood method."""
        return self.states / "survey.npz"

    @property
    def likelihood(self) -> Path:
        """Checkpoint of the likelihood method."""
        return self.states / "likelihood.npz"

    @property
    def starts(self) -> Path:
        """What the starts of the likelihood method came to."""
        return self.states / "starts.npz"

    @property
    def result(self) -> Path:
        """What the likelihood method came to, once it has ended."""
        return self.states / "result.npz"

    @property
    def alignment(self) -> Path:
        """Checkpoint of a multireference or reference-free alignment."""
        return self.states / "alignment.npz"

    def main_end(self, main: int) -> Path:
        """Checkpoint at the end of a main iteration."""
        return self.states / f"main{main:03d}.npz"

    @property
    def log(self) -> Path:
        """What was said, with times; the only file that two equal runs do not share."""
        return self.path / "logs" / "run.log"

    @property
    def lock(self) -> Path:
        """Held by the program that writes."""
        return self.path / "logs" / "lock"

    def read_record(self) -> dict[str, Any] | None:
        """Return what ``run.json`` says, or ``None`` where there is none."""
        if not self.record.exists():
            return None
        try:
            record: dict[str, Any] = json.loads(self.record.read_text(encoding="utf-8"))
            _check_form(record)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise RunError(
                self.record, "is damaged, or not of this program; choose another directory, and leave this one"
            ) from error
        return record

    def check_free(self) -> None:
        """Raise ``RunError`` unless a run can begin here, where there is no record yet.

        Notes
        -----
        Free is what is not there, is empty, or holds no more than a run leaves that was killed as it began.
        """
        home = next(p for p in (self.path, *self.path.absolute().parents) if p.exists())
        if not home.is_dir():
            raise RunError(self.path, f"cannot be made: {home} is not a directory; choose another name")
        if not os.access(home, os.W_OK | os.X_OK):
            raise RunError(self.path, f"cannot be written: no permission for {home}; choose another directory")
        own = {self.states, self.scan, self.log.parent, self.log, self.lock}
        folders = [folder for folder in (self.path, self.states, self.log.parent) if folder.is_dir()]
        for found in (path for folder in folders for path in folder.iterdir()):
            if found not in own and not found.match(PARTIAL):
                raise RunError(self.path, f"holds no run of cryoisac, but {found.name}; choose another directory")

    def write_record(self, record: dict[str, Any]) -> None:
        """Replace ``run.json``."""
        write_text(self.record, json.dumps(record, indent=1, ensure_ascii=False) + "\n")

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the directory, so that no second program writes in it, and clear what a killed one left behind."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self.states.mkdir(exist_ok=True)
        with self.lock.open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise RunError(self.path, "is in use by another run; wait for it, or choose another name") from error
            except OSError as error:
                raise RunError(
                    self.path, f"cannot be locked ({error.strerror}); choose a directory on another file system"
                ) from error
            for left_over in self.path.rglob(PARTIAL):
                left_over.unlink(missing_ok=True)
            yield


def _check_form(record: dict[str, Any]) -> None:
    """Raise ``KeyError``, ``TypeError`` or ``AttributeError`` unless a record has what is read of it."""
    record["given"].keys(), record["settings"].keys(), record["input"]["sha256"], record["input"]["path"]
    if record["status"] == "finished":
        len(record["classes"]), record["counts"]["accounted"] <= record["counts"]["images"]


def write_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all."""
    write_whole(path, lambda temporary: temporary.write_text(text))


def fingerprint(of: Path | Particles) -> str:
    """Return a SHA-256, as hexadecimal text, of a file's size, beginning and end; of a database, of its headers.

    Of particles it is that of the file that named them, or of their pixels where they are in memory.
    """
    if isinstance(of, Particles) and isinstance(of.source, ArrayImages):
        return of.source.digest()
    path = of.path if isinstance(of, Particles) else of
    listing, chosen = listing_of(path)
    size = listing.stat().st_size
    digest = hashlib.sha256(f"{size}{chosen}".encode())
    with listing.open("rb") as file:
        digest.update(file.read(HASHED_BYTES))
        if size > 2 * HASHED_BYTES:
            file.seek(size - HASHED_BYTES)
        digest.update(file.read(HASHED_BYTES))
    return digest.hexdigest()


def check_same(directory: RunDirectory, record: dict[str, Any], settings: Settings, sha256: str) -> None:
    """Raise ``RunError`` unless an existing run has these settings and this input.

    The message names each setting that differs, and its value then and now.
    """
    if record.get("version") != __version__:
        raise RunError(
            directory.path,
            f"was made by cryoisac {record.get('version')}, this is {__version__}; choose another directory",
        )
    now = asdict(settings)
    if record["given"].keys() != now.keys():
        raise RunError(directory.path, "holds the work of another command; choose another directory")
    command = record.get("command", Settings.command)
    if command != settings.command:
        raise RunError(directory.path, f"holds a run of cryoisac {command}; choose another directory")
    differing = [
        f"{d.flag} (then {shown(record['given'].get(d.name))}, now {shown(now[d.name])})"
        for d in describe(type(settings))
        if record["given"].get(d.name) != now[d.name]
    ]
    if differing:
        raise RunError(
            directory.path,
            f"holds a run with other settings: {', '.join(differing)}; "
            "give the same settings to continue it, or choose another directory",
        )
    if record["input"]["sha256"] != sha256:
        raise RunError(
            directory.path,
            f"holds a run on other particles ({record['input']['path']}); choose another directory",
        )


def shown(value: Any) -> str:
    """Return a setting's value as a person would say it."""
    return (
        {None: "automatic", True: "yes", False: "no"}.get(value, str(value))
        if not isinstance(value, int | float) or isinstance(value, bool)
        else f"{value:g}"
    )
