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
    from muskie.data.loading import SceneLoader
    from muskie.data.turns import BatchLayout
    from muskie.training.training_data import settings_of, training_data

    if arguments.loads < 1:
        raise ConfigError(f"--loads {arguments.loads}: expected at least 1")
    settings = settings_of(arguments.overrides, CONFIGS)
    # The first load starts the workers.
    data = training_data(settings, (1 + arguments.loads) * settings["plan"].get("reuse", 1))
    plan, trainer = data.plan, settings["trainer"]
    batch = trainer.batch(plan.frames)
    most = batch if plan.frames is None else plan.frames // plan.counts[0]
    layout = BatchLayout(most, len(plan.sizes), scenes_of=plan.scenes if plan.frames is not None else None)
    dataset = ViewDataset(data.index, plan, settings["augment"], trainer.cache_mb, layout)
    loader = SceneLoader(dataset, LoadSampler(plan, batch), trainer.workers, pin=False)
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
        "sources": [source.name for source in data.sources],
        "sizes": list(plan.sizes),
        "views": plan.views if plan.frames is None else plan.counts,
        "batch_size": trainer.batch_size,
        "frames": plan.frames,
        "workers": trainer.workers,
        "loads": arguments.loads,
        "first_load_s": first - started,
        "images_per_s": images / elapsed,
        "megapixels_per_s": pixels / elapsed / 1e6,
        "unreadable_images": unreadable,
    }


def show(result: dict[str, Any]) -> None:
    """Prints the fields of `measure` for people."""
    shape = f"{result['batch_size']} x {result['views']} views"
    if result["frames"] is not None:
        shape = f"{result['frames']} images in scenes of {result['views'][0]} to {result['views'][-1]} views"
    shape += f" at {'+'.join(map(str, result['sizes']))} px"
    print(f"{'+'.join(result['sources'])}, {shape}, workers: {result['workers']}")
    row("images/s", f"{result['images_per_s']:.1f} over {result['loads']} loads")
    row("megapixels/s", f"{result['megapixels_per_s']:.2f}")
    row("first load", f"{result['first_load_s']:.2f} s")
    row("unreadable images", result["unreadable_images"])
