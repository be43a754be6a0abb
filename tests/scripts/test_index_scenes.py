"""Describing a data set: every number that is told is that of the frames that were written."""

from __future__ import annotations

import importlib
import json
import os
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from muskie.data.listing.look import Measured, Run, disagreement, everything, look_at, spread
from muskie.data.listing.summary import Thinned, summary
from muskie.data.rooms import camera_path, make_room, render
from muskie.data.scene import Camera, Frame, Scene
from muskie.data.sources.sevenscenes import COLOUR_INTRINSICS, COLOUR_TO_DEPTH, SevenScenes
from muskie.data.sources.synthetic import SyntheticRooms
from muskie.errors import ConfigError
from muskie.streams import stream

REPOSITORY = Path(__file__).parents[2]
HEIGHT, WIDTH = 48, 64
Call = Callable[[str], Any]


def write(folder: Path, count: int, seed: int = 0) -> None:
    """A sequence of 7-Scenes, rendered."""
    folder.mkdir(parents=True)
    rng = stream(seed, "a room")
    room = make_room(rng)
    intrinsics = COLOUR_INTRINSICS * np.array([[WIDTH / 640], [HEIGHT / 480], [1]])
    for number, cam2world in enumerate(camera_path(room, count, rng)):
        rgb, depth = render(room, cam2world, intrinsics, (HEIGHT, WIDTH))
        stem = f"{folder}/frame-{number:06d}"
        Image.fromarray(rgb).save(f"{stem}.color.png")
        Image.fromarray(np.round(1000 * depth).astype(np.uint16)).save(f"{stem}.depth.proj.png")
        np.savetxt(f"{stem}.pose.txt", cam2world @ np.linalg.inv(COLOUR_TO_DEPTH), fmt="%.12f")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("seven")
    for seed, (name, count) in enumerate({"chess/seq-01": 12, "chess/seq-02": 6, "stairs/seq-01": 26}.items()):
        write(root / name, count, seed)
    for path in (root, *root.rglob("*")):
        os.utime(path, (10**9, 10**9))
    return root


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    monkeypatch.setenv("MUSKIE_CACHE", str(tmp_path / "cache"))
    monkeypatch.syspath_prepend(str(REPOSITORY / "scripts"))
    sys.modules.pop("index_scenes", None)
    return importlib.import_module("index_scenes")


@pytest.fixture
def describe(script: Any, capsys: pytest.CaptureFixture[str]) -> Call:
    """What a command line prints as JSON."""

    def run(words: str) -> Any:
        capsys.readouterr()
        script.main([*words.split(), "--json", "--workers", "0"])
        return json.loads(capsys.readouterr().out)

    return run


def test_numbers_of_scenes_and_frames(written: Path, describe: Call) -> None:
    (told,) = describe(f"data=sevenscenes data.root={written} --look 0")
    assert told["source"] == "sevenscenes" and told["class"].endswith("SevenScenes") and told["root"] == str(written)
    assert (told["scenes"], told["rooms"], told["frames"], told["frames_a_scene"]) == (3, 2, 44, [6, 12, 26])
    assert told["shorter_than"] == {"8": 1, "24": 2} and told["problems"] == {"count": 0, "first": []}
    assert told["left_out"] == 0 and "looked" not in told and told["overlaps"] == {}
    file = Path(told["index"]["file"])
    assert told["index"]["bytes"] == file.stat().st_size > 0 and told["index"]["looked_for"] == ""
    (again,) = describe(f"data=sevenscenes data.root={written} data.min_images=8 --look 0")
    assert again["index"]["looked_for"] is None and again["left_out"] == 1 and again["scenes"] == 2
    (anew,) = describe(f"data=sevenscenes --anew data.root={written} --look 0")
    assert anew["index"]["looked_for"] == "it was asked for" and anew["index"]["file"] == str(file)


