"""The multi-view suite of `scripts/evaluate.py`: correspondence."""

from __future__ import annotations

from collections.abc import Sequence

from muskie.backbones.frozen import FrozenBackbone
from muskie.evaluation import correspondence as multi_view
from muskie.evaluation.correspondence import CorrespondenceConfig
from muskie.evaluation.material import Material, of_pixels
from muskie.evaluation.results import Table
from muskie.evaluation.suite_registry import suite


@suite(CorrespondenceConfig, needs="views")
def correspondence(backbones: Sequence[FrozenBackbone], material: Material, config: CorrespondenceConfig) -> Table:
    """Multi-view correspondence, see `muskie.evaluation.correspondence`."""
    sets = material.view_sets()
    groups = [views.group for views in sets]
    batches = material.batches(sets, "correspondence")
    tally = multi_view.evaluate_correspondence(backbones, batches, groups, config, material.floors)
    rows = tally.rows("correspondence", material.data, material.seed)
    notes = [
        *material.notes(sets, material.views),
        f"{config.queries} queries in each first view. A match is the centre of its patch. {of_pixels(config.scale)}",
    ]
    columns = multi_view.columns(config)
    percent = frozenset(column for column in columns if "@" in column)
    return Table("Multi-view correspondence", notes, rows, columns, multi_view.summary(config), percent)
