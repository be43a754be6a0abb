"""The published model once more, from its description alone: float64, one token, one head and one query at a time.

It shares no code and no names with `muskie.models`: it reads a state dict by the published names, in either layout.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

State = dict[str, Tensor]


def official_state(width: int, depth: int, flat: bool = False, seed: int = 0, patch: int = 16) -> State:
    """Random weights by published name and shape, lively enough that a mistake anywhere shows."""
    generator = torch.Generator().manual_seed(seed)
    state: State = {}

    def draw(name: str, *shape: int, scale: float = 1.0, around: float = 0.0) -> None:
        state[name] = around + scale * torch.randn(*shape, generator=generator)

    def linear(name: str, rows: int, columns: int) -> None:
        draw(f"{name}.weight", rows, columns, scale=1.5 / math.sqrt(columns))
        draw(f"{name}.bias", rows, scale=0.3)

    def norm(name: str) -> None:
        draw(f"{name}.weight", width, scale=0.3, around=1.0)
        draw(f"{name}.bias", width, scale=0.3)

    draw("register_tokens", 1, 1, 4, width)
    draw("mask_placeholder", 1, 1, 1, width)
    draw("patch_embed.proj.weight", width, 3, patch, patch, scale=1 / math.sqrt(3 * patch * patch))
    draw("patch_embed.proj.bias", width, scale=0.3)
    for i in range(depth):
        for names in layer_names(i, flat):
            norm(names["norm_a"])
            linear(names["qkv"], 3 * width, width)
            linear(names["proj"], width, width)
            norm(names["norm_m"])
            linear(names["fc1"], 4 * width, width)
            linear(names["fc2"], width, 4 * width)
    norm("norm" if flat else "decoder_norm")
    linear("decoder_pred", 2 * 3 * patch * patch, width)
    return state


def layer_names(i: int, flat: bool) -> tuple[dict[str, str], dict[str, str]]:
    """Names of the frame layer and of the global layer of alternating block i."""
    if flat:
        parts = {
            "norm_a": "norm1",
            "qkv": "attn.qkv",
            "proj": "attn.proj",
            "norm_m": "norm2",
            "fc1": "mlp.fc1",
            "fc2": "mlp.fc2",
        }
        frame = {key: f"blocks.{2 * i}.{part}" for key, part in parts.items()}
        return frame, {key: f"blocks.{2 * i + 1}.{part}" for key, part in parts.items()}
    b = f"blocks.{i}"
    frame = {"norm_a": f"{b}.norm1", "qkv": f"{b}.frame_attn.qkv", "proj": f"{b}.frame_attn.proj"}
    frame |= {"norm_m": f"{b}.norm2", "fc1": f"{b}.frame_mlp.fc1", "fc2": f"{b}.frame_mlp.fc2"}
    overall = {"norm_a": f"{b}.norm3", "qkv": f"{b}.global_atten.qkv", "proj": f"{b}.global_atten.proj"}
    overall |= {"norm_m": f"{b}.norm4", "fc1": f"{b}.global_mlp.fc1", "fc2": f"{b}.global_mlp.fc2"}
    return frame, overall


def turn(vector: Tensor, position: tuple[int, int], fp16: bool) -> Tensor:
    """One head's query or key at one place: the first half turns with y, the second half with x."""
    h = len(vector) // 2
    parts = []
    for part, place in ((vector[:h], position[0]), (vector[h:], position[1])):
        turned = part.clone()
        for k in range(h // 2):
            angle = torch.tensor(place * 100.0 ** (-2 * k / h), dtype=torch.float32)
            angle = angle.half() if fp16 else angle
            cos, sin = angle.cos().double(), angle.sin().double()
            turned[k] = part[k] * cos - part[k + h // 2] * sin
            turned[k + h // 2] = part[k + h // 2] * cos + part[k] * sin
        parts.append(turned)
    return torch.cat(parts)


def attention(
    x: Tensor, places: list[tuple[int, int]], state: State, names: dict[str, str], heads: int, fp16: bool
) -> Tensor:
    """x [T, C] -> [T, C]."""
    width = x.shape[1]
    d = width // heads
    joint = x @ state[f"{names['qkv']}.weight"].T + state[f"{names['qkv']}.bias"]
    out = torch.zeros_like(x)
    for head in range(heads):
        span = slice(head * d, (head + 1) * d)
        queries = [turn(row[:width][span], place, fp16) for row, place in zip(joint, places, strict=True)]
        keys = torch.stack(
            [turn(row[width : 2 * width][span], place, fp16) for row, place in zip(joint, places, strict=True)]
        )
        values = joint[:, 2 * width :][:, span]
        for i, query in enumerate(queries):
            weights = torch.softmax(keys @ query / math.sqrt(d), dim=0)
            out[i, span] = weights @ values
    return out @ state[f"{names['proj']}.weight"].T + state[f"{names['proj']}.bias"]


def layer(x: Tensor, places: list[tuple[int, int]], state: State, names: dict[str, str], heads: int, fp16: bool) -> Tensor:
    """x + attention, then x + MLP, both pre-norm; x [T, C]."""

    def normed(tokens: Tensor, name: str) -> Tensor:
        return F.layer_norm(tokens, tokens.shape[-1:], state[f"{name}.weight"], state[f"{name}.bias"], 1e-5)

    x = x + attention(normed(x, names["norm_a"]), places, state, names, heads, fp16)
    inner = normed(x, names["norm_m"]) @ state[f"{names['fc1']}.weight"].T + state[f"{names['fc1']}.bias"]
    inner = inner * 0.5 * (1 + torch.erf(inner / math.sqrt(2)))
    return x + inner @ state[f"{names['fc2']}.weight"].T + state[f"{names['fc2']}.bias"]


def scene(
    state: State, images: Tensor, mask: Tensor, heads: int, flat: bool, fp16: bool
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """One scene: images [V, 3, H, W] in [0, 1], mask [V, h, w] -> prediction and confidence [V, L, 768], block outputs."""
    state = {key: value.double() for key, value in state.items()}
    depth = len({key.split(".")[1] for key in state if key.startswith("blocks.")}) // (2 if flat else 1)
    views, (h, w) = len(images), mask.shape[1:]
    kernel = state["patch_embed.proj.weight"]
    grids = F.conv2d((images.double() - 0.5) / 0.5, kernel, state["patch_embed.proj.bias"], stride=kernel.shape[-1])
    places = [(0, 0)] * 4 + [(y + 1, x + 1) for y in range(h) for x in range(w)]
    tokens = []
    for view in range(views):
        sequence = list(state["register_tokens"][0, 0])
        for y in range(h):
            for x in range(w):
                sequence.append(state["mask_placeholder"][0, 0, 0] if mask[view, y, x] else grids[view, :, y, x])
        tokens.append(torch.stack(sequence))
    outputs = []
    for i in range(depth):
        frame, overall = layer_names(i, flat)
        tokens = [layer(one, places, state, frame, heads, fp16) for one in tokens]
        joint = layer(torch.cat(tokens), places * views, state, overall, heads, fp16)
        tokens = list(joint.split(len(places)))
        outputs.append(torch.stack(tokens)[:, 4:])
    norm = "norm" if flat else "decoder_norm"
    x = F.layer_norm(outputs[-1], outputs[-1].shape[-1:], state[f"{norm}.weight"], state[f"{norm}.bias"], 1e-5)
    both = x @ state["decoder_pred.weight"].T + state["decoder_pred.bias"]
    half = both.shape[-1] // 2
    return both[..., :half], torch.sigmoid(both[..., half:]), outputs
