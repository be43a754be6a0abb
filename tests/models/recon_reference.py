"""The published reconstruction network once more, from its description alone: float64, by published names.

It shares no code and no names with `muskie.models`; encoder and layers are those of `reference`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from reference import State, layer, layer_names, official_state, scene
from torch import Tensor

ENCODER, BLOCKS, POINTS, CAMERA = "encoder.encoder.", "encoder.additional_blocks.", "head.point_head.", "head.camera_head."


def official_reconstruction(
    width: int, depth: int, more: int, flat: bool = False, seed: int = 0, head: str = POINTS, outputs: int = 4
) -> State:
    """Random weights by published name and shape, without second names."""
    generator = torch.Generator().manual_seed(seed + 1)
    state = {ENCODER + key: value for key, value in official_state(width, depth, flat, seed).items()}
    blocks = {k: v for k, v in official_state(width, more, seed=seed + 2).items() if k.startswith("blocks.")}
    state |= {BLOCKS + key.removeprefix("blocks."): value for key, value in blocks.items()}

    def draw(name: str, *shape: int, bias: int | None = None) -> None:
        state[f"{name}.weight"] = torch.randn(*shape, generator=generator) * 1.2 / math.sqrt(math.prod(shape[1:]))
        if bias is not None:
            state[f"{name}.bias"] = 0.2 * torch.randn(bias, generator=generator)

    widths = [width // 4, width // 2, width, width]
    for n, inner in enumerate(widths, start=1):
        draw(f"{head}act_{n}_postprocess.0", inner, width, 1, 1, bias=inner)
        draw(f"{head}scratch.layer{n}_rn", width, inner, 3, 3)
        draw(f"{head}scratch.refinenet{n}.out_conv", width, width, 1, 1, bias=width)
        for unit in (1, 2):
            for conv in (1, 2):
                draw(f"{head}scratch.refinenet{n}.resConfUnit{unit}.conv{conv}", width, width, 3, 3, bias=width)
    for n, kernel in ((1, 4), (2, 2), (4, 3)):
        draw(f"{head}act_{n}_postprocess.1", widths[n - 1], widths[n - 1], kernel, kernel, bias=widths[n - 1])
    draw(f"{head}head.0", width // 2, width, 3, 3, bias=width // 2)
    draw(f"{head}head.2", 32, width // 2, 3, 3, bias=32)
    draw(f"{head}head.4", outputs, 32, 1, 1, bias=outputs)
    state[f"{head}head.4.weight"] *= 0.04  # logs of depths
    for name in [f"res_conv.{i}.res_conv{k}" for i in (0, 1) for k in (1, 2, 3)] + ["more_mlps.0", "more_mlps.2"]:
        draw(CAMERA + name, width, width, bias=width)
    draw(f"{CAMERA}fc_t", 3, width, bias=3)
    draw(f"{CAMERA}fc_rot", 9, width, bias=9)
    return state


def second_names(state: State) -> State:
    """The weights that published checkpoints hold under two names, by their second names."""
    more = {}
    for key, value in state.items():
        if key.startswith(POINTS):
            rest = key.removeprefix(POINTS)
            for n in range(1, 5):
                alias = rest.replace(f"scratch.layer{n}_rn.", f"scratch.layer_rn.{n - 1}.")
                alias = alias.replace(f"act_{n}_postprocess.", f"act_postprocess.{n - 1}.")
                if alias != rest:
                    more[POINTS + alias] = value.clone()
    return more


def dense(state: State, head: str, levels: Sequence[Tensor], grid: tuple[int, int]) -> Tensor:
    """Patch tokens [V, L, C] of four layers on a grid of even sides -> logits [V, 16·h, 16·w, outputs]."""

    def conv(x: Tensor, name: str, **options: int) -> Tensor:
        return F.conv2d(x, state[f"{head}{name}.weight"], state.get(f"{head}{name}.bias"), **options)

    def larger(x: Tensor) -> Tensor:
        return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)

    def unit(x: Tensor, name: str) -> Tensor:
        inner = conv(F.relu(x), f"{name}.conv1", padding=1)
        return x + conv(F.relu(inner), f"{name}.conv2", padding=1)

    maps = []
    for n, tokens in enumerate(levels, start=1):
        x = torch.stack([view.T.reshape(-1, *grid) for view in tokens])
        x = conv(x, f"act_{n}_postprocess.0")
        if n in (1, 2):
            name = f"{head}act_{n}_postprocess.1"
            x = F.conv_transpose2d(x, state[f"{name}.weight"], state[f"{name}.bias"], stride=[4, 2][n - 1])
        elif n == 4:
            x = conv(x, "act_4_postprocess.1", stride=2, padding=1)
        maps.append(conv(x, f"scratch.layer{n}_rn", padding=1))
    path = unit(maps[3], "scratch.refinenet4.resConfUnit2")
    path = conv(larger(path), "scratch.refinenet4.out_conv")
    for n in (3, 2, 1):
        path = path + unit(maps[n - 1], f"scratch.refinenet{n}.resConfUnit1")
        path = conv(larger(unit(path, f"scratch.refinenet{n}.resConfUnit2")), f"scratch.refinenet{n}.out_conv")
    x = larger(conv(path, "head.0", padding=1))
    return conv(F.relu(conv(x, "head.2", padding=1)), "head.4").permute(0, 2, 3, 1)


def cameras(state: State, tokens: Tensor) -> Tensor:
    """Last patch tokens [V, L, C] -> cam2world [V, 4, 4]."""

    def linear(x: Tensor, name: str) -> Tensor:
        return x @ state[f"{CAMERA}{name}.weight"].T + state[f"{CAMERA}{name}.bias"]

    poses = []
    for view in tokens:
        for i in (0, 1):
            inner = view
            for k in (1, 2, 3):
                inner = linear(inner, f"res_conv.{i}.res_conv{k}").clamp(min=0)
            view = view + inner
        x = linear(linear(view.mean(0), "more_mlps.0").clamp(min=0), "more_mlps.2").clamp(min=0)
        rows = linear(x, "fc_rot").reshape(3, 3)
        rows = torch.stack([row / row.norm() for row in rows])
        u, _, vt = torch.linalg.svd(rows)
        pose = torch.eye(4, dtype=torch.float64)
        pose[:3, :3] = u @ torch.diag(torch.tensor([1.0, 1.0, torch.linalg.det(u @ vt).item()]).double()) @ vt
        pose[:3, 3] = linear(x, "fc_t")
        poses.append(pose)
    return torch.stack(poses)


def tokens_of(state: State, images: Tensor, heads: int, flat: bool, fp16: bool) -> list[Tensor]:
    """One scene: images [V, 3, H, W] in [0, 1] -> patch tokens [V, L, C] after every layer of encoder and further blocks."""
    views, (h, w) = len(images), (images.shape[-2] // 16, images.shape[-1] // 16)
    encoder = {key.removeprefix(ENCODER): value for key, value in state.items() if key.startswith(ENCODER)}
    *_, outputs = scene(encoder, images, torch.zeros(views, h, w, dtype=torch.bool), heads, flat, fp16)
    more = {f"blocks.{key.removeprefix(BLOCKS)}": value.double() for key, value in state.items() if key.startswith(BLOCKS)}
    places = [(y, x) for y in range(h) for x in range(w)]  # no registers, from 0
    x = outputs[-1]
    for i in range(len({key.split(".")[1] for key in more})):
        frame, overall = layer_names(i, False)
        x = torch.stack([layer(view, places, more, frame, heads, fp16) for view in x])
        joint = layer(x.flatten(0, 1), places * views, more, overall, heads, fp16)
        x = joint.unflatten(0, (views, -1))
        outputs.append(x)
    return outputs


def geometry(state: State, outputs: Sequence[Tensor], hooks: Sequence[int], grid: tuple[int, int]) -> list[Tensor]:
    """Tokens as of `tokens_of` -> local points [V, H, W, 3], confidence [V, H, W], cam2world [V, 4, 4]."""
    state = {key: value.double() for key, value in state.items() if key.startswith("head.")}
    logits = dense(state, POINTS, [outputs[n] for n in hooks], grid)
    z = logits[..., 2:3].exp()
    return [torch.cat([logits[..., :2] * z, z], -1), 1 + logits[..., 3].exp(), cameras(state, outputs[-1])]
