"""Data without depth or cameras is told before anything is trained; what some frames lack is no reason to refuse."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from muskie.data.geometry_check import check_geometry
from muskie.data.index import HoldOut, SceneIndex
from muskie.data.scene import Camera, Frame, Scene
from muskie.data.sources.synthetic import SyntheticRooms
from muskie.errors import DataError


class Partial(SyntheticRooms):
    """Rooms whose frames lack what `lacks` says of them, `"unreadable"` included; counts what is read."""

    lacks: dict[tuple[str, str], tuple[str, ...]] = {}  # noqa: RUF012
    everywhere: tuple[str, ...] = ()
    reads = 0

    def read(self, scene: Scene, frame: str, *, at_least: int | None = None, geometry: bool = False) -> Frame:
        self.reads += 1
        lacks = self.lacks.get((scene.name, frame), self.everywhere)
        if "unreadable" in lacks:
            raise OSError("cannot be read")
        found = super().read(scene, frame, at_least=8, geometry=geometry)
        if "finite" in lacks:
            assert found.camera is not None
            return replace(found, camera=Camera(found.camera.intrinsics, np.full((4, 4), np.nan)))
        if "known" in lacks:
            assert found.depth is not None
            return replace(found, depth=np.zeros_like(found.depth))
        return replace(found, **dict.fromkeys(lacks))  # type: ignore[arg-type]


def source(everywhere: tuple[str, ...] = (), **lacks: tuple[str, ...]) -> Partial:
    made = Partial(scenes=5, frames=4)
    made.everywhere, made.config_key = everywhere, "data.sources.mine"
    made.lacks = {(key.split("_")[0].replace("room", "room-"), key.split("_")[1]): value for key, value in lacks.items()}
    return made


def check(*sources: SyntheticRooms) -> None:
    check_geometry(SceneIndex(list(sources), "train", HoldOut(share=0)))


def test_one_frame_with_both_will_do_and_nothing_more_is_read() -> None:
    whole = source()
    check(whole)
    assert whole.reads == 1
    check(source(("depth",), room000004_000003=()))  # the last frame of the last scene


@pytest.mark.parametrize(
    ("lacks", "words"),
    [
        (("depth",), "it has no depth"),
        (("camera",), "it has no camera"),
        (("finite",), "its camera has numbers that are not finite"),
        (("known",), "its depth is known nowhere"),
    ],
)
def test_what_is_lacking_is_told_with_the_source_and_the_way_out(lacks: tuple[str, ...], words: str) -> None:
    told = f"source 'synthetic' (data.sources.mine): room-000000/000000: {words}, and so for all 6 frames looked at."
    with pytest.raises(DataError, match=re.escape(told)) as error:
        check(source(), source(lacks))
    assert "data=synthetic, sevenscenes" in str(error.value)


def test_what_cannot_be_read_says_nothing() -> None:
    check(source(("unreadable",)))
    with pytest.raises(DataError, match="for all 5 frames looked at"):
        check(source(("depth",), room000000_000000=("unreadable",)))
