"""Reconstruction models through the whole script: an oracle is perfect, models of all kinds share a table, and mistakes are
told."""

from __future__ import annotations

import hashlib
import importlib
import json
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from miniatures import write_realestate10k, write_scannet, write_sevenscenes
from PIL import Image
from torch import Tensor, nn

from muskie.data.scene import SceneSource
from muskie.data.sources.sevenscenes import SevenScenes
from muskie.data.sources.synthetic import SyntheticRooms
from muskie.errors import ConfigError
from muskie.evaluation.geometry.reconstructors import Reconstructor
from muskie.evaluation.results import Table
from muskie.evaluation.views.posed_views import PosedViews
from muskie.models.geometry_output import Geometry
from muskie.models.recon_load import create_reconstruction_model
from muskie.models.variants import create_model

pytest.importorskip("scipy.spatial")

SMALL = {"name": "muskie_tiny", "width": 24, "depth": 2, "heads": 2}
ALL = "suite=[pose,trajectory,pointmap,depth] pointmap.queries=200 pointmap.icp=true device=cpu"
ROOMS = "data=synthetic data.frames=8 size=16 views.views=3 views.distance=2 views.samples=3 device=cpu"


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "scripts"))
    monkeypatch.chdir(tmp_path)
    return importlib.import_module("evaluate")


class Oracle(nn.Module):
    """Knows every picture of a source, and says its truth in a world and at a scale of its own, scene by scene.

    Args:
        source: its pictures come at the size that is measured.
        side: what rendered pictures are asked for at.
        spoil: what becomes of its cameras [V, 4, 4].
    """

    patch_size = 1

    def __init__(self, source: SceneSource, side: int, spoil: Any = lambda poses: poses) -> None:
        super().__init__()
        self.spoil = spoil
        self.known: dict[bytes, tuple[np.ndarray, np.ndarray]] = {}
        for number in range(len(source)):
            scene = source.scene(number)
            for name in scene.frames:
                frame = source.read(scene, name, at_least=side, geometry=True)
                assert frame.depth is not None and frame.camera is not None
                height, width = frame.depth.shape
                column, row = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
                k = frame.camera.intrinsics
                rays = np.stack([(column - k[0, 2]) / k[0, 0], (row - k[1, 2]) / k[1, 1], np.ones_like(row)], axis=-1)
                points = rays * frame.depth[..., None].astype(np.float64)
                self.known[pixels(frame.image)] = points, frame.camera.cam2world

    def forward(self, images: Tensor) -> Geometry:
        found = [[self.known[picture.permute(1, 2, 0).numpy().tobytes()] for picture in scene] for scene in images]
        points, poses = (torch.from_numpy(np.array([[one[n] for one in scene] for scene in found])) for n in (0, 1))
        scales = 0.2 + torch.arange(len(images), dtype=torch.float64)
        turn = torch.tensor([[0.0, 0, 1, 7], [1, 0, 0, -2], [0, 1, 0, 30], [0, 0, 0, 1]], dtype=torch.float64)
        moved = turn @ poses
        moved[..., :3, 3] *= scales[:, None, None]
        moved = torch.stack([self.spoil(scene) for scene in moved])
        return Geometry(points * scales[:, None, None, None, None], torch.ones_like(points[..., 0]), moved)


def pixels(image: Image.Image) -> bytes:
    return np.asarray(image).tobytes()


def measured(script: ModuleType, monkeypatch: pytest.MonkeyPatch, models: dict[str, Oracle], words: str) -> list[Table]:
    """Tables of oracles in the place of models that are loaded."""

    def load(specs: Sequence[Any], device: torch.device, dtype: Any) -> list[Reconstructor]:
        return [Reconstructor(str(name), models[str(name)], device, dtype) for name in specs]  # type: ignore[arg-type]

    monkeypatch.setattr(script, "load_reconstructors", load)
    tables: list[Table] = script.evaluate(f"{' '.join(models)} untrained=false {words}".split())
    return tables


