"""The pre-training model: encoder, optional decoder, and the head that predicts hidden pixels with a confidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from muskie.errors import ConfigError
from muskie.models import cross_decoder, frame_decoder, frame_encoder  # noqa: F401  they make their kinds known
from muskie.models.compiled import compile_block
from muskie.models.decoder import Decoder
from muskie.models.encoder import Features, PatchEmbedding
from muskie.models.hub_weights import HubWeights
from muskie.models.initialise import initialise
from muskie.models.model_card import MODEL_CARD
from muskie.models.parts import DECODERS, ENCODERS, part_config, part_settings
from muskie.models.patch_statistics import visible_statistics, without_patch_statistics
from muskie.models.patches import check_images, check_mask, unpatchify

NO_DECODER = (
    "this model is an encoder that leaves hidden patches out, without a decoder to fill them in: it gives features alone; "
    "take a model with a decoder (mum_vitl16_decoderb), or set model.decoder.depth"
)


@dataclass
class Prediction:
    """Predicted patches, values channel-major as in `patchify`.

    Attributes:
        pixels: float32 [..., 3·p·p], colours normalised by the model's mean and std, and, of a model that says so, by those
            of each patch.
        confidence: float32 [..., 3·p·p] in (0, 1); 1 of models that say none.
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
        encoder: `kind` and the fields of that kind (`muskie.models.parts`); `EncoderConfig` without.
        decoder: the same; `DecoderConfig` without a kind, and no decoder without depth.
        init: initialisation, see `muskie.models.initialise`.
        seed: of the initialisation.
        confidence: say a confidence beside each colour (Muskie).
        patch_norm: predict colours without the mean and standard deviation of their patch (MAE, CroCo, MuM).

    Raises:
        ConfigError: an unknown kind or field.
    """

    def __init__(
        self,
        encoder: Mapping[str, Any],
        decoder: Mapping[str, Any] | None = None,
        init: str = "torch",
        seed: int = 0,
        confidence: bool = True,
        patch_norm: bool = False,
    ) -> None:
        super().__init__()
        encoder_config, decoder_config = shapes(encoder, decoder)
        self.confidence, self.patch_norm = confidence, patch_norm
        with torch.random.fork_rng(devices=[]):  # layers draw when they are made; the caller's generator stays as it is
            self.encoder: PatchEmbedding = ENCODERS[encoder_config.kind][1](encoder_config)
            self.decoder: Decoder | None = None
            width = encoder_config.width
            if decoder_config.depth:
                fills = self.encoder.drops_hidden
                self.decoder = DECODERS[decoder_config.kind][1](decoder_config, width, fills)
                width = decoder_config.width
            self.head: nn.Linear | None = None
            if self.decoder is not None or not self.encoder.drops_hidden:
                self.head = nn.Linear(width, (2 if confidence else 1) * 3 * encoder_config.patch_size**2)
        initialise(self, init, seed)
        self._begun_with = (part_settings(encoder_config), part_settings(decoder_config), init, seed, confidence, patch_norm)

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
        if self.head is None:
            raise ConfigError(NO_DECODER)
        encoded = self.encoder(images, mask)
        # Those of the encoder are normed already.
        tokens = encoded.tokens[0] if self.decoder is None else self.decoder(encoded, grid)
        tokens = tokens[:, :, encoded.prefix :]  # [B, V, L, C]
        hidden = None
        if hidden_only:
            hidden = mask.flatten().nonzero().squeeze(1)  # [M]
            if tokens.is_cuda and not hidden.is_cuda:
                hidden = hidden.pin_memory()  # only page-locked memory is copied without waiting
            hidden = hidden.to(tokens.device, non_blocking=True)
            tokens = tokens.flatten(0, 2).index_select(0, hidden)  # [M, C]
        if self.decoder is not None:
            tokens = self.decoder.norm(tokens)  # of those that are needed
        said = self.head(tokens).float()
        if not self.confidence:
            return Prediction(said, torch.ones_like(said), hidden)
        pixels, confidence = said.chunk(2, dim=-1)
        return Prediction(pixels, confidence.sigmoid(), hidden)

    def targets(self, images: Tensor, hidden: Tensor | None = None) -> Tensor:
        """The patches that a perfect `Prediction.pixels` would hold, float32, in the same layout."""
        patches = self.encoder.patches(images, hidden).float()
        return without_patch_statistics(patches) if self.patch_norm else patches

    def colours(self, prediction: Prediction, images: Tensor, mask: Tensor) -> Tensor:
        """The predicted pixels in [0, 1] (about), in the layout of the prediction, float32 [..., 3·p·p].

        A model that predicts no brightness and contrast of a patch (`patch_norm`) is lent those of the visible patches
        around it: those of the hidden patch itself would give away what it is asked for.
        """
        pixels = prediction.pixels
        if self.patch_norm:
            mean, deviation = visible_statistics(self.encoder.patches(images).float(), mask.to(images.device))
            if prediction.hidden is not None:
                mean, deviation = (x.flatten(0, 2)[prediction.hidden] for x in (mean, deviation))
            pixels = pixels * deviation + mean
        channels = pixels.unflatten(-1, (3, -1))
        return (channels * self.encoder.image_std[:, 0] + self.encoder.image_mean[:, 0]).flatten(-2)

    @torch.no_grad()
    def reconstruct(self, images: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures of the prediction: pixels in [0, 1] and confidence in (0, 1), both [B, V, 3, H, W]."""
        prediction = self(images, mask)
        grid = check_images(images, self.patch_size)
        pixels = unpatchify(self.colours(prediction, images, mask), grid)
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
        """`torch.compile` each block where it stands, alternating ones as a whole; names of weights do not change."""
        for block in [*self.encoder.blocks, *(() if self.decoder is None else self.decoder.blocks)]:
            compile_block(block)


def shapes(encoder: Mapping[str, Any], decoder: Mapping[str, Any] | None) -> tuple[Any, Any]:
    """The shapes of both parts, checked; rotary positions of the decoder have the encoder's base unless told otherwise.

    Raises:
        ConfigError: an unknown kind or field, or a value out of range.
    """
    beside = ("decoder", "confidence", "patch_norm")
    first = part_config(ENCODERS, encoder, "alternating", "model", beside)
    return first, part_config(DECODERS, {"rope_base": first.rope_base, **(decoder or {})}, "alternating", "model.decoder")
