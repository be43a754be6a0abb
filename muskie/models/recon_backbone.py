"""What a reconstruction model asks of its backbone, and the two kinds that there are: encoders of ours, ViTs of timm."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from muskie.errors import ConfigError, nearest
from muskie.models.blocks import BlockConfig
from muskie.models.compiled import compile_block
from muskie.models.encoder import AlternatingEncoder, EncoderConfig
from muskie.models.frame_encoder import FrameEncoder, FrameEncoderConfig
from muskie.models.initialise import initialise
from muskie.models.parts import part_settings
from muskie.models.patches import check_images
from muskie.models.timm_vit import TimmViT


@dataclass
class Layers:
    """Tokens of a backbone.

    Attributes:
        kept: patch tokens of the layers asked for, in their order, before any final norm, each [B, V, L, C].
        last: all tokens after the last layer and the final norm, [B, V, R + L, C], registers first.
    """

    kept: list[Tensor]
    last: Tensor


class Backbone(nn.Module, ABC):
    """Images to tokens; the attributes are set by each kind.

    Attributes:
        patch_size: pixels p of a patch's side.
        depth: number of layers that can be kept.
        registers: tokens R that come before the patches of each view in `Layers.last`.
        block: shape of the blocks that continue it; its width is that of the tokens.
        rope_base, rope_angles_in: of the rotary positions of those blocks, see `EncoderConfig`.
    """

    patch_size: int
    depth: int
    registers: int
    block: BlockConfig
    rope_base: float = 100.0
    rope_angles_in: str | None = None

    @abstractmethod
    def config(self) -> dict[str, Any]:
        """What `build_backbone` makes the same network of, with fresh weights; fit for JSON."""

    @abstractmethod
    def layers(self, images: Tensor, keep: Collection[int]) -> Layers:
        """Images [B, V, 3, H, W], uint8 or float in [0, 1] -> tokens of the layers `keep`, and the last ones."""

    @abstractmethod
    def layer_of(self, name: str) -> int:
        """The layer of a parameter by its name here: 0 for the embedding of patches, 1 to `depth` for the layers."""

    @abstractmethod
    def set_checkpointing(self, on: bool) -> None:
        """Recompute activations in the backward pass."""

    @abstractmethod
    def compile_blocks(self) -> None:
        """`torch.compile` each block where it stands."""


_kinds: dict[str, Callable[..., Backbone]] = {}

OF_ENCODER = {"alternating": "muskie", "frames": "frames"}
"""The kind of backbone that an encoder of ours makes, by the kind of the encoder."""


def backbone_kind(kind: str) -> Callable[[Callable[..., Backbone]], Callable[..., Backbone]]:
    """Makes a class known by its kind: called with the rest of its `config()`, `final_norm`, `init` and `seed`."""

    def known(make: Callable[..., Backbone]) -> Callable[..., Backbone]:
        _kinds[kind] = make
        return make

    return known


def build_backbone(config: Mapping[str, Any], final_norm: bool = True, init: str = "torch", seed: int = 0) -> Backbone:
    """A backbone with fresh weights.

    Args:
        config: `kind` and the arguments of that kind, see `MuskieBackbone` and `TimmBackbone`.
        final_norm: whether the last tokens are normed. Published models hand them on as they are.
        init, seed: of the fresh weights; timm has an initialisation of its own.

    Raises:
        ConfigError: an unknown kind, or arguments that cannot be used.
    """
    arguments = dict(config)
    kind = arguments.pop("kind", None)
    if kind not in _kinds:
        raise ConfigError(f"backbone.kind={kind!r} is unknown{nearest(str(kind), _kinds)}")
    return _kinds[kind](arguments, final_norm, init, seed)


class EncoderBackbone(Backbone):
    """What the backbones of our encoders have in common; their parameters are those of `encoder`."""

    encoder: Any

    def layer_of(self, name: str) -> int:
        parts = name.split(".")
        if parts[:2] == ["encoder", "blocks"]:
            return int(parts[2]) + 1
        return self.depth if parts[:2] == ["encoder", "norm"] else 0

    def set_checkpointing(self, on: bool) -> None:
        self.encoder.blocks.checkpointing = on

    def compile_blocks(self) -> None:
        for block in self.encoder.blocks:
            compile_block(block)


@backbone_kind("muskie")
class MuskieBackbone(EncoderBackbone):
    """An encoder of ours; a layer is an alternating block, and registers are handed on.

    Args:
        config: fields of `EncoderConfig`.
        final_norm, init, seed: see `build_backbone`.
    """

    def __init__(self, config: Mapping[str, Any], final_norm: bool, init: str, seed: int) -> None:
        super().__init__()
        c = EncoderConfig(**config)
        with torch.random.fork_rng(devices=[]):
            self.encoder = AlternatingEncoder(c)
        initialise(self.encoder, init, seed)
        # Nothing is hidden here, and every parameter has to have a gradient.
        self.encoder.placeholder = None
        if not final_norm:
            self.encoder.norm = nn.Identity()
        self.patch_size, self.depth, self.registers = c.patch_size, c.depth, c.registers
        self.block = BlockConfig(c.width, c.heads, c.mlp_ratio, c.qk_norm, c.rotate_values)
        self.rope_base, self.rope_angles_in = c.rope_base, c.rope_angles_in

    def config(self) -> dict[str, Any]:
        fields = asdict(self.encoder.config)
        return {"kind": "muskie"} | {k: list(v) if isinstance(v, tuple) else v for k, v in fields.items()}

    def layers(self, images: Tensor, keep: Collection[int]) -> Layers:
        table = self.encoder.table(check_images(images, self.patch_size))
        last, kept = self.encoder.blocks(self.encoder.embed(images), table, frozenset(keep))
        return Layers([x[:, :, self.registers :] for x in kept], self.encoder.norm(last))


@backbone_kind("frames")
class FrameBackbone(EncoderBackbone):
    """A frame-wise encoder of ours; a layer is a block, and the class token is handed on as a register.

    Args:
        config: fields of `FrameEncoderConfig`.
        final_norm, init, seed: see `build_backbone`.
    """

    def __init__(self, config: Mapping[str, Any], final_norm: bool, init: str, seed: int) -> None:
        super().__init__()
        c = FrameEncoderConfig(**config)
        with torch.random.fork_rng(devices=[]):
            self.encoder = FrameEncoder(c)
        initialise(self.encoder, init, seed)
        if not final_norm:
            self.encoder.norm = nn.Identity()
        self.patch_size, self.depth, self.registers = c.patch_size, c.depth, c.registers
        self.block = BlockConfig(c.width, c.heads, c.mlp_ratio)
        self.rope_base = c.rope_base

    def config(self) -> dict[str, Any]:
        return {**part_settings(self.encoder.config), "kind": "frames"}

    def layers(self, images: Tensor, keep: Collection[int]) -> Layers:
        tokens, table = self.encoder.embed(images)
        last, kept = self.encoder.blocks(tokens, table, frozenset(keep))
        return Layers([x[:, :, self.registers :] for x in kept], self.encoder.norm(last))


@backbone_kind("timm")
class TimmBackbone(Backbone):
    """A ViT of timm, which looks at every view on its own and hands no registers on.

    Args:
        config: `name` as in `timm.list_models()`, and `arguments` of `timm.create_model`.
        final_norm, init, seed: see `build_backbone`; `init` changes nothing here.

    Raises:
        ConfigError, CheckpointError: see `muskie.models.timm_vit.TimmViT`.
    """

    def __init__(self, config: Mapping[str, Any], final_norm: bool, init: str, seed: int) -> None:
        super().__init__()
        self.name, self.arguments = str(config["name"]), dict(config.get("arguments") or {})
        self.body = TimmViT(self.name, False, seed, **{"num_classes": 0, **self.arguments})
        vit = self.body.vit
        # What comes after the blocks is never run, and every parameter has to have a gradient.
        vit.prune_intermediate_layers([self.body.depth - 1], prune_norm=not final_norm, prune_head=True)
        self.patch_size, self.depth, self.registers = self.body.patch_size, self.body.depth, 0
        width = int(vit.embed_dim)
        self.block = BlockConfig(width, _heads(width, getattr(getattr(vit.blocks[0], "attn", None), "num_heads", 0)))

    def config(self) -> dict[str, Any]:
        return {"kind": "timm", "name": self.name, "arguments": self.arguments}

    def layers(self, images: Tensor, keep: Collection[int]) -> Layers:
        numbers = sorted({*keep, self.depth - 1})
        maps = self.body.get_intermediate_layers(images, numbers, norm=False)
        norm = getattr(self.body.vit, "norm", nn.Identity())
        return Layers([x for number, x in zip(numbers, maps, strict=True) if number in keep], norm(maps[-1]))

    def layer_of(self, name: str) -> int:
        parts = name.split(".")
        if "blocks" in parts[:3]:
            return int(parts[parts.index("blocks") + 1]) + 1
        return self.depth if "norm" in parts[:3] else 0

    def set_checkpointing(self, on: bool) -> None:
        self.body.vit.set_grad_checkpointing(on)

    def compile_blocks(self) -> None:
        for block in self.body.vit.blocks:
            compile_block(block)


def _heads(width: int, known: int) -> int:
    """The heads of a backbone, or where they are not known or do not suit rotary positions, some of about 64 channels."""
    if known and width % known == 0 and width // known % 4 == 0:
        return known
    return min((n for n in range(1, width + 1) if width % (4 * n) == 0), key=lambda n: abs(width // n - 64))
