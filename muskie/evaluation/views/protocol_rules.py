"""The rules of published evaluations of reconstruction: strided sequences, random frames, frames near a drawn one.

Frames without a camera are in no set: their poses could not be measured.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from muskie.data.index import Place, SceneIndex
from muskie.errors import DataError
from muskie.evaluation.views.view_set import ViewSet, known_camera, of_each_source, spread, view_set
from muskie.streams import stream


def strided(index: SceneIndex, views: int | None, distance: int, count: int | None) -> list[ViewSet]:
    """Of every scene its frames number 0, d, 2d, ..., as one set, in the order of capture.

    The tables of π³ (Wang et al., 2025) on point maps have all of them (*keyframes*: d = 200 or 40 on 7-Scenes, 500 or 100
    on NRGBD, 5 on DTU and ETH3D); those on trajectories the first 90 with d = 3.

    Args:
        index: the places to choose from.
        views: of a set at most; None: as many as the scene has.
        distance: d, in frames of the source.
        count: scenes, spread evenly; None: all.

    Raises:
        DataError: no scene has two such frames with a camera.
    """
    found = []
    for place in spread(index, count, distance + 1):
        wanted = range(0, len(place.frames), distance)[:views]
        numbers = [number for number in wanted if known_camera(place, place.frames[number]) is not None]
        if len(numbers) > 1:
            found.append(view_set(place, numbers))
    if not found:
        raise DataError(f"no scene has two frames with a camera that are {distance} frames apart; take a smaller distance")
    return found


def random_frames(index: SceneIndex, views: int, count: int | None, seed: int) -> list[ViewSet]:
    """Of every scene frames that are drawn, in the order of the draw, as VGGT (Wang et al., CVPR 2025) evaluates poses: 10.

    A scene's draw depends on the seed, the source's name and its own alone, so that what else there is changes nothing.

    Args:
        index: the places to choose from.
        views: of a set; scenes of fewer frames with a camera have none.
        count: scenes, spread evenly; None: all.
        seed: of the draws.

    Raises:
        DataError: no scene has as many frames with a camera.
    """
    found = []
    for place in spread(index, count, views):
        order = stream(seed, "random frames", place.source.name, place.scene.name).permutation(len(place.frames))
        numbers = _with_camera(place, order, views)
        if len(numbers) == views:
            found.append(view_set(place, numbers))
    if not found:
        raise DataError(f"no scene has {views} frames with a camera; take fewer views")
    return found


def nearby(index: SceneIndex, views: int, reach: int, count: int, seed: int) -> list[ViewSet]:
    """A frame that is drawn, and others drawn from those up to `reach` before and after it, in the order of the draw.

    So the training and test sets of the Muskie paper are sampled (arXiv 2511.18115; reach 64 frames on 7-Scenes, 128 on
    NRGBD), but for one thing: there a frame may be drawn twice, here no set has one twice.

    Args:
        index: the places to choose from.
        views: of a set.
        reach: frames of the source, either way.
        count: sets that are wanted, of all sources (see `of_each_source`), in turn from all scenes; where there are fewer
            first frames, all they have.
        seed: of the draws.

    Raises:
        DataError: nowhere are as many frames with a camera within reach.
    """
    return of_each_source(index, count, lambda one, share: _nearby(one, views, reach, share or count, seed))


def _nearby(index: SceneIndex, views: int, reach: int, count: int, seed: int) -> list[ViewSet]:
    places = spread(index, count, views)
    rngs = [stream(seed, "nearby frames", place.source.name, place.scene.name) for place in places]
    firsts = [rng.permutation(len(place.frames)) for rng, place in zip(rngs, places, strict=True)]
    found: list[ViewSet] = []
    for turn in range(max(map(len, firsts), default=0)):
        for place, rng, order in zip(places, rngs, firsts, strict=True):
            if turn < len(order) and len(found) < count:
                first = int(order[turn])
                around = range(max(0, first - reach), min(len(place.frames), first + reach + 1))
                others = rng.permutation([number for number in around if number != first])
                numbers = _with_camera(place, [first, *others], views)
                if len(numbers) == views and numbers[0] == first:
                    found.append(view_set(place, numbers))
        if len(found) >= count:
            break
    if not found:
        raise DataError(
            f"nowhere are {views} frames with a camera within {reach} frames; take fewer views or a longer reach"
        )
    return found


def _with_camera(place: Place, numbers: Iterable[int], views: int) -> list[int]:
    """The first `views` of some frames that have a camera."""
    return list(islice((int(n) for n in numbers if known_camera(place, place.frames[int(n)]) is not None), views))
