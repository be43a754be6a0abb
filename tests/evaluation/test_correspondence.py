"""Multi-view correspondence, point by point: what is counted, in which unit, and what is told before anything is read.

The scale of the measure is tested in `test_correspondence_oracle.py`.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from oracle import rooms
from torch import Tensor, nn

import muskie
from muskie.backbones.frozen import FrozenBackbone
from muskie.backbones.load import ours
from muskie.errors import ConfigError
from muskie.evaluation.attention_readout import attention_of
from muskie.evaluation.correspondence import (
    OURS,
    PUBLISHED,
    CorrespondenceConfig,
    columns,
    evaluate_correspondence,
    predictions,
    summary,
)
from muskie.evaluation.readout import sample
from muskie.evaluation.results import Row
from muskie.evaluation.tracks import Tracks, depth_at, draw_tracks
from muskie.evaluation.views.posed_views import PosedViews

FOCALS, WALL = (400.0, 560.0, 330.0), 3.0
"""Of each view, in pixels; metres."""


class Drawn(nn.Module):
    """Features of few channels that are drawn: some patch is the nearest, and only a loop can say which."""

    def __init__(self, patch_size: int) -> None:
        super().__init__()
        self.patch_size = patch_size
        self.asked: list[list[int]] = []

    def get_intermediate_layers(self, images: Tensor, n: Sequence[int], reshape: bool, norm: bool) -> tuple[Tensor, ...]:
        self.asked.append([*n, norm])
        assert images.shape[-2] % self.patch_size == images.shape[-1] % self.patch_size == 0
        grid = (images.shape[-2] // self.patch_size, images.shape[-1] // self.patch_size)
        generator = torch.Generator().manual_seed(0)
        maps = torch.randn(12, *images.shape[:2], 4, *grid, generator=generator)
        return tuple(maps[number] for number in n)


def drawn(patch_size: int, name: str = "drawn") -> FrozenBackbone:
    return FrozenBackbone(name, Drawn(patch_size), 12)


def wall(size: tuple[int, int], views: int = 3, scenes: int = 2) -> PosedViews:
    """Cameras that move along a wall, of which each measures some pixels alone, and some a tenth of a metre too near."""
    generator = torch.Generator().manual_seed(1)
    depth = torch.full((scenes, views, *size), WALL)
    unknown = torch.rand(scenes, views, size[0] // 16, size[1] // 16, generator=generator) < 0.3
    near = torch.rand(unknown.shape, generator=generator) < 0.3
    for blocks, value in ((near, WALL - 0.1), (unknown, 0.0)):
        depth[blocks.repeat_interleave(16, -2).repeat_interleave(16, -1)] = value
    lenses = [[[focal, 0, size[1] / 2], [0, focal, size[0] / 2], [0, 0, 1]] for focal in FOCALS[:views]]
    intrinsics = torch.tensor(lenses, dtype=torch.float64)
    poses = torch.eye(4, dtype=torch.float64).repeat(scenes, views, 1, 1)
    poses[..., 0, 3] = 0.2 * torch.arange(views)
    poses[..., 1, 3] = 0.1 * torch.arange(scenes)[:, None] * torch.arange(views)
    images = torch.randint(0, 256, (scenes, views, 3, *size), dtype=torch.uint8, generator=generator)
    return PosedViews(images, depth, intrinsics.expand(scenes, views, 3, 3), poses, list(range(scenes)))


def measured(backbones: Sequence[FrozenBackbone], views: PosedViews, floors: bool = False, **config: Any) -> list[Row]:
    tally = evaluate_correspondence(backbones, [views], ["a", "b"], CorrespondenceConfig(**config), floors)
    return tally.rows("correspondence", "wall")


def in_space(views: PosedViews, scene: int, view: int, place: np.ndarray) -> np.ndarray | None:
    depth = float(depth_at(views.depth[scene, view], torch.from_numpy(place)[None])[0])
    height, width = views.size
    return np.array([*((place - [width / 2, height / 2]) / FOCALS[view] * depth), depth]) if depth > 0 else None


def by_hand(views: PosedViews, tracks: Tracks, features: Tensor, config: CorrespondenceConfig, first: int) -> dict[str, Any]:
    """Mean and number of points of every metric, of nearest features by cosine; one point at a time."""
    h, w = features.shape[-2:]
    height, width = views.size
    patch = np.array([width / w, height / h])
    at_queries = sample(features[:, 0], tracks.queries, views.size).double().numpy()
    found: dict[str, list[float]] = defaultdict(list)
    for scene, view, query in tracks.visible.nonzero().tolist():
        if view < first:
            continue
        keys = features[scene, view].flatten(1).double().numpy()
        best = int(np.argmax(at_queries[scene, query] @ keys / np.linalg.norm(keys, axis=0)))
        truth = tracks.positions[scene, view, query].numpy()
        match = (np.array([best % w, best // w]) + 0.5) * patch if view else truth
        pixels = np.linalg.norm(match - truth) * ((config.scale or min(height, width)) / min(height, width))
        in_patches = np.linalg.norm((match - truth) / patch)
        found["error (px)"].append(pixels)
        for t in config.pixels:
            found[f"PCK@{t:g}px"].append(pixels < t)
        for t in config.patches:
            found[f"PCK@{t:g}patch"].append(in_patches < t)
        true_point, point = (in_space(views, scene, view, place) for place in (truth, match))
        if true_point is None:
            continue
        centimetres = 100 * float(np.linalg.norm(point - true_point)) if point is not None else math.nan
        if point is not None:
            found["error (cm)"].append(centimetres)
        for t in config.centimetres:
            found[f"acc@{t:g}cm"].append(centimetres < t)
    return {metric: (np.mean(values), len(values)) for metric, values in found.items()}


@pytest.mark.parametrize(("size", "patch", "scale"), [((512, 512), 14, 512), ((240, 320), 16, 512), ((80, 112), 14, None)])
@pytest.mark.parametrize("pooling", [OURS, PUBLISHED])
def test_every_number_by_hand(size: tuple[int, int], patch: int, scale: int | None, pooling: str) -> None:
    """Patches of 14 pixels do not divide 512: a patch then is 512 / 37 pixels. Where the surface is unknown at the match, it
    is a miss and no part of a mean; where it is unknown at the truth, there is nothing to find in space."""
    views = wall(size)
    thresholds: dict[str, Any] = {"pixels": (50, 100, 200), "patches": (2, 5), "centimetres": (20, 60)}
    drawing: dict[str, Any] = {"seed": 3, "tolerance": 0.2}
    config = CorrespondenceConfig(queries=60, readouts=("cosine",), layers=[7], scale=scale, **thresholds, **drawing)
    backbone = drawn(patch)
    rows = evaluate_correspondence([backbone], [views], ["a", "b"], config, floors=False).rows("suite", "wall")
    (features,) = backbone.features(views.images, [7])
    assert features.shape[-2:] == (round(size[0] / patch), round(size[1] / patch))
    expected = by_hand(views, draw_tracks(views, 60, **drawing), features, config, first=1 if pooling == OURS else 0)
    found = {row.metric: (row.value, row.count) for row in rows if row.pooling == pooling}
    assert set(found) == set(expected) == set(columns(config))
    for metric, (value, count) in expected.items():
        assert found[metric] == (pytest.approx(value, abs=1e-9), count), metric
    assert found["error (cm)"][1] < found["acc@20cm"][1] < found["error (px)"][1], "unknown at the match, and at the truth"
    assert 0 < found["acc@60cm"][0] < 1 and 0 < found["PCK@5patch"][0] < 1


def test_the_default_layers_are_the_quarters() -> None:
    backbone = drawn(16)
    rows = measured([backbone], wall((64, 64)), readouts=("cosine", "l2"))
    assert backbone.model.asked == [[2, 5, 8, 11, True]]  # type: ignore[attr-defined]
    lines = list(dict.fromkeys((row.readout, row.layer) for row in rows))
    assert lines == [(metric, layer) for layer in (2, 5, 8, 11) for metric in ("cosine", "l2")]


def test_layers_and_norm_that_are_asked_for() -> None:
    """Each layer's line holds its own numbers, in whatever order they are named."""
    backbone, views = drawn(16), wall((64, 64))
    rows = measured([backbone], views, readouts=("l2",), layers=(-1, 3, 0), norm=False)
    assert backbone.model.asked == [[0, 3, 11, False]]  # type: ignore[attr-defined]
    assert list(dict.fromkeys(row.layer for row in rows)) == [11, 3, 0]
    for layer in (0, 3, 11):
        alone = measured([drawn(16)], views, readouts=("l2",), layers=(layer,))
        assert [row.value for row in rows if row.layer == layer] == pytest.approx([row.value for row in alone], nan_ok=True)


