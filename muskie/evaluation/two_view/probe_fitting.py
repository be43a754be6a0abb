"""Fits linear probes of two-view matching to frozen features, and chooses among them on a validation split.

Test pairs are nowhere in sight: what is given are pairs of the training part. Some of its rooms are kept from training
(`split_pairs`), and on them the best of the grid, and of the checks in the course of training, is chosen by EPE.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count

import torch
from torch import Tensor

from muskie.backbones.frozen import FrozenBackbone
from muskie.errors import DataError
from muskie.evaluation.two_view.dense_matching import DenseMatchingConfig, ProbeKey
from muskie.evaluation.two_view.dense_readout import dense_flow
from muskie.evaluation.two_view.dense_truth import patch_warp, pixel_warp, target_patches
from muskie.evaluation.two_view.linear_probe import Probe, ProbeGrid
from muskie.evaluation.views.posed_views import PosedViews, posed_batches
from muskie.evaluation.views.view_sets import ViewSet
from muskie.streams import stream


def split_pairs(sets: Sequence[ViewSet], share: float, seed: int = 0) -> tuple[list[ViewSet], list[ViewSet]]:
    """Splits pairs into those to train on and those to choose on.

    Whole rooms are kept for the choice, drawn by `seed`. Where all pairs are of one room, the last of them are, in order of
    capture, and pairs that share a frame with those are left out of training.

    Args:
        sets: of the training part.
        share: of rooms, or of pairs, that are kept for the choice, in (0, 1); at least one is, and one is left.
        seed: of the draw of rooms.

    Raises:
        DataError: nothing is left of one of both.
    """
    rooms = sorted({views.group for views in sets})
    if len(rooms) > 1:
        kept = min(max(round(share * len(rooms)), 1), len(rooms) - 1)
        chosen = {rooms[n] for n in stream(seed, "validation rooms").permutation(len(rooms))[:kept]}
        return [s for s in sets if s.group not in chosen], [s for s in sets if s.group in chosen]
    ordered = sorted(sets, key=_captured)
    kept = max(round(share * len(ordered)), 1)
    validation = ordered[-kept:]
    seen = {frame for views in validation for frame in _frames(views)}
    training = [views for views in ordered[:-kept] if not seen & _frames(views)]
    if not training:
        raise DataError(
            f"{len(sets)} pairs of one room cannot be split into some to train probes on and some to choose on without a "
            f"frame in common; take more pairs, a smaller distance, or a smaller validation share than {share:g}"
        )
    return training, validation


def _frames(views: ViewSet) -> set[tuple[str, str]]:
    return {(views.scene.name, frame) for frame in views.frames}


def _captured(views: ViewSet) -> tuple[str, list[int]]:
    return views.scene.name, sorted(views.scene.frames.index(frame) for frame in views.frames)


@dataclass(frozen=True)
class ProbePairs:
    """What probes are fitted to.

    Attributes:
        training, validation: pairs, from `split_pairs`.
        size: H and W of the pictures.
        workers: processes that read ahead; 0: none.
        crop: see `read_posed`.
    """

    training: Sequence[ViewSet]
    validation: Sequence[ViewSet]
    size: tuple[int, int]
    workers: int = 0
    crop: str = "centre"


def fit_probes(backbones: Sequence[FrozenBackbone], pairs: ProbePairs, config: DenseMatchingConfig) -> dict[ProbeKey, Probe]:
    """The best probe for every backbone and layer. All are trained on the same batches, which are read once.

    Args:
        backbones: at least one.
        pairs: of the training part.
        config: how probes are trained, and how flows are read and counted.

    Raises:
        DataError: pictures cannot be read, or no pixel of the validation pairs is seen in both views.
    """
    device = backbones[0].device
    validation = list(posed_batches(pairs.validation, pairs.size, config.step_pairs, pairs.workers, pairs.crop))
    grids: dict[ProbeKey, ProbeGrid] = {}
    best: dict[ProbeKey, Probe] = {}
    checks = {round(config.steps * (number + 1) / config.checks) for number in range(config.checks)}
    for step, views in zip(range(1, config.steps + 1), _endless(pairs, config), strict=False):
        views = views.to(device)
        for key, source, target in _features(backbones, views, config):
            if key not in grids:
                grids[key] = ProbeGrid(source.shape[1], config, device)
            truth = patch_warp(views, (source.shape[-2], source.shape[-1]), config.tolerance)
            classes = target_patches(truth, (target.shape[-2], target.shape[-1]), views.size)
            grids[key].step(source.flatten(2), target.flatten(2), classes.flatten(1))
        if step in checks:
            for key, errors in validation_errors(backbones, grids, validation, config).items():
                number = int(errors.argmin())
                error = float(errors[number])
                if key not in best or error < best[key].error:
                    best[key] = grids[key].probe(number, step, error)
    return best


@torch.no_grad()
def validation_errors(
    backbones: Sequence[FrozenBackbone],
    grids: dict[ProbeKey, ProbeGrid],
    batches: Sequence[PosedViews],
    config: DenseMatchingConfig,
) -> dict[ProbeKey, Tensor]:
    """EPE of every probe of the grids, float64 [K], over all pixels of the batches; very large where training diverged.

    Raises:
        DataError: no pixel is seen in both views.
    """
    device = backbones[0].device
    totals = {key: torch.zeros(len(grid), dtype=torch.float64, device=device) for key, grid in grids.items()}
    counted = torch.zeros((), dtype=torch.int64, device=device)
    for batch in batches:
        views = batch.to(device)
        truth = pixel_warp(views, config.tolerance)
        counted += truth.valid.sum()
        for key, source, target in _features(backbones, views, config):
            sides = (source.shape[-2:], target.shape[-2:])
            for part in grids[key].parts(source.flatten(2), target.flatten(2), views.size):
                both = grids[key].project(part, source.flatten(2), target.flatten(2))
                maps = [x.unflatten(-1, side) for x, side in zip(both, sides, strict=True)]
                found = dense_flow(maps[0], maps[1], views.size, config.temperature, config.flow)  # [K, B, H, W, 2]
                error = (found - truth.positions).norm(dim=-1) * config.unit(views.size)
                totals[key][part] += torch.where(truth.valid, error, 0).sum((1, 2, 3))
    if not counted:
        raise DataError("no pixel of the validation pairs is seen in both views; take pairs that overlap more")
    return {key: (total / counted).nan_to_num(torch.inf) for key, total in totals.items()}


def _features(
    backbones: Sequence[FrozenBackbone], views: PosedViews, config: DenseMatchingConfig
) -> Iterator[tuple[ProbeKey, Tensor, Tensor]]:
    """For every backbone and layer the features of both views, [B, C, h, w] each."""
    for backbone in backbones:
        layers = config.layers_of(backbone)
        for layer, features in zip(layers, backbone.features(views.images, layers, config.norm), strict=True):
            source, target = features.clone().unbind(1)  # tensors of inference mode cannot be trained on
            yield ProbeKey(backbone.name, layer), source, target


def _endless(pairs: ProbePairs, config: DenseMatchingConfig) -> Iterator[PosedViews]:
    """Batches of training pairs, every pass in an order of its own."""
    for turn in count():
        order = stream(config.seed, "probe pairs", turn).permutation(len(pairs.training))
        sets = [pairs.training[number] for number in order]
        yield from posed_batches(sets, pairs.size, config.step_pairs, pairs.workers, pairs.crop)
