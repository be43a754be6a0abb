"""What the pages of a model are given: its own answers, to the question that is drawn, on pictures that are not square."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import muskie
from muskie.backbones.frozen import FrozenBackbone
from muskie.backbones.load import ours
from muskie.data.sources.synthetic import SyntheticRooms
from muskie.evaluation.attention_readout import attention_of
from muskie.evaluation.correspondence import CorrespondenceConfig, predictions
from muskie.evaluation.tracks import draw_tracks
from muskie.evaluation.views.posed_views import PosedViews, read_posed
from muskie.evaluation.views.view_sets import ViewSet
from muskie.visualization import model_pages

DEPTH, PATCH, SIZE = 3, 8, (24, 40)
GRID = (SIZE[0] // PATCH, SIZE[1] // PATCH)
Given = tuple[tuple[Any, ...], dict[str, Any]]


@pytest.fixture(scope="module")
def backbone() -> FrozenBackbone:
    model = muskie.create_model("muskie_tiny", depth=DEPTH, width=32, heads=2)
    with torch.no_grad():
        for parameter in model.parameters():  # so that blocks, and patches, differ clearly
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(parameter.numel())))
    return ours(model, "mine")


@pytest.fixture(scope="module")
def views() -> PosedViews:
    source = SyntheticRooms(scenes=1, frames=8, image_size=SIZE)
    return read_posed(ViewSet(source, source.scene(0), ("000000", "000003", "000006")), SIZE)


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> list[Given]:
    """What pages are drawn of."""
    found: list[Given] = []
    for name in ("attention_page", "track_page"):
        monkeypatch.setattr(model_pages, name, lambda *one, **more: found.append((one, more)) or torch.zeros(3, 8, 8))
    return found


@pytest.mark.parametrize("query", [(2, 1), (0, 4)])
def test_attention_is_that_of_the_query_block_by_block(
    backbone: FrozenBackbone, views: PosedViews, given: list[Given], query: tuple[int, int]
) -> None:
    images = views.images[0]
    model_pages.attention(backbone, images, query, blocks=(0, -1), title="title")
    ((drawn, weights, asked, title), more) = given[0]
    assert drawn is images and asked == query and title == "title" and not more
    assert list(weights) == ["mean of\nall blocks", "block 0", "block 2"]
    # Every patch asks, and the one that is meant is picked by its place in the picture.
    rows, columns = torch.meshgrid(torch.arange(GRID[0]), torch.arange(GRID[1]), indexing="ij")
    centres = (torch.stack([columns, rows], -1).flatten(0, 1)[None].double() + 0.5) * PATCH
    of_block = []
    for number in range(DEPTH):
        every = attention_of(backbone, images[None], centres, ("attention",), (number,))["attention"][0]  # [V, Q, h, w]
        of_block.append(every.unflatten(1, GRID)[:, query[0], query[1]])
    expected = dict(zip(weights, (torch.stack(of_block).mean(0), of_block[0], of_block[2]), strict=True))
    for name, wanted in expected.items():
        assert weights[name].shape == (3, *GRID)
        torch.testing.assert_close(weights[name], wanted, rtol=1e-4, atol=1e-6, msg=name)
    maps = list(expected.values())
    assert min(float((one - other).abs().max()) for one, other in [maps[:2], maps[1:], maps[::2]]) > 1e-3, "all differ"


def test_without_blocks_the_last_one_and_a_patch_of_contrast(
    backbone: FrozenBackbone, views: PosedViews, given: list[Given]
) -> None:
    images = views.images[0].clone()
    images[0] = 90
    images[0, :, PATCH : 2 * PATCH, 3 * PATCH : 3 * PATCH + 4] = 200  # within the patch of row 1, column 3
    model_pages.attention(backbone, images)
    ((_, weights, asked, _), _) = given[0]
    assert asked == (1, 3) and list(weights) == ["mean of\nall blocks", "block 2"]


@pytest.mark.parametrize(
    ("config", "title"),
    [
        (CorrespondenceConfig(queries=30, readouts=("l2",), layers=(1,), seed=5), "mine: matches by l2, layer 1"),
        (CorrespondenceConfig(queries=30, readouts=("scores",), layers=(-1,)), "mine: matches by scores"),
        (None, "mine: matches by scores"),
    ],
)
def test_tracks_are_the_answers_to_the_queries(
    backbone: FrozenBackbone, views: PosedViews, given: list[Given], config: CorrespondenceConfig | None, title: str
) -> None:
    model_pages.tracks(backbone, views, config, source="room, frames 0 3 6")
    ((images, predicted, true, visible), more) = given[0]
    assert more == {"title": title, "source": "room, frames 0 3 6"} and images.shape == (3, 3, *SIZE)
    config = config or CorrespondenceConfig(readouts=("scores",), layers=(-1,))
    truth = draw_tracks(views, config.queries, config.seed, config.tolerance)
    ((_, found, _),) = predictions(backbone, views.images, truth.queries, config)
    assert torch.equal(predicted, found[0]) and torch.equal(true, truth.positions[0])
    assert torch.equal(visible, truth.visible[0]) and visible[1:].any(1).all()
    assert bool(on_centres(predicted).all()) and not on_centres(true).any(), "matches are centres, queries no such"


def on_centres(positions: Tensor) -> Tensor:
    """Whether positions [..., 2] are centres of patches."""
    return ((positions / PATCH - 0.5).frac() == 0).all(-1)
