"""Relative pose from features: the scale from luck to the ceiling, what cannot matter, and what is counted."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from oracle import Oracle, rooms, through_lenses_of_their_own, world_points
from torch import Tensor

from muskie.errors import ConfigError
from muskie.evaluation.results import Row
from muskie.evaluation.two_view.relative_pose import (
    INLIERS,
    MATCHES,
    ROTATION,
    TRANSLATION,
    RelativePoseConfig,
    columns,
    evaluate_relative_pose,
    shares,
    summary,
)
from muskie.evaluation.views.posed_views import PosedViews
from muskie.evaluation.views.view_sets import rotation_angles

SIZE, PATCH, PAIRS = (72, 96), 4, 6
CONFIG = RelativePoseConfig(readouts=("l2",), iterations=1000)
PERFECT, RANDOM = f"perfect matcher, patch {PATCH}", f"random features, patch {PATCH}"


@pytest.fixture(autouse=True)
def needs_poselib() -> None:
    pytest.importorskip("poselib", reason="poselib is an optional extra")


@pytest.fixture(scope="module")
def views() -> PosedViews:
    return rooms(SIZE, views=2, distance=12, count=PAIRS)


@pytest.fixture(scope="module")
def rows(views: PosedViews) -> dict[tuple[str, str], Row]:
    """Of all lines, on the views as they are."""
    return measured(views)


def knowing(views: PosedViews) -> Oracle:
    """Features that are the points in space at patch centres."""
    return Oracle(world_points(views)[..., PATCH // 2 :: PATCH, PATCH // 2 :: PATCH], SIZE)


def part(views: PosedViews, chosen: Sequence[int]) -> PosedViews:
    chosen = list(chosen)
    tensors = (x[chosen] for x in (views.images, views.depth, views.intrinsics, views.cam2world))
    return PosedViews(*tensors, [views.numbers[n] for n in chosen])


def measured(
    views: PosedViews, backbone: Oracle | None = None, config: RelativePoseConfig = CONFIG, floors: bool = True
) -> dict[tuple[str, str], Row]:
    """Rows by model and metric."""
    groups = [f"room {n}" for n in range(PAIRS)]
    rows = evaluate_relative_pose([backbone or knowing(views)], [views], groups, config, floors)
    assert {row.suite for row in rows} == {"relative pose"}
    return {(row.model, row.metric): row for row in rows}


def values(rows: dict[tuple[str, str], Row], model: str) -> list[float]:
    return [rows[model, metric].value for metric in columns(CONFIG)]


Rows = dict[tuple[str, str], Row]


def test_the_scale_from_luck_to_the_ceiling(rows: Rows) -> None:
    assert rows[PERFECT, ROTATION].value < 1.5 and rows[PERFECT, TRANSLATION].value < 5
    assert rows[PERFECT, "AUC@20"].value > 0.7 and rows[PERFECT, INLIERS].value > 0.97
    assert rows["oracle", "AUC@20"].value > 0.6 and rows["oracle", ROTATION].value < 3
    assert rows[RANDOM, "AUC@20"].value < 0.05 and rows[RANDOM, ROTATION].value > 30
    assert rows[RANDOM, INLIERS].value < 0.2 < rows["oracle", INLIERS].value
    for name in ("oracle", PERFECT, RANDOM):
        assert rows[name, "AUC@5"].value <= rows[name, "AUC@10"].value <= rows[name, "AUC@20"].value
        assert {rows[name, metric].count for metric in columns(CONFIG)} == {PAIRS}
    assert [metric for metric, _, _ in summary(CONFIG)] == columns(CONFIG)
    assert {metric for _, metric in rows} == set(columns(CONFIG)) and shares(CONFIG) < set(columns(CONFIG))


def test_each_view_has_a_lens_of_its_own() -> None:
    rows = measured(through_lenses_of_their_own(SIZE, views=2, distance=12, count=PAIRS))
    for name in (PERFECT, "oracle"):
        assert rows[name, ROTATION].value < 1.5 and rows[name, TRANSLATION].value < 10
        assert rows[name, "AUC@20"].value > 0.6 and rows[name, INLIERS].value > 0.97


def test_random_features_match_every_other_patch(rows: Rows) -> None:
    """One in two of L patches, but for 1 / (4 L): what is the highest of a row and a column of L x L independent numbers."""
    patches = (SIZE[0] // PATCH) * (SIZE[1] // PATCH)
    assert rows[RANDOM, MATCHES].value == pytest.approx(patches / 2, rel=0.05)


def test_the_same_pixel_says_that_nothing_moved(views: PosedViews, rows: Rows) -> None:
    turned = rotation_angles(views.cam2world[:, 0, :3, :3].numpy(), views.cam2world[:, 1, :3, :3].numpy())
    assert rows["same pixel", ROTATION].value == pytest.approx(np.median(turned))
    assert rows["same pixel", TRANSLATION].value == 90 and rows["same pixel", "AUC@20"].value == 0
    assert ("same pixel", MATCHES) not in rows
    unsigned = measured(part(views, [0]), config=replace(CONFIG, signed=False))
    directions = np.random.default_rng(0).normal(size=(100_000, 3))
    guesses = np.degrees(np.arccos(np.abs(directions[:, 2]) / np.linalg.norm(directions, axis=1)))
    assert unsigned["same pixel", TRANSLATION].value == pytest.approx(guesses.mean(), abs=0.3)


def test_the_frame_of_the_world_does_not_matter(views: PosedViews, rows: Rows) -> None:
    frame = torch.eye(4, dtype=torch.float64)
    frame[:3, :3] = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(0)).double())[0]
    frame[:3, :3] *= torch.linalg.det(frame[:3, :3])
    frame[:3, 3] = torch.tensor([3.0, -2, 5])
    moved = replace(views, cam2world=frame @ views.cam2world)
    after = measured(moved, knowing(views))
    assert after.keys() == rows.keys()
    for key, row in rows.items():
        assert after[key].value == pytest.approx(row.value, abs=1e-6)


def test_the_unit_of_length_does_not_matter(views: PosedViews, rows: Rows) -> None:
    twice = replace(views, cam2world=views.cam2world.clone(), depth=2 * views.depth)
    twice.cam2world[..., :3, 3] *= 2
    after = measured(twice, knowing(views), replace(CONFIG, tolerance=0.1))
    for name in ("oracle", PERFECT, RANDOM):
        assert values(after, name) == pytest.approx(values(rows, name), abs=1e-6)


def test_direction_is_told_from_its_opposite(views: PosedViews, rows: Rows) -> None:
    """Truth with the second camera on the other side of the first: the same rotation, the opposite translation."""
    opposite = replace(views, cam2world=views.cam2world.clone(), depth=torch.zeros_like(views.depth))
    opposite.cam2world[:, 1, :3, 3] = 2 * views.cam2world[:, 0, :3, 3] - views.cam2world[:, 1, :3, 3]
    wrong = measured(opposite, knowing(views), floors=False)
    assert wrong["oracle", TRANSLATION].value == pytest.approx(180 - rows["oracle", TRANSLATION].value, abs=1e-6)
    assert wrong["oracle", ROTATION] == rows["oracle", ROTATION] and wrong["oracle", "AUC@20"].value == 0
    unsigned = replace(CONFIG, signed=False)
    either = [measured(x, knowing(views), unsigned, floors=False) for x in (views, opposite)]
    assert values(either[0], "oracle") == pytest.approx(values(either[1], "oracle"), abs=1e-6)


def test_a_pair_without_a_pose_counts_as_wrong(views: PosedViews, rows: Rows) -> None:
    """Two of six pairs whose patches are all alike: there are no matches."""
    blind = knowing(views)
    blind.maps = blind.maps.clone()
    blind.maps[:2] = 1
    some = measured(views, blind, floors=False)
    others = measured(part(views, range(2, PAIRS)), Oracle(blind.maps[2:], SIZE), floors=False)
    for metric in (f"AUC@{angle}" for angle in (5, 10, 20)):
        assert some["oracle", metric].count == PAIRS
        assert some["oracle", metric].value == pytest.approx(others["oracle", metric].value * 4 / 6)
    assert some["oracle", INLIERS].value == pytest.approx(others["oracle", INLIERS].value * 4 / 6)
    assert some["oracle", MATCHES].value < rows["oracle", MATCHES].value
    nothing = measured(views, Oracle(torch.ones_like(blind.maps), SIZE), floors=False)
    assert nothing["oracle", ROTATION].value == nothing["oracle", TRANSLATION].value == 180
    assert nothing["oracle", MATCHES].value == nothing["oracle", INLIERS].value == nothing["oracle", "AUC@20"].value == 0


def test_without_a_baseline_the_rotation_alone_counts(views: PosedViews, rows: Rows) -> None:
    """Truth without any motion, for pictures that did move."""
    still = replace(views, cam2world=views.cam2world.clone(), depth=torch.zeros_like(views.depth))
    still.cam2world[:3, 1] = views.cam2world[:3, 0]
    found = measured(still, knowing(views))
    assert found["same pixel", TRANSLATION].count == found["oracle", TRANSLATION].count == 3
    assert found["same pixel", ROTATION].count == found["same pixel", "AUC@5"].count == PAIRS
    assert found["same pixel", "AUC@5"].value == pytest.approx(0.5), "right where nothing moved"
    assert rows["same pixel", "AUC@5"].value == 0
    near = measured(views, config=replace(CONFIG, min_baseline=100.0), floors=False)
    assert np.isnan(near["oracle", TRANSLATION].value) and near["oracle", TRANSLATION].count == 0
    assert near["oracle", "AUC@20"].value > rows["oracle", "AUC@20"].value


def test_only_pairs_with_depth_have_a_perfect_matcher(views: PosedViews, rows: Rows) -> None:
    none = replace(views, depth=torch.zeros_like(views.depth))
    assert PERFECT not in {model for model, _ in measured(none, knowing(views))}
    some = replace(views, depth=views.depth.clone())
    some.depth[[1, 4]] = 0
    found = measured(some, knowing(views))
    rest = [n for n in range(PAIRS) if n not in (1, 4)]
    assert values(found, PERFECT) == pytest.approx(values(measured(part(views, rest)), PERFECT))
    assert {found[PERFECT, metric].count for metric in columns(CONFIG)} == {PAIRS - 2}
    assert values(found, "oracle") == values(rows, "oracle")


class Parted(Oracle):
    """An oracle that is shown the pairs in several batches."""

    def features(self, images: Tensor, layers: Sequence[int] = (-1,), norm: bool = True) -> list[Tensor]:
        now, self.maps = self.maps[: len(images)], self.maps[len(images) :]
        return [now]


def test_batches_and_repetition_change_nothing(views: PosedViews) -> None:
    parted = Parted(knowing(views).maps, SIZE)
    groups = [f"room {n}" for n in range(PAIRS)]
    batches = [part(views, chosen) for chosen in ([0], [1, 2, 3], [4, 5])]
    rows = evaluate_relative_pose([parted], batches, groups, CONFIG, data="rooms", bootstrap_seed=3)
    whole = evaluate_relative_pose([knowing(views)], [views], groups, CONFIG, data="rooms", bootstrap_seed=3)
    assert rows == whole and {row.data for row in rows} == {"rooms"}
    perfect = [row for row in rows if row.model == PERFECT and row.metric == "AUC@10"]
    assert perfect[0].low < perfect[0].value < perfect[0].high


def test_the_threshold_goes_with_the_patch(views: PosedViews) -> None:
    """A stricter one lets fewer true matches agree; at half a side next to all do."""
    shares = [
        measured(part(views, range(3)), config=replace(CONFIG, threshold=threshold))[PERFECT, INLIERS].value
        for threshold in (0.1, 0.25, 0.5)
    ]
    assert shares[0] < shares[1] < 0.9 < 0.97 < shares[2]


def test_the_side_of_a_patch_that_is_not_square_is_the_mean_of_both(
    views: PosedViews, monkeypatch: pytest.MonkeyPatch
) -> None:
    """8 pixels high and 4 wide: the geometric mean, 5.7."""
    asked: list[float] = []
    monkeypatch.setattr(
        "muskie.evaluation.two_view.relative_pose.estimate_pose", lambda *given: asked.append(given[4]) and None
    )
    pair = part(views, [0])
    oblong = Oracle(world_points(pair)[..., 4::8, 2::4], SIZE)
    measured(pair, oblong, replace(CONFIG, threshold=0.7), floors=False)
    assert asked == [pytest.approx(0.7 * 32**0.5)]


def test_only_two_views_have_a_relative_pose() -> None:
    three = rooms((32, 32), views=3, distance=2, count=1)
    with pytest.raises(ConfigError, match="2 views, and these sets have 3"):
        evaluate_relative_pose([knowing(three)], [three], ["room"], CONFIG)


def test_a_missing_library_is_said_before_anything_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "poselib", None)

    def batches() -> object:
        raise AssertionError("read")
        yield

    with pytest.raises(ConfigError, match="poselib"):
        evaluate_relative_pose([Oracle(torch.zeros(1, 2, 1, 2, 2), SIZE)], batches(), [], CONFIG)  # type: ignore[arg-type]


def test_all_settings_out_of_range_are_named() -> None:
    with pytest.raises(ConfigError) as error:
        RelativePoseConfig(("attention",), None, True, 0.0, 0, 1.0, (0, 200), True, -1.0, -1.0, -1)
    keys = ("readouts", "threshold", "iterations", "confidence", "degrees", "min_baseline", "tolerance", "seed")
    assert [line.split(".")[1].split("=")[0].split(":")[0] for line in str(error.value).splitlines()] == list(keys)
    with pytest.raises(ConfigError, match="expected some of cosine, l2"):
        RelativePoseConfig(readouts=())
