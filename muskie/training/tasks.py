"""What is trained: a task joins batch, model and objective. The trainer knows nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from muskie.data.dataset import Views
from muskie.data.plan import StepPlan
from muskie.masking import MaskPolicy
from muskie.models.masked_view import MaskedViewModel
from muskie.objectives.loss import Loss
from muskie.objectives.pixels import MaskedPixels
from muskie.streams import stream


class Task(Protocol):
    """What the trainer asks of a task."""

    @property
    def model(self) -> nn.Module:
        """What is trained."""

    def prepare(self, loaded: Views, step: int, group: int) -> Any:
        """The batch of one size for optimiser step `step`, on the CPU: views dealt, masks drawn. It has `places` and
        `sources`, where each of its scenes comes from and the label of its source."""

    def images(self, batch: Any) -> int:
        """How many images the batch holds."""

    def loss(self, model: nn.Module, batch: Any, device: torch.device) -> Loss:
        """Moves the batch to the device and computes its loss. `model` is `self.model`, perhaps wrapped."""

    def pictures(self, batch: Any, device: torch.device) -> Mapping[str, Tensor]:
        """Pictures of a batch by name, uint8 [3, H, W]."""


@dataclass
class MaskedViews:
    """A batch of masked-view pre-training: `images` uint8 [B, V, 3, H, W], `mask` bool [B, V, h, w], on the CPU, and of
    each scene `places`, where it comes from, and `sources`, the label of its source."""

    images: Tensor
    mask: Tensor
    places: list[str]
    sources: list[str]


class MaskedViewTask:
    """Pre-training: fill in the hidden patches.

    Args:
        model: what is trained.
        masks: draws the masks.
        objective: compares prediction and target.
        plan: of the run.
    """

    def __init__(self, model: MaskedViewModel, masks: MaskPolicy, objective: MaskedPixels, plan: StepPlan) -> None:
        self.model, self.masks, self.objective, self.plan = model, masks, objective, plan
        masks.check(plan.counts, plan.grids)
        if model.encoder.drops_hidden:
            masks.check_even()

    def prepare(self, loaded: Views, step: int, group: int) -> MaskedViews:
        """Permutes the views of each loaded scene, deals them into scenes of V views, draws their masks.

        Every draw is addressed by step, group and sample: ranks agree on shapes and mask kinds, and the masks of a scene
        do not depend on which rank it is on.
        """
        plan = self.plan
        views = plan.views_in(step, group)
        order = torch.from_numpy(plan.permutations(step, group, loaded.samples))  # [B, views]
        images = deal(loaded.images, order, views)
        choice = self.masks.choose(stream(plan.seed, "mask kind", step, group), views)
        parts = loaded.images.shape[1] // views
        rngs = [stream(plan.seed, "mask", step, group, s, part) for s in loaded.samples for part in range(parts)]
        p = plan.patch_size
        mask = self.masks.draw(choice, rngs, views, (images.shape[-2] // p, images.shape[-1] // p))
        if images.is_pinned():
            mask = mask.pin_memory()
        places, sources = ([one for one in names for _ in range(parts)] for names in (loaded.places, loaded.sources))
        return MaskedViews(images, mask, places, sources)

    def images(self, batch: MaskedViews) -> int:
        return batch.images.shape[0] * batch.images.shape[1]

    def loss(self, model: nn.Module, batch: MaskedViews, device: torch.device) -> Loss:
        images = batch.images.to(device, non_blocking=True)
        # The mask stays on the CPU: the number of hidden patches is known there without asking the device.
        prediction = model(images, batch.mask, hidden_only=True)
        target = self.model.targets(images, prediction.hidden)
        return self.objective(prediction.pixels, prediction.confidence, target, prediction.hidden, batch.mask)

    @torch.no_grad()
    def pictures(self, batch: MaskedViews, device: torch.device) -> Mapping[str, Tensor]:
        """The first scene: originals, what the model sees, what it fills in, and its confidence, if it says one."""
        from muskie.visualization.masked_views import masked_view_page

        images, mask = batch.images[:1], batch.mask[:1]
        was_training = self.model.training
        self.model.eval()
        pixels, confidence = self.model.reconstruct(images.to(device), mask.to(device))
        self.model.train(was_training)
        said = confidence[0].cpu() if self.model.confidence else None
        return {"masked_views": masked_view_page(images[0], mask[0], pixels[0].cpu(), said)}


def deal(images: Tensor, order: Tensor, views: int) -> Tensor:
    """Permutes the views of scenes [B, N, 3, H, W] by order int64 [B, N] and deals them -> [B·N/V, V, 3, H, W].

    Page-locked images stay so: from other memory a GPU cannot fetch them without keeping the host waiting.
    """
    scenes, count = order.shape
    rows = (torch.arange(scenes)[:, None] * count + order).flatten()
    dealt = torch.empty((scenes * count, *images.shape[2:]), dtype=images.dtype, pin_memory=images.is_pinned())
    torch.index_select(images.flatten(0, 1), 0, rows, out=dealt)
    return dealt.unflatten(0, (-1, views))


def gain_predictor(model: MaskedViewModel, device: torch.device) -> Any:
    """The model as `muskie.evaluation.cross_view_gain.Predictor`."""

    def predict(images: Tensor, mask: Tensor) -> Tensor:
        images = images.to(device)
        return model.colours(model(images, mask, hidden_only=True), images, mask)

    return predict
