"""The scene as one glTF 2.0 file (binary, `.glb`): points and cameras.

Written here, without another library, so that colours come out as the standard asks, linear and unlit; as floats, which
every reader takes as they are (trimesh cuts 16 bits down to the lower 8).
"""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from muskie.reconstruction.cloud import Cloud
from muskie.reconstruction.export.folder import written_whole
from muskie.reconstruction.frusta import EDGES, UP_MARK, frustum_corners, frustum_depth, upright, view_colours
from muskie.reconstruction.names import printable
from muskie.reconstruction.result import Reconstruction
from muskie.reconstruction.rotations import rigid

THICKNESS = 0.02
"""Half the width of a frustum's lines, in its depth; lines of glTF are one pixel wide on any screen, and hardly seen."""
_FLOAT, _INT = 5126, 5125
_POINTS, _TRIANGLES = 0, 4
_UNLIT = "KHR_materials_unlit"


def glb_from_world(reconstruction: Reconstruction) -> Tensor:
    """The rigid transform float64 [4, 4] from the world to the axes of the file, which are right-handed: y up as the cameras
    together see it, z backward, the middle of the cameras at the origin. The unit of length stays."""
    transform = torch.eye(4, dtype=torch.float64)
    rotation = upright(reconstruction.cam2world.cpu())
    transform[:3, :3] = rotation
    transform[:3, 3] = -rotation @ reconstruction.cam2world[:, :3, 3].double().cpu().mean(0)
    return transform


def write_glb(path: Path, reconstruction: Reconstruction, cloud: Cloud) -> Tensor:
    """Writes points with colours (24 bytes a point), and for each view its frustum in a colour of its own (node
    `camera NAME`) and glTF's own camera, which viewers can look through (node `view NAME`).

    Returns:
        `glb_from_world`, float64 [4, 4]; points in the file are this applied to those of the world.
    """
    to_file = glb_from_world(reconstruction)
    rotation, translation = to_file[:3, :3].float(), to_file[:3, 3].float()
    buffer = _Buffer()
    nodes: list[dict[str, Any]] = []
    meshes: list[dict[str, Any]] = []
    cameras: list[dict[str, Any]] = []
    materials: list[dict[str, Any]] = [_material([1.0, 1.0, 1.0], "points")]
    if len(cloud):
        attributes = {
            "POSITION": buffer.add((cloud.points @ rotation.T + translation).numpy(), _FLOAT, "VEC3", bounds=True),
            "COLOR_0": buffer.add(_LINEAR[cloud.colours.numpy()], _FLOAT, "VEC3"),
        }
        meshes.append({"name": "points", "primitives": [{"attributes": attributes, "mode": _POINTS, "material": 0}]})
        nodes.append({"name": "points", "mesh": 0})

    height, width = reconstruction.size
    poses, intrinsics = rigid(reconstruction.cam2world.cpu()), reconstruction.intrinsics.cpu().double()
    depths = reconstruction.depth[reconstruction.valid]
    depth = frustum_depth(poses, float(depths.median()) if depths.numel() else 1.0)
    flip = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0], dtype=torch.float64))  # OpenCV's camera axes to OpenGL's and back
    corners = frustum_corners(intrinsics, height, width, depth) @ flip[:3, :3]
    for view, colour in enumerate(view_colours(len(reconstruction)).numpy()):
        vertices, triangles = _beams(corners[view].numpy(), THICKNESS * depth)
        primitive = {
            "attributes": {"POSITION": buffer.add(vertices, _FLOAT, "VEC3", bounds=True)},
            "indices": buffer.add(triangles.reshape(-1, 1), _INT, "SCALAR"),
            "mode": _TRIANGLES,
            "material": len(materials),
        }
        name = printable(reconstruction.names[view])
        materials.append(_material(_LINEAR[colour].tolist(), f"camera {name}"))
        meshes.append({"name": f"camera {name}", "primitives": [primitive]})
        focal_x, focal_y = intrinsics[view, 0, 0].item(), intrinsics[view, 1, 1].item()
        lens = {
            "yfov": 2 * math.atan(height / 2 / focal_y),
            "aspectRatio": (width / focal_x) / (height / focal_y),
            "znear": 0.01 * depth,
        }
        cameras.append({"name": f"view {name}", "type": "perspective", "perspective": lens})
        matrix = (to_file @ poses[view] @ flip).T.flatten().tolist()  # glTF writes columns
        nodes.append({"name": f"camera {name}", "mesh": len(meshes) - 1, "matrix": matrix})
        # A node of its own: trimesh shows no mesh at the node that it takes the scene's camera from.
        nodes.append({"name": f"view {name}", "camera": view, "matrix": matrix})
    _write(path, buffer, {"nodes": nodes, "meshes": meshes, "cameras": cameras, "materials": materials})
    return to_file


