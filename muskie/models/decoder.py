"""Decoders between encoder and prediction head, for pre-training only: what they have in common, and the alternating one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from muskie.errors import ConfigError
from muskie.models.blocks import AlternatingStack, BlockConfig
from muskie.models.encoded import Encoded
from muskie.models.parts import decoder_kind
from muskie.models.positions import FORMS, added_positions, table_of
from muskie.models.rope import RopeTable


@dataclass(frozen=True)
class DecoderConfig:
    """Shape of a decoder of alternating blocks (Muskie's, MuM's).

    Attributes:
        depth: alternating blocks; 0 is the published linear head, without a decoder.
        width: channels of its tokens.
        heads: attention heads.
        mlp_ratio, qk_norm, rotate_values: as in `muskie.models.encoder.EncoderConfig`.
        positions: of patches, see `muskie.models.positions`.
        rope_base: base of rotary positions.
        norm_eps: epsilon of all norms.
        mute_prefix: queries and keys of prefix tokens are zero in global attention, as in MuM's published code (arXiv
            2511.17309), whose weights expect it.
    """

    depth: int = 0
    width: int = 384
    heads: int = 6
    mlp_ratio: float = 4.0
    qk_norm: bool = False
    rotate_values: bool = False
    positions: str = "steps"
    rope_base: float = 100.0
    norm_eps: float = 1e-5
    mute_prefix: bool = False
    kind: ClassVar[str] = "alternating"

    def __post_init__(self) -> None:
        check_decoder(self)
        if self.mute_prefix and self.rotate_values:  # both by the rotary table, which would mute the values too
            raise ConfigError(
                "model.decoder.mute_prefix=true and model.decoder.rotate_values=true: published weights that need the first "
                "have no turned values; leave one out"
            )


def check_decoder(c: Any) -> None:
    """What the shapes of all decoders have in common.

    Raises:
        ConfigError: a value is out of range.
    """
    if c.depth < 0:
        raise ConfigError(f"model.decoder.depth={c.depth}: expected 0 (a linear head) or more")
    if c.depth and (min(c.width, c.heads) < 1 or c.width % c.heads or (c.width // c.heads) % 4):
        raise ConfigError(
            f"model.decoder.width={c.width}, model.decoder.heads={c.heads}: width / heads must be a multiple of 4"
        )
    if c.positions not in FORMS:
        raise ConfigError(f"model.decoder.positions={c.positions!r}: expected one of {', '.join(FORMS)}")


class Decoder(nn.Module):
    """A linear embedding, a learned token in the place of patches that the encoder has not seen, and a final norm.

    Args:
        config: with `depth` > 0.
        width_in: channels of the encoder's tokens.
        fills: whether patches may be missing from what the encoder gives.
        blocks: what stands between embedding and norm, with an attribute `checkpointing`.
    """

    def __init__(self, config: Any, width_in: int, fills: bool, blocks: Any) -> None:
        super().__init__()
        self.config = config
        # In this order: checkpoints hold the optimiser's state by the numbers of parameters.
        self.embed = nn.Linear(width_in, config.width)
        self.mask_token = nn.Parameter(torch.empty(config.width)) if fills else None
        self.blocks = blocks
        self.norm = nn.LayerNorm(config.width, eps=config.norm_eps)

    def forward(self, encoded: Encoded, grid: tuple[int, int]) -> Tensor:
        """The encoder's tokens -> tokens of all patches before the final norm, [B, V, P + h·w, D]."""
        raise NotImplementedError

    def whole(self, encoded: Encoded, grid: tuple[int, int]) -> Tensor:
        """Embedded tokens of all views, those that were not seen filled in, [B, V, P + h·w, D]."""
        length = grid[0] * grid[1]
        parts = [self.embed(tokens) for tokens in encoded.tokens]
        if len(parts) == 1 and encoded.groups[0].patches is None:
            whole = parts[0]
        else:
            assert self.mask_token is not None
            first = parts[0]
            shape = (first.shape[0], encoded.views, encoded.prefix + length, first.shape[-1])
            whole = self.mask_token.to(first.dtype).expand(shape).clone()
            for seen, tokens in zip(encoded.groups, parts, strict=True):
                whole = _put(whole, tokens, seen.views, seen.patches, encoded.prefix)
        if self.config.positions == "added":
            added = added_positions(grid, self.config.width, whole.device, whole.dtype)
            whole = whole + torch.nn.functional.pad(added, (0, 0, encoded.prefix, 0))
        return whole

    def table(self, grid: tuple[int, int], prefix: int) -> RopeTable:
        """The rotary table of one view: prefix tokens, then patches."""
        c, weight = self.config, self.norm.weight
        return table_of(c.positions, grid, prefix, c.width // c.heads, c.rope_base, weight.device, weight.dtype)


def _put(whole: Tensor, tokens: Tensor, views: list[int], patches: Tensor | None, prefix: int) -> Tensor:
    """Tokens [B, v, P + K, D] of some views to their places in [B, V, P + L, D]."""
    scenes, count, _, width = tokens.shape
    device = tokens.device
    length = whole.shape[2] - prefix
    if patches is None:
        patches = torch.arange(length, device=device).expand(scenes, count, -1)
    first = torch.arange(prefix, device=device).expand(scenes, count, -1)
    places = torch.cat([first, patches.to(device, non_blocking=True) + prefix], dim=2)  # [B, v, P + K]
    of_views = torch.tensor(views, device=device).view(1, -1, 1) * (prefix + length)
    of_scenes = torch.arange(scenes, device=device).view(-1, 1, 1) * (whole.shape[1] * (prefix + length))
    rows = (places + of_views + of_scenes).flatten()
    return whole.flatten(0, 2).index_copy(0, rows, tokens.reshape(-1, width).to(whole.dtype)).view_as(whole)


@decoder_kind("alternating", DecoderConfig)
class AlternatingDecoder(Decoder):
    """Alternating blocks over the tokens of all views. Permuting the views permutes what it says."""

    config: DecoderConfig

    def __init__(self, config: DecoderConfig, width_in: int, fills: bool = False) -> None:
        block = BlockConfig(
            config.width, config.heads, config.mlp_ratio, config.qk_norm, config.rotate_values, config.norm_eps
        )
        super().__init__(config, width_in, fills, AlternatingStack(config.depth, block))

    def forward(self, encoded: Encoded, grid: tuple[int, int]) -> Tensor:
        table = self.table(grid, encoded.prefix)
        muted = _muted(table, encoded.prefix) if self.config.mute_prefix else None
        return self.blocks(self.whole(encoded, grid), table, global_table=muted)[0]


def _muted(table: RopeTable, prefix: int) -> RopeTable:
    """The table whose first rows make queries and keys zero."""
    keep = torch.ones_like(table.cos)
    keep[:prefix] = 0
    return RopeTable(table.cos * keep, table.sin * keep)
