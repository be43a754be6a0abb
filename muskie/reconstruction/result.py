"""What a reconstruction gives back: images, points, cameras, and the way back to the original images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from muskie.errors import ConfigError, DataError
from muskie.geometry import invert, transform_points
from muskie.inputs.pixel_map import PixelMap
from muskie.inputs.resize import inner_box
from muskie.models.geometry_output import Geometry
from muskie.reconstruction.focal import estimate_focal, intrinsics_of, plausible

_CHUNK = 16
"""Views whose focal lengths are estimated at once."""
_SHARED_PIXELS = 4_000_000
"""Pixels that one focal length for all views is estimated from, about."""
_SHOWN_PIXELS, _SHOWN_NAMES = 100_000, 3
"""Pixels that `repr` looks at, about, and names that it tells."""
_GUESS = 1.0
"""The focal length in long sides of the picture, where no view of the scene says one: a field of view of 53 degrees."""


@dataclass
class Reconstruction:
    """Views of one scene. Camera axes are OpenCV's: x right, y down, z forward. The unit of length and the world frame are
    the model's own; no view defines them. Pixels are those of `images`, with pixel centres at integer + 0.5, so that a
    picture spans (0, 0) to (W, H).

    Attributes:
        images: uint8 [V, 3, H, W], as the model saw them.
        local_points: float32 [V, H, W, 3], the surface at each pixel, in the camera of its own view.
        confidence: float32 [V, H, W] in (1, inf), higher is surer. What a number means depends on the model; ranks compare.
        cam2world: float32 [V, 4, 4], camera to world: the camera's centre is its last column.
        intrinsics: float32 [V, 3, 3], in pixels of `images`; `original_intrinsics` are those of the original images.
        names: of the views, all different.
        pixel_maps: of each view, between the pixels of its upright original and those of `images`.
        head_depth: float32 [V, H, W], z by the model's depth head; None without one. `depth` is that of the points.
        head_depth_confidence: as `confidence`, of `head_depth`.
        notes: what a user should know of this result, in sentences.
    """

    images: Tensor
    local_points: Tensor
    confidence: Tensor
    cam2world: Tensor
    intrinsics: Tensor
    names: list[str]
    pixel_maps: list[PixelMap]
    head_depth: Tensor | None = None
    head_depth_confidence: Tensor | None = None
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        views, channels, height, width = self.images.shape
        if self.images.dtype != torch.uint8 or channels != 3 or not views:
            raise ValueError(f"images are {self.images.dtype} {tuple(self.images.shape)}; expected torch.uint8 [V, 3, H, W]")
        expected = {
            "local_points": (views, height, width, 3),
            "confidence": (views, height, width),
            "cam2world": (views, 4, 4),
            "intrinsics": (views, 3, 3),
        }
        for name, shape in expected.items():
            if tuple(getattr(self, name).shape) != shape:
                raise ValueError(f"{name} has shape {tuple(getattr(self, name).shape)}; expected {shape}")
        for name, given in (("names", self.names), ("pixel_maps", self.pixel_maps)):
            if len(given) != views:
                raise ValueError(f"{len(given)} {name} for {views} views; give one for each")
        if len(set(self.names)) != views:
            twice = next(name for name in self.names if self.names.count(name) > 1)
            raise ValueError(f"two views are called {twice!r}; their names must differ")
        for name, pixel_map in zip(self.names, self.pixel_maps, strict=True):
            if tuple(pixel_map.size) != (width, height):
                found = f"{pixel_map.size}, but images are {(width, height)} (W, H)"
                raise ValueError(f"the pixel map of {name!r} is for {found}")

    def __len__(self) -> int:
        return len(self.names)

    def __repr__(self) -> str:
        """On a line: views, size, median depth, share of pixels with a point, first names; of a sample of the pixels."""
        try:
            return f"Reconstruction({', '.join(self._parts())})"
        except Exception:  # of one that is not whole, on a device that is gone, ...: whoever debugs it prints it
            return object.__repr__(self)

    def _parts(self) -> Iterator[str]:
        height, width = self.size
        yield f"{len(self)} view{'s' if len(self) > 1 else ''} of H x W {height} x {width}"
        step = max(round((self.confidence.numel() / _SHOWN_PIXELS) ** 0.5), 1)
        valid = self._valid(step)
        depth = self.depth[:, ::step, ::step][valid]
        yield f"median depth {float(depth.float().median()):.3g}" if len(depth) else "no depth"
        yield f"{100 * float(valid.float().mean()):.3g} % of pixels valid"
        more = ["..."] if len(self) > _SHOWN_NAMES else []
        yield f"names: {', '.join([*map(repr, self.names[:_SHOWN_NAMES]), *more])}"
        yield f"{len(self.notes)} note{'' if len(self.notes) == 1 else 's'}"

    @property
    def size(self) -> tuple[int, int]:
        """H and W."""
        return self.images.shape[-2], self.images.shape[-1]

    @property
    def points(self) -> Tensor:
        """float32 [V, H, W, 3], the points in the world: `cam2world` applied to `local_points`."""
        return transform_points(self.cam2world, self.local_points.flatten(1, 2)).unflatten(1, self.size)

    @property
    def depth(self) -> Tensor:
        """float32 [V, H, W], z of `local_points`: along the camera's axis, not the length of the ray."""
        return self.local_points[..., 2]

    @property
    def extrinsics(self) -> Tensor:
        """float32 [V, 3, 4], world to camera, the inverse of `cam2world`: what COLMAP and VGGT call so."""
        return invert(self.cam2world)[:, :3]

    @property
    def original_intrinsics(self) -> Tensor:
        """float64 [V, 3, 3], in pixels of the upright original images."""
        pairs = zip(self.pixel_maps, self.intrinsics.double(), strict=True)
        return torch.stack([pixel_map.original_intrinsics(intrinsics) for pixel_map, intrinsics in pairs])

    @property
    def valid(self) -> Tensor:
        """bool [V, H, W], where there is a point: finite, in front of its camera, and no padding beside the image."""
        return self._valid(1)

    def _valid(self, step: int) -> Tensor:
        """`valid` of each so many rows and columns."""
        points = self.local_points[:, ::step, ::step]
        finite = points.isfinite().all(-1) & self.confidence[:, ::step, ::step].isfinite()
        inside = torch.zeros(self.confidence.shape, dtype=torch.bool, device=finite.device)
        for view, pixel_map in zip(inside, self.pixel_maps, strict=True):
            left, top, right, bottom = inner_box(pixel_map)
            view[top:bottom, left:right] = True
        return finite & inside[:, ::step, ::step] & (points[..., 2] > 0)

    def to(self, device: torch.device | str) -> Reconstruction:
        """The same on a device."""
        moved: dict[str, Any] = {name: value.to(device) for name, value in vars(self).items() if isinstance(value, Tensor)}
        return replace(self, **moved)

    @classmethod
    def from_geometry(
        cls,
        geometry: Geometry,
        images: Tensor,
        names: Sequence[str] | None = None,
        pixel_maps: Sequence[PixelMap] | None = None,
        *,
        scene: int = 0,
        shared_camera: bool = False,
        square_pixels: bool = True,
        weighted: bool = False,
    ) -> Reconstruction:
        """What a model says of one scene, with intrinsics that are estimated from its points, see `estimate_focal`.

        Args:
            geometry: of B scenes.
            images: uint8 [V, 3, H, W], of the scene.
            names: None: `view_000`, ...
            pixel_maps: None: the images are the originals.
            scene: which of B.
            shared_camera: one focal length for all views, as of a video, or of photographs at one zoom.
            square_pixels: fx = fy.
            weighted: points count by their confidence in the estimate.

        Raises:
            ConfigError: `shared_camera`, but the original images differ in size.
            DataError: a camera is not finite.
        """
        views, _, height, width = images.shape
        whole = PixelMap((width, height), (width, height), (1.0, 1.0), (0.0, 0.0))
        extra = (geometry.depth, geometry.depth_confidence)
        head_depth, head_confidence = (None if part is None else part[scene].detach() for part in extra)
        result = cls(
            images,
            geometry.local_points[scene].detach(),
            geometry.confidence[scene].detach(),
            geometry.cam2world[scene].detach(),
            torch.eye(3, device=geometry.cam2world.device).expand(views, 3, 3),
            [f"view_{view:03d}" for view in range(views)] if names is None else list(names),
            [whole] * views if pixel_maps is None else list(pixel_maps),
            head_depth,
            head_confidence,
        )
        broken = (~result.cam2world.isfinite().flatten(1).all(1)).nonzero().flatten().tolist()
        if broken:
            raise DataError(
                f"the cameras of {len(broken)} of {views} views are not finite numbers "
                f"(the first is {result.names[broken[0]]}): the model's weights are broken, or its precision too low; "
                f"try precision fp32"
            )
        focal = result._focal(shared_camera, square_pixels, weighted)
        result.intrinsics = intrinsics_of(focal, height, width).float()
        return result

    def _focal(self, shared: bool, square: bool, weighted: bool) -> Tensor:
        """float64 [V, 2]; those that make no sense are replaced, and a note is made of it."""
        height, width = self.size
        if shared:
            check_shared(self.pixel_maps)
        weights = torch.where(self.valid, self.confidence if weighted else 1.0, 0.0)
        if shared:
            stride = max(int((weights.numel() / _SHARED_PIXELS) ** 0.5), 1)
            focal = estimate_focal(self.local_points, weights, square=square, shared=True, stride=stride)
        else:
            chunks = zip(self.local_points.split(_CHUNK), weights.split(_CHUNK), strict=True)
            focal = torch.cat([estimate_focal(points, weight, square=square) for points, weight in chunks])
        good = plausible(focal, height, width)
        if not good.all():
            fallback = focal[good].median(0).values if good.any() else focal.new_tensor([_GUESS * max(height, width)] * 2)
            first = self.names[int((~good).nonzero()[0])]
            source = "the median of the others" if good.any() else "a guess"
            self.notes.append(
                f"the points of {int((~good).sum())} of {len(self)} views fit no camera ({first}, ...): "
                f"their focal length is {source}, {float(fallback[0]):.0f} px"
            )
            focal = torch.where(good[:, None], focal, fallback)
        return focal


def check_shared(pixel_maps: Sequence[PixelMap]) -> None:
    """Raises:
    ConfigError: the original images differ in size, so that no camera took all of them at one focal length in pixels.
    """
    if len({(m.original_size, m.scale) for m in pixel_maps}) > 1:
        sizes = sorted({m.original_size for m in pixel_maps})
        told = ", ".join(f"{w} x {h}" for w, h in sizes[:4])
        raise ConfigError(f"shared_camera=True, but the original images have different sizes ({told}); set it to False")
