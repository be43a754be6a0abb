"""The suites of `scripts/evaluate.py` for reconstruction models: poses, trajectories, point maps, depth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from muskie.evaluation.geometry.answers import PARTS, SceneScores, row_answers, trivial_answers, truths
from muskie.evaluation.geometry.columns import HEADLINES, SHARES, columns
from muskie.evaluation.geometry.depth_metrics import DepthConfig
from muskie.evaluation.geometry.nearest import tree_or_error
from muskie.evaluation.geometry.pointmap_metrics import PointMapConfig
from muskie.evaluation.geometry.reconstructors import Reconstructor
from muskie.evaluation.geometry.trajectory import FAILED, MIN_POSES, TrajectoryConfig, check_delta
from muskie.evaluation.geometry.trivial import ROW, TRIVIAL, TRUTH
from muskie.evaluation.material import Material
from muskie.evaluation.results import Table
from muskie.evaluation.suite_registry import GEOMETRY, suite
from muskie.evaluation.views.view_sets import ViewSet

UNMEASURED = {
    "pose": "a single view",
    "trajectory": f"fewer than {MIN_POSES} views, or a camera that does not move",
    "pointmap": "fewer than three pixels of known depth",
    "depth": "no pixel of known depth",
}
"""Why a sample measures nothing."""


@dataclass(frozen=True)
class Plain:
    """A suite without settings."""


@suite(Plain, needs="cameras", takes=GEOMETRY)
def pose(models: Sequence[Reconstructor], material: Material, config: Plain) -> Table:
    """Relative poses of all pairs of views, see `muskie.evaluation.geometry.pose_metrics`."""
    note = (
        "Relative poses of all pairs of views; AUC in the published histogram form, of the larger of both errors; "
        "translations by direction, whatever its sign."
    )
    return _table("pose", "Relative poses", models, material, config, [note])


def _check_delta(config: TrajectoryConfig, sets: Sequence[ViewSet]) -> None:
    check_delta(config.delta, [len(views.frames) for views in sets])


@suite(TrajectoryConfig, needs="cameras", takes=GEOMETRY, check=_check_delta)
def trajectory(models: Sequence[Reconstructor], material: Material, config: TrajectoryConfig) -> Table:
    """Camera centres and steps of the views in their order, see `muskie.evaluation.geometry.trajectory`."""
    step = "each view to the next" if config.delta == 1 else f"each view to the {config.delta}th after it"
    note = (
        f"Root mean squares of each sample, as evo has them, after alignment of all camera centres ({config.alignment}), in "
        f"the unit of the truth; RPE from {step}. A trajectory that cannot be aligned has failed, and counts as a camera "
        f"that stands still at the best place."
    )
    return _table("trajectory", "Trajectories", models, material, config, [note])


@suite(PointMapConfig, needs="views", takes=GEOMETRY)
def pointmap(models: Sequence[Reconstructor], material: Material, config: PointMapConfig) -> Table:
    """Point maps, see `muskie.evaluation.geometry.pointmap_metrics`."""
    tree_or_error()
    note = (
        f"Point maps after alignment ({config.alignment}), distances in the unit of the truth (metres, where it has them)."
    )
    return _table("pointmap", "Point maps", models, material, config, [note])


@suite(DepthConfig, needs="views", takes=GEOMETRY)
def depth(models: Sequence[Reconstructor], material: Material, config: DepthConfig) -> Table:
    """Depth, see `muskie.evaluation.geometry.depth_metrics`."""
    note = f"Depth after alignment ({config.alignment}, one a {config.per})."
    return _table("depth", "Depth", models, material, config, [note])


def _table(
    part: str, title: str, models: Sequence[Reconstructor], material: Material, config: Any, notes: list[str]
) -> Table:
    cameras_alone = part in ("pose", "trajectory")
    sets = material.view_sets(depth=not cameras_alone)
    scores = SceneScores(part)
    # A view without depth is one of unknown depth: it takes part, and has no pixel that counts.
    for views in material.batches(sets, title.lower(), depth=False):
        read = [sets[number] for number in views.numbers]
        scores.scenes([one.group for one in read], [one.category for one in read])
        true = truths(views)
        floors = []
        if material.floors:
            row = [(ROW, row_answers(views))] if cameras_alone else []
            floors = [(TRIVIAL, trivial_answers(views)), *row, (TRUTH, true)]
        for name, said in [*floors, *((model.name, model(views)) for model in models)]:
            for one, truth in zip(said, true, strict=True):
                scores.add(name, PARTS[part](one, truth, config))
    rows = scores.rows(material.data, material.seed, config)
    told = [*material.notes(sets, material.views), *notes, "Means over samples; the full tables also have other averages."]
    told += _unmeasured(part, scores, models[0].name)
    told += [
        f"{model.name} looks at {width} x {height} px, of which its patches are parts; its maps are resized to the truth's."
        for model in models
        if (size := model.looks_at(material.size)) != tuple(material.size)
        for height, width in [size]
    ]
    if part == "trajectory":
        told += _failures(scores, [model.name for model in models])
    if material.floors:
        told.append("*Trivial*: a wall before every camera, all cameras at one place.")
        told += ["*In a row*: each camera to the right of the one before."] if cameras_alone else []
        told.append("*Truth*: what a perfect answer scores.")
    shown = [(metric, "", metric) for metric in HEADLINES[part]]
    return Table(title, told, rows, columns(part, config), shown, SHARES)


def _unmeasured(part: str, scores: SceneScores, model: str) -> list[str]:
    values = scores.values(model, HEADLINES[part][0])
    count = int(np.isnan(values).sum())
    return [f"{count} of {len(values)} samples measure nothing ({UNMEASURED[part]}), and are in no mean."] if count else []


def _failures(scores: SceneScores, models: Sequence[str]) -> list[str]:
    """How often each model failed, where it did."""
    counts = {model: scores.values(model, FAILED) for model in models}
    return [
        f"{model} failed on {int(np.nansum(failed))} of {int((~np.isnan(failed)).sum())} samples."
        for model, failed in counts.items()
        if np.nansum(failed)
    ]
