"""Published Muskie checkpoints to a model folder of ours, with an account of every key.

Two layouts are known: whole alternating blocks, `blocks.{i}.{frame_attn, global_atten, ...}`, and flat layers, `blocks.{2i}`
frame-wise and `blocks.{2i + 1}` global. `published_file` reads the file; fine-tuned ones are for `convert_recon`.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from huggingface_hub import PyTorchModelHubMixin
from torch import Tensor

from muskie.errors import CheckpointError
from muskie.models.encoder import EncoderConfig
from muskie.models.masked_view import MaskedViewModel
from muskie.models.parts import part_settings
from muskie.models.published_file import FINETUNED, OTHERS, published_kind, read_weights
from muskie.models.variants import muskie_base, muskie_huge, muskie_large, muskie_small

PUBLISHED = {function.__name__: function() for function in (muskie_small, muskie_base, muskie_large, muskie_huge)}

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


@dataclass
class Report:
    """What became of every key, by its published name.

    Attributes:
        variant: the published model of this size, or "other".
        encoder: the configuration read from the shapes.
        converted: (published name, our name, published shape).
        missing, unexpected: published names.
        wrong: published names, each with what is wrong with the tensor.
        what: the kind of checkpoint.
    """

    variant: str
    encoder: Any
    converted: list[tuple[str, str, tuple[int, ...]]] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    what: str = "Muskie checkpoint"

    def title(self) -> str:
        """What it is, in a line."""
        e = self.encoder
        rope = f"angles rounded to {e.rope_angles_in}" if e.rope_angles_in else "exact angles"
        return f"{self.variant}: width {e.width}, {e.depth} alternating blocks, {e.heads} heads, RoPE with {rope}"

    def __str__(self) -> str:
        lines = [self.title()]
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
            raise CheckpointError(f"{origin} is no complete {self.what}, nothing was written ({bad})")


def read_published(path: Path) -> dict[str, Any]:
    """The weights of a published pre-training checkpoint by their names, without a `module.` prefix.

    Raises:
        CheckpointError: as `read_weights`, or it holds another kind of weights.
    """
    weights = read_weights(path)
    kind = published_kind(weights, path)
    if kind in OTHERS:
        raise CheckpointError(
            f"{path} is a published {kind} checkpoint. One of Muskie's pre-training (muskie-base.pth, muskie-large.pth) is "
            "needed here; scripts/convert_checkpoint.py makes a model of this one, whose folder can be named instead"
        )
    if kind == FINETUNED:
        raise CheckpointError(
            f"{path} is a published reconstruction (ffrecon) checkpoint: encoder, further blocks, point and camera heads. A "
            "pre-training checkpoint (muskie-base.pth, muskie-large.pth) is needed here; scripts/convert_checkpoint.py "
            "makes a reconstruction model of this one"
        )
    return weights


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
    variant, config, flat = encoder_shape(weights, first, "", heads, exact_rope)
    report = Report(variant, config)
    model = MaskedViewModel(encoder=part_settings(config))
    norm = "norm" if "norm.weight" in weights and "decoder_norm.weight" not in weights else "decoder_norm"
    table = names(config.depth, flat, norm)
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


def encoder_shape(
    weights: Mapping[str, Any], embedding: Tensor, prefix: str, heads: int | None, exact_rope: bool
) -> tuple[str, EncoderConfig, bool]:
    """The published model of this size or "other", the encoder's shape, and whether its layers are flat.

    Args:
        weights: by published name.
        embedding: [width, 3, p, p], of the patches.
        prefix: of the encoder's names.
        heads, exact_rope: see `convert`.

    Raises:
        CheckpointError: no size that was published, and no `heads`; or heads that do not suit the width.
    """
    blocks = re.compile(rf"{re.escape(prefix)}blocks\.(\d+)\.(attn\.)?")
    found = [match for key in weights if (match := blocks.match(key))]
    flat, numbers = any(match[2] for match in found), {match[1] for match in found}
    width, depth = len(embedding), -(-len(numbers) // 2) if flat else len(numbers)
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
    return variant, EncoderConfig(width, depth, heads, patch_size=embedding.shape[-1], rope_angles_in=rounded), flat


def check_folder(out: Path, overwrite: bool = False) -> None:
    """Raises `CheckpointError` unless a model may be written to `out`."""
    if out.is_file():
        raise CheckpointError(f"{out} is a file; give a folder")
    if out.is_dir() and any(out.iterdir()) and not overwrite:
        raise CheckpointError(f"{out} exists and is not empty; give another folder, or --overwrite")


def write(model: PyTorchModelHubMixin, out: Path, origin: str, method: str = "Muskie (arXiv 2511.18115)") -> None:
    """Writes `model.safetensors`, `config.json` and a model card that names `origin` and whose `method` it is; beside first,
    then renamed."""
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out, prefix=".part-") as beside:
        # This card stands in for the one that runs of ours give their weights.
        card = f"Weights published by the authors of {method}, converted from {origin}.\n"
        (Path(beside) / "README.md").write_text(f"---\nlibrary_name: muskie\n---\n{card}")
        (Path(beside) / "trained_on.yaml").write_text(f"- unknown: {json.dumps(origin)}\n")  # see muskie/history.py
        model.save_pretrained(beside)
        for file in Path(beside).iterdir():
            file.replace(out / file.name)
