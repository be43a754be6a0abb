"""From what the user typed to checked settings: an unknown or mistyped key is an error that names the nearest valid one.

A section of the configuration holds arguments of one class or function; its signature is the schema, so that names, types
and defaults stand once, beside the code they configure. A section with a `_target_` names its class itself.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, Field, dataclass
from typing import Any, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError

from muskie.errors import ConfigError, did_you_mean, nearest

Schema = Mapping[str, Any]
"""Key -> type; where a section has sections of its own, key -> schema."""


def _parameters(target: Callable[..., Any]) -> list[inspect.Parameter]:
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return [p for p in inspect.signature(target).parameters.values() if p.kind in kinds]


def schema(target: Callable[..., Any], without: Iterable[str] = ()) -> dict[str, Any]:
    """The arguments of a class or function and their types, less those that the program gives itself."""
    try:
        hints = get_type_hints(target.__init__ if inspect.isclass(target) else target)
    except NameError:  # names that exist for type checkers alone
        hints = {}
    return {p.name: hints.get(p.name, Any) for p in _parameters(target) if p.name not in set(without)}


def required(target: Callable[..., Any]) -> list[str]:
    """The arguments of a class or function that have no default."""
    return [p.name for p in _parameters(target) if p.default is p.empty]


def defaults(target: Callable[..., Any]) -> dict[str, Any]:
    """The arguments of a class or function that have a default, and it."""
    # A subclass that is no dataclass itself has an `__init__`, and defaults, of its own.
    maker = next((c for c in getattr(target, "__mro__", ()) if "__init__" in vars(c)), None)
    own: dict[str, Field[Any]] = vars(maker).get("__dataclass_fields__", {}) if maker else {}
    made = {name: f.default_factory() for name, f in own.items() if f.default_factory is not MISSING}
    return {p.name: made.get(p.name, p.default) for p in _parameters(target) if p.default is not p.empty}


def check_section(prefix: str, given: Mapping[str, Any], allowed: Schema) -> tuple[dict[str, Any], list[str]]:
    """Values of one section converted to the types of their arguments.

    Args:
        prefix: the section's key, e.g. `"trainer"`; `""` for the root.
        given: key -> value.
        allowed: key -> type, from `schema`.

    Returns:
        The converted values, and one message for every unknown key and every value of the wrong type.
    """
    values: dict[str, Any] = {}
    problems: list[str] = []
    for key, value in given.items():
        full = f"{prefix}.{key}" if prefix else str(key)
        if key not in allowed:
            problems.append(f"{full} is unknown{nearest(str(key), allowed, prefix)}")
        elif not isinstance(allowed[key], Mapping):
            try:
                converted = _convert(value, allowed[key])
            except ValidationError as error:
                problems.append(f"{full}={value!r}: {'; '.join(dict.fromkeys(map(_reason, error.errors())))}")
                continue
            if _became_number(value, converted):
                problems.append(f"{full}={value!r}: should be a number, which true and false are not")
            else:
                values[key] = converted
        elif isinstance(value, Mapping | None):
            values[key], wrong = check_section(full, value or {}, allowed[key])
            problems += wrong
        else:
            problems.append(no_section(f"{full}={value!r}", allowed[key]))
    return values, problems


def _became_number(given: Any, converted: Any) -> bool:
    """Whether True or False, or one of them within, was taken as Python's 1 or 0, which nobody means."""
    if isinstance(given, bool):
        return isinstance(converted, int | float) and not isinstance(converted, bool)
    if isinstance(given, Mapping):
        inner = converted if isinstance(converted, Mapping) else getattr(converted, "__dict__", {})
        return any(_became_number(value, inner.get(key)) for key, value in given.items())
    if isinstance(given, list | tuple) and isinstance(converted, list | tuple):
        return any(map(_became_number, given, converted))
    return False


def _convert(value: Any, hint: Any) -> Any:
    # Numbers pass where text is meant (`output_dir=2026`); dataclasses bring their own rules.
    rules = ConfigDict(coerce_numbers_to_str=True, arbitrary_types_allowed=True)
    return TypeAdapter(hint, config=None if hasattr(hint, "__dataclass_fields__") else rules).validate_python(value)


