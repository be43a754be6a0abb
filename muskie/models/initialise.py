"""Initial weights. Every parameter is filled with NaN first, so that a forgotten one is loud."""

from __future__ import annotations

import math

import torch
from torch import nn

from muskie.errors import ConfigError, nearest
from muskie.models.attention import Attention

INITS = ("torch", "mimetic", "vit")


@torch.no_grad()
def initialise(model: nn.Module, init: str = "torch", seed: int = 0) -> None:
    """Draws all parameters of `model` anew, from `seed` alone.

    Args:
        model: built of linear, convolution and norm layers, and of the encoder's `registers` and `placeholder`.
        init: `"torch"`: PyTorch's defaults for every layer, registers from N(0, 1), placeholder zero, as published
            (Muskie, arXiv 2511.18115); class and mask tokens from N(0, 0.02), as MAE's and MuM's. `"vit"`: the same, but
            linear layers from a normal of 0.02, cut at two deviations, biases
            zero, as these. `"mimetic"`: the same, but attention starts out by content and position, as
            trained transformers do (Trockman and Kolter, arXiv 2305.09828): see `_mimetic`.
        seed: of the draws.

    Raises:
        ConfigError: an unknown `init`.
    """
    if init not in INITS:
        raise ConfigError(f"init={init!r} is unknown{nearest(init, INITS)}")
    for parameter in model.parameters():
        parameter.fill_(math.nan)
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            bound = 1 / math.sqrt(module.weight[0].numel())
            if init == "vit" and isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02, a=-0.04, b=0.04, generator=generator)
                module.bias.zero_()
                continue
            module.weight.uniform_(-bound, bound, generator=generator)
            if module.bias is not None:
                module.bias.uniform_(-bound, bound, generator=generator)
        elif isinstance(module, nn.LayerNorm | nn.RMSNorm):
            module.weight.fill_(1)
            if isinstance(module, nn.LayerNorm):
                module.bias.zero_()
        registers, placeholder = getattr(module, "registers", None), getattr(module, "placeholder", None)
        if isinstance(registers, nn.Parameter):
            registers.normal_(generator=generator)
        if isinstance(placeholder, nn.Parameter):
            placeholder.zero_()
        for name in ("class_token", "mask_token"):
            token = getattr(module, name, None)
            if isinstance(token, nn.Parameter):
                token.normal_(std=0.02, generator=generator)
    if init == "mimetic":
        for module in model.modules():
            if isinstance(module, Attention):
                _mimetic(module, generator)
    forgotten = [name for name, parameter in model.named_parameters() if parameter.isnan().any()]
    if forgotten:
        raise RuntimeError(f"parameters without an initial value: {', '.join(forgotten)}")


def _mimetic(attention: Attention, generator: torch.Generator, alpha: float = 0.7) -> None:
    """Queries and keys of a head start as the same map of the token, plus noise.

    A logit is then largest for tokens alike in content, and, through RoPE, near in position: what matching across views
    needs, and what default initialisation takes thousands of steps to find.
    """
    width = attention.proj.in_features
    d = width // attention.heads
    q, k, _ = attention.qkv.weight.view(3, attention.heads, d, width)
    shared = torch.randn(attention.heads, d, width, generator=generator) / math.sqrt(width)
    for weight in (q, k):
        own = torch.randn(attention.heads, d, width, generator=generator) / math.sqrt(width)
        weight.copy_(math.sqrt(alpha) * shared + math.sqrt(1 - alpha) * own)
    attention.qkv.bias.zero_()
