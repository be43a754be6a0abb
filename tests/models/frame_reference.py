"""MAE, CroCo v2 and MuM once more, from their descriptions alone: float64, one view and one head at a time, no gathers.

Of `muskie.models` it knows the names of weights and of settings, nothing else. Small models of all three are made here too.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

import muskie
from muskie.models.masked_view import MaskedViewModel

State = dict[str, Tensor]

SMALL: dict[str, dict[str, Any]] = {
    "mum_vitb16": {"decoder": {"width": 32, "depth": 2, "heads": 2}},
    "croco_v2_vitb": {"decoder": {"width": 32, "depth": 2, "heads": 2}},
    "mae_vitb": {"decoder": {"width": 32, "depth": 2, "heads": 2}},
}
NAMES = sorted(SMALL)


def small(name: str, **overrides: Any) -> MaskedViewModel:
    """A small model of a family, with lively weights, so that a mistake anywhere shows."""
    decoder = {**SMALL[name]["decoder"], **overrides.pop("decoder", {})}
    model = muskie.create_model(name, width=48, depth=2, heads=3, patch_size=4, decoder=decoder, **overrides).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model


def equal_masks(scenes: int, hidden: list[int], grid: tuple[int, int]) -> Tensor:
    """Bool [B, V, h, w] that hides so many random patches of each view, the same number in all scenes."""
    length = grid[0] * grid[1]
    mask = torch.zeros(scenes, len(hidden), length, dtype=torch.bool)
    for scene in range(scenes):
        for view, count in enumerate(hidden):
            mask[scene, view, torch.randperm(length)[:count]] = True
    return mask.view(scenes, len(hidden), *grid)


def state_of(model: MaskedViewModel) -> State:
    return {name: tensor.double() for name, tensor in model.state_dict().items()}


def places(form: str, grid: tuple[int, int]) -> Tensor:
    """What angles are in proportion to: rows and columns of all patches, [L, 2]."""
    h, w = grid
    if form == "axial":  # from -1 to 1, as DINOv3 has them
        return torch.tensor([[(2 * i + 1) / h - 1, (2 * j + 1) / w - 1] for i in range(h) for j in range(w)]).double()
    return torch.tensor([[i, j] for i in range(h) for j in range(w)]).double()


def angles(form: str, grid: tuple[int, int], d: int) -> Tensor:
    """Of every patch, axis and frequency, [L, 2, d / 4]."""
    rates = torch.tensor([100.0 ** (-4 * m / d) for m in range(d // 4)]).double()
    if form == "axial":
        rates = 2 * math.pi * rates
    return places(form, grid)[:, :, None] * (rates if form != "added" else 0 * rates)


def turn(x: Tensor, angle: Tensor) -> Tensor:
    """Tokens of one head [T, d] by their angles [T, 2, d / 4], as complex numbers."""
    parts = x.view(len(x), 2, 2, -1)  # axis, real or imaginary
    turned = torch.complex(parts[:, :, 0], parts[:, :, 1]) * torch.polar(torch.ones_like(angle), angle)
    return torch.stack([turned.real, turned.imag], dim=2).flatten(1)


def linear(s: State, name: str, x: Tensor) -> Tensor:
    return x @ s[f"{name}.weight"].T + s[f"{name}.bias"]


def norm(s: State, name: str, x: Tensor, eps: float) -> Tensor:
    mean, variance = x.mean(-1, keepdim=True), x.var(-1, keepdim=True, unbiased=False)
    return (x - mean) / (variance + eps).sqrt() * s[f"{name}.weight"] + s[f"{name}.bias"]


def attend(q: Tensor, k: Tensor, v: Tensor, heads: int, q_angle: Tensor, k_angle: Tensor, mute: Tensor | None) -> Tensor:
    """One sequence [T, C] asks another one; `mute` [S] are tokens of both whose queries and keys are zero."""
    results = []
    for a, b, c in zip(q.chunk(heads, -1), k.chunk(heads, -1), v.chunk(heads, -1), strict=True):
        a, b = turn(a, q_angle), turn(b, k_angle)
        if mute is not None:
            a, b = a * ~mute[:, None], b * ~mute[:, None]
        logits = a @ b.T / math.sqrt(a.shape[-1])
        results.append(logits.softmax(-1) @ c)
    return torch.cat(results, -1)


def block(s: State, name: str, x: Tensor, c: Any, angle: Tensor, mute: Tensor | None = None) -> Tensor:
    q, k, v = linear(s, f"{name}.attn.qkv", norm(s, f"{name}.norm1", x, c.norm_eps)).chunk(3, -1)
    x = x + linear(s, f"{name}.attn.proj", attend(q, k, v, c.heads, angle, angle, mute))
    return x + mlp(s, f"{name}.mlp", norm(s, f"{name}.norm2", x, c.norm_eps))


def mlp(s: State, name: str, x: Tensor) -> Tensor:
    x = linear(s, f"{name}.fc1", x)
    return linear(s, f"{name}.fc2", x * 0.5 * (1 + torch.erf(x / math.sqrt(2))))


def cross_block(s: State, name: str, x: Tensor, memory: Tensor, c: Any, angle: Tensor, memory_angle: Tensor) -> Tensor:
    q, k, v = linear(s, f"{name}.attn.qkv", norm(s, f"{name}.norm1", x, c.norm_eps)).chunk(3, -1)
    x = x + linear(s, f"{name}.attn.proj", attend(q, k, v, c.heads, angle, angle, None))
    y, m = norm(s, f"{name}.norm2", x, c.norm_eps), norm(s, f"{name}.norm_memory", memory, c.norm_eps)
    q, k, v = linear(s, f"{name}.cross.q", y), linear(s, f"{name}.cross.k", m), linear(s, f"{name}.cross.v", m)
    x = x + linear(s, f"{name}.cross.proj", attend(q, k, v, c.heads, angle, memory_angle, None))
    return x + mlp(s, f"{name}.mlp", norm(s, f"{name}.norm3", x, c.norm_eps))


def added(grid: tuple[int, int], width: int) -> Tensor:
    """MAE's sines and cosines, of the column in the first half of the channels, [L, C]."""
    result = torch.zeros(grid[0] * grid[1], width).double()
    for number in range(len(result)):
        for half, place in ((0, number % grid[1]), (1, number // grid[1])):
            for m in range(width // 4):
                angle = place / 10000 ** (m / (width // 4))
                result[number, half * width // 2 + m] = math.sin(angle)
                result[number, half * width // 2 + width // 4 + m] = math.cos(angle)
    return result


def with_prefix(angle: Tensor, prefix: int) -> Tensor:
    return torch.cat([torch.zeros(prefix, *angle.shape[1:]).double(), angle])


def patches_of(s: State, image: Tensor, c: Any) -> Tensor:
    """Colour values of one image [3, H, W] in [0, 1], [L, 3·p·p]."""
    mean, std = (torch.tensor(list(x)).double().view(3, 1, 1) for x in (c.image_mean, c.image_std))
    return F.unfold(((image.double() - mean) / std)[None], c.patch_size, stride=c.patch_size)[0].T


def encode(s: State, image: Tensor, hidden: Tensor, c: Any) -> Tensor:
    """The encoder's normed tokens of one view: those before the patches, then the visible ones in order, [P + K, C]."""
    grid, seen = tuple(hidden.shape), (~hidden).flatten()
    x = patches_of(s, image, c) @ s["encoder.patch_embed.weight"].flatten(1).T + s["encoder.patch_embed.bias"]
    if c.positions == "added":
        x = x + added(grid, c.width)  # type: ignore[arg-type]
    x, angle = x[seen], angles(c.positions, grid, c.width // c.heads)[seen]  # type: ignore[arg-type]
    if c.class_token:
        x, angle = torch.cat([s["encoder.class_token"][None], x]), with_prefix(angle, 1)
    for number in range(c.depth):
        x = block(s, f"encoder.blocks.{number}", x, c, angle)
    return norm(s, "encoder.norm", x, c.norm_eps)


def predict(model: MaskedViewModel, images: Tensor, mask: Tensor) -> Tensor:
    """What a model of one of the families says of every patch of one scene [V, 3, H, W], mask [V, h, w]: [V, L, 3·p·p]."""
    s, c = state_of(model), model.encoder.config
    assert model.decoder is not None
    d, grid, prefix = model.decoder.config, tuple(mask.shape[1:]), int(c.class_token)
    angle = with_prefix(angles(d.positions, grid, d.width // d.heads), prefix)  # type: ignore[arg-type]
    views = []
    for image, hidden in zip(images, mask, strict=True):
        known = linear(s, "decoder.embed", encode(s, image, hidden, c))
        whole = s["decoder.mask_token"].repeat(hidden.numel(), 1)
        whole[~hidden.flatten()] = known[prefix:]
        if d.positions == "added":
            whole = whole + added(grid, d.width)  # type: ignore[arg-type]
        views.append(torch.cat([known[:prefix], whole]))
    if d.kind == "frames":
        for number in range(d.depth):
            views = [block(s, f"decoder.blocks.{number}", x, d, angle) for x in views]
    elif d.kind == "cross":
        views = crossed(s, views, mask, d, angle)
    else:
        mute = (torch.arange(len(angle)) < prefix).repeat(len(views)) if d.mute_prefix else None
        for number in range(d.depth):
            name = f"decoder.blocks.{number}"
            views = [block(s, f"{name}.frame_block", x, d, angle) for x in views]
            together = block(s, f"{name}.global_block", torch.cat(views), d, angle.repeat(len(views), 1, 1), mute)
            views = list(together.chunk(len(views)))
    tokens = torch.stack(views)[:, prefix:]
    return linear(s, "head", norm(s, "decoder.norm", tokens, d.norm_eps))


def crossed(s: State, views: list[Tensor], mask: Tensor, d: Any, angle: Tensor) -> list[Tensor]:
    """Masked views ask the whole ones; whole ones say nothing."""
    whole = [x for x, hidden in zip(views, mask, strict=True) if not hidden.any()]
    results = []
    for x, hidden in zip(views, mask, strict=True):
        if not hidden.any():
            results.append(torch.zeros_like(x))
            continue
        memory = torch.cat(whole or [x])
        memory_angle = angle.repeat(len(whole) or 1, 1, 1)
        for number in range(d.depth):
            x = cross_block(s, f"decoder.blocks.{number}", x, memory, d, angle, memory_angle)
        results.append(x)
    return results
