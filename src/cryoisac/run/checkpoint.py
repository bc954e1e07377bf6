"""States on disk: a nested frozen dataclass to one file and back, whole or absent."""

import json
import types
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np

from cryoisac.errors import RunError
from cryoisac.io.atomic import write_whole

T = TypeVar("T")

PLAIN = "plain"


def save(path: Path, state: Any) -> None:
    """Write a state: arrays as arrays, everything else as JSON, nothing pickled.

    Parameters
    ----------
    path : Path
        File to write or replace, ``.npz``.
    state : dataclass
        Frozen dataclass of arrays, numbers, texts, ``None``, tuples of dataclasses of plain values, and further such
        dataclasses.
    """
    arrays: dict[str, Any] = {}
    plain = _flatten(state, "", arrays)
    arrays[PLAIN] = np.frombuffer(json.dumps(plain).encode(), dtype=np.uint8)

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            np.savez(file, **arrays)

    write_whole(path, write)


def load(path: Path, kind: type[T]) -> T | None:
    """Return the state of type ``kind`` that was saved in ``path``, or ``None`` where there is no such file.

    Raises
    ------
    RunError
        Where the file is not a state of this type.
    """
    if not path.exists():
        return None
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as saved:
            arrays = {name: saved[name] for name in saved.files}
        plain = json.loads(bytes(arrays.pop(PLAIN)).decode())
        state: T = _build(kind, plain, "", arrays)
    except Exception as error:  # zipfile and NumPy raise nearly anything on a damaged file
        raise RunError(
            path, f"is damaged or not a checkpoint of this program ({error}); delete it and give the same command again"
        ) from error
    return state


def _flatten(value: Any, name: str, arrays: dict[str, Any]) -> Any:
    """Return the plain part of ``value`` and put its arrays into ``arrays`` under dotted names."""
    if is_dataclass(value):
        return {f.name: _flatten(getattr(value, f.name), f"{name}.{f.name}", arrays) for f in fields(value)}
    if isinstance(value, np.ndarray):
        arrays[name] = value
        return None
    if isinstance(value, tuple):
        return [_flatten(item, f"{name}.{i}", arrays) for i, item in enumerate(value)]
    return value


def _build(kind: Any, plain: Any, name: str, arrays: dict[str, Any]) -> Any:
    """Return a value of type ``kind`` from its plain part and its arrays."""
    if name in arrays:
        return arrays[name]
    if get_origin(kind) is np.ndarray:
        raise KeyError(name)
    if get_origin(kind) in (Union, types.UnionType):
        if plain is None:
            return None
        kind = next(k for k in get_args(kind) if k is not type(None))
    if is_dataclass(kind) and isinstance(kind, type):
        hints = get_type_hints(kind)
        return kind(**{f.name: _build(hints[f.name], plain[f.name], f"{name}.{f.name}", arrays) for f in fields(kind)})
    if get_origin(kind) is tuple:
        item = get_args(kind)[0]
        return tuple(_build(item, p, f"{name}.{i}", arrays) for i, p in enumerate(plain))
    return plain
