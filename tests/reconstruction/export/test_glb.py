"""The GLB file: its bytes against the standard, its content as trimesh sees it, against a room of which all is known."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from muskie.reconstruction import Reconstruction
from muskie.reconstruction.cloud import Cloud, cloud
from muskie.reconstruction.export.glb import glb_from_world, write_glb
from tests.reconstruction.box import HEIGHT, HIGH, LOW, NAMES, WIDTH, Box, replaced

TYPES = {5126: np.dtype("<f4"), 5125: np.dtype("<u4")}
WIDTHS = {"SCALAR": 1, "VEC3": 3}


def content_of(path: Path) -> tuple[dict[str, Any], bytes]:
    """The two chunks of a file that keeps to the standard (glTF 2.0, section 4.4)."""
    data = path.read_bytes()
    magic, version, length = struct.unpack_from("<4sII", data)
    assert (magic, version, length) == (b"glTF", 2, len(data)) and length % 4 == 0
    first, kind = struct.unpack_from("<I4s", data, 12)
    assert kind == b"JSON" and first % 4 == 0
    second, kind = struct.unpack_from("<I4s", data, 20 + first)
    assert kind == b"BIN\0" and second % 4 == 0 and 20 + first + 8 + second == length
    return json.loads(data[20 : 20 + first]), data[28 + first :]


def values_of(content: dict[str, Any], binary: bytes, number: int) -> np.ndarray:
    """An accessor's numbers; it lies whole in its view, and the view in the buffer, each where its type may begin."""
    accessor = content["accessors"][number]
    view, kind = content["bufferViews"][accessor["bufferView"]], TYPES[accessor["componentType"]]
    width = WIDTHS[accessor["type"]]
    assert view["byteOffset"] % kind.itemsize == 0 and view["byteOffset"] + view["byteLength"] <= len(binary)
    assert accessor["count"] * width * kind.itemsize == view["byteLength"] and accessor["count"] > 0
    values = np.frombuffer(binary, kind, accessor["count"] * width, view["byteOffset"]).reshape(-1, width)
    if "min" in accessor:
        assert np.array_equal(values.min(0), np.float32(accessor["min"]))
        assert np.array_equal(values.max(0), np.float32(accessor["max"]))
    return values


def whole(reconstruction: Reconstruction) -> Cloud:
    return cloud(reconstruction, percentile=0, edge=0)


def test_the_file_keeps_to_the_standard(box: Box, no_points: Reconstruction, tmp_path: Path) -> None:
    for name, reconstruction in (("box", box.reconstruction), ("none", no_points)):
        write_glb(tmp_path / f"{name}.glb", reconstruction, whole(reconstruction))
        content, binary = content_of(tmp_path / f"{name}.glb")
        assert content["buffers"] == [{"byteLength": len(binary)}] and content["asset"]["version"] == "2.0"
        assert content["scenes"][0]["nodes"] == list(range(len(content["nodes"])))
        for mesh in content["meshes"]:
            (primitive,) = mesh["primitives"]
            positions = values_of(content, binary, primitive["attributes"]["POSITION"])
            assert content["accessors"][primitive["attributes"]["POSITION"]].keys() >= {"min", "max"}, "the standard asks"
            if "indices" in primitive:
                indices = values_of(content, binary, primitive["indices"])
                assert len(indices) % 3 == 0 and indices.max() < len(positions)
            assert primitive["material"] < len(content["materials"])
    names = [node["name"] for node in content["nodes"]]
    assert names == [f"{what} {name}" for name in NAMES for what in ("camera", "view")], "no points: cameras alone"


def test_points_and_colours(box: Box, tmp_path: Path) -> None:
    trimesh = pytest.importorskip("trimesh", reason="trimesh is not installed")
    points = whole(box.reconstruction)
    to_file = write_glb(tmp_path / "a.glb", box.reconstruction, points).numpy()
    scene = trimesh.load(tmp_path / "a.glb")
    found = scene.geometry["points"].vertices
    assert np.allclose(found, points.points.double().numpy() @ to_file[:3, :3].T + to_file[:3, 3], atol=1e-5)
    # The room stands upright: its ceiling, y = -2, is higher than its floor, y = 1; the wall ahead lies at lower z.
    world = (found - to_file[:3, 3]) @ to_file[:3, :3]
    assert np.abs(np.clip(world, LOW, HIGH) - world).max() < 1e-5
    ceiling, floor = (np.abs(world[:, 1] - level) < 1e-3 for level in (-2, 1))
    assert found[ceiling, 1].min() > found[floor, 1].max() + 2
    assert found[np.abs(world[:, 2] - 5) < 1e-3, 2].max() < found[world[:, 2] < 1, 2].min()
    # Colours are linear light (glTF 2.0, section 3.7.2.1): by the exact transfer function of sRGB, they come back.
    content, binary = content_of(tmp_path / "a.glb")
    linear = values_of(content, binary, content["meshes"][0]["primitives"][0]["attributes"]["COLOR_0"]).astype(float)
    coded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    assert np.array_equal(np.round(255 * coded), points.colours.numpy())
    assert np.allclose(scene.geometry["points"].colors[:, :3] / 255, linear, atol=0.51 / 255)


