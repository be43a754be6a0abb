"""A box room with a panel in it, seen by cameras that are known: every number has a closed form."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from muskie.inputs.pixel_map import PixelMap
from muskie.reconstruction import Reconstruction

HEIGHT, WIDTH = 48, 64
LOW, HIGH = np.array([-3.0, -2.0, -1.0]), np.array([3.0, 1.0, 5.0])
"""The corners of the room; y points down, so that the floor is at y = 1."""
PANEL = 2.0, (-1.0, 0.5), (-1.0, 0.8)
"""A screen at this z, with its x and y: it hides the wall behind it from some cameras."""
NAMES = ["a view.jpg", "süd/日本 1.JPG", "c.png", "deep.color.jpeg"]
MAPS = [
    PixelMap((300, 200), (WIDTH, HEIGHT), (0.25, 0.25), (22.0, 4.0)),  # cut at all sides
    PixelMap((96, 128), (WIDTH, HEIGHT), (0.375, 0.375), (-14 / 0.375, 0.0)),  # portrait, padded left and right
    PixelMap((WIDTH, HEIGHT), (WIDTH, HEIGHT), (1.0, 1.0), (0.0, 0.0)),
    PixelMap((128, 120), (WIDTH, HEIGHT), (0.5, 0.4), (0.0, 0.0)),  # squeezed
]


def cast(rays: np.ndarray, pose: np.ndarray) -> np.ndarray:
    """z in the camera, [...], of the first surface on rays [..., 3] with z = 1 from a camera inside the room."""
    centre, directions = pose[:3, 3], rays @ pose[:3, :3].T
    with np.errstate(divide="ignore", invalid="ignore"):
        walls = np.where(directions > 0, (HIGH - centre) / directions, (LOW - centre) / directions)
        nearest = np.where(directions == 0, np.inf, walls).min(-1)
        screen = (PANEL[0] - centre[2]) / directions[..., 2]
    at = centre + directions * screen[..., None]
    inside = [(at[..., axis] >= ends[0]) & (at[..., axis] <= ends[1]) for axis, ends in enumerate(PANEL[1:])]
    return np.where((screen > 0) & inside[0] & inside[1], np.minimum(screen, nearest), nearest)


def colour(points: np.ndarray) -> np.ndarray:
    """The colour uint8 [..., 3] of the surface at points [..., 3]: where they lie in the room."""
    return np.round(255 * np.clip((points - LOW) / (HIGH - LOW), 0, 1)).astype(np.uint8)


def on_a_surface(points: np.ndarray, within: float) -> np.ndarray:
    """bool [N], whether points [N, 3] lie on a wall or on the plane of the panel."""
    walls = np.minimum(np.abs(points - LOW), np.abs(points - HIGH)).min(-1)
    return np.minimum(walls, np.abs(points[:, 2] - PANEL[0])) < within


@dataclass
class Box:
    """The truth, float64: `depth` [V, H, W], `intrinsics` [V, 3, 3], `cam2world` [V, 4, 4]; and the result that says it."""

    depth: np.ndarray
    intrinsics: np.ndarray
    cam2world: np.ndarray
    reconstruction: Reconstruction


def make_box() -> Box:
    turns = Rotation.from_euler("yxz", [[-8, 2, 1], [12, -4, -3], [25, 3, 2], [-20, -2, 4]], degrees=True).as_matrix()
    centres = np.array([[-0.4, 0.1, -0.5], [0.6, -0.3, -0.2], [-1.5, 0.0, 0.4], [1.2, 0.2, -0.6]])
    poses = np.tile(np.eye(4), (4, 1, 1))
    poses[:, :3, :3], poses[:, :3, 3] = turns, centres
    matrices = np.tile(np.eye(3), (4, 1, 1))
    matrices[:, 0, 0] = matrices[:, 1, 1] = 50.0, 60.0, 55.0, 45.0
    matrices[3, 1, 1] = 40.0
    matrices[:, :2, 2] = WIDTH / 2, HEIGHT / 2
    y, x = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    rays = np.stack([x, y, np.ones_like(x)], -1)[None] @ np.linalg.inv(matrices).transpose(0, 2, 1)[:, None]
    depth = np.stack([cast(ray, pose) for ray, pose in zip(rays, poses, strict=True)])
    local = rays * depth[..., None]
    world = local @ poses[:, None, :3, :3].transpose(0, 1, 3, 2) + poses[:, None, None, :3, 3]
    reconstruction = Reconstruction(
        torch.from_numpy(colour(world)).permute(0, 3, 1, 2).contiguous(),
        torch.from_numpy(local).float(),
        torch.from_numpy(1 + 4 / depth).float(),
        torch.from_numpy(poses).float(),
        torch.from_numpy(matrices).float(),
        list(NAMES),
        list(MAPS),
        notes=["a note"],
    )
    return Box(depth, matrices, poses, reconstruction)


def inside(view: int) -> np.ndarray:
    """bool [H, W], where a view of the box is picture and not padding."""
    known = np.ones((HEIGHT, WIDTH), dtype=bool)
    if view == 1:  # 96 px at .375 are 36, from column 14 on
        known[:, :14] = known[:, 50:] = False
    return known


def replaced(reconstruction: Reconstruction, **parts: object) -> Reconstruction:
    """The same with other parts."""
    return Reconstruction(**{**vars(reconstruction), **parts})  # type: ignore[arg-type]
