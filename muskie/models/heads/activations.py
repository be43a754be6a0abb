"""From the logits of a dense head to geometry (π³, Wang et al., arXiv 2507.13347), finite whatever the logits."""

from __future__ import annotations

import torch
from torch import Tensor

LARGEST_LOG = 15.0
"""Logs are kept in ±15: depths from 3e-7 to 3.3e6 of a scale that the model chooses, and 1 + exp(−15) > 1 in float32."""

LARGEST_SLOPE = 1e4
"""Of a ray: |x / z| and |y / z|."""


def points_of(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Logits [..., 4] -> points [..., 3] = (c₀·z, c₁·z, z) with z = exp(c₂), and confidence [...] = 1 + exp(c₃)."""
    slopes, logs = logits.float().split(2, dim=-1)
    z, sureness = logs.clamp(-LARGEST_LOG, LARGEST_LOG).exp().split(1, dim=-1)
    slopes = slopes.clamp(-LARGEST_SLOPE, LARGEST_SLOPE)
    return torch.cat([slopes * z, z], dim=-1), 1 + sureness.squeeze(-1)


def depth_of(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Logits [..., 2] -> depth [...] = exp(c₀), and confidence [...] = 1 + exp(c₁)."""
    depth, sureness = logits.float().clamp(-LARGEST_LOG, LARGEST_LOG).exp().unbind(-1)
    return depth, 1 + sureness
