"""Whether samples have the depth and cameras that they are measured by, asked before anything is measured."""

from __future__ import annotations

from collections.abc import Sequence

from muskie.data.index import SceneIndex
from muskie.errors import DataError
from muskie.evaluation.views.posed_views import read_posed
from muskie.evaluation.views.view_set import ViewSet, evenly, spread

LOOKS = 200
"""Frames of a source that are read at most, before it is said to have no geometry."""

PLACES, FRAMES = 16, 3
"""How many scenes, and frames of each, are looked at where no samples could be chosen."""


def check_samples(sets: Sequence[ViewSet], size: tuple[int, int], depth: bool) -> None:
    """Reads frames of the samples of each source, spread evenly over them, until one has geometry: mostly the first.

    Args:
        sets: the samples.
        size: H and W, at which they will be read.
        depth: known depth is needed, and not a camera alone.

    Raises:
        DataError: of some source no frame that was looked at has it. What cannot be read is no evidence.
    """
    sources: dict[int, dict[tuple[str, str], ViewSet]] = {}
    for views in sets:
        for frame in views.frames:
            alone = ViewSet(views.source, views.scene, (frame,))
            sources.setdefault(id(views.source), {}).setdefault((views.scene.name, frame), alone)
    for frames in sources.values():
        if problem := _lack([*frames.values()], size, depth):
            raise problem


def check_places(index: SceneIndex, size: tuple[int, int], depth: bool) -> None:
    """The same of a few frames of a few scenes, where there are no samples.

    Raises:
        DataError: see `check_samples`.
    """
    check_samples(
        [
            ViewSet(place.source, place.scene, (place.frames[number],))
            for place in spread(index, PLACES * len(index.sources))
            for number in evenly(len(place.frames), FRAMES)
        ],
        size,
        depth,
    )


def _lack(frames: Sequence[ViewSet], size: tuple[int, int], depth: bool) -> DataError | None:
    """What none of the frames that are looked at has; None where one has it, or none can be read."""
    looks = evenly(len(frames), LOOKS)
    problem: DataError | None = None
    for number in looks:
        try:
            read = read_posed(frames[number], size, depth=depth)
        except OSError:
            continue
        except DataError as error:
            problem = problem or error
            continue
        if not depth or (read.depth > 0).any():
            return None
        problem = problem or DataError(
            f"{frames[number].source.name}/{frames[number].scene.name}: no frame has known depth, which the suite needs; "
            f"cameras alone are enough for suite=[pose,trajectory], and for suite=relative_pose"
        )
    return problem and type(problem)(f"{problem} ({len(looks)} of the {len(frames)} frames of the samples were looked at)")
