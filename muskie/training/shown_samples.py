"""Views to draw: the held-out samples of a run, or anybody's photographs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from muskie.data.crops import Crop
from muskie.data.index import SceneIndex
from muskie.data.loading import build_sources
from muskie.data.sources.folder import ImageFolders
from muskie.errors import ConfigError, DataError
from muskie.evaluation.cross_view_gain import REFERENCES, VIEWS, gain_samples
from muskie.evaluation.views.posed_views import PosedViews, read_posed
from muskie.evaluation.views.view_sets import spaced
from muskie.masking import MaskChoice, MaskPolicy
from muskie.paths import typed_path
from muskie.streams import stream
from muskie.training.evaluation_config import EvaluationConfig
from muskie.training.settings import read_settings

SIDE = 224
"""Side of photographs in pixels where neither the caller nor a run says."""


@dataclass
class Shown:
    """Views of one scene.

    Attributes:
        images: uint8 [V, 3, H, W].
        mask: bool [V, h, w], True = hidden; views 0 and 1 are whole.
        posed: other views of the same data with depth and cameras, for tracks; None: it has none.
        tracked: scene and frames of `posed`; without it, the reason.
        name: of the sample.
    """

    images: Tensor
    mask: Tensor
    posed: PosedViews | None
    tracked: str
    name: str


def run_settings(run: Path) -> dict[str, Any]:
    """The settings of a run, checked."""
    config = OmegaConf.load(run / "config.yaml")
    if not isinstance(config, DictConfig):
        raise ConfigError(f"{run}/config.yaml: a list, and not the configuration of a run")
    return read_settings(config)


def of_run(run: Path, numbers: Sequence[int], patch: int) -> list[Shown]:
    """Samples that a run measures its cross-view gain on, and views for tracks. What a number means does not depend on which
    others are asked for.

    Args:
        run: its folder.
        numbers: of the samples, from 0.
        patch: side of a patch in pixels.

    Raises:
        ConfigError: a number that is out of range, or a run that held nothing out.
    """
    settings = run_settings(run)
    config: EvaluationConfig = settings["evaluation"]
    if outside := [number for number in numbers if not 0 <= number < config.samples]:
        raise ConfigError(
            f"--samples {outside[0]}: expected 0 to {config.samples - 1}, the samples that {run} is measured on"
        )
    if not settings["holdout"].share:
        raise ConfigError(f"{run} held nothing out (holdout.share=0): there are no samples that it has not trained on")
    size = config.side(settings["plan"]["sizes"])
    sources = build_sources(settings["data"])
    heldout = SceneIndex(sources, "heldout", settings["holdout"], VIEWS, max_unusable=settings["max_unusable"])
    fewer = replace(config, samples=max(max(numbers) + 1, 2))
    samples = gain_samples(heldout, SceneIndex(sources, "all"), fewer, size, patch)
    posed = _posed(heldout, config, size, numbers)
    return [Shown(samples.images[n], samples.mask[n], *posed[n], f"sample {n}") for n in numbers]


def _posed(
    heldout: SceneIndex, config: EvaluationConfig, size: int, numbers: Sequence[int]
) -> dict[int, tuple[PosedViews | None, str]]:
    """Of each number views for tracks, with scene and frames; or none, with the reason."""
    try:
        sets = spaced(heldout, VIEWS, config.distance, config.samples, config.seed)
    except DataError as error:
        return dict.fromkeys(numbers, (None, str(error)))
    found: dict[int, tuple[PosedViews | None, str]] = {}
    for number in numbers:
        if number >= len(sets):
            what = f"sets of {VIEWS} views {config.distance} frames apart"
            found[number] = None, f"held-out frames have no more than {len(sets)} {what}, the samples 0 to {len(sets) - 1}"
            continue
        try:
            found[number] = read_posed(sets[number], (size, size)), sets[number].name
        except (DataError, OSError) as error:
            found[number] = None, str(error)
    return found


def of_photographs(folder: Path, size: int | None, patch: int, run: Path | None = None) -> Shown:
    """The first four photographs of a folder, in the natural order of their names, cropped to squares.

    Args:
        folder: of photographs of one scene.
        size: side in pixels, a multiple of `patch`; None: the largest that the run trained at, else 224 or near it.
        patch: side of a patch in pixels.
        run: that a size is taken from.

    Raises:
        ConfigError: a size that no patches fill.
        DataError: fewer than two photographs, or one that cannot be read.
    """
    if size is None:
        size = max(run_settings(run)["plan"]["sizes"]) if run else max(round(SIDE / patch), 1) * patch
    if size < patch or size % patch:
        raise ConfigError(f"--size {size}: expected a multiple of the patch size {patch}")
    source = ImageFolders(typed_path(folder, "--images"))
    scene = source.scene(0)
    names = list(scene.frames)[:VIEWS]
    if len(names) < 2:
        raise DataError(f"--images {folder}: one image in {scene.name!r}; 2 to {VIEWS} of one scene are needed")
    try:
        read = [source.read(scene, name, at_least=size).image for name in names]
    except OSError as error:
        raise DataError(f"--images {folder}: {error}") from error
    images = torch.from_numpy(np.stack([Crop.centre(im.width, im.height, 1.0).image(im, size, size) for im in read]))
    whole = min(REFERENCES, len(names) - 1)
    policy, grid = MaskPolicy(("random",), (0.9,), references=whole), (size // patch, size // patch)
    mask = policy.draw(MaskChoice("random", 0.9, whole), [stream(0, "photographs")], len(names), grid)[0]
    return Shown(images, mask, None, "photographs come without depth and cameras", folder.name)
