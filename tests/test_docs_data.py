"""What the documents on data say of sources and keys, against the code."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from muskie.config import resolve_target, schema
from muskie.data.augmentation import Augmentation
from muskie.data.dataset import ViewDataset
from muskie.data.index import HoldOut, SceneIndex
from muskie.data.plan import SAMPLINGS, StepPlan
from muskie.data.posed_dataset import GeometryCrops, PosedDataset
from muskie.data.requests import Request
from muskie.data.scene import SceneSource
from muskie.data.sources.synthetic import SyntheticRooms
from muskie.training.settings import ROOT, SECTIONS
from muskie.training.trainer_config import TrainerConfig

REPOSITORY = Path(__file__).resolve().parents[1]
GUIDE, SETS = ((REPOSITORY / "docs" / name).read_text(encoding="utf-8") for name in ("data.md", "data_sources.md"))


def _targets() -> Iterator[tuple[str, type[SceneSource]]]:
    """Name and class of each single source of `configs/data`."""
    for file in sorted((REPOSITORY / "configs" / "data").glob("*.yaml")):
        content = yaml.safe_load(file.read_text())
        node = content.get("data", content)
        if "sources" not in node:
            yield file.stem, resolve_target(node, "data")  # type: ignore[misc]  # a class


SOURCES = dict(_targets())
SECTION_OF = {
    found[1]: found[2] for found in re.finditer(r"^### (\S+)\n(.*?)(?=^##|\Z)", SETS, flags=re.MULTILINE | re.DOTALL)
}
ROWS = {found[1]: found[0] for found in re.finditer(r"^\| \[`(\w+)`\]\(data_sources\.md#\1\).*$", GUIDE, re.MULTILINE)}


def test_every_source_has_a_section_and_a_row_and_nothing_else_has() -> None:
    assert len(SOURCES) > 20
    assert set(SECTION_OF) == set(SOURCES)
    assert set(ROWS) == set(SOURCES)


@pytest.mark.parametrize("name", SOURCES)
def test_a_section_has_the_command_and_a_tree_and_only_keys_that_the_source_has(name: str) -> None:
    section, known = SECTION_OF[name], schema(SOURCES[name])
    command = "`python main.py`" if name == "synthetic" else f"`python main.py data={name} data.root=ROOT"
    assert command in section
    assert "```" in section or name == "synthetic"
    named = set(re.findall(r"(?<!/)\bdata\.([a-z_]+)", section + ROWS[name]))
    assert named <= set(known), f"{named - set(known)} of {name}"


@pytest.mark.parametrize("name", SOURCES)
def test_a_row_states_the_window_that_the_source_has(name: str) -> None:
    window, stated = SOURCES[name].window, ROWS[name].split("|")[6].strip()
    if stated.isdecimal():
        assert int(stated) == window
    elif name in ("megadepth", "waymo"):
        assert stated == "all" and window > 10_000
    else:  # as long as the longest scene, or as a chunk; both of a pair
        assert (name, stated) in {("annotations", "all"), ("shards", "a chunk"), ("pairs", "both")}


@pytest.mark.parametrize("name", SOURCES)
def test_a_row_states_masks_where_the_source_has_them(name: str) -> None:
    has = SOURCES[name].mask is not SceneSource.mask
    assert bool(ROWS[name].split("|")[5].strip()) == has


def test_every_key_of_a_section_that_is_named_exists() -> None:
    text = GUIDE + SETS
    known = {
        "plan": set(SECTIONS.arguments["plan"]),
        "augment": {*schema(Augmentation), *schema(GeometryCrops)},
        "holdout": set(schema(HoldOut)),
        "trainer": set(schema(TrainerConfig)),
        "masks": set(schema(SECTIONS.fixed["masks"])),
    }
    for section, keys in known.items():
        named = set(re.findall(rf"\b{section}\.([a-z_]+)", text))
        assert named and named <= keys, f"{section}: {named - keys}"
    # What is sampled, cropped and held out is the subject: all of it is told.
    assert {*known["plan"]} <= set(re.findall(r"\bplan\.([a-z_]+)", GUIDE))
    assert {*known["augment"]} <= set(re.findall(r"\baugment\.([a-z_]+)", GUIDE))
    assert "max_unusable" in ROOT and set(re.findall(r"plan\.sampling=(\w+)", GUIDE)) == set(SAMPLINGS)


def test_every_option_of_a_script_that_is_named_exists() -> None:
    for script in ("index_scenes", "pack_shards", "visualize"):
        folder = REPOSITORY / "scripts"
        text = (folder / f"{script}.py").read_text() + (
            (folder / "visualizing" / "data.py").read_text() if script == "visualize" else ""
        )
        lines = re.findall(rf"python scripts/{script}\.py[^`\n#]*", GUIDE)
        assert lines
        for option in {word for line in lines for word in re.findall(r" (--[a-z-]+)", line)}:
            assert f'"{option}"' in text, f"{script}: {option}"


def test_links_between_the_documents_lead_somewhere() -> None:
    for text in (GUIDE, SETS):
        for target in re.findall(r"\]\(((?!https?:)[^)]+)\)", text):
            file, _, anchor = target.partition("#")
            assert not file or (REPOSITORY / "docs" / file).is_file(), target
            if anchor:
                there = (REPOSITORY / "docs" / file).read_text() if file else text
                lines = re.findall(r"^#+ (.*)$", there, re.MULTILINE)
                assert anchor in {re.sub(r"[^\w -]", "", line).lower().replace(" ", "-") for line in lines}, target


def test_the_source_of_ones_own_is_read_with_and_without_geometry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = re.findall(r"```python\n# my_package\.py.*?\n(.*?)```", GUIDE, flags=re.DOTALL)
    (tmp_path / "my_package.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_package", raising=False)
    rooms = SyntheticRooms(scenes=1, frames=4, image_size=(48, 64))
    truth = [rooms.read(rooms.scene(0), name, geometry=True) for name in rooms.scene(0).frames]
    scene = tmp_path / "root" / "scene"
    for folder in ("images", "depth", "masks"):
        (scene / folder).mkdir(parents=True)
    near = float(np.median(truth[2].depth))  # type: ignore[arg-type]
    for number, frame in enumerate(truth):
        assert frame.depth is not None
        Image.fromarray(np.asarray(frame.image)).save(scene / "images" / f"{number}.jpg", quality=95)
        np.save(scene / "depth" / f"{number}.npy", frame.depth)
        Image.fromarray(255 * (frame.depth < near).astype(np.uint8)).save(scene / "masks" / f"{number}.png")
    cameras = [frame.camera for frame in truth if frame.camera]
    poses = np.stack([camera.cam2world for camera in cameras])
    np.savez(scene / "cameras.npz", intrinsics=cameras[0].intrinsics, cam2world=poses)

    source = resolve_target({"_target_": "my_package.MySource"}, "data")(root=str(tmp_path / "root"))
    assert isinstance(source, SceneSource) and len(source) == 1 and list(source.lengths()) == [4]
    found = source.read(source.scene(0), "2.jpg", geometry=True, at_least=12)
    assert found.image.size == (16, 12) and found.size == (64, 48)  # decoded smaller, depth and camera as stored
    assert found.depth is not None and found.camera is not None
    np.testing.assert_array_equal(found.depth, truth[2].depth)
    np.testing.assert_array_equal(found.camera.intrinsics, cameras[2].intrinsics)
    np.testing.assert_array_equal(found.camera.cam2world, cameras[2].cam2world)
    np.testing.assert_array_equal(source.mask(source.scene(0), "2.jpg"), found.depth < near)
    plan = StepPlan(8, 1, sizes=(32,), views=3, views_per_scene=(3,))
    index = SceneIndex([source], "all", HoldOut(0.0), plan.min_frames)
    views = ViewDataset(index, plan, Augmentation(zoom=1.0))[Request(0, 0, 0)]
    posed = PosedDataset(index, plan, GeometryCrops())[Request(0, 0, 0)]
    assert views.images.shape == posed.images.shape == (1, 3, 3, 32, 32)
    assert posed.depth.shape == (1, 3, 32, 32) and bool((posed.depth > 0).all())
