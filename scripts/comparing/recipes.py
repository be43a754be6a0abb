"""The recipes of a comparison: what each is composed of, and whether they can be compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
    first = recipes[0]
    for other in recipes[1:]:
        for key in SAME:
            if other.settings[key] != first.settings[key]:
                raise ConfigError(
                    f"{first.name} and {other.name} differ in {key}: {first.settings[key]} and {other.settings[key]}; give "
                    f"{key}... for both"
                )
        ours, theirs = (sorted(recipe.settings["plan"]["sizes"]) for recipe in (first, other))
        if ours != theirs:
            raise ConfigError(
                f"{first.name} trains at {ours} px and {other.name} at {theirs}; give plan.sizes=[...] for both"
            )
    return recipes


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
