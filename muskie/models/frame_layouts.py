"""What the published code of MuM, CroCo v2 and MAE calls its weights, and what model their names and shapes tell."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from muskie.errors import CheckpointError
from muskie.models.cross_decoder import CrossDecoderConfig
from muskie.models.decoder import DecoderConfig
from muskie.models.frame_decoder import FrameDecoderConfig
from muskie.models.frame_encoder import FrameEncoderConfig
from muskie.models.published_file import CROCO, MAE, MUM
from muskie.models.variants import model_config

BLOCK = {part: part for part in ("norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2")}
CROSS = {
    "norm3": "norm3",
    "norm_y": "norm_memory",
    "cross_attn.projq": "cross.q",
    "cross_attn.projk": "cross.k",
    "cross_attn.projv": "cross.v",
    "cross_attn.proj": "cross.proj",
}


@dataclass(frozen=True)
class Layout:
    """The names of one method.

    Attributes:
        blocks, norm: of the encoder.
        stacks: of the decoder's blocks -> where ours lie inside a block of its number.
        parts: of the decoder's blocks -> ours.
        embed, decoder_norm, head: of the decoder.
        fixed, decoder_fixed: what is computed and not learned, beside encoder and decoder.
        class_token: whether there is one.
        variants: models of ours that were published.
        heads: of encoders, by width and layers.
        decoder_heads: of decoders, by width and blocks.
    """

    stacks: Mapping[str, str]
    blocks: str = "blocks"
    norm: str = "norm"
    parts: Mapping[str, str] = field(default_factory=lambda: BLOCK)
    embed: str = "decoder_embed"
    decoder_norm: str = "decoder_norm"
    head: str = "decoder_pred"
    fixed: str | None = None
    decoder_fixed: str | None = None
    class_token: bool = True
    variants: tuple[str, ...] = ()
    heads: Mapping[tuple[int, int], int] = field(default_factory=lambda: {(768, 12): 12, (1024, 24): 16, (1280, 32): 16})
    decoder_heads: Mapping[tuple[int, int], int] = field(default_factory=dict)


LAYOUTS = {
    MUM: Layout(
        stacks={"decoder_frame_blocks": "frame_block.", "decoder_global_blocks": "global_block."},
        fixed="rope_embed.periods",
        decoder_fixed="rope_embed_decoder.periods",
        variants=("mum_vitl16", "mum_vitb16", "mum_vitl16_decoderb", "mum_vith16"),
        decoder_heads={(512, 4): 16, (768, 6): 16, (1024, 12): 16},
    ),
    CROCO: Layout(
        stacks={"dec_blocks": ""},
        blocks="enc_blocks",
        norm="enc_norm",
        parts={**BLOCK, **CROSS},
        decoder_norm="dec_norm",
        head="prediction_head",
        class_token=False,
        variants=("croco_v2_vitb", "croco_v2_vitl"),
        decoder_heads={(768, 12): 12, (512, 8): 16},
    ),
    MAE: Layout(
        stacks={"decoder_blocks": ""},
        fixed="pos_embed",
        decoder_fixed="decoder_pos_embed",
        variants=("mae_vitb", "mae_vitl"),
        decoder_heads={(512, 8): 16},
    ),
}


@dataclass(frozen=True)
class Untold:
    """What neither names nor shapes tell; None: as published.

    Attributes:
        heads, decoder_heads: attention heads.
        eps: epsilon of all norms.
        rope_in: `"bfloat16"` or `"float16"`: rotary tables of the encoder in this type; `"float32"`: exact.
        rope_base: of rotary positions by steps.
    """

    heads: int | None = None
    decoder_heads: int | None = None
    eps: float | None = None
    rope_in: str | None = None
    rope_base: float | None = None


@dataclass
class Shape:
    """Of a published model: one of `list_models()` or `"other"`, and its parts."""

    variant: str
    encoder: FrameEncoderConfig
    decoder: DecoderConfig | CrossDecoderConfig | FrameDecoderConfig | None


def names(kind: str, depth: int, decoder_depth: int) -> dict[str, str]:
    """Every published name of a learned weight -> our name; no decoder without `decoder_depth`."""
    layout = LAYOUTS[kind]

    def modules() -> Iterator[tuple[str, str]]:
        yield "patch_embed.proj", "encoder.patch_embed"
        for i in range(depth):
            yield from ((f"{layout.blocks}.{i}.{old}", f"encoder.blocks.{i}.{new}") for old, new in BLOCK.items())
        yield layout.norm, "encoder.norm"
        if decoder_depth:
            yield layout.embed, "decoder.embed"
            for i in range(decoder_depth):
                for stack, inside in layout.stacks.items():
                    for old, new in layout.parts.items():
                        yield f"{stack}.{i}.{old}", f"decoder.blocks.{i}.{inside}{new}"
            yield layout.decoder_norm, "decoder.norm"
            yield layout.head, "head"

    table = {"cls_token": "encoder.class_token"} if layout.class_token else {}
    table |= {"mask_token": "decoder.mask_token"} if decoder_depth else {}
    return table | {f"{old}.{part}": f"{new}.{part}" for old, new in modules() for part in ("weight", "bias")}


def shape_of(kind: str, weights: Mapping[str, Any], untold: Untold) -> Shape:
    """The model that weights are of, by published name.

    Raises:
        CheckpointError: shapes do not tell it, and neither does `untold`; or that has a value that cannot be.
    """
    layout = LAYOUTS[kind]
    embedding = _matrix(kind, weights, "patch_embed.proj.weight", 4, "[width, 3, p, p]")
    width, depth = len(embedding), _blocks(weights, layout.blocks)
    heads = _heads("--heads", untold.heads, width, depth, _told(width, weights, layout.fixed), layout.heads)
    has_decoder = any(key.startswith((f"{layout.embed}.", *(f"{stack}." for stack in layout.stacks))) for key in weights)
    if untold.eps is not None and not untold.eps > 0:
        raise CheckpointError(f"--eps {untold.eps}: expected more than 0, e.g. 1e-6")
    # MuM's two factories differ in both; each file is read by one of them.
    eps = untold.eps or (1e-5 if kind == MUM and not has_decoder else 1e-6)
    rope_in = untold.rope_in or ("bfloat16" if kind == MUM and not has_decoder else "float32")
    base = untold.rope_base or 100.0
    encoder = FrameEncoderConfig(
        width=width,
        depth=depth,
        heads=heads,
        patch_size=int(embedding.shape[-1]),
        class_token=layout.class_token,
        mlp_ratio=_mlp_ratio(weights, layout.blocks, width),
        positions={MUM: "axial", CROCO: "steps", MAE: "added"}[kind],
        rope_base=base,
        rope_in=None if rope_in == "float32" else rope_in,
        norm_eps=eps,
    )
    decoder: DecoderConfig | CrossDecoderConfig | FrameDecoderConfig | None = None
    if has_decoder:
        inner = len(_matrix(kind, weights, f"{layout.embed}.weight", 2, "[decoder width, width]"))
        count = max(_blocks(weights, stack) for stack in layout.stacks)
        told = _told(inner, weights, layout.decoder_fixed)
        decoder_heads = _heads("--decoder-heads", untold.decoder_heads, inner, count, told, layout.decoder_heads)
        ratio = _mlp_ratio(weights, next(iter(layout.stacks)), inner)
        same: dict[str, Any] = {"depth": count, "width": inner, "heads": decoder_heads, "mlp_ratio": ratio, "norm_eps": eps}
        if kind == MUM:
            decoder = DecoderConfig(**same, positions="axial", mute_prefix=True)
        else:
            decoder = (CrossDecoderConfig if kind == CROCO else FrameDecoderConfig)(**same, rope_base=base)
    return Shape(_variant(layout, encoder, decoder), encoder, decoder)


def _matrix(kind: str, weights: Mapping[str, Any], key: str, axes: int, shape: str) -> Tensor:
    tensor = weights.get(key)
    if not isinstance(tensor, Tensor) or tensor.ndim != axes or not tensor.numel():
        raise CheckpointError(
            f"no {key} {shape} among {len(weights)} keys ({', '.join(list(weights)[:4])}, ...): this is no complete {kind} "
            "checkpoint"
        )
    return tensor


def _blocks(weights: Mapping[str, Any], stack: str) -> int:
    """How many blocks a stack has: one more than the highest number, so that those left out in between are missing."""
    found = [re.match(rf"{stack}\.(\d+)\.", key) for key in weights]
    return max((int(match[1]) + 1 for match in found if match), default=0)


def _told(width: int, weights: Mapping[str, Any], fixed: str | None) -> int | None:
    """The heads that MuM's rotary periods tell, of which there are as many as a quarter of the channels of a head."""
    periods = weights.get(fixed or "")
    if isinstance(periods, Tensor) and periods.ndim == 1 and len(periods) and width % (4 * len(periods)) == 0:
        return width // (4 * len(periods))
    return None


