"""A backbone as evaluations and pictures see it: images in, feature maps of any layer out, nothing trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from muskie.errors import CheckpointError, ConfigError
from muskie.models.named import UNTRAINED


class Features(Protocol):
    """What a backbone must know: `MaskedViewModel` and `muskie.models.timm_vit.TimmViT` do."""

    @property
    def patch_size(self) -> int:
        """Pixels of a patch's side; the images that it is given are multiples of it."""

    def get_intermediate_layers(
        self, images: Tensor, n: int | Sequence[int] = 1, reshape: bool = False, norm: bool = True
    ) -> tuple[Tensor, ...]:
        """Images [B, V, 3, H, W], uint8 or float in [0, 1] -> maps [B, V, C, h, w] (`reshape=True`) of the layers `n`."""


class FrozenBackbone:
    """A backbone that is only looked at.

    Args:
        name: shown in tables and pictures.
        model: gives the features; moved to the device and set to evaluation.
        depth: layers that it can give.
        fresh: makes the same network with the weights of before training; None: there is no such thing.
        device: where it runs; None: on the CPU.
        dtype: of matrix products (autocast); None: that of the weights.
    """

    def __init__(
        self,
        name: str,
        model: Features,
        depth: int,
        fresh: Callable[[], Features] | None = None,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        self.name, self.depth, self.fresh = name, depth, fresh
        self.device, self.dtype = torch.device(device or "cpu"), dtype
        self.model = model
        if isinstance(model, nn.Module):
            model.to(self.device).eval()

    @property
    def patch_size(self) -> int:
        """Pixels of a patch's side."""
        return self.model.patch_size

    def layers(self, numbers: Sequence[int]) -> list[int]:
        """Numbers of layers, where negative ones count from the end, as they stand from 0 on.

        Raises:
            ConfigError: there is no such layer.
        """
        outside = [n for n in numbers if not -self.depth <= n < self.depth]
        if outside:
            raise ConfigError(f"layer {outside[0]} of {self.name}: expected {-self.depth} to {self.depth - 1}")
        return [n % self.depth for n in numbers]

    def quarters(self) -> list[int]:
        """The last layer of each quarter of all layers; fewer where there are fewer layers."""
        return sorted({-(-self.depth * quarter // 4) - 1 for quarter in (1, 2, 3, 4)})

    def fit(self, images: Tensor) -> Tensor:
        """Images [B, V, 3, H, W] on the device, resized where a side is no multiple of the patch size: to the nearest one
        (bicubic, antialiased; float in [0, 1] then). A patch then is H / h pixels high, which need not be whole."""
        images = images.to(self.device, non_blocking=True)
        p = self.patch_size
        height, width = (max(round(side / p), 1) * p for side in images.shape[-2:])
        if (height, width) == tuple(images.shape[-2:]):
            return images
        flat = images.flatten(0, 1)
        flat = flat.float() / 255 if flat.dtype == torch.uint8 else flat
        resized = F.interpolate(flat, (height, width), mode="bicubic", antialias=True, align_corners=False)
        return resized.clamp(0, 1).unflatten(0, images.shape[:2])

    @torch.no_grad()  # and not inference mode: probes are trained on features
    def features(self, images: Tensor, layers: Sequence[int] = (-1,), norm: bool = True) -> list[Tensor]:
        """Feature maps, one for each of `layers`, in their order.

        Args:
            images: uint8 [B, V, 3, H, W] of any size, or float in [0, 1]. Whether views see each other is up to the model.
            layers: numbers of layers; negative ones count from the end.
            norm: apply the model's final norm.

        Returns:
            float32 [B, V, C, h, w] each.

        Raises:
            ConfigError: there is no such layer.
            CheckpointError: features that are infinite or no numbers, which read-outs would take for some patch.
        """
        wanted = self.layers(layers)
        once = sorted(set(wanted))
        with self.running():
            maps = self.model.get_intermediate_layers(self.fit(images), once, reshape=True, norm=norm)
        found = {number: features.float() for number, features in zip(once, maps, strict=True)}
        if not torch.stack([features.isfinite().all() for features in found.values()]).all():
            raise CheckpointError(self._not_finite(found))
        return [found[number] for number in wanted]

    def _not_finite(self, found: Mapping[int, Tensor]) -> str:
        layers = [str(number) for number, features in found.items() if not features.isfinite().all()]
        cause = "its weights are broken" if self.dtype is None else f"it overflows in {self.dtype}; take precision=fp32"
        return f"{self.name}: features of layer {', '.join(layers)} are not finite: {cause}"

    def running(self) -> torch.autocast | nullcontext[None]:
        """The context in which the model runs: with the type of its matrix products."""
        return nullcontext() if self.dtype is None else torch.autocast(self.device.type, self.dtype)

    def before_training(self) -> FrozenBackbone | None:
        """The same network, untrained; None where there is no such thing."""
        if self.fresh is None:
            return None
        return FrozenBackbone(f"{self.name}{UNTRAINED}", self.fresh(), self.depth, None, self.device, self.dtype)
