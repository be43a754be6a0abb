"""One word of the command line as Hydra's override: what its grammar has no place for is text, not an error."""

from __future__ import annotations

import re
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from muskie.errors import ConfigError

PATHS = ("output_dir", "log_dir", "resume", "init_from", "root")
"""The last part of keys whose value is text, whatever it looks like: `output_dir=2026_11_21` is no number."""

_KEY = re.compile(r"[+~]*[A-Za-z_][\w./@:-]*")


def parse_override(word: str) -> Override:
    """One override.

    Values that Hydra's grammar cannot read are taken as text where nothing else can be meant, such as the path
    `~/Fotos (März)`. Lists, mappings, quoted text, interpolations and several values (a sweep) are left to the grammar.

    Raises:
        ConfigError: no key, no `=`, or a value that cannot be read.
    """
    parser = OverridesParser.create()
    key, equals, value = word.partition("=")
    try:
        parsed = parser.parse_override(word)
    except HydraException as error:
        if not equals:
            raise ConfigError(f"{word!r} cannot be read as key=value: no = in it") from error
        if not _KEY.fullmatch(key) or not value or value[0] in "[{'\"" or "," in value or "${" in value:
            raise ConfigError(
                f"{word!r} cannot be read as key=value ({str(error).splitlines()[0]}). No space stands around the =; lists "
                "are written [1,2]; text with a comma, or with a quote or bracket in front, is quoted twice: "
                """"data.root='/a, b'\""""
            ) from error
        return parser.parse_override(f"{key}={quoted(value)}")
    if not parsed.key_or_group:
        raise ConfigError(f"{word!r} cannot be read as key=value: it has no key")
    if key.split(".")[-1] in PATHS and equals:
        if parsed.is_sweep_override() and not set(value) & set("'\"[]{}()$\\"):
            parts = [quoted(part.strip()) if _is_number(part) else part for part in value.split(",")]
            return parser.parse_override(f"{key}={','.join(parts)}")
        if _is_number(value):
            return parser.parse_override(f"{key}={quoted(value)}")
    return parsed


def _is_number(value: str) -> bool:
    """Whether Hydra reads a value, such as `2026_11_21`, as a number."""
    try:
        read = OverridesParser.create().parse_override(f"key={value}").value()
    except HydraException:
        return False
    return isinstance(read, int | float) and not isinstance(read, bool)


def quoted(value: str) -> str:
    """Text in quotes, as Hydra reads it: a backslash matters before a quote and at the end."""
    text = re.sub(r"(\\*)('|$)", lambda match: match[1] * 2 + ("\\'" if match[2] else ""), value)
    return f"'{text}'"


def read_spec(word: str) -> Any:
    """A word that names one thing, as it is, or describes it by a mapping: `{name:timm/NAME,pretrained:false}`.

    Raises:
        ConfigError: a mapping that cannot be read.
    """
    return parse_override(f"spec={word}").value() if word.startswith("{") else word
