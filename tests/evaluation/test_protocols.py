"""Every protocol for reconstruction models composes, says its command, and runs on a data set in miniature; and a list that
is frozen by it is measured as it was drawn."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from types import ModuleType

import pytest
from miniatures import WRITERS

from muskie.models.recon_load import create_reconstruction_model

pytest.importorskip("scipy.spatial")

REPOSITORY = Path(__file__).parents[2]
PROTOCOLS = {
    path.stem: path
    for path in sorted((REPOSITORY / "configs" / "protocol").glob("*.yaml"))
    if path.stem.endswith(("_muskie", "_pi3", "_vggt", "_video")) or path.stem == "rooms"
}
FEWER = {
    "sevenscenes_pi3": "views.distance=5 views.scenes=[chess/seq-03]",
    "nrgbd_pi3": "views.distance=5",
    "dtu_pi3": "views.distance=5",
    "eth3d_pi3": "views.distance=5",
    "co3d_vggt": "data.min_images=10",
    "scannet_video": "views.views=4",
    "tum_video": "views.views=4",
    "sevenscenes_muskie": "views.samples=2",
    "nrgbd_muskie": "views.samples=2",
    "rooms": "views.samples=2",
}
"""What a miniature has too little of."""

VIEWS = {"pi3": 3, "vggt": 10, "video": 4, "muskie": 8, "rooms": 8}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "mine"
    small = {"name": "muskie_tiny", "width": 24, "depth": 2, "heads": 2}
    create_reconstruction_model(small, decoder_depth=1, features=8).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Data sets by name, as they are asked for."""
    above = tmp_path_factory.mktemp("miniatures")
    found = {name: above / name for name in WRITERS}
    for name, root in found.items():
        root.mkdir()
        WRITERS[name](root)
    return found


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(REPOSITORY / "scripts"))
    monkeypatch.chdir(tmp_path)
    return importlib.import_module("evaluate")


def test_each_data_set_has_a_protocol() -> None:
    data = {name.split("_")[0] for name in PROTOCOLS}
    assert data == {*WRITERS, "rooms"}
    assert set(FEWER) <= set(PROTOCOLS)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_it_runs_frozen_and_not(name: str, model: Path, roots: dict[str, Path], script: ModuleType, tmp_path: Path) -> None:
    data = "synthetic" if name == "rooms" else name.split("_")[0]
    root = f" data.root={roots[data]}" if data in roots else ""
    told = "" if name == "rooms" else " data.root=PATH"
    assert f"python scripts/evaluate.py RUN protocol={name}{told}\n" in PROTOCOLS[name].read_text()
    common = f"protocol={name}{root} size=[16,24] device=cpu pointmap.queries=50 {FEWER.get(name, '')}"
    assert script.evaluate(f"freeze=lists/{name}.json {common}".split()) == []
    frozen_as = json.loads((tmp_path / "lists" / f"{name}.json").read_text())
    views = VIEWS[name.split("_")[-1]]
    for source, _, frames in frozen_as["samples"]:
        assert source == data and len(frames) == views == len(set(frames))
    measured = [
        script.evaluate(f"{model} untrained=false out={out} {common} {words}".split())
        for out, words in (("drawn", ""), ("frozen", f"views.list=lists/{name}.json"))
    ]
    for drawn, frozen in zip(*measured, strict=True):
        assert str(drawn.rows) == str(frozen.rows)
        assert all(row.count for row in drawn.rows), "something was measured"
        count = len(frozen_as["samples"])
        assert f"{count} samples of {views} views, " in drawn.notes[0]
        assert f"{count} samples of {views} views as listed in {name}.json (sha256 " in frozen.notes[0]
        perfect = {row.metric: row.value for row in drawn.rows if row.model == "truth" and row.pooling == ""}
        for metric, value in perfect.items():
            if metric.startswith(("AUC", "RRA", "RTA", "δ", "normal consistency")):
                assert value == pytest.approx(1, abs=0.02 if metric[0] == "n" else 0)
            elif "missing" not in metric:
                assert value == pytest.approx(0, abs=1e-5)
