"""The pre-training model: encoder, optional decoder, and the head that predicts hidden pixels with a confidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from muskie.models.blocks import AlternatingBlock
from muskie.models.decoder import AlternatingDecoder, DecoderConfig
from muskie.models.encoder import AlternatingEncoder, EncoderConfig, Features
from muskie.models.hub_weights import HubWeights
from muskie.models.initialise import initialise
from muskie.models.model_card import MODEL_CARD
from muskie.models.patches import check_images, check_mask, unpatchify


@dataclass
class Prediction:
    """Predicted patches, values channel-major as in `patchify`.

    Attributes:
        pixels: float32 [..., 3·p·p], colours normalised by the model's mean and std.
        confidence: float32 [..., 3·p·p] in (0, 1).
        hidden: int64 [M], which of the B·V·L patches were predicted, or None: all, and the leading shape is [B, V, L].
    """

    pixels: Tensor
    confidence: Tensor
    hidden: Tensor | None = None


class MaskedViewModel(nn.Module, HubWeights, library_name="muskie", model_card_template=MODEL_CARD):
    """Fills in hidden patches of several views of a scene.

    Build it by `muskie.create_model`, load it by `muskie.from_pretrained`; `save_pretrained(folder)` writes safetensors
    and `config.json`.

    Args:
        encoder: fields of `EncoderConfig`.
        decoder: fields of `DecoderConfig`.
        init: initialisation, see `muskie.models.initialise`.
        seed: of the initialisation.
    """

    def __init__(
        self, encoder: Mapping[str, Any], decoder: Mapping[str, Any] | None = None, init: str = "torch", seed: int = 0
    ) -> None:
        super().__init__()
        encoder_config = EncoderConfig(**encoder)
        decoder_config = DecoderConfig(**(decoder or {}))
        with torch.random.fork_rng(devices=[]):  # layers draw when they are made; the caller's generator stays as it is
            self.encoder = AlternatingEncoder(encoder_config)
            self.decoder: AlternatingDecoder | None = None
            width = encoder_config.width
            if decoder_config.depth:
                self.decoder = AlternatingDecoder(decoder_config, width, encoder_config.rope_base)
                width = decoder_config.width
            self.head = nn.Linear(width, 2 * 3 * encoder_config.patch_size**2)
        initialise(self, init, seed)
        self._begun_with = (asdict(encoder_config), asdict(decoder_config), init, seed)

    def untrained(self) -> MaskedViewModel:
        """The same network with the fresh weights of its seed: what a trained one is measured against."""
        return MaskedViewModel(*self._begun_with)

    @property
    def patch_size(self) -> int:
        """Pixels p of a patch's side; image sides are multiples of it."""
        return self.encoder.config.patch_size

    def forward(self, images: Tensor, mask: Tensor, hidden_only: bool = False) -> Prediction:
        """Predicts the pixels of every patch, or of the hidden ones alone.

        Args:
            images: [B, V, 3, H, W], uint8 or float in [0, 1]; H and W multiples of the patch size.
            mask: bool [B, V, h, w], True = hidden. With `hidden_only`, a mask on the CPU spares a GPU the wait for the
                number of hidden patches.
            hidden_only: what training needs; the head then runs on the M hidden patches alone.

        Returns:
            A `Prediction` of [B, V, L, 3·p·p], or [M, 3·p·p].
        """
        grid = check_images(images, self.patch_size)
        check_mask(mask, images, grid)
        tokens, _ = self.encoder(images, mask)
        norm = self.encoder.norm
        if self.decoder is not None:
            tokens, norm = self.decoder(norm(tokens), grid), self.decoder.norm
        tokens = tokens[:, :, self.encoder.config.registers :]  # [B, V, L, C]
        hidden = None
        if hidden_only:
            hidden = mask.flatten().nonzero().squeeze(1)  # [M]
            if tokens.is_cuda and not hidden.is_cuda:
                hidden = hidden.pin_memory()  # only page-locked memory is copied without waiting
            hidden = hidden.to(tokens.device, non_blocking=True)
            tokens = tokens.flatten(0, 2).index_select(0, hidden)  # [M, C]
        pixels, confidence = self.head(norm(tokens)).float().chunk(2, dim=-1)
        return Prediction(pixels, confidence.sigmoid(), hidden)

    def targets(self, images: Tensor, hidden: Tensor | None = None) -> Tensor:
        """The patches that a perfect `Prediction.pixels` would hold, float32, in the same layout."""
        return self.encoder.patches(images, hidden).float()

    @torch.no_grad()
    def reconstruct(self, images: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures of the prediction: pixels in [0, 1] and confidence in (0, 1), both [B, V, 3, H, W]."""
        prediction = self(images, mask)
        grid = check_images(images, self.patch_size)
        pixels = unpatchify(prediction.pixels, grid) * self.encoder.image_std + self.encoder.image_mean
        return pixels.clamp(0, 1), unpatchify(prediction.confidence, grid)

    def forward_features(self, images: Tensor, mask: Tensor | None = None) -> Features:
        """Features of images [B, V, 3, H, W]: `.patches` [B, V, L, C] and `.registers` [B, V, R, C].

        All is in `AlternatingEncoder.forward_features`.
        """
        return self.encoder.forward_features(images, mask)

    def get_intermediate_layers(
        self, images: Tensor, n: int | Sequence[int] = 1, reshape: bool = False, norm: bool = True
    ) -> tuple[Tensor, ...]:
        """Patch tokens after several blocks, each [B, V, L, C], or [B, V, C, h, w] with `reshape`.

        All is in `AlternatingEncoder.get_intermediate_layers`.
        """
        return self.encoder.get_intermediate_layers(images, n, reshape, norm)

    def set_checkpointing(self, on: bool) -> None:
        """Recompute activations in the backward pass (less memory, about a third more time)."""
        self.encoder.blocks.checkpointing = on
        if self.decoder is not None:
            self.decoder.blocks.checkpointing = on

    def compile_blocks(self) -> None:
        """`torch.compile` each alternating block where it stands; names of weights do not change."""
        for module in self.modules():
            if isinstance(module, AlternatingBlock):
                module.compile()
