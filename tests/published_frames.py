"""Published checkpoints of MuM, CroCo v2 and MAE, fabricated, and their forward passes as they are described: float64, views
one by one, masking by a shuffle and its inverse, positions as each method has them.

It shares no code and no names with `muskie.models`: it reads a state dict by the published names.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

State = dict[str, Tensor]
MEAN, STD = torch.tensor([0.485, 0.456, 0.406]).double(), torch.tensor([0.229, 0.224, 0.225]).double()
PATCH, WIDTH, HEADS, INNER, INNER_HEADS = 4, 32, 2, 24, 3


def fabricated(method: str, depth: int = 2, decoder: int = 2, grid: int = 4) -> State:
    """Random weights by published name and shape, lively enough that a mistake anywhere shows; `grid` patches a side."""
    generator = torch.Generator().manual_seed(3)
    state: State = {}

    def draw(name: str, *shape: int, scale: float = 1.0, around: float = 0.0) -> None:
        state[name] = around + scale * torch.randn(*shape, generator=generator)

    def linear(name: str, rows: int, columns: int) -> None:
        draw(f"{name}.weight", rows, columns, scale=1.2 / math.sqrt(columns))
        draw(f"{name}.bias", rows, scale=0.3)

    def norm(name: str, width: int) -> None:
        draw(f"{name}.weight", width, scale=0.3, around=1.0)
        draw(f"{name}.bias", width, scale=0.3)

    def block(name: str, width: int, crossed: bool = False) -> None:
        for part in ("norm1", "norm2", *(("norm3", "norm_y") if crossed else ())):
            norm(f"{name}.{part}", width)
        linear(f"{name}.attn.qkv", 3 * width, width)
        linear(f"{name}.attn.proj", width, width)
        for part in ("projq", "projk", "projv", "proj") if crossed else ():
            linear(f"{name}.cross_attn.{part}", width, width)
        linear(f"{name}.mlp.fc1", 4 * width, width)
        linear(f"{name}.mlp.fc2", width, 4 * width)

    start = "enc_" if method == "CroCo v2" else ""
    if method != "CroCo v2":
        draw("cls_token", 1, 1, WIDTH)
    draw("patch_embed.proj.weight", WIDTH, 3, PATCH, PATCH, scale=0.2)
    draw("patch_embed.proj.bias", WIDTH, scale=0.3)
    for i in range(depth):
        block(f"{start}blocks.{i}", WIDTH)
    norm(f"{start}norm", WIDTH)
    if method == "MuM":
        state["rope_embed.periods"] = periods(WIDTH // HEADS)
    if method == "MAE":
        state["pos_embed"] = sines(grid, WIDTH)[None].float()
    if not decoder:
        return state
    draw("mask_token", 1, 1, INNER)
    linear("decoder_embed", INNER, WIDTH)
    stacks = {
        "MuM": ("decoder_frame_blocks", "decoder_global_blocks"),
        "CroCo v2": ("dec_blocks",),
        "MAE": ("decoder_blocks",),
    }
    for stack in stacks[method]:
        for i in range(decoder):
            block(f"{stack}.{i}", INNER, crossed=method == "CroCo v2")
    norm("dec_norm" if method == "CroCo v2" else "decoder_norm", INNER)
    linear("prediction_head" if method == "CroCo v2" else "decoder_pred", PATCH * PATCH * 3, INNER)
    if method == "MuM":
        state["rope_embed_decoder.periods"] = periods(INNER // INNER_HEADS)
    if method == "MAE":
        state["decoder_pos_embed"] = sines(grid, INNER)[None].float()
    return state


def periods(channels: int) -> Tensor:
    """DINOv3's, of a head of so many channels."""
    return torch.tensor([100.0 ** (2 * m / (channels / 2)) for m in range(channels // 4)])


def sines(grid: int, width: int) -> Tensor:
    """MAE's positions [1 + grid², width], one number at a time; the class token's are zero."""
    rows = [[0.0] * width]
    for y in range(grid):
        for x in range(grid):
            angles = [[place / 10000 ** (k / (width / 4)) for k in range(width // 4)] for place in (x, y)]
            rows.append([f(a) for axis in angles for f in (math.sin, math.cos) for a in axis])
    return torch.tensor(rows, dtype=torch.float64)


@dataclass
class Turns:
    """How queries and keys of a token turn: `sin` and `cos` [T, d], and which channel stands for which, [d], with a sign."""

    sin: Tensor
    cos: Tensor
    steps: bool = False

    def __call__(self, x: Tensor) -> Tensor:
        """[heads, T, d]"""
        parts = x.chunk(2, -1) if self.steps else (x,)  # by steps, each half of a head on its own
        partner = torch.cat([torch.cat([-b, a], -1) for a, b in (part.chunk(2, -1) for part in parts)], -1)
        return x * self.cos + partner * self.sin


def axial(h: int, w: int, period: Tensor, cls: str) -> Turns:
    """DINOv3's positions: [rows | columns], tiled twice; the class token is first, `kept` as it is or made `zero`."""
    y, x = ((2 * (torch.arange(n).double() + 0.5) / n - 1) for n in (h, w))
    angles = torch.stack([(2 * math.pi * torch.cat([a / period.double(), b / period.double()])) for a in y for b in x])
    angles = angles.repeat(1, 2)
    first = torch.zeros(1, angles.shape[1]).double()
    return Turns(torch.cat([first, angles.sin()]), torch.cat([first + (cls == "kept"), angles.cos()]))


def steps(h: int, w: int, channels: int, base: float = 100.0) -> Turns:
    """CroCo v2's positions, numbers of rows and columns from 0 on."""
    frequency = torch.tensor([base ** (-2 * k / (channels / 2)) for k in range(channels // 4)]).double()
    angles = torch.stack([torch.cat([y * frequency] * 2 + [x * frequency] * 2) for y in range(h) for x in range(w)])
    return Turns(angles.sin(), angles.cos(), steps=True)


class Published:
    """The forward passes of a state dict."""

    def __init__(self, method: str, state: State, eps: float) -> None:
        self.method, self.eps = method, eps
        self.w = {key: value.double() for key, value in state.items()}

    def norm(self, name: str, x: Tensor) -> Tensor:
        centred = x - x.mean(-1, keepdim=True)
        scaled = centred / (centred.square().mean(-1, keepdim=True) + self.eps).sqrt()
        return scaled * self.w[f"{name}.weight"] + self.w[f"{name}.bias"]

    def linear(self, name: str, x: Tensor) -> Tensor:
        return x @ self.w[f"{name}.weight"].T + self.w[f"{name}.bias"]

    def attend(self, q: Tensor, k: Tensor, v: Tensor, heads: int, turn_q: Turns | None, turn_k: Turns | None) -> Tensor:
        q, k, v = (x.unflatten(-1, (heads, -1)).transpose(0, 1) for x in (q, k, v))
        q, k = turn_q(q) if turn_q else q, turn_k(k) if turn_k else k
        weights = (q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])).softmax(-1)
        return (weights @ v).transpose(0, 1).flatten(1)

    def mlp(self, name: str, x: Tensor) -> Tensor:
        hidden = self.linear(f"{name}.fc1", x)
        return self.linear(f"{name}.fc2", hidden * (1 + torch.erf(hidden / math.sqrt(2))) / 2)

    def self_attention(self, name: str, x: Tensor, heads: int, turns: Turns | None) -> Tensor:
        q, k, v = self.linear(f"{name}.attn.qkv", self.norm(f"{name}.norm1", x)).chunk(3, -1)
        return x + self.linear(f"{name}.attn.proj", self.attend(q, k, v, heads, turns, turns))

    def block(self, name: str, x: Tensor, heads: int, turns: Turns | None) -> Tensor:
        x = self.self_attention(name, x, heads, turns)
        return x + self.mlp(f"{name}.mlp", self.norm(f"{name}.norm2", x))

    def cross_block(self, name: str, x: Tensor, y: Tensor, heads: int, turns: Turns) -> Tensor:
        x, c = self.self_attention(name, x, heads, turns), f"{name}.cross_attn"
        q, y = self.linear(f"{c}.projq", self.norm(f"{name}.norm2", x)), self.norm(f"{name}.norm_y", y)
        found = self.attend(q, self.linear(f"{c}.projk", y), self.linear(f"{c}.projv", y), heads, turns, turns)
        x = x + self.linear(f"{c}.proj", found)
        return x + self.mlp(f"{name}.mlp", self.norm(f"{name}.norm3", x))

    def count(self, stack: str) -> range:
        return range(len({key.split(".")[1] for key in self.w if key.startswith(f"{stack}.")}))

    def encode(self, image: Tensor, keep: Tensor) -> Tensor:
        """An image [3, H, W] in [0, 1] and numbers of the patches that are kept -> normed tokens, class token first."""
        image = (image.double() - MEAN[:, None, None]) / STD[:, None, None]
        maps = F.conv2d(image[None], self.w["patch_embed.proj.weight"], self.w["patch_embed.proj.bias"], stride=PATCH)[0]
        h, w = maps.shape[-2:]
        x, turns, croco = maps.flatten(1).T, None, self.method == "CroCo v2"
        if self.method == "MAE":
            x = x + self.w["pos_embed"][0, 1:]
        x = x[keep]
        if not croco:
            x = torch.cat([self.w["cls_token"][0], x])
        if self.method == "MuM":
            turns, keep = axial(h, w, self.w["rope_embed.periods"], "kept"), torch.cat([torch.zeros(1).long(), keep + 1])
        if croco:
            turns = steps(h, w, WIDTH // HEADS)
        if turns:
            turns = Turns(turns.sin[keep], turns.cos[keep], turns.steps)
        stack = "enc_blocks" if croco else "blocks"
        for i in self.count(stack):
            x = self.block(f"{stack}.{i}", x, HEADS, turns)
        return self.norm("enc_norm" if croco else "norm", x)

    def fill(self, x: Tensor, shuffle: Tensor) -> Tensor:
        """Embedded visible tokens, then mask tokens, in the order of `shuffle`, to their places."""
        prefix = int(self.method != "CroCo v2")
        x = self.linear("decoder_embed", x)
        hidden = self.w["mask_token"][0].expand(len(shuffle) - (len(x) - prefix), -1)
        return torch.cat([x[:prefix], torch.cat([x[prefix:], hidden])[shuffle.argsort()]])

    def predict(self, images: Tensor, hidden: Tensor) -> list[Tensor]:
        """Views [V, 3, H, W] and bool [V, h, w] -> what each view says of its patches, [L, p·p·3] in the published order;
        of CroCo's two views the second alone."""
        h, w = hidden.shape[1:]
        views = []
        for image, mask in zip(images, hidden.flatten(1), strict=True):
            mixed = torch.randperm(h * w)  # visible patches in any order, then hidden ones
            shuffle = torch.cat([mixed[~mask[mixed]], mixed[mask[mixed]]])
            views.append(self.fill(self.encode(image, shuffle[: int((~mask).sum())]), shuffle))
        if self.method == "CroCo v2":
            turns, (y, x) = steps(h, w, INNER // INNER_HEADS), views
            for i in self.count("dec_blocks"):
                x = self.cross_block(f"dec_blocks.{i}", x, y, INNER_HEADS, turns)
            return [self.linear("prediction_head", self.norm("dec_norm", x))]
        if self.method == "MAE":
            views = [x + self.w["decoder_pos_embed"][0] for x in views]
            for i in self.count("decoder_blocks"):
                views = [self.block(f"decoder_blocks.{i}", x, INNER_HEADS, None) for x in views]
        else:
            kept, zero = (axial(h, w, self.w["rope_embed_decoder.periods"], cls) for cls in ("kept", "zero"))
            zero = Turns(zero.sin.repeat(len(views), 1), zero.cos.repeat(len(views), 1))
            for i in self.count("decoder_frame_blocks"):
                views = [self.block(f"decoder_frame_blocks.{i}", x, INNER_HEADS, kept) for x in views]
                views = list(self.block(f"decoder_global_blocks.{i}", torch.cat(views), INNER_HEADS, zero).chunk(len(views)))
        return [self.linear("decoder_pred", self.norm("decoder_norm", x))[1:] for x in views]
