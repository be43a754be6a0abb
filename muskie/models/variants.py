"""The named models. A new one is a decorated function, here or in anybody's package."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from muskie.errors import CheckpointError, ConfigError, nearest
from muskie.models.hub_weights import load_safetensors
from muskie.models.masked_view import MaskedViewModel, shapes
from muskie.models.model_kind import MASKED_VIEWS, check_kind
from muskie.models.parts import part_settings
from muskie.paths import typed_path

_variants: dict[str, Callable[[], dict[str, Any]]] = {}

OF_THE_MODEL = ("confidence", "patch_norm")
"""Arguments of `MaskedViewModel` that a variant may set."""


def model_variant(function: Callable[[], dict[str, Any]]) -> Callable[[], dict[str, Any]]:
    """Makes a function that returns `EncoderConfig` fields (and a `decoder` mapping) known by its name."""
    _variants[function.__name__] = function
    return function


@model_variant
def muskie_tiny() -> dict[str, Any]:
    """3.7 M parameters: for laptops and tests, 64 px images."""
    return {"width": 192, "depth": 4, "heads": 3, "patch_size": 8}


@model_variant
def muskie_small() -> dict[str, Any]:
    """22,182,912 parameters."""
    return {"width": 384, "depth": 6, "heads": 6}


@model_variant
def muskie_base() -> dict[str, Any]:
    """86,831,616 parameters; Muskie-B of the paper."""
    return {"width": 768, "depth": 6, "heads": 12}


@model_variant
def muskie_large() -> dict[str, Any]:
    """304,678,400 parameters; Muskie-L of the paper."""
    return {"width": 1024, "depth": 12, "heads": 16}


@model_variant
def muskie_huge() -> dict[str, Any]:
    """632,638,976 parameters; never released."""
    return {"width": 1280, "depth": 16, "heads": 16}


@model_variant
def mum_vitb16() -> dict[str, Any]:
    """111,655,680 parameters; the size of MuM's ablations (arXiv 2511.17309)."""
    return _mum(768, 12, 12, {"width": 512, "depth": 4, "heads": 16})


@model_variant
def mum_vitl16() -> dict[str, Any]:
    """303,099,904 parameters: MuM's encoder alone, as published for features; it fills nothing in."""
    return _mum(1024, 24, 16, {"depth": 0})


@model_variant
def mum_vitl16_decoderb() -> dict[str, Any]:
    """389,534,464 parameters: MuM's encoder with its base decoder, which is dropped after pre-training."""
    return _mum(1024, 24, 16, {"width": 768, "depth": 6, "heads": 16})


@model_variant
def mum_vith16() -> dict[str, Any]:
    """MuM's largest, never released."""
    return _mum(1280, 32, 16, {"width": 1024, "depth": 12, "heads": 16})


@model_variant
def croco_v2_vitb() -> dict[str, Any]:
    """CroCo v2, base (ICCV 2023), with the base decoder."""
    return _croco(768, 12, 12)


@model_variant
def croco_v2_vitl() -> dict[str, Any]:
    """CroCo v2, large, with the base decoder."""
    return _croco(1024, 24, 16)


@model_variant
def mae_vitb() -> dict[str, Any]:
    """MAE, base (CVPR 2022)."""
    return _mae(768, 12, 12)


@model_variant
def mae_vitl() -> dict[str, Any]:
    """MAE, large."""
    return _mae(1024, 24, 16)


def _mum(width: int, depth: int, heads: int, decoder: dict[str, Any]) -> dict[str, Any]:
    encoder = {"kind": "frames", "width": width, "depth": depth, "heads": heads, "positions": "axial", "norm_eps": 1e-5}
    decoder = {"kind": "alternating", "positions": "axial", "norm_eps": 1e-5, **decoder}
    return {**encoder, "decoder": decoder, "confidence": False, "patch_norm": True}


def _croco(width: int, depth: int, heads: int) -> dict[str, Any]:
    encoder = {"kind": "frames", "width": width, "depth": depth, "heads": heads, "positions": "steps", "class_token": False}
    decoder = {"kind": "cross", "width": 768, "depth": 12, "heads": 12}
    return {**encoder, "decoder": decoder, "confidence": False, "patch_norm": True}


def _mae(width: int, depth: int, heads: int) -> dict[str, Any]:
    encoder = {"kind": "frames", "width": width, "depth": depth, "heads": heads, "positions": "added"}
    decoder = {"kind": "frames", "width": 512, "depth": 8, "heads": 16}
    return {**encoder, "decoder": decoder, "confidence": False, "patch_norm": True}


def list_models() -> list[str]:
    """The names that `create_model` knows."""
    return sorted(_variants)


def model_config(name: str, **overrides: Any) -> tuple[Any, Any]:
    """The shapes of encoder and decoder of a named model, see `create_model`."""
    settings = model_settings(name, **overrides)
    return shapes(settings["encoder"], settings["decoder"])


def model_settings(name: str, **overrides: Any) -> dict[str, Any]:
    """The arguments of `MaskedViewModel` for a named model, see `create_model`."""
    if name not in _variants:
        raise ConfigError(f"model {name!r} is unknown{nearest(name, _variants)}")
    variant = _variants[name]()
    settings = {**variant, **overrides}
    given = settings.pop("decoder", None) or {}
    if not isinstance(given, Mapping):
        raise ConfigError(f"model.decoder={given!r}: expected a mapping such as decoder.depth=2 decoder.width=192")
    of_variant = variant.get("decoder") or {}
    same_kind = given.get("kind", of_variant.get("kind")) == of_variant.get("kind")
    decoder = {**of_variant, **given} if same_kind else given
    whole = {key: settings.pop(key) for key in OF_THE_MODEL if key in settings}
    return {"encoder": settings, "decoder": decoder, **whole}


