"""What scores what: the truth everything, the trivial answer little, and suites as validation."""

from __future__ import annotations

import importlib
import math
from pathlib import Path

import pytest
import torch

from muskie.data.index import SceneIndex
from muskie.data.sources.synthetic import SyntheticRooms
from muskie.evaluation.geometry.answers import (
    PARTS,
    SHARES,
    Answer,
    SceneScores,
    answers,
    columns,
    trivial_answers,
    truths,
)
from muskie.evaluation.geometry.pointmap_metrics import PointMapConfig
from muskie.evaluation.views.posed_views import PosedViews, posed_batches
from muskie.evaluation.views.view_sets import spaced
from muskie.geometry import unproject
from muskie.models.geometry_output import Geometry
from muskie.models.recon_load import create_reconstruction_model

SMALL = {"name": "muskie_tiny", "width": 24, "depth": 2, "heads": 2}
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


def test_a_depth_head_is_asked_for_depth(views: PosedViews) -> None:
    geometry = oracle(views, 1.0)
    geometry.depth = torch.full_like(geometry.confidence, 7.0)
    assert all((one.depth == 7).all() and not (one.points == 7).all() for one in answers(geometry))


def test_means_and_rows() -> None:
    scores = SceneScores("depth")
    scores.scenes(["a", "b", "b"])
    for value in (0.1, 0.3, math.nan):
        scores.add("one", dict.fromkeys(columns("depth"), value))
    assert scores.means("one")["AbsRel"] == pytest.approx(0.2) and scores.means("nobody") == {}
    (row,) = [row for row in scores.rows("rooms") if row.metric == "AbsRel"]
    assert row.value == pytest.approx(0.2) and row.count == 2 and row.low <= 0.2 <= row.high
    assert (row.suite, row.data, row.model) == ("depth", "rooms", "one")


def test_metrics_have_their_columns(views: PosedViews) -> None:
    one = truths(views)[0]
    for part, score in PARTS.items():
        assert set(columns(part, CONFIG)) <= set(score(one, one, CONFIG))
    assert {"AUC@30", "δ<1.25", "normal consistency"} <= SHARES and "L1" not in SHARES
    assert isinstance(one, Answer)


def test_suites_of_the_script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    create_reconstruction_model(SMALL, decoder_depth=1, features=8).save_pretrained(tmp_path / "mine")
    monkeypatch.syspath_prepend(str(Path(__file__).parents[3] / "scripts"))
    monkeypatch.chdir(tmp_path)
    script = importlib.import_module("evaluate")
    data = "data=synthetic data.frames=8 size=16 views.views=3 views.distance=2 views.samples=3 device=cpu"
    words = f"mine suite=[pose,pointmap,depth] pointmap.queries=100 {data} out=out"
    tables = script.evaluate(words.split())
    assert [table.title for table in tables] == ["Relative poses", "Point maps", "Depth"]
    for table in tables:
        assert list(dict.fromkeys(row.model for row in table.rows)) == ["trivial", "truth", "mine", "mine, untrained"]
        assert "3 samples of 3 views" in table.notes[0]
        best = {row.metric: row.value for row in table.rows if row.model == "truth"}
        assert best.get("AUC@5", 1) == best.get("δ<1.25", 1) == 1 and best.get("accuracy", 0) < 1e-6
    for wrong, message in {
        f"mine suite=[pose,correspondence] {data}": "one kind a call",
        f"mine suite=correspondence {data}": "is a reconstruction model",
        f"muskie_tiny suite=pose {data}": "muskie_tiny is a model without weights",
        f"mine suite=pose {data} size=20": "has patches of 8 pixels; take size=",
    }.items():
        with pytest.raises(SystemExit) as left:
            script.main(wrong.split())
        assert message in str(left.value), wrong
