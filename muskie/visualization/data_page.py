"""Samples as a model gets them, as one page: views, object, depth, and whether depth and cameras belong together.

Nothing shows a wrong convention (OpenGL's axes, world2cam for cam2world, a unit, a principal point) as surely as moving what
one view shows into another one: with the right one, it lies on itself there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from muskie.geometry import Reprojection, reproject
from muskie.visualization.colours import ColourBar, to_bytes
from muskie.visualization.lettering import Colour
from muskie.visualization.masked_views import DIMMED, PALE
from muskie.visualization.page import PAPER, Page
from muskie.visualization.sizes import resized, shown_size

AT_LEAST = 192
"""Pixels of a picture's shorter side, as far as the page goes: edges must be seen to continue."""
TOLERANCE = 0.05
"""How far a point's depth may be from what is measured where it lands, as a share, and still be on the surface."""
ENOUGH = 0.2
"""The share of points inside a picture from which on their depth is compared."""
HIDDEN: Colour = (122, 160, 214)
IN_FRONT: Colour = (240, 120, 20)
OUTLINE: Colour = (40, 220, 90)
RIM: Colour = (15, 15, 15)
NOTE = (
    "Depth: z, in metres where the source has a scale. Re-projected: the pixels of view 0 whose depth is known, moved by "
    "depth and cameras into each view and drawn in their own colours over its picture in pale grey; blue where they lie "
    "behind what this view measured around there, and so are hidden, orange where they lie more than 5 % in front of it, "
    "which right geometry leaves to noise. Below: the share of these points that land inside of the picture, and the median "
    "of |their depth - the measured one| / the measured one. Good: edges run on from colour into grey, hardly any orange, "
    "depth off by less than 2 %, and mostly by less than 1 %."
)


@dataclass(frozen=True)
class DataSample:
    """The views of one scene as a model gets them, on the CPU.

    Attributes:
        name: above its rows, e.g. source and scene.
        frames: V names.
        images: uint8 [V, 3, H, W].
        masks: bool [V, H, W], True on the object; None: there is none.
        depth: [V, H, W], z, 0 = unknown; None: there is no geometry, and cameras are not looked at.
        intrinsics: [V, 3, 3], pixels.
        cam2world: [V, 4, 4].
    """

    name: str
    frames: Sequence[str]
    images: Tensor
    masks: Tensor | None = None
    depth: Tensor | None = None
    intrinsics: Tensor | None = None
    cam2world: Tensor | None = None


class Landing(NamedTuple):
    """Where the points of view 0 land in all views.

    Attributes:
        pictures: uint8 [V, 3, H, W], see `NOTE`.
        inside: [V], the share of the points of known depth that land inside of the picture; NaN where there is none.
        off: [V], the median relative difference between their depth and the measured one; NaN where none is measured.
    """

    pictures: Tensor
    inside: Tensor
    off: Tensor


def data_page(samples: Sequence[DataSample]) -> Tensor:
    """A block of rows for each sample, one column a view: pictures (with the object's outline), depth, re-projected view 0.

    Returns:
        uint8 [3, height, width].

    Raises:
        ValueError: no sample, or parts of one whose shapes do not fit each other.
    """
    if not samples:
        raise ValueError("no sample to draw; give at least one")
    for sample in samples:
        _check(sample)
    noted = max((n for n, sample in enumerate(samples) if sample.depth is not None), default=-1)
    blocks = [_block(sample, NOTE if number == noted else None).draw() for number, sample in enumerate(samples)]
    width = max(block.shape[-1] for block in blocks)
    sheet = torch.tensor(PAPER, dtype=torch.uint8)[:, None, None]
    wide = [torch.cat([block, sheet.expand(-1, block.shape[1], width - block.shape[2])], dim=2) for block in blocks]
    return torch.cat(wide, dim=1)


