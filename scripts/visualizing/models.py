"""Pages of what models do with the same views."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path

import torch
from torch import Tensor

from muskie.backbones.frozen import FrozenBackbone
from muskie.backbones.load import load_backbones
from muskie.errors import ConfigError
from muskie.evaluation.attention_readout import can_attend
from muskie.evaluation.trained_on import run_folder
from muskie.override_words import read_spec
from muskie.training.distributed import choose_device
from muskie.training.shown_samples import Shown, of_photographs, of_run
from muskie.visualization import model_pages
from muskie.visualization.masked_views import fill_in, hide, view_headings
from muskie.visualization.model_pages import can_fill
from muskie.visualization.page import page
from muskie.visualization.pca import Foreground
from visualizing.writing import check_out, file_name, write_page

PAGES = ("fill_ins", *model_pages.PAGES)


def build_parser(description: str | None) -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add(
        "models", nargs="+", help="runs that have ended, folders of weights, timm/NAME, or {name:timm/NAME,pretrained:false}"
    )
    add("--names", nargs="+", help="a name for each model (default: the folders' names)")
    add("--untrained", action="store_true", help="also the first model before training")
    add("--pages", nargs="+", choices=PAGES, help="which pages (default: all that the models and views allow)")
    add(
        "--images",
        type=Path,
        help="a folder of photographs of one scene, the first four are taken (default: held-out views)",
    )
    add("--size", type=int, help="side of the photographs in pixels (default: that of the first run's training, else 224)")
    add("--samples", nargs="+", type=int, default=[0], help="numbers of held-out samples, from 0 (default: 0)")
    add("--layers", nargs="+", type=int, help="of features, and blocks of attention (default: the last of each quarter)")
    add("--patch", nargs=2, type=int, metavar=("ROW", "COLUMN"), help="whose attention is drawn (default: one of contrast)")
    add("--foreground", action="store_true", help="PCA of the foreground alone, found by the first component")
    add(
        "--out",
        type=Path,
        help="folder (default: pictures/ of the first run, or here; photographs get a folder in it)",
    )
    return parser


def draw(arguments: argparse.Namespace) -> Iterator[Path]:
    """Writes the pages that are asked for; gives the path of each."""
    backbones = load(arguments.models, arguments.names, arguments.untrained)
    run = next((folder for name in arguments.models if (folder := run_folder(name))), None)
    if arguments.size is not None and arguments.images is None:
        raise ConfigError("--size is that of photographs; held-out views have the size that their run is measured at")
    p = next((b.patch_size for b in backbones if can_fill(b)), backbones[0].patch_size)
    if arguments.images is not None:
        shown = [of_photographs(arguments.images, arguments.size, p, run)]
    elif run is not None:
        shown = of_run(run, arguments.samples, p)
    else:
        raise ConfigError("none of the models is a run, whose held-out views could be drawn; give --images FOLDER")
    out = arguments.out or (run / "pictures" if run else Path("pictures"))
    if arguments.out is None and arguments.images is not None:
        out = out / arguments.images.resolve().name  # beside the pages of held-out views
    check_out(out)
    asked = arguments.pages or PAGES
    written: set[Path] = set()
    for name, pixels in pages(backbones, shown, asked, arguments):
        path = next(path for n in count(1) if (path := out / f"{name}{'' if n == 1 else f'-{n}'}.png") not in written)
        written.add(path)
        yield write_page(pixels, path)


def load(models: Sequence[str], names: Sequence[str] | None, untrained: bool) -> list[FrozenBackbone]:
    """The models by their names; before the first, if asked for, itself untrained."""
    if names and len(names) != len(models):
        raise ConfigError(f"--names: {len(names)} names for {len(models)} models; give one for each")
    specs = [read_spec(word) for word in models]
    if names:
        mappings = [spec if isinstance(spec, Mapping) else {"name": spec} for spec in specs]
        specs = [{**spec, "label": name} for spec, name in zip(mappings, names, strict=True)]
    backbones = load_backbones(specs, choose_device())
    fresh = backbones[0].before_training() if untrained else None
    if untrained and fresh is None:
        raise ConfigError(f"--untrained: {backbones[0].name} has no weights that it was trained to; leave the flag out")
    return [*([fresh] if fresh else []), *backbones]


def pages(
    backbones: Sequence[FrozenBackbone], shown: Sequence[Shown], asked: Sequence[str], arguments: argparse.Namespace
) -> Iterator[tuple[str, Tensor]]:
    """Name and picture of every page; those of one model or sample among several are called after it.

    Raises:
        ConfigError: a page that was asked for by name and that no model or sample allows.
    """
    ours = [backbone for backbone in backbones if can_fill(backbone)]
    attending = [backbone for backbone in backbones if can_attend(backbone)]
    tracked = [sample for sample in shown if sample.posed is not None]
    needs = {"fill_ins": ours, "masked_views": ours, "attention": attending, "tracks": tracked}
    for name in asked:
        if arguments.pages and not needs.get(name, backbones):
            if name != "tracks":
                raise ConfigError(f"--pages {name}: it needs a model of ours, and none is given")
            raise ConfigError(
                f"--pages tracks: it needs views with depth and cameras, and none is given: {shown[0].tracked}"
            )
    for sample in shown:
        if "tracks" in asked and sample.posed is None and arguments.images is None:
            if arguments.pages:
                raise ConfigError(f"--pages tracks: there are none of {sample.name}: {sample.tracked}")
            print(f"no tracks of {sample.name}: {sample.tracked}", file=sys.stderr)
    if arguments.layers:  # before anything is drawn
        for backbone in backbones if "pca" in asked else attending if "attention" in asked else []:
            backbone.layers(arguments.layers)
    for backbone in attending if arguments.patch else []:
        check_patch(arguments.patch, shown[0].images, backbone.patch_size)
    if len({backbone.patch_size for backbone in ours}) > 1 and {"fill_ins", "masked_views"} & set(asked):
        patches = {backbone.name: backbone.patch_size for backbone in ours}
        if arguments.pages:
            raise ConfigError(
                f"patches of different sizes cannot be hidden by one mask: {patches}; draw the models one by one"
            )
        asked = [name for name in asked if name not in ("fill_ins", "masked_views")]
    if "fill_ins" in asked and ours:
        yield "fill_ins", fill_ins(ours, shown)
    for sample in shown:
        after = [sample.name] if len(shown) > 1 else []
        if "pca" in asked:
            layers = arguments.layers or (backbones[0].quarters() if len(backbones) == 1 else (-1,))
            foreground: Foreground = "auto" if arguments.foreground else None
            yield file_name("pca", *after), model_pages.pca(backbones, sample.images, layers, foreground)
        for backbone in backbones:
            of = [*([backbone.name] if len(backbones) > 1 else []), *after]
            if "masked_views" in asked and backbone in ours:
                yield (
                    file_name("masked_views", *of),
                    model_pages.masked_views(backbone, sample.images, sample.mask, backbone.name),
                )
            if "tracks" in asked and sample.posed is not None:
                yield file_name("tracks", *of), model_pages.tracks(backbone, sample.posed, source=sample.tracked)
            if "attention" in asked and backbone in attending:
                patch, blocks = arguments.patch and tuple(arguments.patch), arguments.layers or backbone.quarters()
                yield (
                    file_name("attention", *of),
                    model_pages.attention(backbone, sample.images, patch, blocks, backbone.name),
                )


def check_patch(patch: Sequence[int], images: Tensor, side: int) -> None:
    """Raises `ConfigError` if there is no such row or column of patches."""
    last = [images.shape[-2] // side - 1, images.shape[-1] // side - 1]
    if any(not 0 <= given <= most for given, most in zip(patch, last, strict=True)):
        raise ConfigError(f"--patch {patch[0]} {patch[1]}: expected a row in 0 to {last[0]} and a column in 0 to {last[1]}")


def fill_ins(backbones: Sequence[FrozenBackbone], shown: Sequence[Shown]) -> Tensor:
    """The originals, what is seen of them, and what each model fills in: a row each, the samples side by side."""
    rows = [torch.cat([s.images for s in shown]), torch.cat([hide(s.images, s.mask) for s in shown])]
    rows += [torch.cat([reconstruction(b, s.images, s.mask) for s in shown]) for b in backbones]
    of = [f"\n{sample.name}" if len(shown) > 1 else "" for sample in shown]
    columns = [heading + name for sample, name in zip(shown, of, strict=True) for heading in view_headings(sample.mask)]
    labels = ["original", "masked", *(backbone.name for backbone in backbones)]
    return page(rows, labels, columns, group=len(shown[0].images))


def reconstruction(backbone: FrozenBackbone, images: Tensor, mask: Tensor) -> Tensor:
    """The prediction on hidden patches, the images elsewhere: uint8 [V, 3, H, W] of images [V, 3, H, W]."""
    pixels, _ = backbone.model.reconstruct(images[None].to(backbone.device), mask[None])  # type: ignore[attr-defined]
    return fill_in(images, mask, pixels[0].cpu())