def mine(name: str = "mine", **settings: Any) -> FrozenBackbone:
    return ours(muskie.create_model("muskie_tiny", depth=2, width=32, heads=2, **settings), name)


def test_attention_is_read_from_models_that_have_it() -> None:
    views = wall((64, 64))
    rows = measured([mine(), drawn(16)], views, layers=(-1,))
    lines = dict.fromkeys((row.model, row.readout, row.layer) for row in rows)
    assert list(lines) == [
        ("mine", "cosine", 1),
        ("mine", "attention", None),
        ("mine", "scores", None),
        ("drawn", "cosine", 11),
    ]
    tracks = draw_tracks(views, 100)
    for line, positions, grid in predictions(mine(), views.images, tracks.queries, CorrespondenceConfig()):
        assert positions.shape == (2, 3, 100, 2) and positions.dtype == torch.float64 and grid == (8, 8), line
        assert bool(((positions / 8 - 0.5).frac() == 0).all()) and positions.min() >= 4 and positions.max() <= 60


def test_blocks_that_are_asked_for() -> None:
    """Of the last block alone, another answer than of both."""
    views, config = wall((64, 64)), {"readouts": ("attention",)}
    both, last, two = (measured([mine()], views, blocks=blocks, **config) for blocks in (None, [-1], [0, 1]))
    assert [row.value for row in both] == [row.value for row in two] != [row.value for row in last]