def land(images: Tensor, depth: Tensor, intrinsics: Tensor, cam2world: Tensor) -> Landing:
    """Moves view 0 into every view (itself included), see `Landing`; arguments as of `DataSample`."""
    depth, intrinsics, cam2world = depth.double(), intrinsics.double(), cam2world.double()
    moved = reproject(depth[0], intrinsics[0], cam2world[0], depth, intrinsics, cam2world, TOLERANCE)
    grey = PALE - (255 - images.float().mean(1, keepdim=True)) * DIMMED
    grounds = grey.to(torch.uint8).expand_as(images)
    views = [Reprojection(*(part[view] for part in moved)) for view in range(len(images))]
    pictures = [_splat(images[0], *part) for part in zip(views, depth, grounds, strict=True)]
    known = (depth[0] > 0).sum()
    inside = torch.stack([view.inside.sum() / known for view in views])
    return Landing(torch.stack(pictures), inside, torch.stack([_off(view) for view in views]))


def _splat(image: Tensor, moved: Reprojection, measured: Tensor, ground: Tensor) -> Tensor:
    """The pixels of an image [3, H, W] where they have moved to, the nearest of those in one place, over a ground [3, H, W]
    whose depth [H, W] was measured."""
    inside = moved.inside
    column, row = moved.pixels[inside].long().unbind(-1)
    place, z = row * ground.shape[-1] + column, moved.depth[inside]
    least, most = (bound.flatten()[place] for bound in _around(measured))
    colours = image[:, inside].clone()  # [3, n]
    for wrong, colour in ((z > (1 + TOLERANCE) * most, HIDDEN), (z < (1 - TOLERANCE) * least, IN_FRONT)):
        colours[:, wrong & (most > 0)] = torch.tensor(colour, dtype=torch.uint8)[:, None]
    nearest = z.new_full((ground[0].numel(),), torch.inf).scatter_reduce(0, place, z, "amin")
    first = z == nearest[place]
    picture, covered = ground.flatten(1).clone(), nearest.isfinite()
    picture[:, place[first]] = colours[:, first]
    return _closed(picture.view_as(ground), covered.view(ground.shape[1:]))


def _around(depth: Tensor) -> tuple[Tensor, Tensor]:
    """The least and the greatest known depth among each pixel and its eight neighbours, [H, W]; 0 where none is known. A
    point at an edge may be of either side."""
    most = torch.nn.functional.max_pool2d(depth[None, None], 3, 1, 1)[0, 0]
    known = torch.where(depth > 0, depth, torch.inf)
    least = -torch.nn.functional.max_pool2d(-known[None, None], 3, 1, 1)[0, 0]
    return torch.where(most > 0, least, 0), most


def _closed(picture: Tensor, covered: Tensor) -> Tensor:
    """A picture [3, H, W] with pixels that are not `covered`, but lie between two that are, as one of these: where a view is
    nearer than view 0 was, points come to lie apart."""
    for axis in (1, 0):
        before, after = covered.roll(1, axis), covered.roll(-1, axis)
        for seam in (before.select(axis, 0), after.select(axis, -1)):  # nothing lies beyond the border
            seam.zero_()
        gap = ~covered & before & after
        picture = torch.where(gap, picture.roll(1, axis + 1), picture)
        covered = covered | gap
    return picture


def _off(moved: Reprojection) -> Tensor:
    compared = moved.inside & (moved.measured > 0)
    z, measured = moved.depth[compared], moved.measured[compared]
    return ((z - measured).abs() / measured).median() if len(z) else z.new_tensor(torch.nan)


