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


def kind_of(config: Any) -> str | None:
    """The kind of model that the content of a `config.json` belongs to; one without a kind that names an encoder is a
    pre-training model. None: of neither."""
    if not isinstance(config, Mapping):
        return None
    kind = config.get("kind") or (MASKED_VIEWS if "encoder" in config else None)
    return kind if isinstance(kind, str) and kind in _ELSE else None


def check_kind(config: Any, expected: str, origin: str | Path) -> None:
    """Refuses a model of another kind.

    Args:
        config: what `config.json` holds, see `kind_of`; what is of neither kind passes, and is told where it is read.
        expected: `MASKED_VIEWS` or `RECONSTRUCTION`.
        origin: what the model was read from.

    Raises:
        CheckpointError: the model is of the other kind.
    """
    kind = kind_of(config)
    if kind is not None and kind != expected:
        raise CheckpointError(f"{origin} {_ELSE[kind]}")
