"""Encoders and decoders by their kinds, so that a new one is a class in a file of its own."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, fields
from typing import Any

from muskie.errors import ConfigError, nearest

Maker = Callable[..., Any]

ENCODERS: dict[str, tuple[type, Maker]] = {}
DECODERS: dict[str, tuple[type, Maker]] = {}
"""Kind -> the dataclass of its shape, and what is built from that."""


def encoder_kind(kind: str, config: type) -> Callable[[Maker], Maker]:
    """Makes a class known as an encoder; it is called with its `config`, a dataclass with a class variable `kind`, the same.

    A part in a package of its own is called by its import path, `kind = "my_package.my_part.MyEncoder"`: whoever loads its
    weights then imports it.

    Raises:
        ConfigError: `config` is of another kind.
    """
    return _known(ENCODERS, kind, config)


def decoder_kind(kind: str, config: type) -> Callable[[Maker], Maker]:
    """Makes a class known as a decoder; it is called with its `config`, the encoder's width, and whether hidden patches are
    missing from what it is given. As `encoder_kind` otherwise."""
    return _known(DECODERS, kind, config)


def _known(table: dict[str, tuple[type, Maker]], kind: str, config: type) -> Callable[[Maker], Maker]:
    if getattr(config, "kind", None) != kind:  # saved shapes name the kind by their class
        raise ConfigError(
            f"{config.__name__}.kind is {getattr(config, 'kind', None)!r}, and a part of kind {kind!r} is made of it; give "
            f"that a dataclass of its own, with kind: ClassVar[str] = {kind!r}"
        )

    def register(make: Maker) -> Maker:
        table[kind] = (config, make)
        return make

    return register


def part_settings(config: Any) -> dict[str, Any]:
    """What `part_config` makes the same shape of; fit for JSON."""
    return {"kind": config.kind, **{k: list(v) if isinstance(v, tuple) else v for k, v in asdict(config).items()}}


def every_field(table: Mapping[str, tuple[type, Maker]]) -> dict[str, Any]:
    """The fields of all kinds and their types, and `kind`."""
    from muskie.config import schema  # it needs pydantic, which a model does without

    return {"kind": str, **{name: hint for config, _ in table.values() for name, hint in schema(config).items()}}


def part_config(
    table: Mapping[str, tuple[type, Maker]],
    given: Mapping[str, Any],
    default: str,
    section: str,
    beside: Collection[str] = (),
) -> Any:
    """The shape of a part: `kind` and the fields of that kind's dataclass.

    Args:
        table: `ENCODERS` or `DECODERS`.
        given: as the user wrote it.
        default: the kind, where none is given.
        section: what errors call it, e.g. `"model"`.
        beside: other words that the user may have meant.

    Raises:
        ConfigError: an unknown kind or field, with the nearest known one, or a value that cannot be used.
    """
    values = dict(given)
    kind = values.pop("kind", default)
    if kind not in table and "." in str(kind):
        _import(str(kind), section)
    if kind not in table:
        hint = nearest(str(kind), table)
        raise ConfigError(
            f"{section}.kind={kind!r} is unknown{hint}, or the import path of a part of your own, which must be its kind"
        )
    config = table[kind][0]
    known = {field.name for field in fields(config)}
    for key in values:
        if key not in known:
            raise ConfigError(f"{section}.{key} is unknown{nearest(key, {*known, *beside}, section)}")
    return config(**values)


def _import(path: str, section: str) -> None:
    module = path.rpartition(".")[0]
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise  # the module is there; something that it imports is not
        raise ConfigError(
            f"{section}.kind={path!r}: there is no module {error.name!r}; put the folder that holds it on PYTHONPATH"
        ) from error
