"""The weights that a run starts with when it is given another model (`init_from=`)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from muskie.config import defaults
from muskie.errors import CheckpointError
from muskie.models.masked_view import MaskedViewModel, shapes
from muskie.models.parts import part_settings
from muskie.models.variants import OF_THE_MODEL, from_pretrained, model_settings
from muskie.paths import typed_path
from muskie.training import checkpoint
from muskie.training.settings import saved_settings


def take_weights(model: MaskedViewModel, init_from: str) -> None:
    """Loads the weights alone of a model folder, a run's folder, a checkpoint, or a model on the Hugging Face hub.

    Raises:
        CheckpointError: there is nothing of the kind, its weights do not fit, or it was trained with other settings, which
            the shapes of its weights do not tell.
    """
    origin = f"init_from={init_from}"
    path = typed_path(init_from, "init_from")
    if path.suffix == ".pt":
        state = checkpoint.load(path, key="init_from")
        check_same_model(model, saved_settings(state), origin)
        checkpoint.load_weights(model, state["model"], origin)
        return
    try:
        given = from_pretrained(init_from)
    except CheckpointError as error:
        raise CheckpointError(
            f"{origin}: {error}. Give a model folder, a run's folder, a step-*.pt, or a model's name on the Hugging Face hub"
        ) from error
    _compare(model, _of_model(given), origin)
    checkpoint.load_weights(model, given.state_dict(), origin)


def check_same_model(model: MaskedViewModel, settings: Mapping[str, Any], origin: str) -> None:
    """Refuses the checkpoint of a run, whose settings are in plain sections and keys, if its model computes something else.

    Raises:
        CheckpointError: names what differs.
    """
    saved = settings.get("model")
    if saved:
        settings = model_settings(**{key: value for key, value in saved.items() if key not in ("init", "seed")})
        theirs = _named(*shapes(settings.pop("encoder"), settings.pop("decoder")), settings)
        _compare(model, theirs, f"{origin} of a {saved['name']}")


def _compare(model: MaskedViewModel, theirs: Mapping[str, Any], origin: str) -> None:
    ours = _of_model(model)
    different = [name for name in theirs if ours.get(name) != theirs[name]]
    if different:
        said = ", ".join(f"{name}={_typed(theirs[name])}" for name in different)
        here = ", ".join(_typed(ours[name]) if name in ours else "none" for name in different)
        raise CheckpointError(f"{origin}: its model has {said}, this run {here}; add the former to the command line")


def _typed(value: Any) -> str:
    """A value as it is typed on the command line."""
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def _of_model(model: MaskedViewModel) -> dict[str, Any]:
    decoder = None if model.decoder is None else model.decoder.config
    return _named(model.encoder.config, decoder, {key: getattr(model, key) for key in OF_THE_MODEL})


def _named(encoder: Any, decoder: Any | None, whole: Mapping[str, Any]) -> dict[str, Any]:
    """Key -> value of what a model computes. Without a decoder its width means nothing."""
    inside = part_settings(decoder) if decoder is not None and decoder.depth else {"depth": 0}
    of_the_model = {key: whole.get(key, defaults(MaskedViewModel)[key]) for key in OF_THE_MODEL}
    named = {f"model.{k}": v for k, v in {**part_settings(encoder), **of_the_model}.items()}
    return named | {f"model.decoder.{k}": v for k, v in inside.items()}
