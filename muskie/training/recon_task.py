"""The task of fine-tuning: points, cameras and confidence of views whose depth and poses are known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from muskie.data.dataset import Views
from muskie.data.plan import StepPlan
from muskie.data.posed_dataset import PosedScenes
from muskie.geometry import invert
from muskie.models.reconstruction import ReconstructionModel
from muskie.objectives.loss import Loss
from muskie.objectives.pointmaps import PointMaps
from muskie.training.tasks import deal


@dataclass
class PosedBatch:
    """A batch of fine-tuning, on the CPU.

    Attributes:
        images: uint8 [B, V, 3, H, W].
        depth: float32 [B, V, H, W], z in metres, 0 = unknown.
        intrinsics: float32 [B, V, 3, 3].
        cam2world: float32 [B, V, 4, 4], of a world that is the first view's camera.
        places: where each scene comes from.
        sources: the label of the source of each.
    """

    images: Tensor
    depth: Tensor
    intrinsics: Tensor
    cam2world: Tensor
    places: list[str]
    sources: list[str]


class ReconstructionTask:
    """Fine-tuning: say where what the views show lies, and where they were taken.

    Args:
        model: what is trained.
        objective: compares prediction and truth.
        plan: of the run.
    """

    def __init__(self, model: ReconstructionModel, objective: PointMaps, plan: StepPlan) -> None:
        self.model, self.objective, self.plan = model, objective, plan

    def prepare(self, loaded: Views, step: int, group: int) -> PosedBatch:
        """Permutes the views of each loaded scene and deals them into scenes of V views."""
        assert isinstance(loaded, PosedScenes)
        views = self.plan.views_in(step, group)
        order = torch.from_numpy(self.plan.permutations(step, group, loaded.samples))  # [B, views]
        images, depth, intrinsics = (deal(x, order, views) for x in (loaded.images, loaded.depth, loaded.intrinsics))
        cam2world = deal(loaded.cam2world, order, views)
        # Near the origin float32 is exact enough, and no device is asked for float64.
        cam2world = (invert(cam2world[:, :1]) @ cam2world).float()
        if images.is_pinned():
            cam2world = cam2world.pin_memory()
        parts = range(loaded.images.shape[1] // views)
        places, sources = ([one for one in names for _ in parts] for names in (loaded.places, loaded.sources))
        return PosedBatch(images, depth, intrinsics, cam2world, places, sources)

    def images(self, batch: PosedBatch) -> int:
        return batch.images.shape[0] * batch.images.shape[1]

    def loss(self, model: nn.Module, batch: PosedBatch, device: torch.device) -> Loss:
        images, *truth = (
            x.to(device, non_blocking=True) for x in (batch.images, batch.depth, batch.intrinsics, batch.cam2world)
        )
        geometry = model(images)
        with torch.autocast(device.type, enabled=False):
            return self.objective(geometry, *truth)

    @torch.no_grad()
    def pictures(self, batch: PosedBatch, device: torch.device) -> Mapping[str, Tensor]:
        """The first scene: pictures, true and predicted depth, confidence."""
        from muskie.visualization.depth_page import depth_page

        was_training = self.model.training
        self.model.eval()
        geometry = self.model(batch.images[:1].to(device))
        self.model.train(was_training)
        z = geometry.local_points[0, ..., 2].cpu()
        return {"depth": depth_page(batch.images[0], batch.depth[0], z, geometry.confidence[0].cpu())}
