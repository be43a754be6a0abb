"""The command line before Hydra sees it: unknown keys and choices are errors in words, known ones are spelled as it needs.

Hydra itself takes `key=value` only for keys that a YAML file mentions. Here every argument of a section's class is known
(`trainer.accumulate=2`), and a section may be given another class (`objective._target_=my_package.MyObjective`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from muskie.config import Schema, no_section, resolve_target, schema
from muskie.errors import ConfigError, nearest
from muskie.override_words import parse_override
from muskie.paths import typed_path

FLAGS_WITH_VALUE = {
    "--cfg", "-c", "--package", "-p", "--config-path", "-cp", "--config-name", "-cn", "--config-dir", "-cd",
    "--experimental-rerun", "--info", "-i",
}  # fmt: skip
"""Hydra's own."""

_MISSING = object()


def read_overrides(
    arguments: Sequence[str], config_dir: Path, config_name: str, sections: Mapping[str, Schema]
) -> list[str]:
    """Checks Hydra overrides, and spells them so that Hydra takes them.

    Args:
        arguments: as typed, e.g. `["model=muskie_base", "trainer.steps=100"]`; flags such as `--cfg job` pass through.
        config_dir: of the YAML files.
        config_name: the root file, without suffix.
        sections: section -> its arguments, as from `schema`; a section missing here is open.

    Raises:
        ConfigError: all unknown keys and groups, each with the nearest valid one.
    """
    flags, typed = split_flags(arguments)
    if any(flag.split("=")[0] in ("--config-path", "-cp", "--config-name", "-cn") for flag in flags):
        return [*flags, *typed]  # not the configuration that is known here
    parsed = [parse_override(word) for word in typed]
    folders = [config_dir, *_extra_folders(flags)]
    mode = [str(o.value()) for o in parsed if o.key_or_group == "hydra.mode"]
    sweeps = "-m" in flags or "--multirun" in flags or mode[-1:] == ["MULTIRUN"]
    if not sweeps and (several := [_line(o) for o in parsed if o.is_sweep_override()]):
        raise ConfigError(
            f"{several[0]}: several values are a sweep; add -m for a run with each, write a list: [1, 2], or quote what "
            """holds a comma: "data.root='/a,b'\""""
        )
    groups = sorted({p.name for folder in folders for p in folder.iterdir() if p.is_dir()})
    choices = [o for o in parsed if o.key_or_group in groups]
    problems = [problem for o in choices for problem in _choice_problems(o, folders)]
    if sweeps:
        problems += [
            f"{_line(o)}: all jobs of a sweep would share this folder; leave output_dir out, or write "
            "output_dir='runs/${hydra:job.num}'"
            for o in parsed
            if o.key_or_group == "output_dir" and o.value() is not None and "${" not in _line(o)
        ]
        own_folders = any(o.key_or_group == "output_dir" and o.value() is not None for o in parsed)
        problems += [
            f"{_line(o)}: every job of a sweep would continue the newest run, the one before it included; give "
            "output_dir='runs/${hydra:job.num}' as well"
            for o in parsed
            if o.key_or_group == "resume" and {"auto", "'auto'"} & set(_choices(o)) and not own_folders
        ]
    if problems:
        raise ConfigError("\n".join(problems))
    # Of a sweep over choices, the first stands for all: it is the names of the keys that are looked up here.
    chosen = [f"{o.key_or_group}={_choices(o)[0]}" if o.is_sweep_override() else _line(o) for o in choices]
    search = [f"hydra.searchpath=[{','.join(f'file://{f.resolve()}' for f in folders[1:])}]"] if folders[1:] else []
    reading = _Reading(compose_config(config_dir, config_name, [*search, *chosen]), folders, groups, sections)
    others = [o for o in parsed if o not in choices and not _is_hydras(o)]
    reading.take_targets(others)
    spelled = [reading.spell(o) if o in others else _line(o) for o in parsed]
    if reading.problems:
        raise ConfigError("\n".join(reading.problems))
    return [*flags, *spelled, *reading.dropped(others)]


