"""Reconstruction models with weights: made from a backbone, or loaded as they were saved."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from inspect import signature
from pathlib import Path
from typing import Any

from muskie.errors import CheckpointError, ConfigError, nearest
from muskie.models.hub_weights import load_safetensors
from muskie.models.masked_view import MaskedViewModel
from muskie.models.model_kind import RECONSTRUCTION, check_kind
from muskie.models.named import TIMM, Network, Spec, named_model
from muskie.models.recon_backbone import OF_ENCODER
from muskie.models.reconstruction import TRAINED, ReconstructionModel
from muskie.models.variants import list_models, model_folder


def create_reconstruction_model(backbone: Spec | MaskedViewModel, **settings: Any) -> ReconstructionModel:
    """A new reconstruction model on a backbone, whose weights are kept; decoder and heads are fresh.

    Args:
        backbone: as in `muskie.models.named.named_model`: the folder of a run or of a model, a model of ours on the
            Hugging Face hub, one of `muskie.list_models()` with fresh weights, or `timm/NAME`; or a pre-training model
            itself, whose weights are copied.
        settings: of `ReconstructionModel`, all but `backbone` and what is known of its training; `init` and `seed` also of
            fresh weights of the backbone.

    Raises:
        ConfigError: a name or a setting that cannot be used.
        CheckpointError: weights that are not there, or cannot be downloaded.
    """
    known = set(signature(ReconstructionModel.__init__).parameters) - {"self", "backbone", "kind", *TRAINED}
    for key in settings:
        if key not in known:
            raise ConfigError(f"model.{key} is unknown{nearest(key, known, 'model')}")
    seed, init = settings.get("seed", 0), settings.get("init", "torch")
    if isinstance(backbone, MaskedViewModel):
        given: Network = backbone
        arguments: dict[str, Any] = {}
    else:
        arguments = dict(backbone) if isinstance(backbone, Mapping) else {"name": backbone}
        name = str(arguments.get("name", ""))
        if name.startswith(TIMM):
            arguments["num_classes"] = 0
        elif name in list_models() and not Path(name).is_dir():
            arguments.setdefault("init", init)
        given = named_model(arguments, seed).model
    if isinstance(given, MaskedViewModel):
        kind = OF_ENCODER.get(given.encoder.config.kind, "")
        if not kind:
            raise ConfigError(
                f"an encoder of kind {given.encoder.config.kind!r} is no backbone yet, only those of kind "
                f"{', '.join(OF_ENCODER)}; make a Backbone known by backbone_kind, and name it in OF_ENCODER, both of "
                "muskie.models.recon_backbone"
            )
        config, prefix, weights = {"kind": kind, **asdict(given.encoder.config)}, "encoder.", given.encoder.state_dict()
    else:
        extra = {k: v for k, v in arguments.items() if k not in ("name", "label", "pretrained", "seed", "num_classes")}
        config, prefix, weights = {"kind": "timm", "name": given.name, "arguments": extra}, "body.", given.state_dict()
    model = ReconstructionModel(backbone=config, **settings)
    wanted = model.backbone.state_dict()
    # What the backbone needs for its own task alone is left behind.
    model.backbone.load_state_dict({key: weights[key.removeprefix(prefix)] for key in wanted})
    return model


def load_reconstruction_model(
    folder_or_hub_id: str | Path, map_location: str = "cpu", strict: bool = True, **hub: Any
) -> ReconstructionModel:
    """A reconstruction model with its saved weights, set to evaluation.

    Args:
        folder_or_hub_id: a folder written by `save_pretrained`; the folder of a run, whose `model/` holds the weights of
            its last end; or the name of a model on the Hugging Face hub.
        map_location: the device of the weights.
        strict: refuse missing and unexpected weights; else a warning names them, and those that are missing keep the fresh
            values of the model's seed.
        hub: for the hub alone, e.g. `revision`, `cache_dir`, `token`, `local_files_only`: see
            `huggingface_hub.snapshot_download`.

    Raises:
        ConfigError: `~name` is nobody's.
        CheckpointError: an incomplete or broken folder, a model of another kind, or that needs a library that is not
            installed, weights that are missing, unexpected or of another shape, or a name that the hub does not give.
    """
    folder = model_folder(folder_or_hub_id)
    try:
        here = folder if isinstance(folder, Path) else _download(folder, hub)
        config = json.loads((here / "config.json").read_text())
        check_kind(config, RECONSTRUCTION, folder)
        model = ReconstructionModel(**config)
        load_safetensors(model, here / "model.safetensors", folder, map_location, strict)
    except CheckpointError:
        raise
    except ConfigError as error:
        raise CheckpointError(f"{folder}: its config.json cannot be used: {error}") from error
    except RuntimeError as error:  # PyTorch's, which lists the keys
        raise CheckpointError(f"{folder}: {error}") from error
    except Exception as error:
        # The hub's library, JSON and safetensors each have errors of their own for what is not there or broken.
        what = "neither a folder here nor a reconstruction model that the Hugging Face hub gives"
        if Path(folder).exists():
            what = "config.json or model.safetensors is broken; write it anew by save_pretrained"
        reason = (str(error).strip().splitlines() or [""])[0]
        raise CheckpointError(f"{folder}: {what} ({type(error).__name__}: {reason})") from error
    return model.to(map_location).eval()


def _download(name: str, settings: Mapping[str, Any]) -> Path:
    from huggingface_hub import snapshot_download

    return Path(snapshot_download(name, allow_patterns=["config.json", "model.safetensors"], **settings))