def test_floors_are_counted_once_for_each_size_of_patches() -> None:
    rows = measured([drawn(16, "a"), drawn(16, "b"), drawn(14, "c")], wall((64, 64)), floors=True, readouts=("cosine",))
    floors = [model for model in dict.fromkeys(row.model for row in rows) if model not in "abc"]
    expected = ["same pixel"] + [f"{what}, patch {p}" for p in (14, 16) for what in ("random features", "perfect matcher")]
    assert floors == expected
    assert not any(row.metric.endswith("patch") for row in rows if row.model == "same pixel"), "it has none"
    (best,) = [r.value for r in rows if (r.model, r.metric, r.pooling) == ("perfect matcher, patch 14", "PCK@1patch", OURS)]
    assert best == 1


def test_the_size_of_batches_changes_nothing() -> None:
    views, config = rooms((48, 64), views=3, distance=4), CorrespondenceConfig(queries=40, layers=(0, 1))
    parts = ("images", "depth", "intrinsics", "cam2world")
    single = [PosedViews(*(getattr(views, part)[n : n + 1] for part in parts), numbers=[n]) for n in (0, 1)]  # type: ignore[call-arg]
    one, other = (
        evaluate_correspondence([mine()], batches, ["a", "b"], config).rows("suite", "rooms")
        for batches in ([views], single)
    )
    assert [row.metric for row in one] == [row.metric for row in other] and len(one) > 100
    for row, same in zip(one, other, strict=True):
        assert row.count == same.count and same.value == pytest.approx(row.value, rel=1e-6, nan_ok=True)


