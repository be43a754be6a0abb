"""Published fine-tuned (ffrecon) checkpoints of Muskie to a reconstruction model of ours, with an account of every key.

Encoder and further blocks are named as in `muskie.models.convert`; the heads are those of `muskie.models.heads`. Parts that
the published network never runs (`DEAD`) are named in the report and left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from muskie.errors import CheckpointError
from muskie.models.convert import BLOCK, Report, encoder_shape, names
from muskie.models.published_file import BLOCKS, ENCODER, FINETUNED, HEADS, published_kind, read_weights
from muskie.models.reconstruction import ReconstructionModel

DEAD = re.compile(
    r"encoder\.encoder\.(mask_placeholder|decoder_pred\..*|(decoder_)?norm\.(weight|bias))"
    r"|head\.\w+_head\.scratch\.refinenet4\.resConfUnit1\..*"
)
"""What pre-training alone uses, and the part of the coarsest fusion that would add a level to a coarser one."""

SIZES, VIEWS = [224], [8]
"""Of the published fine-tuning, see `configs/recipe/published.yaml`: what such weights know."""

_FACTOR = {1: 4, 2: 2}  # of the levels that a transposed convolution enlarges


@dataclass
class ReconstructionReport(Report):
    """See `Report`.

    Attributes:
        skipped: published names of what is never run.
        aliases: second names of weights that are there by their first as well.
    """

    what: str = "fine-tuned Muskie checkpoint"
    decoder_depth: int = 0
    skipped: list[str] = field(default_factory=list)
    aliases: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        first, *rest = super().__str__().split("\n")
        counts = f"{rest.pop()}, {len(self.skipped)} skipped, {len(self.aliases)} aliases"
        rest += [f"skipped     {key} (never run)" for key in self.skipped]
        rest += [f"alias       {key}" for key in self.aliases]
        return "\n".join([f"{first}; {self.decoder_depth} further blocks, point and camera heads", *rest, counts])


def read_finetuned(path: Path) -> dict[str, Any]:
    """The weights of a published fine-tuned checkpoint by their names, without a `module.` prefix.

    Raises:
        CheckpointError: as `read_weights`, or weights of another model.
    """
    weights = read_weights(path)
    if published_kind(weights, path) != FINETUNED:
        raise CheckpointError(
            f"{path} holds no published reconstruction (ffrecon) weights, whose names begin with {ENCODER}; "
            "pre-training checkpoints (muskie-base.pth, muskie-large.pth) are converted by muskie.models.convert.convert"
        )
    return weights


def head_names(head: str) -> dict[str, tuple[str, str | None]]:
    """Published name -> our name and, where there is one, the alias, of a dense head (`point_head`, `depth_head`)."""

    def modules() -> Iterator[tuple[str, str, str | None]]:
        for n in range(4):
            yield f"scratch.layer{n + 1}_rn", f"gather.{n}", f"scratch.layer_rn.{n}"
            yield f"act_{n + 1}_postprocess.0", f"reduce.{n}", f"act_postprocess.{n}.0"
            if n != 2:
                inner = ".conv" if n + 1 in _FACTOR else ""
                yield f"act_{n + 1}_postprocess.1", f"scale.{n}{inner}", f"act_postprocess.{n}.1"
            yield f"scratch.refinenet{n + 1}.out_conv", f"fusion.{n}.project", None
            for unit, ours in ((1, "skip"), (2, "merged")):
                for conv in (1, 2) if n < 3 or unit == 2 else ():
                    yield f"scratch.refinenet{n + 1}.resConfUnit{unit}.conv{conv}", f"fusion.{n}.{ours}.conv{conv}", None
        for old, new in ((0, "smooth"), (2, "mix"), (4, "out")):
            yield f"head.{old}", new, None

    table: dict[str, tuple[str, str | None]] = {}
    for old, new, alias in modules():
        for kind in ("weight",) if new.startswith("gather") else ("weight", "bias"):
            second = f"{HEADS}{head}.{alias}.{kind}" if alias else None
            table[f"{HEADS}{head}.{old}.{kind}"] = (f"{head}.{new}.{kind}", second)
    return table


def all_names(depth: int, flat: bool, decoder_depth: int, depth_head: bool) -> dict[str, tuple[str, str | None]]:
    """Every published name that is converted -> our name and the alias or None."""
    table: dict[str, tuple[str, str | None]] = {}
    for old, new in names(depth, flat).items():
        if not DEAD.fullmatch(ENCODER + old):
            table[ENCODER + old] = (f"backbone.{new}", None)
    for i in range(decoder_depth):
        for old, new in BLOCK.items():
            for kind in ("weight", "bias"):
                table[f"{BLOCKS}{i}.{old}.{kind}"] = (f"decoder.blocks.{i}.{new}.{kind}", None)
    for head in ("point_head", *(["depth_head"] if depth_head else [])):
        table |= head_names(head)
    camera = [(f"res_conv.{i}.res_conv{k + 1}", f"residual.{i}.layers.{k}") for i in range(2) for k in range(3)]
    camera += [("more_mlps.0", "mlp.0"), ("more_mlps.2", "mlp.2"), ("fc_t", "translation"), ("fc_rot", "rotation")]
    for old, new in camera:
        for kind in ("weight", "bias"):
            table[f"{HEADS}camera_head.{old}.{kind}"] = (f"camera_head.{new}.{kind}", None)
    return table


def convert(
    weights: Mapping[str, Any], heads: int | None = None, hooks: Sequence[int] | None = None, exact_rope: bool = False
) -> tuple[ReconstructionModel, ReconstructionReport]:
    """A model with the weights of a published state dict that fit, and the account of all; see `ReconstructionReport.check`.

    Args:
        weights: fp32 or fp16 tensors by published name, as from `read_finetuned`.
        heads: attention heads, which shapes do not tell; None: those of the published model of this size.
        hooks: layers that the dense heads read, which shapes do not tell; None: the published ones.
        exact_rope: take RoPE angles as they are, and not rounded to fp16 as when the published weights were trained.

    Raises:
        CheckpointError: the size of the model cannot be told from the shapes.
    """
    embed, gather = f"{ENCODER}patch_embed.proj.weight", f"{HEADS}point_head.scratch.layer1_rn.weight"
    first = weights.get(embed)
    fused = weights.get(gather, weights.get(gather.replace("layer1_rn", "layer_rn.0")))
    for key, tensor in ((embed, first), (gather, fused)):
        if not isinstance(tensor, Tensor) or tensor.ndim != 4:
            raise CheckpointError(
                f"no {key} with four axes among {len(weights)} keys ({', '.join(list(weights)[:4])}, ...): these are not "
                "the weights of a published reconstruction model"
            )
    assert first is not None and fused is not None
    variant, config, flat = encoder_shape(weights, first, ENCODER, heads, exact_rope)
    decoder_depth = len({key[len(BLOCKS) :].split(".")[0] for key in weights if key.startswith(BLOCKS)})
    depth_head = any(key.startswith(f"{HEADS}depth_head.") for key in weights)
    model = ReconstructionModel(
        {"kind": "muskie", **asdict(config)}, decoder_depth, len(fused), hooks, depth_head, published=True
    )
    model.note_training(SIZES, VIEWS)
    report = ReconstructionReport(variant, config, decoder_depth=decoder_depth)
    _fill(model, weights, all_names(config.depth, flat, decoder_depth, depth_head), report)
    return model, report


@torch.no_grad()
def _fill(
    model: ReconstructionModel,
    weights: Mapping[str, Any],
    table: Mapping[str, tuple[str, str | None]],
    report: ReconstructionReport,
) -> None:
    """Copies what fits and writes down what became of every key."""
    aliases = {alias for _, alias in table.values() if alias}
    report.skipped = [key for key in weights if DEAD.fullmatch(key)]
    report.unexpected = [key for key in weights if key not in table and key not in aliases and not DEAD.fullmatch(key)]
    own = model.state_dict()
    for old, (new, alias) in table.items():
        found = [key for key in (old, alias) if key and key in weights]
        if not found:
            report.missing.append(old)
            continue
        key, *second = found
        fitting, problem = _fitting(weights[key], own[new], key)
        if problem:
            report.wrong.append(f"{key} {problem}")
        elif second and not torch.equal(weights[key], weights[second[0]]):
            report.wrong.append(f"{second[0]} differs from {key}, of which it is another name")
        else:
            assert fitting is not None
            own[new].copy_(fitting)
            report.converted.append((key, new, tuple(weights[key].shape)))
            report.aliases += [f"{name} = {key}" for name in second]


def _fitting(tensor: Any, ours: Tensor, key: str) -> tuple[Tensor | None, str]:
    """A published tensor in our form, or None and what is wrong with it."""
    if not isinstance(tensor, Tensor) or not tensor.is_floating_point():
        return None, f"is {getattr(tensor, 'dtype', type(tensor).__name__)}, not a floating-point tensor"
    shape: tuple[int, ...] = tuple(ours.shape)
    enlarge = re.search(r"act_([12])_postprocess\.1\.|act_postprocess\.([01])\.1\.", key)
    factor = _FACTOR[int(enlarge[1] or int(enlarge[2]) + 1)] if enlarge else 0
    if key.endswith("register_tokens"):
        shape = (1, 1, *shape)  # axes of length 1 in front
    elif enlarge:
        width = len(ours) // factor**2
        shape = (width, width, factor, factor) if ours.ndim == 4 else (width,)
    if tuple(tensor.shape) != shape:
        return None, f"has shape {list(tensor.shape)} instead of {list(shape)}"
    if not tensor.isfinite().all():
        return None, "holds values that are not finite"
    if enlarge and ours.ndim == 4:  # [in, out, k, k] of a transposed convolution -> [out·k·k, in, 1, 1]
        return tensor.permute(1, 2, 3, 0).reshape(ours.shape), ""
    return tensor.repeat_interleave(factor**2) if enlarge else tensor.reshape(ours.shape), ""
