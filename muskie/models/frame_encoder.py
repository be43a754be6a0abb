"""The frame-wise encoder of MAE, CroCo and MuM: a ViT that looks at every view on its own, at its visible patches alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from muskie.errors import ConfigError
from muskie.models.blocks import BlockConfig, FrameStack
from muskie.models.encoded import Encoded, Seen, visible_groups
from muskie.models.encoder import Features, PatchEmbedding, check_shape
from muskie.models.parts import encoder_kind
from muskie.models.patches import check_images, check_mask
from muskie.models.positions import FORMS, added_positions, table_of
from muskie.models.rope import RopeTable

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class FrameEncoderConfig:
    """Shape of a frame-wise encoder.

    Attributes:
        width: channels C of a token.
        depth: layers.
        heads: attention heads.
        patch_size: pixels p of a patch's side.
        class_token: a learned token before the patches of each view, which stands nowhere.
        mlp_ratio: hidden width of the MLPs over C.
        positions: of patches, see `muskie.models.positions`.
        rope_base: base of rotary positions.
        rope_in: `"bfloat16"` or `"float16"` to reproduce the rounded tables of published weights; None: exact.
        norm_eps: epsilon of all norms.
        image_mean, image_std: colour normalisation of images in [0, 1]; part of the model, saved with its weights.
    """

    width: int
    depth: int
    heads: int
    patch_size: int = 16
    class_token: bool = True
    mlp_ratio: float = 4.0
    positions: str = "axial"
    rope_base: float = 100.0
    rope_in: str | None = None
    norm_eps: float = 1e-6
    image_mean: Sequence[float] = IMAGENET_MEAN
    image_std: Sequence[float] = IMAGENET_STD
    kind: ClassVar[str] = "frames"

    def __post_init__(self) -> None:
        check_shape(self)
        if self.positions not in FORMS:
            raise ConfigError(f"model.positions={self.positions!r}: expected one of {', '.join(FORMS)}")
        if self.rope_in not in (None, "float16", "bfloat16"):
            raise ConfigError(f"model.rope_in={self.rope_in!r}: expected null, float16 or bfloat16")

    @property
    def registers(self) -> int:
        """Tokens before the patches of a view."""
        return int(self.class_token)


@encoder_kind("frames", FrameEncoderConfig)
class FrameEncoder(PatchEmbedding):
    """Patch embedding of the visible patches, a class token, blocks over the tokens of one view, final norm.

    Hidden patches never enter. What is said of a view does not depend on the others.
    """

    drops_hidden = True
    config: FrameEncoderConfig

    def __init__(self, config: FrameEncoderConfig) -> None:
        super().__init__(config)
        self.class_token = nn.Parameter(torch.empty(config.width)) if config.class_token else None
        block = BlockConfig(config.width, config.heads, config.mlp_ratio, norm_eps=config.norm_eps)
        self.blocks = FrameStack(config.depth, block)
        self.norm = nn.LayerNorm(config.width, eps=config.norm_eps)

    def table(self, grid: tuple[int, int]) -> RopeTable:
        """The rotary table of one view of this grid: the class token, then patches."""
        c = self.config
        rounded = getattr(torch, c.rope_in) if c.rope_in else None
        weight = self.patch_embed.weight
        return table_of(
            c.positions, grid, c.registers, c.width // c.heads, c.rope_base, weight.device, weight.dtype, rounded
        )

    def embed(self, images: Tensor, seen: Seen | None = None) -> tuple[Tensor, RopeTable]:
        """Images [B, V, 3, H, W] and the patches that are seen of some views -> tokens [B, v, P + K, C] and their table, of
        one view for all, or of every view."""
        grid = check_images(images, self.config.patch_size)
        patches, table, length = None, self.table(grid), grid[0] * grid[1]
        added = self._added(grid)
        if seen is not None:
            images, patches = images[:, seen.views], seen.patches
        if patches is None:
            values = self.patches(images)  # [B, V, L, 3·p·p]
        else:
            patches = patches.to(images.device, non_blocking=True)
            rows = torch.arange(patches[..., 0].numel(), device=images.device).view(*patches.shape[:2], 1)
            values = self.patches(images, (rows * length + patches).flatten()).unflatten(0, patches.shape)
            table = _of_each(table, patches, self.config.registers)
        tokens = F.linear(
            values.to(self.patch_embed.weight.dtype), self.patch_embed.weight.flatten(1), self.patch_embed.bias
        )
        if added is not None:
            tokens = tokens + (added if patches is None else added[patches])
        if self.class_token is not None:
            first = self.class_token.to(tokens.dtype).expand(*tokens.shape[:2], 1, -1)
            tokens = torch.cat([first, tokens], dim=2)
        return tokens, table

    def _added(self, grid: tuple[int, int]) -> Tensor | None:
        if self.config.positions != "added":
            return None
        weight = self.patch_embed.weight
        return added_positions(grid, self.config.width, weight.device, weight.dtype)

    def forward(self, images: Tensor, mask: Tensor | None = None) -> Encoded:
        """Images [B, V, 3, H, W] and mask bool [B, V, h, w] (True = hidden) -> the tokens of visible patches.

        Raises:
            ConfigError: scenes of the batch differ in how much of a view is hidden, or all of one is.
        """
        if mask is not None:
            check_mask(mask, images, check_images(images, self.config.patch_size))
        groups = visible_groups(mask, images.shape[1])
        tokens = []
        for seen in groups:
            x, table = self.embed(images, seen)
            tokens.append(self.norm(self.blocks(x, table)[0]))
        return Encoded(groups, tokens, self.config.registers, images.shape[1])

    def forward_features(self, images: Tensor, mask: Tensor | None = None) -> Features:
        """Features after the final norm.

        Args:
            images: [B, V, 3, H, W], or [B, 3, H, W] as users of DINO and MuM know it; uint8 or float in [0, 1], not
                normalised; H and W multiples of the patch size.
            mask: bool [B, V, h, w], True = hidden, equally many in all views; only visible patches then have features.

        Returns:
            `patches` [B, V, L, C] (also as `["x_norm_patchtokens"]`) and `registers` [B, V, P, C], without V for images
            without.
        """
        alone = images.ndim == 4
        encoded = self(images[:, None] if alone else images, mask)
        if len(encoded.tokens) > 1:
            raise ConfigError(
                "the views of this mask have different numbers of visible patches; take them one by one, "
                "images[:, v : v + 1] with mask[:, v : v + 1]"
            )
        tokens = encoded.tokens[0][:, 0] if alone else encoded.tokens[0]
        registers, patches = tokens.split([encoded.prefix, tokens.shape[-2] - encoded.prefix], dim=-2)
        return Features(patches, registers, self.config.class_token)

    def get_intermediate_layers(
        self, images: Tensor, n: int | Sequence[int] = 1, reshape: bool = False, norm: bool = True
    ) -> tuple[Tensor, ...]:
        """Patch tokens after several layers, in their order; see `AlternatingEncoder.get_intermediate_layers`."""
        numbers = self.layer_numbers(n)
        x, table = self.embed(images)
        _, kept = self.blocks(x, table, frozenset(numbers))
        layers = [(self.norm(x) if norm else x)[:, :, self.config.registers :] for x in kept]
        if reshape:
            h = images.shape[-2] // self.config.patch_size
            layers = [rearrange(x, "b v (h w) c -> b v c h w", h=h) for x in layers]
        return tuple(layers)


def _of_each(table: RopeTable, patches: Tensor, prefix: int) -> RopeTable:
    """The rows of a view's table [P + L, d] for the patches int64 [B, v, K] of each, [B·v, P + K, d]."""
    rows = patches.flatten(0, 1) + prefix
    first = torch.arange(prefix, device=rows.device).expand(len(rows), -1)
    chosen = torch.cat([first, rows], dim=1)
    return RopeTable(table.cos[chosen], table.sin[chosen])
