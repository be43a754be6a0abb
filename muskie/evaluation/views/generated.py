"""What sources without files were made with: other arguments render other pictures under the same names."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from muskie.config import schema
from muskie.data.scene import SceneSource

COUNT = "scenes"
"""How many scenes there are changes no picture of those that are listed."""

_MISSING = object()


def arguments(source: SceneSource) -> dict[str, Any] | None:
    """The arguments of a source without files, as JSON says them; None of one with files, which has a `root`.

    Those that the source does not keep under their own names, or that JSON cannot say, are left out: a difference in them
    is not noticed.
    """
    if hasattr(source, "root"):
        return None
    found = {}
    for name in schema(type(source)):
        if name == COUNT:
            continue
        value = getattr(source, name, _MISSING)
        with suppress(TypeError):
            found[name] = _plain(value)
    return found


def differences(source: SceneSource, then: Mapping[str, Any]) -> list[str]:
    """What a source without files was made with now, against what a list of samples says, e.g. `"data.seed=4 (the list:
    3)"`; one text a difference. What one of them does not say counts as one: nobody knows whether it is the same."""
    now = arguments(source)
    if now is None:
        return []
    return [
        f"{source.config_key}.{name}={now.get(name, 'not said')} (the list: {then.get(name, 'not said')})"
        for name in dict.fromkeys([*now, *then])
        if name != COUNT and now.get(name, _MISSING) != then.get(name, _MISSING)
    ]


def _plain(value: Any) -> Any:
    """As JSON gives it back.

    Raises:
        TypeError: it cannot say it.
    """
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: _plain(one) for key, one in value.items()}
    raise TypeError(f"{type(value).__name__} is not of JSON")
