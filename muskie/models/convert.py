"""Published Muskie checkpoints to a model folder of ours, with an account of every key.

Two layouts are known: whole alternating blocks, `blocks.{i}.{frame_attn, global_atten, ...}`, and flat layers, `blocks.{2i}`
frame-wise and `blocks.{2i + 1}` global; either may carry the `module.` prefix of a distributed run. Nothing in a checkpoint
is executed: tensors are read, and the few classes that training runs leave beside them become empty stand-ins.
"""

from __future__ import annotations

import json
import pickle
import re
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from muskie.errors import CheckpointError
from muskie.models.encoder import EncoderConfig
from muskie.models.masked_view import MaskedViewModel
from muskie.models.variants import muskie_base, muskie_huge, muskie_large, muskie_small

PUBLISHED = {function.__name__: function() for function in (muskie_small, muskie_base, muskie_large, muskie_huge)}

# What the authors' training runs pickle beside the weights: the arguments, as argparse or OmegaConf keep them.
INERT = (
    *("argparse.Namespace", "pathlib.PosixPath", "pathlib.WindowsPath", "pathlib._local.PosixPath", "typing.Any"),
    *("builtins.int", "builtins.float", "builtins.bool", "builtins.str", "builtins.list", "builtins.dict"),
    *("collections.defaultdict", "omegaconf.base.ContainerMetadata", "omegaconf.base.Metadata"),
    *("omegaconf.dictconfig.DictConfig", "omegaconf.listconfig.ListConfig"),
    *(f"omegaconf.nodes.{kind}Node" for kind in ("Any", "Boolean", "Float", "Integer", "Path", "String")),
)

# Parts of the whole-block layout -> our names; in the flat layout both layers have the names of our `Block`.
BLOCK = {
    "norm1": "frame_block.norm1",
    "frame_attn.qkv": "frame_block.attn.qkv",
    "frame_attn.proj": "frame_block.attn.proj",
    "norm2": "frame_block.norm2",
    "frame_mlp.fc1": "frame_block.mlp.fc1",
    "frame_mlp.fc2": "frame_block.mlp.fc2",
    "norm3": "global_block.norm1",
    "global_atten.qkv": "global_block.attn.qkv",
    "global_atten.proj": "global_block.attn.proj",
    "norm4": "global_block.norm2",
    "global_mlp.fc1": "global_block.mlp.fc1",
    "global_mlp.fc2": "global_block.mlp.fc2",
}


class _Inert:
    """Stands in for a pickled object that is no weight: it takes whatever it is given and keeps nothing."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass


@dataclass
class Report:
    """What became of every key, by its published name.

    Attributes:
        variant: the published model of this size, or "other".
        encoder: the configuration read from the shapes.
        converted: (published name, our name, published shape).
        missing, unexpected: published names.
        wrong: published names, each with what is wrong with the tensor.
    """

    variant: str
    encoder: EncoderConfig
    converted: list[tuple[str, str, tuple[int, ...]]] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        e = self.encoder
        rope = f"angles rounded to {e.rope_angles_in}" if e.rope_angles_in else "exact angles"
        lines = [f"{self.variant}: width {e.width}, {e.depth} alternating blocks, {e.heads} heads, RoPE with {rope}"]
        lines += [f"converted   {old} -> {new} {list(shape)}" for old, new, shape in self.converted]
        lines += [f"missing     {key}" for key in self.missing]
        lines += [f"unexpected  {key}" for key in self.unexpected]
        lines += [f"wrong       {key}" for key in self.wrong]
        counts = ("converted", "missing", "unexpected", "wrong")
        return "\n".join([*lines, ", ".join(f"{len(getattr(self, name))} {name}" for name in counts)])

    def check(self, origin: str | Path) -> None:
        """Raises `CheckpointError`, naming every key, unless all went well."""
        parts = (("missing", self.missing), ("unexpected", self.unexpected), ("wrong", self.wrong))
        bad = "; ".join(f"{what}: {', '.join(keys)}" for what, keys in parts if keys)
        if bad:
            raise CheckpointError(f"{origin} is no complete Muskie checkpoint, nothing was written ({bad})")


def read_published(path: Path) -> dict[str, Tensor]:
    """The weights of a published checkpoint by their names, without a `module.` prefix.

    Raises:
        CheckpointError: not a file, unreadable, needs classes that are not known, or holds another kind of weights.
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
    if any(key.startswith("encoder.encoder.") for key in keys):
        raise CheckpointError(
            f"{path} is a published reconstruction (ffrecon) checkpoint: encoder, further blocks, point and camera heads. "
            "Only pre-training checkpoints (muskie-base.pth, muskie-large.pth) are converted"
        )
    if any(key.startswith("encoder.blocks.") for key in keys):
        raise CheckpointError(f"{path} holds weights in the layout of this framework already: nothing to convert")
    return dict(zip(keys, weights.values(), strict=True))