def _reason(detail: Any) -> str:
    """Pydantic's message as the end of a sentence."""
    if detail["type"] == "is_instance_of" and detail["ctx"]["class"] == "Sequence":
        return "should be a list, e.g. [a, b]"
    message: str = detail["msg"].removeprefix("Input ").removeprefix("Value error, ")
    return message[0].lower() + message[1:]


def no_section(given: str, allowed: Schema) -> str:
    """What to tell whoever gave a value, e.g. `"optim=null"`, to a section."""
    return f"{given}: this is a section; set its keys: {', '.join(sorted(allowed))}"


@dataclass(frozen=True)
class Sections:
    """The sections of a configuration.

    Attributes:
        fixed: section -> the class that is built from it, unless its `_target_` names another one.
        arguments: section -> its arguments and their types; checked, and handed on as a dict.
        open: sections whose nodes always name their class by `_target_`; checked where they are built.
    """

    fixed: Mapping[str, Callable[..., Any]]
    arguments: Mapping[str, Schema]
    open: tuple[str, ...] = ()

    def names(self) -> dict[str, Schema]:
        """Section -> its arguments; open ones are left out."""
        return {**{name: schema(target) for name, target in self.fixed.items()}, **self.arguments}

    def build(self, config: Mapping[str, Any], root: Schema) -> dict[str, Any]:
        """Checks a whole configuration, then builds its fixed sections.

        Args:
            config: the composed configuration as plain values.
            root: keys outside of sections and their types; None is the value of those that are not given.

        Raises:
            ConfigError: all unknown keys and mistyped values at once; without such, all values out of range at once.
        """
        names = self.names()
        outside = {k: v for k, v in config.items() if k not in names and k not in self.open}
        values, problems = check_section("", {k: v for k, v in outside.items() if k in root}, root)
        everything = [*root, *names, *self.open]
        problems += [f"{key} is unknown{nearest(str(key), everything)}" for key in outside if key not in root]
        targets = dict(self.fixed)
        for section, allowed in names.items():
            given = config.get(section, {})
            if isinstance(given, Mapping) and "_target_" in given:
                try:
                    targets[section] = resolve_target(given, section)
                except ConfigError as error:
                    problems.append(str(error))
                    continue
                given, allowed = {k: v for k, v in given.items() if k != "_target_"}, schema(targets[section])
                problems += [f"{section}.{n} must be given" for n in required(targets[section]) if n not in given]
            if not isinstance(given, Mapping):
                problems.append(no_section(f"{section}={given!r}", allowed))
                continue
            values[section], wrong = check_section(section, given, allowed)
            problems += wrong
        if problems:
            raise ConfigError("\n".join(problems))
        for section, target in targets.items():
            try:
                values[section] = target(**values[section])
            except ConfigError as error:
                problems.append(str(error))
        if problems:
            raise ConfigError("\n".join(problems))
        return {**dict.fromkeys(root), **values, **{name: config.get(name) or {} for name in self.open}}


def resolve_target(node: Mapping[str, Any], key: str) -> Callable[..., Any]:
    """The class or function that a section's `_target_` names.

    Raises:
        ConfigError: it cannot be imported.
    """
    path = node.get("_target_")
    if not isinstance(path, str):
        raise ConfigError(f"{key} has no _target_; name a class, e.g. {key}._target_=my_package.MyClass")
    try:
        found = _import(path)
    except AttributeError as error:
        hint = did_you_mean(error.name, dir(error.obj)) if error.name else ""
        raise ConfigError(f"{key}._target_={path!r} cannot be imported ({error}{hint})") from error
    except Exception as error:
        # Whatever the module raises while it is imported: it is the target that cannot be used.
        raise ConfigError(f"{key}._target_={path!r} cannot be imported ({error}); is its folder on PYTHONPATH?") from error
    try:
        inspect.signature(found)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{key}._target_={path!r} is no class or function with named arguments") from error
    return found


def _import(path: str) -> Any:
    """What stands at a dotted path: the longest part of it that is a module, then its attributes."""
    names = path.split(".")
    for length in range(len(names) - 1, 0, -1):
        module = ".".join(names[:length])
        try:
            found = importlib.import_module(module)
        except ModuleNotFoundError as error:
            if length > 1 and error.name and f"{module}.".startswith(f"{error.name}."):
                continue
            raise
        for name in names[length:]:
            found = getattr(found, name)
        return found
    raise ImportError("a dotted path is needed, e.g. my_package.MyClass")
