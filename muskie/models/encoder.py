"""The Muskie encoder: all views together through alternating frame-wise and global attention (arXiv 2511.18115)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from muskie.errors import ConfigError
from muskie.models.blocks import AlternatingStack, BlockConfig
from muskie.models.encoded import Encoded, visible_groups
from muskie.models.parts import encoder_kind
from muskie.models.patches import check_images, check_mask, patchify
from muskie.models.rope import RopeTable, rope_table


@dataclass(frozen=True)
class EncoderConfig:
    """Shape of an encoder.

    Attributes:
        width: channels C of a token.
        depth: number of alternating blocks, each a frame-wise and a global layer.
        heads: attention heads.
        patch_size: pixels p of a patch's side.
        registers: learned tokens put before each view's patches.
        mlp_ratio: hidden width of the MLPs over C.
        rope_base: base of the rotary frequencies.
        rope_angles_in: `"float16"` to reproduce the rounded angles of published weights; None: exact.
        qk_norm: RMS norm of each head's queries and keys, with learned gains (`muskie.models.attention.Attention`).
        rotate_values: values turned by their positions as well, and their sum back by the query's (there, too).
        image_mean, image_std: colour normalisation of images in [0, 1]; part of the model, saved with its weights.
    """

    width: int
    depth: int
    heads: int
    patch_size: int = 16
    registers: int = 4
    mlp_ratio: float = 4.0
    rope_base: float = 100.0
    rope_angles_in: str | None = None
    qk_norm: bool = False
    rotate_values: bool = False
    image_mean: Sequence[float] = (0.5, 0.5, 0.5)
    image_std: Sequence[float] = (0.5, 0.5, 0.5)
    kind: ClassVar[str] = "alternating"

    def __post_init__(self) -> None:
        check_shape(self)
        if self.registers < 0:
            raise ConfigError(f"model.registers={self.registers}: expected at least 0")
        if self.rope_angles_in not in (None, "float16", "bfloat16"):
            raise ConfigError(f"model.rope_angles_in={self.rope_angles_in!r}: expected null, float16 or bfloat16")


def check_shape(c: Any) -> None:
    """What the shapes of all encoders have in common.

    Raises:
        ConfigError: a value is out of range.
    """
    for name, least in (("width", 4), ("depth", 1), ("heads", 1), ("patch_size", 1)):
        if getattr(c, name) < least:
            raise ConfigError(f"model.{name}={getattr(c, name)}: expected at least {least}")
    if c.width % c.heads or (c.width // c.heads) % 4:
        raise ConfigError(f"model.width={c.width}, model.heads={c.heads}: width / heads must be a multiple of 4, e.g. 64")
    if int(c.width * c.mlp_ratio) < 1:
        raise ConfigError(f"model.mlp_ratio={c.mlp_ratio}: expected more than 0, e.g. 4")
    if not c.rope_base > 0:
        raise ConfigError(f"model.rope_base={c.rope_base}: expected more than 0, e.g. 100")
    if len(c.image_mean) != 3 or len(c.image_std) != 3 or min(c.image_std) <= 0:
        raise ConfigError(f"model.image_mean={c.image_mean}, model.image_std={c.image_std}: expected 3 numbers, std > 0")


@dataclass
class Features:
    """What an encoder knows of a batch: `patches` [B, V, L, C] and `registers` [B, V, R, C], the first of which may be a
    class token; also by the names that users of DINO and MuM know."""

    patches: Tensor
    registers: Tensor
    class_token: bool = False

    def __getitem__(self, name: str) -> Tensor:
        if name in ("x_norm_patchtokens", "patches"):
            return self.patches
        if name not in ("x_norm_clstoken", "x_norm_cls_token"):
            raise KeyError(f"{name!r}; there are x_norm_patchtokens and x_norm_clstoken")
        if not self.class_token:
            raise KeyError(f"{name!r}: this model has no class token; take x_norm_patchtokens, or their mean")
        return self.registers[..., 0, :]


class PatchEmbedding(nn.Module):
    """What all encoders begin with: normalised patches and their linear embedding.

    Args:
        config: has `width`, `depth`, `patch_size`, `image_mean` and `image_std`.

    Attributes:
        drops_hidden: whether hidden patches are left out of what the encoder gives.
        blocks: a stack with `checkpointing`, set by each kind.
    """

    drops_hidden = False
    blocks: Any

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.config = config
        p = config.patch_size
        self.patch_embed = nn.Conv2d(3, config.width, kernel_size=p, stride=p)
        self.register_buffer("image_mean", torch.tensor(config.image_mean).view(3, 1, 1), persistent=False)
        self.register_buffer("image_std", torch.tensor(config.image_std).view(3, 1, 1), persistent=False)
        self.image_mean: Tensor
        self.image_std: Tensor

    def forward_features(self, images: Tensor, mask: Tensor | None = None) -> Features:
        """Features after the final norm."""
        raise NotImplementedError

    def get_intermediate_layers(
        self, images: Tensor, n: int | Sequence[int] = 1, reshape: bool = False, norm: bool = True
    ) -> tuple[Tensor, ...]:
        """Patch tokens after several layers."""
        raise NotImplementedError

    def normalise(self, images: Tensor) -> Tensor:
        """uint8 0..255 or float in [0, 1], [..., 3, H, W] -> float, mean and std removed."""
        scale = 1 / self.image_std
        shift = -self.image_mean * scale
        if images.dtype == torch.uint8:
            images, scale = images.to(scale.dtype), scale / 255
        return torch.addcmul(shift, images, scale)  # in one pass

    def patches(self, images: Tensor, chosen: Tensor | None = None) -> Tensor:
        """Images [B, V, 3, H, W] -> normalised patches [B, V, L, 3·p·p], or the `chosen` int64 [M] of all, [M, 3·p·p]."""
        p = self.config.patch_size
        patches = patchify(images, p)  # before they are normalised: bytes are quicker to move
        if chosen is not None:
            patches = patches.flatten(0, 2).index_select(0, chosen)
        return self.normalise(patches.unflatten(-1, (3, p, p))).flatten(-3)

    def layer_numbers(self, n: int | Sequence[int]) -> list[int]:
        """The numbers of layers that `get_intermediate_layers(n=...)` asks for, from 0 on.

        Raises:
            ValueError: a layer that is not there, or one asked for twice.
        """
        depth = self.config.depth
        numbers = range(depth - n, depth) if isinstance(n, int) else [i % depth if -depth <= i < 0 else i for i in n]
        if not numbers or any(not 0 <= i < depth for i in numbers) or len(set(numbers)) < len(numbers):
            allowed = f"1 to {depth} blocks" if isinstance(n, int) else f"numbers of blocks, 0 to {depth - 1}, each once"
            raise ValueError(f"n={n!r}: expected {allowed}")
        return list(numbers)


@encoder_kind("alternating", EncoderConfig)
class AlternatingEncoder(PatchEmbedding):
    """Patch embedding, hidden patches replaced by one learned placeholder, registers, alternating blocks, final norm.

    The views carry no order: permuting them permutes the features.
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__(config)
        width = config.width
        self.registers = nn.Parameter(torch.empty(config.registers, width))
        self.placeholder = nn.Parameter(torch.empty(width))
        block = BlockConfig(width, config.heads, config.mlp_ratio, config.qk_norm, config.rotate_values)
        self.blocks = AlternatingStack(config.depth, block)
        self.norm = nn.LayerNorm(width, eps=1e-5)

    def table(self, grid: tuple[int, int]) -> RopeTable:
        """The rotary table of one view of this grid: registers, then patches."""
        c = self.config
        device, dtype = self.registers.device, self.registers.dtype
        rounded = getattr(torch, c.rope_angles_in) if c.rope_angles_in else None
        return rope_table(grid, c.registers, c.width // c.heads, c.rope_base, device, dtype, rounded)

    def embed(self, images: Tensor, mask: Tensor | None = None) -> Tensor:
        """Images [B, V, 3, H, W] and mask bool [B, V, h, w] (True = hidden) -> tokens [B, V, R + L, C]."""
        grid = check_images(images, self.config.patch_size)
        # The convolution as a matrix product over patches: the same sum, and much faster on CPUs.
        patches = self.patches(images).to(self.patch_embed.weight.dtype)  # [B, V, L, 3·p·p]
        tokens = F.linear(patches, self.patch_embed.weight.flatten(1), self.patch_embed.bias)
        if mask is not None:
            check_mask(mask, images, grid)
            hidden = mask.to(tokens.device, non_blocking=True).flatten(2).unsqueeze(-1)  # [B, V, L, 1]
            tokens = torch.where(hidden, self.placeholder.to(tokens.dtype), tokens)
        registers = self.registers.to(tokens.dtype).expand(*tokens.shape[:2], -1, -1)
        return torch.cat([registers, tokens], dim=2)

    def tokens(self, images: Tensor, mask: Tensor | None = None) -> Tensor:
        """All tokens after the last block, before the final norm, [B, V, R + L, C]."""
        table = self.table(check_images(images, self.config.patch_size))
        return self.blocks(self.embed(images, mask), table)[0]

    def forward(self, images: Tensor, mask: Tensor | None = None) -> Encoded:
        """Images [B, V, 3, H, W] and mask bool [B, V, h, w] (True = hidden) -> the tokens of all patches."""
        views = images.shape[1]
        return Encoded(visible_groups(None, views), [self.norm(self.tokens(images, mask))], self.config.registers, views)

    def forward_features(self, images: Tensor, mask: Tensor | None = None) -> Features:
        """Features after the final norm.

        Args:
            images: [B, V, 3, H, W], uint8 or float in [0, 1], not normalised; H and W multiples of the patch size.
            mask: bool [B, V, h, w], True = hidden; None: every patch is seen.
        """
        tokens = self.norm(self.tokens(images, mask))
        registers, patches = tokens.split([self.config.registers, tokens.shape[2] - self.config.registers], dim=2)
        return Features(patches, registers)

    def get_intermediate_layers(
        self, images: Tensor, n: int | Sequence[int] = 1, reshape: bool = False, norm: bool = True
    ) -> tuple[Tensor, ...]:
        """Patch tokens after several blocks, in the order of the blocks.

        Args:
            images: [B, V, 3, H, W] as in `forward_features`.
            n: the last n blocks, or the numbers of the blocks (negative ones count from the end).
            reshape: give [B, V, C, h, w] instead of [B, V, L, C].
            norm: apply the final norm to each.

        Raises:
            ValueError: a block that is not there, or one asked for twice.
        """
        numbers = self.layer_numbers(n)
        grid = check_images(images, self.config.patch_size)
        _, kept = self.blocks(self.embed(images), self.table(grid), frozenset(numbers))
        layers = [(self.norm(x) if norm else x)[:, :, self.config.registers :] for x in kept]
        if reshape:
            layers = [rearrange(x, "b v (h w) c -> b v c h w", h=grid[0]) for x in layers]
        return tuple(layers)
