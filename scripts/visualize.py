"""Draws what trained models fill in on the same held-out samples, the ones that the cross-view gain is measured on.

    python scripts/visualize.py outputs/RUN
    python scripts/visualize.py outputs/ONE outputs/OTHER --names published ours --untrained --samples 0 5 --out picture.png

Rows: the original, what the models see, and what each fills in. Columns: the views of each sample, references first. The
first run's configuration says where the data is and how large the images are.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from PIL import Image
from torch import Tensor

from muskie.data.index import SceneIndex
from muskie.data.loading import build_sources
from muskie.errors import ConfigError, errors_in_words
from muskie.evaluation.cross_view_gain import VIEWS, GainConfig, GainSamples, gain_samples
from muskie.models.masked_view import MaskedViewModel
from muskie.models.variants import create_model, from_pretrained
from muskie.training.run_folder import check_writable
from muskie.training.settings import read_settings
from muskie.visualization.masked_views import fill_in, hide, view_headings
from muskie.visualization.page import page

BEFORE = "before training"


def run_settings(run: Path) -> dict[str, Any]:
    """The settings of a run, checked."""
    path = run / "config.yaml"
    config = OmegaConf.load(path)
    if not isinstance(config, DictConfig):
        raise ConfigError(f"{path}: a list, and not the configuration of a run")
    return read_settings(config)


def check_run(run: Path) -> None:
    """Raises `ConfigError` if a folder is not that of a run that has ended."""
    if not run.is_dir():
        raise ConfigError(f"{run}: there is no such folder; give that of a run, as its last lines name it")
    if not (run / "config.yaml").is_file():
        inside = (run.parent / "config.yaml").is_file()
        way_out = f"give {run.parent}" if inside else "give the folder of a run, as its last lines name it"
        raise ConfigError(f"{run}: no config.yaml in it; {way_out}")
    if not (run / "model" / "config.json").is_file():
        raise ConfigError(
            f"{run}: no model in it, for the run has not ended; continue it by its command with output_dir={run}"
        )


def held_out_samples(run: Path, count: int, patch: int) -> GainSamples:
    """The first `count` samples that a run measures its cross-view gain on."""
    settings = run_settings(run)
    sources = build_sources(settings["data"])
    if not settings["holdout"].share:
        raise ConfigError(f"{run} held nothing out (holdout.share=0): there are no samples that it has not trained on")
    config = settings["evaluation"]
    size = config.side(settings["plan"]["sizes"])
    fewer = GainConfig(max(count, 2), size, config.window, config.ratio, config.batch, config.seed)
    heldout = SceneIndex(sources, "heldout", settings["holdout"], VIEWS)
    return gain_samples(heldout, SceneIndex(sources, "all"), fewer, size, patch)


def reconstruction(model: MaskedViewModel, images: Tensor, mask: Tensor) -> Tensor:
    """The model's prediction on hidden patches, the images elsewhere: uint8 [V, 3, H, W] of images [V, 3, H, W]."""
    pixels, _ = model.eval().reconstruct(images[None], mask[None])
    return fill_in(images, mask, pixels[0])


def main(argv: Sequence[str] | None = None) -> None:
    """Reads the command line and draws."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, help="folders of runs that have ended")
    parser.add_argument("--names", nargs="+", help="a name for each run (default: the folders' names)")
    parser.add_argument("--untrained", action="store_true", help="also the first run's model before training")
    parser.add_argument("--samples", nargs="+", type=int, default=[0, 1], help="numbers of samples, from 0 (default: 0 1)")
    parser.add_argument("--out", type=Path, help="a .png or .jpg (default: pictures/held_out.png of the first run)")
    arguments = parser.parse_args(argv)
    with errors_in_words():
        out = arguments.out or arguments.runs[0] / "pictures" / "held_out.png"
        draw(arguments.runs, arguments.names, arguments.untrained, arguments.samples, out)
    print(out)


def draw(runs: list[Path], names: list[str] | None, untrained: bool, numbers: list[int], out: Path) -> None:
    """Writes the picture; see the module."""
    for run in runs:
        check_run(run)
    names = list(names or [run.resolve().name for run in runs])
    if len(names) != len(runs):
        raise ConfigError(f"--names: {len(names)} names for {len(runs)} runs; give one for each")
    if len(set(names)) < len(names):
        raise ConfigError(f"the runs are named {', '.join(names)}; give each a name of its own by --names")
    if out.suffix not in (".png", ".jpg"):
        raise ConfigError(f"--out {out}: expected a name that ends in .png or .jpg")
    measured = run_settings(runs[0])["evaluation"].samples
    if outside := [number for number in numbers if not 0 <= number < measured]:
        raise ConfigError(f"--samples {outside[0]}: expected 0 to {measured - 1}, the samples that {runs[0]} is measured on")
    try:
        check_writable(out.parent)
    except OSError as error:
        raise ConfigError(f"--out {out}: {out.parent} cannot be written ({error.strerror}); give another one") from error
    models = {name: from_pretrained(run / "model") for name, run in zip(names, runs, strict=True)}
    patches = {name: model.patch_size for name, model in models.items()}
    if len(set(patches.values())) > 1:
        raise ConfigError(f"patches of different sizes cannot be drawn side by side: {patches}")
    if untrained:
        settings = run_settings(runs[0])
        model = settings["model"]
        models = {BEFORE: create_model(model.pop("name"), seed=settings["seed"], **model), **models}
    samples = held_out_samples(runs[0], max(numbers) + 1, next(iter(models.values())).patch_size)
    chosen = [(samples.images[number], samples.mask[number]) for number in numbers]
    rows = [[images for images, _ in chosen], [hide(images, mask) for images, mask in chosen]]
    rows += [[reconstruction(model, *sample) for sample in chosen] for model in models.values()]
    columns = [heading for _, mask in chosen for heading in view_headings(mask)]
    picture = page([torch.cat(row) for row in rows], ["original", "masked", *models], columns, group=VIEWS)
    Image.fromarray(picture.permute(1, 2, 0).numpy()).save(out)


if __name__ == "__main__":
    main()