def test_frusta_are_where_the_cameras_are(box: Box, tmp_path: Path) -> None:
    trimesh = pytest.importorskip("trimesh", reason="trimesh is not installed")
    to_file = write_glb(tmp_path / "a.glb", box.reconstruction, whole(box.reconstruction)).numpy()
    scene = trimesh.load(tmp_path / "a.glb", process=False)
    assert set(scene.graph.nodes_geometry) == {"points", *(f"camera {name}" for name in NAMES)}
    for view, name in enumerate(NAMES):
        transform, mesh = scene.graph[f"camera {name}"]
        vertices = np.c_[scene.geometry[mesh].vertices, np.ones(len(scene.geometry[mesh].vertices))] @ transform.T
        local = (vertices @ np.linalg.inv(to_file).T @ np.linalg.inv(box.cam2world[view]).T)[:, :3]
        # Each line is a beam of 2 x 4 vertices around its ends: the centre, and the corners of the picture at one depth.
        ends = local.reshape(-1, 2, 4, 3).mean(2)
        assert np.abs(ends[:4, 0]).max() < 1e-5
        depth = ends[0, 1, 2]
        assert np.allclose(ends[:8, 1, 2], depth, rtol=1e-4) and 0.03 < depth / np.median(box.depth) < 0.13
        pixels = ends[:4, 1] @ box.intrinsics[view].T
        corners = [[0, 0], [WIDTH, 0], [WIDTH, HEIGHT], [0, HEIGHT]]
        assert np.allclose(pixels[:, :2] / pixels[:, 2:], corners, atol=0.01)
        roof = ends[8, 1]
        assert roof[1] < ends[0, 1, 1] and abs(roof[0] - ends[:2, 1, 0].mean()) < 1e-4, "above the upper side"


def test_cameras_to_look_through(box: Box, tmp_path: Path) -> None:
    to_file = write_glb(tmp_path / "a.glb", box.reconstruction, whole(box.reconstruction)).numpy()
    content, _ = content_of(tmp_path / "a.glb")
    for view, name in enumerate(NAMES):
        node = next(node for node in content["nodes"] if node["name"] == f"view {name}")
        matrix = np.reshape(node["matrix"], (4, 4)).T  # columns first
        camera = content["cameras"][node["camera"]]["perspective"]
        fx, fy = box.intrinsics[view, 0, 0], box.intrinsics[view, 1, 1]
        assert camera["yfov"] == pytest.approx(2 * np.arctan(HEIGHT / 2 / fy), rel=1e-6)
        assert np.tan(camera["yfov"] / 2) * camera["aspectRatio"] == pytest.approx(WIDTH / 2 / fx, rel=1e-6)
        # glTF's cameras look along -z with y up; the columns say where these lie.
        pose = to_file @ box.cam2world[view]
        assert np.allclose(matrix[:3, 2], -pose[:3, 2], atol=1e-6) and np.allclose(matrix[:3, 1], -pose[:3, 1], atol=1e-6)
        assert np.allclose(matrix[:3, 3], pose[:3, 3], atol=1e-6)
        assert np.linalg.det(matrix[:3, :3]) == pytest.approx(1)


def test_the_axes_of_the_file(box: Box) -> None:
    """Right-handed, without scale, the middle of the cameras at the origin; level cameras give the room's own up."""
    to_file = glb_from_world(box.reconstruction).numpy()
    assert np.allclose(to_file[:3, :3] @ to_file[:3, :3].T, np.eye(3)) and np.linalg.det(to_file[:3, :3]) > 0
    assert np.allclose(to_file @ [*box.cam2world[:, :3, 3].mean(0), 1], [0, 0, 0, 1], atol=1e-6)
    level = box.reconstruction.cam2world.clone()
    turns = Rotation.from_euler("y", [[-20], [-5], [5], [20]], degrees=True).as_matrix()
    level[:, :3, :3] = level.new_tensor(turns)
    found = glb_from_world(replaced(box.reconstruction, cam2world=level)).numpy()
    assert np.allclose(found[:3, :3], np.diag([1, -1, -1]), atol=1e-6)


def test_names_that_are_no_unicode(box: Box, tmp_path: Path) -> None:
    names = [b"caf\xe9.jpg".decode(errors="surrogateescape"), *NAMES[1:]]
    write_glb(tmp_path / "a.glb", replaced(box.reconstruction, names=names), whole(box.reconstruction))
    content, _ = content_of(tmp_path / "a.glb")
    assert [node["name"] for node in content["nodes"]][1:3] == ["camera caf?.jpg", "view caf?.jpg"]
