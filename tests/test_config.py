"""Sections of a configuration against the signatures that they configure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from muskie.config import Sections, check_section, defaults, required, resolve_target, schema
from muskie.errors import ConfigError
from muskie.schedule import Ramp


@dataclass(frozen=True)
class Oven:
    heat: float
    trays: Sequence[int] = (1,)
    label: str = ""
    timer: int | None = None

    def __post_init__(self) -> None:
        if self.heat > 300:
            raise ConfigError(f"oven.heat={self.heat}: too hot")


class Cake:
    def __init__(self, sugar: float = 1.0, layers: int = 2, *, glaze: bool = False) -> None:
        if sugar < 0:
            raise ConfigError(f"cake.sugar={sugar}: expected 0 or more")
        self.sugar, self.layers, self.glaze = sugar, layers, glaze


def bake(flour: Any, *extra: int, unknown: Nowhere = None, **more: int) -> None:  # type: ignore[name-defined]  # noqa: F821
    """A function whose annotations cannot be resolved."""


OVENS = Sections(
    fixed={"oven": Oven, "cake": Cake}, arguments={"shop": {"name": str, "shelf": {"width": int}}}, open=("free",)
)
ROOT = {"seed": int, "folder": str | None}


def problems(**config: Any) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        OVENS.build(config, ROOT)
    return str(raised.value).splitlines()


def test_schema_of_classes_and_functions() -> None:
    assert schema(Oven) == {"heat": float, "trays": Sequence[int], "label": str, "timer": int | None}
    assert list(schema(Cake, without=("layers",))) == ["sugar", "glaze"]
    assert schema(bake) == {"flour": Any, "unknown": Any}
    assert required(Oven) == ["heat"] and required(Cake) == []


@pytest.mark.parametrize(
    ("hint", "value", "expected"),
    [
        (int, 3, 3),
        (int, "3", 3),
        (int, 1e3, 1000),
        (float, 2, 2.0),
        (str, 2026, "2026"),
        (str | None, None, None),
        (str | None, 7, "7"),
        (bool, "false", False),
        (Sequence[int], [1, 2], [1, 2]),
        (str | Path, "a/b", "a/b"),
        (int | None, None, None),
        (Ramp | float, 3, 3.0),
        (Ramp | float, {"start": 1, "end": 2}, Ramp(1.0, 2.0)),
        (int | str, "draw", "draw"),
        (dict[str, Any], {"a": [1]}, {"a": [1]}),
        (Cake, cake := Cake(), cake),
        (dict[str, bool] | float, {"a": True}, {"a": True}),
        (int | Sequence[bool], [True, False], [True, False]),
    ],
)
def test_values_become_what_they_are_meant_to_be(hint: Any, value: Any, expected: Any) -> None:
    values, wrong = check_section("section", {"key": value}, {"key": hint})
    assert wrong == [] and values["key"] == expected and type(values["key"]) is type(expected)


@pytest.mark.parametrize(
    ("hint", "value", "part"),
    [
        (int, "abc", "key='abc': should be a valid integer"),
        (int, 1.5, "key=1.5: should be a valid integer, got a number with a fractional part"),
        (int, [1, 2], "key=[1, 2]: should be a valid integer"),
        (int, None, "key=None: should be a valid integer"),
        (int, True, "key=True: should be a number, which true and false are not"),
        (float | None, False, "key=False: should be a number, which true and false are not"),
        (Sequence[int], [1, True], "key=[1, True]: should be a number, which true and false are not"),
        (Ramp, {"start": True, "end": 2}, "key={'start': True, 'end': 2}: should be a number"),
        (Sequence[Ramp], [{"start": 1, "end": False}], "should be a number, which true and false are not"),
        (bool | Sequence[int], [True, 2], "should be a number, which true and false are not"),
        (Ramp | float, {"start": True, "end": 2}, "should be a number, which true and false are not"),
        ({"inner": int}, True, "key=True: this is a section; set its keys: inner"),
        (float, {"a": 1}, "key={'a': 1}: should be a valid number"),
        (Sequence[int], 64, "key=64: should be a list, e.g. [a, b]"),
        (Sequence[int], [1, "x"], "key=[1, 'x']: should be a valid integer"),
        (Sequence[int], "12", "key='12': "),
        (str, [1], "key=[1]: should be a valid string"),
        (bool, "maybe", "key='maybe': should be a valid boolean"),
        (Ramp | float, {"start": 4, "end": 5, "over": 0}, "over=0.0: expected a share of the run in (0, 1]"),
    ],
)
def test_values_of_the_wrong_type_are_named(hint: Any, value: Any, part: str) -> None:
    values, wrong = check_section("section", {"key": value}, {"key": hint})
    assert values == {} and len(wrong) == 1 and wrong[0].startswith("section.") and part in wrong[0]


def test_defaults_are_those_of_whoever_makes_the_object() -> None:
    @dataclass
    class Maker:
        items: list[int] = field(default_factory=lambda: [1, 2])

    class Plain(Maker):
        """Inherits how it is made."""

    class Own(Maker):
        def __init__(self, items: int = 3) -> None:
            super().__init__([items])

    @dataclass
    class More(Maker):
        other: tuple[int, ...] = field(default_factory=lambda: (4,))

    assert defaults(Maker) == defaults(Plain) == {"items": [1, 2]}
    assert defaults(Own) == {"items": 3}
    assert defaults(More) == {"items": [1, 2], "other": (4,)}
    assert defaults(lambda a, b=5: a) == {"b": 5}


def test_builds_what_the_signatures_say() -> None:
    built = OVENS.build(
        {"seed": 3, "oven": {"heat": "200", "trays": [1, 2]}, "shop": {"shelf": {"width": 4}}, "free": {"x": 1}}, ROOT
    )
    assert built["oven"] == Oven(200.0, [1, 2])
    assert (built["cake"].sugar, built["cake"].layers) == (1.0, 2)
    assert (built["seed"], built["folder"]) == (3, None)
    assert built["shop"] == {"shelf": {"width": 4}} and built["free"] == {"x": 1}


def test_a_section_may_name_another_class() -> None:
    built = OVENS.build({"oven": {"heat": 1}, "cake": {"_target_": f"{__name__}.Oven", "heat": 5}}, ROOT)
    assert built["cake"] == Oven(5.0)
    given = {"_target_": f"{__name__}.Oven", "sugar": 2}
    assert problems(oven={"heat": 1}, cake=given)[0] == "cake.heat must be given"
    assert problems(oven={"heat": 1}, cake=given)[1].startswith("cake.sugar is unknown. Allowed in cake: 'heat'")


def test_all_problems_at_once() -> None:
    found = problems(
        sed=1, folder=[1], ovn={}, oven={"heat": "hot", "tray": [1]}, cake=4, shop={"shelf": {"widht": 2}, "name": [1]}
    )
    expected = [
        "folder=[1]: should be a valid string",
        "sed is unknown; did you mean 'seed'? Allowed: 'cake', 'folder', 'free', 'oven', 'seed', 'shop'",
        "ovn is unknown; did you mean 'oven'?",
        "oven.heat='hot': should be a valid number",
        "oven.tray is unknown; did you mean 'oven.trays'?",
        "cake=4: this is a section; set its keys: glaze, layers, sugar",
        "shop.shelf.widht is unknown; did you mean 'shop.shelf.width'? Allowed in shop.shelf: 'width'",
        "shop.name=[1]: should be a valid string",
    ]
    assert len(found) == len(expected)
    for part in expected:
        assert any(line.startswith(part) for line in found), (part, found)


def test_a_section_without_keys_is_no_way_to_ask_for_defaults() -> None:
    """As YAML reads `cake:` with nothing, or comments alone, below it."""
    assert OVENS.build({"oven": {"heat": 1}}, ROOT)["cake"].layers == 2
    assert problems(oven={"heat": 1}, cake=None) == ["cake=None: this is a section; set its keys: glaze, layers, sugar"]


def test_values_out_of_range_of_all_sections_at_once() -> None:
    assert problems(oven={"heat": 301}, cake={"sugar": -1}) == [
        "oven.heat=301.0: too hot",
        "cake.sugar=-1.0: expected 0 or more",
    ]


def test_targets() -> None:
    assert resolve_target({"_target_": "pathlib.Path"}, "data") is Path
    assert resolve_target({"_target_": "muskie.schedule.Ramp.__call__"}, "data") is Ramp.__call__
    for node, part in (
        ({}, "data has no _target_; name a class, e.g. data._target_=my_package.MyClass"),
        ({"_target_": 3}, "data has no _target_"),
        ({"_target_": "no_such_package.Thing"}, "data._target_='no_such_package.Thing' cannot be imported (No module named"),
        (
            {"_target_": "muskie.schedule.Rampe"},
            "cannot be imported (module 'muskie.schedule' has no attribute 'Rampe'; did you mean 'Ramp'",
        ),
        ({"_target_": "Thing"}, "a dotted path is needed"),
        ({"_target_": "math.pi"}, "data._target_='math.pi' is no class or function"),
    ):
        with pytest.raises(ConfigError) as raised:
            resolve_target(node, "data")
        assert part in str(raised.value)