@pytest.mark.parametrize("data", ["synthetic", "sevenscenes"])
def test_an_oracle_is_perfect(data: str, script: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    source: SceneSource
    if data == "synthetic":
        source, words = SyntheticRooms(scenes=3, frames=9), "data=synthetic data.scenes=3 data.frames=9 size=40"
    else:
        write_sevenscenes(tmp_path / "scenes", ["chess/seq-03", "fire/seq-03"], range(9))
        source, words = SevenScenes(tmp_path / "scenes"), f"data=sevenscenes data.root={tmp_path}/scenes size=[24,32]"
    views = "views.views=4 views.distance=2 views.samples=4 batch=3"
    tables = measured(script, monkeypatch, {"oracle": Oracle(source, 40)}, f"{words} {views} {ALL}")
    assert [table.title for table in tables] == ["Relative poses", "Trajectories", "Point maps", "Depth"]
    pose, path, cloud, depth = (
        {(row.metric, row.pooling): row.value for row in table.rows if row.model == "oracle"} for table in tables
    )
    assert all(value == 1 for (metric, _), value in pose.items() if "exact" not in metric)
    assert all(value > 1 - 1e-9 for value in pose.values())
    assert path["ATE", ""] < 1e-9 and path["RPE translation", ""] < 1e-9 and path["RPE rotation (deg)", ""] < 1e-5
    assert path["failed", ""] == 0
    for name in ("accuracy", "completeness", "overall", "accuracy (median)", "accuracy after ICP", "L1", "L1 (median)"):
        assert cloud[name, ""] < 1e-9
    assert cloud["normal consistency", ""] > 0.99 and cloud["missing", ""] == 0
    assert depth["AbsRel", ""] < 1e-9 and depth["RMSE", "pooled over pixels"] < 1e-9 and depth["δ<1.25", ""] == 1
    assert tables[0].short().split("| oracle ")[1].split("\n")[0].count(" 100 ") == 5, "in %"
    for table in tables:  # what it scores is what the row of the truth says that a perfect answer scores
        for row in table.rows:
            if row.model == "truth" and row.value > 1e-9:
                (same,) = [
                    r.value for r in table.rows if (r.model, r.metric, r.pooling) == ("oracle", row.metric, row.pooling)
                ]
                assert same == pytest.approx(row.value, abs=1e-3)


def test_known_errors_of_poses_are_measured(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last camera is turned by 10.5 degrees about its own centre: a third of the pairs of three views are right, in the
    others the second camera's direction is still seen right by the first, and the trajectory has its centres."""
    angle = np.radians(10.5)
    turn = torch.eye(4, dtype=torch.float64)
    turn[:2, :2] = torch.tensor([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])

    def spoil(poses: Tensor) -> Tensor:
        return torch.cat([poses[:-1], poses[-1:] @ turn])

    models = {"right": Oracle(SyntheticRooms(scenes=2, frames=8), 16)}
    models["turned"] = Oracle(SyntheticRooms(scenes=2, frames=8), 16, spoil)
    models["lost"] = Oracle(SyntheticRooms(scenes=2, frames=8), 16, lambda poses: poses * np.nan)
    words = ROOMS.replace("data.frames", "data.scenes=2 data.frames") + " suite=[pose,trajectory] trajectory.alignment=sim3"
    pose, path = measured(script, monkeypatch, models, words)
    found = {(row.model, row.metric): row.value for table in (pose, path) for row in table.rows if row.pooling == ""}
    assert found["turned", "RRA@5"] == pytest.approx(1 / 3) and found["turned", "RRA@15"] == 1
    assert found["turned", "AUC@15"] == pytest.approx((1 + 2 * (15 - 10) / 15) / 3)
    assert found["turned", "AUC@5"] == pytest.approx(1 / 3) and found["turned", "RTA@5"] == 1
    assert found["turned", "ATE"] < 1e-9
    assert found["turned", "RPE rotation (deg)"] == pytest.approx(10.5 / np.sqrt(2))
    assert found["lost", "AUC@30"] == 0 and found["lost", "failed"] == 1 and found["turned", "failed"] == 0
    assert "lost failed on 3 of 3 samples." in path.notes and not any("turned failed" in note for note in path.notes)
    assert found["lost", "ATE"] == pytest.approx(found["trivial", "ATE"]) and found["trivial", "ATE"] > 0.01


def test_a_mirrored_world_is_the_worst(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    mirror = torch.diag(torch.tensor([1.0, -1, 1, 1], dtype=torch.float64))
    models = {"mirrored": Oracle(SyntheticRooms(scenes=2, frames=8), 16, lambda poses: mirror @ poses)}
    words = ROOMS.replace("data.frames", "data.scenes=2 data.frames") + " suite=[pose,trajectory,pointmap]"
    tables = measured(script, monkeypatch, models, f"{words} pointmap.alignment=median pointmap.queries=100")
    found = {(row.model, row.metric): row.value for table in tables for row in table.rows if row.pooling == ""}
    assert found["mirrored", "AUC@30"] == found["mirrored", "RRA@15"] == found["mirrored", "RTA@30"] == 0
    assert found["mirrored", "failed"] == 1 and found["mirrored", "ATE"] == pytest.approx(found["trivial", "ATE"])
    assert found["mirrored", "missing"] == 1 and found["mirrored", "L1"] > 0.3


def test_a_delta_that_no_sample_has_is_told_before_a_model_runs(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    models = {"oracle": Oracle(SyntheticRooms(scenes=3, frames=8), 16, lambda poses: pytest.fail("time is lost"))}
    words = ROOMS.replace("data.frames", "data.scenes=3 data.frames") + " suite=[pose,trajectory] trajectory.delta=3"
    with pytest.raises(ConfigError, match=r"trajectory\.delta=3: expected 1 to 2, for a sample has 3 views"):
        measured(script, monkeypatch, models, words)


def saved(folder: Path, backbone: Any) -> None:
    create_reconstruction_model(backbone, decoder_depth=1, features=8).save_pretrained(folder)


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ("{name: ours, label: truth}", "a model is called 'truth', as a floor is; give it a label"),
        ("{name: ours, label: 'in a row'}", "a model is called 'in a row', as a floor is"),
        ("{name: ours, pretrained: false, width: 7}", "backbone 'ours': pretrained, width means nothing here"),
    ],
)
def test_names_and_keys_that_a_model_cannot_have(script: ModuleType, tmp_path: Path, spec: str, told: str) -> None:
    saved(tmp_path / "ours", SMALL)
    with pytest.raises(ConfigError, match=told):
        script.evaluate([spec, "suite=pose", *ROOMS.split(), "out=out"])
    assert not (tmp_path / "out" / "results.json").exists()


def test_models_on_different_backbones_share_a_table(script: ModuleType, tmp_path: Path) -> None:
    """Ours pre-trained and fresh, and a ViT of timm; patches of 8, 16 and 14 pixels."""
    pytest.importorskip("timm", reason="timm is not installed")
    create_model(**SMALL, seed=3).save_pretrained(tmp_path / "pretrained")
    saved(tmp_path / "ours", str(tmp_path / "pretrained"))
    saved(tmp_path / "fresh", {**SMALL, "patch_size": 16})
    vit = {"name": "timm/vit_tiny_patch16_224", "pretrained": False, "patch_size": 14, "img_size": 28, "depth": 2}
    saved(tmp_path / "vit", vit)
    suites = "suite=[pose,trajectory,pointmap,depth] pointmap.queries=100"
    tables = script.evaluate(f"ours fresh vit {suites} {ROOMS.replace('size=16', 'size=[24,32]')} out=out".split())
    for table in tables:
        models = list(dict.fromkeys(row.model for row in table.rows))
        row = ["in a row"] if table.rows[0].suite in ("pose", "trajectory") else []
        assert models == [
            "trivial",
            *row,
            "truth",
            *(f"{n}{of}" for n in ("ours", "fresh", "vit") for of in ("", ", untrained")),
        ]
        assert "3 samples of 3 views, 2 frames apart, 32 x 24 px" in table.notes[0]
        notes = "\n".join(table.notes)
        assert "fresh looks at 32 x 32 px" in notes and "vit looks at 28 x 28 px" in notes and "ours looks" not in notes
        assert all(row.count for row in table.rows)
    numbers = {(row.model, row.metric): row.value for table in tables for row in table.rows if row.pooling == ""}
    (alone,) = script.evaluate(f"vit suite=depth {ROOMS.replace('size=16', 'size=[24,32]')} out=alone".split())
    for row in alone.rows:
        if row.pooling == "":
            assert numbers[row.model, row.metric] == row.value, "a model's numbers do not depend on its neighbours"


def test_maps_come_back_to_the_size_of_the_truth() -> None:
    """A model whose points are linear in the place in the picture: resized, they still are."""

    class Ramp(nn.Module):
        patch_size = 8

        def forward(self, images: Tensor) -> Geometry:
            batch, views, _, height, width = images.shape
            assert (height, width) == (24, 40) and float(images.min()) >= 0 and float(images.max()) <= 1
            x, y = (torch.arange(width) + 0.5) / width, (torch.arange(height) + 0.5) / height
            points = torch.stack([x.expand(height, -1), y[:, None].expand(-1, width), torch.ones(height, width)], dim=-1)
            shape = (batch, views, height, width)
            return Geometry(points.expand(*shape, 3), torch.ones(shape), torch.eye(4).expand(batch, views, 4, 4))

    cameras = torch.eye(4).expand(1, 2, 4, 4)
    views = PosedViews(torch.zeros(1, 2, 3, 26, 37, dtype=torch.uint8), torch.ones(1, 2, 26, 37), cameras, cameras, [0])
    (found,) = Reconstructor("ramp", Ramp(), torch.device("cpu"))(views)  # type: ignore[arg-type]
    inner = found.points[:, 1:-1, 1:-1]
    x, y = (torch.arange(37) + 0.5) / 37, (torch.arange(26) + 0.5) / 26
    torch.testing.assert_close(inner[..., 0].float(), x[1:-1].expand(2, 24, -1), atol=1e-6, rtol=0)
    torch.testing.assert_close(inner[..., 1].float(), y[1:-1, None].expand(2, -1, 35), atol=1e-6, rtol=0)
    assert found.points.shape == (2, 26, 37, 3) and found.depth.shape == (2, 26, 37)


def test_models_of_the_other_kind(script: ModuleType, tmp_path: Path) -> None:
    saved(tmp_path / "mine", SMALL)
    create_model(**SMALL).save_pretrained(tmp_path / "pretrained")
    for wrong, message in {
        "mine suite=[pose,correspondence]": "one kind a call (features: correspondence; geometry: pose)",
        "mine suite=correspondence": "is a reconstruction model",
        "pretrained suite=pose": "pretrained is a pre-training model, which gives features and no geometry: fine-tune it",
        "muskie_tiny suite=pose": "muskie_tiny is a model without weights",
        "mine pretrained nowhere suite=pose": "pretrained is a pre-training model",
        "mine suite=trajectory trajectory.delta=3": "trajectory.delta=3: expected 1 to 2",
        "mine suite=trajectory trajectory.alignment=best": "trajectory.alignment='best': should be 'sim3', 'se3' or 'none'",
        "mine suite=depth depth.per=pixel": "depth.per='pixel': should be 'scene' or 'view'",
        "mine suite=pose freeze=a.json suite=[correspondence,dense_matching]": "freeze writes views or pairs",
        "suite=pose": "no backbone is named",
    }.items():
        with pytest.raises(SystemExit) as left:
            script.main(f"{wrong} {ROOMS}".split())
        assert message in str(left.value), wrong
    with pytest.raises(SystemExit, match=r"pretrained is a pre-training model(.|\n)*nowhere"):
        script.main(f"mine pretrained nowhere suite=pose {ROOMS}".split())


def test_cameras_alone_are_enough_for_poses(script: ModuleType, tmp_path: Path) -> None:
    saved(tmp_path / "mine", SMALL)
    write_realestate10k(tmp_path / "clips")
    words = "mine data=realestate10k data.root=clips data.split=test size=16 views.views=3 device=cpu untrained=false"
    pose, path = script.evaluate(f"{words} suite=[pose,trajectory] out=out".split())
    assert all(row.count for table in (pose, path) for row in table.rows)
    for suite in ("pointmap", "depth", "[pose,depth]"):
        with pytest.raises(SystemExit, match=r"no frame has known depth, which the suite needs; cameras alone are enough"):
            script.main(f"{words} suite={suite}".split())


def test_views_without_depth_are_of_unknown_depth(script: ModuleType, tmp_path: Path) -> None:
    """A frame that has no depth map is looked at, and has no pixel that counts; without any, the sample is told."""
    saved(tmp_path / "mine", SMALL)
    write_scannet(tmp_path / "scans")
    for number in range(1, 12):
        (tmp_path / "scans" / "scene0707_00" / "depth" / f"{5 * number}.png").unlink()
    words = "mine data=scannet data.root=scans size=16 views.views=4 views.distance=1 views.samples=null untrained=false"
    (table,) = script.evaluate(f"{words} suite=depth out=out device=cpu".split())
    assert "8 of 18 samples measure nothing (no pixel of known depth), and are in no mean." in table.notes
    (row,) = [row for row in table.rows if (row.model, row.metric, row.pooling) == ("truth", "AbsRel", "")]
    assert row.count == 10 and row.value == 0


def test_frozen_samples_are_measured_and_named(script: ModuleType, tmp_path: Path) -> None:
    saved(tmp_path / "mine", SMALL)
    words = ROOMS.replace("data.frames=8", "data.frames=8 data.scenes=5")
    script.evaluate(f"freeze=samples.json {words} suite=pose".split())
    digest = hashlib.sha256((tmp_path / "samples.json").read_bytes()).hexdigest()
    quick = "suite=pose floors=false untrained=false"
    (drawn,) = script.evaluate(f"mine {words} {quick} out=drawn".split())
    data = "data=synthetic data.frames=8 data.scenes=5 size=16 device=cpu"
    (listed,) = script.evaluate(f"mine {data} views.list=samples.json {quick} out=listed".split())
    assert str(drawn.rows) == str(listed.rows)
    told = f"3 samples of 3 views as listed in samples.json (sha256 {digest[:12]}, drawn by rule spaced, views 3, distance 2"
    assert told in listed.notes[0]
    settings = json.loads((tmp_path / "listed" / "results.json").read_text())["settings"]
    assert settings["views.list"] == {"file": "samples.json", "sha256": digest}
    for wrong, message in {
        f"mine {data} views.list=samples.json views.views=4": "was drawn with views=3, and a list is used as it is",
        f"mine {data} views.list=nowhere.json": "views.list='nowhere.json' cannot be read",
        f"freeze=samples.json {words}": "is there already",
        f"freeze=other.json {data} views.list=samples.json": "is frozen already",
        f"mine {data} views.list=samples.json data.frames=7": "data.frames=7 (the list: 8)",
    }.items():
        with pytest.raises(SystemExit) as left:
            script.main(f"{wrong} suite=pose".split())
        assert message in str(left.value), wrong
