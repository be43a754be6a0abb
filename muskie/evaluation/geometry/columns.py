"""Which metrics the parts of an evaluation of geometry have, and how tables show them."""

from __future__ import annotations

from typing import Any

from muskie.evaluation.geometry import depth_metrics, pointmap_metrics, pose_metrics, trajectory
from muskie.evaluation.geometry.pointmap_metrics import PointMapConfig

HEADLINES = {
    "pose": ("AUC@5", "AUC@15", "AUC@30", "RRA@15", "RTA@15"),
    "trajectory": trajectory.COLUMNS,
    "pointmap": ("accuracy", "completeness", "overall", "normal consistency", "L1"),
    "depth": ("AbsRel", "δ<1.25"),
}
"""The metrics that a short table has."""

SHARES = frozenset(
    {
        *pose_metrics.columns(),
        *depth_metrics.DELTAS,
        *(f"normal consistency{of}" for of in ("", " (median)", " after ICP")),
        "missing",
        trajectory.FAILED,
    }
)
"""Metrics that are shares in 0 to 1."""


def columns(part: str, config: Any = None) -> list[str]:
    """All metrics of a part, in the order of the table."""
    if part == "pointmap":
        return pointmap_metrics.columns(config if isinstance(config, PointMapConfig) else PointMapConfig())
    return {
        "pose": pose_metrics.columns(),
        "trajectory": list(trajectory.COLUMNS),
        "depth": list(depth_metrics.COLUMNS),
    }[part]
