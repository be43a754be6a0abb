"""From what the user typed to checked settings: an unknown or mistyped key is an error that names the nearest valid one.

A section of the configuration holds arguments of one class or function; its signature is the schema, so that names, types
and defaults stand once, beside the code they configure. Sections with a `_target_` name their class themselves.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_type_hints

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import ConfigDict, TypeAdapter, ValidationError

from muskie.errors import ConfigError, nearest


def schema(target: Callable[..., Any], without: Iterable[str] = ()) -> dict[str, Any]:
    """The arguments of a class or function and their types, less those that the program gives itself."""
    hints = get_type_hints(target.__init__ if inspect.isclass(target) else target)
    parameters = inspect.signature(target).parameters.values()
    named = [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    return {name: hints.get(name, Any) for name in named if name not in set(without)}


def check_section(prefix: str, given: Mapping[str, Any], allowed: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Values of one section converted to the types of their arguments.

    Args:
        prefix: the section's key, e.g. `"trainer"`; `""` for the root.
        given: key -> value.
        allowed: key -> type, from `schema`.

    Returns:
        The converted values, and one message for every unknown key and every value of the wrong type.
    """
    values, problems = {}, []
    for key, value in given.items():
        full = f"{prefix}.{key}" if prefix else key
        if key not in allowed:
            problems.append(f"{full} is unknown{nearest(key, allowed)}")
            continue
        try:
            adapter = TypeAdapter(allowed[key], config=_config_for(allowed[key]))
            values[key] = adapter.validate_python(value)
        except ValidationError as error:
            reasons = "; ".join(dict.fromkeys(detail["msg"].lower() for detail in error.errors()))
            problems.append(f"{full}={value!r}: {reasons}")
    return values, problems


def _config_for(hint: Any) -> ConfigDict | None:
    """Numbers pass where text is meant (`output_dir=2026`); dataclasses bring their own rules."""
    return None if hasattr(hint, "__dataclass_fields__") else ConfigDict(coerce_numbers_to_str=True)


@dataclass(frozen=True)
class Sections:
    """The sections of a configuration.

    Attributes:
        fixed: section -> the class that is built from it.
        arguments: section -> its arguments and their types; checked, and handed on as a dict.
        open: sections whose nodes name their class by `_target_`; checked where they are built.
    """

    fixed: Mapping[str, Callable[..., Any]]
    arguments: Mapping[str, Mapping[str, Any]]
    open: tuple[str, ...] = ()

    def names(self) -> dict[str, Mapping[str, Any]]:
        """Section -> its arguments; open ones are left out."""
        return {**{name: schema(target) for name, target in self.fixed.items()}, **self.arguments}

    def build(self, config: Mapping[str, Any], root: Mapping[str, Any]) -> dict[str, Any]:
        """Checks a whole configuration, then builds its fixed sections.

        Args:
            config: the composed configuration as plain values.
            root: keys outside of sections and their types.

        Raises:
            ConfigError: all unknown keys and mistyped values at once.
        """
        names = self.names()
        outside = {k: v for k, v in config.items() if k not in names and k not in self.open}
        values, problems = check_section("", outside, root)
        for section, allowed in names.items():
            given = config.get(section) or {}
            target = self.fixed.get(section)
            if isinstance(given, Mapping) and "_target_" in given:
                target = resolve_target(given, section)
                given, allowed = {k: v for k, v in given.items() if k != "_target_"}, schema(target)
            if not isinstance(given, Mapping):
                problems.append(f"{section}={given!r} is a section; set its keys: {', '.join(sorted(allowed))}")
                continue
            arguments, wrong = check_section(section, given, allowed)
            problems += wrong
            values[section] = (target, arguments) if target else arguments
        if problems:
            raise ConfigError("\n".join(problems))
        built = {name: part[0](**part[1]) if isinstance(part, tuple) else part for name, part in values.items()}
        return {**dict.fromkeys(root), **built, **{name: config.get(name) or {} for name in self.open}}