def split_flags(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Hydra's flags with their values, and the overrides."""
    flags: list[str] = []
    overrides: list[str] = []
    for word in arguments:
        is_value = bool(flags) and flags[-1] in FLAGS_WITH_VALUE and "=" not in word and not word.startswith("~")
        (flags if word.startswith("-") or is_value else overrides).append(word)
    return flags, overrides


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


def _extra_folders(flags: Sequence[str]) -> list[Path]:
    folders = []
    for number, flag in enumerate(flags):
        name, _, value = flag.partition("=")
        if name in ("--config-dir", "-cd"):
            folder = typed_path(value or (flags[number + 1] if number + 1 < len(flags) else ""), name)
            if not folder.is_dir():
                raise ConfigError(f"{name} {str(folder)!r} is not a folder; give one with YAML files in data/, model/, ...")
            folders.append(folder)
    return folders


def _line(override: Override) -> str:
    return str(override.input_line)


def _is_hydras(override: Override) -> bool:
    return override.key_or_group.replace("/", ".").split(".")[0] == "hydra"


def _choices(override: Override) -> list[str]:
    if override.is_sweep_override():
        return list(override.sweep_string_iterator())
    value = override.value()
    return [str(v) for v in value] if isinstance(value, list) else ["null" if value is None else str(value)]


def _choice_problems(override: Override, folders: Sequence[Path]) -> list[str]:
    group = override.key_or_group
    options = sorted({p.stem for folder in folders for p in (folder / group).glob("*.yaml")})
    if override.is_delete():
        return []
    unknown = [name for name in _choices(override) if name not in options]
    paths = [name for name in unknown if group == "data" and ("/" in name or name.startswith("~"))]
    return [
        f"{group}={name} is a path; write data=folder data.root={name}"
        if name in paths
        else f"{group}={name} is unknown{nearest(name, options)}"
        for name in unknown
    ]


@dataclass
class _Reading:
    """What overrides are held against: the YAML files with the groups chosen, and the code's own arguments."""

    config: DictConfig
    folders: Sequence[Path]
    groups: Sequence[str]
    sections: Mapping[str, Schema]
    problems: list[str] = field(default_factory=list)
    targets: dict[str, Schema] = field(default_factory=dict)

    def take_targets(self, overrides: Sequence[Override]) -> None:
        """Sections that the command line gives a class of its own; its arguments count there."""
        for override in overrides:
            section, _, last = override.key_or_group.partition(".")
            if last == "_target_" and not override.is_delete():
                try:
                    self.targets[section] = schema(resolve_target({"_target_": override.value()}, section))
                except ConfigError as error:
                    self.problems.append(str(error))

    def spell(self, override: Override) -> str:
        """The override as Hydra needs it: a key that the code alone knows is added."""
        key, line = override.key_or_group, _line(override)
        if key in self.sections and (override.is_delete() or override.value() is None):
            self.problems.append(no_section(line, self.sections[key]))
        value = None if override.is_delete() or override.is_sweep_override() else override.value()
        keys = [f"{key}.{name}" for name in value] if key in self.sections and isinstance(value, dict) else [key]
        unknown = [name for name in keys if OmegaConf.select(self.config, name, default=_MISSING) is _MISSING]
        if f"{key}._target_" in keys:
            self.problems.append(f"{line}: write {key}._target_=... and its arguments {key}.name=... one by one")
        else:
            self.problems += [problem for name in unknown if (problem := self._problem(name))]
        return f"++{line}" if unknown and not line.startswith(("+", "~")) else line

    def dropped(self, overrides: Sequence[Override]) -> list[str]:
        """A class named on the command line takes none of the keys that YAML files give to the one it replaces."""
        typed = {override.key_or_group for override in overrides}
        words = []
        for section, known in self.targets.items():
            node = self.config.get(section)
            for key in map(str, node if isinstance(node, DictConfig) else ()):
                full = f"{section}.{key}"
                if key not in known and key != "_target_" and full not in typed:
                    # Hydra removes only what has a value.
                    words += [*([] if OmegaConf.select(node, key) is not None else [f"{full}=0"]), f"~{full}"]
        return words

    def _known(self) -> dict[str, Schema]:
        """Section -> its arguments, those of the class that YAML files name included."""
        named: dict[str, Schema] = {}
        for section in map(str, self.config):
            target = OmegaConf.select(self.config, f"{section}._target_", throw_on_resolution_failure=False)
            if target is not None and section not in self.targets:
                named[section] = schema(resolve_target({"_target_": target}, section))
        return {**self.sections, **named, **self.targets}

    def _choices_with(self, group: str, key: str) -> list[str]:
        """Choices of a group, as they are typed, whose class has an argument of this name."""
        found = []
        paths = [path for folder in self.folders for path in (folder / group).glob("*.yaml")]
        for path in sorted(paths, key=lambda path: path.stem):
            with suppress(Exception):  # whatever is wrong with a file that nobody asked for
                node = OmegaConf.to_container(OmegaConf.load(path))
                if key in schema(resolve_target(node, group)):  # type: ignore[arg-type]
                    found.append(f"{group}={path.stem}")
        return found

    def _problem(self, key: str) -> str | None:
        """Why a key that no YAML file mentions is wrong, or None if a section's code knows it."""
        first, _, rest = key.partition(".")
        roots = sorted({*map(str, self.config), *self.groups, *self.sections})
        if first not in roots:
            homes = [f"{section}.{key}" for section, known in self._known().items() if key in known]
            hint = f"; did you mean {' or '.join(map(repr, homes))}?" if homes else nearest(first, roots)
            return f"{key} is unknown{hint}"
        known = self._known().get(first)
        if known is None or rest in ("", "_target_"):
            return None
        section = first
        for name in rest.split("."):
            if name not in known:
                others = self._choices_with(section, name)
                hint = f"; {', '.join(others)} would have it" if others else nearest(name, known, section)
                return f"{key} is unknown{hint}"
            if not isinstance(known[name], Mapping):
                break
            section, known = f"{section}.{name}", known[name]
        return None