def _block(sample: DataSample, note: str | None) -> Page:
    """The rows of a sample."""
    views, _, height, width = sample.images.shape
    size = shown_size(height, width, views, AT_LEAST)
    rows, labels = [sample.images], [f"views\n{width} x {height} px"]
    bars: list[ColourBar | None] = [None]
    captions: list[list[str] | None] = [None]
    if sample.masks is not None:
        rows, labels = [_outlined(sample.images, sample.masks, size)], [f"{labels[0]}\nobject outlined"]
    if sample.depth is not None and sample.intrinsics is not None and sample.cam2world is not None:
        picture, bar, known = _depth(sample.depth)
        landing = land(sample.images, sample.depth, sample.intrinsics, sample.cam2world)
        rows, labels, bars = (
            [*rows, picture, landing.pictures],
            [*labels, "depth", "view 0\nre-projected"],
            [None, bar, None],
        )
        captions = [None, known, ["all points of known depth", *_told(landing)[1:]]]
    columns = [f"view {number}\n{frame}" for number, frame in enumerate(sample.frames)]
    return Page(rows, labels, columns, sample.name, captions=captions, bars=bars, note=note, size=size)


def _depth(depth: Tensor) -> tuple[Tensor, ColourBar, list[str]]:
    """Depth in colours, what is unknown as paper, their bar, and the share that is known of each view."""
    known, depth = depth > 0, depth.float()
    values = depth[known].numpy()
    low, high = np.quantile(values, [0.02, 0.98]).tolist() if len(values) else (0.0, 0.0)
    bar = ColourBar(low, high)
    paper = torch.tensor(PAPER)[:, None, None] / 255
    shares = known.flatten(1).double().mean(1).tolist()
    return to_bytes(torch.where(known[:, None], bar.colours(depth), paper)), bar, [f"{_percent(s)} known" for s in shares]


def _told(landing: Landing) -> list[str]:
    """What is written below each re-projected picture."""
    told = []
    for inside, off in zip(landing.inside.tolist(), landing.off.tolist(), strict=True):
        if not inside > 0:
            told.append("nothing lands inside")
        else:
            depth = f"depth off by {_percent(off, 1)}" if off == off else "no depth measured there"
            if inside < ENOUGH:  # mostly hidden ones, whose depth is not what is measured
                depth = "too few to compare"
            told.append(f"{_percent(inside)} inside\n{depth}")
    return told


def _percent(share: float, decimals: int = 0) -> str:
    return f"{100 * share:.{decimals}f} %"


def _outlined(images: Tensor, masks: Tensor, size: tuple[int, int]) -> Tensor:
    """The images at their size on the page, a line with a dark rim around what is masked: uint8 [V, 3, height, width]."""
    on_page = resized(masks[:, None].to(torch.uint8).expand(-1, 3, -1, -1) * 255, size)[:, 0] > 127
    pictures = resized(images, size)
    for reach, colour in ((4, RIM), (2, OUTLINE)):
        edge = _grown(on_page, reach) & ~on_page
        pictures = torch.where(edge[:, None], torch.tensor(colour, dtype=torch.uint8)[:, None, None], pictures)
    return pictures


def _grown(masks: Tensor, reach: int) -> Tensor:
    """Masks [V, H, W] with everything that lies within so many pixels, along rows and columns."""
    return torch.nn.functional.max_pool2d(masks[:, None].float(), 2 * reach + 1, 1, reach)[:, 0] > 0


def _check(sample: DataSample) -> None:
    views, _, height, width = sample.images.shape
    expected = {"masks": (views, height, width), "depth": (views, height, width)}
    expected |= {"intrinsics": (views, 3, 3), "cam2world": (views, 4, 4)} if sample.depth is not None else {}
    for name, shape in expected.items():
        part: Tensor | None = getattr(sample, name)
        if part is None and name in ("intrinsics", "cam2world"):
            raise ValueError(f"{sample.name}: depth without {name}; give depth, intrinsics and cam2world, or no depth")
        if part is not None and tuple(part.shape) != shape:
            raise ValueError(f"{sample.name}: {name} has shape {tuple(part.shape)}; expected {shape}")
    if len(sample.frames) != views:
        raise ValueError(f"{sample.name}: {len(sample.frames)} names of frames for {views} views; give one for each")
