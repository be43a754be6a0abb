"""The pages of a model: what it fills in, what its features tell apart, where it finds points, where it looks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from muskie.backbones.frozen import FrozenBackbone
from muskie.evaluation.attention_readout import attention_of, can_attend
from muskie.evaluation.correspondence import CorrespondenceConfig, predictions
from muskie.evaluation.tracks import draw_tracks
from muskie.evaluation.views.posed_views import PosedViews
from muskie.models.masked_view import MaskedViewModel
from muskie.visualization.attention import attention_page
from muskie.visualization.masked_views import masked_view_page
from muskie.visualization.pca import Foreground, pca_page
from muskie.visualization.tracks import track_page

PAGES = ("masked_views", "pca", "tracks", "attention")


def can_fill(backbone: FrozenBackbone) -> bool:
    """Whether it fills hidden patches in."""
    return isinstance(backbone.model, MaskedViewModel) and backbone.model.head is not None


def masked_views(backbone: FrozenBackbone, images: Tensor, mask: Tensor, title: str | None = None) -> Tensor:
    """What a model of ours fills in, see `masked_view_page`.

    Args:
        backbone: one of ours.
        images: uint8 [V, 3, H, W], sides multiples of the patch size.
        mask: bool [V, h, w], True = hidden.
        title: above the page.

    Raises:
        ValueError: the backbone fills nothing in.
    """
    model = backbone.model
    if not isinstance(model, MaskedViewModel) or model.head is None:
        raise ValueError(f"{backbone.name} fills in no masked views; only models of ours with a decoder or a head do")
    with backbone.running():
        pixels, confidence = model.reconstruct(images[None].to(backbone.device), mask[None].to(backbone.device))
    said = confidence[0].float().cpu() if model.confidence else None
    return masked_view_page(images, mask, pixels[0].float().cpu(), said, title)


def pca(
    backbones: Sequence[FrozenBackbone],
    images: Tensor,
    layers: Sequence[int] = (-1,),
    foreground: Foreground = None,
    title: str | None = None,
) -> Tensor:
    """The principal components of features, a row for each backbone and layer, see `pca_page`.

    Args:
        backbones: any.
        images: uint8 [V, 3, H, W]; all views are given to the backbone together.
        layers: numbers of layers; negative ones count from the end.
        foreground: see `muskie.visualization.pca.Foreground`.
        title: above the page.
    """
    rows = {}
    for backbone in backbones:
        numbers = backbone.layers(layers)
        for number, maps in zip(numbers, backbone.features(images[None], numbers), strict=True):
            name = f"{backbone.name}\nlayer {number}" if len(numbers) > 1 else backbone.name
            rows[name] = maps[0].cpu()
    return pca_page(images, rows, foreground, title=title)


def best_guess(backbone: FrozenBackbone) -> CorrespondenceConfig:
    """How positions are read where one way must do: from attention where views attend to each other, else from the
    features of the last layer."""
    return CorrespondenceConfig(readouts=("scores",) if can_attend(backbone) else ("cosine",), layers=(-1,))


def tracks(
    backbone: FrozenBackbone,
    views: PosedViews,
    config: CorrespondenceConfig | None = None,
    title: str | None = None,
    source: str | None = None,
) -> Tensor:
    """Where points of view 0 are found in the others, see `track_page`.

    Args:
        backbone: any.
        views: one sample, [1, V, ...], on the CPU.
        config: the first of its read-outs and layers is drawn; None: `best_guess`.
        title: above the page; None: says how positions were read.
        source: scene and frames, for the note.
    """
    config = config or best_guess(backbone)
    truth = draw_tracks(views, config.queries, config.seed, config.tolerance)
    line, found, _ = next(predictions(backbone, views.images, truth.queries.to(backbone.device), config))
    layer = "" if line.layer is None else f", layer {line.layer}"
    title = title or f"{backbone.name}: matches by {line.readout}{layer}"
    return track_page(views.images[0], found[0].cpu(), truth.positions[0], truth.visible[0], title=title, source=source)


def telling_patch(image: Tensor, grid: tuple[int, int]) -> tuple[int, int]:
    """The patch (row, column) of an image uint8 [3, H, W] with the most contrast, of those that are not at its border."""
    grey = image.float().mean(0)
    h, w = grid
    cells = grey.unflatten(0, (h, -1)).unflatten(-1, (w, -1)).transpose(1, 2).flatten(-2)  # [h, w, p·p]
    contrast = cells.std(-1)
    inner = torch.zeros_like(contrast)
    inner[h // 5 : h - h // 5, w // 5 : w - w // 5] = 1
    best = int((contrast * inner).argmax())
    return best // w, best % w


def attention(
    backbone: FrozenBackbone,
    images: Tensor,
    query: tuple[int, int] | None = None,
    blocks: Sequence[int] | None = None,
    title: str | None = None,
) -> Tensor:
    """Where one patch of view 0 looks, the mean over heads, in named blocks and over all, see `attention_page`.

    Args:
        backbone: one of ours.
        images: uint8 [V, 3, H, W], sides multiples of the patch size.
        query: (row, column) of the patch; None: `telling_patch`.
        blocks: numbers of blocks, a row each; None: the last alone.
        title: above the page.
    """
    p = backbone.patch_size
    grid = (images.shape[-2] // p, images.shape[-1] // p)
    query = query or telling_patch(images[0], grid)
    centre = torch.tensor([[[(query[1] + 0.5) * p, (query[0] + 0.5) * p]]], dtype=torch.float64)
    rows: Mapping[str, Sequence[int] | None] = {"mean of\nall blocks": None}
    rows = {**rows, **{f"block {number}": (number,) for number in backbone.layers(blocks or (-1,))}}
    weights = {
        name: attention_of(backbone, images[None], centre, ("attention",), numbers)["attention"][0, :, 0].cpu()
        for name, numbers in rows.items()
    }
    return attention_page(images, weights, query, title)
