"""What scores what: the truth everything, the trivial answer little."""

from __future__ import annotations

import pytest
import torch

from muskie.data.index import SceneIndex
from muskie.data.sources.synthetic import SyntheticRooms
from muskie.errors import ConfigError
from muskie.evaluation.geometry.answers import (
    HEADLINES,
    PARTS,
    SHARES,
    Answer,
    answers,
    columns,
    row_answers,
    trivial_answers,
    truths,
)
from muskie.evaluation.geometry.depth_metrics import DepthConfig
from muskie.evaluation.geometry.pointmap_metrics import PointMapConfig
from muskie.evaluation.geometry.trajectory import TrajectoryConfig
from muskie.evaluation.views.posed_views import PosedViews, posed_batches
from muskie.evaluation.views.view_sets import spaced
from muskie.geometry import unproject
from muskie.models.geometry_output import Geometry

CONFIG = PointMapConfig(queries=300)


@pytest.fixture(scope="module")
def views() -> PosedViews:
    sets = spaced(SceneIndex([SyntheticRooms(scenes=3)], "all"), 4, 6, 3)
    (batch,) = posed_batches(sets, (32, 40), 3)
    return batch


def oracle(views: PosedViews, scale: float) -> Geometry:
    """The truth in another world and at another scale, as a model would say it."""
    turn = torch.tensor([[0.0, -1, 0, 3], [1, 0, 0, -2], [0, 0, 1, 5], [0, 0, 0, 1]], dtype=torch.float64)
    cam2world = turn @ views.cam2world
    cam2world[..., :3, 3] *= scale
    local = unproject(views.depth.double(), views.intrinsics) * scale
    return Geometry(local, torch.full_like(views.depth, 2.0), cam2world)


def test_the_oracle_scores_perfectly_in_any_world_and_scale(views: PosedViews) -> None:
    for found, true in zip(answers(oracle(views, 0.3)), truths(views), strict=True):
        pose, cloud, depth = (PARTS[part](found, true, CONFIG) for part in ("pose", "pointmap", "depth"))
        assert pose["AUC@5"] == pose["AUC@30"] == pose["RRA@5"] == pose["RTA@5"] == 1
        assert cloud["accuracy"] < 1e-6 and cloud["completeness"] < 1e-6 and cloud["L1"] < 1e-6
        assert cloud["normal consistency"] > 0.999 and depth["AbsRel"] < 1e-6 and depth["δ<1.25"] == 1


def test_the_trivial_answer_knows_nothing_of_poses(views: PosedViews) -> None:
    for found, true in zip(trivial_answers(views), truths(views), strict=True):
        pose = PARTS["pose"](found, true, CONFIG)
        assert pose["AUC@30"] == 0 and pose["RTA@30"] == 0
        assert PARTS["depth"](found, true, CONFIG)["AbsRel"] > 0.05
        assert PARTS["pointmap"](found, true, CONFIG)["L1"] > 0.05


def test_cameras_in_a_row_are_right_where_cameras_move_so(views: PosedViews) -> None:
    said = row_answers(views)
    turns = torch.eye(3, dtype=torch.float64).expand(4, 3, 3)
    assert said[0].cam2world[:, :3, 3].tolist() == [[k, 0, 0] for k in range(4)] and torch.equal(
        said[0].cam2world[:, :3, :3], turns
    )
    for found, true in zip(said, truths(views), strict=True):
        cam2world = found.cam2world.clone()
        cam2world[:, :3, 3] = 0.4 * cam2world[:, :3, 3] + torch.tensor([3.0, -1, 2])
        assert PARTS["pose"](found, true._replace(cam2world=cam2world), CONFIG)["AUC@5"] == 1
    turned = said[0].cam2world.clone()
    turned[:, :3, 3] = turned[:, [1, 0, 2], 3]  # downwards
    assert PARTS["pose"](said[0], truths(views)[0]._replace(cam2world=turned), CONFIG)["RTA@30"] == 0


def test_a_depth_head_is_asked_for_depth(views: PosedViews) -> None:
    geometry = oracle(views, 1.0)
    geometry.depth = torch.full_like(geometry.confidence, 7.0)
    assert all((one.depth == 7).all() and not (one.points == 7).all() for one in answers(geometry))


def test_metrics_have_their_columns(views: PosedViews) -> None:
    one = truths(views)[0]
    for part, score in PARTS.items():
        assert set(columns(part, CONFIG)) <= set(score(one, one, CONFIG))
        assert set(HEADLINES[part]) <= set(columns(part, CONFIG))
    assert {"AUC@30", "δ<1.25", "normal consistency"} <= SHARES and "L1" not in SHARES
    assert isinstance(one, Answer)


def test_trajectories_of_the_oracle_and_of_nobody(views: PosedViews) -> None:
    for found, trivial, true in zip(answers(oracle(views, 0.3)), trivial_answers(views), truths(views), strict=True):
        scores = PARTS["trajectory"](found, true, None)
        assert scores["ATE"] < 1e-9 and scores["RPE rotation (deg)"] < 1e-5 and scores["failed"] == 0
        centres = true.cam2world[:, :3, 3]
        still = PARTS["trajectory"](trivial, true, None)
        assert still["failed"] == 1
        assert still["ATE"] == pytest.approx(float((centres - centres.mean(0)).square().sum(-1).mean().sqrt()))
    with pytest.raises(ConfigError, match=r"trajectory\.delta=4: expected 1 to 3, for a sample has 4 views"):
        PARTS["trajectory"](true, true, TrajectoryConfig(delta=4))


@pytest.mark.parametrize("alignment", ["median", "none"])
def test_what_is_aligned_without_a_turn_is_seen_by_the_first_camera(views: PosedViews, alignment: str) -> None:
    """The world frame of a model is its own."""
    config = PointMapConfig(alignment=alignment, queries=300)  # type: ignore[arg-type]
    scale = 0.3 if alignment == "median" else 1.0
    for found, true in zip(answers(oracle(views, scale)), truths(views), strict=True):
        assert PARTS["pointmap"](found, true, config)["L1"] < 1e-6


def test_settings_of_depth_reach_it(views: PosedViews) -> None:
    doubled, true = answers(oracle(views, 2.0))[0], truths(views)[0]
    assert PARTS["depth"](doubled, true, DepthConfig("none"))["AbsRel"] == pytest.approx(1)
    assert PARTS["depth"](doubled, true, DepthConfig("median", per="view"))["AbsRel"] < 1e-6
    nearer = PARTS["depth"](doubled, true, DepthConfig(max_depth=2.0))
    assert nearer["pixels"] == ((true.depth > 0) & (true.depth < 2)).sum() > 0
    for wrong, message in (({"alignment": "best"}, "depth.alignment='best'"), ({"max_depth": 0.0}, "depth.max_depth=0.0")):
        with pytest.raises(ConfigError, match=message):
            DepthConfig(**wrong)  # type: ignore[arg-type]
    for wrong, message in (({"alignment": "best"}, "trajectory.alignment='best'"), ({"delta": 0}, "trajectory.delta=0")):
        with pytest.raises(ConfigError, match=message):
            TrajectoryConfig(**wrong)  # type: ignore[arg-type]
