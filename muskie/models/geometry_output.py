"""What a reconstruction model says of the views of a scene."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from muskie.geometry import transform_points


@dataclass
class Geometry:
    """Points, cameras and confidence of views; OpenCV axes. The scale and the world frame of a scene are the model's own: no
    view defines them.

    Attributes:
        local_points: float32 [B, V, H, W, 3], the surface at each pixel in its own camera, z > 0.
        confidence: float32 [B, V, H, W] in (1, inf), higher is surer.
        cam2world: float32 [B, V, 4, 4].
        depth: float32 [B, V, H, W], z by the depth head, in the scale of the points; None without that head.
        depth_confidence: as `confidence`, of the depth; None without that head.
    """

    local_points: Tensor
    confidence: Tensor
    cam2world: Tensor
    depth: Tensor | None = None
    depth_confidence: Tensor | None = None

    @property
    def points(self) -> Tensor:
        """float32 [B, V, H, W, 3], the points in the world."""
        height, width = self.local_points.shape[2:4]
        moved = transform_points(self.cam2world, self.local_points.flatten(2, 3))
        return moved.unflatten(2, (height, width))
