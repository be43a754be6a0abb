"""What is drawn is what is trained on: the same crops, of the frames that are named, with the object where it is."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from muskie.data.dataset import LoadSampler, Views
from muskie.data.loading import build_sources
from muskie.data.scene import Camera, Frame, Scene, SceneSource
from muskie.data.sources.synthetic import SyntheticRooms
from muskie.overrides import compose_config, read_overrides
from muskie.training.distributed import Ranks
from muskie.training.finetune import FINETUNING, Finetuning
from muskie.training.pretrain import Pretraining
from muskie.training.settings import SECTIONS
from muskie.visualization.data_page import DataSample

REPOSITORY = Path(__file__).parents[2]
CONFIGS = REPOSITORY / "configs"
FEW = "plan.sizes=[16] trainer.steps=4 trainer.batch_size=2 trainer.device=cpu"
Visualize = Callable[[str], list[DataSample]]


class Discs(SceneSource):
    """A white disc on black, whose mask is right; red is the number of the scene, of the frame green within the disc. Frames
    whose number divides by three cannot be read, and those that divide by five have no mask.

    Args:
        broken_masks: no mask can be read.
    """

    name = "discs"

    def __init__(self, broken_masks: bool = False) -> None:
        self.broken_masks = broken_masks

    def __len__(self) -> int:
        return 6

    def scene(self, index: int) -> Scene:
        return Scene(str(index), [str(number) for number in range(30)])

    def read(self, scene: Scene, frame: str, *, at_least: int | None = None, geometry: bool = False) -> Frame:
        if int(frame) % 3 == 0:
            raise OSError(f"{scene.name}/{frame} cannot be read")
        pixels = np.zeros((60, 80, 3), np.uint8)
        pixels[..., :2] = int(scene.name), int(frame)
        pixels[self._disc(int(frame)), 2] = 255
        return Frame(Image.fromarray(pixels))

    def mask(self, scene: Scene, frame: str) -> np.ndarray | None:
        if self.broken_masks:
            raise OSError("no mask")
        if int(frame) % 3:
            self.read(scene, frame)  # as a source may whose masks lie within its pictures
        return None if int(frame) % 5 == 0 else self._disc(int(frame))

    def _disc(self, number: int) -> np.ndarray:
        y, x = np.mgrid[:60, :80] + 0.5
        return (x - 20 - number) ** 2 + (y - 30) ** 2 < 15**2


class Inverted(SyntheticRooms):
    """Rooms whose poses are world2cam."""

    def __init__(self, scenes: int = 8) -> None:
        super().__init__(scenes)

    def read(self, scene: Scene, frame: str, *, at_least: int | None = None, geometry: bool = False) -> Frame:
        read = super().read(scene, frame, at_least=at_least, geometry=geometry)
        camera = read.camera
        return read if camera is None else replace(read, camera=Camera(camera.intrinsics, np.linalg.inv(camera.cam2world)))


@pytest.fixture
def samples(monkeypatch: pytest.MonkeyPatch) -> list[DataSample]:
    """What is drawn from here on."""
    monkeypatch.syspath_prepend(str(REPOSITORY / "scripts"))
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    script, found = importlib.import_module("visualizing.data"), []
    draw = script.data_page
    monkeypatch.setattr(script, "data_page", lambda given: [found.extend(given), draw(given)][1])
    return found


@pytest.fixture
def visualize(samples: list[DataSample], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Visualize:
    """Runs `visualize.py data` with these words, in a folder of its own; gives what was drawn."""
    monkeypatch.chdir(tmp_path)
    script = importlib.import_module("visualize")

    def run(words: str) -> list[DataSample]:
        samples.clear()
        script.main(["data", *words.split()])
        return list(samples)

    return run


def trained_on(words: str, kind: str, tmp_path: Path) -> list[Views]:
    """The batches that a run really asks of its data set, one scene each, in order."""
    finetuning = kind == "ffrecon"
    sections = FINETUNING.sections if finetuning else SECTIONS
    given = [*words.split(), f"output_dir={tmp_path}/run", *(["backbone=muskie_tiny"] if finetuning else [])]
    config = compose_config(CONFIGS, kind, read_overrides(given, CONFIGS, kind, sections.names()))
    run: Any = (Finetuning if finetuning else Pretraining)(config, Ranks(0, 1, torch.device("cpu")))
    data, trainer = run.build_dataset(), run.trainer_config
    batches = LoadSampler(run.plan, trainer.batch_size, trainer.accumulate)
    return [data[request] for batch in batches for request in batch]


def test_with_geometry_what_fine_tuning_gets(visualize: Visualize, tmp_path: Path) -> None:
    words = f"data=synthetic data.scenes=20 plan.views=2 plan.views_per_scene=[2] seed=3 {FEW}"
    drawn, trained = visualize(f"{words} --samples 3 0 7"), trained_on(words, "ffrecon", tmp_path)
    assert Path("pictures/data-synthetic.png").is_file() and len(trained) == 8
    for sample, views in zip(drawn, (trained[n] for n in (3, 0, 7)), strict=True):
        assert torch.equal(sample.images, views.images[0])
        for name in ("depth", "intrinsics", "cam2world"):
            assert torch.equal(getattr(sample, name), getattr(views, name)[0]), name
        assert sample.name.splitlines() == [sample.name.split("\n")[0], "cropped as in fine-tuning"]
        assert sample.name.split("\n")[0].split(": ")[1] == views.places[0] and sample.masks is None
    assert [sample.name.split(":")[0] for sample in drawn] == ["sample 3", "sample 0", "sample 7"]
    (source,) = build_sources({"_target_": "muskie.data.sources.synthetic.SyntheticRooms", "scenes": 20})
    for sample in visualize(f"{words} augment.flip_x=0 --samples 0 1"):
        scene = source.scene(int(sample.name.split("\n")[0].split("-")[1]))
        poses = [camera.cam2world for name in sample.frames if (camera := source.camera(scene, name))]
        assert sample.cam2world is not None and np.array_equal(sample.cam2world.numpy(), np.stack(poses)), "frames named"


def test_without_geometry_what_pre_training_gets(
    visualize: Visualize, tmp_path: Path, image_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = f"data=folder data.root={image_root} holdout.share=0.25 augment.jitter=0.3 {FEW}"
    drawn, trained = visualize(f"{words} --samples 0 1 2 3 4 5 6 7"), trained_on(words, "pretrain", tmp_path)
    assert len(trained) == 8
    for sample, views in zip(drawn, trained, strict=True):
        assert torch.equal(sample.images, views.images[0]) and sample.depth is None and sample.masks is None
    out, told = capsys.readouterr()
    assert out == "pictures/data-folder.png\n"
    assert told.startswith("cropped as in pre-training, without depth and cameras: augment.jitter is unknown")


def test_frames_are_named_and_objects_outlined(visualize: Visualize, capsys: pytest.CaptureFixture[str]) -> None:
    """The pictures themselves say which frame they are and where the object is; some frames cannot be read."""
    words = f"data=folder data._target_=test_visualize_data.Discs {FEW} --samples 0 1 2 3 4 5"
    for jitter, zoom in ((0, 0), (0.5, 1)):
        drawn = visualize(f"{words} augment.jitter={jitter} augment.zoom={zoom} --crops pretrain")
        maskless = 0
        for sample in drawn:
            assert sample.masks is not None and sample.masks.shape == (4, 16, 16)
            for frame, image, mask in zip(sample.frames, sample.images, sample.masks, strict=True):
                if not jitter:
                    assert image[0, 0, 0] == int(sample.name.split("\n")[0][-1]) and image[1, 0, 0] == int(frame)
                    wanted = torch.zeros_like(mask) if int(frame) % 5 == 0 else image[2] > 127
                    assert torch.equal(mask, wanted)
                elif int(frame) % 5:
                    middle = image[2].float().aminmax()
                    assert ((image[2] > (middle.min + middle.max) / 2) == mask).double().mean() > 0.95
                maskless += int(frame) % 5 == 0
        assert maskless and "cannot be read" in capsys.readouterr().err
    (sample,) = visualize(f"{words.split(' --')[0]} data.broken_masks=true --samples 0 --crops pretrain")
    assert sample.masks is None, "the frame can be read, and is trained on"


def test_crops_can_be_chosen(visualize: Visualize, image_root: Path) -> None:
    (sample,) = visualize(f"data=synthetic {FEW} --samples 0 --crops pretrain")
    assert sample.depth is None and sample.name.endswith("cropped as in pre-training")
    with pytest.raises(SystemExit, match="it has no depth, and so for all"):
        visualize(f"data=folder data.root={image_root} {FEW} --crops geometry")


def test_inverted_poses_are_seen(visualize: Visualize) -> None:
    words = "data=synthetic data.scenes=8 plan.sizes=[64] trainer.device=cpu --samples 0 1 2"
    off = {}
    for name, data in (("right", ""), ("wrong", "data._target_=test_visualize_data.Inverted ")):
        drawn = visualize(f"{data}{words}")
        land = importlib.import_module("muskie.visualization.data_page").land
        off[name] = torch.cat([land(s.images, s.depth, s.intrinsics, s.cam2world).off[1:] for s in drawn]).nanmean()
    assert off["wrong"] > 0.03 and off["right"] < 0.01


def test_the_largest_size_and_data_of_ones_own(visualize: Visualize, image_root: Path, tmp_path: Path) -> None:
    (tmp_path / "mine" / "data").mkdir(parents=True)
    node = f"{{_target_: muskie.data.sources.folder.ImageFolders, root: {image_root}}}"
    (tmp_path / "mine" / "data" / "my_data.yaml").write_text(f"sources:\n  a: {node}\n  b: {node}\n")
    words = "data=my_data plan.sizes=[16,32,24] plan.aspect_ratios=['4:3'] trainer.device=cpu"
    (sample,) = visualize(f"--config-dir mine {words} --samples 0 --out here")
    assert sample.images.shape == (4, 3, 24, 32) and Path("here/data-a-b.png").is_file()


def test_mistakes(visualize: Visualize, image_root: Path, tmp_path: Path) -> None:
    good = f"data=folder data.root={image_root} {FEW}"
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    for words, message in {
        f"{good} --samples 0 8": "--samples 8: expected 0 to 7, the scenes that one process trains on in 4 loads; "
        "trainer.steps=N or trainer.batch_size=N makes more",
        f"{good} --samples -1": "--samples -1: expected 0 to 7",
        f"data=folder data.root={tmp_path}/empty": "data.root",
        "data=folder data.root=nowhere": "data.root='nowhere' does not exist",
        "data=folder": "data.root must be given",
        "data=foldr": "data=foldr is unknown",
        f"{good} plan.sises=[16]": "did you mean 'plan.sizes'",
        f"{good} plan.sizes=[20]": "20 is no multiple of the patch size 8",
        f"{good} --out {tmp_path}/file/x": "file/x: it cannot be written (",
        f"{good} --config-dir {tmp_path}/none": "is not a folder",
        f"{good} plan.views=17 plan.views_per_scene=[17]": "17",
    }.items():
        with pytest.raises(SystemExit) as left:
            visualize(words)
        assert message in str(left.value), words
    assert not Path("pictures").exists() or not any(Path("pictures").iterdir())
