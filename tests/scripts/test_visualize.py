"""The pages show the samples that they say, and what the models do with them."""

from __future__ import annotations

import importlib
import re
import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from muskie.backbones.load import ours
from muskie.models.variants import create_model
from muskie.overrides import compose_config, read_overrides
from muskie.training.distributed import Ranks
from muskie.training.pretrain import Pretraining
from muskie.training.settings import SECTIONS
from muskie.training.shown_samples import of_photographs, of_run
from muskie.visualization import model_pages
from muskie.visualization.page import Page

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def visualize(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Runs `visualize.py` with these words."""
    monkeypatch.syspath_prepend(str(REPOSITORY / "scripts"))
    script = importlib.import_module("visualize")
    return lambda words: script.main(words.split())


def train(words: list[str]) -> None:
    overrides = read_overrides(words, REPOSITORY / "configs", "pretrain", SECTIONS.names())
    config = compose_config(REPOSITORY / "configs", "pretrain", overrides)
    assert Pretraining(config, Ranks(0, 1, torch.device("cpu"))).run()


@pytest.fixture(scope="module")
def run(tiny: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    train([*tiny, "holdout.share=0.5", "seed=3", f"output_dir={folder}"])
    return folder


def test_rows_and_columns(
    run: Path, visualize: Callable[[str], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages: list[Page] = []
    draw = Page.draw
    monkeypatch.setattr(Page, "draw", lambda page: [pages.append(page), draw(page)][1])
    out = tmp_path / "new" / "folder"
    visualize(f"{run} {run} --names one other --untrained --samples 0 2 1 --pages fill_ins --out {out}")
    assert [path.name for path in out.iterdir()] == ["fill_ins.png"]
    picture = torch.from_numpy(np.array(Image.open(out / "fill_ins.png"))).permute(2, 0, 1)
    side, layout = 128, pages[0].layout
    assert pages[0].labels == ["original", "masked", "one, untrained", "one", "other"]
    headings = ["view 0, whole", "view 1, whole", "view 2, hidden .75", "view 3, hidden .75"]
    assert pages[0].columns == [f"{heading}\nsample {n}" for n in (0, 2, 1) for heading in headings]
    assert picture.shape == (3, layout.height, layout.width)
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
    sample = of_run(run, [0], 8)[0]
    expected = importlib.import_module("visualizing.models").reconstruction(ours(fresh, "fresh"), sample.images, sample.mask)
    shown = before.unflatten(-1, (12, side))[:, ::8, :4, ::8].permute(2, 0, 1, 3)
    assert torch.equal(shown, expected), "the weights that the run began with"


def test_all_pages_that_the_data_allows_lie_in_the_run(
    run: Path, visualize: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    visualize(str(run / "model"))
    names = ["fill_ins", "pca", "masked_views", "attention"]  # photographs without depth: no tracks
    assert capsys.readouterr().out.split() == [str(run / "pictures" / f"{name}.png") for name in names]
    assert all(Image.open(run / "pictures" / f"{name}.png").mode == "RGB" for name in names)


def test_tracks_of_data_with_geometry(
    tiny: list[str], visualize: Callable[[str], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = [word for word in tiny if not word.startswith(("data", "holdout"))]
    rooms = ["data=synthetic", "data.scenes=8", "evaluation.distance=2", "evaluation.samples=2", f"output_dir={tmp_path}"]
    train([*kept, *rooms])
    drawn, told = [], []

    def draw(*given: torch.Tensor, **more: str) -> torch.Tensor:
        drawn.append(given)
        told.append(more)
        return torch.zeros(3, 8, 8).byte()

    monkeypatch.setattr(model_pages, "track_page", draw)
    visualize(f"{tmp_path} --pages tracks --samples 0 1")
    assert (tmp_path / "pictures" / "tracks-sample_0.png").is_file()
    for images, predicted, true, visible in drawn:
        assert images.shape == (4, 3, 16, 16) and predicted.shape == true.shape == (4, 100, 2) and visible.any()
    assert not torch.equal(drawn[0][0], drawn[1][0])
    assert [more["source"] for more in told] == [shown.tracked for shown in of_run(tmp_path, [0, 1], 8)]
    assert re.fullmatch(r"synthetic/room-00000\d \(0000\d\d, 0000\d\d, 0000\d\d, 0000\d\d\)", told[0]["source"])


def test_a_sample_is_the_same_whatever_others_are_asked_for(
    tiny: list[str], visualize: Callable[[str], None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """8 rooms of 4 frames have 8 sets of 4 views: the ninth sample has no tracks, and that is told."""
    kept = [word for word in tiny if not word.startswith(("data", "holdout"))]
    rooms = ["data=synthetic", "data.scenes=16", "data.frames=4", "holdout.share=0.5", "evaluation.distance=1"]
    train([*kept, *rooms, "holdout.by=scenes", "evaluation.samples=9", f"output_dir={tmp_path}"])
    numbers = [3, 1, 7, 8]
    together, alone = of_run(tmp_path, numbers, 8), [of_run(tmp_path, [n], 8)[0] for n in numbers]
    for one, other in zip(together, alone, strict=True):
        assert (one.name, one.tracked) == (other.name, other.tracked) and torch.equal(one.images, other.images)
    for one, other in zip(together[:3], alone[:3], strict=True):
        assert one.posed is not None and other.posed is not None and torch.equal(one.posed.images, other.posed.images)
    assert len({shown.tracked for shown in together}) == 4 and together[3].posed is None
    capsys.readouterr()
    reason = "of sample 8: held-out frames have no more than 8 sets of 4 views 1 frames apart, the samples 0 to 7"
    with pytest.raises(SystemExit, match=f"--pages tracks: there are none {reason}"):
        visualize(f"{tmp_path} --pages tracks --samples 7 8")
    assert not (tmp_path / "pictures" / "tracks-sample_7.png").exists()
    visualize(f"{tmp_path} --samples 7 8")
    out, told = capsys.readouterr()
    assert f"no tracks {reason}" in told and "tracks-sample_7.png" in out and "tracks-sample_8.png" not in out


def test_layers_that_no_model_has_are_told_before_anything_is_drawn(
    run: Path, visualize: Callable[[str], None], tmp_path: Path
) -> None:
    for pages in ("", "--pages fill_ins attention", "--pages masked_views pca"):
        with pytest.raises(SystemExit, match="layer 9 of"):
            visualize(f"{run} --layers 9 --out {tmp_path} {pages}")
    assert not any(tmp_path.iterdir())
    visualize(f"{run} --layers 9 --out {tmp_path} --pages fill_ins")  # which has no layers


def test_names_that_make_the_same_file(run: Path, visualize: Callable[[str], None], tmp_path: Path) -> None:
    visualize(f"{run} {run} --names a+1 a-1 --pages masked_views --out {tmp_path}")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["masked_views-a_1-2.png", "masked_views-a_1.png"]


def test_photographs_leave_the_pages_of_held_out_views(
    run: Path, visualize: Callable[[str], None], image_root: Path
) -> None:
    visualize(f"{run} --images {image_root}/scene1 --pages pca")
    assert (run / "pictures" / "scene1" / "pca.png").is_file()


def test_photographs_of_their_own(visualize: Callable[[str], None], image_root: Path, tmp_path: Path) -> None:
    create_model("muskie_tiny", width=32, depth=2, heads=2).save_pretrained(tmp_path / "weights")
    visualize(f"{tmp_path}/weights --images {image_root}/scene1 --size 24 --layers 0 1 --patch 1 2 --out {tmp_path}/out")
    assert sorted(path.stem for path in (tmp_path / "out").iterdir()) == ["attention", "fill_ins", "masked_views", "pca"]
    shown = of_photographs(image_root / "scene1", 24, 8)
    whole = Image.open(image_root / "scene1" / "02.png").resize((24, 24), Image.Resampling.BICUBIC, reducing_gap=3.0)
    assert torch.equal(shown.images[2], torch.from_numpy(np.array(whole)).permute(2, 0, 1))
    assert shown.mask.flatten(1).sum(1).tolist() == [0, 0, 8, 8]


def test_a_timm_model_beside_a_run(run: Path, visualize: Callable[[str], None], tmp_path: Path) -> None:
    pytest.importorskip("timm", reason="timm is not installed")
    visualize(f"{run} {{name:timm/vit_tiny_patch16_224,pretrained:false,patch_size:8}} --names a b --out {tmp_path}")
    assert sorted(path.stem for path in tmp_path.iterdir()) == ["attention-a", "fill_ins", "masked_views-a", "pca"]


def test_mistakes(run: Path, visualize: Callable[[str], None], tmp_path: Path, image_root: Path) -> None:
    stopped = tmp_path / "stopped"
    stopped.mkdir()
    shutil.copy(run / "config.yaml", stopped)
    nothing_held_out = tmp_path / "all"
    shutil.copytree(run, nothing_held_out)
    config = (run / "config.yaml").read_text()
    assert "share: 0.5" in config
    (nothing_held_out / "config.yaml").write_text(config.replace("share: 0.5", "share: 0"))
    for words, message in {
        f"{run} --names a b": "--names: 2 names for 1 models",
        f"{run} {run}": "two backbones are called",
        f"{run} --samples -1": "--samples -1: expected 0 to 63,",
        f"{run} --samples 0 64": "--samples 64: expected 0 to 63,",
        f"{tmp_path}": f"{tmp_path}: no config.json and no model.safetensors; give a run, or a folder written by",
        f"{tmp_path}/gone": f"{tmp_path}/gone: there is no such folder",
        f"{run} --out {run}/config.yaml/x": "config.yaml/x: it cannot be written (",
        f"{nothing_held_out}": f"{nothing_held_out} held nothing out",
        f"{stopped}": "no config.json and no model.safetensors",
        f"{run} --pages tracks": "--pages tracks: it needs views with depth and cameras",
        f"{run} --patch 9 9 --pages attention": "--patch 9 9: expected a row in 0 to 1 and a column in 0 to 1",
        f"{run} --layers 5 --pages pca": "layer 5 of",
        f"{run} --size 128": "--size is that of photographs",
        f"muskie_tiny --untrained --images {image_root}/scene1": "has no weights that it was trained to",
        f"{run} --images {image_root}/scene1 --size 30": "--size 30: expected a multiple of the patch size 8",
        f"{run} --images {tmp_path}/none": "does not exist",
        "muskie_tiny": "none of the models is a run, whose held-out views could be drawn; give --images FOLDER",
    }.items():
        with pytest.raises(SystemExit) as left:
            visualize(words)
        assert message in str(left.value), words
