"""The points of all views as one cloud."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from muskie.reconstruction.confidence import EDGE, PERCENTILE, evenly, kept_pixels
from muskie.reconstruction.result import Reconstruction
from muskie.reconstruction.surface import facing_normals

SLANT = 3.0
"""How many times longer than wide the surface of one pixel may get."""


@dataclass
class Cloud:
    """N points in the world, on the CPU, view by view and row by row. All values are finite.

    Attributes:
        points: float32 [N, 3].
        colours: uint8 [N, 3], RGB of the image.
        confidence: float32 [N], in (1, inf).
        views, rows, columns: int64 [N], the pixel that a point comes from.
        normals: float32 [N, 3], turned towards the camera that saw the point.
        radii: float32 [N], half the longer side of the surface that a point stands for: what is seen at a slant is longer,
            `SLANT` times at most.
    """

    points: Tensor
    colours: Tensor
    confidence: Tensor
    views: Tensor
    rows: Tensor
    columns: Tensor
    normals: Tensor
    radii: Tensor

    def __len__(self) -> int:
        return len(self.points)


def cloud(
    reconstruction: Reconstruction, percentile: float = PERCENTILE, edge: float = EDGE, max_points: int | None = None
) -> Cloud:
    """The points that are worth showing.

    Args:
        percentile, edge: filters, see `kept_pixels`.
        max_points: take so many, evenly spread over the pictures; None: all that are kept.

    Raises:
        ConfigError: a filter out of range.
    """
    kept = kept_pixels(reconstruction, percentile, edge)
    return cloud_at(reconstruction, evenly(kept, max_points), int(kept.sum()))


def cloud_at(reconstruction: Reconstruction, chosen: Tensor, among: int | None = None) -> Cloud:
    """The points of pixels bool [V, H, W]; those are `among` so many (for `radii`; None: all of them)."""
    parts = [vars(part).values() for part in clouds_at(reconstruction, chosen, among)]
    return Cloud(*(torch.cat(column) for column in zip(*parts, strict=True)))


def clouds_at(reconstruction: Reconstruction, chosen: Tensor, among: int | None = None) -> Iterator[Cloud]:
    """The same view by view, for clouds that are too large to be held at once."""
    thinned = max((among or 0) / max(int(chosen.sum()), 1), 1.0) ** 0.5
    for view in range(len(reconstruction)):
        rows, columns = chosen[view].nonzero(as_tuple=True)
        local = reconstruction.local_points[view][rows, columns].float()
        pose, focal = reconstruction.cam2world[view].float(), reconstruction.intrinsics[view, 0, 0]
        normals = facing_normals(reconstruction.local_points[view])[rows, columns].float()
        straight = -(normals * torch.nn.functional.normalize(local, dim=-1)).sum(-1)  # cosine between normal and ray
        part = (
            local @ pose[:3, :3].T + pose[:3, 3],
            reconstruction.images[view].to(local.device)[:, rows, columns].T,
            reconstruction.confidence[view][rows, columns].float(),
            torch.full_like(rows, view),
            rows,
            columns,
            normals @ pose[:3, :3].T,
            local[:, 2] / focal * (0.5 * thinned) / straight.clamp(min=1 / SLANT),
        )
        yield Cloud(*(value.cpu() for value in part))
