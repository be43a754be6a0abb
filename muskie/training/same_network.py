"""Whether the weights of a reconstruction model belong to the network of a run, which shapes alone do not tell."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from muskie.errors import CheckpointError
from muskie.models.recon_hooks import hook_numbers
from muskie.models.reconstruction import ReconstructionModel


def check_same_network(model: ReconstructionModel, network: Mapping[str, Any], origin: str) -> None:
    """Refuses weights of a network that computes something else.

    Args:
        model: the run's.
        network: of the weights, as of `ReconstructionModel.network`; what it does not say is not compared.
        origin: what errors call the weights.

    Raises:
        CheckpointError: names all settings that differ, on both sides.
    """
    ours, theirs = _flat(model.network()), _flat(network)
    different = [key for key in theirs if ours.get(key) != theirs[key]]
    if different:
        said = ", ".join(f"{key}={_typed(theirs[key])}" for key in different)
        here = ", ".join(_typed(ours[key]) if key in ours else "none" for key in different)
        raise CheckpointError(
            f"{origin}: its network has {said}, this run {here}; give the former: model.* as it was, and by backbone= the "
            "backbone that it was made from"
        )


def network_of_state(state: Mapping[str, Any], settings: Mapping[str, Any], model: ReconstructionModel) -> Mapping[str, Any]:
    """The network of a checkpoint of fine-tuning; of one that does not hold it, what its settings say of decoder and heads.

    Args:
        state: content of the checkpoint.
        settings: those that it holds, in plain sections and keys.
        model: of the run, on whose backbone hooks are counted.
    """
    if "network" in state:
        return state["network"]
    saved = settings.get("model") or {}
    said = ("decoder_depth", "depth_head", "published", "features")
    network = {key: saved[key] for key in said if saved.get(key) is not None}
    depth = len(model.decoder.blocks)
    if network.get("decoder_depth") == depth:
        network["hooks"] = list(hook_numbers(saved.get("hooks"), model.backbone.depth, depth))
    return network


def _flat(network: Mapping[str, Any]) -> dict[str, Any]:
    """Key -> value as JSON has it, which knows no tuples."""
    plain = json.loads(json.dumps(dict(network)))
    backbone = plain.pop("backbone", {})
    return {f"backbone.{key}": value for key, value in backbone.items()} | {f"model.{k}": v for k, v in plain.items()}


def _typed(value: Any) -> str:
    """A value as it is typed on the command line."""
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
