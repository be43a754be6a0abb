"""What is wrong with an evaluation is said before data is listed or a model loaded; lists are read once."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import muskie.evaluation.settings
from muskie.errors import ConfigError, DataError
from muskie.evaluation.settings import SECTIONS, EvaluationSettings
from muskie.overrides import compose_config, read_overrides

CONFIGS = Path(__file__).parents[2] / "configs"
ROOMS = "data=synthetic data.scenes=4 data.frames=6 size=16 views.views=2 views.distance=1 views.samples=3"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def settings(words: str, typed: Collection[str] | None = None) -> EvaluationSettings:
    overrides = read_overrides(words.split(), CONFIGS, "evaluate", SECTIONS.names())
    return EvaluationSettings(compose_config(CONFIGS, "evaluate", overrides), typed)


def frozen(words: str) -> Path:
    read = settings(words)
    return read.freeze(read.material())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("freeze=there.json", "freeze='there.json' is there already, and a frozen list is not written anew"),
        ("freeze=there.json/new.json", r"freeze='there.json/new.json' cannot be written \(.*there.json is no folder\)"),
        ("freeze=new.json views.list=there.json", "views.list='there.json' is frozen already; leave it out, or freeze"),
        ("freeze=new.json suite=[correspondence,probe3d]", "freeze writes views or pairs, and the suites need not one of"),
        ("backbone=x out=there.json", r"out='there.json' cannot be written \(.*there.json is no folder\)"),
        ("backbone=x out=there.json/below", r"out='there.json/below' cannot be written"),
    ],
)
def test_what_could_not_be_written_is_said_first(words: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(muskie.evaluation.settings, "build_sources", None)
    Path("there.json").write_text(json.dumps(A_LIST))
    with pytest.raises(ConfigError, match=message):
        settings(f"data=synthetic {words}")
    assert [path.name for path in Path().iterdir()] == ["there.json"]


A_LIST: dict[str, Any] = {
    "format": "muskie views",
    "version": 1,
    "rule": {"rule": "nearby", "views": 8, "reach": 5, "samples": None, "seed": 0, "scenes": None},
    "samples": [["synthetic", "room-000001", ["000000", "000001"]]],
}


def test_typed_settings_are_held_against_the_list() -> None:
    Path("list.json").write_text(json.dumps(A_LIST))
    start = "backbone=x data=synthetic views.list=list.json"
    settings(start)
    settings(f"{start} views.views=8 views.reach=5 views.samples=null")
    for typed in ("views.reach=64", "views.rule=spaced", "views.samples=64"):  # the defaults
        with pytest.raises(ConfigError) as error:
            settings(f"{start} {typed}")
        name = typed.partition("=")[0].removeprefix("views.")
        assert str(error.value).startswith(f"{typed}: 'list.json' was drawn with {name}={A_LIST['rule'][name]}, and a list")
    with pytest.raises(
        ConfigError, match=r"views\.distance=4: 'list.json' was drawn with rule=nearby, which does not go by d"
    ):
        settings(f"{start} views.distance=4")
    with pytest.raises(ConfigError, match=r"pairs\.views=2: 'list.json' was drawn with views=8"):
        settings("backbone=x data=synthetic suite=dense_matching pairs.list=list.json pairs.views=2")


def test_a_list_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    frozen(f"freeze=list.json {ROOMS} suite=pose")
    reads: list[Path] = []
    read_bytes = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: reads.append(path) or read_bytes(path))
    read = settings(f"backbone=x {ROOMS} suite=pose views.list=list.json")
    material = read.material()
    sets = read.suites[0].choose(material)
    assert "as listed in list.json" in material.notes(sets, material.views)[0] and read.resolved["views.list"]["sha256"]
    assert [path.name for path in reads] == ["list.json"]


def test_what_is_frozen_has_what_all_suites_need() -> None:
    """Not that of the first alone, which may need less."""
    root = Path("pairs")
    root.mkdir()
    lines = []
    for number in range(3):
        for end in ("", "b"):
            Image.fromarray(np.full((12, 16, 3), number, np.uint8)).save(root / f"{number}{end}.png")
        lines.append(
            f"{number}.png {number}b.png 0 0 10 0 8 0 10 6 0 0 1 10 0 8 0 10 6 0 0 1 1 0 0 0.1 0 1 0 0 0 0 1 0 0 0 0 1"
        )
    (root / "pairs.txt").write_text("\n".join(lines))
    words = "data=pairs data.root=pairs data.pairs=pairs/pairs.txt part=all size=16"
    few = "views.views=2 views.distance=1 views.samples=null"
    assert frozen(f"freeze=one.json {words} {few} suite=pose") == Path("one.json")
    with pytest.raises(DataError, match="pairs/line-0001: no frame has known depth"):
        frozen(f"freeze=two.json {words} {few} suite=[pose,depth]")
    assert not Path("two.json").exists()
    pytest.importorskip("poselib", reason="poselib is not installed")
    read = settings(f"backbone=x protocol=scannet1500 {words}")
    assert len(read.suites[0].choose(read.material())) == 3, "relative poses need cameras alone"
    read = settings(f"backbone=x protocol=scannet1500 {words} suite=[relative_pose,dense_matching]")
    with pytest.raises(DataError, match="pairs/line-0001: no frame has known depth"):
        material = read.material()
        _ = [suite.choose(material) for suite in read.suites]  # as before anything is measured


def test_a_list_that_no_suite_looks_at() -> None:
    Path("there.json").write_text(json.dumps(A_LIST))
    for suite, wrong, right in (("dense_matching", "views", "pairs"), ("[correspondence]", "pairs", "views")):
        with pytest.raises(ConfigError, match=rf"{wrong}\.list='there\.json': no suite of .*; {right}\.list= takes their"):
            settings(f"backbone=x data=synthetic suite={suite} {wrong}.list=there.json")


def test_a_list_takes_the_place_of_a_protocols_rule() -> None:
    """What the protocol says of views is nobody's wish beside a list; what is typed is."""
    Path("there.json").write_text(json.dumps(A_LIST))
    words = "backbone=x protocol=rooms views.list=there.json"
    assert settings(words, {"backbone", "protocol", "views.list"}).values["views"].listed.samples
    with pytest.raises(ConfigError, match=r"views\.samples=3: 'there\.json' was drawn with samples=None"):
        settings(f"{words} views.samples=3", {"backbone", "protocol", "views.list", "views.samples"})
