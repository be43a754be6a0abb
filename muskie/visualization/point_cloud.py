"""Pictures of point clouds: splats with a depth buffer, shaded so that shape is seen. No OpenGL, no screen."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor

from muskie.geometry import transform_points
from muskie.visualization.overlay import Pen, drawn_over
from muskie.visualization.sizes import to_tensor

GROUND = (236, 238, 241)
"""The colour behind the points: light, so that a page stays calm, and a little darker than a white wall."""
FINE = 2
"""How many times finer points are drawn than shown."""
BIGGEST = 7
"""The greatest radius of a splat, in fine pixels; a point right before the eye would cover the picture."""
SHADE = 0.55
"""How dark edges of depth get: the share of light that is lost where much lies before a point."""
_REACH = 3
"""Fine pixels to the neighbours that a point's depth is compared with."""
_FAR = (1 << 62) - 1
_NEAR = 1e-6
"""Nothing that is nearer to the eye than this, in world units, is drawn in perspective."""


@dataclass(frozen=True)
class Viewpoint:
    """A camera for drawing.

    Attributes:
        world2cam: float64 [4, 4], OpenCV axes.
        size: (height, width) of the picture.
        focal: in pixels; None: orthographic.
        scale: pixels per world unit, of an orthographic camera.
    """

    world2cam: Tensor
    size: tuple[int, int]
    focal: float | None = None
    scale: float = 1.0

    def project(self, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Positions [N, 2] in pixels, z [N], and pixels per world unit at each point, [N], of points [N, 3]."""
        local = transform_points(self.world2cam.to(points), points)
        z = local[:, 2]
        per_unit = torch.full_like(z, self.scale) if self.focal is None else self.focal / z
        middle = points.new_tensor([self.size[1] / 2, self.size[0] / 2])
        return local[:, :2] * per_unit[:, None] + middle, z, per_unit

    def towards(self, points: Tensor) -> Tensor:
        """Directions [N, 3] from points to the eye, of any length."""
        pose = self.world2cam.to(points)
        if self.focal is None:
            return -pose[2, :3].expand_as(points)
        return -(pose[:3, :3].T @ pose[:3, 3]) - points


def render(
    points: Tensor,
    colours: Tensor,
    viewpoint: Viewpoint,
    radii: Tensor | float,
    normals: Tensor | None = None,
    lines: Tensor | None = None,
    line_colours: Tensor | None = None,
    line_width: float = 1.6,
) -> Tensor:
    """Draws a cloud.

    Each point is a disc as large as its surface there, so that what is near has no holes and what is far no lumps. Nearer
    points cover farther ones; edges of depth are darkened (eye-dome lighting: Boucheny, 2009). Lines lie over everything.

    Args:
        points: [N, 3], in the world. Those that are not finite are left out.
        colours: uint8 [N, 3].
        viewpoint: from where.
        radii: of the points, in world units, [N] or one number.
        normals: [N, 3]; points that face away from the eye are left out: one looks into a room through its back wall. None:
            all are drawn.
        lines: [M, 2, 3], ends in the world, such as cameras.
        line_colours: uint8 [M, 3].
        line_width: in pixels.

    Returns:
        uint8 [3, height, width].
    """
    points = points.detach().cpu().float()
    height, width = (FINE * side for side in viewpoint.size)
    xy, z, per_unit = viewpoint.project(points)
    shown = points.isfinite().all(-1) & xy.isfinite().all(-1)
    if viewpoint.focal is not None:
        shown &= z > _NEAR
    if normals is not None:
        shown &= (viewpoint.towards(points) * normals.detach().cpu().float()).sum(-1) > 0
    reach = FINE * (torch.as_tensor(radii).detach().cpu().float() * per_unit)
    shown &= (FINE * xy > -BIGGEST).all(-1) & (FINE * xy < torch.tensor([width, height]) + BIGGEST).all(-1)
    numbers = shown.nonzero().squeeze(1)
    nearest = _nearest(FINE * xy[numbers], z[numbers], reach.expand(len(z))[numbers], (height, width))

    hit = nearest < len(numbers)
    source = numbers[nearest[hit]] if len(numbers) else numbers
    picture = torch.tensor(GROUND, dtype=torch.float32).expand(height * width, 3).clone()
    picture[hit] = colours.detach().cpu()[source].float()
    depth = torch.full((height * width,), torch.nan)
    depth[hit] = z[source]
    light = _eye_dome(depth.view(height, width), perspective=viewpoint.focal is not None).view(-1, 1)
    picture = (picture * light).view(height, width, 3).round().clamp(0, 255).to(torch.uint8)
    shaded = to_tensor(Image.fromarray(picture.numpy()).reduce(FINE))
    if lines is None or line_colours is None:
        return shaded
    return _with_lines(shaded, lines, line_colours, viewpoint, line_width)


def _nearest(xy: Tensor, z: Tensor, reach: Tensor, size: tuple[int, int]) -> Tensor:
    """For each pixel, int64 [height * width], the point [n] that is drawn there; a number >= n where none is."""
    height, width = size
    count = len(z)
    if not count:
        return torch.full((height * width,), 1)
    back = z.argsort(stable=True)
    order = torch.empty_like(back)  # the rank by depth: the least that falls on a pixel is the nearest point
    order[back] = torch.arange(count)
    buffer = torch.full((height * width,), _FAR)
    # At least as wide as a pixel of the picture, so that a lone point far away is seen. The widest come first.
    reach, widest = reach.clamp(FINE / 2, BIGGEST).sort(descending=True)
    order, (column, row) = order[widest], xy[widest].floor().long().unbind(-1)
    most = int(reach[0])
    for dy in range(-most, most + 1):
        for dx in range(-most, most + 1):
            wide = int((reach >= math.hypot(dx, dy)).sum())
            x, y = column[:wide] + dx, row[:wide] + dy
            inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
            buffer.scatter_reduce_(0, (y * width + x)[inside], order[:wide][inside], "amin")
    return torch.where(buffer < _FAR, back[buffer.clamp(max=count - 1)], count)


def _eye_dome(depth: Tensor, perspective: bool) -> Tensor:
    """Light in (0, 1] for each pixel of a depth map [height, width], NaN where nothing is: less where others are nearer."""
    known = depth.isfinite()
    if not known.any():
        return torch.ones_like(depth)
    # Perspective: ratios of depth count, whatever the unit. Otherwise differences, as a share of the whole extent.
    level = depth.log() if perspective else depth / (depth[known].max() - depth[known].min()).clamp(min=1e-9)
    level = torch.where(known, level, torch.inf)
    height, width = depth.shape
    padded = torch.nn.functional.pad(level[None, None], (_REACH,) * 4, value=torch.inf)[0, 0]
    lost = torch.zeros_like(depth)
    for dy in (-_REACH, 0, _REACH):
        for dx in (-_REACH, 0, _REACH):
            if dy or dx:
                beside = padded[_REACH + dy : _REACH + dy + height, _REACH + dx : _REACH + dx + width]
                lost += torch.where(known, (level - beside).clamp(min=0, max=0.2), 0).nan_to_num(0)
    return 1 - SHADE * (1 - torch.exp(-4 * lost))


def _with_lines(picture: Tensor, lines: Tensor, colours: Tensor, viewpoint: Viewpoint, line_width: float) -> Tensor:
    """Lines with a white border, drawn over a picture."""
    ends = lines.detach().cpu().double()
    xy, z, _ = viewpoint.project(ends.flatten(0, 1))
    xy, z = xy.view(-1, 2, 2), z.view(-1, 2)
    drawn = xy.isfinite().all(-1).all(-1)
    if viewpoint.focal is not None:
        drawn &= (z > _NEAR).all(-1)
    shown = drawn.nonzero().flatten()
    numbers = shown[z.mean(-1)[shown].argsort(descending=True)].tolist()  # far ones first
    limit = 8 * max(viewpoint.size)  # Pillow counts no further than 32 bits
    at = xy.clamp(-limit, limit).tolist()

    def draw(pen: Pen) -> None:
        for n in numbers:
            pen.line(at[n][0], at[n][1], (255, 255, 255), line_width + 1.6)
        for n in numbers:
            red, green, blue = colours[n].tolist()
            pen.line(at[n][0], at[n][1], (red, green, blue), line_width)

    return drawn_over(picture, viewpoint.size, draw)