def unread() -> Iterator[PosedViews]:
    raise AssertionError("told before anything is read")
    yield


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"layers": [0, 2]}, "layer 2 of mine: expected -2 to 1"),
        ({"blocks": [2]}, r"blocks=\[2\]: expected one or more numbers of -2 to 1"),
    ],
)
def test_what_a_backbone_does_not_have_is_told_first(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        evaluate_correspondence([mine()], unread(), [], CorrespondenceConfig(**config))


def test_read_outs_that_no_backbone_has_are_told_first() -> None:
    config = CorrespondenceConfig(readouts=("attention", "scores"))
    with pytest.raises(ConfigError, match="views of a, b do not attend to each other; take cosine or l2"):
        evaluate_correspondence([drawn(16, "a"), drawn(14, "b")], unread(), [], config)


def test_all_settings_out_of_range_are_told_at_once() -> None:
    with pytest.raises(ConfigError) as told:
        CorrespondenceConfig(
            queries=0,
            readouts=("cosine", "guess"),
            layers=[],
            blocks=[],
            pixels=(5, 0),
            patches=(-1,),
            centimetres=(math.nan,),
            scale=0,
            tolerance=math.nan,
            seed=-1,
        )
    lines = str(told.value).splitlines()
    keys = ("queries", "readouts", "layers", "blocks", "pixels", "patches", "centimetres", "scale", "tolerance", "seed")
    assert sorted(line.split("=")[0].split(":")[0] for line in lines) == sorted(f"correspondence.{key}" for key in keys)
    assert "'guess' is unknown; expected some of cosine, l2, attention, scores" in str(told.value)
    with pytest.raises(ConfigError, match="readouts"):
        CorrespondenceConfig(readouts=())


@pytest.mark.parametrize(
    "settings",
    [{}, {"pixels": (3,), "patches": (1,), "centimetres": ()}, {"pixels": (), "patches": (), "centimetres": (5,)}],
)
def test_tables_have_the_columns_that_are_measured(settings: dict[str, Any]) -> None:
    config = CorrespondenceConfig(readouts=("cosine",), layers=(-1,), **settings)
    rows = measured([drawn(16)], wall((64, 64)), readouts=("cosine",), layers=(-1,), **settings)
    assert set(columns(config)) == {row.metric for row in rows} and len(columns(config)) == len(set(columns(config)))
    assert {(metric, pooling) for metric, pooling, _ in summary(config)} <= {(row.metric, row.pooling) for row in rows}
    headings = [heading for _, _, heading in summary(config)]
    assert len(headings) == len(set(headings)) and {"error (px)", "error (cm)"} <= set(headings)


@pytest.mark.parametrize("kind", ["attention", "scores"])
def test_a_match_by_attention_is_the_patch_with_the_most(kind: str) -> None:
    """On a grid that is not square: neither the least, nor rows for columns."""
    model = muskie.create_model("muskie_tiny", width=32, depth=2, heads=2, patch_size=8, seed=1)
    backbone = ours(model, "ours")
    views = rooms((32, 56), views=3, distance=2, count=1)
    queries = draw_tracks(views, 20).queries
    config = CorrespondenceConfig(readouts=(kind,), layers=(-1,))
    ((line, found, grid),) = list(predictions(backbone, views.images, queries, config))
    weights = attention_of(backbone, views.images, queries, (kind,))[kind][0]  # [V, Q, h, w]
    assert line.readout == kind and grid == (4, 7)
    for view in range(3):
        for query in range(20):
            best = max((float(weights[view, query, row, column]), row, column) for row in range(4) for column in range(7))
            assert found[0, view, query].tolist() == [8 * best[2] + 4, 8 * best[1] + 4]


def test_a_truth_in_the_plane_of_a_camera_counts_nowhere() -> None:
    """A point at depth 0 of view 1 projects to infinity there; view 2 sees it."""
    views = rooms((32, 32), views=3, distance=1, count=1)
    views.depth[:] = 2.0
    views.cam2world[:] = torch.eye(4, dtype=torch.float64)
    views.cam2world[:, 1, 2, 3] = 2.0
    backbone = ours(muskie.create_model("muskie_tiny", width=32, depth=1, heads=2, patch_size=8), "ours")
    rows = evaluate_correspondence([backbone], [views], ["room"], CorrespondenceConfig(layers=(0,))).rows("s", "d")
    (same,) = [row for row in rows if (row.model, row.metric, row.pooling) == ("same pixel", "error (px)", OURS)]
    assert same.count == 100 and same.value == pytest.approx(0, abs=1e-9), "seen by view 2 alone, at the same pixel"
    assert all(math.isfinite(row.value) for row in rows if row.count)
