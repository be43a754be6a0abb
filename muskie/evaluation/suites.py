"""The suites of this package, by name; `muskie.evaluation.suite_registry` says how to add one."""

from __future__ import annotations

from muskie.evaluation.geometry_suites import depth, pointmap, pose, trajectory
from muskie.evaluation.multi_view_suites import correspondence
from muskie.evaluation.suite_registry import find_suite, list_suites, suite
from muskie.evaluation.two_view_suites import dense_matching, probe3d, relative_pose

__all__ = [
    "correspondence",
    "dense_matching",
    "depth",
    "find_suite",
    "list_suites",
    "pointmap",
    "pose",
    "probe3d",
    "relative_pose",
    "suite",
    "trajectory",
]
