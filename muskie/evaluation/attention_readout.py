"""Matches read out of the global attention of one forward pass over all views, averaged over heads and blocks.

Two averages: the attention itself, softmax over all keys of all views, registers included (Nordström et al.,
arXiv 2609.39227, of one block); and the scores before softmax in both directions, query to patch and patch to query
(Muskie, arXiv 2511.18115). Blocks are added up while the encoder runs, so that no map outlives its block.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from muskie.backbones.frozen import FrozenBackbone
from muskie.evaluation.readout import sample
from muskie.models.encoder import AlternatingEncoder
from muskie.models.listening import listening
from muskie.models.masked_view import MaskedViewModel

KINDS = ("attention", "scores")


def can_attend(backbone: FrozenBackbone) -> bool:
    """Whether its views see each other by attention that can be read out."""
    return isinstance(backbone.model, MaskedViewModel) and isinstance(backbone.model.encoder, AlternatingEncoder)


@contextmanager
def attention_reader(
    backbone: FrozenBackbone,
    images: Tensor,
    positions: Tensor,
    kinds: Sequence[str] = KINDS,
    blocks: Sequence[int] | None = None,
) -> Iterator[AttentionReader]:
    """Reads the attention of the one forward pass that the caller makes within; see `attention_of`."""
    if not can_attend(backbone):
        raise ValueError(f"{backbone.name} looks at every view on its own: there is no attention between views")
    reader = AttentionReader(backbone, images, positions, kinds)
    with listening(backbone.model.encoder, reader.hear, blocks):  # type: ignore[attr-defined]
        yield reader


def attention_of(
    backbone: FrozenBackbone,
    images: Tensor,
    positions: Tensor,
    kinds: Sequence[str] = KINDS,
    blocks: Sequence[int] | None = None,
) -> dict[str, Tensor]:
    """How strongly positions of view 0 attend to every patch of every view.

    Args:
        backbone: one of ours.
        images: uint8 [B, V, 3, H, W].
        positions: [B, Q, 2], (x, y) in view 0, in pixels; queries and keys between patch centres are bilinear.
        kinds: `"attention"`: sums to 1 over all patches and registers; `"scores"`: before softmax, both directions.
        blocks: numbers of the blocks that are averaged; None: all.

    Returns:
        Of each kind float32 [B, V, Q, h, w].

    Raises:
        ValueError: the backbone has no attention between views.
    """
    with attention_reader(backbone, images, positions, kinds, blocks) as reader:
        backbone.features(images)
    return reader.result()


class AttentionReader:
    """Adds up what it hears; see `attention_reader`."""

    def __init__(self, backbone: FrozenBackbone, images: Tensor, positions: Tensor, kinds: Sequence[str]) -> None:
        self.views, self.size = images.shape[1], (images.shape[-2], images.shape[-1])
        model = backbone.model
        assert isinstance(model, MaskedViewModel)
        self.registers = model.encoder.config.registers
        self.grid = tuple(side // backbone.patch_size for side in backbone.fit(images[:1, :1]).shape[-2:])
        self.positions = positions.to(backbone.device)
        self.sums: dict[str, Tensor | int] = dict.fromkeys(kinds, 0)
        self.heard = 0

    def hear(self, block: int, q: Tensor, k: Tensor) -> None:
        """One block's queries and keys, [B, V·T, heads, d]. All is added up in float32, whatever the model runs in."""
        with torch.autocast(q.device.type, enabled=False):
            self._add(q.float(), k.float())

    def _add(self, q: Tensor, k: Tensor) -> None:
        scale = q.shape[-1] ** -0.5
        q_patches, k_patches = (x.unflatten(1, (self.views, -1))[:, :, self.registers :] for x in (q, k))  # [B, V, L, ...]
        q_here, k_here = (self._at_positions(x[:, 0]) for x in (q_patches, k_patches))  # [B, Q, heads, d]
        if "attention" in self.sums:
            logits = torch.einsum("bqnd,btnd->bnqt", q_here, k) * scale
            weights = logits.softmax(-1).mean(1).unflatten(-1, (self.views, -1))[..., self.registers :]  # [B, Q, V, L]
            self.sums["attention"] += weights.transpose(1, 2)
        if "scores" in self.sums:
            # The mean over heads of inner products is the inner product of all heads' channels, over their number.
            share = scale / q.shape[2] / 2
            forth = torch.einsum("bqc,bvlc->bvql", q_here.flatten(-2), k_patches.flatten(-2))
            back = torch.einsum("bqc,bvlc->bvql", k_here.flatten(-2), q_patches.flatten(-2))
            self.sums["scores"] += (forth + back) * share
        self.heard += 1

    def _at_positions(self, tokens: Tensor) -> Tensor:
        """Patch tokens [B, L, heads, d] of view 0 -> [B, Q, heads, d] at the positions."""
        maps = tokens.flatten(-2).transpose(1, 2).unflatten(-1, self.grid)
        return sample(maps, self.positions, self.size).unflatten(-1, tokens.shape[-2:])

    def result(self) -> dict[str, Tensor]:
        """The means over the blocks that were heard."""
        assert self.heard, "the encoder has not run"
        return {kind: (total / self.heard).unflatten(-1, self.grid) for kind, total in self.sums.items()}  # type: ignore[union-attr]
