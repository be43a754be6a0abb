"""The data loader alone."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from benchmarks.printing import FORM, row
from muskie.errors import ConfigError

CONFIGS = Path(__file__).parents[2] / "configs"


def add_command(commands: Any) -> None:
    """`loader` on the command line."""
    data = commands.add_parser("loader", help="the data loader alone", formatter_class=FORM)
    data.add_argument("overrides", nargs="*", help="as for main.py, e.g. data=sevenscenes data.root=PATH plan.sizes=[224]")
    data.add_argument("--loads", type=int, default=20, help="loads to time, after a first one")
    data.add_argument("--json", action="store_true", help="print one line of JSON")
    data.set_defaults(run=measure, show=show)


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Rates of the loader that `main.py` with these overrides would train from."""
    from muskie.data.dataset import LoadSampler, ViewDataset
    from muskie.data.index import SceneIndex
    from muskie.data.loading import SceneLoader, build_sources
    from muskie.data.plan import StepPlan
    from muskie.models.variants import create_model
    from muskie.overrides import compose_config, read_overrides
    from muskie.training.settings import SECTIONS, read_settings

    if arguments.loads < 1:
        raise ConfigError(f"--loads {arguments.loads}: expected at least 1")
    overrides = read_overrides(arguments.overrides, CONFIGS, "pretrain", SECTIONS.names())
    settings = read_settings(compose_config(CONFIGS, "pretrain", overrides))
    trainer, model = settings["trainer"], {**settings["model"], "depth": 1}
    patch_size = create_model(model.pop("name"), **model).patch_size
    steps = (1 + arguments.loads) * settings["plan"].get("reuse", 1)  # the first load starts the workers
    plan = StepPlan(patch_size=patch_size, steps=steps, seed=settings["seed"], **settings["plan"])
    sources = build_sources(settings["data"])
    index = SceneIndex(sources, "train", settings["holdout"], plan.views)
    dataset = ViewDataset(index, plan, settings["augment"], trainer.cache_mb)
    loader = SceneLoader(dataset, LoadSampler(plan, trainer.batch_size), trainer.workers, pin=False)
    images = pixels = unreadable = 0
    started = first = time.perf_counter()
    for number, views in enumerate(loader, 1):
        unreadable += len(views.unreadable)
        if number > len(plan.sizes):
            images += views.images.shape[0] * views.images.shape[1]
            pixels += views.images[:, :, 0].numel()
        elif number == len(plan.sizes):
            first = time.perf_counter()
    elapsed = time.perf_counter() - first
    return {
        "sources": [source.name for source in sources],
        "sizes": list(plan.sizes),
        "views": plan.views,
        "batch_size": trainer.batch_size,
        "workers": trainer.workers,
        "loads": arguments.loads,
        "first_load_s": first - started,
        "images_per_s": images / elapsed,
        "megapixels_per_s": pixels / elapsed / 1e6,
        "unreadable_images": unreadable,
    }


def show(result: dict[str, Any]) -> None:
    """Prints the fields of `measure` for people."""
    shape = f"{result['batch_size']} x {result['views']} views at {'+'.join(map(str, result['sizes']))} px"
    print(f"{'+'.join(result['sources'])}, {shape}, workers: {result['workers']}")
    row("images/s", f"{result['images_per_s']:.1f} over {result['loads']} loads")
    row("megapixels/s", f"{result['megapixels_per_s']:.2f}")
    row("first load", f"{result['first_load_s']:.2f} s")
    row("unreadable images", result["unreadable_images"])
