"""What multi-view correspondence costs beside the forward passes that it needs: two calls to be timed in turns."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from typing import Any

import torch

from muskie.backbones.frozen import FrozenBackbone
from muskie.evaluation.correspondence import CorrespondenceConfig, evaluate_correspondence
from muskie.evaluation.views.posed_views import PosedViews
from muskie.timing import in_turns


def wall_views(scenes: int, views: int, side: int) -> PosedViews:
    """Noise on a wall two metres away, seen by cameras that move along it; nearly all of it is seen by all of them."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (scenes, views, 3, side, side), generator=generator, dtype=torch.uint8)
    focal = float(side)
    intrinsics = torch.tensor([[focal, 0, side / 2], [0, focal, side / 2], [0, 0, 1]], dtype=torch.float64)
    cam2world = torch.eye(4, dtype=torch.float64).repeat(scenes, views, 1, 1)
    cam2world[:, :, 0, 3] = 0.02 * torch.arange(views)
    depth = torch.full((scenes, views, side, side), 2.0)
    return PosedViews(images, depth, intrinsics.expand(scenes, views, 3, 3), cam2world, list(range(scenes)))


def evaluation_and_forward(
    backbone: FrozenBackbone, scenes: int = 1, views: int = 8, side: int = 512, queries: int = 100
) -> dict[str, Callable[[], None]]:
    """The evaluation of some scenes, with all its default read-outs and floors, and the forward pass of the same images.

    Args:
        backbone: what is evaluated.
        scenes, views: of a batch.
        side: of the square images in pixels.
        queries: in the first view of each scene.
    """
    posed = wall_views(scenes, views, side)
    config = CorrespondenceConfig(queries=queries)
    groups = [str(number) for number in posed.numbers]

    def evaluation() -> None:
        evaluate_correspondence([backbone], [posed], groups, config).rows("correspondence", "wall")

    @torch.inference_mode()
    def forward() -> None:
        with backbone.running():
            backbone.model.get_intermediate_layers(posed.images.to(backbone.device))

    return {"evaluation": evaluation, "forward": forward}


def measure_cost(backbone: FrozenBackbone, scenes: int, views: int, side: int, queries: int, rounds: int) -> dict[str, Any]:
    """Seconds of an evaluation and of its forward pass, and the ratio of their medians; see `evaluation_and_forward`."""
    times = in_turns(evaluation_and_forward(backbone, scenes, views, side, queries), rounds, backbone.device)
    wall = {name: [seconds.wall for seconds in values] for name, values in times.items()}
    return {
        **{f"{name}_s": {"median": median(v), "fastest": min(v), "slowest": max(v)} for name, v in wall.items()},
        "cost": median(wall["evaluation"]) / median(wall["forward"]),
        "cost_of_rounds": [a / b for a, b in zip(wall["evaluation"], wall["forward"], strict=True)],
    }
