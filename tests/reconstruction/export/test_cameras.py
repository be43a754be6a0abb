"""`cameras.json` says enough to make everything else from it; scipy reads its rotations."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from muskie.inputs.pixel_map import PixelMap
from muskie.reconstruction import Reconstruction
from muskie.reconstruction.export import export
from muskie.reconstruction.export.cameras import CONVENTIONS, cameras_content
from tests.reconstruction.box import HEIGHT, MAPS, NAMES, WIDTH, Box, inside


def test_every_number_comes_back(box: Box, tmp_path: Path) -> None:
    export(box.reconstruction, tmp_path, formats=["maps"])
    content = json.loads((tmp_path / "cameras.json").read_text())
    assert content["conventions"] == CONVENTIONS and content["notes"] == ["a note"] and content["complete"] is True
    assert [view["name"] for view in content["views"]] == NAMES
    for number, view in enumerate(content["views"]):
        pixel_map = PixelMap(
            tuple(view["original_size"]),
            tuple(view["size"]),
            tuple(view["pixel_map"]["scale"]),
            tuple(view["pixel_map"]["offset"]),
        )
        assert pixel_map == MAPS[number]
        for key in ("intrinsics", "cam2world"):
            given = getattr(box.reconstruction, key)[number]
            assert torch.equal(torch.tensor(view[key], dtype=torch.float32), given), "floats come back with all their bits"
        assert np.allclose(np.vstack([view["extrinsics"], [0, 0, 0, 1]]) @ view["cam2world"], np.eye(4), atol=1e-6)
        turned = Rotation.from_quat(view["quaternion_wxyz"], scalar_first=True).as_matrix()
        assert np.allclose(turned, np.linalg.inv(box.cam2world[number])[:3, :3], atol=1e-6)

        # Depth, intrinsics and pose of the file make the points of the result; the original's make those of the original.
        depth = np.load(tmp_path / view["depth"])
        y, x = np.mgrid[:HEIGHT, :WIDTH] + 0.5
        local = np.stack([x, y, np.ones_like(x)], -1) @ np.linalg.inv(view["intrinsics"]).T * depth[..., None]
        world = local @ np.array(view["cam2world"])[:3, :3].T + np.array(view["cam2world"])[:3, 3]
        expected = box.reconstruction.points[number].numpy()
        assert np.allclose(world[inside(number)], expected[inside(number)], atol=1e-5)
        pixels = local[inside(number)] @ np.array(view["original_intrinsics"]).T
        there = (pixels[:, :2] / pixels[:, 2:] - pixel_map.offset) * pixel_map.scale
        assert np.allclose(there, np.stack([x, y], -1)[inside(number)], atol=1e-4)


def test_the_transform_to_the_glb_file(box: Box, tmp_path: Path) -> None:
    trimesh = pytest.importorskip("trimesh", reason="trimesh is not installed")
    export(box.reconstruction, tmp_path, formats=["glb", "ply"])
    to_file = np.array(json.loads((tmp_path / "cameras.json").read_text())["glb_from_world"])
    world = trimesh.load(tmp_path / "points.ply").vertices
    found = trimesh.load(tmp_path / "scene.glb").geometry["points"].vertices
    assert np.allclose(world @ to_file[:3, :3].T + to_file[:3, 3], found, atol=1e-5)


def test_what_is_not_there_is_not_named(box: Box, one_view: Reconstruction) -> None:
    content = cameras_content(one_view)
    assert "glb_from_world" not in content and len(content["views"]) == 1 and "depth" not in content["views"][0]
    assert json.loads(json.dumps(content, allow_nan=False)) == content
