"""The settings: each is described once, and each limit and conflict is a sentence that names its flag."""

import dataclasses
import math
from typing import Any

import pytest

from cryoisac.errors import SettingError
from cryoisac.settings import (
    Averaging,
    Described,
    Explore,
    Isac,
    Multireference,
    ReferenceFree,
    Settings,
    Simulation,
    Substack,
    check,
    describe,
)
from cryoisac.settings.isac import ISAC2_ONLY, LIKELIHOOD_ONLY

CLASSES: tuple[type[Settings], ...] = (Isac, Simulation, Substack, Explore, Multireference, ReferenceFree, Averaging)
ALL = [pytest.param(c, d, id=f"{c.__name__}.{d.name}") for c in CLASSES for d in describe(c)]


def having(limit: str) -> list[Any]:
    return [p for p in ALL if getattr(p.values[1].setting, limit) not in (None, ())]


@pytest.mark.parametrize("settings", CLASSES)
def test_settings_are_described_in_the_order_of_their_fields(settings: type[Settings]) -> None:
    """Definition."""
    assert [d.name for d in describe(settings)] == [f.name for f in dataclasses.fields(settings)]


@pytest.mark.parametrize(("settings", "d"), ALL)
def test_every_setting_is_described(settings: type[Settings], d: Described) -> None:
    """Definition: one sentence, a known type, a range or choices but for switches, a name for what is automatic."""
    s = d.setting
    assert s.meaning.endswith(".")
    assert s.meaning[0].isupper()
    assert "\n" not in s.meaning
    assert d.type in (bool, int, float, str)
    assert d.type in (bool, str) or s.at_least is not None
    assert d.type is not str or s.choices or s.automatic
    assert bool(s.automatic) == (d.default is None)
    assert not (s.unit and d.type in (bool, str))
    assert d.flag == "--" + d.name.replace("_", "-")


@pytest.mark.parametrize("settings", CLASSES)
def test_defaults_pass_their_own_checks(settings: type[Settings]) -> None:
    """Definition."""
    made = settings()
    for d in describe(settings):
        assert getattr(made, d.name) == d.default
        assert d.default is None or isinstance(d.default, d.type) or (d.type is float and type(d.default) is int)


@pytest.mark.parametrize("settings", CLASSES)
def test_settings_cannot_be_changed_or_given_by_position(settings: type[Settings]) -> None:
    """Definition."""
    name = next(describe(settings)).name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(settings(), name, 5)
    with pytest.raises(TypeError):
        settings(5)  # type: ignore[call-arg]


@pytest.mark.parametrize(("settings", "d"), having("at_least"))
def test_what_is_too_small_is_refused(settings: type[Settings], d: Described) -> None:
    """Definition: the limit itself is allowed, what lies below is not."""
    check(d, d.type(d.setting.at_least))
    for below in (d.setting.at_least - 1, d.type(-math.inf) if d.type is float else -(10**9)):
        with pytest.raises(SettingError, match=rf"^{d.flag}: is .*at least {d.setting.at_least:g}"):
            settings(**{d.name: below})


@pytest.mark.parametrize(("settings", "d"), having("at_most"))
def test_what_is_too_large_is_refused(settings: type[Settings], d: Described) -> None:
    """Definition: the limit itself is allowed, what lies above is not."""
    check(d, d.type(d.setting.at_most))
    for above in (d.setting.at_most + 1, math.inf if d.type is float else 10**12):
        with pytest.raises(SettingError, match=rf"^{d.flag}: is .*at most "):
            settings(**{d.name: above})


@pytest.mark.parametrize(("settings", "d"), [p for p in ALL if p.values[1].type is float])
def test_nan_is_refused(settings: type[Settings], d: Described) -> None:
    """Definition."""
    with pytest.raises(SettingError, match=rf"^{d.flag}: is not a number$"):
        settings(**{d.name: math.nan})


@pytest.mark.parametrize(("settings", "d"), having("choices"))
def test_choices_are_closed(settings: type[Settings], d: Described) -> None:
    """Definition: every choice is allowed, another is refused by naming them all."""
    for choice in d.setting.choices:
        method = {"method": "isac2"} if settings is Isac and d.name in ISAC2_ONLY else {}
        assert getattr(settings(**{**method, d.name: choice}), d.name) == choice
    with pytest.raises(SettingError, match=rf"^{d.flag}: is other; choose one of {', '.join(d.setting.choices)}$"):
        settings(**{d.name: "other"})


