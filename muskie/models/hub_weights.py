"""Weights from files: all of them, or what there is of them and a word on the rest; and how the hub's mixin keeps them."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import PyTorchModelHubMixin
from safetensors.torch import load_model
from torch import nn

from muskie.errors import CheckpointError


def load_safetensors(model: nn.Module, file: Path, origin: str | Path, device: str = "cpu", strict: bool = True) -> None:
    """Weights that `save_pretrained` wrote.

    Args:
        model: gets them.
        file: `model.safetensors`.
        origin: what a warning calls them.
        device: to read them to.
        strict: refuse missing and unexpected weights; else a warning names them, and what is missing stays as it is.

    Raises:
        RuntimeError: PyTorch's, which lists the keys: of another shape, or, with `strict`, missing or unexpected.
    """
    missing, unexpected = load_model(model, file, strict=strict, device=device)
    _tell(sorted(missing), sorted(unexpected), origin)


def _tell(missing: Sequence[str], unexpected: Sequence[str], origin: str | Path) -> None:
    told = [
        f"{len(keys):,} {what}: {', '.join(keys)}"
        for keys, what in ((missing, "missing, which keep fresh values"), (unexpected, "unexpected, which are not used"))
        if keys
    ]
    if told:
        warnings.warn(f"{origin} does not fit the model. Weights {'; '.join(told)}", stacklevel=3)


class HubWeights(PyTorchModelHubMixin):
    """The hub's mixin, strict unless asked otherwise, and never silent about weights that do not fit."""

    @classmethod
    def _from_pretrained(cls, *args: Any, **settings: Any) -> Any:
        """The mixin's way to read weights, whose default is not strict."""
        try:
            return super()._from_pretrained(*args, **{"strict": True, **settings})
        except RuntimeError as error:  # PyTorch's, which lists the keys
            raise CheckpointError(f"{settings.get('model_id')}: {error}") from error

    @classmethod
    def _load_as_safetensor(cls, model: Any, model_file: str, map_location: str, strict: bool) -> Any:
        load_safetensors(model, Path(model_file), model_file, map_location, strict)
        return model.eval()

    @classmethod
    def _load_as_pickle(cls, model: Any, model_file: str, map_location: str, strict: bool) -> Any:
        """Of repositories without safetensors."""
        weights = torch.load(model_file, map_location=torch.device(map_location), weights_only=True)
        found = model.load_state_dict(weights, strict=strict)
        _tell(found.missing_keys, found.unexpected_keys, model_file)
        return model.eval()

    def _save_pretrained(self, save_directory: Path) -> None:
        """The mixin's way to write the weights, then as readable as any new file: safetensors keeps them to their owner."""
        super()._save_pretrained(save_directory)
        new = save_directory / ".new"
        new.touch()
        (save_directory / "model.safetensors").chmod(new.stat().st_mode)
        new.unlink()