def _heads(
    flag: str, given: int | None, width: int, depth: int, told: int | None, known: Mapping[tuple[int, int], int]
) -> int:
    heads = given if given is not None else told or known.get((width, depth))
    if not depth:
        raise CheckpointError(f"a width of {width} and no blocks: the file is incomplete")
    if heads is None:
        raise CheckpointError(
            f"no published model has width {width} and {depth} blocks in this part: the file may be incomplete. If it is "
            f"not, give {flag}, which shapes do not tell"
        )
    if heads < 1 or width % heads or width // heads % 4:
        raise CheckpointError(f"{flag} {heads}: width {width}; width over heads must be a multiple of 4")
    return heads


def _mlp_ratio(weights: Mapping[str, Any], stack: str, width: int) -> float:
    first = weights.get(f"{stack}.0.mlp.fc1.weight")
    return len(first) / width if isinstance(first, Tensor) and first.ndim == 2 and len(first) else 4.0


def _variant(layout: Layout, encoder: Any, decoder: Any) -> str:
    def size(part: Any) -> tuple[int, int]:
        return (part.width, part.depth) if part is not None and part.depth else (0, 0)

    sizes = {name: tuple(map(size, model_config(name))) for name in layout.variants}
    exact = next((name for name, known in sizes.items() if known == (size(encoder), size(decoder))), None)
    alone = next((f"{name}, encoder alone" for name, known in sizes.items() if known[0] == size(encoder)), None)
    return exact or (alone if decoder is None else None) or "other"