@pytest.mark.parametrize(
    ("settings", "given", "flag"),
    [
        (Isac, {"method": "isac2", "FL": 0.3, "FH": 0.29}, "--FH"),
        (Isac, {"method": "isac2", "ir": 30}, "--ir"),
        (Isac, {"target_radius": 37}, "--target-radius"),
        (Isac, {"target_nx": 61}, "--target-radius"),
        (Isac, {"img_per_grp": 50, "minimum_grp_size": 51}, "--minimum-grp-size"),
        (Simulation, {"defocus_min": 2.0, "defocus_max": 1.9}, "--defocus-max"),
        (Simulation, {"box": 64, "max_shift": 32.0}, "--max-shift"),
        (Explore, {"reduction": "pca", "rank": 26}, "--rank"),
        (Explore, {"embedding": "none", "neighbours": 31}, "--neighbours"),
        (Explore, {"target_radius": 12}, "--rank"),
        (Explore, {"rank": 7}, "--n-components"),
        (Simulation, {"phase_shift": 90.0}, "--phase-shift"),
    ],
)
def test_settings_that_disagree_are_refused(settings: type[Settings], given: dict[str, Any], flag: str) -> None:
    """Definition: one test for each conflict, naming the setting to change."""
    with pytest.raises(SettingError, match=rf"^{flag}: .*\d") as caught:
        settings(**given)
    assert caught.value.name == flag
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "given"),
    [
        (Isac, {"method": "isac2", "FL": 0.3, "FH": 0.3}),
        (Isac, {"method": "isac2", "ir": 29}),
        (Isac, {"target_radius": 36}),
        (Isac, {"target_nx": 62}),
        (Isac, {"method": "isac2", "target_nx": 60, "xr": 3}),
        (Isac, {"img_per_grp": 50, "minimum_grp_size": 50}),
        (Isac, {"minimum_grp_size": 1000}),
        (Simulation, {"defocus_min": 2.0, "defocus_max": 2.0}),
        (Simulation, {"box": 64, "max_shift": 31.9}),
        (Explore, {"reduction": "pca", "target_radius": 8}),
        (Explore, {"embedding": "umap", "neighbours": 31}),
        (Explore, {"target_radius": 13}),
        (Explore, {"rank": 7, "n_components": 49}),
        (Simulation, {"ctf": True, "phase_shift": 180.0}),
        (Isac, {"method": "isac2", "filament_width": 20.0, "filament_mask_ignore": True}),
        (Isac, {"filament_width": 20.0}),
    ],
)
def test_settings_that_just_agree_are_taken(settings: type[Settings], given: dict[str, Any]) -> None:
    """Definition: the limits of the conflicts above belong to what is allowed."""
    made = settings(**given)
    assert {name: getattr(made, name) for name in given} == given


@pytest.mark.parametrize(
    ("name", "method"), [(n, "isac2") for n in LIKELIHOOD_ONLY] + [(n, "likelihood") for n in ISAC2_ONLY]
)
def test_settings_of_the_other_method_are_refused(name: str, method: str) -> None:
    """Definition: one that is not at its default belongs to the other method, which the sentence names."""
    d = next(d for d in describe(Isac) if d.name == name)
    other = next(c for c in d.setting.choices if c != d.default) if d.setting.choices else None
    value = other or (not d.default if d.type is bool else d.type(d.setting.at_least))
    if value == d.default:
        value += 1
    belongs = "isac2" if method == "likelihood" else "likelihood"
    with pytest.raises(SettingError, match=rf"^{d.flag}: belongs to --method {belongs}; "):
        Isac(method=method, **{name: value})
    assert Isac(method=method, **{name: d.default}).method == method


def test_settings_that_need_or_exclude_another_are_refused() -> None:
    """Definition: a phase plate's images are flipped once, and a bar is ignored only where there is one."""
    with pytest.raises(SettingError, match="leave out one of --CTF and --VPP"):
        Isac(method="isac2", ctf=True, vpp=True)
    with pytest.raises(SettingError, match=r"^--filament-mask-ignore: needs --filament-width"):
        Isac(method="isac2", filament_mask_ignore=True)


def test_the_advice_for_a_radius_that_does_not_fit_is_right() -> None:
    """Definition: the radius that the message proposes is the largest that is taken."""
    with pytest.raises(SettingError) as caught:
        Isac(method="isac2", target_radius=50)
    advised = int(str(caught.value).split("lower it to ")[1].split()[0])
    assert Isac(method="isac2", target_radius=advised).target_radius == advised
    with pytest.raises(SettingError):
        Isac(method="isac2", target_radius=advised + 1)


@pytest.mark.parametrize(("xr", "box"), [(0, 76), (0.5, 76), (1, 76), (2, 77), (3.5, 78)])
def test_the_working_box_grows_with_the_shift_range(xr: float, box: int) -> None:
    """Definition: xr - 1 is added, and never less than nothing."""
    assert Isac(method="isac2", xr=xr).box_px == box


def test_the_y_range_follows_the_x_range_unless_given() -> None:
    """Definition."""
    assert Isac(method="isac2", xr=3).y_range_px == 3
    assert Isac(method="isac2", xr=3, yr=0).y_range_px == 0
