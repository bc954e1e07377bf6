"""Pickles, read without running anything."""

import os
import pickle
import pickletools
import subprocess
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cryoisac.io.bdb_pickle import CTF, TRANSFORM, Instance, unpickle
from tests.io.berkeley import EMAN2Ctf, Transform, pickled

SIMPLE = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()


def nested(simple: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return containers of containers of simple values."""
    return st.recursive(
        simple,
        lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text() | st.integers(), inner),
        max_leaves=8,
    )


@settings(max_examples=60, deadline=None)
@given(value=nested(SIMPLE | st.binary()), protocol=st.integers(3, 5))
def test_values_as_python_reads_them(value: Any, protocol: int) -> None:
    """Independent program: Python's own pickle."""
    assert unpickle(pickle.dumps(value, protocol)) == value


@settings(max_examples=60, deadline=None)
@given(value=nested(SIMPLE), protocol=st.integers(0, 2))
def test_values_in_old_protocols(value: Any, protocol: int) -> None:
    """Independent program: protocols that Python 2 wrote, in which bytes are a call."""
    assert unpickle(pickle.dumps(value, protocol)) == value


def test_text_of_python_2() -> None:
    """Known truth: its str in every protocol, its unicode, its long."""
    for stored in (
        b"U\x03abc.",
        b"T\x03\0\0\0abc.",
        b"S'abc'\np0\n.",
        b'S"abc"\n.',
        b"Vabc\n.",
        b"\x80\x02X\3\0\0\0abc.",
    ):
        assert unpickle(stored) == "abc"
    assert unpickle(b"S'it\\'s\\n\\x41\\\\'\n.") == "it's\nA\\"
    assert unpickle(b"U\x01\xe9.") == "é"  # not UTF-8: Latin-1
    assert unpickle(b"(L12L\nI01\nI7\nl.") == [12, True, 7]


class Evil:
    """What an attacker stores."""

    def __init__(self, call: Any, *arguments: Any) -> None:
        self.call, self.arguments = call, arguments

    def __reduce__(self) -> Any:
        return self.call, self.arguments


@pytest.mark.parametrize("protocol", range(6))
def test_calls_are_refused_and_not_made(tmp_path: Path, protocol: int) -> None:
    """Known truth: programs that Python would run do nothing here; the message names what was asked for."""
    mark = tmp_path / "ran"
    for attack in (
        Evil(os.system, f"touch {mark}"),
        Evil(eval, f"open({str(mark)!r}, 'w')"),
        Evil(subprocess.Popen, ["touch", str(mark)]),
        Evil(getattr, Path, "unlink"),
        Evil(exec, "1"),
        {"ctf": Evil(os.mkdir, str(mark))},
        OrderedDict(a=1),
        complex(1, 2),
    ):
        with pytest.raises(ValueError, match="would make or call"):
            unpickle(pickle.dumps(attack, protocol))
    assert not mark.exists()


def test_attacks_on_the_machine() -> None:
    """Definition: nothing made by an allowed class is called, and no number in a pickle sizes anything."""
    transform = b"clibpyTransform2\nTransform\n"
    for attack in (
        b"cos\nsystem\n(S'true'\ntR.",
        b"cposix\nsystem\n(S'true'\ntR.",
        b"\x8c\x02os\x8c\x06system\x93)R.",
        b"(S'true'\nios\nsystem\n.",  # INST
        b"(cos\nsystem\nS'true'\no.",  # OBJ
        b"\x82\x01.",  # EXT1
        b"P0\n.",  # a persistent object
        transform + b"}b.",  # the state of a class
        transform + b")R)R.",  # an object that is called
        transform + b".",
        b"S'a'\n)R.",
        b"K\1K\2s.",
        b"\x8b\xff\xff\xff\x7f.",
        b"B\xff\xff\xff\xff.",
        b"\x8e" + b"\xff" * 8 + b".",
        b"h\0.",
        b"\x80\x06N.",
        b"",
        b"N",
        b".",
        b"0",
        b"}))s.",  # a tuple as a key
    ):
        if attack == transform + b".":
            assert not isinstance(unpickle(attack), Instance)
            continue
        with pytest.raises(ValueError, match=r"\w"):
            unpickle(attack)
    assert unpickle(b"Nr\xff\xff\xff\xff.") is None  # Python takes 32 GiB for this


def test_objects_of_eman2() -> None:
    """Known truth: what they were made from, as arguments or as state, seen twice as one."""
    twelve = [float(i) for i in range(12)]
    for transform in (Transform(twelve), Transform(twelve, as_state=False)):
        made = unpickle(pickled({"xform.align2d": transform, "again": transform}))
        assert made["xform.align2d"] is made["again"]
        assert made["again"].kind == TRANSFORM
        assert made["again"].parts == [twelve]
    assert unpickle(pickled(EMAN2Ctf([1.5, 0.0]))).kind == CTF


@settings(max_examples=300, deadline=1000)
@given(
    flips=st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=4), cut=st.integers(0)
)
def test_damage_is_read_or_refused(flips: list[tuple[int, int]], cut: int) -> None:
    """Known truth: no damage raises anything but ValueError, or takes long."""
    header = {f"a{i}": [i, i / 3, "x" * i, (i,)] for i in range(20)} | {"t": Transform([0.0] * 12)}
    content = bytearray(pickled(header))
    for at, value in flips:
        content[at % len(content)] = value
    try:
        unpickle(bytes(content[: cut or None]))
    except ValueError as error:
        assert len(str(error)) < 4000  # noqa: PT017


def test_every_operation_is_known_to_python() -> None:
    """Independent program: operations are those of pickletools."""
    from cryoisac.io.bdb_pickle import _OPERATIONS

    assert set(_OPERATIONS) < {ord(code.code) for code in pickletools.opcodes}