class _Buffer:
    """The one buffer of a file, and what lies where in it."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.length = 0
        self.views: list[dict[str, Any]] = []
        self.accessors: list[dict[str, Any]] = []

    def add(self, values: np.ndarray, kind: int, shape: str, bounds: bool = False) -> int:
        """Adds values [N, ...], and returns the number of their accessor."""
        data = np.ascontiguousarray(values, dtype={_FLOAT: "<f4", _INT: "<u4"}[kind])
        self.views.append({"buffer": 0, "byteOffset": self.length, "byteLength": data.nbytes})
        accessor: dict[str, Any] = {
            "bufferView": len(self.views) - 1,
            "componentType": kind,
            "count": len(data),
            "type": shape,
        }
        if bounds:
            accessor |= {"min": data.min(0).tolist(), "max": data.max(0).tolist()}
        self.accessors.append(accessor)
        self.parts.append(data.tobytes())  # all types here have 4 bytes, so that everything stays aligned
        self.length += data.nbytes
        return len(self.accessors) - 1


def _write(path: Path, buffer: _Buffer, content: dict[str, Any]) -> None:
    scene = {
        "asset": {"version": "2.0", "generator": "muskie"},
        "extensionsUsed": [_UNLIT],
        "scene": 0,
        "scenes": [{"nodes": list(range(len(content["nodes"])))}],
        **content,
        "accessors": buffer.accessors,
        "bufferViews": buffer.views,
        "buffers": [{"byteLength": buffer.length}],
    }
    text = json.dumps(scene, separators=(",", ":"), allow_nan=False).encode()
    text += b" " * (-len(text) % 4)
    with written_whole(path) as beside, beside.open("wb") as file:
        file.write(struct.pack("<4sII", b"glTF", 2, 12 + 8 + len(text) + 8 + buffer.length))
        file.write(struct.pack("<I4s", len(text), b"JSON") + text)
        file.write(struct.pack("<I4s", buffer.length, b"BIN\0"))
        file.writelines(buffer.parts)


def _material(colour: list[float], name: str) -> dict[str, Any]:
    """Unlit, so that a colour is shown as it is; drawn from both sides."""
    surface = {"baseColorFactor": [*colour, 1.0], "metallicFactor": 0.0, "roughnessFactor": 1.0}
    return {"name": name, "pbrMetallicRoughness": surface, "doubleSided": True, "extensions": {_UNLIT: {}}}


def _linear_table() -> np.ndarray:
    """sRGB in 8 bits to linear light in [0, 1]: what glTF's colours are."""
    coded = np.arange(256) / 255
    return np.where(coded <= 0.04045, coded / 12.92, ((coded + 0.055) / 1.055) ** 2.4).astype(np.float32)


_LINEAR = _linear_table()


def _beams(corners: np.ndarray, half: float) -> tuple[np.ndarray, np.ndarray]:
    """The lines of a frustum, corners [6, 3], as square beams: vertices [N, 3] and triangles [M, 3]."""
    ends = corners[np.array(EDGES + UP_MARK)]  # [lines, 2, 3]
    along = ends[:, 1] - ends[:, 0]
    along /= np.maximum(np.linalg.norm(along, axis=-1, keepdims=True), 1e-12)
    least = np.eye(3)[np.abs(along).argmin(-1)]  # an axis that is not nearly along the line
    side = np.cross(along, least)
    side /= np.linalg.norm(side, axis=-1, keepdims=True)
    other = np.cross(along, side)
    around = np.stack([side + other, side - other, -side - other, -side + other], 1) * half  # [lines, 4, 3]
    vertices = (ends[:, :, None] + around[:, None]).reshape(-1, 3)  # 8 a line: 4 at each end
    box = [[n, (n + 1) % 4, 4 + n] for n in range(4)] + [[(n + 1) % 4, 4 + (n + 1) % 4, 4 + n] for n in range(4)]
    box += [[0, 2, 1], [0, 3, 2], [4, 5, 6], [4, 6, 7]]
    triangles = (np.arange(len(ends))[:, None, None] * 8 + np.array(box)).reshape(-1, 3)
    return vertices, triangles
