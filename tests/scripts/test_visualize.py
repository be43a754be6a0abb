"""The picture of held-out samples shows what the runs see and fill in."""

from __future__ import annotations

import importlib
import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from muskie.models.variants import create_model
from muskie.overrides import compose_config, read_overrides
from muskie.training.distributed import Ranks
from muskie.training.pretrain import Pretraining
from muskie.training.settings import SECTIONS
from muskie.visualization.page import Page

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def visualize(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Runs `visualize.py` with these words."""
    monkeypatch.syspath_prepend(str(REPOSITORY / "scripts"))
    script = importlib.import_module("visualize")
    return lambda words: script.main(words.split())


@pytest.fixture(scope="module")
def run(tiny: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    overrides = read_overrides(
        [*tiny, "holdout.share=0.5", "seed=3", f"output_dir={folder}"], REPOSITORY / "configs", "pretrain", SECTIONS.names()
    )
    config = compose_config(REPOSITORY / "configs", "pretrain", overrides)
    assert Pretraining(config, Ranks(0, 1, torch.device("cpu"))).run()
    return folder


def test_rows_and_columns(
    run: Path, visualize: Callable[[str], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages: list[Page] = []
    draw = Page.draw
    monkeypatch.setattr(Page, "draw", lambda page: [pages.append(page), draw(page)][1])
    out = tmp_path / "new" / "picture.png"
    visualize(f"{run} {run} --names one other --untrained --samples 0 2 1 --out {out}")
    picture = torch.from_numpy(np.array(Image.open(out))).permute(2, 0, 1)
    side, layout = 128, pages[0].layout
    assert pages[0].labels == ["original", "masked", "before training", "one", "other"]
    headings = ["view 0, whole", "view 1, whole", "view 2, hidden .75", "view 3, hidden .75"]
    assert pages[0].columns == headings * 3 and picture.shape == (3, layout.height, layout.width)
    gaps = [right - left - side for left, right in pairwise(layout.lefts)]
    assert gaps[3] == gaps[7] > 4 * gaps[0], "samples lie apart"
    rows = [
        torch.cat([picture[:, top : top + side, left : left + side] for left in layout.lefts], dim=-1) for top in layout.tops
    ]
    original, seen, before, one, other = rows
    references = torch.cat([torch.arange(s * 4 * side, (s * 4 + 2) * side) for s in range(3)])
    assert all(torch.equal(original[..., references], row[..., references]) for row in rows), "references are whole"
    covered = (seen == 110).all(0)
    assert torch.equal(original[:, ~covered], one[:, ~covered]) and not torch.equal(original, one)
    assert torch.equal(one, other) and not torch.equal(one, before)
    fresh = create_model("muskie_tiny", width=32, depth=1, heads=2, seed=3)
    samples = importlib.import_module("visualize").held_out_samples(run, 2, 8)
    expected = importlib.import_module("visualize").reconstruction(fresh, samples.images[0], samples.mask[0])
    shown = before.unflatten(-1, (12, side))[:, ::8, :4, ::8].permute(2, 0, 1, 3)
    assert torch.equal(shown, expected), "the weights that the run began with"


def test_the_picture_lies_in_the_run_unless_said(run: Path, visualize: Callable[[str], None]) -> None:
    visualize(str(run))
    assert Image.open(run / "pictures" / "held_out.png").mode == "RGB"


def test_mistakes(run: Path, visualize: Callable[[str], None], tmp_path: Path) -> None:
    stopped = tmp_path / "stopped"
    stopped.mkdir()
    shutil.copy(run / "config.yaml", stopped)
    nothing_held_out = tmp_path / "all"
    shutil.copytree(run, nothing_held_out)
    config = (run / "config.yaml").read_text()
    assert "share: 0.5" in config
    (nothing_held_out / "config.yaml").write_text(config.replace("share: 0.5", "share: 0"))
    for words, message in {
        f"{run} --names a b": "--names: 2 names for 1 runs",
        f"{run} {run}": "give each a name of its own by --names",
        f"{run} --out x.foo": "--out x.foo: expected a name that ends in .png",
        f"{run} --samples -1": "--samples -1: expected 0 to 63,",
        f"{run} --samples 0 64": "--samples 64: expected 0 to 63,",
        f"{tmp_path}": f"{tmp_path}: no config.yaml in it; give the folder of a run",
        f"{run}/model": f"no config.yaml in it; give {run}",
        f"{tmp_path}/gone": f"{tmp_path}/gone: there is no such folder",
        f"{run} --out {run}/config.yaml/x.png": "config.yaml cannot be written (",
        f"{nothing_held_out}": f"{nothing_held_out} held nothing out",
        f"{stopped}": f"{stopped}: no model in it, for the run has not ended; continue it",
    }.items():
        with pytest.raises(SystemExit) as left:
            visualize(words)
        assert message in str(left.value)