def resolve_target(node: Mapping[str, Any], key: str) -> Callable[..., Any]:
    """The class or function that a section's `_target_` names.

    Raises:
        ConfigError: it cannot be imported.
    """
    path = node.get("_target_")
    if not isinstance(path, str):
        raise ConfigError(f"{key} has no _target_; name a class, e.g. {key}._target_=my_package.MyClass")
    try:
        return get_object(path)
    except Exception as error:
        raise ConfigError(f"{key}._target_={path!r} cannot be imported: {error}") from error


def read_overrides(arguments: Sequence[str], config_dir: Path, config_name: str, sections: Mapping[str, Any]) -> list[str]:
    """Checks Hydra overrides before Hydra sees them, and spells them so that it takes them.

    A key that a section's code knows, but that no YAML file mentions, is added (`++key=value`); one that nothing knows is
    an error.

    Args:
        arguments: as typed, e.g. `["model=muskie_base", "trainer.steps=100"]`; flags such as `--cfg` pass through.
        config_dir: of the YAML files.
        config_name: the root file, without suffix.
        sections: section -> its arguments, as from `schema`; a section missing here is open.

    Raises:
        ConfigError: all unknown keys and groups, each with the nearest valid one.
    """
    flags = [a for a in arguments if a.startswith("-")]
    typed = [a for a in arguments if not a.startswith("-")]
    try:
        parsed = OverridesParser.create().parse_overrides(typed)
    except HydraException as error:
        raise ConfigError(f"cannot be read as key=value: {str(error).splitlines()[0]}") from error
    groups = sorted(p.name for p in config_dir.iterdir() if p.is_dir())
    choices = [o for o in parsed if o.key_or_group in groups]
    problems = [problem for o in choices if (problem := _choice_problem(o, config_dir))]
    if problems:
        raise ConfigError("\n".join(problems))
    config = compose_config(config_dir, config_name, [o.input_line for o in choices])
    spelled = []
    for override in parsed:
        key = override.key_or_group
        if override in choices or key.startswith("hydra") or OmegaConf.select(config, key, default=_MISSING) is not _MISSING:
            spelled.append(override.input_line)
            continue
        problem = _key_problem(key, config, groups, sections)
        if problem:
            problems.append(problem)
        line = override.input_line
        spelled.append(line if line.startswith(("+", "~")) else f"++{line}")
    if problems:
        raise ConfigError("\n".join(problems))
    return [*flags, *spelled]


_MISSING = object()


def compose_config(config_dir: Path, config_name: str, overrides: Sequence[str]) -> DictConfig:
    """The configuration, unchecked.

    Raises:
        ConfigError: Hydra cannot compose it.
    """
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(config_dir.resolve()), version_base="1.3"):
            return compose(config_name, overrides=list(overrides))
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(str(error)) from error


def _choice_problem(override: Override, config_dir: Path) -> str | None:
    options = sorted(p.stem for p in (config_dir / override.key_or_group).glob("*.yaml"))
    value = override.value()
    if value is None or isinstance(value, list) or override.is_sweep_override() or str(value) in options:
        return None
    return f"{override.key_or_group}={value} is unknown{nearest(str(value), options)}"


def _key_problem(key: str, config: DictConfig, groups: Sequence[str], sections: Mapping[str, Any]) -> str | None:
    """Why a key that no YAML file mentions is wrong, or None if a section's code knows it."""
    first, _, rest = key.partition(".")
    roots = sorted({*map(str, config), *groups, *sections})
    if first not in roots:
        return f"{key} is unknown{nearest(first, roots)}"
    if first not in sections or not rest:
        return None
    known = sections[first](config) if callable(sections[first]) else sections[first]
    name = rest.split(".")[0]
    return None if name in known else f"{key} is unknown{nearest(name, known)}"