def test_what_frames_are_like(written: Path, describe: Call) -> None:
    (told,) = describe(f"data=sevenscenes data.root={written} --all")
    looked = told["looked"]
    assert looked["frames"] == 44 and looked["sizes"] == [[WIDTH, HEIGHT, 1.0]] and looked["other_sizes"] == 0
    assert looked["unreadable"] == looked["wrong"] == {"count": 0, "first": []}
    assert (looked["depth"], looked["camera"], looked["mask"]) == (1, 1, 0)
    np.testing.assert_allclose(looked["focal"], [52.5] * 3)
    np.testing.assert_allclose(looked["focal_of_width"], [525 / 640] * 3)
    source = SevenScenes(written)
    read = [source.read(scene, name, geometry=True) for scene in map(source.scene, range(3)) for name in scene.frames]
    depth = np.stack([frame.depth for frame in read if frame.depth is not None])
    assert looked["depth_known"] == pytest.approx((depth > 0).mean())
    np.testing.assert_allclose(looked["depth_range"], np.percentile(depth[depth > 0], [5, 50, 95]), rtol=0.02)
    assert looked["compared"] == 41, "each with the one before it"
    assert looked["disagreement"] < 0.005, "rendered exactly, but for the rounding to millimetres and to pixels"


def test_some_frames_stand_for_all(written: Path, describe: Call) -> None:
    whole = describe(f"data=sevenscenes data.root={written} --all")[0]["looked"]
    some = describe(f"data=sevenscenes data.root={written} --look 9")[0]["looked"]
    assert some["frames"] == some["compared"] == 9 and some["focal"] == whole["focal"]
    np.testing.assert_allclose(some["depth_range"], whole["depth_range"], rtol=0.3)


def test_processes_see_what_one_sees(written: Path, script: Any, capsys: pytest.CaptureFixture[str]) -> None:
    told = []
    for workers in (0, 1):
        script.main(f"data=sevenscenes data.root={written} --all --overlaps --workers {workers} --json".split())
        (found,) = json.loads(capsys.readouterr().out)
        told.append({name: value for name, value in found.items() if name != "index"})
    assert told[0] == told[1]


@pytest.fixture
def spoilt(written: Path, tmp_path: Path) -> Path:
    """12 frames: a picture cut off, one that is empty, a pose that is none, one that is no text, a depth map cut off."""
    root = tmp_path / "spoilt"
    write(root / "chess" / "seq-01", 12)
    stem = str(root / "chess" / "seq-01" / "frame-{:06d}.{}")
    Path(stem.format(0, "color.png")).write_bytes(Path(stem.format(1, "color.png")).read_bytes()[:-300])
    Path(stem.format(2, "color.png")).write_bytes(b"")
    np.savetxt(stem.format(4, "pose.txt"), np.diag([2, 2, 2, 1]))
    Path(stem.format(6, "pose.txt")).write_text("none")
    Path(stem.format(8, "depth.proj.png")).write_bytes(Path(stem.format(8, "depth.proj.png")).read_bytes()[:60])
    Path(stem.format(10, "depth.proj.png")).unlink()
    Path(stem.format(11, "pose.txt")).unlink()
    Image.new("RGB", (80, 60)).save(stem.format(11, "color.png"))
    return root


def test_what_is_wrong_is_named(spoilt: Path, describe: Call) -> None:
    (told,) = describe(f"data=sevenscenes data.root={spoilt} --all max_unusable=0.5")
    looked = told["looked"]
    assert looked["unreadable"]["count"] == 2 and looked["wrong"]["count"] == 3
    for number, message in zip((0, 2), looked["unreadable"]["first"], strict=True):
        assert message.startswith(f"chess/seq-01/frame-{number:06d}.color.png: {spoilt}")
    for number, words, message in zip(
        (4, 6, 8), ("is no rotation", "pose.txt", "depth.proj.png"), looked["wrong"]["first"], strict=True
    ):
        assert message.startswith(f"chess/seq-01/frame-{number:06d}.color.png: ") and words in message
    assert looked["sizes"] == [[WIDTH, HEIGHT, 0.9], [80, 60, 0.1]]
    # Of the ten that can be read: geometry of 4, 6 and 8 cannot be, 10 has no depth, and 11 has no camera.
    assert looked["depth"] == pytest.approx(0.6) and looked["camera"] == pytest.approx(0.6)