def names(depth: int, flat: bool, norm: str = "decoder_norm") -> dict[str, str]:
    """Every published name -> our name, for `depth` alternating blocks."""

    def modules() -> Iterator[tuple[str, str]]:
        yield "patch_embed.proj", "encoder.patch_embed"
        yield norm, "encoder.norm"
        yield "decoder_pred", "head"
        for i in range(depth):
            for old, new in BLOCK.items():
                if flat:
                    layer, _, old = new.partition(".")
                    old = f"{2 * i + (layer == 'global_block')}.{old}"
                else:
                    old = f"{i}.{old}"
                yield f"blocks.{old}", f"encoder.blocks.{i}.{new}"

    table = {"register_tokens": "encoder.registers", "mask_placeholder": "encoder.placeholder"}
    return table | {f"{old}.{kind}": f"{new}.{kind}" for old, new in modules() for kind in ("weight", "bias")}


def convert(
    weights: Mapping[str, Any], heads: int | None = None, exact_rope: bool = False
) -> tuple[MaskedViewModel, Report]:
    """A model with the weights of a published state dict that fit, and the account of all; see `Report.check`.

    Args:
        weights: fp32 or fp16 tensors by published name, as from `read_published`.
        heads: attention heads, which shapes do not tell; None: those of the published model of this size.
        exact_rope: take RoPE angles as they are, and not rounded to fp16 as when the published weights were trained.

    Raises:
        CheckpointError: the size of the model cannot be told from the shapes.
    """
    first = weights.get("patch_embed.proj.weight")
    if not isinstance(first, Tensor) or first.ndim != 4:
        raise CheckpointError(
            f"no patch_embed.proj.weight [width, 3, p, p] among {len(weights)} keys ({', '.join(list(weights)[:4])}, ...): "
            "these are not the weights of a published Muskie model"
        )
    numbers = {match[1] for key in weights if (match := re.match(r"blocks\.(\d+)\.", key))}
    flat = any(re.match(r"blocks\.\d+\.attn\.", key) for key in weights)
    width, depth = len(first), -(-len(numbers) // 2) if flat else len(numbers)
    variant = next((name for name, v in PUBLISHED.items() if (v["width"], v["depth"]) == (width, depth)), "other")
    if heads is None and variant == "other":
        raise CheckpointError(
            f"no published model has width {width} and {depth} alternating blocks: the file may be incomplete. If it is "
            "not, give --heads, which shapes do not tell"
        )
    heads = PUBLISHED[variant]["heads"] if heads is None else heads
    if heads < 1 or width % heads or width // heads % 4 or not depth:
        raise CheckpointError(f"--heads {heads}: width {width}, depth {depth}; width over heads must be a multiple of 4")
    rounded = None if exact_rope else "float16"
    config = EncoderConfig(width, depth, heads, patch_size=first.shape[-1], rope_angles_in=rounded)
    report = Report(variant, config)
    model = MaskedViewModel(encoder=asdict(config))
    norm = "norm" if "norm.weight" in weights and "decoder_norm.weight" not in weights else "decoder_norm"
    table = names(depth, flat, norm)
    report.missing = [key for key in table if key not in weights]
    report.unexpected = [key for key in weights if key not in table]
    own = model.state_dict()
    for old, new in table.items():
        if old not in weights:
            continue
        tensor, expected = weights[old], own[new]
        # The published registers and placeholder have axes of length 1 in front.
        lead = {"register_tokens": (1, 1), "mask_placeholder": (1, 1, 1)}.get(old, ())
        shape = (*lead, *expected.shape)
        if not isinstance(tensor, Tensor) or not tensor.is_floating_point():
            report.wrong.append(f"{old} is {getattr(tensor, 'dtype', type(tensor).__name__)}, not a floating-point tensor")
        elif tuple(tensor.shape) != shape:
            report.wrong.append(f"{old} has shape {list(tensor.shape)} instead of {list(shape)}")
        elif not tensor.isfinite().all():
            report.wrong.append(f"{old} holds values that are not finite")
        else:
            expected.copy_(tensor.reshape(expected.shape))
            report.converted.append((old, new, shape))
    return model, report


def check_folder(out: Path, overwrite: bool = False) -> None:
    """Raises `CheckpointError` unless a model may be written to `out`."""
    if out.is_file():
        raise CheckpointError(f"{out} is a file; give a folder")
    if out.is_dir() and any(out.iterdir()) and not overwrite:
        raise CheckpointError(f"{out} exists and is not empty; give another folder, or --overwrite")


def write(model: MaskedViewModel, out: Path, origin: str) -> None:
    """Writes `model.safetensors`, `config.json` and a model card that names `origin`; beside first, then renamed."""
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out, prefix=".part-") as beside:
        # This card stands in for the one that runs of ours give their weights.
        card = f"Weights published by the authors of Muskie (arXiv 2511.18115), converted from {origin}.\n"
        (Path(beside) / "README.md").write_text(f"---\nlibrary_name: muskie\n---\n{card}")
        (Path(beside) / "trained_on.yaml").write_text(f"- unknown: {json.dumps(origin)}\n")  # see muskie/history.py
        model.save_pretrained(beside)
        for file in Path(beside).iterdir():
            file.replace(out / file.name)
