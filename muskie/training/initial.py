"""The weights that a run starts with when it is given another model (`init_from=`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from muskie.errors import CheckpointError
from muskie.models.decoder import DecoderConfig
from muskie.models.encoder import EncoderConfig
from muskie.models.masked_view import MaskedViewModel
from muskie.models.variants import from_pretrained, model_config
from muskie.training import checkpoint


def take_weights(model: MaskedViewModel, init_from: str) -> None:
    """Loads the weights alone of a model folder, a run's folder, a checkpoint, or a model on the Hugging Face hub.

    Raises:
        CheckpointError: there is nothing of the kind, its weights do not fit, or it was trained with other settings, which
            the shapes of its weights do not tell.
    """
    origin = f"init_from={init_from}"
    path = Path(init_from).expanduser()
    if path.suffix == ".pt":
        state = checkpoint.load(path, key="init_from")
        checkpoint.load_weights(model, state["model"], origin)
        check_same_model(model, state["settings"], origin)
        return
    given = _saved_model(path, init_from)
    checkpoint.load_weights(model, given.state_dict(), origin)
    _compare(model, given.encoder.config, given.decoder.config if given.decoder else None, origin)


def check_same_model(model: MaskedViewModel, settings: str, origin: str) -> None:
    """Refuses the checkpoint of a run, whose configuration was `settings` (YAML), if its model computes something else.

    Raises:
        CheckpointError: names what differs.
    """
    saved = (OmegaConf.to_container(OmegaConf.create(settings)) or {}).get("model")  # type: ignore[union-attr]
    if saved:
        _compare(model, *model_config(**{key: value for key, value in saved.items() if key not in ("init", "seed")}), origin)


def _compare(model: MaskedViewModel, encoder: EncoderConfig, decoder: DecoderConfig | None, origin: str) -> None:
    _check_same("model", vars(model.encoder.config), vars(encoder), origin)
    if model.decoder is not None and decoder is not None:
        _check_same("model.decoder", vars(model.decoder.config), vars(decoder), origin)


def _saved_model(path: Path, init_from: str) -> MaskedViewModel:
    inside = path / "model"
    try:
        return from_pretrained(str(inside if (inside / "config.json").is_file() else path))
    except CheckpointError as error:
        raise CheckpointError(
            f"init_from={init_from!r}: {error}. Give a model folder, a run's folder, a step-*.pt, or a model's name on the "
            "Hugging Face hub"
        ) from error


def _check_same(part: str, ours: dict[str, Any], theirs: dict[str, Any], origin: str) -> None:
    def plain(value: Any) -> Any:
        return list(value) if isinstance(value, list | tuple) else value

    different = [name for name in ours if plain(ours[name]) != plain(theirs[name])]
    if different:
        said = ", ".join(f"{part}.{name}={plain(theirs[name])}".replace(" ", "") for name in different)
        here = ", ".join(str(plain(ours[name])) for name in different)
        raise CheckpointError(f"{origin}: its model has {said}, this run {here}; add the former to the command line")
