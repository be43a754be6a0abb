"""The suites of `scripts/evaluate.py` for reconstruction models: poses, point maps, depth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from muskie.evaluation.geometry.answers import HEADLINES, PARTS, SHARES, SceneScores, columns, trivial_answers, truths
from muskie.evaluation.geometry.nearest import tree_or_error
from muskie.evaluation.geometry.pointmap_metrics import PointMapConfig
from muskie.evaluation.geometry.reconstructors import Reconstructor
from muskie.evaluation.material import Material
from muskie.evaluation.results import Table
from muskie.evaluation.suite_registry import GEOMETRY, suite

TRIVIAL, TRUTH = "trivial", "truth"


@dataclass(frozen=True)
class Plain:
    """A suite without settings."""


@suite(Plain, needs="views", takes=GEOMETRY)
def pose(models: Sequence[Reconstructor], material: Material, config: Plain) -> Table:
    """Relative poses of all pairs of views, see `muskie.evaluation.geometry.pose_metrics`."""
    note = (
        "Relative poses of all pairs of views; AUC in the published histogram form, of the larger of both errors; "
        "translations by direction, whatever its sign. Means over scenes."
    )
    return _table("pose", "Relative poses", models, material, PointMapConfig(), [note])


@suite(PointMapConfig, needs="views", takes=GEOMETRY)
def pointmap(models: Sequence[Reconstructor], material: Material, config: PointMapConfig) -> Table:
    """Point maps, see `muskie.evaluation.geometry.pointmap_metrics`."""
    tree_or_error()
    note = f"Point maps after alignment ({config.alignment}), distances in metres. Means over scenes."
    return _table("pointmap", "Point maps", models, material, config, [note])


@suite(Plain, needs="views", takes=GEOMETRY)
def depth(models: Sequence[Reconstructor], material: Material, config: Plain) -> Table:
    """Depth, see `muskie.evaluation.geometry.depth_metrics`."""
    note = "Depth at one robust scale a scene, errors over all its pixels. Means over scenes."
    return _table("depth", "Depth", models, material, PointMapConfig(), [note])


def _table(
    part: str, title: str, models: Sequence[Reconstructor], material: Material, config: PointMapConfig, notes: list[str]
) -> Table:
    sets = material.view_sets()
    scores = SceneScores(part)
    for views in material.batches(sets, title.lower()):
        scores.scenes([sets[number].group for number in views.numbers])
        true = truths(views)
        floors = [(TRIVIAL, trivial_answers(views)), (TRUTH, true)] if material.floors else []
        for name, said in [*floors, *((model.name, model(views)) for model in models)]:
            for one, truth in zip(said, true, strict=True):
                scores.add(name, PARTS[part](one, truth, config))
    rows = scores.rows(material.data, material.seed, config)
    told = [*material.notes(sets, material.views), *notes]
    if material.floors:
        told.append(
            "*Trivial*: a wall before every camera, all cameras at one place. *Truth*: what a perfect answer scores."
        )
    shown = [(metric, "", metric) for metric in HEADLINES[part]]
    return Table(title, told, rows, columns(part, config), shown, SHARES)
