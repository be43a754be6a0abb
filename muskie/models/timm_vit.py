"""timm's vision transformers behind the verbs of our models, with their own patch size and colour normalisation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from muskie.errors import CheckpointError, ConfigError, did_you_mean
from muskie.models.patches import check_images


class TimmViT(nn.Module):
    """A ViT of timm (PyTorch Image Models, Wightman). It looks at every view on its own.

    Args:
        name: as in `timm.list_models()`, with or without a tag: `vit_base_patch14_dinov2.lvd142m`.
        pretrained: load the published weights.
        seed: of the weights where they are fresh.
        arguments: handed to `timm.create_model`, e.g. `patch_size=8`; none that drop anything at random.

    Raises:
        ConfigError: timm is not installed, or knows no such model, or the model gives no feature maps on a patch grid, or
            would drop some at random.
        CheckpointError: the weights cannot be downloaded, or the model has none.
    """

    def __init__(self, name: str, pretrained: bool = True, seed: int = 0, **arguments: Any) -> None:
        super().__init__()
        _refuse_drops(name, arguments)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            vit: Any = _create(name, pretrained, arguments)
        config = vit.pretrained_cfg
        size = _patch(getattr(vit, "patch_embed", None))
        if size is None or not hasattr(vit, "blocks") or not hasattr(vit, "forward_intermediates"):
            raise ConfigError(f"timm/{name} has no patch grid of one size, which is needed; take a vision transformer")
        if size[0] != size[1]:
            raise ConfigError(f"timm/{name} has patches of {size[0]} x {size[1]} pixels; square ones are needed")
        self.vit = vit
        self.name, self.patch_size = name, size[0]
        self.depth = len(vit.blocks)
        self.register_buffer("mean", torch.tensor(config["mean"]).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(config["std"]).view(3, 1, 1), persistent=False)
        self.mean: Tensor
        self.std: Tensor

    def get_intermediate_layers(
        self, images: Tensor, n: int | Sequence[int] = 1, reshape: bool = False, norm: bool = True
    ) -> tuple[Tensor, ...]:
        """Patch tokens after several blocks, in the order of the blocks.

        Args:
            images: [B, V, 3, H, W], uint8 or float in [0, 1], not normalised; H and W multiples of the patch size.
            n: the last n blocks, or the numbers of the blocks (negative ones count from the end).
            reshape: give [B, V, C, h, w] instead of [B, V, L, C].
            norm: apply the final norm to each; those of timm's models that normalise after pooling have none.

        Raises:
            ConfigError: the model takes images of one size alone, and these are of another.
            ValueError: a block that is not there, or one asked for twice; images of another form.
        """
        blocks = list(range(self.depth - n, self.depth)) if isinstance(n, int) else [i + self.depth * (i < 0) for i in n]
        if not blocks or any(not 0 <= i < self.depth for i in blocks) or len(set(blocks)) < len(blocks):
            raise ValueError(
                f"n={n!r}: expected 1 to {self.depth} blocks, or their numbers, 0 to {self.depth - 1}, each once"
            )
        check_images(images, self.patch_size)
        scenes, views = images.shape[:2]
        flat = images.flatten(0, 1)
        flat = flat.float() / 255 if flat.dtype == torch.uint8 else flat
        try:
            maps = self.vit.forward_intermediates(
                (flat - self.mean) / self.std, indices=blocks, norm=norm, output_fmt="NCHW", intermediates_only=True
            )
        except AssertionError as error:  # a few of timm's models have one size of images
            side = list(flat.shape[-2:])
            raise ConfigError(
                f"timm/{self.name} takes images of one size alone ({error}). To have it made for these: "
                f"{{name: timm/{self.name}, img_size: {side}}}"
            ) from error
        maps = [x.unflatten(0, (scenes, views)) for x in maps]
        return tuple(maps if reshape else [x.flatten(-2).transpose(-1, -2) for x in maps])


def _patch(embedding: Any) -> tuple[int, int] | None:
    """Height and width of a patch in pixels; None if there is no such thing."""
    size = getattr(embedding, "patch_size", None)
    if size is not None and hasattr(embedding, "feat_ratio"):
        size = embedding.feat_ratio(as_scalar=False)  # where a CNN comes first, a patch is one of the CNN's pixels
    if size is None:
        return None
    return (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))


def _refuse_drops(name: str, arguments: dict[str, Any]) -> None:
    """What is dropped in training, timm draws from the global generator, which no checkpoint keeps."""
    drops = ", ".join(f"{key}={value}" for key, value in arguments.items() if "drop" in key and value)
    if drops:
        raise ConfigError(
            f"timm/{name} with {drops}: expected 0, for timm draws what is dropped from the global generator, and a resumed "
            "run would not go on as it was; leave it out"
        )


def _create(name: str, pretrained: bool, arguments: dict[str, Any]) -> nn.Module:
    try:
        import timm
    except ImportError as error:
        raise ConfigError(
            f"timm/{name}: timm cannot be imported ({error}); install it: pip install timm, or, in a clone, "
            "pip install -e '.[eval]'"
        ) from error
    base = name.split(".")[0]
    if base not in timm.list_models():
        raise ConfigError(
            f"timm knows no model {name!r}{did_you_mean(base, timm.list_models()) or '.'} See timm.list_models()"
        )
    # Some ViTs take images of any size as they are, others by an argument, which others again do not know.
    for every_size in ({"dynamic_img_size": True}, {}):
        try:
            return timm.create_model(name, pretrained=pretrained, **{**every_size, **arguments})
        except TypeError as error:
            if every_size and "dynamic_img_size" in str(error):
                continue
            raise ConfigError(f"timm/{name} with {arguments}: {error}") from error
        except Exception as error:
            raise _in_words(name, pretrained, error) from error
    raise AssertionError


def _in_words(name: str, pretrained: bool, error: Exception) -> Exception:
    reason = (str(error).strip().splitlines() or [""])[0]
    if not pretrained:
        return ConfigError(f"timm/{name} cannot be made ({type(error).__name__}: {reason})")
    return CheckpointError(
        f"timm/{name}: its weights cannot be had ({type(error).__name__}: {reason}). Once downloaded on a machine with "
        f"internet, they are found in $HF_HOME; without weights: '{{name: timm/{name}, pretrained: false}}'"
    )
