"""What a setting is: unit, range, default and meaning, and how classes of them are described and checked."""

from collections.abc import Iterator
from dataclasses import MISSING, Field, dataclass, fields
from typing import Any, ClassVar, get_args, get_origin, get_type_hints

from cryoisac.errors import SettingError


@dataclass(frozen=True)
class Setting:
    """What is known of one setting besides its name, type and default.

    Parameters
    ----------
    meaning : str
        One sentence.
    unit : str
        Unit, or empty.
    at_least, at_most : float, optional
        Inclusive limits.
    choices : tuple of str
        The only values allowed, if any.
    automatic : str
        What a default of ``None`` becomes.
    original : str
        The original program's spelling, where it is not the field's name.
    """

    meaning: str
    unit: str = ""
    at_least: float | None = None
    at_most: float | None = None
    choices: tuple[str, ...] = ()
    automatic: str = ""
    original: str = ""


@dataclass(frozen=True, kw_only=True)
class Described:
    """One setting as commands and pages show it."""

    name: str
    type: type
    default: Any
    setting: Setting
    method: str = ""  # the one it belongs to, where it does not belong to all

    @property
    def flag(self) -> str:
        """The option on the command line."""
        return "--" + self.name.replace("_", "-")


def describe(settings: "type[Settings]") -> Iterator[Described]:
    """Yield the settings of a class in their order."""
    hints = get_type_hints(settings, include_extras=True)
    for f in fields(settings):
        kind, setting = get_args(hints[f.name])[:2]
        yield Described(
            name=f.name, type=_plain(kind), default=_default(f), setting=setting, method=settings.method_of(f.name)
        )


def _plain(kind: Any) -> type:
    """Return ``T`` of ``T | None``."""
    chosen = [k for k in get_args(kind) if k is not type(None)] if get_origin(kind) is not None else [kind]
    plain: type = chosen[0]
    return plain


def default_of(settings: "type[Settings]", name: str) -> Any:
    """Return the default of one setting of a class."""
    return next(_default(f) for f in fields(settings) if f.name == name)


def _default(f: Field[Any]) -> Any:
    return None if f.default is MISSING else f.default


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Base of all settings: checks each value against its ``Setting`` when made; whole numbers become floats."""

    command: ClassVar[str] = "isac"  # whose settings they are

    def __post_init__(self) -> None:
        for d in describe(type(self)):
            value = getattr(self, d.name)
            check(d, value)
            if d.type is float and isinstance(value, int):
                object.__setattr__(self, d.name, float(value))

    @classmethod
    def method_of(cls, name: str) -> str:
        """Return the method that a setting belongs to, or nothing where it belongs to all."""
        return ""


def check(d: Described, value: Any) -> None:
    """Raise ``SettingError`` unless ``value`` is allowed for ``d``."""
    s = d.setting
    if value is None:
        return
    if s.choices and value not in s.choices:
        raise SettingError(d.flag, f"is {value}; choose one of {', '.join(s.choices)}")
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        unit = f" {s.unit}" if s.unit else ""
        if value != value:
            raise SettingError(d.flag, "is not a number")
        if s.at_least is not None and value < s.at_least:
            raise SettingError(d.flag, f"is {value:g}; must be at least {s.at_least:g}{unit}")
        if s.at_most is not None and value > s.at_most:
            raise SettingError(d.flag, f"is {value:g}; must be at most {s.at_most:g}{unit}")
