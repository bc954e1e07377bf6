"""Values that Python stored by pickle, read without running anything.

A pickle is a program for a small machine that may call anything. This machine calls nothing: it makes numbers, text and
plain containers, and of an object keeps the name of its class and what it would have been made from.
"""

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

TRANSFORM, CTF = "libpyTransform2.Transform", "libpyAligner2.EMAN2Ctf"
CLASSES = (TRANSFORM, CTF)
NEWEST = 5
STOP = ord(".")
_ESCAPE = re.compile(rb"\\(x[0-9a-fA-F]{2}|.)", re.DOTALL)
_ESCAPES = {b"\\": b"\\", b"'": b"'", b'"': b'"', b"n": b"\n", b"r": b"\r", b"t": b"\t"}


@dataclass(frozen=True, eq=False)
class Instance:
    """An object that was pickled.

    Parameters
    ----------
    kind : str
        Module and name of its class, one of ``CLASSES``.
    parts : list
        What it was to be made from: arguments, then states.
    """

    kind: str
    parts: list[Any]


@dataclass(frozen=True)
class _Class:
    kind: str


class _Machine:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0
        self.stack: list[Any] = []
        self.outer: list[list[Any]] = []  # stacks below each mark
        self.memo: dict[int, Any] = {}

    def take(self, count: int) -> bytes:
        end = self.at + count
        if end > len(self.data):
            raise ValueError("ends in the middle of a value")
        taken = self.data[self.at : end]
        self.at = end
        return taken

    def byte(self) -> int:
        value = self.data[self.at]
        self.at += 1
        return value

    def number(self, form: struct.Struct) -> Any:
        (value,) = form.unpack_from(self.data, self.at)
        self.at += form.size
        return value

    def line(self) -> bytes:
        end = self.data.find(b"\n", self.at)
        if end < 0:
            raise ValueError("ends in the middle of a line")
        taken = self.data[self.at : end]
        self.at = end + 1
        return taken

    def above_mark(self) -> list[Any]:
        above = self.stack
        self.stack = self.outer.pop()
        return above


def unpickle(data: bytes) -> Any:
    """Return what a pickle of any protocol, of Python 2 or 3, holds.

    Returns
    -------
    None, bool, int, float, str, bytes, list, tuple, dict or Instance
        Text of Python 2 is ``str``.

    Raises
    ------
    ValueError
        Saying why the pickle is not read: it is damaged, or would make or call what no image header needs.

    Notes
    -----
    What is made takes memory and time in proportion to ``data``: nothing is called, numbers in the pickle size nothing,
    and keys are text or whole numbers.
    """
    machine = _Machine(data)
    try:
        while (code := machine.byte()) != STOP:
            act = _OPERATIONS.get(code)
            if act is None:
                raise ValueError(f"has an operation {bytes([code])!r} that no image header needs")
            act(machine)
        return machine.stack.pop()
    except (IndexError, KeyError, TypeError, AttributeError, struct.error, UnicodeError) as error:
        raise ValueError("is damaged") from error


def _pushes(make: Callable[[_Machine], Any]) -> Callable[[_Machine], None]:
    def push(m: _Machine) -> None:
        value = make(m)  # before the stack is looked up, which it may replace
        m.stack.append(value)

    return push


def _text(octets: bytes) -> str:
    """Return text of Python 2, which does not say its encoding."""
    try:
        return octets.decode()
    except UnicodeDecodeError:
        return octets.decode("latin-1")


def _quoted(m: _Machine) -> str:
    """Return text as Python 2 shows it."""
    line = m.line().rstrip()
    if len(line) < 2 or line[:1] not in (b"'", b'"') or line[-1:] != line[:1]:
        raise TypeError
    return _text(_ESCAPE.sub(_unescaped, line[1:-1]))


def _unescaped(match: re.Match[bytes]) -> bytes:
    escape = match[1]
    return bytes([int(escape[1:], 16)]) if len(escape) == 3 else _ESCAPES[escape]


def _whole_line(m: _Machine) -> int | bool:
    line = m.line()
    return line == b"01" if line in (b"00", b"01") else int(line.rstrip(b"L"))


def _class(module: str, name: str) -> _Class:
    kind = f"{module}.{name}"
    if kind not in CLASSES:
        raise ValueError(f"would make or call {kind!r}; of classes only EMAN2's Transform and EMAN2Ctf are read")
    return _Class(kind)


def _stacked_class(m: _Machine) -> _Class:
    name, module = m.stack.pop(), m.stack.pop()
    if not isinstance(module, str) or not isinstance(name, str):
        raise TypeError
    return _class(module[:80], name[:80])


def _make(m: _Machine) -> Instance:
    arguments, made = m.stack.pop(), m.stack.pop()
    if not isinstance(made, _Class) or not isinstance(arguments, tuple):
        raise TypeError
    return Instance(made.kind, list(arguments))


def _build(m: _Machine) -> None:
    state, instance = m.stack.pop(), m.stack[-1]
    if not isinstance(instance, Instance):
        raise TypeError
    instance.parts.append(state)


