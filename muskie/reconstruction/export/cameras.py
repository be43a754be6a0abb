"""The content of `cameras.json`: what a result is, in numbers that any program can read."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from muskie.reconstruction.result import Reconstruction
from muskie.reconstruction.rotations import nearest_rotation, quaternion_wxyz

CONVENTIONS = {
    "camera_axes": "OpenCV: x right, y down, z forward",
    "cam2world": "4 x 4, rows first: camera to world; the camera's centre is its last column",
    "extrinsics": "3 x 4, rows first: world to camera, the inverse of cam2world",
    "quaternion_wxyz": "of the rotation in extrinsics (world to camera), in the order w, x, y, z",
    "intrinsics": "3 x 3, in pixels of the processed image, which spans (0, 0) to (W, H); pixel centres at integer + 0.5",
    "original_intrinsics": "the same, in pixels of the upright original image",
    "size": "width, height; original_size is that of the upright original (EXIF rotation applied)",
    "pixel_map": "processed = (original - offset) * scale, for positions (x, y)",
    "depth": "file of float32 [H, W], z along the camera's axis; 0 = no point",
    "confidence": "file of float32 [H, W], in (1, inf), higher is surer; 0 = no point",
    "unit": "the model's own: one scale for the whole scene, not metres unless the model was trained for it",
    "glb_from_world": "4 x 4, rows first: the rigid transform from the world to the axes of scene.glb (y up, z backward)",
}
"""Key -> what it means; the file holds it too."""


def cameras_content(
    reconstruction: Reconstruction, glb_from_world: Tensor | None = None, maps: dict[str, list[str]] | None = None
) -> dict[str, Any]:
    """The views with their cameras, as JSON holds them.

    Args:
        reconstruction: of V views.
        glb_from_world: [4, 4], if there is a GLB file.
        maps: `depth`, `confidence`: V paths from the folder of the result.

    Returns:
        `conventions` (`CONVENTIONS`), `notes`, `glb_from_world`, and `views`: for each `name`, `size`, `original_size`,
        `intrinsics`, `original_intrinsics`, `cam2world`, `extrinsics`, `quaternion_wxyz`, `pixel_map` {`scale`, `offset`},
        and where there are files `depth` and `confidence`.
    """
    height, width = reconstruction.size
    extrinsics = reconstruction.extrinsics.cpu()
    quaternions = quaternion_wxyz(nearest_rotation(extrinsics[:, :, :3]))
    original = reconstruction.original_intrinsics.cpu()
    views = []
    for view, (name, pixel_map) in enumerate(zip(reconstruction.names, reconstruction.pixel_maps, strict=True)):
        camera = {
            "name": name,
            "size": [width, height],
            "original_size": list(pixel_map.original_size),
            "intrinsics": reconstruction.intrinsics[view].tolist(),
            "original_intrinsics": original[view].tolist(),
            "cam2world": reconstruction.cam2world[view].tolist(),
            "extrinsics": extrinsics[view].tolist(),
            "quaternion_wxyz": quaternions[view].tolist(),
            "pixel_map": {"scale": list(pixel_map.scale), "offset": list(pixel_map.offset)},
        }
        views.append(camera | {key: paths[view] for key, paths in (maps or {}).items()})
    content: dict[str, Any] = {"conventions": CONVENTIONS, "notes": reconstruction.notes}
    if glb_from_world is not None:
        content["glb_from_world"] = glb_from_world.tolist()
    return content | {"views": views}
