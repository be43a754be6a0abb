"""The reconstruction model: backbone, alternating blocks, and heads for points, cameras and, optionally, depth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from muskie.errors import ConfigError
from muskie.models.blocks import AlternatingBlock
from muskie.models.compiled import compile_block
from muskie.models.geometry_output import Geometry
from muskie.models.heads.activations import depth_of, points_of
from muskie.models.heads.camera import CameraHead
from muskie.models.heads.dpt import DptHead
from muskie.models.hub_weights import HubWeights
from muskie.models.initialise import initialise
from muskie.models.model_card import RECONSTRUCTION_CARD
from muskie.models.model_kind import RECONSTRUCTION
from muskie.models.patches import check_images
from muskie.models.recon_backbone import build_backbone
from muskie.models.recon_decoder import ReconstructionDecoder
from muskie.models.recon_hooks import hook_numbers
from muskie.streams import stream

TRAINED = ("trained_sizes", "trained_views")
"""Arguments of `ReconstructionModel` that say what its weights were trained on, and change nothing that it computes."""


class ReconstructionModel(nn.Module, HubWeights, library_name="muskie", model_card_template=RECONSTRUCTION_CARD):
    """Geometry of the views of a scene in one pass. The views carry no order: permuting them permutes all that is said.

    Build it by `muskie.models.recon_load.create_reconstruction_model`, which takes a backbone with its weights; load it by
    `load_reconstruction_model` there. `save_pretrained(folder)` writes safetensors and a `config.json` that holds the shape
    of the backbone, so that neither the backbone's folder nor the network is needed to load it.

    Args:
        backbone: what `muskie.models.recon_backbone.build_backbone` makes it of.
        decoder_depth: alternating blocks after the backbone, as wide as it.
        features: channels that levels have when the dense heads fuse them; None: half of the backbone's width, at least
            32, or with `published` the width.
        hooks: which four layers the dense heads read, from early to late: layers of the backbone count from 0, blocks of the
            decoder follow, negative numbers count from the end; None: see
            `muskie.models.recon_hooks.default_hooks`.
        depth_head: predict z by a second dense head, with a confidence of its own.
        published: the published network, which its weights expect: no norm between backbone, decoder and heads; no registers
            in the decoder, and positions from 0.
        init: initialisation, see `muskie.models.initialise`.
        seed: of the initialisation.
        kind: written to `config.json`.
        trained_sizes, trained_views: long sides in pixels, and views of a scene, of the pictures that its weights were last
            trained on, kept in `config.json` by `note_training`; empty: not known.

    Attributes:
        chunk: frames that the heads work on at a time; the result does not depend on it.
    """

    def __init__(
        self,
        backbone: Mapping[str, Any],
        decoder_depth: int = 2,
        features: int | None = None,
        hooks: Sequence[int] | None = None,
        depth_head: bool = False,
        published: bool = False,
        init: str = "torch",
        seed: int = 0,
        kind: str = RECONSTRUCTION,
        trained_sizes: Sequence[int] = (),
        trained_views: Sequence[int] = (),
    ) -> None:
        super().__init__()
        if kind != RECONSTRUCTION:
            raise ConfigError(f"kind={kind!r}: expected {RECONSTRUCTION!r}")
        if decoder_depth < 0:
            raise ConfigError(f"model.decoder_depth={decoder_depth}: expected 0 or more")
        if features is not None and features < 2:
            raise ConfigError(f"model.features={features}: expected at least 2, or null for a part of the backbone's width")
        self.backbone = build_backbone(backbone, not published, init, seed)
        body, norm = self.backbone, not published
        width = body.block.width
        self.hooks = hook_numbers(hooks, body.depth, decoder_depth)
        features = features or (width if published else max(32, width // 2))
        with torch.random.fork_rng(devices=[]):  # layers draw when they are made; the caller's generator stays as it is
            positions = (body.rope_base, body.rope_angles_in, published)
            self.decoder = ReconstructionDecoder(decoder_depth, body.block, body.registers, *positions)
            self.point_head = DptHead(width, 4, features, norm)
            self.depth_head = DptHead(width, 2, features, norm) if depth_head else None
            self.camera_head = CameraHead(width, norm)
        own = [part for part in (self.decoder, self.point_head, self.camera_head, self.depth_head) if part is not None]
        # Not the seed itself: the same draws as in the backbone would make blocks that are alike.
        initialise(nn.ModuleList(own), init, int(stream(seed, "reconstruction").integers(2**31)))
        self.camera_head.start_at_identity()
        self.chunk = 8
        self.checkpointing = False
        # All is written out, so that `config.json` keeps the meaning of the weights when a default changes.
        self._begun_with: dict[str, Any] = {
            "backbone": body.config(),
            "decoder_depth": decoder_depth,
            "features": features,
            "hooks": list(self.hooks),
            "depth_head": depth_head,
            "published": published,
            "init": init,
            "seed": seed,
            "kind": kind,
        }
        self._hub_mixin_config = self._begun_with
        self.note_training(trained_sizes, trained_views)

    def network(self) -> dict[str, Any]:
        """What it computes, fit for JSON: the arguments that make it, but for those that draw fresh weights."""
        return {key: value for key, value in self._begun_with.items() if key not in ("init", "seed", "kind", *TRAINED)}

    def untrained(self) -> ReconstructionModel:
        """The same network, backbone and all, with the fresh weights of its seed: what a trained one is measured against."""
        return ReconstructionModel(**{key: value for key, value in self._begun_with.items() if key not in TRAINED})

    def note_training(self, sizes: Sequence[int], views: Sequence[int]) -> None:
        """Keeps the long sides in pixels and the views of a scene that the weights are trained on, see `trained_sizes`."""
        self.trained_sizes, self.trained_views = sorted({int(n) for n in sizes}), sorted({int(n) for n in views})
        self._begun_with |= {name: getattr(self, name) for name in TRAINED}

    @property
    def patch_size(self) -> int:
        """Pixels p of a patch's side; image sides are multiples of it."""
        return self.backbone.patch_size

    def forward(self, images: Tensor) -> Geometry:
        """The geometry of all views.

        Args:
            images: [B, V, 3, H, W], uint8 or float in [0, 1], not normalised; H and W multiples of the patch size.

        Returns:
            A `Geometry` in float32, also under autocast, which concerns backbone and decoder alone.

        Raises:
            TypeError, ValueError: images of another form, see `muskie.models.patches.check_images`.
        """
        grid = check_images(images, self.patch_size)
        scenes, views, _, height, width = images.shape
        tokens = [layer.flatten(0, 1) for layer in self.tokens(images)]  # each [B·V, L, C]
        parts: list[list[Tensor]] = []
        whole: list[Tensor] = []
        with torch.autocast(images.device.type, enabled=False):
            for start in range(0, scenes * views, self.chunk):
                few = [layer[start : start + self.chunk] for layer in tokens]
                if self.checkpointing and self.training:
                    part = checkpoint(self._heads, few, grid, (height, width), use_reentrant=False)
                else:
                    part = self._heads(few, grid, (height, width))
                if torch.is_grad_enabled():
                    parts.append(part)
                    continue
                # Written where they stay: parts that are joined in the end take twice their memory.
                whole = whole or [x.new_empty(scenes * views, *x.shape[1:]) for x in part]
                for x, new in zip(whole, part, strict=True):
                    x[start : start + self.chunk] = new
        joined = whole or [torch.cat(pieces) for pieces in zip(*parts, strict=True)]
        return Geometry(*(x.unflatten(0, (scenes, views)) for x in joined))

    def tokens(self, images: Tensor) -> list[Tensor]:
        """Patch tokens of the four layers that the dense heads read, and the last ones, each [B, V, L, C]."""
        depth = self.backbone.depth
        grid = check_images(images, self.patch_size)
        early = sorted({n for n in self.hooks if n < depth})
        late = sorted({n - depth for n in self.hooks if n >= depth})
        found = self.backbone.layers(images, early)
        last, kept = self.decoder(found.last, grid, late)
        layer = dict(zip([*early, *(depth + n for n in late)], [*found.kept, *kept], strict=True))
        return [*(layer[number] for number in self.hooks), last]

    def _heads(self, tokens: list[Tensor], grid: tuple[int, int], size: tuple[int, int]) -> list[Tensor]:
        """Tokens of N frames as of `tokens`, [N, L, C] each -> what `Geometry` holds of them, in its order."""
        *levels, last = (x.to(self.camera_head.translation.weight.dtype) for x in tokens)
        geometry = [*points_of(self.point_head(levels, grid, size)), self.camera_head(last)]
        if self.depth_head is not None:
            geometry += depth_of(self.depth_head(levels, grid, size))
        return geometry

    @property
    def depth(self) -> int:
        """The number of the heads in `layer_of`: what comes before them is 0 to `depth` − 1."""
        return self.backbone.depth + len(self.decoder.blocks) + 1

    def layer_of(self, name: str) -> tuple[str, int]:
        """The part of a parameter and how deep it lies, for learning rates that differ.

        Args:
            name: as in `named_parameters()`.

        Returns:
            `"backbone"`, `"decoder"` or `"heads"`, and 0 for the embedding of patches, then 1, 2, ... for the layers of the
            backbone and on through the blocks of the decoder, and `depth` for the heads.

        Raises:
            KeyError: this model has no such parameter.
        """
        try:
            self.get_parameter(name)
        except AttributeError as error:
            raise KeyError(f"{name} is no parameter of this model") from error
        part, _, rest = name.partition(".")
        if part == "backbone":
            return part, self.backbone.layer_of(rest)
        if part != "decoder":
            return "heads", self.depth
        _, _, number = rest.partition("blocks.")
        return part, self.backbone.depth + 1 + int(number.partition(".")[0] or 0)

    def set_checkpointing(self, on: bool) -> None:
        """Recompute activations in the backward pass (less memory, about a third more time)."""
        self.backbone.set_checkpointing(on)
        self.decoder.blocks.checkpointing = on
        self.checkpointing = on

    def compile_blocks(self) -> None:
        """`torch.compile` each block where it stands; names of weights do not change."""
        self.backbone.compile_blocks()
        for block in self.decoder.blocks:
            assert isinstance(block, AlternatingBlock)
            compile_block(block)
