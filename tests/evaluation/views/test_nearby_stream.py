"""What frames near a drawn one depend on: the seed and the scene's names; no other scene, and no global generator."""

from __future__ import annotations

import random

import numpy as np
import torch
from test_protocol_rules import posed
from test_view_sets import everything

from muskie.evaluation.views.protocol_rules import nearby
from muskie.evaluation.views.view_set import SomeScenes, ViewSet

Frames = list[tuple[str, ...]]


def of(sets: list[ViewSet], scene: str) -> Frames:
    return [one.frames for one in sets if one.scene.name == scene]


def test_a_seed_has_its_frames() -> None:
    """Each time, whatever the global generators are at; another seed has other first frames, and others beside them."""
    found = []
    for seed in (0, 0, 1, 2, 0):
        for other in (random.seed, np.random.seed, torch.manual_seed):
            other(len(found))  # type: ignore[operator]
        found.append([one.frames for one in nearby(everything(posed(60)), 6, 8, 60, seed)])
    assert found[0] == found[1] == found[4]
    for one, other in ((0, 2), (0, 3), (2, 3)):
        assert [frames[0] for frames in found[one]] != [frames[0] for frames in found[other]]
        beside = [{frames[0]: frames[1:] for frames in found[which]} for which in (one, other)]
        alike = sum(beside[0][first] == beside[1][first] for first in beside[0])
        assert alike < 6, "of 60 first frames"


def test_scenes_draw_by_their_names() -> None:
    """Of equal length, they have other frames; the same name in another source has others again."""
    index = everything(posed(60, 60, 60))
    sets = nearby(index, 5, 8, 12, seed=3)
    scenes = [of(sets, f"scene{number}") for number in range(3)]
    assert [len(scene) for scene in scenes] == [4, 4, 4] and len({str(scene) for scene in scenes}) == 3
    elsewhere = nearby(everything(posed(60, name="other")), 5, 8, 4, seed=3)
    assert of(elsewhere, "scene0") != scenes[0]


def test_what_else_there_is_changes_no_draw() -> None:
    index = everything(posed(60, 60, 60))
    together = nearby(index, 5, 8, 12, seed=3)
    alone = nearby(SomeScenes(index, ["scene1"], "views.scenes"), 5, 8, 12, seed=3)
    assert of(together, "scene1") == [one.frames for one in alone][:4]
