"""Which kind of model a saved `config.json` belongs to."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from muskie.errors import CheckpointError

MASKED_VIEWS = "masked views"
RECONSTRUCTION = "reconstruction"

_ELSE = {
    MASKED_VIEWS: "is a pre-training model, which gives features and no geometry: fine-tune it by train_ffrecon.py first",
    RECONSTRUCTION: "is a reconstruction model and no pre-training model: give it where geometry is asked for, or here the "
    "pre-trained model that it was made from",
}


def check_kind(config: Any, expected: str, origin: str | Path) -> None:
    """Refuses a model of another kind.

    Args:
        config: what `config.json` holds; one without a kind that names an encoder is a pre-training model.
        expected: `MASKED_VIEWS` or `RECONSTRUCTION`.
        origin: what the model was read from.

    Raises:
        CheckpointError: the model is of the other kind.
    """
    if not isinstance(config, Mapping):
        return  # broken, which is told where it is read
    kind = config.get("kind") or (MASKED_VIEWS if "encoder" in config else None)
    if kind != expected and kind in _ELSE:
        raise CheckpointError(f"{origin} {_ELSE[kind]}")