def test_too_many_unusable_frames_end_with_status_1(
    spoilt: Path, describe: Call, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        describe(f"data=sevenscenes data.root={spoilt} --all")
    message = str(left.value)
    assert "'sevenscenes': 5 of 12 frames are unusable, more than max_unusable=0.05: 2 pictures cannot be read" in message
    assert json.loads(capsys.readouterr().out)[0]["looked"]["frames"] == 12, "they are described all the same"
    allowed = message.rpartition("max_unusable=")[2]
    describe(f"data=sevenscenes data.root={spoilt} --all max_unusable={allowed}")
    describe(f"data=sevenscenes data.root={spoilt}")


def test_overlaps_are_measured_and_kept(written: Path, describe: Call) -> None:
    (told,) = describe(f"data=sevenscenes data.root={written} --overlaps --look 0 plan.overlap=[0.5,0.9]")
    overlaps = told["overlaps"]
    assert Path(overlaps["file"]).is_file() and overlaps["range"] == [0.5, 0.9]
    table = SevenScenes(written).overlap_table
    assert table is not None and table.steps.shape == (44, 48)
    counts = (table.steps != 0).sum(1)
    assert (overlaps["least"], overlaps["median"], overlaps["most"]) == (counts.min(), np.median(counts), counts.max())
    assert counts.max() <= 25 and overlaps["without"] == (counts == 0).mean()
    within = ((table.shares >= 0.5 * 255) & (table.shares <= 0.9 * 255)).sum(1)
    assert overlaps["median_within"] == np.median(within)
    (later,) = describe(f"data=sevenscenes data.root={written} --look 0 plan.overlap=[0.5,0.9]")
    assert later["overlaps"] == overlaps


def test_lines_for_people(spoilt: Path, written: Path, script: Any, capsys: pytest.CaptureFixture[str]) -> None:
    script.main(f"data=sevenscenes data.root={spoilt} --all --workers 0 --overlaps max_unusable=1".split())
    told = capsys.readouterr().out
    for line in (
        r"  scenes        1, 1 rooms",
        r"  frames        12; of a scene 12 / 12 / 12 (fewest, median, most)",
        r"  short scenes  0 of fewer than 8 frames, 1 of fewer than 24 frames",
        r"  pictures      64x48 90.0%, 80x60 10.0%",
        r"  unreadable    2",
        r"  wrong         3",
        r"  without       mask",
    ):
        assert line in told.splitlines()
    assert "made now in" in told and "focal length 52.5 to 52.5 pixels, 0.82 to 0.82 of the width" in told
    assert "neighbours of a frame: 0 / 0 / 4 (fewest, median, most)" in told and "disagrees" not in told
    script.main(f"data=sevenscenes data.root={written}".split())
    assert re.search(
        r"  neighbours    their depth disagrees by 0\.\d\d% \(median of \d\d pairs\)\n", capsys.readouterr().out
    )


def test_names_that_cannot_be_printed(script: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    odd = os.fsdecode(b"a\nb\xff")
    (tmp_path / "data" / odd).mkdir(parents=True)
    (tmp_path / "data" / odd / "0.png").write_bytes(b"")
    words = ["data=folder", f"data.root={tmp_path / 'data'}", "--workers", "0"]
    script.main(words)
    assert r"a\nb\udcff/0.png: " in capsys.readouterr().out
    script.main([*words, "--json"])
    assert json.loads(capsys.readouterr().out)[0]["looked"]["unreadable"]["first"][0].startswith(f"{odd}/0.png: ")


def test_each_source_of_a_mixture_is_described(written: Path, describe: Call, tmp_path: Path) -> None:
    (tmp_path / "configs" / "data").mkdir(parents=True)
    (tmp_path / "configs" / "data" / "mine.yaml").write_text(
        "sources:\n"
        f"  real: {{_target_: muskie.data.sources.sevenscenes.SevenScenes, root: {written}}}\n"
        "  made: {_target_: muskie.data.sources.synthetic.SyntheticRooms, image_size: [16, 24]}\n"
    )
    real, made = describe(f"--config-dir {tmp_path / 'configs'} data=mine --all")
    assert real["source"] == "real" and real["all"] and real["looked"]["frames"] == 44
    assert made["source"] == "made" and made["index"] is None and made["root"] is None and made["overlaps"] is None
    assert made["endless"] and not made["all"] and made["rooms"] is None and made["frames"] == 64_000_000
    assert made["looked"]["frames"] == 64 and made["looked"]["sizes"] == [[24, 16, 1.0]]
    assert made["looked"]["compared"] > 50 and made["looked"]["disagreement"] < 0.02


def test_mistakes(script: Any, written: Path, image_root: Path) -> None:
    for words, message in {
        "data=folder": "data.root must be given",
        f"data=folder data.root={written}/none": "does not exist",
        "data=fodler": "did you mean 'folder'?",
        "--look -1": "--look -1: expected 0 or more",
        "--workers -2": "--workers -2: expected 0 or more",
        "--overlaps": "--overlaps: source 'synthetic' (SyntheticRooms) keeps no index",
        f"data=folder data.root={image_root} --overlaps --workers 0": "no two frames of a scene are known to overlap",
    }.items():
        with pytest.raises(SystemExit) as left:
            script.main(words.split())
        assert str(left.value).startswith("error: ") and message in str(left.value), words


def test_a_cache_that_cannot_be_written_to_is_told_before_any_work(
    script: Any, written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MUSKIE_CACHE", str(tmp_path / "file"))
    with pytest.raises(SystemExit, match="set MUSKIE_CACHE to a folder that can"):
        script.main(f"data=sevenscenes data.root={written} --overlaps --workers 0".split())


# What it is made of


@pytest.mark.parametrize("count", [1, 3, 7, 64, 1000])
@pytest.mark.parametrize("scenes", [1, 5, 100])
def test_looks_are_spread_over_scenes_and_frames(scenes: int, count: int) -> None:
    runs = spread(SyntheticRooms(scenes=scenes, frames=40), count)
    assert len(set(runs)) == len(runs) == min(count, scenes * 40)
    by_scene = np.bincount([run.scene for run in runs], minlength=scenes)
    assert by_scene.max() - by_scene.min() <= 1
    middle = np.mean([run.start for run in runs])
    assert count < 7 or 12 < middle < 27


def test_all_runs_hold_every_frame_once() -> None:
    runs = list(everything(SyntheticRooms(scenes=3, frames=70)))
    frames = [(run.scene, number) for run in runs for number in range(run.start, run.stop)]
    assert frames == [(scene, number) for scene in range(3) for number in range(70)]
    assert max(run.stop - run.start for run in runs) <= 32


def test_a_wrong_pose_is_seen_by_the_neighbours() -> None:
    """Two frames of a wall at 2 m, one of which stands 10 cm nearer to it than its pose says."""
    intrinsics = np.array([[200.0, 0, 160], [0, 200, 120], [0, 0, 1]])
    wall = np.full((240, 320), 2, np.float32)
    sound = Measured(wall, Camera(intrinsics, np.eye(4)))
    assert disagreement(sound, sound) == pytest.approx(0, abs=1e-9)
    assert disagreement(sound, Measured(wall - np.float32(0.1), sound.camera)) == pytest.approx(0.1 / 1.9, rel=1e-5)
    aside = np.eye(4)
    aside[0, 3] = 100
    assert disagreement(sound, Measured(wall, Camera(intrinsics, aside))) is None
    assert disagreement(Measured(0 * wall, sound.camera), sound) is None


def test_the_pixels_that_are_looked_for_are_where_they_were() -> None:
    """A floor whose depth changes across the picture: every third pixel is still at its place."""
    intrinsics = np.array([[200.0, 0, 160], [0, 200, 150], [0, 0, 1]])
    y = (np.arange(300) + 0.5 - 150) / 200
    floor = np.broadcast_to((1 / (0.9 + y))[:, None], (300, 320)).astype(np.float32)
    same = Measured(floor, Camera(intrinsics, np.eye(4)))
    assert disagreement(same, same) == pytest.approx(0, abs=1e-6)


def test_neighbours_are_read_for_the_comparison_alone() -> None:
    source = SyntheticRooms(scenes=1, frames=3, image_size=48)
    for run, compared in {
        Run(0, 0, 1, True): [True],
        Run(0, 2, 3, True): [True],
        Run(0, 1, 2, False): [False],
        Run(0, 0, 3, False): [False, True, True],
    }.items():
        assert [look.disagreement is not None for look in look_at(source, run)] == compared
    (alone,) = look_at(SyntheticRooms(scenes=1, frames=1, image_size=48), Run(0, 0, 1, True))
    assert alone.disagreement is None and alone.camera and alone.size == (48, 48) and alone.known == 1


class Wrong(SyntheticRooms):
    """Frame 0 has a pose that is scaled, 1 depth of another size, 2 a mask that cannot be read, 3 depth known nowhere."""

    def read(self, scene: Scene, frame: str, *, at_least: int | None = None, geometry: bool = False) -> Frame:
        found = super().read(scene, frame, at_least=at_least, geometry=geometry)
        assert found.depth is not None and found.camera is not None
        if frame == "000000":
            return replace(found, camera=Camera(found.camera.intrinsics, found.camera.cam2world @ np.diag([2, 2, 2, 1])))
        if frame == "000001":
            return replace(found, depth=found.depth[:-1])
        return replace(found, depth=np.full_like(found.depth, np.nan)) if frame == "000003" else found

    def mask(self, scene: Scene, frame: str) -> np.ndarray | None:
        if frame == "000002":
            raise OSError("mask.png: broken")
        return np.ones((8, 8), dtype=bool) if frame == "000004" else None


def test_what_a_source_may_give_that_is_wrong() -> None:
    scaled, smaller, masked, nowhere, sound = looks = look_at(Wrong(scenes=1, frames=5, image_size=48), Run(0, 0, 5, False))
    assert scaled.wrong.startswith("its camera has a pose whose rotation R is none") and not scaled.camera
    assert smaller.wrong.startswith("its depth has shape (47, 48) and its picture (48, 48)") and smaller.camera
    assert masked.wrong == "its mask: mask.png: broken" and masked.depths is not None
    assert nowhere.wrong == "" and nowhere.known == 0 and nowhere.depths is None
    assert sound.wrong == "" and [look.mask for look in looks] == [False, False, False, False, True]
    assert all(look.disagreement is None for look in looks), "none stands beside a sound one"
    told = summary(looks)
    assert told["wrong"]["count"] == 3 and (told["depth"], told["camera"], told["mask"]) == (0.8, 0.8, 0.2)


def test_thinned_values_stay_few_and_even() -> None:
    thinned = Thinned(most=100)
    for value in range(10_000):
        thinned.add(float(value))
        thinned.add(None)
    assert 50 <= len(thinned.values) <= 100 and len(set(np.diff(thinned.values))) == 1 and thinned.count == 10_000
    found = thinned.percentiles(5, 50, 95)
    assert found is not None
    np.testing.assert_allclose(found, [500, 5000, 9500], atol=200)
    assert Thinned().percentiles(50) is None


def test_overlaps_need_a_source_that_lists() -> None:
    from muskie.data.listing.measure import measure_overlaps

    with pytest.raises(ConfigError, match="only sources that list a folder do"):
        measure_overlaps(SyntheticRooms(scenes=1))
