"""What each protocol fixes, against the published facts: views, sizes, thresholds. A number that drifts makes every table
that is measured by it another one, and no other test would notice.

The facts are those of the papers and of the code that was published with them, as each entry says.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import pytest

from muskie.config import defaults, resolve_target
from muskie.errors import ConfigError
from muskie.evaluation.settings import SECTIONS, EvaluationSettings
from muskie.overrides import compose_config, read_overrides

CONFIGS = Path(__file__).parents[2] / "configs"

PI3 = {"rule": "strided", "views": None, "samples": None}
VIDEO = {"rule": "strided", "views": 90, "distance": 3, "samples": None}
TEN = {"rule": "random", "views": 10, "samples": None, "seed": 0}
BINS_NAVI, BINS_SCANNET = [0, 30, 60, 90, 120], [0, 15, 30, 60, 180]


class Fixed(NamedTuple):
    """What a protocol fixes: its data set by name, suites, H and W, and settings by their keys."""

    data: str
    suites: list[str]
    size: tuple[int, int]
    settings: dict[str, Any]
    source: str


def views(**more: Any) -> dict[str, Any]:
    return {f"views.{name}": value for name, value in more.items()}


TABLE = {
    "sevenscenes_muskie": Fixed(
        "sevenscenes.SevenScenes", ["pose", "pointmap"], (224, 224),
        {**views(rule="nearby", views=8, reach=64, samples=50), "pointmap.alignment": "sim3"},
        "Muskie: 8 views of 224 px, sets of 50 samples, R = 8 x 8 frames on 7-Scenes",
    ),
    "nrgbd_muskie": Fixed(
        "nrgbd.NeuralRGBD", ["pose", "pointmap"], (224, 224),
        {**views(rule="nearby", views=8, reach=128, samples=50), "pointmap.alignment": "sim3"},
        "the same with R = 16 x 8 frames on NRGBD",
    ),
    "sevenscenes_pi3": Fixed(
        "sevenscenes.SevenScenes", ["pointmap", "pose"], (392, 518),
        {**views(**PI3, distance=200), "pointmap.icp": True, "pointmap.icp_distance": 0.1, "pointmap.alignment": "sim3"},
        "π³: every 200th frame of the test sequences, 518 px wide, Sim(3), ICP up to .1 m",
    ),
    "nrgbd_pi3": Fixed(
        "nrgbd.NeuralRGBD", ["pointmap", "pose"], (392, 518),
        {**views(**PI3, distance=500), "pointmap.icp": True, "pointmap.icp_distance": 0.1, "pointmap.alignment": "sim3"},
        "π³: every 500th frame",
    ),
    "dtu_pi3": Fixed(
        "dtu.DTU", ["pointmap", "pose"], (420, 518),
        {**views(**PI3, distance=5), "pointmap.icp": True, "pointmap.icp_distance": 0.1, "data.split": "test",
         "pointmap.alignment": "sim3"},
        "π³: every 5th view, ICP up to 100 mm",
    ),
    "eth3d_pi3": Fixed(
        "eth3d.ETH3D", ["pointmap", "pose"], (350, 518),
        {**views(**PI3, distance=5), "pointmap.icp": True, "pointmap.icp_distance": 0.1, "pointmap.alignment": "sim3"},
        "π³: every 5th photograph",
    ),
    "co3d_vggt": Fixed(
        "co3d.CO3D", ["pose"], (518, 518), {**views(**TEN), "data.min_images": 50},
        "VGGT: sequences of 50 images or more, 10 random frames, seed 0, 518 px",
    ),
    "realestate10k_vggt": Fixed(
        "realestate10k.RealEstate10K", ["pose"], (294, 518),
        {**views(**TEN), "data.split": "test", "data.min_images": 10},
        "VGGT: 10 random frames of every test clip",
    ),
    "eth3d_vggt": Fixed(
        "eth3d.ETH3D", ["pointmap", "pose"], (350, 518), {**views(**TEN), "pointmap.alignment": "sim3"},
        "VGGT: 10 random frames of every scene, alignment by Umeyama",
    ),
    "scannet_video": Fixed(
        "scannet.ScanNet", ["trajectory", "depth"], (392, 518),
        {**views(**VIDEO), "trajectory.alignment": "sim3", "trajectory.delta": 1, "depth.alignment": "scale",
         "depth.per": "scene"},
        "π³ after MonST3R: 90 frames with stride 3, Sim(3), RPE of delta 1, one robust scale a video",
    ),
    "tum_video": Fixed(
        "tum.TumRGBD", ["trajectory", "depth"], (392, 518),
        {**views(**VIDEO), "trajectory.alignment": "sim3", "trajectory.delta": 1, "depth.alignment": "scale",
         "depth.per": "scene"},
        "the same",
    ),
    "navi": Fixed(
        "navi.Navi", ["correspondence"], (512, 512),
        {**views(rule="nearest_rotations", views=8, every=20, samples=None), "crop": "object",
         "correspondence.queries": 100, "data.split": "valid", "data.require_wild_set": True},
        "Muskie: 8 nearest rotations, every 20th cluster, the last tenth of the scenes, 512 px",
    ),
    "scannet": Fixed(
        "scannet.ScanNet", ["correspondence"], (480, 640),
        {**views(rule="first_windows", views=8, max_gap=35, samples=None), "correspondence.queries": 100},
        "Muskie: the first 8 frames with gaps of at most 35, 480 x 640 px, 100 queries",
    ),
    "probe3d_navi": Fixed(
        "navi.Navi", ["probe3d"], (512, 512),
        {"pairs.rule": "by_angle", "pairs.bins": BINS_NAVI, "probe3d.bins": BINS_NAVI, "crop": "object",
         "probe3d.keep": 1000, "probe3d.grid": [128, 128], "probe3d.pixels": [5, 25, 50],
         "probe3d.centimetres": [1, 2, 5], "probe3d.scale": 512},
        "Probe3D on NAVI",
    ),
    "probe3d_scannet": Fixed(
        "scannet.ScanNet", ["probe3d"], (480, 640),
        {"pairs.rule": "by_angle", "pairs.bins": BINS_SCANNET, "probe3d.bins": BINS_SCANNET, "pairs.samples": 1500,
         "probe3d.keep": 1000, "probe3d.grid": [120, 160], "probe3d.pixels": [5, 10, 20], "probe3d.scale": 120},
        "Probe3D on ScanNet: 1,500 pairs, thresholds at 160 x 120",
    ),
    "scannet1500": Fixed(
        "pairs.PairList", ["relative_pose"], (480, 640),
        {"pairs.rule": "listed", "pairs.samples": None, "relative_pose.degrees": [5, 10, 20], "relative_pose.signed": False,
         "data.intrinsics_size": [1296, 968]},
        "SuperGlue (arXiv 1911.11763): 1,500 listed pairs at 640 x 480, AUC at 5, 10, 20 degrees",
    ),
    "rooms": Fixed(
        "synthetic.SyntheticRooms", ["pose", "trajectory", "pointmap", "depth"], (224, 224),
        {**views(rule="spaced", views=8, distance=4, samples=64), "data.seed": 20251118, "data.scenes": 64,
         "data.frames": 64},
        "ours",
    ),
}  # fmt: skip

TEST_SEQUENCES = {
    "chess": (3, 5), "fire": (3, 4), "heads": (1,), "office": (2, 6, 7, 9), "pumpkin": (1, 7),
    "redkitchen": (3, 4, 6, 12, 14), "stairs": (1, 4),
}  # fmt: skip
"""Of each room of 7-Scenes, by the `TestSplit.txt` that comes with it."""


def settings(*words: str) -> EvaluationSettings:
    overrides = read_overrides([*words], CONFIGS, "evaluate", SECTIONS.names())
    return EvaluationSettings(compose_config(CONFIGS, "evaluate", ["backbone=muskie_tiny", *overrides]))


def test_every_protocol_is_in_the_table() -> None:
    assert set(TABLE) == {path.stem for path in (CONFIGS / "protocol").glob("*.yaml")}


@pytest.mark.parametrize("name", TABLE)
def test_what_a_protocol_fixes(name: str, tmp_path: Path) -> None:
    fixed = TABLE[name]
    pytest.importorskip("poselib") if "relative_pose" in fixed.suites else None
    needs = [] if name == "rooms" else [f"data.root={tmp_path}"]
    read = settings(f"protocol={name}", *needs, *([f"data.pairs={tmp_path}"] if name == "scannet1500" else []))
    data = dict(read.values["data"])
    assert data.pop("_target_") == f"muskie.data.sources.{fixed.data}"
    assert ([suite.name for suite in read.suites], read.size) == (fixed.suites, fixed.size), fixed.source
    assert read.values["part"] == "all", "published frames are all measured, whoever was trained on them"
    for key, value in fixed.settings.items():
        section, _, last = key.partition(".")
        if section == "data":
            found = {**defaults(resolve_target(read.values["data"], "data")), **data}[last]
        else:
            found = getattr(read.values[section], last) if last else read.values[section]
        assert (list(found) if isinstance(found, tuple) else found) == value, f"{key}: {fixed.source}"


def test_the_test_sequences_of_7_scenes(tmp_path: Path) -> None:
    read = settings("protocol=sevenscenes_pi3", f"data.root={tmp_path}")
    expected = [f"{room}/seq-{number:02d}" for room, numbers in TEST_SEQUENCES.items() for number in numbers]
    assert list(read.values["views"].scenes) == expected and len(expected) == 18
    assert settings("protocol=sevenscenes_muskie", f"data.root={tmp_path}").values["views"].scenes is None


@pytest.mark.parametrize("name", [name for name in TABLE if name != "rooms"])
def test_a_protocol_without_its_data_says_what_to_give(name: str) -> None:
    with pytest.raises(ConfigError, match=r"^data\.(root|pairs, data\.root) must be given, e\.g\. data\.\w+=PATH$"):
        settings(f"protocol={name}")


@pytest.mark.parametrize("name", TABLE)
def test_a_protocol_on_other_data(name: str, tmp_path: Path) -> None:
    pytest.importorskip("poselib") if "relative_pose" in TABLE[name].suites else None
    read = settings(f"protocol={name}", "data=nrgbd", f"data.root={tmp_path}")
    assert read.values["data"] == {"_target_": "muskie.data.sources.nrgbd.NeuralRGBD", "root": str(tmp_path)}


def test_settings_of_no_data_set() -> None:
    with pytest.raises(
        ConfigError, match=r"data\.root, data\.split: settings of no data set; name it too, e\.g\. data=seven"
    ):
        settings("data.root=here", "data.split=test")
