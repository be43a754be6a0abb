"""The recipes of a comparison: what each is composed of, and whether they can be compared."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, is_dataclass
from pathlib import Path
from typing import Any

from muskie.errors import ConfigError
from muskie.models.masked_view import NO_DECODER
from muskie.models.variants import create_model
from muskie.training.training_data import settings_of

CONFIGS = Path(__file__).resolve().parents[2] / "configs"

SAME = ("data", "holdout", "seed", "max_unusable", "evaluation")
"""Settings in which the recipes of a comparison must agree: what they learn from, and what they are measured on."""

OF_THE_COMPARISON = ("output_dir", "trainer.steps", "trainer.epochs", "resume", "init_from", "experiment")
"""Keys that are no overrides of a comparison: it sets them itself."""


@dataclass(frozen=True)
class Recipe:
    """One that takes part.

    Attributes:
        name: of a file in `configs/experiment/`.
        words: overrides that `main.py` is given, `experiment=NAME` first.
        settings: as `muskie.training.settings.read_settings` gives them.
        parameters: of its model, decoder included.
        encoder_parameters: of the part that is kept after pre-training.
    """

    name: str
    words: tuple[str, ...]
    settings: Mapping[str, Any]
    parameters: int
    encoder_parameters: int


def read_recipes(names: Sequence[str], overrides: Sequence[str], more: Path | None = None) -> list[Recipe]:
    """The recipes, checked before anything is trained.

    Args:
        names: of files in `configs/experiment/`, each once.
        overrides: for all of them alike.
        more: a folder with YAML files of the user's own, as of `--config-dir`.

    Raises:
        ConfigError: one cannot be used, or they learn from, or are measured on, different things.
    """
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise ConfigError(f"{', '.join(twice)}: named twice; a recipe takes part once")
    own = [word for word in overrides if word.lstrip("+").split("=")[0] in OF_THE_COMPARISON]
    if own:
        raise ConfigError(f"{', '.join(own)}: the comparison sets that itself, by its recipes, --minutes and --out")
    recipes = [_recipe(name, (f"experiment={name}", *overrides), more) for name in names]
    first, problems = recipes[0], []
    ours = _compared(first)
    for other in recipes[1:]:
        theirs = _compared(other)
        differ = [key for key in ours if ours[key] != theirs.get(key)] + [key for key in theirs if key not in ours]
        if differ:
            said = ", ".join(f"{key}={_word(ours.get(key))} and {_word(theirs.get(key))}" for key in differ)
            give = " ".join(f"{key}={_word(ours[key])}" for key in differ if key in ours and not key.startswith("data"))
            give += " data=..." if any(key.startswith("data") for key in differ) else ""
            problems.append(f"{first.name} and {other.name} differ: {said}; append {give.strip()}")
    if problems:
        raise ConfigError("\n".join(problems))
    return recipes


def _compared(recipe: Recipe) -> dict[str, Any]:
    """The settings in which all must agree, by the words that set them."""
    found: dict[str, Any] = {"plan.sizes": sorted(recipe.settings["plan"]["sizes"])}
    for section in SAME:
        found.update(_flat(section, recipe.settings[section]))
    return found


def _flat(path: str, value: Any) -> dict[str, Any]:
    if is_dataclass(value) and not isinstance(value, type):
        value = vars(value)
    if not isinstance(value, Mapping):
        return {path: list(value) if isinstance(value, tuple) else value}
    return {key: one for name, inner in value.items() for key, one in _flat(f"{path}.{name}", inner).items()}


def _word(value: Any) -> str:
    """As the command line takes it."""
    return json.dumps(value, separators=(",", ":")) if value is None or isinstance(value, bool | list) else str(value)


def _recipe(name: str, words: tuple[str, ...], more: Path | None) -> Recipe:
    settings = settings_of(words, CONFIGS, more=more)
    arguments = {key: value for key, value in settings["model"].items() if key != "init"}
    try:
        model = create_model(**arguments)
    except (ValueError, ZeroDivisionError) as error:
        raise ConfigError(f"{name}: model: {error}") from error
    if model.head is None:
        raise ConfigError(f"{name}: {NO_DECODER}")
    encoder = sum(weight.numel() for weight in model.encoder.parameters())
    words = (*(("--config-dir", str(more.expanduser().resolve())) if more is not None else ()), *words)
    return Recipe(name, words, settings, sum(weight.numel() for weight in model.parameters()), encoder)
