"""Pairs of frames by viewpoint angle: by how much the second camera is turned against the first, in degrees.

Probe3D (El Banani et al., CVPR 2024) reports correspondence by bins of it. Where a data set comes without a list of
pairs, they are drawn here, as many in every bin.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice, pairwise
from typing import NamedTuple

import numpy as np

from muskie.data.index import Place, SceneIndex
from muskie.errors import ConfigError, DataError
from muskie.evaluation.two_view.dense_truth import pixel_warp
from muskie.evaluation.views.frame_rules import rotation_angles
from muskie.evaluation.views.posed_views import NoGeometry, read_posed
from muskie.evaluation.views.view_set import ViewSet, spread
from muskie.streams import stream

SCANNET_BINS: tuple[float, ...] = (0, 15, 30, 60, 180)
"""Edges of Probe3D's bins on ScanNet, degrees."""

FRAMES = 300  # of a scene at most, evenly chosen: pairs grow with their square
TRIES, LEAST_TRIES = 10, 500  # candidates that are read for every pair that is wanted, and in any case
LOOK = (64, 64)  # H and W at which overlap is measured


def edge_problems(key: str, edges: Sequence[float]) -> list[str]:
    """What is wrong with the edges of bins, for a ConfigError; `key` is the setting's name."""
    rising = len(edges) > 1 and all(low < high for low, high in pairwise(edges))
    if rising and edges[0] >= 0 and edges[-1] <= 180:
        return []
    return [f"{key}={list(edges)}: expected two or more rising angles in [0, 180] degrees, e.g. {list(SCANNET_BINS)}"]


def bin_members(angles: np.ndarray, edges: Sequence[float]) -> dict[str, np.ndarray]:
    """Which angles [N] lie in each bin: its name -> bool [N]. Bins are half-open; the last one has both its edges."""
    found = {}
    for low, high in pairwise(edges):
        last = high == edges[-1]
        inside = (angles >= low) & ((angles <= high) if last else (angles < high))
        found[f"viewpoint [{low:g}, {high:g}{']' if last else ')'}"] = inside
    return found


class AnglePairs(NamedTuple):
    """Pairs, and what should be told about them.

    Attributes:
        sets: bin by bin.
        notes: a sentence for every bin that has fewer pairs than were wanted.
    """

    sets: list[ViewSet]
    notes: list[str]


def pairs_by_angle(
    index: SceneIndex,
    bins: Sequence[float] = SCANNET_BINS,
    per_bin: int = 64,
    seed: int = 0,
    scenes: int = 64,
    overlap: float = 0.1,
) -> AnglePairs:
    """Draws pairs of frames of one scene, as many in each bin of viewpoint angle, in turn from all scenes.

    Args:
        index: the places to choose from.
        bins: rising edges in degrees.
        per_bin: pairs of a bin; where there are fewer, all that are found.
        seed: of the draws; it also decides which frame of a pair comes first.
        scenes: places that are looked at, spread evenly over each source. Of a place, up to 300 frames are.
        overlap: the share of the first view's pixels of known depth that the second must see, in [0, 1]: cameras that are
            turned alike, or apart, may look at different things. Candidates are read for it, ten a wanted pair at most, or
            500 of a bin where that is more. 0: whatever overlaps, nothing is read but cameras.

    Raises:
        ConfigError: an argument out of range.
        DataError: no frame has a camera, or no bin a pair.
    """
    problems = edge_problems("bins", bins)
    problems += [f"{n}={k}: expected at least 1" for n, k in (("per_bin", per_bin), ("scenes", scenes)) if k < 1]
    if not 0 <= overlap <= 1:
        problems.append(f"overlap={overlap}: expected a share in [0, 1]")
    if problems:
        raise ConfigError("\n".join(problems))
    choices = [_Pairs(place, bins, seed, number) for number, place in enumerate(spread(index, scenes))]
    if not any(len(pairs.frames) > 1 for pairs in choices):
        raise DataError(f"none of {len(choices)} scenes has two frames with a camera, and viewpoint angles need them")
    sets, notes = [], []
    for name in bin_members(np.zeros(0), bins):
        candidates = sum(len(pairs.inside[name]) for pairs in choices)
        found, looked = _take(_in_turn(choices, name), per_bin, overlap)
        sets += found
        if len(found) < per_bin:
            which = f" that overlap by {overlap:g}" if looked else ""
            among = f"{candidates}, of which {looked} were looked at" if looked < candidates and overlap else str(candidates)
            notes.append(f"{name} degrees: {len(found) or 'no'} pairs{which} of {per_bin} wanted, among {among}")
    if not sets:
        raise DataError(
            f"no pair of frames for any bin of viewpoint angle ({'; '.join(notes)}); take other edges of bins"
            + (f" or a smaller overlap than {overlap:g}" if overlap else "")
        )
    return AnglePairs(sets, notes)


class _Pairs:
    """All pairs of a place by bin, in an order that is drawn."""

    def __init__(self, place: Place, edges: Sequence[float], seed: int, number: int) -> None:
        self.place = place
        self.frames, rotations = _cameras(place)
        self.one, self.other = np.triu_indices(len(self.frames), 1)
        members = bin_members(rotation_angles(rotations[self.one], rotations[self.other]), edges)
        rng = stream(seed, "angle pairs", number)
        self.inside = {name: rng.permutation(np.flatnonzero(inside)) for name, inside in members.items()}
        self.swapped = rng.random(len(self.one)) < 0.5

    def view_set(self, pair: int) -> ViewSet:
        names = (self.frames[self.one[pair]], self.frames[self.other[pair]])
        return ViewSet(self.place.source, self.place.scene, names[::-1] if self.swapped[pair] else names)


def _cameras(place: Place) -> tuple[list[str], np.ndarray]:
    """Frames that have a camera, and their rotations [N, 3, 3]."""
    frames, rotations = [], []
    for number in sorted({round(n) for n in np.linspace(0, len(place.frames) - 1, min(FRAMES, len(place.frames)))}):
        try:
            camera = place.source.camera(place.scene, place.frames[number])
        except OSError:
            continue
        if camera is not None:
            frames.append(place.frames[number])
            rotations.append(camera.cam2world[:3, :3])
    return frames, np.reshape(rotations, (-1, 3, 3))


def _in_turn(choices: Sequence[_Pairs], name: str) -> Iterator[ViewSet]:
    for turn in range(max(len(pairs.inside[name]) for pairs in choices)):
        for pairs in choices:
            if turn < len(pairs.inside[name]):
                yield pairs.view_set(pairs.inside[name][turn])


def _take(candidates: Iterator[ViewSet], count: int, overlap: float) -> tuple[list[ViewSet], int]:
    """Up to `count` that overlap, and how many were looked at for it."""
    if not overlap:
        return list(islice(candidates, count)), 0
    found: list[ViewSet] = []
    looked = 0
    for views in islice(candidates, max(TRIES * count, LEAST_TRIES)):
        looked += 1
        if _overlap(views) >= overlap:
            found.append(views)
            if len(found) == count:
                break
    return found, looked


def _overlap(views: ViewSet) -> float:
    """The share of view 0's known pixels that view 1 sees; 0 where a frame cannot be read, or has no geometry.

    It is measured in the largest centred square, whatever crop and shape the pair is then read in: near enough to leave out
    pairs that have nothing in common.
    """
    try:
        pair = read_posed(views, LOOK)
    except (OSError, NoGeometry):
        return 0.0
    known = (pair.depth[:, 0] > 0).sum()
    return float(pixel_warp(pair).valid.sum() / known.clamp(min=1))
