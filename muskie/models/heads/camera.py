"""The pose of each view from its tokens (the head of π³, Wang et al., arXiv 2507.13347)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from muskie.models.heads.rotation import nearest_rotation


class ResidualMlp(nn.Module):
    """x + three layers of linear map and ReLU, [..., C] -> [..., C]."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        inner = x
        for layer in self.layers:
            inner = F.relu(layer(inner))
        return x + inner


class CameraHead(nn.Module):
    """Patch tokens of a view to its pose.

    Args:
        width: channels C of a token.
        norm: a LayerNorm before all else. Published: none.
    """

    def __init__(self, width: int, norm: bool = True) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=1e-5) if norm else nn.Identity()
        self.residual = nn.ModuleList(ResidualMlp(width) for _ in range(2))
        self.mlp = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())
        self.translation = nn.Linear(width, 3)
        self.rotation = nn.Linear(width, 9)

    @torch.no_grad()
    def start_at_identity(self) -> None:
        """Biases such that a head with small weights gives poses near the identity, where the rotation is well defined."""
        self.translation.bias.zero_()
        self.rotation.bias.copy_(torch.eye(3).flatten())

    def forward(self, tokens: Tensor) -> Tensor:
        """Patch tokens [N, L, C] -> cam2world float32 [N, 4, 4], its rotation with determinant +1."""
        x = self.norm(tokens)
        for block in self.residual:
            x = block(x)
        x = self.mlp(x.mean(dim=1))
        translation = self.translation(x).float()
        rows = self.rotation(x).float().unflatten(-1, (3, 3))
        # Rows shorter than this keep their length, so that the gradient of a row of zeros is finite.
        rows = rows / torch.linalg.vector_norm(rows, dim=-1, keepdim=True).clamp_min(1e-4)
        top = torch.cat([nearest_rotation(rows), translation.unsqueeze(-1)], dim=-1)  # [N, 3, 4]
        bottom = top.new_tensor([0.0, 0.0, 0.0, 1.0]).expand(len(top), 1, 4)
        return torch.cat([top, bottom], dim=1)
