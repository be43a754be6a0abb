"""Rules by which frames of one scene are looked at together: at a stated distance, without gaps, or turned alike."""

from __future__ import annotations

import re
from itertools import islice

import numpy as np

from muskie.data.index import Place, SceneIndex
from muskie.errors import DataError
from muskie.evaluation.views.view_set import (
    ENDLESS,
    ViewSet,
    all_places,
    known_camera,
    of_each_length,
    of_each_source,
    spread,
    view_set,
)
from muskie.streams import stream


def spaced(index: SceneIndex, views: int, distance: int, count: int, seed: int = 0) -> list[ViewSet]:
    """Frames at a stated distance: number 0, d, 2d, ... from a start that is drawn, over as many scenes as there are; see
    `of_each_source`.

    Args:
        index: the places to choose from.
        views: frames of a set.
        distance: d, in frames of the source, >= 1.
        count: sets that are wanted, of all sources; where the places have fewer, all they have. No set is given twice.
        seed: of the starts.

    Raises:
        DataError: no scene is long enough.
    """
    return of_each_source(index, count, lambda one, share: _spaced(one, views, distance, share or count, seed))


def _spaced(index: SceneIndex, views: int, distance: int, count: int, seed: int) -> list[ViewSet]:
    span = (views - 1) * distance + 1
    places = spread(index, count, span)
    starts = [stream(seed, "starts", n).permutation(len(place.frames) - span + 1) for n, place in enumerate(places)]
    most = max((len(order) for order in starts), default=0)
    if not most:
        longest = max((len(place.frames) for source in index.sources for place in of_each_length(index, source)), default=0)
        held_out = " held out" if index.part == "heldout" else ""
        nearer = f" or a smaller distance, at most {(longest - 1) // (views - 1)}" if longest >= views else ""
        raise DataError(
            f"{views} views at a distance of {distance} frames span {span} frames, and no scene has so many{held_out} "
            f"(the longest: {longest}); take fewer views{nearer}"
        )
    rounds = (
        view_set(place, range(order[turn], order[turn] + span, distance))
        for turn in range(most)
        for place, order in zip(places, starts, strict=True)
        if turn < len(order)
    )
    return list(islice(rounds, count))


def first_windows(index: SceneIndex, views: int, max_gap: int, endless: int = ENDLESS) -> list[ViewSet]:
    """Of every scene the first run of consecutive frames whose numbers are at most `max_gap` apart (the protocol on
    ScanNet of Muskie, arXiv 2511.18115: 8 views, gaps up to 35). Of a source that may be endless (`uniform_length`),
    `endless` scenes are looked at.

    Raises:
        DataError: no scene has one.
    """
    found = []
    for place in all_places(index, endless):
        numbers = np.array([_number(frame, place) for frame in place.frames])
        wide = np.abs(np.diff(numbers)) > max_gap
        for start in range(len(numbers) - views + 1):
            if not wide[start : start + views - 1].any():
                found.append(view_set(place, range(start, start + views)))
                break
    if not found:
        raise DataError(f"no scene has {views} consecutive frames with gaps of at most {max_gap}; allow wider gaps")
    return found


def nearest_rotations(index: SceneIndex, views: int, every: int, endless: int = ENDLESS) -> list[ViewSet]:
    """Every frame of a scene with those whose cameras are turned least against its own, of which every `every`-th set is
    kept (the protocol on NAVI of Muskie, arXiv 2511.18115: 8 views, every 20th). Frames without a camera are in none;
    `endless` as in `first_windows`.

    Raises:
        DataError: no scene has as many frames with a camera.
    """
    found = []
    for place in all_places(index, endless):
        cameras = {frame: known_camera(place, frame) for frame in place.frames}
        known = [number for number, frame in enumerate(place.frames) if cameras[frame] is not None]
        if len(known) < views:
            continue
        rotations = np.stack([cameras[place.frames[number]].cam2world[:3, :3] for number in known])  # type: ignore[union-attr]
        angles = rotation_angles(rotations[:, None], rotations[None])  # [N, N]
        np.fill_diagonal(angles, -1.0)  # the anchor comes first
        order = np.argsort(angles, axis=1, kind="stable")[:, :views]
        found += [view_set(place, [known[n] for n in row]) for row in order]
    if not found:
        raise DataError(f"no scene has {views} frames with a camera")
    return found[::every]


def rotation_angles(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Angles in degrees, [...], between rotations [..., 3, 3]."""
    trace = np.einsum("...ij,...ij->...", one, other)
    return np.degrees(np.arccos(np.clip((trace - 1) / 2, -1, 1)))


def _number(frame: str, place: Place) -> int:
    digits = re.findall(r"\d+", frame)
    if not digits:
        raise DataError(f"{place.name}: frame {frame!r} has no number, and its distance to others cannot be told")
    return int(digits[-1])
