"""The weights that a run starts with when it is given another model (`init_from=`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from muskie.errors import CheckpointError
from muskie.models.masked_view import MaskedViewModel
from muskie.models.variants import from_pretrained
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
        checkpoint.load_weights(model, checkpoint.load(path)["model"], origin)
        return
    given = _saved_model(path, init_from)
    checkpoint.load_weights(model, given.state_dict(), origin)
    for part, ours, theirs in (("model", model.encoder, given.encoder), ("model.decoder", model.decoder, given.decoder)):
        if ours is not None and theirs is not None:
            _check_same(part, vars(ours.config), vars(theirs.config), origin)


def _saved_model(path: Path, init_from: str) -> MaskedViewModel:
    try:
        inside = path / "model"
        return from_pretrained(str(inside if (inside / "config.json").is_file() else path))
    except CheckpointError:
        raise
    except Exception as error:
        # The hub's library has many ways to say that it found nothing.
        raise CheckpointError(
            f"init_from={init_from!r}: neither a model folder, a run's folder, a step-*.pt, nor a model that the Hugging "
            f"Face hub gives ({type(error).__name__})"
        ) from error


def _check_same(part: str, ours: dict[str, Any], theirs: dict[str, Any], origin: str) -> None:
    def plain(value: Any) -> Any:
        return list(value) if isinstance(value, list | tuple) else value

    different = [name for name in ours if plain(ours[name]) != plain(theirs[name])]
    if different:
        said = ", ".join(f"{part}.{name}={plain(theirs[name])}".replace(" ", "") for name in different)
        here = ", ".join(str(plain(ours[name])) for name in different)
        raise CheckpointError(f"{origin}: its model has {said}, this run {here}; add the former to the command line")
