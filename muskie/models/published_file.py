"""Published `.pth` files: read safely, so that nothing in one is executed, and recognised by the names of their weights."""

from __future__ import annotations

import pickle
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from muskie.errors import CheckpointError

PRETRAINED, FINETUNED = "pre-training", "fine-tuned (ffrecon)"
"""The two kinds of Muskie's published checkpoints."""

MUM, CROCO, MAE = "MuM", "CroCo v2", "MAE"
"""Other methods, whose published checkpoints are of pre-training."""

OTHERS = {
    MUM: ("rope_embed.", "rope_embed_decoder.", "decoder_frame_blocks.", "decoder_global_blocks."),
    CROCO: ("enc_blocks.", "enc_norm.", "dec_blocks.", "dec_norm.", "prediction_head."),
    MAE: ("pos_embed", "decoder_pos_embed", "decoder_blocks."),
}
"""What only names of their weights begin with."""

ENCODER, BLOCKS, HEADS = "encoder.encoder.", "encoder.additional_blocks.", "head."
"""What names of fine-tuned weights begin with."""

_STARTS = {
    PRETRAINED: ("patch_embed.", "blocks.", "register_tokens", "mask_placeholder", "decoder_pred."),
    FINETUNED: (ENCODER, BLOCKS, f"{HEADS}point_head.", f"{HEADS}camera_head."),
}
_OWN = ("encoder.blocks.", "backbone.")

# What the authors' training runs pickle beside the weights: the arguments, as argparse or OmegaConf keep them.
INERT = (
    *("argparse.Namespace", "pathlib.PosixPath", "pathlib.WindowsPath", "pathlib._local.PosixPath", "typing.Any"),
    *("builtins.int", "builtins.float", "builtins.bool", "builtins.str", "builtins.list", "builtins.dict"),
    *("collections.defaultdict", "omegaconf.base.ContainerMetadata", "omegaconf.base.Metadata"),
    *("omegaconf.dictconfig.DictConfig", "omegaconf.listconfig.ListConfig"),
    *(f"omegaconf.nodes.{kind}Node" for kind in ("Any", "Boolean", "Float", "Integer", "Path", "String")),
)


class _Inert:
    """Stands in for a pickled object that is no weight: it takes whatever it is given and keeps nothing."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass


def read_weights(path: Path) -> dict[str, Any]:
    """The weights of a published checkpoint alone, see `read_checkpoint`."""
    return read_checkpoint(path)[0]


def read_checkpoint(path: Path) -> tuple[dict[str, Any], Mapping[str, Any]]:
    """The weights of a published checkpoint by their names, without a `module.` prefix, whatever model they are of, and what
    the file holds beside them.

    Raises:
        CheckpointError: not a file, unreadable, needs classes that are not known, or holds no weights.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: there is no such file; give the published .pth")
    try:
        with torch.serialization.safe_globals([(_Inert, name) for name in INERT]):
            loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except Exception as error:
        # PyTorch wraps the cause in advice to load unsafely.
        cause = error.__context__ if isinstance(error, pickle.UnpicklingError) and error.__context__ else error
        foreign = re.findall(r"GLOBAL (\S+)", str(cause))
        if foreign:
            raise CheckpointError(
                f"{path} holds a pickled {foreign[0]}, which is not read: unpickling may run any code. If you trust the "
                "file, load it where that class is known and save its weights alone: torch.save({'model': weights}, ...)"
            ) from error
        reason = (str(cause).splitlines() or [""])[0][:160]
        raise CheckpointError(f"{path} cannot be read as a checkpoint ({type(cause).__name__}: {reason})") from error
    weights = loaded.get("model", loaded) if isinstance(loaded, Mapping) else None
    if not isinstance(weights, Mapping) or not weights:
        raise CheckpointError(f"{path} holds no weights: expected a dict with a state dict under 'model'")
    if str(loaded.get("format", "")).startswith("muskie-checkpoint"):
        raise CheckpointError(f"{path} is a checkpoint of a run of this framework already; use it by resume= or init_from=")
    keys = [str(key) for key in weights]
    if all(key.startswith("module.") for key in keys):
        keys = [key.removeprefix("module.") for key in keys]
    beside = {} if weights is loaded else {key: value for key, value in loaded.items() if key != "model"}
    return dict(zip(keys, weights.values(), strict=True)), beside


def published_kind(weights: Mapping[str, Any], origin: str | Path) -> str:
    """`PRETRAINED`, `FINETUNED`, `MUM`, `CROCO` or `MAE`, told by the names of weights.

    Raises:
        CheckpointError: they are nobody's.
    """
    if any(key.startswith(_OWN) for key in weights):
        raise CheckpointError(f"{origin} holds weights in the layout of this framework already: nothing to convert")
    for kind, starts in OTHERS.items():
        if any(key.startswith(starts) for key in weights):
            return kind
    few = ", ".join(list(weights)[:4])
    if "cls_token" in weights and "register_tokens" not in weights:
        raise CheckpointError(
            f"{origin} has a class token, which Muskie has not, and of its {len(weights)} names ({few}, ...) none tells MuM "
            f"({', '.join(OTHERS[MUM])}) from MAE ({', '.join(OTHERS[MAE])}): the file is incomplete, or of another model"
        )
    for kind in (FINETUNED, PRETRAINED):
        if any(key.startswith(_STARTS[kind]) for key in weights):
            return kind
    raise CheckpointError(
        f"{origin} holds no weights of a published model of Muskie, MuM, CroCo v2 or MAE: of its {len(weights)} names "
        f"({few}, ...) none begins like those of Muskie's pre-training ({', '.join(_STARTS[PRETRAINED])}), of its fine-"
        f"tuning ({', '.join(_STARTS[FINETUNED])}), or of the others. Give muskie-base.pth, MuM_ViTLarge.pth or the like"
    )
