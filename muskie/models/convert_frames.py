"""Published checkpoints of MuM (arXiv 2511.17309), CroCo v2 (ICCV 2023) and MAE (CVPR 2022) to a model of ours, with an
account of every key.

Three things are stored in another order than ours: MuM's queries and keys, whose channel j turns with channel j + d/2 of a
head, rows and columns in turn (`muskie.models.rope.rotate` has the pairs of rows first); predicted values, which are ordered
by pixel and then by colour (`muskie.models.patches.patchify`: by colour first); and tokens, which have axes of length 1 in
front. What is computed and not learned is compared with ours and left out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from muskie.errors import CheckpointError
from muskie.models.convert import Report
from muskie.models.frame_layouts import LAYOUTS, Shape, Untold, names, shape_of
from muskie.models.masked_view import MaskedViewModel
from muskie.models.parts import part_settings
from muskie.models.positions import added_positions
from muskie.models.published_file import CROCO, MAE, MUM

SOURCES = {MUM: "MuM (arXiv 2511.17309)", CROCO: "CroCo v2 (arXiv 2211.10408)", MAE: "MAE (arXiv 2111.06377)"}
"""Where each is described."""


@dataclass
class FramesReport(Report):
    """See `Report`.

    Attributes:
        decoder: its shape, or None.
        fixed: published names of what is computed and not learned, and is as ours.
    """

    decoder: Any = None
    fixed: list[str] = field(default_factory=list)

    def title(self) -> str:
        e, d = self.encoder, self.decoder
        rope = {"axial": "axial RoPE", "steps": f"RoPE of base {e.rope_base:g}", "added": "added positions"}[e.positions]
        rope += f" in {e.rope_in}" if e.rope_in else ""
        text = f"{self.variant}: width {e.width}, {e.depth} layers, {e.heads} heads, {rope}, eps {e.norm_eps:g}"
        if d is None:
            return f"{text}; no decoder"
        muted = ", class tokens muted in global attention" if getattr(d, "mute_prefix", False) else ""
        return f"{text}; decoder of width {d.width}, {d.depth} blocks, {d.heads} heads{muted}"

    def __str__(self) -> str:
        *lines, counts = super().__str__().split("\n")
        lines += [f"fixed       {key} (as ours, which are computed)" for key in self.fixed]
        return "\n".join([*lines, f"{counts}, {len(self.fixed)} fixed"])


@torch.no_grad()
def convert(
    kind: str, weights: Mapping[str, Any], untold: Untold | None = None, beside: Mapping[str, Any] | None = None
) -> tuple[MaskedViewModel, FramesReport]:
    """A model with the weights of a published state dict that fit, and the account of all; see `Report.check`.

    Args:
        kind: `MUM`, `CROCO` or `MAE` of `muskie.models.published_file`.
        weights: fp32 or fp16 tensors by published name, as from `read_weights`.
        untold: what shapes do not tell; None: as published.
        beside: what the file holds beside weights; CroCo's `croco_kwargs` tell heads and positions.

    Raises:
        CheckpointError: the size of the model cannot be told from the shapes.
    """
    untold = _told_beside(kind, untold or Untold(), beside or {})
    shape = shape_of(kind, weights, untold)
    e, d = shape.encoder, shape.decoder
    model = MaskedViewModel(part_settings(e), part_settings(d) if d else None, confidence=False, patch_norm=True)
    report = FramesReport(shape.variant, e, what=f"{kind} checkpoint", decoder=d)
    table = names(kind, e.depth, d.depth if d else 0)
    fixed = _fixed_names(kind, shape)
    report.missing = [key for key in (*table, *fixed) if key not in weights]
    report.unexpected = [key for key in weights if key not in table and key not in fixed]
    own = model.state_dict()
    for old, new in table.items():
        if old not in weights:
            continue
        tensor, expected = weights[old], own[new]
        shape_there = (1, 1, *expected.shape) if old in ("cls_token", "mask_token") else tuple(expected.shape)
        problem = _problem(tensor, shape_there)
        if problem:
            report.wrong.append(f"{old} {problem}")
        else:
            expected.copy_(_in_our_order(kind, old, tensor.reshape(expected.shape), shape))
            report.converted.append((old, new, shape_there))
    for old, part in fixed.items():
        if old in weights:
            compare = _compare_periods if kind == MUM else _compare_positions
            problem = compare(weights[old], part)
            if problem:
                report.wrong.append(f"{old} {problem}")
            else:
                report.fixed.append(old)
    return model, report


def _told_beside(kind: str, untold: Untold, beside: Mapping[str, Any]) -> Untold:
    """What a file tells of itself, which has to agree with what is given."""
    if kind == MAE and untold.rope_in is not None:
        raise CheckpointError(f"--rope-in {untold.rope_in}: MAE has no rotary positions")
    told = beside.get("croco_kwargs")
    if kind != CROCO or not isinstance(told, Mapping):
        return untold
    heads = {}
    for flag, name in (("heads", "enc_num_heads"), ("decoder_heads", "dec_num_heads")):
        given, there = getattr(untold, flag), told.get(name)
        if given is not None and there is not None and given != there:
            raise CheckpointError(f"--{flag.replace('_', '-')} {given}: croco_kwargs of the file has {name}={there}")
        heads[flag] = there if given is None else given
    positions = str(told.get("pos_embed", "RoPE100"))
    base = re.fullmatch(r"RoPE(\d+(?:\.\d+)?)", positions)
    if base is None or not float(base[1]):
        raise CheckpointError(f"croco_kwargs of the file has pos_embed={positions!r}; CroCo v2 has RoPE100, v1 is not read")
    return Untold(eps=untold.eps, rope_in=untold.rope_in, rope_base=float(base[1]), **heads)


def _problem(tensor: Any, shape: tuple[int, ...]) -> str:
    """What is wrong with a published tensor, or nothing."""
    if not isinstance(tensor, Tensor) or not tensor.is_floating_point():
        return f"is {getattr(tensor, 'dtype', type(tensor).__name__)}, not a floating-point tensor"
    if tuple(tensor.shape) != shape:
        return f"has shape {list(tensor.shape)} instead of {list(shape)}"
    return "" if tensor.isfinite().all() else "holds values that are not finite"


def _in_our_order(kind: str, name: str, tensor: Tensor, shape: Shape) -> Tensor:
    """A published weight or bias, whose rows are its outputs, with rows where ours are."""
    layout = LAYOUTS[kind]
    if name.startswith(f"{layout.head}."):
        p = shape.encoder.patch_size
        return tensor.unflatten(0, (p, p, 3)).movedim(2, 0).flatten(0, 2)
    if kind == MUM and ".attn.qkv." in name:
        part = shape.encoder if name.startswith(f"{layout.blocks}.") else shape.decoder
        assert part is not None
        q, k, v = tensor.unflatten(0, (3, part.heads, 2, 2, -1)).unbind()  # [heads, half, row or column, d/4, ...]
        return torch.stack([q.transpose(1, 2), k.transpose(1, 2), v]).flatten(0, 4)
    return tensor


def _fixed_names(kind: str, shape: Shape) -> dict[str, Any]:
    """Published names of what is computed -> the part that it is of."""
    layout = LAYOUTS[kind]
    pairs = ((layout.fixed, shape.encoder), (layout.decoder_fixed, shape.decoder))
    return {name: part for name, part in pairs if name is not None and part is not None}


def _compare_periods(tensor: Any, part: Any) -> str:
    """What is wrong with rotary periods, [d/4]."""
    quarter = part.width // part.heads // 4
    if problem := _problem(tensor, (quarter,)):
        return problem
    ours = part.rope_base ** (torch.arange(quarter, dtype=torch.float64) / quarter)
    # Rounded as they are stored: in bfloat16 the exponents were, too.
    worst = float((tensor.double().cpu() / ours - 1).abs().max())
    allowed = max(1e-4, 4 * torch.finfo(tensor.dtype).eps)
    return "" if worst <= allowed else f"differs from periods of base {part.rope_base:g} by {worst:.2g} of them"


def _compare_positions(tensor: Any, part: Any) -> str:
    """What is wrong with added positions, [1, 1 + h·h, width]; those of the class token come first, and are zero."""
    side = round(max(tensor.shape[1] - 1, 0) ** 0.5) if isinstance(tensor, Tensor) and tensor.ndim == 3 else 0
    if not side:
        found = f"shape {list(tensor.shape)}" if isinstance(tensor, Tensor) else type(tensor).__name__
        return f"has {found} instead of [1, 1 + patches, {part.width}]"
    if problem := _problem(tensor, (1, 1 + side * side, part.width)):
        return f"{problem} (the patches of a square image)"
    given = tensor[0].double().cpu()
    allowed = max(1e-4, torch.finfo(tensor.dtype).eps)
    if (worst := float(given[0].abs().max())) > allowed:
        return f"adds up to {worst:.2g} to the class token, MAE nothing: positions that were learned are not read"
    ours = added_positions((side, side), part.width, dtype=torch.float64)
    if (worst := float((given[1:] - ours).abs().max())) <= allowed:
        return ""
    swapped = ours.unflatten(0, (side, side)).transpose(0, 1).flatten(0, 1)
    if float((given[1:] - swapped).abs().max()) <= allowed:
        return "has the sines and cosines of rows before those of columns, MAE those of columns first"
    return f"differs from the fixed sines and cosines by up to {worst:.2g}: positions that were learned are not read"