def _filled(target: Any, pairs: list[Any]) -> Any:
    if not isinstance(target, dict) or len(pairs) % 2:
        raise TypeError
    for key, value in zip(pairs[::2], pairs[1::2], strict=True):
        if not isinstance(key, (str, int, bytes)):  # the hash of a nest of tuples may take for ever
            raise ValueError(f"has a {type(key).__name__} as a key")
        target[key] = value
    return target


def _extended(target: Any, items: list[Any]) -> None:
    if not isinstance(target, list):
        raise TypeError
    target += items


def _set_item(m: _Machine) -> None:
    value, key = m.stack.pop(), m.stack.pop()
    _filled(m.stack[-1], [key, value])


def _set_items(m: _Machine) -> None:
    pairs = m.above_mark()
    _filled(m.stack[-1], pairs)


def _append(m: _Machine) -> None:
    item = m.stack.pop()
    _extended(m.stack[-1], [item])


def _appends(m: _Machine) -> None:
    items = m.above_mark()
    _extended(m.stack[-1], items)


def _mark(m: _Machine) -> None:
    m.outer.append(m.stack)
    m.stack = []


def _tuple_of(count: int) -> Callable[[_Machine], None]:
    def make(m: _Machine) -> None:
        items = [m.stack.pop() for _ in range(count)]
        m.stack.append(tuple(reversed(items)))

    return make


def _protocol(m: _Machine) -> None:
    if (protocol := m.byte()) > NEWEST:
        raise ValueError(f"is of protocol {protocol}, which is not read")


def _memoize(number: Callable[[_Machine], int]) -> Callable[[_Machine], None]:
    def put(m: _Machine) -> None:
        m.memo[number(m)] = m.stack[-1]

    return put


def _reads(form: str) -> Callable[[_Machine], Any]:
    compiled = struct.Struct(form)
    return lambda m: m.number(compiled)


def _sized(count: Callable[[_Machine], int]) -> Callable[[_Machine], bytes]:
    return lambda m: m.take(count(m))


def _decoded(count: Callable[[_Machine], int]) -> Callable[[_Machine], None]:
    return _pushes(lambda m: m.take(count(m)).decode("utf-8", "surrogatepass"))


_byte = _Machine.byte
_count = _reads("<I")
_long_count = _reads("<Q")
_OPERATIONS: dict[int, Callable[[_Machine], None]] = {
    ord(code): act
    for code, act in {
        b"\x80": _protocol,
        b"\x95": lambda m: _long_count(m),  # a frame, which only helps to read from a stream
        b"(": _mark,
        b"N": _pushes(lambda m: None),
        b"\x88": _pushes(lambda m: True),
        b"\x89": _pushes(lambda m: False),
        b"I": _pushes(_whole_line),
        b"L": _pushes(_whole_line),
        b"F": _pushes(lambda m: float(m.line())),
        b"J": _pushes(_reads("<i")),
        b"K": _pushes(_byte),
        b"M": _pushes(_reads("<H")),
        b"\x8a": _pushes(lambda m: int.from_bytes(m.take(_byte(m)), "little", signed=True)),
        b"\x8b": _pushes(lambda m: int.from_bytes(m.take(_count(m)), "little", signed=True)),
        b"G": _pushes(_reads(">d")),
        b"S": _pushes(_quoted),
        b"T": _pushes(lambda m: _text(m.take(_count(m)))),
        b"U": _pushes(lambda m: _text(m.take(_byte(m)))),
        b"V": _pushes(lambda m: m.line().decode("raw-unicode-escape")),
        b"X": _decoded(_count),
        b"\x8c": _decoded(_byte),
        b"\x8d": _decoded(_long_count),
        b"B": _pushes(_sized(_count)),
        b"C": _pushes(_sized(_byte)),
        b"\x8e": _pushes(_sized(_long_count)),
        b"]": _pushes(lambda m: []),
        b"l": _pushes(lambda m: m.above_mark()),
        b"a": _append,
        b"e": _appends,
        b")": _pushes(lambda m: ()),
        b"t": _pushes(lambda m: tuple(m.above_mark())),
        b"\x85": _tuple_of(1),
        b"\x86": _tuple_of(2),
        b"\x87": _tuple_of(3),
        b"}": _pushes(lambda m: {}),
        b"d": _pushes(lambda m: _filled({}, m.above_mark())),
        b"s": _set_item,
        b"u": _set_items,
        b"g": _pushes(lambda m: m.memo[int(m.line())]),
        b"h": _pushes(lambda m: m.memo[_byte(m)]),
        b"j": _pushes(lambda m: m.memo[_count(m)]),
        b"p": _memoize(lambda m: int(m.line())),
        b"q": _memoize(_byte),
        b"r": _memoize(_count),
        b"\x94": _memoize(lambda m: len(m.memo)),
        b"c": _pushes(lambda m: _class(_text(m.line())[:80], _text(m.line())[:80])),
        b"\x93": _pushes(_stacked_class),
        b"R": _pushes(_make),
        b"\x81": _pushes(_make),
        b"b": _build,
    }.items()
}