def create_model(name: str, *, init: str = "torch", seed: int = 0, **overrides: Any) -> MaskedViewModel:
    """A new model with fresh weights.

    Args:
        name: one of `list_models()`.
        init: `"torch"`: PyTorch's defaults, as published; `"mimetic"`: attention starts by content and position
            (`muskie.models.initialise`).
        seed: of the initial weights.
        overrides: fields of the encoder's shape (`patch_size=8`), `decoder`, a mapping of fields of the decoder's shape,
            and `confidence` and `patch_norm` of `MaskedViewModel`.

    Raises:
        ConfigError: an unknown name or field, with the nearest known one.
    """
    settings = model_settings(name, **overrides)
    encoder, decoder = shapes(settings.pop("encoder"), settings.pop("decoder"))
    # All fields are written out, so that `config.json` keeps the meaning of the weights when a default changes.
    return MaskedViewModel(part_settings(encoder), part_settings(decoder), init=init, seed=seed, **settings)


def from_pretrained(folder_or_hub_id: str | Path, **kwargs: Any) -> MaskedViewModel:
    """A model with its saved weights.

    Args:
        folder_or_hub_id: a folder written by `save_pretrained`; the folder of a run, whose `model/` holds the weights of
            its last end, also while it is continued; or the name of a model on the Hugging Face hub.
        kwargs: `map_location` and `strict`; for the hub all of `huggingface_hub.PyTorchModelHubMixin.from_pretrained`.

    Raises:
        ConfigError: `~name` is nobody's.
        CheckpointError: an incomplete or broken folder, weights that are missing, unexpected or of another shape, or a
            name that the hub does not give.
    """
    folder = model_folder(folder_or_hub_id)
    # The default of the hub's library drops what does not fit without a word.
    settings = {"strict": True, **kwargs}
    try:
        if isinstance(folder, Path):
            return _read(folder, **settings)
        return MaskedViewModel.from_pretrained(folder, **settings)
    except (CheckpointError, ConfigError):
        raise
    except RuntimeError as error:  # PyTorch's, which lists the keys
        raise CheckpointError(f"{folder}: {error}") from error
    except Exception as error:
        # The hub's library, JSON and safetensors each have errors of their own for what is not there or broken.
        what = "neither a folder here nor a model that the Hugging Face hub gives"
        if Path(folder).exists():
            what = "config.json or model.safetensors is broken or of another kind of model; write it anew by save_pretrained"
        reason = (str(error).strip().splitlines() or [""])[0]
        raise CheckpointError(f"{folder}: {what} ({type(error).__name__}: {reason})") from error


def _read(folder: Path, map_location: str = "cpu", strict: bool = True) -> MaskedViewModel:
    """What `save_pretrained` wrote; without the hub's library, which prints where it reads from."""
    config = json.loads((folder / "config.json").read_text())
    check_kind(config, MASKED_VIEWS, folder)
    model = MaskedViewModel(**config)
    load_safetensors(model, folder / "model.safetensors", folder, map_location, strict)
    return model.eval()


def model_folder(given: str | Path) -> str | Path:
    """The folder with `config.json` and `model.safetensors` as a path, or the hub's name as text.

    Raises:
        CheckpointError: a folder without them, or the name of a model without weights.
    """
    folder = typed_path(given, "model")
    missing = _missing(folder)
    if not missing:
        return folder
    if not _missing(folder / "model"):
        _warn_if_older(folder)
        return folder / "model"
    if folder.exists() or isinstance(given, Path) or folder.is_absolute():
        hint = "; the run has not ended, continue it" if (folder / "checkpoints").is_dir() else _models_in(folder)
        lacks = f"no {' and no '.join(missing)}" if folder.exists() else "there is no such folder"
        raise CheckpointError(f"{folder}: {lacks}; give a run, or a folder written by save_pretrained{hint}")
    # A name on the hub is owner/name, and an owner is no folder here: it would be asked over the network for a slip.
    beside = folder.parent != Path() and folder.parent.is_dir()
    if beside or str(given).count("/") > 1 or str(given).startswith((".", "~")):
        hint = f"give one written by save_pretrained, or that of a run{_models_in(folder.parent, like=folder.name)}"
        raise CheckpointError(f"{given}: there is no such folder; {hint}")
    if given in _variants:
        raise CheckpointError(f"{given} is a model without weights: muskie.create_model({given!r}) makes a new one")
    return str(given)


def _warn_if_older(run: Path) -> None:
    """A run that was continued and has not ended again has newer weights than those of its `model/`."""
    written = (run / "model" / "config.json").stat().st_mtime
    newer = [path.name for path in sorted((run / "checkpoints").glob("step-*.pt")) if path.stat().st_mtime > written]
    if newer:
        warnings.warn(
            f"{run}: model/ is of its last end; {newer[-1]} is newer: the run goes on, or was stopped", stacklevel=3
        )


def _models_in(folder: Path, like: str = "") -> str:
    """Which folders of a folder hold weights, in words; the one that was perhaps meant first."""
    inside = sorted(folder.iterdir()) if folder.is_dir() else []
    names = [path.name for path in inside if path.is_dir() and not (_missing(path) and _missing(path / "model"))]
    if not names:
        return ""
    nearest = get_close_matches(like, names, n=1)
    shown = [*nearest, *(name for name in names if name not in nearest)][:3]
    return f"; {folder} holds {', '.join(shown)}{', ...' if len(names) > 3 else ''}"


def _missing(folder: Path) -> list[str]:
    return [name for name in ("config.json", "model.safetensors") if not (folder / name).is_file()]
