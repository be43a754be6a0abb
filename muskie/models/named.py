"""From what somebody names to a network: a run, a folder of weights, a model of ours, or any ViT of timm."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from muskie.errors import ConfigError, did_you_mean
from muskie.models.masked_view import MaskedViewModel
from muskie.models.timm_vit import TimmViT
from muskie.models.variants import create_model, from_pretrained, list_models
from muskie.paths import typed_path

TIMM = "timm/"

UNTRAINED = ", untrained"
"""What the name of a network with its weights of before training ends with."""

Spec = str | Path | Mapping[str, Any]
"""A name, or `{name: ..., label: ..., pretrained: ..., seed: ..., <arguments of the model>}`."""

Network = MaskedViewModel | TimmViT


@dataclass
class Named:
    """A network that somebody named.

    Attributes:
        label: what tables call it.
        model: the network itself.
        depth: layers that it has.
        fresh: makes the same network with the weights of before training; None: it has these.
    """

    label: str
    model: Network
    depth: int
    fresh: Callable[[], Network] | None = None


def named_model(spec: Spec, seed: int = 0) -> Named:
    """A network by its name.

    Args:
        spec: one of

            - the folder of a run, a folder written by `save_pretrained`, or a model of ours on the Hugging Face hub;
            - a model of ours without weights, one of `muskie.list_models()`, with `{name: muskie_tiny, width: 96}` for
              other shapes;
            - `timm/NAME`, any ViT of timm with its published weights; `{name: timm/NAME, pretrained: false}` without.

            In the form of a mapping, `label` is what tables call it, and `seed` goes before the argument of that name.
        seed: of fresh weights.

    Raises:
        ConfigError: a name or an argument that cannot be used.
        CheckpointError: weights that are not there, or cannot be downloaded.
    """
    arguments: dict[str, Any] = dict(spec) if isinstance(spec, Mapping) else {"name": spec}
    name = arguments.pop("name", None)
    if not isinstance(name, str | Path) or not str(name):
        raise ConfigError(f"backbone={spec!r}: name must be given, e.g. {{name: timm/vit_small_patch16_224}}")
    name, label = str(name), str(arguments.pop("label", None) or "")
    if name.startswith(TIMM):
        seed = arguments.pop("seed", seed)
        return _timm(name.removeprefix(TIMM), label or name, seed, arguments)
    if name in list_models() and not Path(name).is_dir():
        model = _fresh(name, {"seed": seed, **arguments})
        return Named(label or f"{name}{UNTRAINED}", model, model.encoder.config.depth)
    if arguments:
        raise ConfigError(f"backbone {name}: {', '.join(sorted(arguments))} cannot be set, for it has weights")
    if "/" not in name and not typed_path(name, "backbone").exists():
        raise ConfigError(
            f"backbone {name!r} is no folder here and no model of ours{did_you_mean(name, list_models()) or '.'} A ViT of "
            f"timm is called timm/NAME, a model on the Hugging Face hub OWNER/NAME"
        )
    model = from_pretrained(name)
    return Named(label or label_of(name), model, model.encoder.config.depth, model.untrained)


def label_of(name: str) -> str:
    """What tables call a backbone: a run by its folder, also where its `model` folder was named."""
    path = typed_path(name, "backbone").resolve()
    return (path.parent if path.name == "model" else path).name if path.exists() else name


def _fresh(name: str, arguments: dict[str, Any]) -> MaskedViewModel:
    if arguments.pop("pretrained", False):
        raise ConfigError(f"backbone {name}: pretrained=true, and it has no published weights; name the folder of a run")
    try:
        return create_model(name, **arguments)
    except TypeError as error:
        raise ConfigError(f"backbone {name} with {arguments}: {error}") from error


def _timm(name: str, label: str, seed: int, arguments: dict[str, Any]) -> Named:
    pretrained = arguments.pop("pretrained", True)

    def fresh() -> TimmViT:
        return TimmViT(name, False, seed, **arguments)

    model = TimmViT(name, pretrained, seed, **arguments)
    return Named(label if pretrained else f"{label}{UNTRAINED}", model, model.depth, fresh if pretrained else None)
